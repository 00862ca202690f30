"""All tiles of matrix work that leads a chain: what fits, and what each asks of the units.

Capacity is exact. ``matrixrank.py`` says what each costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.grid import Grid, Numbers, Surroundings, buffered, chosen, every_tile, grid_of, joined
from accelsim.compiler.matrixrank import MatrixFit, MatrixWork, fit_of, work_of
from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Packing
from accelsim.compiler.plan import distinct_parts, strip_shape


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """Every tile of matrix work with some packings, and its work, whatever room there is in UB."""

    op: MatOp
    packings: tuple[Packing, ...]
    arch: Arch
    around: Surroundings
    grid: Grid
    work: MatrixWork

    def fitted(self, ub_bytes: int) -> MatrixFit:
        """The tiles that fit, with the most buffering that does; strips of the output hold a whole group of blocks if
        that fits."""
        grid, kept = _buffered(self, ub_bytes)
        work = self.work if kept is None else chosen(self.work, kept)
        return fit_of(self.op, self.arch, self.around, grid, work)


def matrix_options(op: MatOp, packings: Sequence[Packing], arch: Arch, around: Surroundings) -> MatrixOptions:
    """Every tile of matrix work with every one of some packings."""
    grids = [_grid(op, packing, number, arch, around) for number, packing in enumerate(packings)]
    works = [work_of(op, packing, arch, around, grid) for packing, grid in zip(packings, grids)]
    return MatrixOptions(op, tuple(packings), arch, around, joined(grids), joined(works))


def _grid(op: MatOp, packing: Packing, number: int, arch: Arch, around: Surroundings) -> Grid:
    """Every tile with one packing."""
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
    return _sized(op, packing, number, around, (rows, cols, group, together))


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
    op: MatOp, packing: Packing, number: int, around: Surroundings, cut: tuple[Numbers, Numbers, Numbers, Numbers]
) -> Grid:
    """The candidates with the sizes of their strips and planes."""
    w, (rows, cols, group, together) = op.window, cut
    (tall, wide), _ = strip_shape(w, rows, cols)
    held = packing.channels if len(packing.groups) == 1 else w.in_c
    strip_in = tall * wide * held if around.inputs_off_chip else np.zeros_like(rows)
    columns = cols if packing.taps == 1 else wide
    plane = columns * tall * packing.odd * len(packing.groups)
    return grid_of(number, (rows, cols, group, strip_in, plane, together))


def _buffered(options: MatrixOptions, ub_bytes: int) -> tuple[Grid, NDArray[np.intp] | None]:
    op, around, grid, packings = options.op, options.around, options.grid, options.packings
    if not around.inputs_off_chip and not around.output_off_chip and not any(packing.odd for packing in packings):
        return grid, None
    w = op.window
    blocks, width, parts, odd = (
        np.array(values)[grid.packing]
        for values in zip(*((len(p.blocks), p.lanes // p.pixels, p.parts, p.odd) for p in packings))
    )
    single = (grid.rows >= w.out_h) & (grid.cols >= w.out_w) & (not op.batched) & (around.images == 1)
    sizes = []
    for whole in (True, False) if around.output_off_chip else (True,):
        out_blocks = np.where(grid.together > 1, 1, grid.group if whole else 1)
        if not around.inputs_off_chip and not around.output_off_chip:
            out_blocks = np.where(odd > 0, out_blocks, 1)
        size = grid.rows * grid.cols * np.minimum(out_blocks * width, w.out_c) * around.output_off_chip
        sizes.append((size, out_blocks, single & (parts == 1), single & (out_blocks >= blocks)))
    return buffered(grid, sizes, single, ub_bytes)
