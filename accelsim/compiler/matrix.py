"""Instructions of a matrix operation: weights and parameters through rings, gemm per piece, then rq and the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Block, Packing, Piece, Slab, slab_rows
from accelsim.compiler.params import param_row, table_in_place
from accelsim.compiler.plan import Plan
from accelsim.compiler.stream import Tile, View, tensor_offset, tiles_of
from accelsim.isa.instructions import Alu, AluOp, Gemm, Operand
from accelsim.isa.protocol import Memory


@dataclass(frozen=True, slots=True)
class Part:
    """Pixels of a tile computed by equal ACC rows: ``groups`` groups of ``pixels`` pixels a row, from ``col`` on."""

    col: int
    groups: int
    pixels: int
    acc: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where gemms find their rows: the windows of output pixel (0, 0), and what a step in each direction adds."""

    view: View
    plane: int = 0  # first byte of the tile's plane of odd bytes
    plane_pitch: int = 0  # bytes from one column of the plane to the next


Work: TypeAlias = tuple[Tile, Callable[[], object], Callable[[], None]]
"""(the tile a job works on, prepare what it reads, emit it)."""


def matrix_jobs(s: Emitter, op: MatOp, image: int) -> Iterator[Work]:
    """The jobs of one image, or of the batch when ``op`` is batched, in the order of :func:`plan.jobs_of`."""
    plan, w = s.plans[op.name], op.window
    packing = plan.packing
    assert packing is not None
    tiles = tiles_of(w, plan.rows, plan.cols, image)
    for first in range(0, len(packing.blocks), plan.group):
        blocks = range(first, min(first + plan.group, len(packing.blocks)))
        for tile in tiles:
            if plan.parts > 1:
                yield (
                    tile,
                    lambda tile=tile: _strip(s, op, tile, 0),
                    lambda tile=tile, blocks=blocks: _interrupted(s, op, plan, tile, blocks),
                )
                continue
            for b in blocks:
                yield (
                    tile,
                    lambda tile=tile: _prepare(s, op, packing, tile),
                    lambda tile=tile, b=b, blocks=blocks: _whole(s, op, plan, packing, tile, b, blocks),
                )


def _prepare(s: Emitter, op: MatOp, packing: Packing, tile: Tile) -> Source:
    """Bring in the tile's input, and copy its odd bytes to a plane, unless that was done before."""
    view = _strip(s, op, tile, 0)
    if not packing.odd:
        return Source(view)
    base, new = s.plane(op, tile)
    tall = op.window.rows_in(tile.rows)
    pitch = tall * packing.odd
    columns = tile.cols if packing.taps == 1 else op.window.cols_in(tile.cols)
    if new:
        for i, channel in enumerate(packing.groups):
            _gather(s, op, packing, tile, view, base + i * columns * pitch, columns, channel)
    return Source(view, base, pitch)


def _strip(s: Emitter, op: MatOp, tile: Tile, part: int) -> View:
    plan = s.plans[op.name]
    s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols}"
    s.ensure_rows(op.input, tile.image, op.window.last_row(tile.row + tile.rows), batched=op.batched)
    return s.input_view(op, tile, channel=part * plan.channels)


def _gather(
    s: Emitter, op: MatOp, packing: Packing, tile: Tile, view: View, plane: int, columns: int, channel: int
) -> None:
    """Copy the last ``odd`` bytes of every run under the tile: column by column, one input row after the other."""
    w, odd = op.window, packing.odd
    tall = w.rows_in(tile.rows)
    step = view.stride[1] * view.pixel_pitch if packing.taps == 1 else view.pixel_pitch
    src = view.at(w.first_row(tile.row), tile.col * w.stride[1] - w.pads[2]) + channel + packing.run - odd
    for lane in range(0, odd, s.arch.array.cols):
        s.stream.add(
            Alu(
                op=AluOp.MOV,
                src_mem=Memory.UB,
                dst_mem=Memory.UB,
                n=min(s.arch.array.cols, odd - lane),
                m0=tall,
                m1=columns,
                src=src + lane,
                sm0=view.row_pitch if tall > 1 else 0,
                sm1=step if columns > 1 else 0,
                dst=plane + lane,
                dm0=odd if tall > 1 else 0,
                dm1=tall * odd if columns > 1 else 0,
            )
        )


