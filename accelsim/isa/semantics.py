"""What every instruction does to the memories: the executable meaning of the instruction set.

Rows of an instruction act in loop order, outer loop first, as if one at a time: a row reads all its sources, then
writes its destination, then the next row starts. Each function evaluates all rows at once where that gives the same
bytes, and one at a time where rows feed or overwrite each other. Integer arithmetic wraps at 32 bits. The alu is in
``alu.py``.

A program must have passed ``check_program``; an access outside a memory raises IndexError.
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.alu import execute_alu
from accelsim.isa.instructions import Alu, Gemm, Halt, Instr, Load, Store, Sync
from accelsim.isa.protocol import Memory
from accelsim.isa.state import MachineState
from accelsim.isa.windows import Loops, disjoint, reach, strided

CHUNK = 1024
"""Longest float32 reduction: 1024 products of at most 2**14 sum to at most 2**24, so every partial sum is exact."""

BLOCK_BYTES = 1 << 20
"""Activation bytes a gemm gathers at once; more rows than fit are done block by block to bound memory."""


def execute(instr: Instr, state: MachineState) -> None:
    """Apply one instruction to the memories. Raises IndexError for an access outside a memory."""
    match instr:
        case Gemm():
            _gemm(instr, state)
        case Alu():
            execute_alu(instr, state)
        case Load():
            _load(instr, state)
        case Store():
            _store(instr, state)
        case Sync() | Halt():
            pass
        case _:
            assert_never(instr)


def _load(instr: Load, state: MachineState) -> None:
    local_loops = ((instr.n2, instr.ls2), (instr.n1, instr.ls1), (instr.n0, instr.ls0))
    target = strided(state.bytes_of(Memory(instr.memory)), instr.local, local_loops, instr.run)
    if instr.fill:
        target[...] = instr.dram & 0xFF
        return
    dram_loops = ((instr.n2, instr.ds2), (instr.n1, instr.ds1), (instr.n0, instr.ds0))
    memory = state.dram_holding(instr.dram, instr.dram + reach(dram_loops, instr.run))
    _move(target, strided(memory, instr.dram, dram_loops, instr.run), disjoint(local_loops, instr.run))


def _store(instr: Store, state: MachineState) -> None:
    dram_loops = ((instr.n2, instr.ds2), (instr.n1, instr.ds1), (instr.n0, instr.ds0))
    local_loops = ((instr.n2, instr.ls2), (instr.n1, instr.ls1), (instr.n0, instr.ls0))
    memory = state.dram_taking(instr.dram, instr.dram + reach(dram_loops, instr.run))
    target = strided(memory, instr.dram, dram_loops, instr.run)
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
    k, n, (acc_rows, cols) = instr.k, instr.n, state.acc.shape
    depth = instr.r0 * instr.r1 * instr.r2 * k
    if instr.wgt + depth > state.wgt.shape[0]:
        raise IndexError(f"WGT rows {instr.wgt}..{instr.wgt + depth - 1} of {state.wgt.shape[0]}")
    weights = state.wgt[instr.wgt : instr.wgt + depth, :n].astype(np.float32)
    loops = (
        (instr.m1, instr.xm1), (instr.m0, instr.xm0),
        (instr.r2, instr.xr2), (instr.r1, instr.xr1), (instr.r0, instr.xr0),
    )  # fmt: skip
    windows = strided(state.ub, instr.x, loops, k)
    acc_loops = ((instr.m1, instr.am1), (instr.m0, instr.am0))
    last = instr.a + reach(acc_loops, 1) - 1
    if last >= acc_rows:
        raise IndexError(f"ACC row {last} of {acc_rows}")
    if disjoint(acc_loops, 1):
        sums = ((instr.m1, instr.am1 * cols), (instr.m0, instr.am0 * cols))
        _add_products(windows, weights, strided(state.acc.reshape(-1), instr.a * cols, sums, n), instr.overwrite)
    else:
        _add_rows_in_order(windows, weights, _row_numbers(instr.a, acc_loops), state.acc[:, :n], instr)


def _add_products(
    windows: NDArray[np.int8], weights: NDArray[np.float32], sums: NDArray[np.int32], overwrite: int
) -> None:
    """Windows (m1, m0, r2, r1, r0, k) times weights (r2*r1*r0*k, n), exact, into int32 (m1, m0, n), which wraps."""
    depth, n = weights.shape
    outer, inner = windows.shape[:2]
    block = max(1, BLOCK_BYTES // (inner * depth))
    for start in range(0, outer, block):
        part, target = windows[start : start + block], sums[start : start + block]
        rows = np.empty(part.shape, np.float32)
        rows[...] = part
        rows = rows.reshape(-1, depth)
        for low in range(0, depth, CHUNK):
            piece = (rows[:, low : low + CHUNK] @ weights[low : low + CHUNK]).reshape(-1, inner, n)
            if overwrite and low == 0:
                target[...] = piece
            else:
                target += piece.astype(np.int32)


def _add_rows_in_order(
    windows: NDArray[np.int8],
    weights: NDArray[np.float32],
    targets: NDArray[np.intp],
    acc: NDArray[np.int32],
    instr: Gemm,
) -> None:
    """A gemm that visits ACC rows more than once, perhaps; ``targets`` is the row of each visit."""
    sums = _products(windows, weights)
    if instr.overwrite:
        # The first step overwrites at each visit, so of it only the last visit of a row remains.
        first = _products(windows[:, :, :1, :1, :1], weights[: instr.k])
        sums -= first
        _, last = np.unique(targets[::-1], return_index=True)
        last = len(targets) - 1 - last
        acc[targets[last]] = first[last]
    np.add.at(acc, targets, sums)


def _products(windows: NDArray[np.int8], weights: NDArray[np.float32]) -> NDArray[np.int32]:
    """The products of :func:`_add_products` alone, as rows (m1*m0, n)."""
    result = np.zeros((*windows.shape[:2], weights.shape[1]), np.int32)
    _add_products(windows, weights, result, overwrite=1)
    return result.reshape(-1, weights.shape[1])


def _row_numbers(first: int, loops: Loops) -> NDArray[np.intp]:
    (outer, outer_stride), (inner, inner_stride) = loops
    rows = np.arange(outer)[:, None] * outer_stride + np.arange(inner) * inner_stride + first
    return rows.reshape(-1)
