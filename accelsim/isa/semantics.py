"""What every instruction does to the memories: the executable meaning of the instruction set.

Rows of an instruction act in loop order, outer loop first, as if one at a time: a row reads all its sources, then
writes its destination, then the next row starts. Each function evaluates all rows at once where that gives the same
bytes, and one at a time where rows feed or overwrite each other. Integer arithmetic wraps at 32 bits.

The alu (see :func:`_alu_value`): an int8 source is widened to int32; a UB destination saturates to int8, an ACC
destination stores int32. Reduction steps run r1 outer, r0 inner; step i has source ``src_i``.

- operand none: ``src_0 op src_1 op ...``, a left fold; with ``accumulate`` it starts from the old destination.
- operand imm, param, dst: ``o_i`` is the immediate, PARAM row ``param + i`` as int32, or the old destination.
  ``mac``: ``[dst +] sum_i src_i * o_i``. Every other op: ``src_0 op o_0``.
- ``shr`` shifts right arithmetically by the low 5 bits of its second input.
- ``rq``: ``numerics.requantize`` with bias PARAM row ``param`` (int32) and scale row ``param + 1`` (float32 bits).
- ``lut``: ``table[saturate8(src) + 128]`` with the 256 int8 from the start of PARAM row ``param``.

A program must have passed ``check_program``; an access outside a memory raises IndexError.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim import numerics
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Instr, Load, Operand, Store, Sync
from accelsim.isa.protocol import Memory
from accelsim.isa.state import MachineState

Loops: TypeAlias = tuple[tuple[int, int], ...]
"""(count, stride in elements), outermost first."""

CHUNK = 1024
"""Longest float32 reduction: 1024 products of at most 2**14 sum to at most 2**24, so every partial sum is exact."""

BLOCK_BYTES = 1 << 24
"""Activation bytes a gemm gathers at once; more rows than fit are done block by block to bound memory."""


def execute(instr: Instr, state: MachineState) -> None:
    """Apply one instruction to the memories. Raises IndexError for an access outside a memory."""
    match instr:
        case Load():
            _load(instr, state)
        case Gemm():
            _gemm(instr, state)
        case Alu():
            _alu(instr, state)
        case Store():
            _store(instr, state)
        case Sync() | Halt():
            pass
        case _:
            assert_never(instr)


def strided(flat: NDArray[Any], start: int, loops: Loops, run: int) -> NDArray[Any]:
    """A view of shape (counts..., run) of a flat array; windows may overlap. Raises IndexError outside it."""
    stop = start + run + sum((count - 1) * stride for count, stride in loops)
    if stop > flat.size:
        raise IndexError(f"elements {start}..{stop - 1} of a memory of {flat.size}")
    item = flat.itemsize
    shape = (*(count for count, _ in loops), run)
    strides = (*(stride * item for _, stride in loops), item)
    return np.ndarray(shape, flat.dtype, flat, start * item, strides)


def disjoint(loops: Loops, run: int) -> bool:
    """Whether the windows are certainly pairwise disjoint; a rare interleaving of disjoint windows gives False."""
    reach = run
    for count, stride in sorted(((c, s) for c, s in loops if c > 1), key=lambda loop: loop[1]):
        if stride < reach:
            return False
        reach += (count - 1) * stride
    return True


def _load(instr: Load, state: MachineState) -> None:
    counts = (instr.n2, instr.n1, instr.n0)
    local_loops = tuple(zip(counts, (instr.ls2, instr.ls1, instr.ls0)))
    target = strided(state.bytes_of(Memory(instr.memory)), instr.local, local_loops, instr.run)
    if instr.fill:
        target[...] = instr.dram & 0xFF
        return
    dram_loops = tuple(zip(counts, (instr.ds2, instr.ds1, instr.ds0)))
    source = strided(state.dram, instr.dram, dram_loops, instr.run)
    _move(target, source, disjoint(local_loops, instr.run))


def _store(instr: Store, state: MachineState) -> None:
    counts = (instr.n2, instr.n1, instr.n0)
    dram_loops = tuple(zip(counts, (instr.ds2, instr.ds1, instr.ds0)))
    local_loops = tuple(zip(counts, (instr.ls2, instr.ls1, instr.ls0)))
    target = strided(state.dram, instr.dram, dram_loops, instr.run)
    source = strided(state.bytes_of(Memory(instr.memory)), instr.local, local_loops, instr.run)
    _move(target, source, disjoint(dram_loops, instr.run))


def _move(target: NDArray[Any], source: NDArray[Any], windows_disjoint: bool) -> None:
    """Copy windows in loop order; numpy may reorder one assignment, which shows only where windows overlap."""
    if windows_disjoint:
        target[...] = source
        return
    for index in np.ndindex(*target.shape[:-1]):
        target[index] = source[index]


def _gemm(instr: Gemm, state: MachineState) -> None:
    k, n = instr.k, instr.n
    depth = instr.r0 * instr.r1 * instr.r2 * k
    if instr.wgt + depth > state.wgt.shape[0]:
        raise IndexError(f"WGT rows {instr.wgt}..{instr.wgt + depth - 1} of {state.wgt.shape[0]}")
    weights = state.wgt[instr.wgt : instr.wgt + depth, :n].astype(np.float32)
    row_loops = ((instr.m1, instr.xm1), (instr.m0, instr.xm0))
    reduction = ((instr.r2, instr.xr2), (instr.r1, instr.xr1), (instr.r0, instr.xr0))
    windows = strided(state.ub, instr.x, row_loops + reduction, k)
    acc_loops = ((instr.m1, instr.am1), (instr.m0, instr.am0))
    targets = _row_numbers(instr.a, acc_loops)
    if targets[-1] >= state.acc.shape[0]:  # strides are never negative, so the last row is the highest
        raise IndexError(f"ACC row {targets[-1]} of {state.acc.shape[0]}")
    distinct = disjoint(acc_loops, 1) or len(np.unique(targets)) == len(targets)
    sums = _products(windows, weights)
    if distinct:
        if not instr.overwrite:
            sums += state.acc[targets, :n]
        state.acc[targets, :n] = sums
        return
    if instr.overwrite:
        # The first step overwrites at each visit, so of it only the last visit of a row remains.
        first = _products(windows[:, :, :1, :1, :1], weights[:k])
        sums -= first
        _, last = np.unique(targets[::-1], return_index=True)
        last = len(targets) - 1 - last
        state.acc[targets[last], :n] = first[last]
    np.add.at(state.acc[:, :n], targets, sums)


def _row_numbers(first: int, loops: Loops) -> NDArray[np.intp]:
    (outer, outer_stride), (inner, inner_stride) = loops
    rows = np.arange(outer)[:, None] * outer_stride + np.arange(inner) * inner_stride + first
    return rows.reshape(-1)


def _products(windows: NDArray[np.int8], weights: NDArray[np.float32]) -> NDArray[np.int32]:
    """Windows (m1, m0, r2, r1, r0, k) times weights (r2*r1*r0*k, n), exact, as int32 (m1*m0, n) that wraps."""
    depth, n = weights.shape
    outer, inner = windows.shape[:2]
    result = np.empty((outer * inner, n), np.int32)
    block = max(1, BLOCK_BYTES // (inner * depth))
    for start in range(0, outer, block):
        part = windows[start : start + block]
        rows = part.reshape(part.shape[0] * inner, depth)
        target = result[start * inner : start * inner + len(rows)]
        for low in range(0, depth, CHUNK):
            piece = rows[:, low : low + CHUNK].astype(np.float32) @ weights[low : low + CHUNK]
            if low == 0:
                target[...] = piece
            else:
                target += piece.astype(np.int32)
    return result


class _AluOperands:
    """The flat arrays and affine windows of one alu instruction, in elements of their memory (int8 or int32)."""

    __slots__ = ("dst", "dst_flat", "dst_loops", "src", "src_flat", "src_loops")

    def __init__(self, instr: Alu, state: MachineState) -> None:
        cols = state.acc.shape[1]
        src_unit = 1 if instr.src_mem == Memory.UB else cols
        dst_unit = 1 if instr.dst_mem == Memory.UB else cols
        self.src_flat = state.ub if instr.src_mem == Memory.UB else state.acc.reshape(-1)
        self.dst_flat = state.ub if instr.dst_mem == Memory.UB else state.acc.reshape(-1)
        self.src = instr.src * src_unit
        self.dst = instr.dst * dst_unit
        self.src_loops: Loops = (
            (instr.m1, instr.sm1 * src_unit),
            (instr.m0, instr.sm0 * src_unit),
            (instr.r1, instr.sr1 * src_unit),
            (instr.r0, instr.sr0 * src_unit),
        )
        self.dst_loops: Loops = ((instr.m1, instr.dm1 * dst_unit), (instr.m0, instr.dm0 * dst_unit))


def _alu(instr: Alu, state: MachineState) -> None:
    where = _AluOperands(instr, state)
    windows = strided(where.src_flat, where.src, where.src_loops, instr.n)
    target = strided(where.dst_flat, where.dst, where.dst_loops, instr.n)
    if _rows_independent(instr, where):
        source = windows.reshape(instr.m1, instr.m0, -1, instr.n)
        target[...] = _narrow(_alu_value(instr, state, source, target), instr)
        return
    for row in product(range(instr.m1), range(instr.m0)):
        source = windows[row].reshape(-1, instr.n)  # a view of memory: sees what earlier rows wrote
        target[row] = _narrow(_alu_value(instr, state, source, target[row]), instr)


def _rows_independent(instr: Alu, where: _AluOperands) -> bool:
    """Whether evaluating all rows at once gives the bytes of evaluating them in order."""
    if not disjoint(where.dst_loops, instr.n):
        return False
    if instr.src_mem != instr.dst_mem:
        return True
    n = instr.n
    src_stop = where.src + n + sum((count - 1) * stride for count, stride in where.src_loops)
    dst_stop = where.dst + n + sum((count - 1) * stride for count, stride in where.dst_loops)
    if src_stop <= where.dst or dst_stop <= where.src:
        return True
    if where.src == where.dst and where.src_loops[:2] == where.dst_loops and instr.r0 == instr.r1 == 1:
        return True  # in place
    # The first row that writes an element, compared with the rows that read it.
    rows = np.arange(instr.m1 * instr.m0, dtype=np.int64).reshape(instr.m1, instr.m0)
    low, high = min(where.src, where.dst), max(src_stop, dst_stop)
    writer = np.full(high - low, rows.size, np.int64)
    strided(writer, where.dst - low, where.dst_loops, n)[...] = rows[:, :, None]
    seen = strided(writer, where.src - low, where.src_loops, n)
    return bool((seen.min(axis=(2, 3, 4)) >= rows).all())


def _narrow(values: NDArray[Any], instr: Alu) -> NDArray[Any]:
    return numerics.saturate8(values) if instr.dst_mem == Memory.UB else values


def _alu_value(instr: Alu, state: MachineState, source: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
    """The new rows, before narrowing: ``source`` (..., steps, n) and the old destination (..., n) to (..., n)."""
    op = AluOp(instr.op)
    if op is AluOp.RQ:
        bias, scale = state.param[instr.param : instr.param + 2, : instr.n]
        return numerics.requantize(
            source[..., 0, :].astype(np.int32), bias.view(np.int32), scale.view(np.float32),
            instr.zero, instr.lo, instr.hi,
        )  # fmt: skip
    if op is AluOp.LUT:
        start = instr.param * state.param.shape[1] * 4
        table = state.bytes_of(Memory.PARAM)[start : start + 256].view(np.int8)
        return table[numerics.saturate8(source[..., 0, :]).astype(np.int16) + 128]
    values = source.astype(np.int32)
    if instr.operand == Operand.NONE:
        return _fold(op, values, old.astype(np.int32) if instr.accumulate else None)
    second = _second_input(instr, state, old)
    if op is AluOp.MAC:
        total = np.multiply(values, second).sum(axis=-2, dtype=np.int32)
        return total + old if instr.accumulate else total
    return _apply(op, values[..., 0, :], second[..., 0, :])


def _second_input(instr: Alu, state: MachineState, old: NDArray[Any]) -> NDArray[np.int32]:
    """The operand as an array that broadcasts with (..., steps, n)."""
    if instr.operand == Operand.IMM:
        return np.full((1, instr.n), instr.imm, np.int32)
    if instr.operand == Operand.PARAM:
        stop = instr.param + instr.r0 * instr.r1
        return state.param[instr.param : stop, : instr.n].view(np.int32)
    return old.astype(np.int32)[..., None, :]


def _fold(op: AluOp, values: NDArray[np.int32], before: NDArray[np.int32] | None) -> NDArray[np.int32]:
    terms: Iterator[NDArray[np.int32]] = iter(np.moveaxis(values, -2, 0))
    result = next(terms) if before is None else before
    for term in terms:
        result = _apply(op, result, term)
    return result


def _apply(op: AluOp, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int32]:
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
            raise ValueError(f"{op.name.lower()} has no two-input form")
