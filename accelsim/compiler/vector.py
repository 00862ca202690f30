"""Instructions of a vector operation: pooling by regions of equal clipping, tables, requantised averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from accelsim.compiler.constants import clips, pixel_counts
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.matrix import param_row, table_in_place, table_row
from accelsim.compiler.ops import Op, VecOp
from accelsim.compiler.stream import Tile, View, tensor_offset, tiles_of
from accelsim.isa.instructions import Alu, AluOp, Operand
from accelsim.isa.protocol import Memory


@dataclass(frozen=True, slots=True)
class Area:
    """Output pixels whose windows are clipped alike, and the part of the window that is real."""

    row: int
    rows: int
    col: int
    cols: int
    window_row: int  # first real row of the window
    window_rows: int
    window_col: int
    window_cols: int


def vector_jobs(s: Emitter, op: Op, image: int) -> Iterator[tuple[int, int, Callable[[], None]]]:
    """(input rows needed, output rows then complete, emit) of one image, or of the batch when ``op`` is batched."""
    assert isinstance(op, VecOp)
    plan, w = s.plans[op.name], op.window
    for number, tile in enumerate(tiles_of(w, plan.rows, plan.cols, image)):

        def emit(tile: Tile = tile, first: bool = number == 0) -> None:
            if first:
                s.prepare_output(op, image)
            _tile(s, op, tile)

        gives = tile.row + tile.rows if tile.col + tile.cols == w.out_w else tile.row
        yield w.last_row(tile.row + tile.rows), gives, emit


def areas(op: VecOp, tile: Tile) -> list[Area]:
    """The tile cut where the clipping of windows changes; table operations have one area."""
    w = op.window
    tall = clips(w.in_h, w.out_h, w.kernel[0], w.stride[0], w.pads[0])
    wide = clips(w.in_w, w.out_w, w.kernel[1], w.stride[1], w.pads[2])
    found: list[Area] = []
    for row, rows, above, below in _within(tall, tile.row, tile.row + tile.rows):
        for col, cols, left, right in _within(wide, tile.col, tile.col + tile.cols):
            found.append(
                Area(row, rows, col, cols, above, w.kernel[0] - above - below, left, w.kernel[1] - left - right)
            )
    return found


def _within(runs: list[tuple[int, int, int, int]], start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    for first, length, before, after in runs:
        lo, hi = max(first, start), min(first + length, stop)
        if lo < hi:
            yield lo, hi - lo, before, after


def _tile(s: Emitter, op: VecOp, tile: Tile) -> None:
    w, cols = op.window, s.arch.array.cols
    source = s.input_view(op, tile)
    target = s.output_view(op, tile, w.out_c)
    for first in range(0, w.out_c, cols):
        lanes = min(cols, w.out_c - first)
        s.stream.tile = f"rows {tile.row}+{tile.rows} cols {tile.col}+{tile.cols} channels {first}+{lanes}"
        for area in areas(op, tile):
            _area(s, op, tile, area, source, target, first, lanes)
    s.store_tile(op, tile, target, 0, w.out_c)


def _area(s: Emitter, op: VecOp, tile: Tile, area: Area, source: View, target: View, first: int, lanes: int) -> None:
    w = op.window
    dst = target.at(area.row, area.col) + first
    index = _EMIT[op.kind](s, op, area, source, target, first, lanes)
    at = tensor_offset(w, tile.image, area.row, area.col) + first
    loops = (area.cols, target.pixel_pitch, w.out_c), (area.rows, target.row_pitch, w.out_w * w.out_c)
    if op.kind == "max" and (op.lo, op.hi) != (-128, 127):
        for clamp, limit in ((AluOp.MAX, op.lo), (AluOp.MIN, op.hi)):
            index = _clamp(s, clamp, limit, dst, lanes, area, target)
    s.stream.probe(index, op.raw, lanes, dst, at, *loops)
    if op.table is not None and op.kind != "lut":
        index = table_in_place(s, op, dst, lanes, (area.cols, target.pixel_pitch), (area.rows, target.row_pitch))
        s.stream.probe(index, op.output, lanes, dst, at, *loops)


def _source(op: VecOp, area: Area, source: View, first: int) -> dict[str, int]:
    """src, its row strides and its window loops."""
    w = op.window
    row = area.row * w.stride[0] - w.pads[0] + area.window_row
    col = area.col * w.stride[1] - w.pads[2] + area.window_col
    return {
        "src": source.at(row, col) + first,
        "m0": area.cols,
        "sm0": w.stride[1] * source.pixel_pitch if area.cols > 1 else 0,
        "m1": area.rows,
        "sm1": w.stride[0] * source.row_pitch if area.rows > 1 else 0,
        "r0": area.window_cols,
        "sr0": source.pixel_pitch if area.window_cols > 1 else 0,
        "r1": area.window_rows,
        "sr1": source.row_pitch if area.window_rows > 1 else 0,
    }


def _target(area: Area, target: View, first: int) -> dict[str, int]:
    return {
        "dst_mem": Memory.UB,
        "dst": target.at(area.row, area.col) + first,
        "dm0": target.pixel_pitch if area.cols > 1 else 0,
        "dm1": target.row_pitch if area.rows > 1 else 0,
    }


def _maximum(s: Emitter, op: VecOp, area: Area, source: View, target: View, first: int, lanes: int) -> int:
    return s.stream.add(
        Alu(
            op=AluOp.MAX, src_mem=Memory.UB, n=lanes, **_source(op, area, source, first), **_target(area, target, first)
        )
    )


def _average(s: Emitter, op: VecOp, area: Area, source: View, target: View, first: int, lanes: int) -> int:
    """Sum int8 into ACC, then requantise with the row of this area's pixel count."""
    acc = s.acc.take(area.rows * area.cols)
    rows = {"dm0": 1 if area.cols > 1 else 0, "dm1": area.cols if area.rows > 1 else 0}
    s.stream.add(
        Alu(
            op=AluOp.ADD,
            src_mem=Memory.UB,
            n=lanes,
            **_source(op, area, source, first),
            dst_mem=Memory.ACC,
            dst=acc,
            **rows,
        )
    )
    param = param_row(s, op, pixel_counts(op).index(area.window_rows * area.window_cols))
    return s.stream.add(
        Alu(
            op=AluOp.RQ,
            operand=Operand.PARAM,
            src_mem=Memory.ACC,
            src=acc,
            sm0=rows["dm0"],
            sm1=rows["dm1"],
            m0=area.cols,
            m1=area.rows,
            n=lanes,
            **_target(area, target, first),
            param=param,
            zero=op.zero,
            lo=op.lo,
            hi=op.hi,
        )
    )


def _table(s: Emitter, op: VecOp, area: Area, source: View, target: View, first: int, lanes: int) -> int:
    return s.stream.add(
        Alu(
            op=AluOp.LUT,
            operand=Operand.PARAM,
            src_mem=Memory.UB,
            n=lanes,
            **_source(op, area, source, first),
            **_target(area, target, first),
            param=table_row(s, op),
        )
    )


def _clamp(s: Emitter, op: AluOp, limit: int, at: int, lanes: int, area: Area, target: View) -> int:
    dm0, dm1 = target.pixel_pitch if area.cols > 1 else 0, target.row_pitch if area.rows > 1 else 0
    return s.stream.add(
        Alu(
            op=op,
            operand=Operand.IMM,
            imm=limit,
            src_mem=Memory.UB,
            dst_mem=Memory.UB,
            n=lanes,
            m0=area.cols,
            m1=area.rows,
            src=at,
            sm0=dm0,
            sm1=dm1,
            dst=at,
            dm0=dm0,
            dm1=dm1,
        )
    )


_EMIT: dict[str, Callable[[Emitter, VecOp, Area, View, View, int, int], int]] = {
    "max": _maximum,
    "avg": _average,
    "lut": _table,
}
