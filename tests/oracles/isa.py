"""The instruction set executed byte by byte with Python integers: slow, obvious, independent of ``semantics.py``."""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.arch import Arch
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Instr, Load, Operand, Store, Sync
from accelsim.isa.protocol import Memory
from tests.oracles import numerics


class Memories:
    """Every memory as a bytearray; ``log`` sees each byte read ("r") or written ("w") as (kind, memory, address)."""

    def __init__(self, arch: Arch, contents: dict[Memory, bytes]) -> None:
        self.cols = arch.array.cols
        self.bytes = {memory: bytearray(data) for memory, data in contents.items()}
        self.log: list[tuple[str, Memory, int]] = []

    def get(self, memory: Memory, address: int) -> int:
        assert address >= 0
        self.log.append(("r", memory, address))
        return self.bytes[memory][address]

    def put(self, memory: Memory, address: int, value: int) -> None:
        assert address >= 0
        self.log.append(("w", memory, address))
        self.bytes[memory][address] = value

    def get8(self, memory: Memory, address: int) -> int:
        byte = self.get(memory, address)
        return byte - 256 if byte >= 128 else byte

    def put8(self, memory: Memory, address: int, value: int) -> None:
        self.put(memory, address, value % 256)

    def word(self, memory: Memory, row: int, lane: int) -> int:
        """The unsigned 32-bit word of a row of ACC or PARAM."""
        start = (row * self.cols + lane) * 4
        return sum(self.get(memory, start + place) * 256**place for place in range(4))

    def get32(self, memory: Memory, row: int, lane: int) -> int:
        return numerics.wrap32(self.word(memory, row, lane))

    def put32(self, memory: Memory, row: int, lane: int, value: int) -> None:
        start = (row * self.cols + lane) * 4
        for place in range(4):
            self.put(memory, start + place, (value >> 8 * place) % 256)


def execute(instr: Instr, memories: Memories) -> None:
    """Apply one instruction."""
    if isinstance(instr, Load):
        for dram, local in _windows(instr):
            for byte in range(instr.run):
                value = instr.dram % 256 if instr.fill else memories.get(Memory.DRAM, dram + byte)
                memories.put(Memory(instr.memory), local + byte, value)
    elif isinstance(instr, Store):
        for dram, local in _windows(instr):
            for byte in range(instr.run):
                memories.put(Memory.DRAM, dram + byte, memories.get(Memory(instr.memory), local + byte))
    elif isinstance(instr, Gemm):
        _gemm(instr, memories)
    elif isinstance(instr, Alu):
        for outer in range(instr.m1):
            for inner in range(instr.m0):
                _alu_row(instr, memories, outer, inner)
    else:
        assert isinstance(instr, Sync | Halt)


def _windows(instr: Load | Store) -> Iterator[tuple[int, int]]:
    for i2 in range(instr.n2):
        for i1 in range(instr.n1):
            for i0 in range(instr.n0):
                yield (
                    instr.dram + i2 * instr.ds2 + i1 * instr.ds1 + i0 * instr.ds0,
                    instr.local + i2 * instr.ls2 + i1 * instr.ls1 + i0 * instr.ls0,
                )


def _gemm(instr: Gemm, memories: Memories) -> None:
    tile = instr.wgt
    for r2 in range(instr.r2):
        for r1 in range(instr.r1):
            for r0 in range(instr.r0):
                first = r2 == 0 and r1 == 0 and r0 == 0
                for m1 in range(instr.m1):
                    for m0 in range(instr.m0):
                        x = (
                            instr.x + r2 * instr.xr2 + r1 * instr.xr1 + r0 * instr.xr0
                            + m1 * instr.xm1 + m0 * instr.xm0
                        )  # fmt: skip
                        row = instr.a + m1 * instr.am1 + m0 * instr.am0
                        _gemm_row(instr, memories, x, tile, row, bool(instr.overwrite and first))
                tile += instr.k


def _gemm_row(instr: Gemm, memories: Memories, x: int, tile: int, row: int, overwrite: bool) -> None:
    for column in range(instr.n):
        total = 0 if overwrite else memories.get32(Memory.ACC, row, column)
        for depth in range(instr.k):
            weight = memories.get8(Memory.WGT, (tile + depth) * memories.cols + column)
            total += memories.get8(Memory.UB, x + depth) * weight
        memories.put32(Memory.ACC, row, column, total)


def _alu_row(instr: Alu, memories: Memories, outer: int, inner: int) -> None:
    dst = instr.dst + outer * instr.dm1 + inner * instr.dm0
    sources = [
        instr.src + outer * instr.sm1 + inner * instr.sm0 + r1 * instr.sr1 + r0 * instr.sr0
        for r1 in range(instr.r1)
        for r0 in range(instr.r0)
    ]
    results = [_alu_lane(instr, memories, sources, dst, lane) for lane in range(instr.n)]
    for lane, value in enumerate(results):
        if instr.dst_mem == Memory.UB:
            memories.put8(Memory.UB, dst + lane, numerics.saturate8(value))
        else:
            memories.put32(Memory.ACC, dst, lane, value)


def _element(memories: Memories, memory: int, address: int, lane: int) -> int:
    if memory == Memory.UB:
        return memories.get8(Memory.UB, address + lane)
    return memories.get32(Memory.ACC, address, lane)


def _alu_lane(instr: Alu, memories: Memories, sources: list[int], dst: int, lane: int) -> int:
    values = [_element(memories, instr.src_mem, source, lane) for source in sources]
    if instr.op == AluOp.RQ:
        bias = memories.get32(Memory.PARAM, instr.param, lane)
        scale = memories.word(Memory.PARAM, instr.param + 1, lane)
        return numerics.requantize(values[0], bias, scale, instr.zero, instr.lo, instr.hi)
    if instr.op == AluOp.LUT:
        start = instr.param * memories.cols * 4
        return memories.get8(Memory.PARAM, start + numerics.saturate8(values[0]) + 128)
    old = 0
    if instr.accumulate or instr.operand == Operand.DST:
        old = _element(memories, instr.dst_mem, dst, lane)
    if instr.operand == Operand.NONE:
        chain = [old, *values] if instr.accumulate else values
        result = chain[0]
        for value in chain[1:]:
            result = _apply(AluOp(instr.op), result, value)
        return result
    if instr.operand == Operand.IMM:
        seconds = [instr.imm] * len(values)
    elif instr.operand == Operand.PARAM:
        seconds = [memories.get32(Memory.PARAM, instr.param + step, lane) for step in range(len(values))]
    else:
        seconds = [old] * len(values)
    if instr.op == AluOp.MAC:
        total = old if instr.accumulate else 0
        for value, second in zip(values, seconds):
            total += value * second
        return numerics.wrap32(total)
    return _apply(AluOp(instr.op), values[0], seconds[0])


def _apply(op: AluOp, left: int, right: int) -> int:
    results = {
        AluOp.ADD: left + right,
        AluOp.SUB: left - right,
        AluOp.MUL: left * right,
        AluOp.MAX: max(left, right),
        AluOp.MIN: min(left, right),
        AluOp.SHR: left >> (right % 32),
    }
    return numerics.wrap32(results[op])
