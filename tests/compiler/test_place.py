"""Homes of tensors against an unrolled timeline; spilling; what does not fit, word for word, and what would."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from itertools import combinations, groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import runner
from accelsim.compiler.ops import lower
from accelsim.compiler.pipeline import compile_network
from accelsim.compiler.place import place
from accelsim.compiler.tile import least_strip_bytes
from accelsim.errors import CapacityError
from accelsim.hw.machine import simulate
from accelsim.isa.effects import tasks
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from accelsim.nn.graph import QConv, QGraph, QLut, QPool, Tensor
from tests.compiler.machines import machines
from tests.compiler.running import values_of
from tests.strategies import inputs_for, network_cases


def timeline(lowered, placement):
    """(chain, image) in the order of the program; image None for a chain that works on the whole batch at once."""
    steps = []
    for batched, group in groupby(range(len(placement.chains)), key=lambda t: placement.chains[t].batched):
        chains = list(group)
        for image in [None] if batched else range(lowered.batch):
            steps += [(chain, image) for chain in chains]
    return steps


def alive(lowered, placement):
    """Per step of the timeline, {(tensor, image): byte range}: from the first step that touches it to the last."""
    steps = timeline(lowered, placement)
    used: dict[tuple[str, int], list[int]] = {}
    for step, (chain, image) in enumerate(steps):
        for op in placement.chains[chain].ops:
            for tensor in (lowered.root[op.input], lowered.root[op.output]):
                if tensor in placement.homes:
                    for each in range(lowered.batch) if image is None else [image]:
                        used.setdefault((tensor, each), []).append(step)
    live: list[dict[tuple[str, int], tuple[int, int]]] = [{} for _ in steps]
    for (tensor, image), touched in used.items():
        home = placement.homes[tensor]
        base = home.base + image % home.images * home.image_bytes
        for step in range(touched[0], touched[-1] + 1):
            live[step][tensor, image] = (base, base + home.image_bytes)
    return steps, live


def test_nothing_alive_overlaps_and_everything_lies_within_ub():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=250)
    @given(network_cases(max_batch=3), machines())
    def compare(case, arch):
        graph, inputs = case
        lowered = lower(graph, len(inputs))
        try:
            placement = place(lowered, arch)
        except CapacityError:
            seen["refused"] += 1
            return
        steps, live = alive(lowered, placement)
        for (chain, _), ranges in zip(steps, live):
            base, size = placement.workspace[chain]
            taken = list(ranges.values())
            assert all(0 <= start < stop <= arch.ub_bytes for start, stop in taken)
            assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(taken, 2))
            assert 0 <= base <= base + size <= arch.ub_bytes
            assert all(stop <= base or base + size <= start for start, stop in taken)
            assert size >= sum(least(op, lowered, placement.homes) for op in placement.chains[chain].ops)
        seen["placed"] += 1
        spilled = stored(lowered) - set(placement.homes)
        seen["spilled"] += bool(spilled)
        if spilled:
            assert not_all_fit(lowered, arch)

    compare()
    assert min(seen["placed"] - seen["spilled"], seen["spilled"]) > 40, seen


def least(op, lowered, homes):
    return least_strip_bytes(
        op, input_on_chip=lowered.root[op.input] in homes, output_on_chip=lowered.root[op.output] in homes
    )


def stored(lowered):
    """Tensors that some operation reads or writes."""
    return {lowered.root[name] for op in lowered.ops for name in (op.input, op.output)}


def not_all_fit(lowered, arch):
    """Whether the tensors of the whole network, side by side, are more than UB holds."""
    roomy = place(lowered, dataclasses.replace(arch, ub_bytes=1 << 25))
    assert set(roomy.homes) == stored(lowered)
    return sum(home.image_bytes * home.images for home in roomy.homes.values()) > arch.ub_bytes


@pytest.mark.parametrize("batch", [1, 16, 64])
@pytest.mark.parametrize("name", ["lenet", "lenet_tanh"])
def test_lenet_stays_on_edge(name, batch):
    lowered = lower(runner.open_network(name).quantize(), batch)
    placement = place(lowered, load_arch("edge"))
    assert set(placement.homes) == stored(lowered)
    assert [[op.name for op in chain.ops] for chain in placement.chains] == [
        ["conv1", "pool1"], ["conv2", "pool2"], ["fc1"], ["fc2"], ["fc3"]
    ]  # fmt: skip


def test_the_largest_tensor_of_a_crowded_chain_is_spilled():
    graph = runner.open_network("lenet").quantize()
    kept = {ub: set(place(lower(graph, 1), tiny(ub)).homes) for ub in (8192, 6000, 5000, 2000)}
    everything = {"image", "conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"}
    assert kept[8192] == everything  # conv1's chain: 1024 + 28 * 28 * 6 + 14 * 14 * 6 = 6904
    assert kept[6000] == everything - {"conv1"}
    assert kept[5000] == everything - {"conv1"}
    assert kept[2000] == everything - {"conv1", "conv2"}  # 1176 + 1600 + 400


def tiny(ub_bytes):
    return load_arch("tiny").replace({"ub.size": ub_bytes})


def test_a_border_is_part_of_a_home():
    """A consumer's padding is materialised around the tensor: rows are (2 + w + 3) pixels apart."""
    graph = padded_network()
    home = place(lower(graph, 1), tiny(8192)).homes["p"]
    assert (home.border, home.pitch, home.image_bytes) == ((3, 3, 3, 3), 9 * 4, 9 * 9 * 4)
    assert home.pixel(0, 0, 0) == home.base + 3 * 36 + 3 * 4
    assert home.pixel(0, -3, -3) == home.base


