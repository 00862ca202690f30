"""How a convolution's reduction and output channels lie on the array.

A *run* is what the array reads for one kernel row of one ACC row: the contiguous bytes under ``pixels`` neighbouring
windows. It is cut into ``chunks`` of ``k`` bytes and perhaps a shorter ``tail``, so nothing outside the windows is
ever read. ``pixels`` > 1 is column packing: the spare columns compute the next output pixels of the row with shifted
(Toeplitz) weights. The last ``odd`` bytes of every run may be gathered instead: the vector unit copies them into a
plane in which those of all kernel rows are neighbours, so they fill whole tiles (down to an im2col of the image, when
``odd`` is the whole run). Over part of the input channels (``channels``), a strip of these channels is dense by itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from accelsim.arch import Arch, ArrayArch
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
class Piece:
    """The weight tiles of one gemm: half-open ranges of kernel rows and taps, and ``count`` tiles of ``k`` bytes from
    byte ``at`` of each run; or, ``gathered``, of the odd bytes of all kernel rows of a tap."""

    rows: tuple[int, int]
    taps: tuple[int, int]
    at: int
    k: int
    count: int
    gathered: bool = False

    @property
    def tiles(self) -> int:
        """Weight tiles of the piece."""
        rows = 1 if self.gathered else self.rows[1] - self.rows[0]
        return rows * (self.taps[1] - self.taps[0]) * self.count

    @property
    def weight_rows(self) -> int:
        """WGT rows of the piece."""
        return self.tiles * self.k


Slab: TypeAlias = tuple[Piece, ...]
"""Pieces loaded by one instruction, one after the other in WGT."""


def slab_rows(slab: Slab) -> int:
    """WGT rows of a slab."""
    return sum(piece.weight_rows for piece in slab)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """One way to lay a MatOp on the array. ``run = k * chunks + tail + odd`` bytes."""

    pixels: int
    k: int
    chunks: int
    tail: int
    taps: int  # separate kernel columns (1 when a run covers the whole kernel row)
    kernel_rows: int
    blocks: tuple[Block, ...]
    groups: tuple[int, ...]  # the first input channel of every group of the convolution
    channels: int  # input channels of a group that one pass over the kernel reduces
    parts: int = 1  # passes
    odd: int = 0  # bytes of each run that are gathered
    side: int = 1  # groups of the convolution that are computed as one, with zeros between them
    slabs: tuple[Slab, ...] = ()  # of one block over these channels
    gemms: Shapes = ()  # of one block, one tile of pixels and these channels

    @property
    def run(self) -> int:
        """Bytes of one kernel row and tap."""
        return self.k * self.chunks + self.tail + self.odd

    @property
    def weight_rows(self) -> int:
        """WGT rows of one block over these channels."""
        return self.kernel_rows * self.taps * self.run

    @property
    def lanes(self) -> int:
        """Columns used by a full block."""
        return self.pixels * self.blocks[0].count

    def text(self, op: MatOp) -> str:
        """The name reported as ``packing``."""
        base = "row" if self.taps == 1 else "channel"
        if self.side > 1:
            base += f" {self.side} groups"
        if self.odd:
            return f"{base}+im2col" if self.odd == self.run else f"{base}+gather {self.odd}"
        return f"{base}+column x{self.pixels}" if self.pixels > 1 else base


def _slabs(packing: Packing, arch: Arch) -> tuple[Slab, ...]:
    """Cut one block's weights so that loading runs ahead of the array; one slab if all blocks fit WGT."""
    rows, ring = packing.weight_rows, arch.wgt_rows
    limit = ring
    if rows * packing.parts * len(packing.blocks) > ring:
        # Cut large blocks in less than halves: the first slab of the next block would wait for the last of this one.
        limit = ring // 2 if 2 * rows <= ring else ring * 3 // 8
    limit = max(packing.k, limit)
    made = [*_main_slabs(packing, limit), *_gathered_slabs(packing, limit, arch)]
    merged: list[Slab] = []
    for slab in made:
        if merged and slab_rows(merged[-1]) + slab_rows(slab) <= limit:
            merged[-1] += slab
        else:
            merged.append(slab)
    return tuple(merged)


