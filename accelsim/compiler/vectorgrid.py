"""All tiles of vector work that leads a chain: what fits, and what each would cost."""

from __future__ import annotations

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.grid import BUFFERS, WORD_BYTES, Grid, Surroundings, every_tile, followers
from accelsim.compiler.ops import LrnOp, Op, needs_acc
from accelsim.compiler.plan import distinct_parts, strip_shape
from accelsim.compiler.work import acc_rows_per_pixel, parameter_bytes, steps_per_pixel, words_per_tile


def vector_grid(op: Op, arch: Arch, around: Surroundings, ub_bytes: int) -> Grid:
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
    grid = Grid(
        rows, cols, np.ones_like(rows), strip_in, rows * cols * w.out_c * around.output_off_chip, rows * 0,
        np.ones_like(rows),
    )
    factors = rows * cols * w.out_c * isinstance(op, LrnOp)
    single = (rows >= w.out_h) & (cols >= w.out_w) & (not op.batched) & (around.images == 1)
    for inputs, outputs in BUFFERS:
        count_in = np.where(strip_in > 0, np.where(single, 1, inputs), 0)
        count_out = np.where(grid.strip_out > 0, np.where(single, 1, outputs), 0)
        new = ~grid.fits & (count_in * strip_in + count_out * grid.strip_out + factors <= ub_bytes)
        grid.strips_in[new], grid.strips_out[new] = count_in[new], count_out[new]
        grid.fits |= new
    _price_vectors(op, arch, around, grid)
    return grid


def _price_vectors(op: Op, arch: Arch, around: Surroundings, grid: Grid) -> None:
    w, rate, latency = op.window, float(arch.dram.bytes_per_cycle), arch.dram.latency
    tiles = around.images * -(-w.out_h // grid.rows) * -(-w.out_w // grid.cols)
    vector = around.images * w.out_h * w.out_w * steps_per_pixel(op, arch) + around.vector_steps
    own, own_vector = words_per_tile(op, arch)
    more, vector_words, parameters = followers(around, grid, w.out_h)
    words = tiles * (own + 3) + more
    parameters = parameters + tiles * parameter_bytes(op, arch)
    moved = tiles * (grid.strip_in + grid.strip_out) + words * WORD_BYTES + parameters
    moved = moved + around.moved_bytes + around.input_bytes
    busy = np.maximum(vector + (tiles * own_vector + vector_words) * (arch.alu.latency + 1), moved / rate)
    ends = (vector + moved / rate) / tiles + latency * ((grid.strip_in > 0).astype(int) + (grid.strip_out > 0))
    waits = np.where((grid.strips_in == 1) & (tiles > 1), tiles * (grid.strip_in / rate + latency), 0)
    cycles = busy + ends + waits + around.word_cycles * words
    prices = around.aim.prices
    energy = np.zeros(len(cycles))
    if prices is not None:
        energy = (prices.dram_byte_pj + prices.ub_byte_pj) * moved + prices.cycle_pj * cycles
    grid.rank(cycles, busy, words, energy, around.aim)