def conv(name, source, target, shape, stride=(1, 1), pads=(0, 0, 0, 0)):
    rng = np.random.default_rng(1)
    return QConv(
        name=name, kind="conv", input=source, output=target, weights=rng.integers(-50, 50, shape).astype(np.int8),
        bias=np.zeros(shape[0], np.int32), scale=np.full(shape[0], 0.01, np.float32), stride=stride, pads=pads,
        dilation=(1, 1), groups=1, lo=-128, hi=127,
    )  # fmt: skip


def padded_network():
    """A large image, a pooled convolution, and a convolution with much padding: every mix of places occurs."""
    shapes = {"x": (20, 20, 1), "a": (4, 4, 4), "p": (3, 3, 4), "z": (2, 2, 2)}
    pool = QPool(
        name="pool", kind="maxpool", input="a", output="p", kernel=(2, 2), stride=(1, 1), pads=(0, 0, 0, 0),
        count_include_pad=False, lo=-128, hi=127,
    )  # fmt: skip
    return QGraph(
        name="padded", inputs=("x",), outputs=("z",),
        tensors={n: Tensor(name=n, shape=s, scale=np.float32(0.1), zero=5) for n, s in shapes.items()},
        layers=(
            conv("c1", "x", "a", (4, 5, 5, 1), stride=(4, 4)), pool,
            conv("c2", "p", "z", (2, 3, 3, 4), stride=(4, 4), pads=(3, 3, 3, 3)),
        ),
        rows=(("c1", "conv", "c1"), ("pool", "maxpool", "pool"), ("c2", "conv", "c2")),
    )  # fmt: skip


def test_every_size_of_ub_runs_right_or_is_refused_with_advice():
    graph = padded_network()
    inputs = inputs_for(graph, 1)
    wanted = golden.run(graph, inputs)
    smallest = 38
    spilled = Counter()
    for ub_bytes in range(1, 800):
        if ub_bytes > 110 and ub_bytes % 7:
            continue
        arch = tiny(ub_bytes)
        if ub_bytes < smallest:
            with pytest.raises(CapacityError) as caught:
                compile_network(graph, arch)
            assert caught.value.levers == (f"ub.size of at least {smallest} bytes fits",)
            assert caught.value.demand_bytes > caught.value.limit_bytes == ub_bytes
            continue
        program = compile_network(graph, arch).program
        spilled[sum(region.role == "scratch" for region in program.regions)] += 1
        tensors, output, _ = values_of(program, arch, graph, inputs, "functional")
        for name, values in tensors.items():
            np.testing.assert_array_equal(values, wanted[name], err_msg=f"{name} with {ub_bytes} bytes")
        np.testing.assert_array_equal(output, wanted["z"])
    assert spilled.keys() == {0, 1, 2}


