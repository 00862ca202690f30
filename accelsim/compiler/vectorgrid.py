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
)
from accelsim.compiler.ops import LrnOp, Op, needs_acc
from accelsim.compiler.plan import distinct_parts, strip_shape
from accelsim.compiler.work import acc_rows_per_pixel, parameter_bytes, port_bytes, steps_per_pixel, words_per_tile


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """Every tile of vector work that leads a chain, whatever room there is in UB."""

    op: Op
    arch: Arch
    around: Surroundings
    grid: Grid

    def fitted(self, ub_bytes: int) -> VectorFit:
        """The tiles that fit, with the most buffering that does."""
        op, grid, around = self.op, self.grid, self.around
        w, size = op.window, grid.rows * grid.cols * op.window.out_c
        single = (grid.rows >= w.out_h) & (grid.cols >= w.out_w) & (not op.batched) & (around.images == 1)
        left = ub_bytes - size * isinstance(op, LrnOp)  # the factors
        strips = size * around.output_off_chip
        grid, _ = buffered(grid, [(strips, grid.group, single, single)], single, left)
        return vector_fit(op, self.arch, around, grid)


def vector_options(op: Op, arch: Arch, around: Surroundings) -> VectorOptions:
    """Every tile of vector work that leads a chain."""
    w = op.window
    per_pixel = acc_rows_per_pixel(op, arch) if needs_acc(op) else 0
    acc = arch.acc_rows - around.side_rows
    on_chip = not around.inputs_off_chip and not around.output_off_chip
    whole_row = on_chip and w.out_w * per_pixel <= acc
    rows, cols = every_tile(distinct_parts(w.out_h), (w.out_w,) if whole_row else distinct_parts(w.out_w))
    keep = (rows * cols * per_pixel <= acc) | ((rows == 1) & (cols == 1))
    rows, cols = rows[keep], cols[keep]
    (tall, wide), _ = strip_shape(w, rows, cols)
    strip_in = tall * wide * w.in_c * around.inputs_off_chip
    one = np.ones_like(rows)
    return VectorOptions(op, arch, around, grid_of(0, (rows, cols, one, strip_in, 0 * one, one)))


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
    moved = tiles * (grid.strip_in + stored) + words * WORD_BYTES + parameters
    moved = moved + around.moved_bytes + around.input_bytes
    return VectorFit(grid, tiles, vector, (tiles * own_vector + vector_words) * (arch.alu.latency + 1), moved, words)
