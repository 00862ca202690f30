"""The flow of rows through a chain: everything once, nothing early, the array not held up, and few rows held."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.chain import Chain, begins_on_the_array, chain_of, flow, rows_held, rows_shared
from accelsim.compiler.plan import Plan, jobs_of
from tests.compiler.chains import chains, cuts
from tests.compiler.ops import add_op, chain_with, depthwise_op, lowered_of, lrn_op, mat_op, pool_op, table_op
from tests.oracles.rows import read, rows_in_use


def drawn(data, **options):
    """(chain, jobs, rows at a time) of a random chain cut at random."""
    chain, _ = data.draw(chains(**options))
    plan, caps = data.draw(cuts(chain))
    return chain, jobs_of(chain.ops[0], plan), caps


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data())
def test_every_row_once_and_never_before_its_inputs(data):
    chain, jobs, caps = drawn(data)
    given_rows, number = [0] * len(chain.ops), 0
    for step in flow(chain, jobs, caps):
        if step.level == 0:
            assert (step.at, step.rows) == (number, jobs[number].rows)
            given_rows[0], number = jobs[number].gives, number + 1
            continue
        assert step.at == given_rows[step.level]
        assert 1 <= step.rows <= caps[step.level]
        for feed in chain.feeds[step.level]:
            height = chain.ops[feed].window.out_h
            assert max(min(row, height - 1) for row in read(chain, step)) < given_rows[feed]
            assert given_rows[feed] > 0  # the padding above is written with the first row
        given_rows[step.level] += step.rows
    assert number == len(jobs)
    assert given_rows == [op.window.out_h for op in chain.ops]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data())
def test_jobs_give_every_row_once_all_blocks_of_it_are_there(data):
    chain, _ = data.draw(chains())
    plan, _ = data.draw(cuts(chain))
    w, jobs = chain.ops[0].window, jobs_of(chain.ops[0], plan)
    blocks = len(plan.packing.blocks) if plan.packing else 1
    groups = [range(first, min(first + plan.group, blocks)) for first in range(0, blocks, plan.group)]
    wanted = []
    for group in groups:
        for row in range(0, w.out_h, plan.rows):
            for _ in range(0, w.out_w, plan.cols):
                wanted += [(row, min(plan.rows, w.out_h - row))] * (1 if plan.parts > 1 else len(group))
    assert [(job.row, job.rows) for job in jobs] == wanted
    last = {}
    for number, job in enumerate(jobs):
        last[job.row] = number
    for number, job in enumerate(jobs):
        done = [start for start, when in last.items() if when <= number]
        assert job.gives == sum(min(plan.rows, w.out_h - start) for start in done)


def test_what_begins_on_the_array_follows_a_job_later():
    """The rows of a normalisation were there before the job that it is put behind, until there are no more jobs."""
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.data())
    def check(data):
        chain, jobs, caps = drawn(data, kinds=("lrn", "max", "table"), most=3)
        given_rows = before = [0] * len(chain.ops)
        jobs_out = 0
        for step in flow(chain, jobs, caps):
            if step.level == 0:
                before, jobs_out = list(given_rows), jobs_out + 1
                given_rows[0] = jobs[step.at].gives
                continue
            if begins_on_the_array(chain.ops[step.level]) and jobs_out < len(jobs):
                for feed in chain.feeds[step.level]:
                    assert max(read(chain, step)) < before[feed]
                seen["between"] += 1
            given_rows[step.level] += step.rows

    check()
    assert seen["between"] > 100, seen


def test_delayed_steps_are_spread_evenly_over_the_jobs_of_a_tile():
    """Twelve rows of a normalisation behind tiles of four blocks and three rows: three steps over four jobs, evenly."""
    chain, jobs = normalised(height=12), []
    head = chain.ops[0]
    jobs = jobs_of(head, Plan(rows=3, cols=12, packing=None))
    jobs = [job._replace(gives=job.gives if block == 3 else job.row) for job in jobs for block in range(4)]
    steps = list(flow(chain, jobs, [3, 3, 1]))
    after = [len([s for s in run if s.level == 2]) for _, run in groupby(steps, key=job_counter())]
    tiles = [after[first : first + 4] for first in range(0, 16, 4)]
    assert tiles[0] == [0, 0, 0, 0]
    assert all(sum(tile) == 3 and max(tile) == 1 for tile in tiles[1:3])
    assert sum(after) == 12


def job_counter():
    """A key that changes with every job."""
    count = 0

    def key(step):
        nonlocal count
        count += step.level == 0
        return count

    return key


def normalised(height):
    shape = {"height": height, "width": 12, "channels": 4}
    return chain_with(
        mat_op(**shape, out=4, name="head"), table_op(name="s", inputs=("head.out",), observed=False, **shape),
        lrn_op(name="lrn", inputs=("head.out", "s.out"), **shape),
    )[0]  # fmt: skip


def test_rows_held_are_the_rows_in_use():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.data())
    def compare(data):
        chain, jobs, caps = drawn(data)
        steps = list(flow(chain, jobs, caps))
        held = rows_held(chain, jobs, caps)
        assert held == rows_in_use(chain, jobs, steps)
        for level, rows in held.items():
            height = chain.ops[level].window.out_h
            seen["part"] += rows < height
            seen["whole"] += rows >= height
            seen["several readers"] += len(chain.inner[level]) > 1
            seen["padding"] += any(chain.ops[reader].window.pads[0] for reader in chain.inner[level])

    compare()
    assert min(seen.values()) > 50, seen


def test_rows_held_by_hand():
    """Three rows of a convolution at a time under a 3x3 pooling that moves by two rows: AlexNet's first chain."""
    shape = {"height": 55, "width": 55, "channels": 4}
    chain, _ = chain_with(
        mat_op(**shape, out=4, name="head"),
        pool_op(kernel=(3, 3), stride=(2, 2), name="pool", inputs=("head.out",), **shape),
    )
    jobs = jobs_of(chain.ops[0], Plan(rows=3, cols=55))
    # Rows 6 to 8 come when the window of rows 4 to 6 is the next one.
    assert rows_held(chain, jobs, [3, 2]) == {0: 8 - 4 + 1}
    assert rows_held(chain, jobs_of(chain.ops[0], Plan(rows=55, cols=55)), [55, 27]) == {0: 55}


