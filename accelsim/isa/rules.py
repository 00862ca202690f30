"""Rules of single instructions: what the machine's size and the operation allow, whatever stands around them."""

from __future__ import annotations

from functools import lru_cache

from accelsim.arch import Arch
from accelsim.errors import EncodingError
from accelsim.isa.effects import effects
from accelsim.isa.encoding import check_ranges
from accelsim.isa.instructions import Alu, AluOp, Gemm, Instr, Operand
from accelsim.isa.protocol import Effects, Memory
from accelsim.isa.state import memory_bytes


class Rules:
    """The rules of one machine with ``dram_bytes`` of DRAM."""

    __slots__ = ("_arch", "_sizes")

    def __init__(self, arch: Arch, dram_bytes: int) -> None:
        self._arch = arch
        self._sizes = memory_bytes(arch, dram_bytes)

    def problem(self, instr: Instr) -> str:
        """What is wrong with an instruction by itself; empty when nothing is."""
        try:
            check_ranges(instr)
        except EncodingError as error:
            return str(error)
        return self.encodable_problem(instr, effects(instr, self._arch))

    def encodable_problem(self, instr: Instr, touched: Effects) -> str:
        """What is wrong with an instruction whose fields are in range, by its effects."""
        own = 1 << instr.unit
        if (instr.wait | instr.signal) & own:
            side = "wait" if instr.wait & own else "signal"
            return f"{side} names the instruction's own unit, {instr.unit.name.lower()}; a unit runs in order anyway"
        if isinstance(instr, Gemm) and instr.k > self._arch.array.rows:
            return f"k is {instr.k} and the array has {self._arch.array.rows} rows"
        if isinstance(instr, Gemm | Alu) and instr.n > self._arch.array.cols:
            return f"n is {instr.n} and the array has {self._arch.array.cols} columns"
        if isinstance(instr, Alu) and (found := alu_problem(instr)):
            return found
        return self._outside(touched)

    def _outside(self, touched: Effects) -> str:
        for verb, regions in (("reads", touched.reads), ("writes", touched.writes)):
            for region in regions:
                limit = self._sizes[region.memory]
                if region.stop > limit:
                    name, place = region.memory.name, place_text(region.memory, region.start, region.stop, self._arch)
                    return f"{verb} {place}, and {name} has {extent_text(region.memory, limit, self._arch)}"
        return ""


def alu_problem(instr: Alu) -> str:
    """Combinations of op, operand, reduction and accumulate that have no meaning."""
    limits = (instr.zero, instr.lo, instr.hi)
    return _combination_problem(instr.op, instr.operand, instr.r0 * instr.r1, instr.accumulate, limits)


@lru_cache(maxsize=1 << 10)
def _combination_problem(code: int, second: int, steps: int, accumulate: int, limits: tuple[int, int, int]) -> str:
    op, operand, name = AluOp(code), Operand(second), AluOp(code).name.lower()
    _, low, high = limits
    if op in (AluOp.RQ, AluOp.LUT) and operand is not Operand.PARAM:
        return f"{name} needs operand=param"
    if op is AluOp.MAC and operand is Operand.NONE:
        return "mac needs an operand: imm, param or dst"
    if op is AluOp.MOV and operand is not Operand.NONE:
        return "mov takes no operand"
    if op is AluOp.MOV or (operand is not Operand.NONE and op is not AluOp.MAC):
        if steps > 1:
            return f"{name}{_with(operand)} does not reduce: r0 and r1 must be 1"
        if accumulate:
            return f"{name}{_with(operand)} does not accumulate"
    if op is AluOp.RQ and low > high:
        return f"rq clamps to lo={low}..hi={high}, an empty range"
    if op is not AluOp.RQ and limits != (0, 0, 0):
        return f"zero, lo and hi belong to rq, not to {name}"
    return ""


def _with(operand: Operand) -> str:
    return "" if operand is Operand.NONE else f" with operand={operand.name.lower()}"


def row_bytes(memory: Memory, arch: Arch) -> int:
    """Bytes of a row of a memory that is addressed in rows, 1 of one addressed in bytes."""
    cols = arch.array.cols
    return {Memory.WGT: cols, Memory.ACC: 4 * cols, Memory.PARAM: 4 * cols}.get(memory, 1)


def place_text(memory: Memory, start: int, stop: int, arch: Arch) -> str:
    """``ACC rows 3..5`` or ``UB bytes 0..15`` for a range of byte addresses (``stop`` exclusive)."""
    pitch = row_bytes(memory, arch)
    noun = "byte" if pitch == 1 else "row"
    first, last = start // pitch, (stop - 1) // pitch
    return f"{memory.name} {noun} {first}" if first == last else f"{memory.name} {noun}s {first}..{last}"


def extent_text(memory: Memory, size_bytes: int, arch: Arch) -> str:
    """``1024 rows`` or ``262144 bytes``."""
    pitch = row_bytes(memory, arch)
    return f"{size_bytes // pitch} {'bytes' if pitch == 1 else 'rows'}"
