"""Chains: operations that run together, strip by strip, so that what passes between them need not be held whole.

The first operation (level 0) sets the pace, job by job. Behind it the others follow as soon as the rows they need are
there; one that begins on the array follows a job later, since units work in order: put right behind the job that feeds
it, it would hold up the array until the vector unit has caught up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from accelsim.compiler.ops import Lowered, LrnOp, MatOp, Op

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Operations emitted strip by strip together. ``feeds[i]`` are the levels whose outputs operation i reads;
    ``inner`` are the levels whose output stays within the chain, with the levels that read it. A ``batched`` chain runs
    once for all images, others image by image.
    """

    ops: tuple[Op, ...]
    feeds: tuple[tuple[int, ...], ...]
    inner: dict[int, tuple[int, ...]]
    batched: bool


class Job(NamedTuple):
    """A piece of level 0: it writes output rows ``row .. row + rows``; the first ``gives`` rows are complete then."""

    row: int
    rows: int
    gives: int


class Step(NamedTuple):
    """Level 0: job number ``at``. Other levels: output rows ``at .. at + rows``."""

    level: int
    at: int
    rows: int


def chain_of(ops: Sequence[Op], lowered: Lowered, *, whole: bool = False) -> Chain:
    """A chain of operations, each of which reads an output of one before it; ``whole``: over all images at once."""
    made: dict[str, int] = {}
    feeds = []
    for level, op in enumerate(ops):
        feeds.append(tuple(dict.fromkeys(made[lowered.root[t]] for t in op.inputs if lowered.root[t] in made)))
        made[lowered.root[op.output]] = level
    inner: dict[int, tuple[int, ...]] = {}
    for level, sources in enumerate(feeds):
        for feed in sources:
            inner[feed] = (*inner.get(feed, ()), level)
    return Chain(ops=tuple(ops), feeds=tuple(feeds), inner=inner, batched=whole or ops[0].batched)


def images_of(chain: Chain, lowered: Lowered) -> int:
    """Images that level 0 walks through by itself: those of the batch, unless its window slides over them."""
    return lowered.batch if chain.batched and not chain.ops[0].batched else 1


def begins_on_the_array(op: Op) -> bool:
    """Whether an operation's first work is a gemm."""
    return isinstance(op, MatOp | LrnOp)


def flow(chain: Chain, jobs: Sequence[Job], caps: Sequence[int]) -> Iterator[Step]:
    """The steps of one image in the order in which they are emitted; ``caps[i]`` rows at most at a time."""
    count = len(chain.ops)
    given = [0] * count

    def ready(level: int) -> int:
        return min(chain.ops[level].window.rows_ready(given[feed]) for feed in chain.feeds[level])

    def pieces(level: int, stop: int) -> Iterator[Step]:
        while given[level] < stop:
            rows = min(caps[level], stop - given[level])
            yield Step(level, given[level], rows)
            given[level] += rows

    delayed = [begins_on_the_array(op) for op in chain.ops]
    left = _jobs_left(jobs)
    pace, credit = [Fraction(0)] * count, [HALF] * count
    for number, job in enumerate(jobs):
        before = [ready(level) if level and delayed[level] else 0 for level in range(count)]
        yield Step(0, number, job.rows)
        given[0] = job.gives
        for level in range(1, count):
            if delayed[level]:
                # Spread evenly over the jobs of a tile: the array would wait for the vector unit between two steps.
                waiting = -(-(before[level] - given[level]) // caps[level])
                if number == 0 or left[number] >= left[number - 1]:
                    pace[level], credit[level] = Fraction(waiting, left[number]), HALF
                credit[level] += pace[level]
                steps = waiting if left[number] == 1 else int(credit[level])
                credit[level] -= steps
                yield from pieces(level, min(before[level], given[level] + steps * caps[level]))
            else:
                yield from pieces(level, ready(level))
    while True:  # what is left, the last level first, so that little is held
        open_levels = [level for level in range(count - 1, 0, -1) if given[level] < ready(level)]
        if not open_levels:
            return
        level = open_levels[0]
        yield from pieces(level, min(ready(level), given[level] + caps[level]))


def _jobs_left(jobs: Sequence[Job]) -> list[int]:
    """Per job, how many jobs of its tile there are from it on."""
    left = [1] * len(jobs)
    for number in range(len(jobs) - 2, -1, -1):
        after = jobs[number + 1]
        if (after.row, after.rows) == (jobs[number].row, jobs[number].rows):
            left[number] = left[number + 1] + 1
    return left


def rows_held(chain: Chain, jobs: Sequence[Job], caps: Sequence[int]) -> dict[int, int]:
    """Per level whose output stays within the chain, the rows of it that must be held at a time.

    Counted in rows of the consumers' view: their padding above and below belongs to it.
    """
    inner = chain.inner
    held = dict.fromkeys(inner, 1)
    done = [0] * len(chain.ops)
    for step in flow(chain, jobs, caps):
        level = step.level
        row = jobs[step.at].row if level == 0 else step.at
        if level in inner:
            held[level] = max(held[level], _stop(chain, level, row + step.rows) - _oldest(chain, level, row, done))
        if level:
            done[level] = row + step.rows
    return held


def rows_shared(chain: Chain, jobs: Sequence[Job], caps: Sequence[int], levels: Sequence[int]) -> int:
    """Rows of a tensor from DRAM that must be held at a time when ``levels`` read it, each as far as it has come."""
    held, done = 1, dict.fromkeys(levels, 0)
    for step in flow(chain, jobs, caps):
        if step.level in done:
            stop = chain.ops[step.level].window.last_row(step.at + step.rows)
            oldest = [chain.ops[level].window.first_row(row) for level, row in done.items()]
            held = max(held, stop - max(0, min(oldest)))
            done[step.level] = step.at + step.rows
    return held


def _stop(chain: Chain, level: int, stop: int) -> int:
    """One past the last row that exists once rows below ``stop`` are written: the padding below follows the last."""
    if stop < chain.ops[level].window.out_h:
        return stop
    return stop + max(chain.ops[reader].window.pads[1] for reader in chain.inner[level])


def _oldest(chain: Chain, level: int, row: int, done: Sequence[int]) -> int:
    """The first row of a level's output that somebody has still to read, not beyond ``row``."""
    wanted = [
        chain.ops[reader].window.first_row(done[reader])
        for reader in chain.inner[level]
        if done[reader] < chain.ops[reader].window.out_h
    ]
    return min([row, *wanted])
