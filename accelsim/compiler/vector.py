"""Instructions of the vector unit: pooling by regions of equal clipping, tables, averages, sums of tensors, and
convolutions of single channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from accelsim.compiler.constants import clips, pixel_counts, tap_parts
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.lanes import Area, Lanes
from accelsim.compiler.ops import AddOp, DepthwiseOp, Op, VecOp, needs_acc
from accelsim.compiler.outputs import Written, observe, output_view, store_tile
from accelsim.compiler.params import param_row, table_in_place, table_row, taps_row
from accelsim.compiler.stream import Ring, Tile, View, tensor_pixel
from accelsim.isa.instructions import Alu, AluOp, Operand
from accelsim.isa.protocol import Memory


def areas(op: Op, tile: Tile) -> list[Area]:
    """The tile cut where the clipping of a pooling's windows changes; other operations have one area."""
    w = op.window
    if not isinstance(op, VecOp):
        return [Area(tile.row, tile.rows, tile.col, tile.cols, 0, w.kernel[0], 0, w.kernel[1])]
    tall = clips(w.in_h, w.out_h, w.kernel[0], w.stride[0], w.pads[0])
    wide = clips(w.in_w, w.out_w, w.kernel[1], w.stride[1], w.pads[2])
    found: list[Area] = []
    for row, rows, above, below in _within(tall, tile.row, tile.row + tile.rows):
        for col, cols, left, right in _within(wide, tile.col, tile.col + tile.cols):
            found.append(
                Area(row, rows, col, cols, above, w.kernel[0] - above - below, left, w.kernel[1] - left - right)
            )
    return found


def _within(runs: Sequence[tuple[int, int, int, int]], start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    for first, length, before, after in runs:
        lo, hi = max(first, start), min(first + length, stop)
        if lo < hi:
            yield lo, hi - lo, before, after


def vector_tile(s: Emitter, op: Op, tile: Tile, sums: Ring) -> None:
    """Compute one tile of an operation; ``sums`` is the part of ACC it may use."""
    channels = op.window.out_c
    width = s.plans[op.name].channels or channels
    target = output_view(s, op, tile, channels, 0)
    for base in range(0, channels, width):
        views = tuple(s.input_view(op, tile, number, base) for number in range(len(op.inputs)))
        for first in range(base, min(base + width, channels), s.arch.array.cols):
            lanes = min(s.arch.array.cols, base + width - first, channels - first)
            s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols} channels {first}+{lanes}"
            for area in areas(op, tile):
                for piece in _pieces(op, area, target, sums):
                    _piece(s, Lanes(op, piece, views, target, first, lanes, base=base), tile, sums)
    store_tile(s, op, tile, target, 0, channels)


