"""What an instruction touches (:func:`effects`) and what work it is for the timing model (:func:`task`).

Effects are exact sets of byte addresses. A read is a byte whose value before the instruction can change the result;
bytes that an earlier row of the same instruction wrote first are still listed.
"""

from __future__ import annotations

from typing import assert_never

from accelsim.arch import Arch
from accelsim.isa.banks import bank_mask
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Instr, Load, Operand, Store, Sync, members
from accelsim.isa.program import Program
from accelsim.isa.protocol import (
    Arithmetic,
    ArrayWork,
    Effects,
    FillWork,
    HaltWork,
    Memory,
    Region,
    SyncWork,
    Task,
    TransferWork,
    VectorWork,
    Work,
)

LUT_BYTES = 256
_MEMORIES = tuple(Memory)
_UB = Memory.UB
_ARITHMETIC = {
    AluOp.MUL: Arithmetic.MULTIPLY,
    AluOp.MAC: Arithmetic.MAC,
    AluOp.RQ: Arithmetic.REQUANTIZE,
    AluOp.LUT: Arithmetic.LOOKUP,
}


def effects(instr: Instr, arch: Arch) -> Effects:
    """The bytes an instruction reads and writes on a machine, and the arithmetic it does."""
    match instr:
        case Load():
            target = _local_side(instr)
            return Effects(reads=() if instr.fill else (_dram_side(instr),), writes=(target,))
        case Store():
            return Effects(reads=(_local_side(instr),), writes=(_dram_side(instr),))
        case Gemm():
            return _gemm(instr, arch)
        case Alu():
            return _alu(instr, arch)
        case Sync() | Halt():
            return Effects()
        case _:
            assert_never(instr)


def reads_old_dst(instr: Alu) -> bool:
    """Whether the destination's old value is an input."""
    return bool(instr.accumulate) or instr.operand == Operand.DST


def param_rows(instr: Alu, arch: Arch) -> int:
    """PARAM rows an alu instruction reads: bias and scale of rq, a table of lut, one row per step otherwise."""
    if instr.operand != Operand.PARAM:
        return 0
    if instr.op == AluOp.LUT:
        return arch.lut_rows
    return 2 if instr.op == AluOp.RQ else instr.r0 * instr.r1


def task(instr: Instr, arch: Arch) -> Task:
    """The instruction as the timing simulator sees it."""
    banks = 0
    if arch.ub_ports == "shared":
        touched = effects(instr, arch)
        banks = bank_mask((*touched.reads, *touched.writes), arch.ub_bank_bytes)
    return Task(instr.unit, members(instr.wait), members(instr.signal), _work(instr, arch), banks)


def tasks(program: Program, arch: Arch) -> tuple[Task, ...]:
    """One task per instruction, in program order."""
    if program.worked is not None and program.worked[0] is arch:
        return program.worked[1]
    return tuple(task(instr, arch) for instr in program.instructions)


def _work(instr: Instr, arch: Arch) -> Work:
    match instr:
        case Load():
            if instr.fill:
                return FillWork(instr.n0 * instr.n1 * instr.n2 * _rows_of_run(instr, arch))
            return TransferWork(_dram_side(instr), write=False)
        case Store():
            return TransferWork(_dram_side(instr), write=True)
        case Gemm():
            return ArrayWork(tiles=instr.r0 * instr.r1 * instr.r2, k=instr.k, m=instr.m0 * instr.m1)
        case Alu():
            same_memory = reads_old_dst(instr) and instr.src_mem == instr.dst_mem
            steps = instr.m0 * instr.m1 * instr.r0 * instr.r1
            return VectorWork(steps=steps, reads=2 if same_memory else 1, lanes=instr.n)
        case Sync():
            return SyncWork()
        case Halt():
            return HaltWork()
        case _:
            assert_never(instr)


def _rows_of_run(instr: Load, arch: Arch) -> int:
    """Memory rows under one run of a fill, as the first run lies; UB has no rows, so a run is one."""
    if instr.memory == Memory.UB:
        return 1
    row = arch.array.cols if instr.memory == Memory.WGT else 4 * arch.array.cols
    return (instr.local % row + instr.run - 1) // row + 1


def _loops(*loops: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Loops that run more than once, outermost first."""
    return tuple([loop for loop in loops if loop[0] > 1])


def _scaled(unit: int, *loops: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """The same for strides in units."""
    return tuple([(count, stride * unit) for count, stride in loops if count > 1])


def _dram_side(instr: Load | Store) -> Region:
    loops = _loops((instr.n2, instr.ds2), (instr.n1, instr.ds1), (instr.n0, instr.ds0))
    return Region(Memory.DRAM, instr.dram, instr.run, loops)


def _local_side(instr: Load | Store) -> Region:
    loops = _loops((instr.n2, instr.ls2), (instr.n1, instr.ls1), (instr.n0, instr.ls0))
    return Region(_MEMORIES[instr.memory], instr.local, instr.run, loops)


def _gemm(instr: Gemm, arch: Arch) -> Effects:
    cols = arch.array.cols
    tiles, rows = instr.r0 * instr.r1 * instr.r2, instr.m0 * instr.m1
    activations = Region(
        Memory.UB, instr.x, instr.k,
        _loops((instr.r2, instr.xr2), (instr.r1, instr.xr1), (instr.r0, instr.xr0),
               (instr.m1, instr.xm1), (instr.m0, instr.xm0)),
    )  # fmt: skip
    weights = Region(Memory.WGT, instr.wgt * cols, instr.n, _loops((tiles * instr.k, cols)))
    pitch = 4 * cols
    sums = Region(
        Memory.ACC, instr.a * pitch, 4 * instr.n,
        _scaled(pitch, (instr.m1, instr.am1), (instr.m0, instr.am0)),
    )  # fmt: skip
    reads = (activations, weights) if instr.overwrite else (activations, weights, sums)
    return Effects(reads=reads, writes=(sums,), macs=rows * tiles * instr.k * instr.n)


def _alu(instr: Alu, arch: Arch) -> Effects:
    # UB takes byte addresses and n bytes, ACC row addresses and n words.
    row, word = 4 * arch.array.cols, 4 * instr.n
    unit, run = (1, instr.n) if instr.src_mem == _UB else (row, word)
    loops = _scaled(unit, (instr.m1, instr.sm1), (instr.m0, instr.sm0), (instr.r1, instr.sr1), (instr.r0, instr.sr0))
    source = Region(_MEMORIES[instr.src_mem], instr.src * unit, run, loops)
    unit, run = (1, instr.n) if instr.dst_mem == _UB else (row, word)
    loops = _scaled(unit, (instr.m1, instr.dm1), (instr.m0, instr.dm0))
    target = Region(_MEMORIES[instr.dst_mem], instr.dst * unit, run, loops)
    reads = [source]
    if reads_old_dst(instr):
        reads.append(target)
    if instr.operand == Operand.PARAM:
        reads.append(_param(instr, arch))
    steps = instr.m0 * instr.m1 * instr.r0 * instr.r1
    kind = _ARITHMETIC.get(AluOp(instr.op), Arithmetic.ADD)
    return Effects(reads=tuple(reads), writes=(target,), alu_ops=steps * instr.n, arithmetic=kind)


def _param(instr: Alu, arch: Arch) -> Region:
    pitch = 4 * arch.array.cols
    if instr.op == AluOp.LUT:
        return Region(Memory.PARAM, instr.param * pitch, LUT_BYTES)
    return Region(Memory.PARAM, instr.param * pitch, 4 * instr.n, _loops((param_rows(instr, arch), pitch)))
