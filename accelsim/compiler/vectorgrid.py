"""All tiles of vector work that leads a chain: what fits, and what each would cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.grid import (
    WORD_BYTES,
    Grid,
    Numbers,
    Pace,
    Ranks,
    Reals,
    Surroundings,
    buffered,
    every_tile,
    followers,
    grid_of,
    joined,
)
from accelsim.compiler.ops import DepthwiseOp, LrnOp, Op, VecOp, needs_acc
from accelsim.compiler.plan import distinct_parts, strip_shape
from accelsim.compiler.work import acc_rows_per_pixel, parameter_bytes, port_bytes, steps_per_pixel, words_per_tile

MAX_WIDTHS = 8
"""Widths of parts of the channels that are tried, beside the narrowest."""


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """Every tile of vector work that leads a chain, whatever room there is in UB."""

    op: Op
    arch: Arch
    around: Surroundings
    grid: Grid

    def fitted(self, ub_bytes: int) -> VectorFit:
        """The tiles that fit, with the most buffering that does."""
        found = self._fitted(self.grid, ub_bytes)
        if len(found.grid.rows) or not self.around.inputs_off_chip:
            return found
        grids = [_grid(self.op, self.arch, self.around, width) for width in _widths(self.op, self.arch)]
        return self._fitted(joined(grids), ub_bytes) if grids else found

    def _fitted(self, grid: Grid, ub_bytes: int) -> VectorFit:
        op, around = self.op, self.around
        w, size = op.window, grid.rows * grid.cols * op.window.out_c
        single = (grid.rows >= w.out_h) & (grid.cols >= w.out_w) & (not op.batched) & (around.images == 1)
        left = ub_bytes - size * isinstance(op, LrnOp)  # the factors
        strips = size * around.output_off_chip
        alone = single & (grid.group == 0)
        grid, _ = buffered(grid, [(strips, np.ones_like(size), alone, single)], single, left)
        return vector_fit(op, self.arch, around, grid)


def vector_options(op: Op, arch: Arch, around: Surroundings) -> VectorOptions:
    """Every tile of vector work that leads a chain."""
    return VectorOptions(op, arch, around, _grid(op, arch, around, 0))


def _widths(op: Op, arch: Arch) -> tuple[int, ...]:
    """Channels of the input that may be taken at a time where all are too many: those of windows that reach over
    several pixels."""
    cols, whole = arch.array.cols, op.window.in_c
    if isinstance(op, DepthwiseOp):
        found = [c for c in dict.fromkeys((*distinct_parts(whole), cols)) if c < whole and c % cols == 0]
    elif isinstance(op, VecOp) and op.kind in ("max", "avg"):
        found = [c for c in distinct_parts(whole) if c < whole and (c % cols == 0 or c < cols)]
    else:
        return ()
    return (*found[:MAX_WIDTHS], *found[MAX_WIDTHS:][-1:])


def _grid(op: Op, arch: Arch, around: Surroundings, width: int) -> Grid:
    """Every tile, with ``width`` channels of the input at a time, or with all if it is 0."""
    w = op.window
    per_pixel = acc_rows_per_pixel(op, arch) if needs_acc(op) else 0
    acc = arch.acc_rows - around.side_rows
    on_chip = not around.inputs_off_chip and not around.output_off_chip
    whole_row = on_chip and w.out_w * per_pixel <= acc
    rows, cols = every_tile(distinct_parts(w.out_h), (w.out_w,) if whole_row else distinct_parts(w.out_w))
    keep = (rows * cols * per_pixel <= acc) | ((rows == 1) & (cols == 1))
    rows, cols = rows[keep], cols[keep]
    (tall, wide), _ = strip_shape(w, rows, cols)
    strip_in = tall * wide * (width or w.in_c) * around.inputs_off_chip
    one = np.ones_like(rows)
    return grid_of(0, (rows, cols, width * one, strip_in, 0 * one, one))


@dataclass(frozen=True, slots=True)
class VectorFit:
    """The tiles that fit. ``vector``: vector unit cycles of their rows, ``gaps`` those between instructions;
    ``moved``: bytes through the port."""

    grid: Grid
    tiles: Numbers
    vector: int
    gaps: Numbers
    moved: Reals
    words: Numbers

    def rank(self, pace: Pace) -> Ranks:
        """The busier of vector unit and port, what both ends expose, and the stalls of single buffers."""
        grid, vector, rate, latency, tiles = self.grid, self.vector, pace.rate, pace.latency, self.tiles
        busy = np.maximum(vector + self.gaps, self.moved / rate)
        strips = (grid.strip_in > 0).astype(int) + (grid.strip_out > 0)
        ends = (vector + self.moved / rate) / tiles + latency * strips
        waits = np.where((grid.strips_in == 1) & (tiles > 1), tiles * (grid.strip_in / rate + latency), 0)
        cycles = busy + ends + waits + pace.word_cycles * self.words
        prices = pace.aim.prices
        energy = np.zeros(len(cycles))
        if prices is not None:
            energy = (prices.dram_byte_pj + prices.ub_byte_pj) * self.moved + prices.cycle_pj * cycles
        return Ranks(pace.aim.cost(cycles, energy), cycles, busy, energy)


def vector_fit(op: Op, arch: Arch, around: Surroundings, grid: Grid) -> VectorFit:
    """Candidates of which it is known how they are buffered, with their work."""
    w = op.window
    tiles = around.images * -(-w.out_h // grid.rows) * -(-w.out_w // grid.cols)
    vector = around.images * w.out_h * w.out_w * steps_per_pixel(op, arch) + around.vector_steps
    own, own_vector = words_per_tile(op, arch)
    more, vector_words, parameters = followers(around, grid.rows, w.out_h)
    words = tiles * (own + 3) + more
    parameters = parameters + tiles * parameter_bytes(op, arch)
    stored = grid.strip_out * port_bytes(op, around.part, arch)
    parts = -(-w.in_c // np.where(grid.group > 0, grid.group, w.in_c))
    words = words + tiles * (parts - 1)
    moved = tiles * (parts * grid.strip_in + stored) + words * WORD_BYTES + parameters
    moved = moved + around.moved_bytes + around.input_bytes
    return VectorFit(grid, tiles, vector, (tiles * own_vector + vector_words) * (arch.alu.latency + 1), moved, words)
