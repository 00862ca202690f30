"""How a convolution's reduction and output channels lie on the array: row packing and column packing.

A *run* is what the array reads for one kernel row of one ACC row: the contiguous bytes under ``pixels`` neighbouring
windows. It is cut into ``chunks`` of ``k`` bytes and perhaps a shorter ``tail``, so nothing outside the windows is
ever read. ``pixels`` > 1 is column packing: the spare columns compute the next output pixels of the row with shifted
(Toeplitz) weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.ops import MatOp
from accelsim.isa.protocol import ArrayWork
from accelsim.timing import array_interval_cycles

MAX_CHUNKS = 1 << 10
"""Iterations of a gemm's inner reduction loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Output channels ``first .. first + count`` computed together; ``channel`` is the first input channel read."""

    first: int
    count: int
    channel: int


Shapes: TypeAlias = tuple[tuple[int, int, int], ...]
"""Gemms as (how many, tiles, k)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """One way to lay a MatOp on the array. ``run = k * chunks + tail`` bytes."""

    pixels: int
    k: int
    chunks: int
    tail: int
    taps: int  # separate kernel columns (1 when a run covers the whole kernel row)
    kernel_rows: int
    blocks: tuple[Block, ...]
    gemms: Shapes = ()  # of one block and one tile of pixels

    @property
    def run(self) -> int:
        """Contiguous bytes of one kernel row and tap."""
        return self.k * self.chunks + self.tail

    @property
    def weight_rows(self) -> int:
        """WGT rows of one block."""
        return self.kernel_rows * self.taps * self.run

    @property
    def lanes(self) -> int:
        """Columns used by a full block."""
        return self.pixels * self.blocks[0].count

    def text(self, op: MatOp) -> str:
        """The name reported as ``packing``."""
        base = "row" if self.taps == 1 else "channel"
        return f"{base}+column x{self.pixels}" if self.pixels > 1 else base


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The weight tiles of one gemm: half-open ranges of kernel rows and taps, and ``count`` tiles of ``k`` bytes from
    byte ``at`` of each run."""

    rows: tuple[int, int]
    taps: tuple[int, int]
    at: int
    k: int
    count: int

    @property
    def tiles(self) -> int:
        """Weight tiles of the piece."""
        return (self.rows[1] - self.rows[0]) * (self.taps[1] - self.taps[0]) * self.count

    @property
    def weight_rows(self) -> int:
        """WGT rows of the piece."""
        return self.tiles * self.k


Slab: TypeAlias = tuple[Piece, ...]
"""Pieces loaded by one instruction, one after the other in WGT."""


def slab_rows(slab: Slab) -> int:
    """WGT rows of a slab."""
    return sum(piece.weight_rows for piece in slab)


