"""Which rows of the tensors within a chain are in use, step by step, by sets of rows."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.compiler.chain import Chain, Job, Step


def written(chain: Chain, jobs: Sequence[Job], step: Step) -> set[int]:
    """The output rows that a step writes; with the last one comes the padding below that readers see."""
    first = jobs[step.at].row if step.level == 0 else step.at
    rows = set(range(first, first + step.rows))
    height = chain.ops[step.level].window.out_h
    if first + step.rows == height:
        below = [chain.ops[reader].window.pads[1] for reader, feeds in enumerate(chain.feeds) if step.level in feeds]
        rows |= set(range(height, height + max(below, default=0)))
    return rows


def read(chain: Chain, step: Step) -> set[int]:
    """The rows of its inputs that a step behind the first one looks at, padding included."""
    w = chain.ops[step.level].window
    return {
        row * w.stride[0] - w.pads[0] + tap * w.dilation[0]
        for row in range(step.at, step.at + step.rows)
        for tap in range(w.kernel[0])
    }


def rows_in_use(chain: Chain, jobs: Sequence[Job], steps: Sequence[Step]) -> dict[int, int]:
    """Per level that another one reads, the most rows from the first to the last one in use at a time.

    In use are rows being written, and rows that exist and will still be read. The padding above exists from the start.
    """
    held: dict[int, int] = {}
    for level in {feed for feeds in chain.feeds for feed in feeds}:
        exist: set[int] = {-row for row in range(1, 1 + max(op.window.pads[0] for op in chain.ops))}
        readers = [reader for reader, feeds in enumerate(chain.feeds) if level in feeds]
        wanted = [read(chain, step) if step.level in readers else set() for step in steps]
        most = 0
        for number, step in enumerate(steps):
            if step.level != level:
                continue
            new = written(chain, jobs, step)
            exist |= new
            rows = new | (exist & set().union(*wanted[number:]))
            most = max(most, max(rows) - min(rows) + 1)
        held[level] = most
    return held