def _main_slabs(packing: Packing, limit: int) -> list[Slab]:
    main, whole = packing.run - packing.odd, (0, packing.taps)
    if not main:
        return []
    if packing.taps * main <= limit and packing.chunks <= MAX_CHUNKS:
        per = limit // (packing.taps * main)
        return [_slab(packing, part, whole, (0, main)) for part in _ranges(packing.kernel_rows, per)]
    per = min(MAX_CHUNKS, limit // packing.k) * packing.k
    return [
        _slab(packing, (row, row + 1), (tap, tap + 1), part)
        for row in range(packing.kernel_rows)
        for tap in range(packing.taps)
        for part in _ranges(main, per)
    ]


def _gathered_slabs(packing: Packing, limit: int, arch: Arch) -> list[Slab]:
    """The odd bytes of a tap lie one kernel row after the other: tiles of them need not end with a row."""
    depth, rows = packing.kernel_rows * packing.odd, (0, packing.kernel_rows)
    if not depth:
        return []
    k = min(depth, arch.array.rows, limit)
    cuts = [(0, depth)] if depth <= limit else _ranges(depth, limit // k * k)
    taps = _ranges(packing.taps, max(1, limit // depth))
    made: list[Slab] = []
    for tap in taps:
        for first, stop in cuts:
            count, tail = divmod(stop - first, k)
            pieces = [Piece(rows=rows, taps=tap, at=first, k=k, count=count, gathered=True)] if count else []
            if tail:
                pieces.append(Piece(rows=rows, taps=tap, at=stop - tail, k=tail, count=1, gathered=True))
            made.append(tuple(pieces))
    return made


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
    """Every packing of ``op`` over all input channels that the array can hold, plainest first."""
    made: list[Packing] = []
    for side in _sides(op, arch):
        joined, whole = _joined(op, side), side * op.window.in_c // op.groups
        limit = 1
        if joined and not op.batched:
            limit = max(1, min(arch.array.cols // op.window.out_c, op.window.out_w))
        made += [packed(op, arch, pixels=pixels, channels=whole, side=side) for pixels in range(1, limit + 1)]
        if op.window.kernel[0] > 1 and op.window.dilation == (1, 1):
            rows, run = arch.array.rows, (op.window.kernel[1] if joined else 1) * whole
            odd = run % rows
            # Over one kernel row alone, the odd bytes would waste as much of the array as they do in the run.
            if odd and -(-op.window.kernel[0] * odd // rows) < op.window.kernel[0]:
                made.append(packed(op, arch, pixels=1, channels=whole, odd=odd, side=side))
    return tuple(made)


def _sides(op: MatOp, arch: Arch) -> list[int]:
    """How many groups may be computed side by side: as many as fill the lanes, or any fewer that divide the groups."""
    width = op.window.out_c // op.groups
    return [1, *(n for n in range(2, op.groups + 1) if op.groups % n == 0 and n * width <= arch.array.cols)]


def narrowed(op: MatOp, arch: Arch, channels: int, parts: int = 0) -> Packing:
    """The plain packing over ``channels`` of the input channels, in a strip that holds these alone.

    ``parts`` is how many such passes there are, if the last one is not as wide.
    """
    return packed(op, arch, pixels=1, channels=channels, parts=parts)


def _joined(op: MatOp, side: int) -> bool:
    """Whether the windows' kernel rows are contiguous bytes."""
    return op.groups == side and op.window.dilation[1] == 1


def packed(
    op: MatOp, arch: Arch, *, pixels: int, channels: int, odd: int = 0, side: int = 1, parts: int = 0
) -> Packing:
    """The packing of a form: ``pixels`` at a time, over ``channels`` of a group's, with ``odd`` bytes gathered and
    ``side`` groups as one."""
    window, joined, groups = op.window, _joined(op, side), op.groups // side
    group_in, group_out = window.in_c // groups, window.out_c // groups
    run = ((pixels - 1) * window.stride[1] + window.kernel[1]) * channels if joined else channels
    k = _tile_depth(run - odd, arch, stream=window.out_w if op.batched else arch.array.rows)
    width = arch.array.cols // pixels
    blocks = tuple(
        Block(first=g * group_out + first, count=min(width, group_out - first), channel=g * group_in)
        for g in range(groups)
        for first in range(0, group_out, width)
    )
    packing = Packing(
        pixels=pixels, k=k, chunks=(run - odd) // k, tail=(run - odd) % k, taps=1 if joined else window.kernel[1],
        kernel_rows=window.kernel[0], blocks=blocks, groups=tuple(range(0, window.in_c, group_in)), channels=channels,
        parts=parts or -(-group_in // channels), odd=odd, side=side,
    )  # fmt: skip
    slabs = _slabs(packing, arch)
    made = Counter((piece.tiles, piece.k) for slab in slabs for piece in slab)
    return replace(packing, slabs=slabs, gemms=tuple((count, tiles, k) for (tiles, k), count in made.items()))


def _tile_depth(run: int, arch: Arch, stream: int) -> int:
    """Bytes per tile: an exact divisor of the run (one gemm) unless uneven tiles are clearly fewer cycles."""
    limit = min(arch.array.rows, arch.wgt_rows)
    if run <= limit:
        return max(1, run)
    chunks = -(-run // limit)
    exact = next(d for d in range(limit, 0, -1) if run % d == 0)
    even = -(-run // chunks)
    rest = run - (chunks - 1) * even
    divided = _cycles(run // exact, exact, stream, arch)
    uneven = _cycles(chunks - 1, even, stream, arch) + _cycles(1, rest, stream, arch)
    return exact if divided <= uneven * 1.02 else even


def _cycles(tiles: int, k: int, stream: int, arch: Arch) -> int:
    return array_interval_cycles(ArrayWork(tiles=tiles, k=k, m=stream), arch.array)


def array_cycles(packing: Packing, stream: int, arch: Arch) -> int:
    """Cycles of one block's gemms, one after the other, with ``stream`` activation rows each."""
    return _block_cycles(packing.gemms, stream, arch.array)


@lru_cache(maxsize=1 << 16)
def _block_cycles(gemms: Shapes, stream: int, array: ArrayArch) -> int:
    return sum(count * array_interval_cycles(ArrayWork(tiles=tiles, k=k, m=stream), array) for count, tiles, k in gemms)
