"""What the alu does with its rows; see ``semantics.py`` for the order in which they act.

An int8 source is widened to int32; a UB destination saturates to int8, an ACC destination stores int32. Reduction
steps run r1 outer, r0 inner; step i has source ``src_i``.

- operand none: ``src_0 op src_1 op ...``, a left fold; with ``accumulate`` it starts from the old destination.
- operand imm, param, dst: ``o_i`` is the immediate, PARAM row ``param + i`` as int32, or the old destination.
  ``mac``: ``[dst +] sum_i src_i * o_i``. Every other op: ``src_0 op o_0``.
- ``shr`` shifts right arithmetically by the low 5 bits of its second input.
- ``rq``: ``numerics.requantize`` with bias PARAM row ``param`` (int32) and scale row ``param + 1`` (float32 bits).
- ``lut``: ``table[saturate8(src) + 128]`` with the 256 int8 from the start of PARAM row ``param``.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim import numerics
from accelsim.isa.instructions import Alu, AluOp, Operand
from accelsim.isa.protocol import Memory
from accelsim.isa.state import MachineState
from accelsim.isa.windows import Loops, disjoint, reach, strided


def execute_alu(instr: Alu, state: MachineState) -> None:
    """Apply one alu instruction to the memories. Raises IndexError for an access outside a memory."""
    n, cols = instr.n, state.acc.shape[1]
    src_flat, src_unit = (state.ub, 1) if instr.src_mem == Memory.UB else (state.acc.reshape(-1), cols)
    dst_flat, dst_unit = (state.ub, 1) if instr.dst_mem == Memory.UB else (state.acc.reshape(-1), cols)
    src_rows: Loops = ((instr.m1, instr.sm1 * src_unit), (instr.m0, instr.sm0 * src_unit))
    dst_rows: Loops = ((instr.m1, instr.dm1 * dst_unit), (instr.m0, instr.dm0 * dst_unit))
    steps: Loops = ((instr.r1, instr.sr1 * src_unit), (instr.r0, instr.sr0 * src_unit))
    source = strided(src_flat, instr.src * src_unit, src_rows + steps, n)
    target = strided(dst_flat, instr.dst * dst_unit, dst_rows, n)
    if disjoint(dst_rows, n) and (
        instr.src_mem != instr.dst_mem
        or _rows_independent((instr.src * src_unit, src_rows, steps), (instr.dst * dst_unit, dst_rows), n)
    ):
        target[...] = _narrow(_value(instr, state, source, target), target)
        return
    for row in product(range(instr.m1), range(instr.m0)):  # views of memory: a row sees what earlier rows wrote
        target[row] = _narrow(_value(instr, state, source[row], target[row]), target)


def _rows_independent(source: tuple[int, Loops, Loops], target: tuple[int, Loops], n: int) -> bool:
    """Whether evaluating all rows at once gives the bytes of evaluating them in order, both in one memory."""
    (src, src_rows, steps), (dst, dst_rows) = source, target
    src_stop, dst_stop = src + reach(src_rows + steps, n), dst + reach(dst_rows, n)
    if src_stop <= dst or dst_stop <= src:
        return True
    if src == dst and src_rows == dst_rows and steps[0][0] == steps[1][0] == 1:
        return True  # in place
    # The first row that writes an element, compared with the rows that read it.
    rows = np.arange(dst_rows[0][0] * dst_rows[1][0], dtype=np.int64).reshape(dst_rows[0][0], dst_rows[1][0])
    low, high = min(src, dst), max(src_stop, dst_stop)
    writer = np.full(high - low, rows.size, np.int64)
    strided(writer, dst - low, dst_rows, n)[...] = rows[:, :, None]
    seen = strided(writer, src - low, src_rows + steps, n)
    return bool((seen.min(axis=(2, 3, 4)) >= rows).all())


def _narrow(values: NDArray[Any], target: NDArray[Any]) -> NDArray[Any]:
    """The values as the destination takes them."""
    return values if values.dtype == target.dtype or target.itemsize > 1 else numerics.saturate8(values)


def _value(instr: Alu, state: MachineState, source: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
    """The new rows, before narrowing: ``source`` (..., r1, r0, n) and the old destination (..., n) to (..., n)."""
    op = instr.op
    first = source[..., 0, 0, :]
    if op == AluOp.RQ:
        bias, scale = state.param[instr.param : instr.param + 2, : instr.n]
        return numerics.requantize(
            first.astype(np.int32), bias.view(np.int32), scale.view(np.float32), instr.zero, instr.lo, instr.hi
        )
    if op == AluOp.LUT:
        start = instr.param * state.param.shape[1] * 4
        table = state.bytes_of(Memory.PARAM)[start : start + 256].view(np.int8)
        return table[numerics.saturate8(first).astype(np.int16) + 128]
    if instr.operand == Operand.NONE:
        return _fold(op, source, old if instr.accumulate else None)
    if op == AluOp.MAC:
        total = _products(source, _second(instr, state, old))
        return total + old if instr.accumulate else total
    return _apply(op, first.astype(np.int32), _second(instr, state, old)[..., 0, 0, :])


def _second(instr: Alu, state: MachineState, old: NDArray[Any]) -> NDArray[np.int32]:
    """The operand as an array that broadcasts with (..., r1, r0, n)."""
    if instr.operand == Operand.IMM:
        return np.full((1, 1, 1), instr.imm, np.int32)
    if instr.operand == Operand.PARAM:
        rows = state.param[instr.param : instr.param + instr.r0 * instr.r1, : instr.n]
        return rows.view(np.int32).reshape(instr.r1, instr.r0, instr.n)
    return old.astype(np.int32)[..., None, None, :]


def _products(source: NDArray[Any], second: NDArray[np.int32]) -> NDArray[np.int32]:
    """``sum_i src_i * o_i`` over the reduction steps, in int32 that wraps."""
    return np.multiply(source, second, dtype=np.int32).sum(axis=(-3, -2), dtype=np.int32)


def _fold(op: int, source: NDArray[Any], before: NDArray[Any] | None) -> NDArray[Any]:
    """The left fold over the steps; of the ops whose order does not matter in one numpy call."""
    if op in (AluOp.MAX, AluOp.MIN):  # never leave the type of their inputs
        pick = np.maximum if op == AluOp.MAX else np.minimum
        best = pick.reduce(source, axis=(-3, -2))
        return best if before is None else pick(best, before)
    if op == AluOp.ADD:
        total = source.sum(axis=(-3, -2), dtype=np.int32)
        return total if before is None else total + before
    terms = [source[..., i, j, :].astype(np.int32) for i, j in np.ndindex(*source.shape[-3:-1])]
    result = terms.pop(0) if before is None else before.astype(np.int32)
    for term in terms:
        result = _apply(op, result, term)
    return result


def _apply(op: int, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int32]:
    """One two-input operation on int32 that wraps; ``mov`` gives its first input."""
    match op:
        case AluOp.ADD:
            return left + right
        case AluOp.SUB:
            return left - right
        case AluOp.MUL:
            return left * right
        case AluOp.MAX:
            return np.maximum(left, right)
        case AluOp.MIN:
            return np.minimum(left, right)
        case AluOp.SHR:
            return left >> (right & 31)
        case _:
            raise ValueError(f"{AluOp(op).name.lower()} has no two-input form")
