"""The systolic array register by register: every PE, weight, skew and drain register, cycle by cycle, with values.

There is no formula for time here. Counters decide when a weight row or an activation row is at the edge of the array;
control bits then travel with the data through registers of their own, and a gemm lands in the cycle in which its last
row is seen being written to ACC. ``run`` takes gemms as they sit in the unit's queue. The registers themselves are in
``array_parts``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.oracles.array_parts import Job, Output, OutputStationary, Row, WeightStationary


@dataclass
class Gemm:
    """``w[t]``: tile t, k weight rows of n; ``x[t][j]``: k activations of row j; ``acc[j]``: the ACC row of row j."""

    ready: int  # first cycle in which queue and tokens allow acceptance
    w: list[list[list[int]]]
    x: list[list[list[int]]]
    acc: list[int]
    overwrite: bool


@dataclass
class Result:
    """Cycles per gemm, final ACC rows, and the cycles in which ACC was written."""

    accepted: list[int]
    landed: list[int]
    acc: dict[int, list[int]]
    writes: list[int]


@dataclass
class Control:
    """The unit's head: accepts gemms and keeps the jobs that have not reached the edge."""

    gemms: list[Gemm]
    jobs_of: Any
    overlap: bool
    accepted: list[int] = field(default_factory=list)
    todo: deque[Job] = field(default_factory=deque)

    def accept(self, cycle: int, nearly_idle: bool, landed: dict[int, int]) -> None:
        number = len(self.accepted)
        if number == len(self.gemms) or self.gemms[number].ready > cycle or self.todo or not nearly_idle:
            return
        if not self.overlap and number and not landed.get(number - 1, cycle) < cycle:
            return
        self.accepted.append(cycle)
        self.todo.extend(self.jobs_of(number, self.gemms[number]))


def _wide(row: list[int], lanes: int) -> list[int]:
    return row + [0] * (lanes - len(row))


def _split(gemms: list[Gemm], rows: int, dataflow: str) -> tuple[list[Gemm], list[int]]:
    """One gemm per tile or row block, for ``overlap: none``, and how many each gemm became."""
    parts: list[Gemm] = []
    counts = []
    for gemm in gemms:
        before = len(parts)
        if dataflow == "ws":
            for t, (w, x) in enumerate(zip(gemm.w, gemm.x)):
                full = w + [[0] * len(w[0])] * (rows - len(w))
                parts.append(Gemm(gemm.ready, [full], [x], gemm.acc, gemm.overwrite and t == 0))
        else:
            for at in range(0, len(gemm.acc), rows):
                x = [tile[at : at + rows] for tile in gemm.x]
                parts.append(Gemm(gemm.ready, gemm.w, x, gemm.acc[at : at + rows], gemm.overwrite))
        counts.append(len(parts) - before)
    return parts, counts


def run(rows: int, cols: int, gemms: list[Gemm], *, dataflow: str, weights: str, overlap: str) -> Result:
    """Step until every gemm has landed."""
    counts = [1] * len(gemms)
    if overlap == "none":
        gemms, counts = _split(gemms, rows, dataflow)
    runner = _run_ws if dataflow == "ws" else _run_os
    accepted, out = runner(rows, cols, gemms, weights == "shadow", overlap == "full")
    result = Result([], [], out.acc, out.writes)
    at = 0
    for count in counts:
        result.accepted.append(accepted[at])
        at += count
        result.landed.append(out.landed[at - 1])
    return result


def _run_ws(rows: int, cols: int, gemms: list[Gemm], shadow: bool, overlap: bool) -> tuple[list[int], Output]:
    def jobs(number: int, gemm: Gemm) -> Iterator[Job]:
        for t, (w, x) in enumerate(zip(gemm.w, gemm.x)):
            ends = t == len(gemm.w) - 1
            tags: list[Row | None] = [
                Row(number, acc, gemm.overwrite and t == 0, ends and j == len(x) - 1) for j, acc in enumerate(gemm.acc)
            ]
            yield Job(w, x, tags)

    control, out, array = Control(gemms, jobs, overlap), Output(cols, {}), WeightStationary(rows, cols, shadow)
    shifting: Job | None = None  # its weight row `step` is at the edge
    loaded: Job | None = None  # shifted in, no row has entered
    streaming: Job | None = None  # its activation row `row` is at the edge
    step = row = cycle = 0
    while len(out.landed) < len(gemms):
        if streaming is None and loaded is not None:
            streaming, loaded, row = loaded, None, 0
        if shifting is None and control.todo and loaded is None and (shadow or streaming is None):
            shifting, step = control.todo.popleft(), 0
        control.accept(cycle, shifting is None or step == len(shifting.w) - 1, out.landed)
        x, tag, w, capture = [0] * rows, None, [0] * cols, [False] * rows
        if streaming is not None:
            x, tag = _wide(streaming.x[row], rows), streaming.rows[row]
        if shifting is not None:  # the last weight row first; row r joins in step r
            w, capture = _wide(shifting.w[len(shifting.w) - 1 - step], cols), [r <= step for r in range(rows)]
        out.clock(cycle, *array.clock(x, streaming is not None and row == 0, w, capture, tag))
        row, step, cycle = row + 1, step + 1, cycle + 1
        if streaming is not None and row == len(streaming.x):
            streaming = None
        if shifting is not None and step == len(shifting.w):
            shifting, loaded = None, shifting
    return control.accepted, out


def _run_os(rows: int, cols: int, gemms: list[Gemm], shadow: bool, overlap: bool) -> tuple[list[int], Output]:
    def jobs(number: int, gemm: Gemm) -> Iterator[Job]:
        w = [_wide(row, cols) for tile in gemm.w for row in tile]
        whole = [[value for tile in gemm.x for value in tile[j]] for j in range(len(gemm.acc))]
        for at in range(0, len(whole), rows):
            pixels = whole[at : at + rows]
            steps = [_wide([pixel[j] for pixel in pixels], rows) for j in range(len(w))]
            ends = at + rows >= len(whole)
            tags: list[Row | None] = [
                Row(number, acc, gemm.overwrite, ends and r == 0) for r, acc in enumerate(gemm.acc[at : at + rows])
            ]
            yield Job(w, steps, tags + [None] * (rows - len(tags)))

    control, out, array = Control(gemms, jobs, overlap), Output(cols, {}), OutputStationary(rows, cols, shadow)
    streaming: Job | None = None
    step = cycle = 0
    draining = 0  # cycles for which the last block still holds the top row's drain register (or sum)
    while len(out.landed) < len(gemms):
        # The next block's top row hands over when it has streamed; in place it overwrites at once.
        grace = len(control.todo[0].w) if control.todo and shadow else 0
        if streaming is None and control.todo and draining <= grace:
            streaming, step = control.todo.popleft(), 0
            array.blocks.append(streaming.rows)
        control.accept(cycle, streaming is None or step == len(streaming.w) - 1, out.landed)
        draining = max(0, draining - 1)
        if streaming is None:
            out.clock(cycle, *array.clock([0] * rows, False, False, [0] * cols))
        else:
            last = step == len(streaming.w) - 1
            out.clock(cycle, *array.clock(streaming.x[step], step == 0, last, streaming.w[step]))
            step += 1
            if last:
                streaming, draining = None, rows
        cycle += 1
    return control.accepted, out