def _whole(s: Emitter, op: MatOp, plan: Plan, packing: Packing, tile: Tile, b: int, blocks: range) -> None:
    """One block of channels over one tile, all of its reduction at once."""
    source = _prepare(s, op, packing, tile)
    parts = _parts(s, packing, tile)
    _label(s, packing.blocks[b], tile)
    for i, slab in enumerate(packing.slabs):
        row = _weights(s, op, packing, b, 0, i, slab)
        for j, piece in enumerate(slab):
            for part in parts:
                _gemm(s, op, packing, b, piece, tile, part, source, row, first=i == j == 0)
            row += piece.weight_rows
    _finish(s, op, plan, packing, tile, b, blocks, parts)


def _interrupted(s: Emitter, op: MatOp, plan: Plan, tile: Tile, blocks: range) -> None:
    """A group of blocks over one tile, some input channels at a time: the sums of all blocks wait in ACC."""
    packing = plan.packing
    assert packing is not None
    count = plan.parts
    parts = {b: _parts(s, packing, tile) for b in blocks}
    for number in range(count):
        source = Source(_strip(s, op, tile, number))
        narrow = s.constants.packing(op, number)
        for b in blocks:
            _label(s, packing.blocks[b], tile)
            for i, slab in enumerate(narrow.slabs):
                row = _weights(s, op, narrow, b, number, i, slab)
                for j, piece in enumerate(slab):
                    for part in parts[b]:
                        _gemm(s, op, narrow, b, piece, tile, part, source, row, first=number == i == j == 0)
                    row += piece.weight_rows
            if b == blocks[0] and number + 1 < count and plan.strips_in != 1:
                _strip(s, op, tile, number + 1)
            if number == count - 1:
                _finish(s, op, plan, packing, tile, b, blocks, parts[b])


def _label(s: Emitter, block: Block, tile: Tile) -> None:
    s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols} channels {block.first}+{block.count}"


def _parts(s: Emitter, packing: Packing, tile: Tile) -> list[Part]:
    """Groups of packed pixels; a ragged last group is moved left, so it computes a few pixels again."""
    groups, rest = divmod(tile.cols, packing.pixels)
    acc = s.acc.take(tile.rows * (groups + bool(rest)))
    parts = [Part(tile.col, groups, packing.pixels, acc)]
    if rest:
        last = tile.col + tile.cols - packing.pixels
        parts.append(Part(last, 1, packing.pixels, acc + tile.rows * groups))
    return parts


def _weights(s: Emitter, op: MatOp, packing: Packing, b: int, part: int, i: int, slab: Slab) -> int:
    """First WGT row of a slab, loaded unless it still lies there."""
    rows = slab_rows(slab)
    start, new = s.wgt.get((op.name, "weights", b, part, i), rows)
    if new:
        lanes, cols = packing.pixels * packing.blocks[b].count, s.arch.array.cols
        address = s.constants.weights(op, b, part, i)
        s.stream.load_rows(
            Memory.WGT, dram=address, local=start * cols, rows=rows, run=lanes, dram_pitch=lanes, local_pitch=cols
        )
    return start


def _gemm(
    s: Emitter, op: MatOp, packing: Packing, b: int, piece: Piece, tile: Tile, part: Part, source: Source, wgt: int,
    *, first: bool,
) -> None:  # fmt: skip
    block = packing.blocks[b]
    reads = _plane_reads if piece.gathered else _view_reads
    s.stream.add(
        Gemm(
            overwrite=int(first),
            k=piece.k,
            n=part.pixels * block.count,
            wgt=wgt,
            a=part.acc,
            m0=part.groups,
            am0=1 if part.groups > 1 else 0,
            m1=tile.rows,
            am1=part.groups if tile.rows > 1 else 0,
            **reads(op, packing, block, piece, tile, part, source),
        )
    )


