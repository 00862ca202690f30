"""The registers of the array, all of them, as NumPy arrays: skews, processing elements, accumulators.

In every ``clock`` method the arguments are the wires of this cycle and the registers hold what is visible in it; the
new register values are in place when the method returns, as after a clock edge. Nothing here knows what cycle it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Skew:
    """Lane i passes ``registers[i]`` registers in a row."""

    def __init__(self, registers: Sequence[int], dtype: type[np.generic]) -> None:
        longest, lanes = max(registers), len(registers)
        # The last stage is the wire behind the last registers. A lane enters so far before it as it has registers;
        # what lies in front of its entry is unused.
        self._stages = np.zeros((longest + 1, lanes), dtype)
        self._entry = (longest - np.array(registers), np.arange(lanes))

    def clock(self, values: Any) -> NDArray[Any]:
        """What comes out of each lane in this cycle while ``values`` goes in; valid until the next call."""
        self._stages[1:] = self._stages[:-1]
        self._stages[self._entry] = values
        return self._stages[-1]


def _east(registers: NDArray[Any], west: NDArray[Any]) -> NDArray[Any]:
    """Columns move one to the right; ``registers[:, 0]`` stands for the wire at the left edge."""
    registers[:, 1:] = registers[:, :-1]
    registers[:, 0] = west
    return registers


class WeightStationary:
    """PEs with an active weight and a sum, and with ``shadow`` a second weight register for the next tile."""

    def __init__(self, rows: int, cols: int, *, shadow: bool) -> None:
        self._shadowed = shadow
        self._lanes = Skew(range(rows), np.int32)
        self._swap_lanes = Skew(range(rows), np.bool_)
        self._columns = Skew(range(cols), np.int32)
        self._activation = np.zeros((rows, cols), np.int32)  # in front of each PE
        self._swap = np.zeros((rows, cols), np.bool_)
        self._capture = np.zeros((rows, cols), np.bool_)
        self._active = np.zeros((rows, cols), np.int32)
        self._shadow = np.zeros((rows, cols), np.int32)
        self._sum = np.zeros((rows, cols), np.int32)

    def clock(
        self, x: NDArray[np.int32], swap: bool, weights: NDArray[np.int32], capture: NDArray[np.bool_]
    ) -> NDArray[np.int32]:
        """``x`` (rows,) and ``swap`` at the left edge, ``weights`` (cols,) and ``capture`` (rows,) at the top edge;
        returns what the bottom sum registers (cols,) show.
        """
        bottom = self._sum[-1]
        activation = _east(self._activation, self._lanes.clock(x))
        swapping = _east(self._swap, self._swap_lanes.clock(swap))
        capturing = _east(self._capture, capture)
        weight = np.where(swapping, self._shadow, self._active) if self._shadowed else self._active
        sums = activation * weight
        sums[1:] += self._sum[:-1]
        chain = self._shadow if self._shadowed else self._active
        moved = np.vstack((self._columns.clock(weights), chain[:-1]))
        moved = np.where(capturing, moved, chain)
        self._sum = sums
        if self._shadowed:
            self._active, self._shadow = weight, moved
        else:
            self._active = moved
        return bottom


class OutputStationary:
    """PEs that keep their sum; with ``shadow`` a drain register each, else the sums themselves move down."""

    def __init__(self, rows: int, cols: int, *, shadow: bool) -> None:
        self._shadowed = shadow
        self._lanes = Skew(range(rows), np.int32)
        self._first_lanes = Skew(range(rows), np.bool_)
        self._last_lanes = Skew(range(rows), np.bool_)
        self._columns = Skew(range(cols), np.int32)
        self._activation = np.zeros((rows, cols), np.int32)  # in front of each PE
        self._first = np.zeros((rows, cols), np.bool_)
        self._last = np.zeros((rows, cols), np.bool_)
        self._weight = np.zeros((rows, cols), np.int32)
        self._sum = np.zeros((rows, cols), np.int32)
        self._done = np.zeros((rows, cols), np.bool_)  # the sum was completed by the last edge
        self._drain = np.zeros((rows, cols), np.int32)
        self._step = np.full((1, cols), rows)  # drain step of each column; rows: not draining
        self._row = np.arange(rows)[:, None]

    def clock(
        self, x: NDArray[np.int32], first: bool, last: bool, weights: NDArray[np.int32], step: int
    ) -> NDArray[np.int32]:
        """``x`` (rows,), ``first`` and ``last`` at the left edge, ``weights`` (cols,) at the top edge, column 0 in
        drain step ``step`` (rows: none); returns what the bottom of the drain chain (cols,) shows.
        """
        activation = _east(self._activation, self._lanes.clock(x))
        begins = _east(self._first, self._first_lanes.clock(first))
        ends = _east(self._last, self._last_lanes.clock(last))
        self._weight[1:] = self._weight[:-1]
        self._weight[0] = self._columns.clock(weights)
        below = self._row > _east(self._step, np.array([step]))  # these rows take what is above them
        sums = np.where(begins, 0, self._sum) + activation * self._weight
        if self._shadowed:
            bottom = self._drain[-1]
            drained = np.where(below, np.roll(self._drain, 1, axis=0), self._drain)
            self._drain = np.where(self._done, self._sum, drained)
        else:
            bottom = self._sum[-1]
            sums = np.where(below, np.roll(self._sum, 1, axis=0), sums)
        self._sum, self._done = sums, ends.copy()
        return bottom


class Update(NamedTuple):
    """What is done to an ACC row: lanes ``0 .. lanes-1`` get the sums, added to the old value or instead of it."""

    row: int
    lanes: int
    overwrite: bool


class Accumulators:
    """Below the array: column c's sums pass ``cols - c`` registers, the last of them the aligned row. ACC is read in
    the cycle in which that row is complete, and written in the next.
    """

    def __init__(self, acc: NDArray[np.int32]) -> None:
        self._acc = acc
        self._aligned = Skew([acc.shape[1] - column for column in range(acc.shape[1])], np.int32)
        self._adding: tuple[Update, NDArray[np.int32], NDArray[np.int32]] | None = None

    def clock(self, bottom: NDArray[np.int32], update: Update | None) -> None:
        """``update`` says what the aligned row of this cycle is for; None when it is for nothing."""
        aligned = self._aligned.clock(bottom)
        adding, written = self._adding, None
        if adding is not None:
            target, sums, old = adding
            written = sums if target.overwrite else old + sums
        self._adding = None
        if update is not None:
            old = self._acc[update.row, : update.lanes].copy()
            if written is not None and adding is not None and adding[0].row == update.row:
                # Forwarding: the row being read is being written, so take the new value where there is one.
                common = min(update.lanes, adding[0].lanes)
                old[:common] = written[:common]
            self._adding = (update, aligned[: update.lanes].copy(), old)
        if written is not None and adding is not None:
            self._acc[adding[0].row, : adding[0].lanes] = written
