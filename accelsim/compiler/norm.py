"""Instructions of local response normalisation: bands on the array, then index, factor, product and rq.

The sums of all bands of some pixels lie band after band in ACC, a row per pixel, so that one instruction works on all
bands of equal width: rows of a band are neighbours, and so are bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from accelsim.compiler.bands import Band, bands, tiles
from accelsim.compiler.constants import band_form
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.ops import LrnOp
from accelsim.compiler.outputs import Written, observe, output_view, store_tile
from accelsim.compiler.params import param_row, table_row
from accelsim.compiler.stream import Ring, Tile, View, tensor_pixel
from accelsim.isa.instructions import Alu, AluOp, Gemm, Operand
from accelsim.isa.protocol import Memory


def norm_tile(s: Emitter, op: LrnOp, tile: Tile, sums: Ring) -> None:
    """Normalise one tile; ``sums`` is the part of ACC it may use."""
    x, squares = s.input_view(op, tile, 0), s.input_view(op, tile, 1)
    target = output_view(s, op, tile, op.window.out_c, 0)
    made = bands(op, s.arch)
    s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols}"
    for row, rows in _rows(tile, (x, squares, target)):
        per_row = tile.cols * len(made)
        tall = max(1, min(rows, sums.capacity // per_row))
        wide = min(tile.cols, max(1, sums.capacity // (tall * len(made))))
        share = max(1, min(len(made), sums.capacity // (tall * wide)))
        for top in range(row, row + rows, tall):
            for left in range(tile.col, tile.col + tile.cols, wide):
                piece = Tile(
                    image=tile.image, row=top, rows=min(tall, row + rows - top), col=left,
                    cols=min(wide, tile.col + tile.cols - left),
                )  # fmt: skip
                for first in range(0, len(made), share):
                    _piece(s, op, piece, made[first : first + share], x, squares, target, sums)
    store_tile(s, op, tile, target, 0, op.window.out_c)


def _rows(tile: Tile, views: Sequence[View]) -> Iterator[tuple[int, int]]:
    """The tile's rows cut wherever one of the rings begins anew."""
    starts = {row for view in views for row, _ in view.runs(tile.row, tile.rows)}
    cuts = [*sorted(starts), tile.row + tile.rows]
    yield from ((low, high - low) for low, high in pairwise(cuts))


def _piece(
    s: Emitter, op: LrnOp, piece: Tile, made: Sequence[Band], x: View, squares: View, target: View, sums: Ring
) -> None:
    pixels = piece.rows * piece.cols
    acc = sums.take(pixels * len(made))
    for i, band in enumerate(made):
        _gemms(s, op, piece, band, squares, acc + i * pixels)
    at = s.offset("temp", op.name)
    groups: list[tuple[int, list[Band]]] = []  # bands of equal width, with the first one's number
    for i, band in enumerate(made):
        if groups and groups[-1][1][0].count == band.count:
            groups[-1][1].append(band)
        else:
            groups.append((i, [band]))
    for i, group in groups:
        size = pixels * group[0].count
        _factors(s, op, group, pixels, acc + i * pixels, at)
        _products(s, op, piece, group, acc + i * pixels, at, x)
        _result(s, op, piece, group, acc + i * pixels, target)
        at += size * len(group)


