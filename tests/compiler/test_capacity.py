"""What does not fit, word for word, and what would."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accelsim.compiler.pipeline import compile_network
from accelsim.errors import CapacityError
from accelsim.hw.machine import simulate
from accelsim.isa.effects import tasks
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from accelsim.nn.graph import QGraph, QLrn, QPool
from tests.compiler.machines import machines
from tests.compiler.nets import lenet, padded_network, padded_network_with_table, sums_network, tensors
from tests.compiler.running import values_of
from tests.strategies import wide_cases


def normalised_network():
    table = np.arange(-128, 128).astype(np.int8)
    layer = QLrn(
        name="norm", kind="lrn", input="x", output="y", size=3, square=table, index_scale=np.float32(0.5),
        index_zero=0, factor=table, scale=np.float32(0.01),
    )  # fmt: skip
    return QGraph(
        name="normalised", inputs=("x",), outputs=("y",), tensors=tensors(dict.fromkeys("xy", (2, 3, 10))),
        layers=(layer,), rows=(("norm", "lrn", "norm"),),
    )  # fmt: skip


def pooled_network():
    """A pooling that can be done channel by channel."""
    pool = QPool(
        name="pool", kind="maxpool", input="x", output="y", kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0),
        count_include_pad=False, lo=-128, hi=127,
    )  # fmt: skip
    return QGraph(
        name="pooled", inputs=("x",), outputs=("y",), tensors=tensors({"x": (4, 4, 24), "y": (2, 2, 24)}),
        layers=(pool,), rows=(("pool", "maxpool", "pool"),),
    )  # fmt: skip


NETWORKS = {
    "lenet": lenet, "padded": padded_network, "with table": padded_network_with_table, "sums": sums_network,
    "normalised": normalised_network, "pooled": pooled_network,
}  # fmt: skip
CAPACITY = [
    (
        "lenet", {"ub_bytes": 20},
        "conv1: needs 29 bytes of UB and the machine has 20; made of input under one output pixel 25, "
        "one output pixel 4 (ub.size of at least 29 bytes fits)",
    ),
    (
        "pooled", {"ub_bytes": 27},
        "pool: needs 28 bytes of UB and the machine has 27; made of input under one output pixel 4, "
        "one output pixel 24 (ub.size of at least 28 bytes fits)",
    ),
    (
        "sums", {"ub_bytes": 11},
        "b: needs 12 bytes of UB and the machine has 11; made of input under one output pixel 8, "
        "one output pixel 4 (ub.size of at least 12 bytes fits)",
    ),
    (
        "normalised", {"ub_bytes": 39},
        "norm: needs 40 bytes of UB and the machine has 39; made of input under one output pixel 20, "
        "one output pixel 10, its factors 10 (ub.size of at least 40 bytes fits)",
    ),
    (
        "padded", {"acc_bytes": 0},
        "c1: needs 16 bytes of ACC and the machine has 0; made of one accumulator row 16 "
        "(acc.size of at least 16 bytes fits)",
    ),
    (
        "padded", {"wgt_bytes": 0},
        "c1: needs 4 bytes of WGT and the machine has 0; made of one row of weights 4 "
        "(wgt.size of at least 4 bytes fits)",
    ),
    (
        "normalised", {"wgt_bytes": 0},
        "norm: needs 4 bytes of WGT and the machine has 0; made of one row of weights 4 "
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
        "c2: needs 256 bytes of PARAM and the machine has 32; made of a table 256 "
        "(param.size of at least 256 bytes fits)",
    ),
    (
        "padded", {"param_bytes": 16, "acc_bytes": 0, "wgt_bytes": 0},
        "c1: needs 16 bytes of ACC and the machine has 0; made of one accumulator row 16 "
        "(acc.size of at least 16 bytes fits; param.size of at least 32 bytes fits; "
        "wgt.size of at least 4 bytes fits)",
    ),
]  # fmt: skip


def advised(text):
    """The sizes that a message names, by field of the machine."""
    return {f"{name}_bytes": int(size) for name, size in re.findall(r"(\w+)\.size of at least (\d+) bytes fits", text)}


@pytest.mark.parametrize(("name", "change", "text"), CAPACITY)
def test_what_does_not_fit_and_what_would(name, change, text):
    """The whole text; and the machine with the advised sizes compiles, with and without a choice of plans."""
    graph, arch = NETWORKS[name](), dataclasses.replace(load_arch("tiny"), **change)
    with pytest.raises(CapacityError) as caught:
        compile_network(graph, arch)
    assert str(caught.value) == text
    better = dataclasses.replace(arch, **advised(text))
    compile_network(graph, better)
    if name == "lenet":
        return  # the programs are long
    compile_network(graph, better, evaluate=lambda program: simulate(tasks(program, better), better).cycles)
    for field, size in advised(text).items():  # no smaller size would do
        with pytest.raises(CapacityError):
            compile_network(graph, dataclasses.replace(better, **{field: size - 1}))


def test_the_advised_sizes_fit_random_networks():
    seen = Counter()

    @settings(
        deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(wide_cases(max_hw=6, max_c=8, max_layers=3), machines(), st.integers(1, 120), st.integers(0, 3))
    def check(case, arch, ub_bytes, rows):
        graph, feeds = case
        batch = len(feeds[graph.input])
        small = dataclasses.replace(
            arch, ub_bytes=ub_bytes, acc_bytes=min(rows * arch.array.cols * 4, arch.acc_bytes), wgt_bytes=arch.wgt_bytes
        )
        try:
            compile_network(graph, small, batch=batch)
            seen["fits"] += 1
            return
        except CapacityError as caught:
            error = caught
        assert error.demand_bytes > error.limit_bytes
        assert sum(size for _, size in error.terms) == error.demand_bytes
        sizes = advised(str(error))
        better = dataclasses.replace(small, **sizes)
        seen.update(sizes)
        if "ub_bytes" not in sizes:  # UB is looked at last
            try:
                compile_network(graph, better, batch=batch)
            except CapacityError as caught:
                assert caught.resource == "UB"
            return
        program = compile_network(graph, better, batch=batch).program
        wanted = golden.run(graph, feeds)
        found, _, _ = values_of(program, better, graph, feeds, "functional")
        for name, values in found.items():
            np.testing.assert_array_equal(values, wanted[name], err_msg=name)

    check()
    assert min(seen["fits"], seen["ub_bytes"], seen["acc_bytes"]) > 3, seen