def _pieces(op: Op, area: Area, target: View, sums: Ring) -> Iterator[Area]:
    """The area cut where a ring begins anew, and into as many pixels as ACC holds."""
    for row, rows in target.runs(area.row, area.rows):
        if not needs_acc(op):
            yield _part(area, row, rows, area.col, area.cols)
            continue
        cols = min(area.cols, sums.capacity)
        per = max(1, sums.capacity // cols)
        for top in range(row, row + rows, per):
            for left in range(area.col, area.col + area.cols, cols):
                yield _part(area, top, min(per, row + rows - top), left, min(cols, area.col + area.cols - left))


def _part(area: Area, row: int, rows: int, col: int, cols: int) -> Area:
    return Area(row, rows, col, cols, area.window_row, area.window_rows, area.window_col, area.window_cols)


def _piece(s: Emitter, x: Lanes, tile: Tile, sums: Ring) -> None:
    op, area, w = x.op, x.area, x.op.window
    if needs_acc(op):
        acc = sums.take(area.rows * area.cols)
        x = replace(x, acc=acc)
    index = _EMIT[_kind(op)](s, x)
    found = Written(
        tensor_pixel(w, tile.image, area.row, area.col), x.first, x.count, x.at,
        (area.cols, x.target.pixel_pitch, 1), (area.rows, x.target.row_pitch, w.out_w),
    )  # fmt: skip
    if isinstance(op, VecOp) and op.kind == "max" and (op.lo, op.hi) != (-128, 127):
        for clamp, limit in ((AluOp.MAX, op.lo), (AluOp.MIN, op.hi)):
            index = _clamp(s, clamp, limit, x)
    if not op.observed:
        return
    observe(s, index, op.raw, found)
    if op.table is not None and _kind(op) != "lut":
        inner, outer = (area.cols, x.target.pixel_pitch), (area.rows, x.target.row_pitch)
        index = table_in_place(s, op, x.at, x.count, inner, outer)
        observe(s, index, op.output, found)


def _kind(op: Op) -> str:
    if isinstance(op, VecOp):
        return op.kind
    return "add" if isinstance(op, AddOp) else "depthwise"


def _windows(x: Lanes) -> Iterator[tuple[Lanes, bool]]:
    """The piece cut where its input ring begins anew, and whether a part goes on with rows begun before."""
    area = x.area
    taps = (area.window_row, area.window_row + area.window_rows)
    for row, rows, tap, count in x.sources[0].windows(area.row, area.rows, x.op.window, taps):
        part = Area(row, rows, area.col, area.cols, tap, count, area.window_col, area.window_cols)
        acc = x.acc + (row - area.row) * area.cols
        yield replace(x, area=part, acc=acc), tap != taps[0]


def _maximum(s: Emitter, x: Lanes) -> int:
    index = -1
    for part, goes_on in _windows(x):
        index = s.stream.add(
            Alu(
                op=AluOp.MAX, accumulate=int(goes_on), **part.source_fields(), **part.window_fields(),
                **part.target_fields(),
            )
        )  # fmt: skip
    return index


def _average(s: Emitter, x: Lanes) -> int:
    """Sum int8 into ACC, then requantise with the row of this area's pixel count."""
    assert isinstance(x.op, VecOp)
    for part, goes_on in _windows(x):
        s.stream.add(
            Alu(
                op=AluOp.ADD, accumulate=int(goes_on), **part.source_fields(), **part.window_fields(),
                **part.sums("dst"),
            )
        )  # fmt: skip
    entry = pixel_counts(x.op).index(x.area.window_rows * x.area.window_cols)
    return requantize(s, x, entry, x.op.zero, x.op.lo, x.op.hi)


def requantize(s: Emitter, x: Lanes, entry: int, zero: int, lo: int, hi: int) -> int:
    """rq of the piece's sums with bias and scale of ``entry``."""
    return s.stream.add(
        Alu(
            op=AluOp.RQ, operand=Operand.PARAM, **x.sums("src"), m0=x.area.cols, m1=x.area.rows, n=x.count,
            **x.target_fields(), param=param_row(s, x.op, entry), zero=zero, lo=lo, hi=hi,
        )
    )  # fmt: skip


def _depthwise(s: Emitter, x: Lanes) -> int:
    op = x.op
    assert isinstance(op, DepthwiseOp)
    begun: set[int] = set()
    for row, rows, col, cols in tap_parts(op, s.arch):
        base = taps_row(s, op, x.first, (row, rows, col, cols))
        for out, outs, tap, count in x.sources[0].windows(x.area.row, x.area.rows, op.window, (row, row + rows)):
            part = Area(out, outs, x.area.col, x.area.cols, tap, count, col, cols)
            lanes = replace(x, area=part, acc=x.acc + (out - x.area.row) * x.area.cols)
            fields = lanes.source_fields()
            fields["src"] += col * (op.window.dilation[1] - 1) * x.sources[0].pixel_pitch
            s.stream.add(
                Alu(
                    op=AluOp.MAC, operand=Operand.PARAM, accumulate=int(out in begun), param=base + (tap - row) * cols,
                    **fields, **lanes.window_fields(), **lanes.sums("dst"),
                )
            )  # fmt: skip
            begun |= set(range(out, out + outs))
    return requantize(s, x, x.first // s.arch.array.cols, op.zero, op.lo, op.hi)


def _add(s: Emitter, x: Lanes) -> int:
    """``a * factor``, then ``+ b * factor``, then rq; rings may begin anew on either side."""
    op = x.op
    assert isinstance(op, AddOp)
    for number, factor in enumerate(op.factors):
        for row, rows in x.sources[number].runs(x.area.row, x.area.rows):
            part = _part(x.area, row, rows, x.area.col, x.area.cols)
            acc = x.acc + (row - x.area.row) * x.area.cols
            lanes = replace(x, area=part, acc=acc)
            s.stream.add(
                Alu(
                    op=AluOp.MAC if number else AluOp.MUL, operand=Operand.IMM, imm=factor, accumulate=number,
                    **lanes.source_fields(number), **lanes.sums("dst"),
                )
            )  # fmt: skip
    return requantize(s, x, 0, op.zero, op.lo, op.hi)


def _table(s: Emitter, x: Lanes) -> int:
    index = -1
    for part, _ in _windows(x):
        index = s.stream.add(
            Alu(
                op=AluOp.LUT, operand=Operand.PARAM, **part.source_fields(), **part.target_fields(),
                param=table_row(s, x.op),
            )
        )  # fmt: skip
    return index


def _copy(s: Emitter, x: Lanes) -> int:
    index = -1
    for part, _ in _windows(x):
        index = s.stream.add(Alu(op=AluOp.MOV, **part.source_fields(), **part.target_fields()))
    return index


def _clamp(s: Emitter, op: AluOp, limit: int, x: Lanes) -> int:
    fields = x.target_fields()
    return s.stream.add(
        Alu(
            op=op, operand=Operand.IMM, imm=limit, src_mem=Memory.UB, n=x.count, m0=x.area.cols, m1=x.area.rows,
            src=fields["dst"], sm0=fields["dm0"], sm1=fields["dm1"], **fields,
        )
    )  # fmt: skip


_EMIT: dict[str, Callable[[Emitter, Lanes], int]] = {
    "max": _maximum,
    "avg": _average,
    "lut": _table,
    "mov": _copy,
    "add": _add,
    "depthwise": _depthwise,
}
