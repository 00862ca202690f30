"""Homes of tensors against an unrolled timeline; the choice of homes against all others; spilling."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import combinations, groupby, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accelsim import runner
from accelsim.compiler import place as placing
from accelsim.compiler.aim import CYCLES
from accelsim.compiler.chain import Chain
from accelsim.compiler.home import home_of
from accelsim.compiler.lower import lower
from accelsim.compiler.pipeline import compile_network
from accelsim.compiler.place import SPILL_PENALTY, Placement, chains_of, lifetimes, place
from accelsim.compiler.plan import Room
from accelsim.compiler.search import Planner
from accelsim.compiler.tile import WORD_CYCLES
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from tests.compiler.machines import machines
from tests.compiler.nets import lenet, padded_network, sums_network, tiny
from tests.compiler.running import values_of
from tests.strategies import feeds_for, inputs_for, wide_cases

SMALL = {"max_hw": 7, "max_c": 6, "max_layers": 4}
QUICK = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def placed(lowered, arch) -> Placement:
    found = place(lowered, arch, Planner(lowered, arch, CYCLES, WORD_CYCLES).best)
    assert isinstance(found, Placement)
    return found


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
            for tensor in {lowered.root[name] for name in (*op.inputs, op.output)} & set(placement.homes):
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

    @settings(max_examples=100, **QUICK)
    @given(wide_cases(max_batch=3, **SMALL), machines())
    def check(case, arch):
        graph, feeds = case
        lowered = lower(graph, len(feeds[graph.input]))
        placement = place(lowered, arch, Planner(lowered, arch, CYCLES, WORD_CYCLES).best)
        if isinstance(placement, Chain):
            seen["refused"] += 1
            return
        steps, live = alive(lowered, placement)
        for (chain, _), ranges in zip(steps, live):
            base, size = placement.workspace[chain], placement.plans[chain][0].bytes
            taken = list(ranges.values())
            assert all(0 <= start < stop <= arch.ub_bytes for start, stop in taken)
            assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(taken, 2))
            assert 0 <= base <= base + size <= arch.ub_bytes
            assert size <= placement.rooms[chain].ub_bytes
            assert all(stop <= base or base + size <= start for start, stop in taken if size)
        seen["placed"] += 1
        seen["several homes"] += len(placement.homes) > 1
        seen["workspace"] += any(plans[0].bytes for plans in placement.plans)
        seen["batch"] += any(home.images > 1 for home in placement.homes.values())

    check()
    assert seen["placed"] > 80, seen
    assert min(seen["several homes"], seen["workspace"], seen["batch"]) > 15, seen


def cost_of(lowered, arch, chains, lives, planner, homes, until):
    """Closed-form cycles of all chains with these homes (images of every tensor), or None if one does not fit."""
    total = 0.0
    for t, chain in enumerate(chains[: until + 1]):
        held = {name: images for name, images in homes.items() if images and lives[name].first <= t <= lives[name].last}
        room = arch.ub_bytes - sum(home_of(lowered, name, images=images).bytes for name, images in held.items())
        touched = {lowered.root[name] for op in chain.ops for name in (*op.inputs, op.output)}
        if room < 0 or not (found := planner.best(chain, Room(on_chip=frozenset(touched & set(held)), ub_bytes=room))):
            return None
        repeat = 1 if chain.batched else lowered.batch
        spilled = [name for name, life in lives.items() if life.first == t and homes[name] < life.images[0]]
        total += repeat * (found[0].cost + SPILL_PENALTY * sum(lowered.tensors[name].size for name in spilled))
    return total


def test_no_other_homes_cost_less():
    """Dynamic programming against every subset of tensors, with the same plans."""
    seen = Counter()

    @settings(max_examples=150, **QUICK)
    @given(wide_cases(max_batch=2, max_parts=1, **SMALL), machines(), st.sampled_from((60, 150, 300, 600, 1000)))
    def compare(case, arch, ub_bytes):
        graph, feeds = case
        arch = dataclasses.replace(arch, ub_bytes=ub_bytes)
        lowered = lower(graph, len(feeds[graph.input]))
        banned = set(lowered.outputs) if len(feeds[graph.input]) > 1 else set()
        chains = chains_of(lowered, arch, banned, set())
        lives, planner = lifetimes(lowered, chains), Planner(lowered, arch, CYCLES, WORD_CYCLES)
        options = [[0] if name in banned else [*life.images, 0] for name, life in lives.items()]
        if len(options) > 6:
            return
        chosen = placing._choose(lowered, arch, chains, lives, banned, planner.best)
        every = [dict(zip(lives, images)) for images in product(*options)]

        def costs(until):
            found = (cost_of(lowered, arch, chains, lives, planner, homes, until) for homes in every)
            return [cost for cost in found if cost is not None]

        if isinstance(chosen, int):
            assert not costs(chosen)
            assert chosen == 0 or costs(chosen - 1)
            seen["refused"] += 1
            return
        homes = dict.fromkeys(lives, 0) | chosen.homes
        best = min(costs(len(chains)))
        assert cost_of(lowered, arch, chains, lives, planner, homes, len(chains)) == pytest.approx(best)
        seen["kept"] += all(homes[name] for name in lives if name not in banned)
        seen["spilled"] += not all(homes[name] for name in lives if name not in banned)

    compare()
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("batch", [1, 16, 64])
@pytest.mark.parametrize("name", ["lenet", "lenet_tanh"])
def test_lenet_stays_on_edge(name, batch):
    lowered = lower(runner.open_network(name).quantize(), batch)
    placement = placed(lowered, load_arch("edge"))
    assert [[op.name for op in chain.ops] for chain in placement.chains] == [
        ["conv1", "pool1"], ["conv2", "pool2"], ["fc1"], ["fc2"], ["fc3"]
    ]  # fmt: skip
    # What passes from a convolution to its pooling is a ring of rows or whole; the last result leaves as it is made.
    between = {lowered.root[placement.chains[t].ops[0].output] for t in (0, 1)}
    read = {lowered.root[tensor] for op in lowered.ops for tensor in op.inputs}
    assert set(placement.homes) == read - between
    assert {tensor for plans in placement.plans for tensor in plans[0].held} == between


def test_what_goes_to_dram_as_ub_shrinks():
    """Between convolution and pooling only rows are held; of what is left, the large tensors go first."""
    kept = {ub: set(placed(lower(lenet(), 1), tiny(ub)).homes) for ub in (8192, 4096, 2048, 1024)}
    assert kept[8192] == {"image", "pool1", "pool2", "fc1", "fc2"}
    assert all(kept[more] >= kept[less] for more, less in ((8192, 4096), (4096, 2048), (2048, 1024)))
    assert {"fc1", "fc2"} <= kept[1024] < kept[8192]


def test_a_border_is_part_of_a_home():
    """A consumer's padding is materialised around the tensor: rows are (3 + w + 3) pixels apart."""
    home = placed(lower(padded_network(), 1), tiny(8192)).homes["p"]
    assert (home.border, home.pitch, home.image_bytes) == ((3, 3, 3, 3), 9 * 4, 9 * 9 * 4)
    assert home.pixel(0, 0, 0) == home.base + 3 * 36 + 3 * 4
    assert home.pixel(0, -3, -3) == home.base
    ring = dataclasses.replace(home, held=4)  # rows -3 to 0 fill it
    assert not ring.whole
    assert ring.image_bytes == 4 * 36
    assert ring.pixel(0, 0, 0) == home.base + 3 * 36 + 3 * 4
    assert [ring.pixel(0, row, -3) - home.base for row in range(-3, 5)] == [36 * line for line in (0, 1, 2, 3) * 2]


