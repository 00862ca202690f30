"""Instructions of a matrix operation: weights and parameters through rings, gemm per piece, then rq and the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.ops import MatOp, Op
from accelsim.compiler.packing import Block, Packing, Piece, Slab, slab_rows
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


def matrix_jobs(s: Emitter, op: Op, image: int) -> Iterator[tuple[int, int, Callable[[], None]]]:
    """(input rows needed, output rows then complete, emit) of one image, or of the batch when ``op`` is batched."""
    assert isinstance(op, MatOp)
    plan, w = s.plans[op.name], op.window
    packing = plan.packing
    assert packing is not None
    tiles = tiles_of(w, plan.rows, plan.cols, image)
    passes = [[b] for b in range(len(packing.blocks))] if plan.weights_outer else [list(range(len(packing.blocks)))]
    fresh = True
    for number, blocks in enumerate(passes):
        for tile in tiles:
            complete = number == len(passes) - 1 and tile.col + tile.cols == w.out_w
            first = fresh
            fresh = False

            def emit(tile: Tile = tile, blocks: list[int] = blocks, first: bool = first) -> None:
                if first:
                    s.prepare_output(op, image)
                _tile(s, op, packing, tile, blocks)

            gives = tile.row + tile.rows if complete else tile.row if number == len(passes) - 1 else 0
            yield w.last_row(tile.row + tile.rows), gives, emit


def _tile(s: Emitter, op: MatOp, packing: Packing, tile: Tile, blocks: list[int]) -> None:
    outer = s.plans[op.name].weights_outer
    channels = packing.blocks[blocks[0]].count if outer else op.window.out_c
    skipped = packing.blocks[blocks[0]].first if outer and s.home_of(op.output) is None else 0
    source = s.input_view(op, tile)
    target = s.output_view(op, tile, channels)
    shifted = View(target.origin - skipped, target.row_pitch, target.pixel_pitch)
    for b in blocks:
        block = packing.blocks[b]
        s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols} channels {block.first}+{block.count}"
        parts = _parts(s, packing, tile)
        for i, slab in enumerate(s.slabs[op.name]):
            row = _weights(s, op, packing, b, i, slab)
            for j, piece in enumerate(slab):
                for part in parts:
                    _gemm(s, op, block, piece, tile, part, source, row, first=i == j == 0)
                row += piece.weight_rows
        for part in parts:
            _requantize(s, op, packing, b, tile, part, shifted)
    s.store_tile(op, tile, target, packing.blocks[blocks[0]].first if outer else 0, channels)


def _parts(s: Emitter, packing: Packing, tile: Tile) -> list[Part]:
    """Groups of packed pixels; a ragged last group is moved left, so it computes a few pixels again."""
    groups, rest = divmod(tile.cols, packing.pixels)
    acc = s.acc.take(tile.rows * (groups + bool(rest)))
    parts = [Part(tile.col, groups, packing.pixels, acc)]
    if rest:
        last = tile.col + tile.cols - packing.pixels
        parts.append(Part(last, 1, packing.pixels, acc + tile.rows * groups))
    return parts


def _weights(s: Emitter, op: MatOp, packing: Packing, b: int, i: int, slab: Slab) -> int:
    """First WGT row of a slab, loaded unless it still lies there."""
    key = (op.name, "weights", b, i)
    rows = slab_rows(slab)
    start, new = s.wgt.get(key, rows)
    if new:
        lanes, cols = packing.pixels * packing.blocks[b].count, s.arch.array.cols
        address = s.layout.known(key)
        assert address is not None
        s.stream.load_rows(
            Memory.WGT, dram=address, local=start * cols, rows=rows, run=lanes, dram_pitch=lanes, local_pitch=cols
        )
    return start


def param_row(s: Emitter, op: Op, index: int) -> int:
    """PARAM row of the bias of block ``index`` (its scale follows), loaded unless it still lies there."""
    group = next(g for g in s.groups[op.name] if g.first <= index < g.first + g.count)
    key = (op.name, "param", group.first)
    start, new = s.param.get(key, 2 * group.count)
    if new:
        address = s.layout.known(key)
        assert address is not None
        run, pitch = 4 * group.lanes, 4 * s.arch.array.cols
        s.stream.load_rows(
            Memory.PARAM,
            dram=address,
            local=start * pitch,
            rows=2 * group.count,
            run=run,
            dram_pitch=run,
            local_pitch=pitch,
        )
    return start + 2 * (index - group.first)


def table_row(s: Emitter, op: Op) -> int:
    """PARAM row of an operation's 256-byte table."""
    key = (op.name, "table")
    start, new = s.param.get(key, s.arch.lut_rows)
    if new:
        address = s.layout.known(key)
        assert address is not None
        s.stream.load_rows(
            Memory.PARAM,
            dram=address,
            local=start * 4 * s.arch.array.cols,
            rows=1,
            run=256,
            dram_pitch=256,
            local_pitch=256,
        )
    return start


