"""Instructions of a matrix operation: weights and parameters through rings, gemm per piece, then rq and the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.ops import MatOp
from accelsim.compiler.outputs import Written, observe, output_view, store_tile
from accelsim.compiler.packing import Block, Packing, Piece, Slab, slab_rows
from accelsim.compiler.params import param_row, table_in_place
from accelsim.compiler.plan import Plan
from accelsim.compiler.reads import Part, Source, plane_reads, view_reads
from accelsim.compiler.stream import Tile, View, tensor_pixel, tiles_of
from accelsim.isa.instructions import Alu, AluOp, Gemm, Operand
from accelsim.isa.protocol import Memory

Work: TypeAlias = tuple[Tile, Callable[[], object], Callable[[], None]]
"""(the tile a job works on, prepare what it reads, emit it)."""


def matrix_jobs(s: Emitter, op: MatOp, images: Sequence[int]) -> Iterator[Work]:
    """The jobs of some images, or of the batch when ``op`` is batched, in the order of :func:`plan.jobs_of`."""
    plan, w = s.plans[op.name], op.window
    packing = plan.packing
    assert packing is not None
    sets = [images[first : first + plan.together] for first in range(0, len(images), plan.together)]
    tiles = [several for part in sets for several in zip(*(tiles_of(w, plan.rows, plan.cols, i) for i in part))]
    for first in range(0, len(packing.blocks), plan.group):
        blocks = range(first, min(first + plan.group, len(packing.blocks)))
        for several in tiles:
            if plan.parts > 1:
                yield (
                    several[0],
                    lambda tile=several[0]: _strip(s, op, tile, 0),
                    lambda tile=several[0], blocks=blocks: _interrupted(s, op, plan, tile, blocks),
                )
                continue
            for b in blocks:
                yield (
                    several[0],
                    lambda several=several: [_prepare(s, op, packing, tile) for tile in several],
                    lambda several=several, b=b, blocks=blocks: _whole(s, op, plan, packing, several, b, blocks),
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
    s.ensure_rows(op, op.input, tile.image, op.window.last_row(tile.row + tile.rows))
    return s.input_view(op, tile, channel=part * plan.channels)


def _gather(
    s: Emitter, op: MatOp, packing: Packing, tile: Tile, view: View, plane: int, columns: int, channel: int
) -> None:
    """Copy the last ``odd`` bytes of every run under the tile: column by column, one input row after the other."""
    w, odd = op.window, packing.odd
    tall = w.rows_in(tile.rows)
    step = view.stride[1] * view.pixel_pitch if packing.taps == 1 else view.pixel_pitch
    src = view.at(w.first_row(tile.row), tile.col * view.stride[1] - w.pads[2]) + channel + packing.run - odd
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


def _whole(
    s: Emitter, op: MatOp, plan: Plan, packing: Packing, several: Sequence[Tile], b: int, blocks: range
) -> None:
    """One block of channels over one tile of one or several images, all of its reduction at once."""
    sources = [_prepare(s, op, packing, tile) for tile in several]
    size = _acc_rows(packing, several[0])
    held = s.acc.take(size * len(several))
    parts = [_parts(packing, tile, held + i * size) for i, tile in enumerate(several)]
    _label(s, packing.blocks[b], several[0])
    for i, slab in enumerate(packing.slabs):
        row = _weights(s, op, packing, b, 0, i, slab)
        for j, piece in enumerate(slab):
            for tile, source, own in zip(several, sources, parts):
                for part in own:
                    _gemm(s, op, packing, b, piece, tile, part, source, row, first=i == j == 0)
            row += piece.weight_rows
    for tile, own in zip(several, parts):
        _finish(s, op, plan, packing, tile, b, blocks, own)


def _interrupted(s: Emitter, op: MatOp, plan: Plan, tile: Tile, blocks: range) -> None:
    """A group of blocks over one tile, some input channels at a time: the sums of all blocks wait in ACC."""
    packing = plan.packing
    assert packing is not None
    count = plan.parts
    held = s.acc.take(len(blocks) * _acc_rows(packing, tile))  # together: taken one by one they could overlap
    parts = {b: _parts(packing, tile, held + i * _acc_rows(packing, tile)) for i, b in enumerate(blocks)}
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


def _acc_rows(packing: Packing, tile: Tile) -> int:
    """ACC rows of one block of a tile."""
    return tile.rows * -(-tile.cols // packing.pixels)


def _parts(packing: Packing, tile: Tile, acc: int) -> list[Part]:
    """Groups of packed pixels; a ragged last group is moved left, so it computes a few pixels again."""
    groups, rest = divmod(tile.cols, packing.pixels)
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
    reads = plane_reads if piece.gathered else view_reads
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
        view = output_view(s, op, tile, channels, start)
        target = View(view.origin - first, view.row_pitch, view.pixel_pitch)
    else:
        view = target = output_view(s, op, tile, width, 0)
    for part in parts:
        _requantize(s, op, packing, b, tile, part, target)
    if b == stop - 1:
        store_tile(s, op, tile, view, first, channels)


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
        found = Written(
            tensor_pixel(w, tile.image, row, part.col), block.first, block.count, dst, (part.groups, step, part.pixels),
            (rows, target.row_pitch, w.out_w), part.pixels,
        )  # fmt: skip
        observe(s, index, op.raw, found)
        if op.table is not None:
            index = table_in_place(s, op, dst, lanes, (part.groups, step), (rows, target.row_pitch))
            observe(s, index, op.output, found)
