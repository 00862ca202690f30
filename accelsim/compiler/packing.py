"""How a convolution's reduction and output channels lie on the array: row packing and column packing.

A *run* is what the array reads for one kernel row of one ACC row: the contiguous bytes under ``pixels`` neighbouring
windows. It is cut into ``chunks`` of ``k`` bytes; bytes past the run meet zero weights. ``pixels`` > 1 is column
packing: the spare columns compute the next output pixels of the row with shifted (Toeplitz) weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.ops import MatOp

MAX_CHUNKS = 1 << 10
"""Iterations of a gemm's inner reduction loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Output channels ``first .. first + count`` computed together; ``channel`` is the first input channel read."""

    first: int
    count: int
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """One way to lay a MatOp on the array. Weight tiles are ordered kernel row, kernel column, chunk (innermost)."""

    pixels: int
    k: int
    chunks: int
    taps: int  # separate kernel columns (1 when a run covers the whole kernel row)
    kernel_rows: int
    run: int
    blocks: tuple[Block, ...]

    @property
    def tiles(self) -> int:
        """Weight tiles of one block."""
        return self.kernel_rows * self.taps * self.chunks

    @property
    def weight_rows(self) -> int:
        """WGT rows of one block."""
        return self.tiles * self.k

    @property
    def lanes(self) -> int:
        """Columns used by a full block."""
        return self.pixels * self.blocks[0].count

    @property
    def overrun(self) -> int:
        """Bytes read past the end of a run, against zero weights."""
        return self.k * self.chunks - self.run

    def text(self, op: MatOp) -> str:
        """The name reported as ``packing``."""
        if op.batched:
            return "row"
        base = "row" if self.taps == 1 else "channel"
        return f"{base}+column x{self.pixels}" if self.pixels > 1 else base


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The weight tiles of one gemm: half-open ranges of kernel rows, taps and chunks."""

    rows: tuple[int, int]
    taps: tuple[int, int]
    chunks: tuple[int, int]

    @property
    def tiles(self) -> int:
        """Weight tiles of the piece."""
        return (self.rows[1] - self.rows[0]) * (self.taps[1] - self.taps[0]) * (self.chunks[1] - self.chunks[0])


def pieces(packing: Packing, arch: Arch) -> tuple[Piece, ...]:
    """Cut one block's weights so that a piece and its successor fit WGT together; one piece if all blocks fit."""
    everything = packing.weight_rows * len(packing.blocks) <= arch.wgt_rows
    limit = max(1, (arch.wgt_rows if everything else arch.wgt_rows // 2) // packing.k)
    chunk_limit = min(limit, MAX_CHUNKS)
    whole = (0, packing.taps)
    if packing.taps * packing.chunks <= limit and packing.chunks <= chunk_limit:
        per = limit // (packing.taps * packing.chunks)
        return tuple(
            Piece(rows=part, taps=whole, chunks=(0, packing.chunks)) for part in _ranges(packing.kernel_rows, per)
        )
    return tuple(
        Piece(rows=(row, row + 1), taps=(tap, tap + 1), chunks=part)
        for row in range(packing.kernel_rows)
        for tap in range(packing.taps)
        for part in _ranges(packing.chunks, chunk_limit)
    )


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
    chunks = -(-run // min(arch.array.rows, arch.wgt_rows))
    width = arch.array.cols // pixels
    blocks = tuple(
        Block(first=g * group_out + first, count=min(width, group_out - first), channel=g * group_in)
        for g in range(op.groups)
        for first in range(0, group_out, width)
    )
    return Packing(
        pixels=pixels, k=-(-run // chunks), chunks=chunks, taps=taps, kernel_rows=window.kernel[0], run=run,
        blocks=blocks,
    )  # fmt: skip


def weight_tiles(op: MatOp, packing: Packing, block: Block) -> NDArray[np.int8]:
    """The weights of one block as (kernel rows, taps, chunks * k, pixels * count) int8, zero past each run."""
    weights = op.weights[block.first : block.first + block.count]  # (count, r, s, c/groups)
    count, rows, cols, channels = weights.shape
    depth = packing.k * packing.chunks
    tiles = np.zeros((rows, packing.taps, depth, packing.pixels, block.count), np.int8)
    if packing.taps == 1:
        flat = weights.transpose(1, 2, 3, 0).reshape(rows, cols * channels, count)
        step = op.window.stride[1] * channels
        for pixel in range(packing.pixels):
            tiles[:, 0, pixel * step : pixel * step + cols * channels, pixel] = flat
    else:
        tiles[:, :, :channels, 0] = weights.transpose(1, 2, 3, 0)
    return tiles.reshape(rows, packing.taps, depth, packing.pixels * block.count)


def param_rows(op: MatOp, packing: Packing, block: Block, lanes: int) -> NDArray[np.uint32]:
    """Bias and scale rows of one block, repeated per packed pixel: uint32 (2, lanes), unused lanes 0."""
    part = slice(block.first, block.first + block.count)
    rows = np.zeros((2, lanes), np.uint32)
    used = packing.pixels * block.count
    rows[0, :used] = np.tile(op.bias[part].view(np.uint32), packing.pixels)
    rows[1, :used] = np.tile(op.scale[part].astype(np.float32).view(np.uint32), packing.pixels)
    return rows