def test_a_tensor_from_dram_is_held_for_the_slowest_of_its_readers():
    """Two additions read the same tensor; the second one comes only when the first has done all it could."""
    shape = {"height": 8, "width": 2, "channels": 1}
    first = pool_op(**shape, kernel=(1, 1), stride=(1, 1), name="head")
    ops = (
        first, add_op(name="a", inputs=("head.out", "side"), **shape),
        add_op(name="b", inputs=("a.out", "side"), **shape),
    )  # fmt: skip
    chain = chain_of(ops, lowered_of(*ops))
    whole = jobs_of(first, Plan(rows=8, cols=2))
    assert rows_shared(chain, whole, [8, 1, 1], [1, 2]) == 8
    assert rows_shared(chain, jobs_of(first, Plan(rows=2, cols=2)), [2, 1, 1], [1, 2]) == 2
    assert rows_shared(chain, jobs_of(first, Plan(rows=2, cols=2)), [2, 1, 1], [1]) == 1


def test_a_chain_knows_who_feeds_whom():
    shape = {"height": 4, "width": 4, "channels": 2}
    ops = (
        mat_op(**shape, out=2, name="head"), depthwise_op(name="d", inputs=("head.out",), **shape),
        add_op(name="a", inputs=("d.out", "head.out"), **shape),
    )  # fmt: skip
    chain: Chain = chain_of(ops, lowered_of(*ops))
    assert chain.feeds == ((), (0,), (1, 0))
    assert chain.inner == {0: (1, 2), 1: (2,)}