def _gemm(
    s: Emitter, op: MatOp, block: Block, piece: Piece, tile: Tile, part: Part, source: View, wgt: int, *, first: bool
) -> None:
    w = op.window
    tap_step, row_step = w.dilation[1] * source.pixel_pitch, w.dilation[0] * source.row_pitch
    x = source.at(tile.row * w.stride[0] - w.pads[0], part.col * w.stride[1] - w.pads[2]) + block.channel
    x += piece.rows[0] * row_step + piece.taps[0] * tap_step + piece.at
    taps, rows = piece.taps[1] - piece.taps[0], piece.rows[1] - piece.rows[0]
    s.stream.add(
        Gemm(
            overwrite=int(first),
            k=piece.k,
            n=part.pixels * block.count,
            wgt=wgt,
            x=x,
            a=part.acc,
            r0=piece.count,
            xr0=piece.k if piece.count > 1 else 0,
            r1=taps,
            xr1=tap_step if taps > 1 else 0,
            r2=rows,
            xr2=row_step if rows > 1 else 0,
            m0=part.groups,
            xm0=part.pixels * w.stride[1] * source.pixel_pitch if part.groups > 1 else 0,
            am0=1 if part.groups > 1 else 0,
            m1=tile.rows,
            xm1=w.stride[0] * source.row_pitch if tile.rows > 1 else 0,
            am1=part.groups if tile.rows > 1 else 0,
        )
    )


def _requantize(s: Emitter, op: MatOp, packing: Packing, b: int, tile: Tile, part: Part, target: View) -> None:
    block, w = packing.blocks[b], op.window
    dst = target.at(tile.row, part.col) + block.first
    step = part.pixels * target.pixel_pitch
    index = s.stream.add(
        Alu(
            op=AluOp.RQ,
            operand=Operand.PARAM,
            src_mem=Memory.ACC,
            dst_mem=Memory.UB,
            n=part.pixels * block.count,
            m0=part.groups,
            m1=tile.rows,
            src=part.acc,
            sm0=1 if part.groups > 1 else 0,
            sm1=part.groups if tile.rows > 1 else 0,
            dst=dst,
            dm0=step if part.groups > 1 else 0,
            dm1=target.row_pitch if tile.rows > 1 else 0,
            param=param_row(s, op, b),
            zero=op.zero,
            lo=op.lo,
            hi=op.hi,
        )
    )
    at = tensor_offset(w, tile.image, tile.row, part.col) + block.first
    loops = (part.groups, step, part.pixels * w.out_c), (tile.rows, target.row_pitch, w.out_w * w.out_c)
    # Packed pixels are neighbours in UB and in the tensor alike, so one run covers them.
    s.stream.probe(index, op.raw, part.pixels * block.count, dst, at, *loops)
    if op.table is not None:
        index = table_in_place(
            s, op, dst, part.pixels * block.count, (part.groups, step), (tile.rows, target.row_pitch)
        )
        s.stream.probe(index, op.output, part.pixels * block.count, dst, at, *loops)


def table_in_place(s: Emitter, op: Op, at: int, lanes: int, inner: tuple[int, int], outer: tuple[int, int]) -> int:
    """Apply an operation's table to bytes it has just written; loops are (count, step). Returns the index."""
    dm0, dm1 = inner[1] if inner[0] > 1 else 0, outer[1] if outer[0] > 1 else 0
    return s.stream.add(
        Alu(
            op=AluOp.LUT,
            operand=Operand.PARAM,
            src_mem=Memory.UB,
            dst_mem=Memory.UB,
            n=lanes,
            m0=inner[0],
            m1=outer[0],
            src=at,
            sm0=dm0,
            sm1=dm1,
            dst=at,
            dm0=dm0,
            dm1=dm1,
            param=table_row(s, op),
        )
    )