def test_an_input_gets_a_slot_for_the_next_image_and_what_leaves_the_loop_one_for_every_image():
    homes = placed(lower(lenet(), 8), load_arch("edge")).homes
    assert {name: homes[name].images for name in ("image", "pool1", "pool2", "fc1")} == {
        "image": 2, "pool1": 1, "pool2": 8, "fc1": 8
    }  # fmt: skip


def test_every_size_of_ub_runs_right():
    graph = padded_network()
    inputs = inputs_for(graph, 1)
    wanted = golden.run(graph, inputs)
    spilled = Counter()
    for ub_bytes in [*range(29, 110), *range(110, 800, 15)]:
        arch = tiny(ub_bytes)
        program = compile_network(graph, arch).program
        spilled[sum(region.role == "scratch" for region in program.regions)] += 1
        tensors, output, _ = values_of(program, arch, graph, inputs, "functional")
        for name, values in tensors.items():
            np.testing.assert_array_equal(values, wanted[name], err_msg=f"{name} with {ub_bytes} bytes")
        np.testing.assert_array_equal(output, wanted["z"])
    assert spilled.keys() == {0, 1, 2}


@pytest.mark.parametrize("ub_bytes", [40, 60, 100, 150, 200])
def test_a_sum_of_two_tensors_is_not_planned_like_a_sum_of_one_with_itself(ub_bytes):
    graph, arch = sums_network(), tiny(ub_bytes)
    feeds = feeds_for(graph, 1)
    tensors, _, _ = values_of(compile_network(graph, arch).program, arch, graph, feeds, "functional")
    for name, values in golden.run(graph, feeds).items():
        if name in tensors:
            np.testing.assert_array_equal(tensors[name], values, err_msg=name)


def test_a_tensor_that_passes_from_one_loop_over_images_to_another_is_held_for_all_of_them():
    """Made image by image and read image by image, with a chain over the whole batch between."""
    graph = sums_network()
    lowered = lower(dataclasses.replace(graph, outputs=("c", "b", "d"), **_and_sum(graph)), batch=3)
    chains = chains_of(lowered, tiny(2048), set(), {op.name for op in lowered.ops}, {"c"})
    assert [(chain.ops[0].name, chain.batched) for chain in chains] == [
        ("a", False), ("c", True), ("b", False), ("d", False),
    ]  # fmt: skip
    assert {name: life.images for name, life in lifetimes(lowered, chains).items()} == {
        "x": (3,), "y": (3,), "a": (3,), "c": (3,), "b": (1,), "d": (1,),
    }  # fmt: skip


def _and_sum(graph):
    """The sums in another order, and one more, ``d = a + b``."""
    c, a, b = graph.layers
    d = dataclasses.replace(b, name="d", inputs=("a", "b"), output="d")
    layers = (a, c, b, d)
    return {
        "layers": layers, "rows": tuple((layer.name, "add", layer.name) for layer in layers),
        "tensors": {**graph.tensors, "d": dataclasses.replace(graph.tensors["c"], name="d")},
    }  # fmt: skip
