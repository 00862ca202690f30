"""Plans against every other way to cut a chain, one at a time; capacities; the closed form's tendencies."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import combinations, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.aim import CYCLES
from accelsim.compiler.chain import flow
from accelsim.compiler.grid import Grid
from accelsim.compiler.matrixrank import fit_of, work_of
from accelsim.compiler.ops import MatOp
from accelsim.compiler.plan import Room, distinct_parts, jobs_of, strip_bytes
from accelsim.compiler.tile import WORD_CYCLES, _Search, plan_chain
from accelsim.compiler.vectorgrid import vector_fit
from tests.compiler.chains import chains
from tests.compiler.machines import machines
from tests.compiler.ops import add_op, chain_with, depthwise_op, lrn_op, mat_op, mat_ops, pool_op
from tests.isa.strategies import small_arch
from tests.oracles import tiles
from tests.oracles.rows import rows_in_use

UB = (0, 40, 80, 120, 200, 300, 500, 1500)
MANY = 300  # cuts; chains with more are left out where every one is followed row by row


@st.composite
def heads(draw):
    """Anything, images with few channels (columns can be packed), and many weights (their order matters); one image,
    or several at once."""
    sort, batch = draw(st.integers(0, 7)), draw(st.sampled_from((1, 1, 3, 5)))
    if sort < 3:
        return chain_with(draw(mat_ops()), batch=batch)
    if sort == 3:
        size, channels, out = draw(st.integers(5, 9)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        return chain_with(mat_op(height=size, width=size, channels=channels, out=out, kernel=(3, 3)), batch=batch)
    if sort == 4:
        size, channels, out = draw(st.integers(4, 8)), draw(st.integers(8, 20)), draw(st.integers(8, 40))
        return chain_with(mat_op(height=size, width=size, channels=channels, out=out, kernel=(3, 3)), batch=batch)
    shape = {"height": draw(st.integers(2, 9)), "width": draw(st.integers(2, 9)), "channels": draw(st.integers(1, 20))}
    made = {5: pool_op(**shape), 6: pool_op(**shape, kind="avg"), 7: lrn_op(**shape)}
    return chain_with(draw(st.sampled_from((made[sort], add_op(**shape), depthwise_op(**shape)))), batch=batch)


@st.composite
def searches(draw, strategy):
    """A chain on a machine, with any of its tensors on chip, and from hardly any UB to plenty."""
    arch, (chain, lowered) = draw(machines()), draw(strategy)
    inside = {op.output for op in chain.ops[:-1]}
    on_chip = frozenset(name for name in lowered.tensors if name not in inside and draw(st.booleans()))
    room = Room(on_chip=on_chip, ub_bytes=draw(st.sampled_from(UB)) + draw(st.integers(0, 30)))
    return _Search(chain, lowered, arch, room, WORD_CYCLES, CYCLES)


def every_cut(search):
    """Every way to cut the first operation that fits by itself, counted up one by one."""
    head, arch, around = search.head, search.arch, search.around
    setting = tiles.Setting(
        acc=arch.acc_rows - around.side_rows, ub=search.room.ub_bytes, inputs=around.inputs_off_chip,
        output=around.output_off_chip, images=around.images,
    )  # fmt: skip
    if not isinstance(head, MatOp):
        return list(tiles.vector_cuts(head, arch, setting))
    return [cut for packing in search._packings(head) for cut in tiles.matrix_cuts(head, packing, arch, setting)]


def price(search, plan):
    """What one cut costs, by itself."""
    group = plan.group if isinstance(search.head, MatOp) else plan.channels
    cut = (0, plan.rows, plan.cols, group, plan.strip_in_bytes, plan.plane_bytes, plan.together, plan.strips_in,
           plan.strips_out, plan.planes, plan.strip_out_bytes, plan.out_blocks)  # fmt: skip
    grid, head, arch, around = Grid(*(np.array([n]) for n in cut)), search.head, search.arch, search.around
    if isinstance(head, MatOp):
        fit = fit_of(head, arch, around, grid, work_of(head, plan.packing, arch, around, grid))
    else:
        fit = vector_fit(head, arch, around, grid)
    return float(fit.rank(search.pace).cost[0])


def found_by(search):
    """What the search looked at, but for how full strips of an output are that is not in strips."""
    plans = [plan for plan, _ in search.candidates()]
    return plans if search.around.output_off_chip else [dataclasses.replace(plan, out_blocks=1) for plan in plans]


def planned(search, **options):
    return plan_chain(search.chain, search.lowered, search.arch, search.room, **options)


def test_every_cut_that_fits_is_considered_and_the_cheapest_is_chosen():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=250)
    @given(searches(heads()))
    def compare(search):
        cuts = every_cut(search)
        assert set(found_by(search)) == set(cuts)
        if not cuts:
            assert planned(search) == []
            seen["nothing fits"] += 1
            return
        (best,) = planned(search)
        assert best.cost == min(price(search, cut) for cut in cuts)
        plan = best.plans[search.head.name]
        seen["strips"] += plan.strips_in + plan.strips_out > 0
        seen["cut"] += plan.rows < search.head.window.out_h or plan.cols < search.head.window.out_w
        if plan.packing is not None:
            seen["weights outer"] += plan.group < len(plan.packing.blocks) and plan.parts == 1
            seen["columns"] += plan.packing.pixels > 1
            seen["channel parts"] += plan.parts > 1
            seen["gathered"] += plan.planes > 0
            seen["images share weights"] += plan.together > 1
            seen["single blocks out"] += plan.strips_out > 0 and plan.out_blocks < plan.group
        seen["planned"] += 1

    compare()
    assert seen["planned"] > 150, seen
    assert min(seen["strips"], seen["cut"], seen["nothing fits"]) >= 15, seen
    rare = ("weights outer", "columns", "channel parts", "gathered", "images share weights")
    assert min(seen[key] for key in rare) > 0, seen


def test_sizes_that_are_not_tried_are_no_better(monkeypatch):
    """Any number of rows, columns and blocks in a group: none is cheaper by more than three in a hundred."""
    monkeypatch.setattr(tiles, "sizes", lambda extent: range(1, extent + 1))
    monkeypatch.setattr(tiles, "groups", lambda packing, *_: range(1, len(packing.blocks) + 1))

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(searches(heads()))
    def compare(search):
        best = planned(search)
        if best:
            assert best[0].cost <= 1.03 * min(price(search, cut) for cut in every_cut(search))

    compare()


def test_a_chain_takes_the_cheapest_cut_beside_which_all_else_fits():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(searches(chains(most=3, size=7)))
    def compare(search):
        cuts = every_cut(search)
        assert set(found_by(search)) == set(cuts)
        if len(cuts) > MANY:
            return
        fits = []
        for cut in cuts:
            caps = tiles.rows_at_a_time(search.chain, cut.rows, search.arch, search.around.side_rows)
            beside = tiles.bytes_behind(search.chain, search.lowered, search.room, cut, caps)
            if cut.bytes + sum(beside.values()) <= search.room.ub_bytes:
                fits.append(price(search, cut))
        best = planned(search)
        assert [plan.cost for plan in best] == ([min(fits)] if fits else [])
        seen["planned" if fits else "nothing fits"] += 1
        seen["only some fit"] += 0 < len(fits) < len(cuts)

    compare()
    assert min(seen.values()) > 10, seen


@settings(deadline=None, derandomize=True, max_examples=120)
@given(searches(chains(most=3)))
def test_everything_returned_fits(search):
    chain, arch = search.chain, search.arch
    for found in planned(search, keep=4):
        head = found.plans[chain.ops[0].name]
        caps = [found.plans[op.name].rows for op in chain.ops]
        beside = tiles.bytes_behind(chain, search.lowered, search.room, head, caps)
        spans = {("strips", chain.ops[0].name): head.bytes, **beside}
        ends = sorted((found.places[key], found.places[key] + size) for key, size in spans.items() if size)
        assert all(a[1] <= b[0] for a, b in pairwise(ends))  # what is in use really has its place
        assert all(0 <= start < stop <= found.bytes <= search.room.ub_bytes for start, stop in ends)
        jobs = jobs_of(chain.ops[0], head)
        for level, rows in rows_in_use(chain, jobs, list(flow(chain, jobs, caps))).items():
            w, name = chain.ops[level].window, chain.ops[level].output
            assert name in search.room.on_chip or found.held[name] >= min(rows, w.out_h)
        if head.strips_in and head.parts == 1:
            size = strip_bytes(chain.ops[0].window, head.rows, head.cols, chain.ops[0].window.in_c)
            assert head.strip_in_bytes == size * search.around.inputs_off_chip
        assert 0 <= found.side_rows < max(2, arch.acc_rows)
        assert found.busy <= found.cycles


@settings(deadline=None, derandomize=True, max_examples=60)
@given(searches(st.booleans().flatmap(lambda leads: chains(kinds=("lrn", "lrn", "add"), lrn_leads=leads))))
def test_delayed_operations_find_their_rows_whatever_the_cut(search):
    """The steps of normalisations are spread over the jobs of a tile, so what is held depends on how many those are."""
    chain = search.chain
    for plan, rank in islice(search.candidates(), 60):
        found = search.complete(plan, rank)
        if found is None:
            continue
        caps = [found.plans[op.name].rows for op in chain.ops]
        jobs = jobs_of(chain.ops[0], plan)
        for level, rows in rows_in_use(chain, jobs, list(flow(chain, jobs, caps))).items():
            w, name = chain.ops[level].window, chain.ops[level].output
            assert name in search.room.on_chip or found.held[name] >= min(rows, w.out_h), (plan.text(), name)


@given(st.integers(1, 400))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_distinct_parts(extent):
    parts = distinct_parts(extent)
    assert list(parts) == sorted({(extent + n - 1) // n for n in range(1, extent + 1)}, reverse=True)
    # Any other size needs as many tiles as a listed one that is smaller.
    for size in range(1, extent + 1):
        assert any(part <= size and -(-extent // part) == -(-extent // size) for part in parts)


def test_more_room_and_a_faster_port_never_cost_cycles():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(searches(heads()), st.integers(0, 500))
    def check(search, more):
        first = planned(search)
        arch, room = search.arch, search.room
        for changed, rooms in (
            (arch, dataclasses.replace(room, ub_bytes=room.ub_bytes + more)),
            (dataclasses.replace(arch, acc_bytes=2 * arch.acc_bytes), room),
            (dataclasses.replace(arch, dram=dataclasses.replace(arch.dram, bytes_per_cycle=16)), room),
            (dataclasses.replace(arch, dram=dataclasses.replace(arch.dram, latency=0)), room),
        ):
            better = plan_chain(search.chain, search.lowered, changed, rooms)
            assert not first or better[0].cycles <= first[0].cycles
            seen["faster"] += bool(first) and better[0].cycles < first[0].cycles

    check()
    assert seen["faster"] > 50, seen


@settings(deadline=None, derandomize=True, max_examples=60)
@given(searches(heads()))
def test_dearer_instructions_never_make_longer_programs(search):
    words = [planned(search, word_cycles=weight)[0].words for weight in (0, 2, 10, 40) if planned(search)]
    assert words == sorted(words, reverse=True)


def test_the_text_of_a_plan():
    arch = small_arch(16, 16, ub=65536, wgt_rows=4096, acc_rows=1024, param_rows=64)
    chain, lowered = chain_with(mat_op(height=32, width=32, channels=1, out=6, kernel=(5, 5)))
    rooms = [Room(on_chip=frozenset(names), ub_bytes=2000) for names in (["x", "op.out"], [])]
    inside, strips = (plan_chain(chain, lowered, arch, room)[0].plans["op"] for room in rooms)
    assert inside.text() == (
        f"{inside.rows}x28 k=6 chunks=1 tail=0 odd=0 pixels=2 blocks=1 in groups of 1, channels 1 at a time"
    )
    assert " strips in=2 out=" in strips.text()


@pytest.mark.parametrize("keep", [1, 3, 10])
def test_the_best_few_plans_are_different_and_in_order(keep):
    arch = small_arch(4, 4, ub=4096, wgt_rows=256, acc_rows=128, param_rows=64)
    chain, lowered = chain_with(mat_op(height=9, width=9, channels=4, out=6, kernel=(3, 3)))
    found = plan_chain(chain, lowered, arch, Room(on_chip=frozenset(), ub_bytes=2000), keep=keep)
    assert len(found) == keep
    assert [plan.cost for plan in found] == sorted(plan.cost for plan in found)
    assert all(a.key() != b.key() for a, b in combinations(found, 2))
