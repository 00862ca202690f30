"""All tiles of matrix work that leads a chain: what fits, and what each would cost.

Capacity is exact; the cost is a closed form over the laws of ``accelsim.timing``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.aim import Aim
from accelsim.compiler.grid import BUFFERS, WORD_BYTES, Grid, Numbers, Reals, Surroundings, every_tile, followers
from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Packing, array_cycles, slab_rows
from accelsim.compiler.plan import distinct_parts, strip_shape

FOLLOWING = 1.5
"""Tiles that pass before an operation behind the first has what it needs, on average."""

PIECEMEAL = 1.1
"""What it costs when operations that follow row by row are fed by tiles narrower than a row."""

UNEVEN = 0.75
"""Of a burst, what a run that does not start on one costs on average beside its bytes."""


def matrix_grid(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, ub_bytes: int) -> Grid:
    """Every tile of matrix work with one packing."""
    w, acc = op.window, arch.acc_rows - around.side_rows
    on_chip = not around.inputs_off_chip and not around.output_off_chip
    whole_row = on_chip and -(-w.out_w // packing.pixels) <= acc
    rows, cols = every_tile(distinct_parts(w.out_h), (w.out_w,) if whole_row else distinct_parts(w.out_w))
    stream = rows * -(-cols // packing.pixels)
    last = w.out_w % cols
    keep = (stream <= acc) & (np.where(last, last, cols) >= packing.pixels)
    rows, cols, stream = rows[keep], cols[keep], stream[keep]
    groups = _group_sizes(packing, arch, stream, acc)
    group = np.concatenate([np.broadcast_to(size, stream.shape) for size in groups]).astype(np.int64)
    rows, cols, stream = (np.concatenate([part] * len(groups)) for part in (rows, cols, stream))
    if packing.parts > 1:
        held = group * stream <= acc
        rows, cols, group = rows[held], cols[held], group[held]
    together = np.ones_like(rows)
    if around.images > 1 and not around.inputs_off_chip and not packing.odd and packing.parts == 1:
        # As many images of a batch as ACC holds the sums of, or one.
        most = np.clip(acc // (rows * -(-cols // packing.pixels)), 1, around.images)
        rows, cols, group = (np.concatenate([part, part]) for part in (rows, cols, group))
        together = np.concatenate([together, -(-around.images // -(-around.images // most))])
    grid = _sized(op, packing, around, (rows, cols, group, together))
    _buffer(op, packing, around, grid, ub_bytes)
    if len(grid.rows):
        _price(op, packing, arch, around, grid)
    return grid


def _group_sizes(packing: Packing, arch: Arch, stream: Numbers, acc: int) -> list[Numbers]:
    """Blocks in a group: all, as many as stay in WGT (with and without room to load ahead), one; if the reduction is
    cut, as many as ACC holds, evenly."""
    blocks = len(packing.blocks)
    if packing.parts > 1:
        most = np.maximum(1, np.minimum(blocks, acc // np.maximum(1, stream)))
        even = -(-blocks // -(-blocks // most))
        return [even, np.maximum(1, even // 2)]
    fit = arch.wgt_rows // packing.weight_rows
    sizes = {blocks, 1, *(size for size in (fit, fit // 2) if 1 <= size < blocks)}
    sizes |= {-(-blocks // -(-blocks // size)) for size in sizes}
    return [np.array(size) for size in sorted(sizes, reverse=True)]


def _sized(
    op: MatOp, packing: Packing, around: Surroundings, cut: tuple[Numbers, Numbers, Numbers, Numbers]
) -> Grid:
    """The candidates with the sizes of their strips and planes."""
    w, (rows, cols, group, together) = op.window, cut
    (tall, wide), _ = strip_shape(w, rows, cols)
    held = packing.channels if len(packing.groups) == 1 else w.in_c
    strip_in = tall * wide * held if around.inputs_off_chip else np.zeros_like(rows)
    columns = cols if packing.taps == 1 else wide
    plane = columns * tall * packing.odd * len(packing.groups)
    return Grid(rows, cols, group, strip_in, np.zeros_like(rows), plane, together)


def _buffer(op: MatOp, packing: Packing, around: Surroundings, grid: Grid, ub_bytes: int) -> None:
    """The most buffering that fits each tile; strips of the output hold a whole group of blocks if that fits."""
    w, blocks, width = op.window, len(packing.blocks), packing.lanes // packing.pixels
    if not around.inputs_off_chip and not around.output_off_chip and not packing.odd:
        grid.fits[:] = True
        return
    single = (grid.rows >= w.out_h) & (grid.cols >= w.out_w) & (not op.batched) & (around.images == 1)
    for whole in (True, False) if around.output_off_chip else (True,):
        out_blocks = np.where(grid.together > 1, 1, grid.group if whole else 1)
        size = grid.rows * grid.cols * np.minimum(out_blocks * width, w.out_c) * around.output_off_chip
        for inputs, outputs in BUFFERS:
            count_in = np.where(grid.strip_in > 0, np.where(single & (packing.parts == 1), 1, inputs), 0)
            count_out = np.where(size > 0, np.where(single & (out_blocks >= blocks), 1, outputs), 0)
            planes = np.where(grid.plane > 0, np.where(single, 1, inputs), 0)
            used = count_in * grid.strip_in + count_out * size + planes * grid.plane
            new = ~grid.fits & (used <= ub_bytes)
            grid.strips_in[new], grid.strips_out[new], grid.planes[new] = count_in[new], count_out[new], planes[new]
            grid.strip_out[new], grid.out_blocks[new] = size[new], out_blocks[new]
            grid.fits |= new
            if grid.fits.all():
                return


def _price(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid) -> None:
    """Cycles: the busiest of array, vector unit and port, what both ends expose, and the stalls of single buffers."""
    w, rate = op.window, float(arch.dram.bytes_per_cycle)
    blocks, parts = len(packing.blocks), packing.parts
    down, across = -(-w.out_h // grid.rows), -(-w.out_w // grid.cols)
    tiles, passes = -(-around.images // grid.together) * down * across, -(-blocks // grid.group)
    sums = around.images * w.out_h * across * -(-grid.cols // packing.pixels)  # ACC rows of a block over all tiles
    per_row = max(1, -(-packing.lanes // arch.alu.lanes)) * (2 if op.table is not None else 1)
    gemm = _ragged(grid, w.out_h, w.out_w, packing, arch) * around.images * blocks * parts + around.gemm_rows
    vector = sums * blocks * per_row + around.vector_steps + tiles * blocks * (arch.alu.latency + 1)
    vector = vector + passes * tiles * (grid.plane // max(1, packing.odd))
    weights = sum(packing.weight_rows * packing.pixels * block.count for block in packing.blocks) * parts
    resident = packing.weight_rows * parts * grid.group <= arch.wgt_rows
    loaded = np.where(resident, weights, weights * tiles)
    visits = tiles * passes
    words = tiles * blocks * (1 + 2 * len(packing.slabs) * parts)
    words = words + np.where(resident, blocks * len(packing.slabs) * parts, 0)
    words = words + np.where(grid.strip_in > 0, 2 * visits * parts, 0)
    more, vector_words, parameters = followers(around, grid, w.out_h)
    words, vector = words + more, vector + vector_words * (arch.alu.latency + 1)
    read, stored = _input_bytes(op, packing, arch, grid, visits), _output_bytes(op, packing, arch, around, grid)
    moved = loaded + around.moved_bytes + around.input_bytes + parameters + read + stored + words * WORD_BYTES
    busy = np.maximum(np.maximum(gemm, vector), moved / rate)
    cycles = busy + _ends(op, packing, arch, around, grid, tiles, per_row) + around.word_cycles * words
    if around.behind:  # one unit works alone on the first tiles, the other on the last
        cycles = cycles + np.minimum(1, FOLLOWING / down) * np.minimum(gemm, vector)
    cycles = cycles + _stalls(packing, arch, around, grid, tiles, passes, per_row)
    if around.behind:
        cycles = np.where(grid.cols < w.out_w, PIECEMEAL * cycles, cycles)
    energy = _energy_pj(packing, around.aim, cycles, moved, loaded, sums * blocks * parts)
    grid.rank(cycles, busy, words, energy, around.aim)


def _energy_pj(packing: Packing, aim: Aim, cycles: Reals, moved: Reals, loaded: Reals, sums: Reals) -> Reals:
    """What depends on the plan: bytes moved and loaded, bytes that gemms read and sums they update, and time."""
    if aim.prices is None:
        return np.zeros(len(cycles))
    tiles = sum(count * tiles for count, tiles, _ in packing.gemms)
    prices = aim.prices
    return (
        prices.dram_byte_pj * moved
        + prices.wgt_byte_pj * loaded
        + prices.ub_byte_pj * (moved + sums * packing.weight_rows)
        + prices.acc_byte_pj * sums * (8 * tiles * packing.lanes)
        + prices.cycle_pj * cycles
    )


def _ragged(grid: Grid, height: int, width: int, packing: Packing, arch: Arch) -> Reals:
    """Array cycles of one block over all tiles, the smaller ones at the edges included."""
    total = np.zeros(len(grid.rows))
    rows, cols = grid.rows, grid.cols
    for tall, downs in ((rows, height // rows), (height % rows, (height % rows > 0).astype(np.int64))):
        for wide, acrosses in ((cols, width // cols), (width % cols, (width % cols > 0).astype(np.int64))):
            if not (acrosses.any() and downs.any()):
                continue
            values, where = np.unique(tall * -(-wide // packing.pixels), return_inverse=True)
            known = [array_cycles(packing, value, arch) if value else 0 for value in values.tolist()]
            total += downs * acrosses * np.array(known)[where]
    return total


def _input_bytes(op: MatOp, packing: Packing, arch: Arch, grid: Grid, visits: Numbers) -> Reals:
    """Port bytes of the input strips, uneven ends of runs included."""
    w, burst = op.window, arch.dram.burst_bytes
    if packing.parts > 1:
        run: Any = packing.channels
        even: Any = False
    else:
        run = np.maximum(1, strip_shape(w, grid.rows, grid.cols)[0][1] * w.in_c)
        even = (grid.cols >= w.out_w) & (w.pads[2] == w.pads[3] == 0)
    extra = np.where(even | (run % burst == 0), 0, UNEVEN * burst / run)
    return visits * packing.parts * grid.strip_in * (1 + extra)


def _output_bytes(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid) -> Reals:
    """Port bytes of the output strips: runs are short where a strip holds only some channels."""
    w, burst = op.window, arch.dram.burst_bytes
    if not around.output_off_chip:
        return np.zeros(len(grid.rows))
    run = grid.out_blocks * (packing.lanes // packing.pixels)
    even = (grid.cols >= w.out_w) & (grid.out_blocks >= len(packing.blocks)) | (run % burst == 0)
    return around.images * w.out_h * w.out_w * w.out_c * (1 + np.where(even, 0, UNEVEN * burst / run))


def _ends(
    op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid, tiles: Numbers, per_row: int
) -> Reals:
    """Cycles before the array has its first operands and after it has given its last sums."""
    rate, latency = float(arch.dram.bytes_per_cycle), arch.dram.latency
    stream = grid.together * grid.rows * -(-grid.cols // packing.pixels)
    start = np.where(grid.strip_in > 0, grid.strip_in / rate, 0) + grid.plane // max(1, packing.odd)
    w = op.window
    seen = (grid.rows - 1) * w.stride[0] + w.span[0] - w.pads[0]
    start = start + around.input_bytes / rate * np.clip(seen, w.in_h / 4, w.in_h) / w.in_h
    if around.leads:  # behind another chain, the first weights are loaded while that one ends
        start = start + latency + slab_rows(packing.slabs[0]) * packing.lanes / rate
    end = stream * per_row + arch.array.rows + arch.array.cols
    return start + end + np.where(grid.strip_out > 0, grid.strip_out / rate + latency, 0)


def _stalls(
    packing: Packing, arch: Arch, around: Surroundings, grid: Grid, tiles: Numbers, passes: Numbers, per_row: int
) -> Reals:
    """Cycles in which a single buffer makes its users wait for each other."""
    rate, latency, parts = float(arch.dram.bytes_per_cycle), arch.dram.latency, packing.parts
    acc, blocks = arch.acc_rows - around.side_rows, len(packing.blocks)
    stream = grid.together * grid.rows * -(-grid.cols // packing.pixels)
    drain = stream * per_row + arch.array.rows + arch.array.cols
    if parts > 1:
        stall = np.where(2 * grid.group * stream > acc, tiles * passes * drain, 0)
    else:
        stall = np.where((2 * stream > acc) & (tiles * blocks > 1), tiles * blocks * drain, 0)
    waits = (grid.strips_in == 1) & (tiles * parts > 1)
    stall = stall + np.where(waits, tiles * passes * parts * (grid.strip_in / rate + latency), 0)
    waits = (grid.strips_out == 1) & (tiles * passes > 1)
    return stall + np.where(waits, tiles * (grid.strip_out / rate + latency), 0)