def _gemms(s: Emitter, op: LrnOp, piece: Tile, band: Band, squares: View, acc: int) -> None:
    """The sums of a band; its weights are loaded part by part when WGT does not hold them all."""
    at, row = squares.at(piece.row, piece.col) + band.start, 0
    for k, count in tiles(band, s.arch):
        per = count if band.depth <= s.arch.wgt_rows else max(1, s.arch.wgt_rows // k)
        for first in range(0, count, per):
            part = min(per, count - first)
            s.stream.add(
                Gemm(
                    overwrite=int(row == 0), k=k, n=band.count, wgt=_band_row(s, op, band, row, k * part), x=at + row,
                    a=acc, r0=part, xr0=k if part > 1 else 0,
                    m0=piece.cols, xm0=squares.pixel_pitch if piece.cols > 1 else 0, am0=1 if piece.cols > 1 else 0,
                    m1=piece.rows, xm1=squares.row_pitch if piece.rows > 1 else 0,
                    am1=piece.cols if piece.rows > 1 else 0,
                )
            )  # fmt: skip
            row += k * part


def _band_row(s: Emitter, op: LrnOp, band: Band, row: int, rows: int) -> int:
    """WGT row of row ``row`` of a band's weights: all are loaded at once if they fit, else the ``rows`` wanted."""
    first, count = (0, band.depth) if band.depth <= s.arch.wgt_rows else (row, rows)
    start, new = s.wgt.get((op.name, "band", *band_form(band), first), count)
    if new:
        cols = s.arch.array.cols
        s.stream.load_rows(
            Memory.WGT, dram=s.constants.band(op, band) + first * band.count, local=start * cols, rows=count,
            run=band.count, dram_pitch=band.count, local_pitch=cols,
        )  # fmt: skip
    return start + row - first


def _factors(s: Emitter, op: LrnOp, group: Sequence[Band], pixels: int, acc: int, at: int) -> None:
    """Sums to indices in place, then to factors: int8 in UB at ``at``, band after band, pixel after pixel."""
    rows, lanes = pixels * len(group), group[0].count
    step = 1 if rows > 1 else 0
    s.stream.add(
        Alu(
            op=AluOp.RQ, operand=Operand.PARAM, src_mem=Memory.ACC, dst_mem=Memory.ACC, n=lanes, m0=rows, src=acc,
            sm0=step, dst=acc, dm0=step, param=param_row(s, op, 0), zero=op.index_zero, lo=-128, hi=127,
        )
    )  # fmt: skip
    s.stream.add(
        Alu(
            op=AluOp.LUT, operand=Operand.PARAM, src_mem=Memory.ACC, dst_mem=Memory.UB, n=lanes, m0=rows, src=acc,
            sm0=step, dst=at, dm0=lanes * step, param=table_row(s, op),
        )
    )  # fmt: skip


def _products(s: Emitter, op: LrnOp, piece: Tile, group: Sequence[Band], acc: int, at: int, x: View) -> None:
    """``x - zero`` to ACC, times the factor."""
    lanes, pixels = group[0].count, piece.rows * piece.cols
    for (m0, s0, d0), (m1, s1, d1), band, row in _loops(piece, group, x, acc_side=1):
        s.stream.add(
            Alu(
                op=AluOp.SUB, operand=Operand.IMM, imm=op.zero_in, src_mem=Memory.UB, dst_mem=Memory.ACC, n=lanes,
                m0=m0, m1=m1, src=x.at(piece.row + row, piece.col) + group[band].first, sm0=s0, sm1=s1,
                dst=acc + band * pixels + row * piece.cols, dm0=d0, dm1=d1,
            )
        )  # fmt: skip
    rows = pixels * len(group)
    step = 1 if rows > 1 else 0
    s.stream.add(
        Alu(
            op=AluOp.MUL, operand=Operand.DST, src_mem=Memory.UB, dst_mem=Memory.ACC, n=lanes, m0=rows, src=at,
            sm0=lanes * step, dst=acc, dm0=step,
        )
    )  # fmt: skip


def _result(s: Emitter, op: LrnOp, piece: Tile, group: Sequence[Band], acc: int, target: View) -> None:
    lanes, pixels, w = group[0].count, piece.rows * piece.cols, op.window
    index = -1
    for (m0, u0, a0), (m1, u1, a1), band, row in _loops(piece, group, target, acc_side=1):
        dst = target.at(piece.row + row, piece.col) + group[band].first
        index = s.stream.add(
            Alu(
                op=AluOp.RQ, operand=Operand.PARAM, src_mem=Memory.ACC, dst_mem=Memory.UB, n=lanes, m0=m0, m1=m1,
                src=acc + band * pixels + row * piece.cols, sm0=a0, sm1=a1, dst=dst, dm0=u0, dm1=u1,
                param=param_row(s, op, 1), zero=op.zero, lo=-128, hi=127,
            )
        )  # fmt: skip
    for band in group:
        found = Written(
            tensor_pixel(w, piece.image, piece.row, piece.col), band.first, lanes,
            target.at(piece.row, piece.col) + band.first, (piece.cols, target.pixel_pitch, 1),
            (piece.rows, target.row_pitch, w.out_w),
        )  # fmt: skip
        observe(s, index, op.output, found)


def _loops(
    piece: Tile, group: Sequence[Band], view: View, *, acc_side: int
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int], int, int]]:
    """Loops (count, UB step, ACC step), inner and outer, that cover all pixels and bands, each with its first band and
    row: pixels inside, bands outside where pixels are evenly spaced; else one instruction per band or row."""
    pixels, lanes = piece.rows * piece.cols, group[0].count
    even = piece.rows == 1 or view.row_pitch == piece.cols * view.pixel_pitch
    if even:
        inner = (pixels, view.pixel_pitch, acc_side) if pixels > 1 else (1, 0, 0)
        outer = (len(group), lanes, pixels) if len(group) > 1 else (1, 0, 0)
        yield inner, outer, 0, 0
    elif piece.rows <= len(group):
        for row in range(piece.rows):
            inner = (piece.cols, view.pixel_pitch, acc_side) if piece.cols > 1 else (1, 0, 0)
            outer = (len(group), lanes, pixels) if len(group) > 1 else (1, 0, 0)
            yield inner, outer, 0, row
    else:
        for band in range(len(group)):
            inner = (piece.cols, view.pixel_pitch, acc_side) if piece.cols > 1 else (1, 0, 0)
            outer = (piece.rows, view.row_pitch, piece.cols) if piece.rows > 1 else (1, 0, 0)
            yield inner, outer, band, 0