def _view_reads(
    op: MatOp, packing: Packing, block: Block, piece: Piece, tile: Tile, part: Part, source: Source
) -> dict[str, int]:
    """The address fields of a gemm that reads runs where they lie."""
    w, view = op.window, source.view
    tap_step, row_step = w.dilation[1] * view.pixel_pitch, w.dilation[0] * view.row_pitch
    x = view.at(tile.row * view.stride[0] - w.pads[0], part.col * view.stride[1] - w.pads[2])
    x += block.channel if len(packing.groups) > 1 else 0
    x += piece.rows[0] * row_step + piece.taps[0] * tap_step + piece.at
    taps, rows = piece.taps[1] - piece.taps[0], piece.rows[1] - piece.rows[0]
    return {
        "x": x,
        "r0": piece.count,
        "xr0": piece.k if piece.count > 1 else 0,
        "r1": taps,
        "xr1": tap_step if taps > 1 else 0,
        "r2": rows,
        "xr2": row_step if rows > 1 else 0,
        "xm0": part.pixels * view.stride[1] * view.pixel_pitch if part.groups > 1 else 0,
        "xm1": view.stride[0] * view.row_pitch if tile.rows > 1 else 0,
    }


def _plane_reads(
    op: MatOp, packing: Packing, block: Block, piece: Piece, tile: Tile, part: Part, source: Source
) -> dict[str, int]:
    """The address fields of a gemm that reads the odd bytes of all kernel rows from the tile's plane."""
    w, odd = op.window, packing.odd
    joined = packing.taps == 1
    columns = tile.cols if joined else w.cols_in(tile.cols)
    step = source.plane_pitch if joined else w.stride[1] * source.plane_pitch
    plane = source.plane + packing.groups.index(block.channel) * columns * source.plane_pitch
    taps = piece.taps[1] - piece.taps[0]
    return {
        "x": plane + (part.col - tile.col) * step + piece.taps[0] * w.dilation[1] * source.plane_pitch + piece.at,
        "r0": piece.count,
        "xr0": piece.k if piece.count > 1 else 0,
        "r1": taps,
        "xr1": w.dilation[1] * source.plane_pitch if taps > 1 else 0,
        "r2": 1,
        "xr2": 0,
        "xm0": step if part.groups > 1 else 0,
        "xm1": w.stride[0] * odd if tile.rows > 1 else 0,
    }


def _finish(
    s: Emitter, op: MatOp, plan: Plan, packing: Packing, tile: Tile, b: int, blocks: range, parts: list[Part]
) -> None:
    """Requantise a block of a tile; send the strip to DRAM when it is full."""
    width = packing.lanes // packing.pixels
    per = max(1, plan.out_blocks)
    start = blocks[0] + (b - blocks[0]) // per * per
    stop = min(start + per, blocks[-1] + 1)
    first = packing.blocks[start].first
    channels = packing.blocks[stop - 1].first + packing.blocks[stop - 1].count - first
    if s.home_of(op.output) is None:
        view = s.output_view(op, tile, channels, start)
        target = View(view.origin - first, view.row_pitch, view.pixel_pitch)
    else:
        view = target = s.output_view(op, tile, width, 0)
    for part in parts:
        _requantize(s, op, packing, b, tile, part, target)
    if b == stop - 1:
        s.store_tile(op, tile, view, first, channels)


def _requantize(s: Emitter, op: MatOp, packing: Packing, b: int, tile: Tile, part: Part, target: View) -> None:
    block, w = packing.blocks[b], op.window
    lanes = part.pixels * block.count
    step = part.pixels * target.pixel_pitch
    for row, rows in target.runs(tile.row, tile.rows):
        dst = target.at(row, part.col) + block.first
        index = s.stream.add(
            Alu(
                op=AluOp.RQ,
                operand=Operand.PARAM,
                src_mem=Memory.ACC,
                dst_mem=Memory.UB,
                n=lanes,
                m0=part.groups,
                m1=rows,
                src=part.acc + (row - tile.row) * part.groups,
                sm0=1 if part.groups > 1 else 0,
                sm1=part.groups if rows > 1 else 0,
                dst=dst,
                dm0=step if part.groups > 1 else 0,
                dm1=target.row_pitch if rows > 1 else 0,
                param=param_row(s, op, b),
                zero=op.zero,
                lo=op.lo,
                hi=op.hi,
            )
        )
        at = tensor_offset(w, tile.image, row, part.col) + block.first
        loops = (part.groups, step, part.pixels * w.out_c), (rows, target.row_pitch, w.out_w * w.out_c)
        # Packed pixels are neighbours in UB and in the tensor alike, so one run covers them.
        s.stream.probe(index, op.raw, lanes, dst, at, *loops)
        if op.table is not None:
            index = table_in_place(s, op, dst, lanes, (part.groups, step), (rows, target.row_pitch))
            s.stream.probe(index, op.output, lanes, dst, at, *loops)
