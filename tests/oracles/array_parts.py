"""The registers of the array: PEs for both dataflows, and what lies between them and ACC.

In every ``clock`` method the arguments and registers are what is visible in this cycle; new register values are put in
place at its end, as a clock edge does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass
class Row:
    """Travels beside a row of sums to ACC."""

    gemm: int
    acc: int
    overwrite: bool
    last: bool  # of its gemm


@dataclass
class Job:
    """What is streamed in one go. ws: ``w`` are k rows to be shifted in, ``x`` the m rows that follow. os: in step j
    ``x[j]`` (one byte per PE row) and ``w[j]`` (one per column) enter. ``rows`` belong to the sums that come out.
    """

    w: list[list[int]]
    x: list[list[int]]
    rows: list[Row | None]


class Delay:
    """``length`` registers in a row."""

    def __init__(self, length: int, empty: Any) -> None:
        self.registers = deque([empty] * length)

    def clock(self, value: Any) -> Any:
        """What comes out in this cycle while ``value`` goes in."""
        self.registers.append(value)
        return self.registers.popleft()


class Output:
    """Below the array: column c's sums pass cols - c registers, then ACC reads, then it adds and writes."""

    def __init__(self, cols: int, acc: dict[int, list[int]]) -> None:
        self.acc, self.cols = acc, cols
        self.landed: dict[int, int] = {}
        self.writes: list[int] = []  # the cycles in which ACC was written
        self.deskew = [Delay(cols - c, 0) for c in range(cols)]
        self.tags = Delay(cols, None)
        self.adding: tuple[Row, list[int], list[int]] | None = None

    def clock(self, cycle: int, bottom: list[int], tag: Row | None) -> None:
        """``bottom[c]`` is what column c hands over now; ``tag`` describes what column 0 hands over."""
        aligned = [self.deskew[c].clock(bottom[c]) for c in range(self.cols)]
        row = self.tags.clock(tag)
        write: tuple[int, list[int]] | None = None
        if self.adding is not None:
            target, sums, old = self.adding
            write = (target.acc, [(0 if target.overwrite else old[c]) + sums[c] for c in range(self.cols)])
            self.writes.append(cycle)
            if target.last:
                self.landed[target.gemm] = cycle
        self.adding = None
        if row is not None:
            old = self.acc.get(row.acc, [0] * self.cols)
            if write is not None and write[0] == row.acc:
                old = write[1]  # forwarding
            self.adding = (row, aligned, old)
        if write is not None:
            self.acc[write[0]] = write[1]


class WeightStationary:
    """PEs with a weight in use and, with ``shadow``, one being shifted in."""

    def __init__(self, rows: int, cols: int, shadow: bool) -> None:
        self.rows, self.cols, self.shadow = rows, cols, shadow
        self.coming = [[0] * cols for _ in range(rows)]
        self.active = [[0] * cols for _ in range(rows)]
        self.sums = [[0] * cols for _ in range(rows)]
        self.east = [[(0, False)] * cols for _ in range(rows)]  # (activation, swap) register behind PE(r, c)
        self.lanes = [Delay(r, (0, False)) for r in range(rows)]
        self.columns = [Delay(c, (0, [False] * rows)) for c in range(cols)]
        self.tags = Delay(rows, None)

    def clock(
        self, x: list[int], swap: bool, w: list[int], capture: list[bool], tag: Row | None
    ) -> tuple[list[int], Row | None]:
        """Edge inputs of this cycle -> bottom sums and tag of this cycle. ``capture[r]`` travels with the weights."""
        bottom, old = list(self.sums[-1]), [list(row) for row in self.sums]
        chain = self.coming if self.shadow else self.active
        above = [list(row) for row in chain]
        west = [self.lanes[r].clock((x[r], swap)) for r in range(self.rows)]
        north = [self.columns[c].clock((w[c], capture)) for c in range(self.cols)]
        behind = [list(row) for row in self.east]
        for r in range(self.rows):
            for c in range(self.cols):
                value, swapping = west[r] if c == 0 else behind[r][c - 1]
                weight = self.coming[r][c] if swapping and self.shadow else self.active[r][c]
                self.sums[r][c] = (old[r - 1][c] if r else 0) + value * weight
                self.active[r][c] = weight
                self.east[r][c] = (value, swapping)
        for r in range(self.rows):
            for c in range(self.cols):
                if north[c][1][r]:
                    chain[r][c] = above[r - 1][c] if r else north[c][0]
        return bottom, self.tags.clock(tag)


class OutputStationary:
    """PEs that keep their sum; with ``shadow`` a drain register each, else the sums themselves move down."""

    def __init__(self, rows: int, cols: int, shadow: bool) -> None:
        self.rows, self.cols, self.shadow = rows, cols, shadow
        self.sums = [[0] * cols for _ in range(rows)]
        self.drain = [[0] * cols for _ in range(rows)]
        self.done = [[False] * cols for _ in range(rows)]  # the sum was completed in the cycle before
        self.full = [[False] * cols for _ in range(rows)]  # the drain register's value has not moved on
        self.east = [[(0, False, False)] * cols for _ in range(rows)]  # activation, first, last
        self.south = [[0] * cols for _ in range(rows)]
        self.lanes = [Delay(r, (0, False, False)) for r in range(rows)]
        self.columns = [Delay(c, 0) for c in range(cols)]
        self.step: list[int | None] = [None] * cols  # rows of this column that have left
        self.blocks: deque[list[Row | None]] = deque()  # tags of the blocks on their way
        self.leaving: list[Row | None] = []

    def clock(self, x: list[int], first: bool, last: bool, w: list[int]) -> tuple[list[int], Row | None]:
        """Edge inputs of this cycle -> bottom values and tag of this cycle."""
        store = self.drain if self.shadow else self.sums
        bottom, tag = list(store[-1]), None
        if self.step[0] is not None:
            tag = self.leaving[self.rows - 1 - self.step[0]]
        before = [list(row) for row in store]
        final, handing = [list(row) for row in self.sums], [list(row) for row in self.done]
        self._multiply(x, first, last, w)
        for c in range(self.cols):
            step = self.step[c]
            if step is not None:
                for r in range(step + 1, self.rows):
                    store[r][c], self.full[r][c] = before[r - 1][c], True
                self.full[step][c] = False
            for r in range(self.rows):
                if handing[r][c]:
                    assert not self.full[r][c], "a sum would be overwritten before it has left"
                    self.full[r][c] = True
                    if self.shadow:
                        self.drain[r][c] = final[r][c]
            if handing[-1][c]:
                self.step[c] = 0
                if c == 0:
                    self.leaving = self.blocks.popleft()
            elif step is not None:
                self.step[c] = step + 1 if step + 1 < self.rows else None
        return bottom, tag

    def _multiply(self, x: list[int], first: bool, last: bool, w: list[int]) -> None:
        west = [self.lanes[r].clock((x[r], first, last)) for r in range(self.rows)]
        north = [self.columns[c].clock(w[c]) for c in range(self.cols)]
        behind, above = [list(row) for row in self.east], [list(row) for row in self.south]
        for r in range(self.rows):
            for c in range(self.cols):
                value, begins, ends = west[r] if c == 0 else behind[r][c - 1]
                weight = north[c] if r == 0 else above[r - 1][c]
                if begins and not self.shadow:
                    assert not self.full[r][c] or self.step[c] == r, "a sum would be overwritten in place"
                self.sums[r][c] = (0 if begins else self.sums[r][c]) + value * weight
                self.done[r][c] = ends
                self.east[r][c], self.south[r][c] = (value, begins, ends), weight