def slabs(packing: Packing, arch: Arch) -> tuple[Slab, ...]:
    """Cut one block's weights so that loading runs ahead of the array; one slab if all blocks fit WGT."""
    everything = packing.weight_rows * len(packing.blocks) <= arch.wgt_rows
    # Cut blocks in quarters of WGT: in halves, the first slab of the next block would wait for the last of this one.
    part = 1 if everything else 2 if 2 * packing.weight_rows <= arch.wgt_rows else 4
    limit = max(packing.k, arch.wgt_rows // part)
    whole = (0, packing.taps)
    if packing.taps * packing.run <= limit and packing.chunks <= MAX_CHUNKS:
        per = limit // (packing.taps * packing.run)
        return tuple(_slab(packing, part, whole, (0, packing.run)) for part in _ranges(packing.kernel_rows, per))
    per = min(MAX_CHUNKS, limit // packing.k) * packing.k
    return tuple(
        _slab(packing, (row, row + 1), (tap, tap + 1), part)
        for row in range(packing.kernel_rows)
        for tap in range(packing.taps)
        for part in _ranges(packing.run, per)
    )


def _slab(packing: Packing, rows: tuple[int, int], taps: tuple[int, int], part: tuple[int, int]) -> Slab:
    """The whole tiles in bytes ``part`` of each run, then the tail if it lies there."""
    count, tail = divmod(part[1] - part[0], packing.k)
    made = [Piece(rows=rows, taps=taps, at=part[0], k=packing.k, count=count)] if count else []
    if tail:
        made.append(Piece(rows=rows, taps=taps, at=part[1] - tail, k=tail, count=1))
    return tuple(made)


def _ranges(extent: int, per: int) -> list[tuple[int, int]]:
    return [(first, min(first + per, extent)) for first in range(0, extent, per)]


def packings(op: MatOp, arch: Arch) -> tuple[Packing, ...]:
    """Every packing of ``op`` that the array can hold, plainest first."""
    limit = 1
    packable = op.groups == 1 and op.window.dilation[1] == 1 and not op.batched
    if packable:
        limit = max(1, min(arch.array.cols // op.window.out_c, op.window.out_w))
    return tuple(_packing(op, arch, pixels) for pixels in range(1, limit + 1))


def _packing(op: MatOp, arch: Arch, pixels: int) -> Packing:
    window = op.window
    group_in, group_out = window.in_c // op.groups, window.out_c // op.groups
    joined = op.groups == 1 and window.dilation[1] == 1
    taps = 1 if joined else window.kernel[1]
    run = ((pixels - 1) * window.stride[1] + window.kernel[1]) * window.in_c if joined else group_in
    k = _tile_depth(run, arch, stream=window.out_w if op.batched else arch.array.rows)
    width = arch.array.cols // pixels
    blocks = tuple(
        Block(first=g * group_out + first, count=min(width, group_out - first), channel=g * group_in)
        for g in range(op.groups)
        for first in range(0, group_out, width)
    )
    packing = Packing(
        pixels=pixels, k=k, chunks=run // k, tail=run % k, taps=taps, kernel_rows=window.kernel[0], blocks=blocks
    )
    return replace(packing, gemms=_gemm_shapes(packing, arch))


def _tile_depth(run: int, arch: Arch, stream: int) -> int:
    """Bytes per tile: an exact divisor of the run (one gemm) unless uneven tiles are clearly fewer cycles."""
    limit = min(arch.array.rows, arch.wgt_rows)
    if run <= limit:
        return run
    chunks = -(-run // limit)
    exact = next(d for d in range(limit, 0, -1) if run % d == 0)
    even = -(-run // chunks)
    rest = run - (chunks - 1) * even
    divided = _cycles(run // exact, exact, stream, arch)
    uneven = _cycles(chunks - 1, even, stream, arch) + _cycles(1, rest, stream, arch)
    return exact if divided <= uneven * 1.02 else even


def _cycles(tiles: int, k: int, stream: int, arch: Arch) -> int:
    return array_interval_cycles(ArrayWork(tiles=tiles, k=k, m=stream), arch.array)


def _gemm_shapes(packing: Packing, arch: Arch) -> Shapes:
    """Under os each gemm drains once, so it matters where the reduction is cut."""
    made = Counter((piece.tiles, piece.k) for slab in slabs(packing, arch) for piece in slab)
    return tuple((count, tiles, k) for (tiles, k), count in made.items())


def array_cycles(packing: Packing, stream: int, arch: Arch) -> int:
    """Cycles of one block's gemms, one after the other, with ``stream`` activation rows each."""
    return sum(count * _cycles(tiles, k, stream, arch) for count, tiles, k in packing.gemms)


def weight_runs(op: MatOp, packing: Packing, block: Block) -> NDArray[np.int8]:
    """The weights of one block as (kernel rows, taps, run, pixels * count) int8."""
    weights = op.weights[block.first : block.first + block.count]  # (count, r, s, c/groups)
    count, rows, cols, channels = weights.shape
    if packing.taps > 1:
        return np.ascontiguousarray(weights.transpose(1, 2, 3, 0))
    flat = weights.transpose(1, 2, 3, 0).reshape(rows, cols * channels, count)
    runs = np.zeros((rows, 1, packing.run, packing.pixels, count), np.int8)
    step = op.window.stride[1] * channels
    for pixel in range(packing.pixels):
        runs[:, 0, pixel * step : pixel * step + cols * channels, pixel] = flat
    return runs.reshape(rows, 1, packing.run, packing.pixels * count)


def slab_data(runs: NDArray[np.int8], slab: Slab) -> NDArray[np.int8]:
    """The WGT rows of a slab, (slab_rows, lanes) int8, in the order in which gemm consumes them."""
    lanes = runs.shape[3]
    return np.concatenate(
        [runs[slice(*p.rows), slice(*p.taps), p.at : p.at + p.k * p.count].reshape(-1, lanes) for p in slab]
    )


def param_rows(op: MatOp, packing: Packing, block: Block, lanes: int) -> NDArray[np.uint32]:
    """Bias and scale rows of one block, repeated per packed pixel: uint32 (2, lanes), unused lanes 0."""
    part = slice(block.first, block.first + block.count)
    rows = np.zeros((2, lanes), np.uint32)
    used = packing.pixels * block.count
    rows[0, :used] = np.tile(op.bias[part].view(np.uint32), packing.pixels)
    rows[1, :used] = np.tile(op.scale[part].astype(np.float32).view(np.uint32), packing.pixels)
    return rows
