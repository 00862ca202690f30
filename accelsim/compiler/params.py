"""Bias and scale rows and tables in PARAM, loaded unless they still lie there."""

from __future__ import annotations

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.ops import DepthwiseOp, Op
from accelsim.isa.instructions import Alu, AluOp, Operand
from accelsim.isa.protocol import Memory


def param_row(s: Emitter, op: Op, index: int) -> int:
    """PARAM row of the bias of entry ``index`` (its scale follows)."""
    group = next(g for g in s.groups_of(op) if g.first <= index < g.first + g.count)
    start, new = s.param.get((op.name, "param", group.first), 2 * group.count)
    if new:
        _load(s, s.constants.params(op, group), start, 2 * group.count, group.lanes)
    return start + 2 * (index - group.first)


def taps_row(s: Emitter, op: DepthwiseOp, first: int, part: tuple[int, int, int, int]) -> int:
    """PARAM row of the first tap of a part of the kernels of channels from ``first`` on."""
    rows = part[1] * part[3]
    start, new = s.param.get((op.name, "taps", first, part), rows)
    if new:
        _load(s, s.constants.taps(op, first, part), start, rows, min(s.arch.array.cols, op.window.out_c - first))
    return start


def _load(s: Emitter, address: int, start: int, rows: int, lanes: int) -> None:
    run, pitch = 4 * lanes, 4 * s.arch.array.cols
    s.stream.load_rows(
        Memory.PARAM, dram=address, local=start * pitch, rows=rows, run=run, dram_pitch=run, local_pitch=pitch
    )


def table_row(s: Emitter, op: Op) -> int:
    """PARAM row of an operation's 256-byte table."""
    start, new = s.param.get((op.name, "table"), s.arch.lut_rows)
    if new:
        s.stream.load_rows(
            Memory.PARAM,
            dram=s.constants.table(op),
            local=start * 4 * s.arch.array.cols,
            rows=1,
            run=256,
            dram_pitch=256,
            local_pitch=256,
        )
    return start


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
