"""How often an instruction does each thing that costs energy: the counts behind ``accelsim.energy``.

Everything follows from what an instruction touches (:class:`Effects`) and what work it is (the protocol's ``Work``).
``docs/energy.md`` states each count and what it stands for. Counts are exact integers; bytes count as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch, ArrayArch
from accelsim.isa.effects import effects, task
from accelsim.isa.fields import WORD_BYTES
from accelsim.isa.instructions import Alu, Gemm, Instr, Load, Store
from accelsim.isa.protocol import (
    Arithmetic,
    ArrayWork,
    Effects,
    Memory,
    Region,
    VectorWork,
    Work,
)
from accelsim.timing import burst_count, fetch_bursts

Counts = NDArray[np.int64]
"""One row per instruction, one column per :class:`Action`."""

SUM_BYTES = 4
ACCESSES_PER_MAC = 4  # of a PE's local store: operand, weight, sum in, sum out


class Action(IntEnum):
    """What is counted; memories and DRAM in bytes, the rest in operations."""

    MAC = 0
    REGISTER_ACCESS = 1
    OPERAND_MOVE = 2
    OPERAND_REGISTER = 3
    SUM_MOVE = 4
    SUM_REGISTER = 5
    ACC_ADD = 6
    UB_READ = 7
    UB_WRITE = 8
    WGT_READ = 9
    WGT_WRITE = 10
    ACC_READ = 11
    ACC_WRITE = 12
    PARAM_READ = 13
    PARAM_WRITE = 14
    DRAM_READ = 15
    DRAM_WRITE = 16
    DRAM_FETCH = 17
    ALU_ADD = 18
    ALU_MULTIPLY = 19
    FP32_MULTIPLY = 20
    FP32_CONVERT = 21
    ALU_LOOKUP = 22
    ALU_STAGE = 23
    INSTRUCTION = 24


READ = {
    Memory.UB: Action.UB_READ, Memory.WGT: Action.WGT_READ, Memory.ACC: Action.ACC_READ,
    Memory.PARAM: Action.PARAM_READ, Memory.DRAM: Action.DRAM_READ,
}  # fmt: skip
WRITE = {memory: Action(action + 1) for memory, action in READ.items()}
_ARITHMETIC: dict[Arithmetic, tuple[tuple[Action, int], ...]] = {
    Arithmetic.NONE: (),
    Arithmetic.ADD: ((Action.ALU_ADD, 1),),
    Arithmetic.MULTIPLY: ((Action.ALU_MULTIPLY, 1),),
    Arithmetic.MAC: ((Action.ALU_MULTIPLY, 1), (Action.ALU_ADD, 1)),
    # The bias, the zero point and both clamps; to float32 and back; the scale.
    Arithmetic.REQUANTIZE: ((Action.ALU_ADD, 4), (Action.FP32_CONVERT, 2), (Action.FP32_MULTIPLY, 1)),
    Arithmetic.LOOKUP: ((Action.ALU_LOOKUP, 1),),
}
_MOVES = (Action.OPERAND_MOVE, Action.OPERAND_REGISTER, Action.SUM_MOVE, Action.SUM_REGISTER)
_SHAPES = {  # all that the counts of an instruction depend on
    Gemm: attrgetter("overwrite", "k", "n", "r0", "r1", "r2", "m0", "m1"),
    Alu: attrgetter("op", "src_mem", "dst_mem", "operand", "accumulate", "n", "m0", "m1", "r0", "r1"),
}


def count_actions(instructions: Sequence[Instr], arch: Arch) -> Counts:
    """The actions of every instruction of a program, instruction fetch included."""
    known: dict[Any, list[int]] = {}
    rows = []
    for instr in instructions:
        shape = _SHAPES.get(type(instr))
        if shape is None:
            moves = isinstance(instr, Load | Store)
            rows.append(actions(effects(instr, arch), None, arch) if moves else [0] * len(Action))
            continue
        key = type(instr), shape(instr)
        if key not in known:
            known[key] = actions(effects(instr, arch), task(instr, arch).work, arch)
        rows.append(known[key])
    counts = np.array(rows, dtype=np.int64).reshape(len(rows), len(Action))
    counts[:, Action.INSTRUCTION] = 1
    counts[:, Action.DRAM_FETCH] = WORD_BYTES
    if len(rows):  # the rest of the last burst goes with the last word
        burst = arch.dram.burst_bytes
        counts[-1, Action.DRAM_FETCH] += fetch_bursts(len(rows), burst) * burst - len(rows) * WORD_BYTES
    return counts


def actions(touched: Effects, work: Work | None, arch: Arch) -> list[int]:
    """The actions of one instruction, by :class:`Action`, without its fetch. Only array and vector ``work`` matters."""
    counts = [0] * len(Action)
    match work:
        case ArrayWork():
            _count_array(counts, touched, work, arch.array)
        case VectorWork():
            _count_vector(counts, touched, work, arch.alu.latency)
        case _:
            burst = arch.dram.burst_bytes
            for regions, kind in ((touched.reads, READ), (touched.writes, WRITE)):
                for region in regions:
                    port = region.memory == Memory.DRAM
                    moved = burst_count(region, burst) * burst if port else region_bytes(region)
                    counts[kind[region.memory]] += moved
    return counts


def region_bytes(region: Region) -> int:
    """Bytes accessed, those that are touched again counted again."""
    return region.run * prod(count for count, _ in region.loops)


def _count_vector(counts: list[int], touched: Effects, work: VectorWork, stages: int) -> None:
    """Every operand is read in every row step, as the law of time has it; results are written once a row."""
    held = touched.arithmetic in (Arithmetic.REQUANTIZE, Arithmetic.LOOKUP)  # bias, scale and table stay in registers
    for region in touched.reads:
        once = region_bytes(region) if held else work.steps * region.run
        counts[READ[region.memory]] += once if region.memory == Memory.PARAM else work.steps * region.run
    for region in touched.writes:
        counts[WRITE[region.memory]] += region_bytes(region)
    for action, times in _ARITHMETIC[touched.arithmetic]:
        counts[action] += times * touched.alu_ops
    counts[Action.ALU_STAGE] += stages * touched.alu_ops


def _count_array(counts: list[int], touched: Effects, work: ArrayWork, array: ArrayArch) -> None:
    """Every register that something valid is written to, as ``hw/pe.py`` has them; PEs outside k x n do no MAC."""
    tiles, k, m = work.tiles, work.k, work.m
    n = touched.macs // (tiles * k * m)
    stationary = array.dataflow == "os"
    moves = _moves_os(array, k * tiles, m, n) if stationary else _moves_ws(array, tiles, k, m, n)
    for action, count in zip(_MOVES, moves):
        counts[action] = count
    counts[Action.MAC] = touched.macs
    counts[Action.REGISTER_ACCESS] = ACCESSES_PER_MAC * touched.macs
    rounds = 1 if stationary else tiles  # how often each ACC row is updated
    blocks = -(-m // array.rows) if stationary else 1  # how often the weights are streamed
    updates = m * n * rounds
    kept = updates if any(region.memory == Memory.ACC for region in touched.reads) else updates - m * n
    counts[Action.ACC_ADD] = kept
    counts[Action.ACC_READ] = SUM_BYTES * kept
    counts[Action.ACC_WRITE] = SUM_BYTES * updates
    counts[Action.UB_READ] = m * k * tiles
    counts[Action.WGT_READ] = blocks * tiles * k * n


@lru_cache(maxsize=4096)
def _moves_ws(array: ArrayArch, tiles: int, k: int, m: int, n: int) -> tuple[int, int, int, int]:
    """:data:`_MOVES` of a gemm on a weight-stationary array."""
    # A weight of row r passes c registers beside column c and r + 1 in it; with shadow registers it is then copied.
    down = n * k * (k + 1) // 2
    beside = k * n * (n - 1) // 2 + (k * n if array.weights == "shadow" else 0)
    # An activation of row r passes r registers in front of the array and one between any two columns.
    across = m * k * (array.cols - 1)
    before = m * k * (k - 1) // 2
    # A sum passes every row, then what is left of the columns behind its own.
    return (
        tiles * (down + across), tiles * (beside + before), tiles * m * n * array.rows, tiles * m * _aligning(array, n)
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _moves_os(array: ArrayArch, reduction: int, m: int, n: int) -> tuple[int, int, int, int]:
    """:data:`_MOVES` of a gemm on an output-stationary array; ``reduction`` is the whole of it."""
    whole, rest = divmod(m, array.rows)
    blocks = [(whole, array.rows), (int(rest > 0), rest)]
    lanes = sum(count * rows * (rows - 1) // 2 for count, rows in blocks)  # the sum of all rows' places
    rounds = whole + (rest > 0)
    through = reduction * (m * (array.cols - 1) + rounds * n * (array.rows - 1))
    before = reduction * (lanes + rounds * n * (n - 1) // 2)
    down = n * (m * (array.rows - 1) - lanes)  # a row drains over those below it
    kept = m * n * (reduction + (array.weights == "shadow"))  # each step, and the hand-over to the drain register
    return through, before, down, kept + m * _aligning(array, n)


def _aligning(array: ArrayArch, n: int) -> int:
    """Registers between the bottom of the array and the aligned row, of the first n columns."""
    return n * array.cols - n * (n - 1) // 2