def padded_network_with_table():
    graph = padded_network()
    source = graph.tensors["z"]
    table = QLut(name="tanh", kind="tanh", input="z", output="t", table=np.arange(-128, 128).astype(np.int8))
    return dataclasses.replace(
        graph, outputs=("t",), tensors={**graph.tensors, "t": dataclasses.replace(source, name="t")},
        layers=(*graph.layers, table), rows=(*graph.rows, ("tanh", "tanh", "tanh")),
    )  # fmt: skip


NETWORKS = {
    "lenet": lambda: runner.open_network("lenet").quantize(),
    "padded": padded_network,
    "with table": padded_network_with_table,
}
CAPACITY = [
    (
        "lenet", {"ub_bytes": 100},
        "conv2: needs 166 bytes of UB and the machine has 100; made of input under one output pixel 150, "
        "one output pixel 16 (ub.size of at least 520 bytes fits)",
    ),
    (
        "lenet", {"ub_bytes": 519},
        "fc1: needs 520 bytes of UB and the machine has 519; made of input under one output pixel 400, "
        "one output pixel 120 (ub.size of at least 520 bytes fits)",
    ),
    (
        "padded", {"acc_bytes": 0},
        "c1: needs 16 bytes of ACC and the machine has 0; made of one accumulator row 16 "
        "(acc.size of at least 16 bytes fits)",
    ),
    (
        "padded", {"wgt_bytes": 0},
        "c1: needs 4 bytes of WGT and the machine has 0; made of one weight row 4 "
        "(wgt.size of at least 4 bytes fits)",
    ),
    (
        "padded", {"param_bytes": 16},
        "c1: needs 32 bytes of PARAM and the machine has 16; made of bias and scale rows 32 "
        "(param.size of at least 32 bytes fits)",
    ),
    (
        "with table", {"param_bytes": 16},
        "c1: needs 32 bytes of PARAM and the machine has 16; made of bias and scale rows 32 "
        "(param.size of at least 256 bytes fits)",
    ),
    (
        "with table", {"param_bytes": 32},
        "c2: needs 256 bytes of PARAM and the machine has 32; made of a 256-byte table 256 "
        "(param.size of at least 256 bytes fits)",
    ),
    (
        "padded", {"param_bytes": 16, "acc_bytes": 0},
        "c1: needs 16 bytes of ACC and the machine has 0; made of one accumulator row 16 "
        "(acc.size of at least 16 bytes fits; param.size of at least 32 bytes fits)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "text"), CAPACITY)
def test_what_does_not_fit_and_what_would(name, change, text):
    """The whole text; and the machine with the advised sizes compiles, with and without a choice of plans."""
    graph, arch = NETWORKS[name](), dataclasses.replace(load_arch("tiny"), **change)
    with pytest.raises(CapacityError) as caught:
        compile_network(graph, arch)
    assert str(caught.value) == text
    sizes = re.findall(r"(\w+)\.size of at least (\d+) bytes fits", text)
    better = dataclasses.replace(arch, **{f"{memory}_bytes": int(size) for memory, size in sizes})
    compile_network(graph, better)
    compile_network(graph, better, evaluate=lambda program: simulate(tasks(program, better), better).cycles)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(network_cases(max_batch=2), machines(), st.integers(1, 200))
def test_the_advised_size_fits_random_networks(case, arch, ub_bytes):
    graph, inputs = case
    try:
        compile_network(graph, dataclasses.replace(arch, ub_bytes=ub_bytes), batch=len(inputs))
    except CapacityError as error:
        (size,) = re.findall(r"ub\.size of at least (\d+) bytes fits", str(error))
        assert int(size) > ub_bytes
        compile_network(graph, dataclasses.replace(arch, ub_bytes=int(size)), batch=len(inputs))
