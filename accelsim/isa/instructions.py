"""The instruction table: the only statement of every field, its width and its name. Field order is bit order.

``encoding.py`` derives encoding, decoding and range checks from these declarations, ``asm.py`` the text form and
``docs/isa.md`` its tables. Nobody writes a bit position. What an instruction *does* is in ``semantics.py``, what it
*touches* and what *work* it is in ``effects.py``, what it *costs* in ``accelsim.timing``.

Loops are named from the inside: ``m0`` runs fastest of the row loops, ``r0`` fastest of the reduction loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from typing import Any, ClassVar, TypeAlias, TypeVar

from accelsim.isa.fields import bits, choice, count, flag, signed, units
from accelsim.isa.protocol import Memory, Unit


class Opcode(IntEnum):
    """First three bits of every word."""

    LOAD = 0
    GEMM = 1
    ALU = 2
    STORE = 3
    SYNC = 4
    HALT = 5


class AluOp(IntEnum):
    """What the vector unit does with ``src`` and its operand; see ``semantics.py``."""

    MOV = 0
    ADD = 1
    SUB = 2
    MUL = 3
    MAC = 4
    MAX = 5
    MIN = 6
    SHR = 7
    RQ = 8
    LUT = 9


class Operand(IntEnum):
    """The second input of an alu instruction."""

    NONE = 0
    IMM = 1
    PARAM = 2
    DST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """DRAM -> UB, WGT, ACC or PARAM: three affine outer loops of a contiguous run; with ``fill``, one byte value."""

    opcode: ClassVar[Opcode] = Opcode.LOAD
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    memory: int = choice(2, (Memory.UB, Memory.WGT, Memory.ACC, Memory.PARAM), "destination memory")
    fill: int = flag("write the low byte of `dram` everywhere instead of reading DRAM")
    dram: int = bits(32, "first byte in DRAM; with `fill`, the byte value")
    local: int = bits(25, "first byte in the destination memory")
    run: int = count(20, "contiguous bytes")
    n0: int = count(12, "inner loop")
    n1: int = count(12, "middle loop")
    n2: int = count(10, "outer loop")
    ds0: int = bits(20, "DRAM bytes between inner iterations")
    ds1: int = bits(22, "DRAM bytes between middle iterations")
    ds2: int = bits(26, "DRAM bytes between outer iterations")
    ls0: int = bits(16, "destination bytes between inner iterations")
    ls1: int = bits(18, "destination bytes between middle iterations")
    ls2: int = bits(20, "destination bytes between outer iterations")

    @property
    def unit(self) -> Unit:
        return Unit.LOAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """A macro tile: for each reduction step the next ``k`` WGT rows, for each row ``ACC[a] (+)= UB[x:x+k] . W``."""

    opcode: ClassVar[Opcode] = Opcode.GEMM
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    overwrite: int = flag("the first reduction step overwrites ACC instead of adding")
    k: int = count(8, "weight rows of a tile = activation bytes of a row")
    n: int = count(8, "columns used")
    wgt: int = bits(18, "first WGT row")
    x: int = bits(25, "first UB byte")
    a: int = bits(16, "first ACC row")
    r0: int = count(10, "inner reduction loop")
    r1: int = count(8, "middle reduction loop")
    r2: int = count(8, "outer reduction loop")
    xr0: int = bits(16, "UB bytes between r0 iterations")
    xr1: int = bits(18, "UB bytes between r1 iterations")
    xr2: int = bits(20, "UB bytes between r2 iterations")
    m0: int = count(12, "inner row loop")
    m1: int = count(12, "outer row loop")
    xm0: int = bits(18, "UB bytes between m0 iterations")
    xm1: int = bits(20, "UB bytes between m1 iterations")
    am0: int = bits(8, "ACC rows between m0 iterations")
    am1: int = bits(13, "ACC rows between m1 iterations")

    @property
    def unit(self) -> Unit:
        return Unit.GEMM


@dataclass(frozen=True, slots=True, kw_only=True)
class Alu:
    """``dst = op(src, operand)`` over two row loops, reduced over two reduction loops; see ``semantics.py``.

    UB addresses are bytes, ACC addresses are rows; ``n`` lanes are contiguous in both.
    """

    opcode: ClassVar[Opcode] = Opcode.ALU
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    op: int = choice(4, AluOp, "operation")
    src_mem: int = choice(1, (Memory.UB, Memory.ACC), "memory of src")
    dst_mem: int = choice(1, (Memory.UB, Memory.ACC), "memory of dst")
    operand: int = choice(2, Operand, "second input")
    accumulate: int = flag("start from the old dst")
    n: int = count(8, "lanes")
    m0: int = count(12, "inner row loop")
    m1: int = count(10, "outer row loop")
    r0: int = count(6, "inner reduction loop")
    r1: int = count(6, "outer reduction loop")
    src: int = bits(25, "first source byte (UB) or row (ACC)")
    sm0: int = bits(18, "src distance between m0 iterations")
    sm1: int = bits(20, "src distance between m1 iterations")
    sr0: int = bits(14, "src distance between r0 iterations")
    sr1: int = bits(18, "src distance between r1 iterations")
    dst: int = bits(25, "first destination byte (UB) or row (ACC)")
    dm0: int = bits(16, "dst distance between m0 iterations")
    dm1: int = bits(18, "dst distance between m1 iterations")
    # The last 40 bits are one operand: `imm` when operand=imm, else `param` with the limits of rq.
    imm: int = signed(32, "immediate", union="operand=imm")
    param: int = bits(14, "first PARAM row: rq takes bias then scale, lut its table", union="operand=param")
    zero: int = signed(8, "rq: zero point added after rounding", union="operand=param")
    lo: int = signed(8, "rq: lower clamp", union="operand=param")
    hi: int = signed(8, "rq: upper clamp", union="operand=param")

    @property
    def unit(self) -> Unit:
        return Unit.ALU


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """UB or ACC -> DRAM, strided like load."""

    opcode: ClassVar[Opcode] = Opcode.STORE
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    memory: int = choice(2, (Memory.UB, Memory.ACC), "source memory")
    dram: int = bits(32, "first byte in DRAM")
    local: int = bits(25, "first byte in the source memory")
    run: int = count(20, "contiguous bytes")
    n0: int = count(12, "inner loop")
    n1: int = count(12, "middle loop")
    n2: int = count(10, "outer loop")
    ds0: int = bits(20, "DRAM bytes between inner iterations")
    ds1: int = bits(22, "DRAM bytes between middle iterations")
    ds2: int = bits(26, "DRAM bytes between outer iterations")
    ls0: int = bits(16, "source bytes between inner iterations")
    ls1: int = bits(18, "source bytes between middle iterations")
    ls2: int = bits(20, "source bytes between outer iterations")

    @property
    def unit(self) -> Unit:
        return Unit.STORE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Tokens only, on any unit; acts when all earlier instructions of its unit have landed."""

    opcode: ClassVar[Opcode] = Opcode.SYNC
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    on: int = choice(2, Unit, "the unit that executes it")

    @property
    def unit(self) -> Unit:
        return Unit(self.on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Ends the program, on any unit; every unit must have drained."""

    opcode: ClassVar[Opcode] = Opcode.HALT
    wait: int = units("units that must each give a token first")
    signal: int = units("units that each get a token at the end")
    on: int = choice(2, Unit, "the unit that executes it")

    @property
    def unit(self) -> Unit:
        return Unit(self.on)


Instr: TypeAlias = Load | Gemm | Alu | Store | Sync | Halt
"""Values are held as people mean them (a count of 1 is 1); ``fields.py`` stores count - 1. Missing strides are 0."""

CLASSES: dict[Opcode, type[Instr]] = {cls.opcode: cls for cls in (Load, Gemm, Alu, Store, Sync, Halt)}


def mask(*members: Unit) -> int:
    """The 4-bit ``wait``/``signal`` mask of some units."""
    value = 0
    for unit in members:
        value |= 1 << unit
    return value


def members(value: int) -> tuple[Unit, ...]:
    """The units of a mask, in bit order."""
    return _MEMBERS[value & 15]


_MEMBERS = tuple(tuple(unit for unit in Unit if value >> unit & 1) for value in range(1 << len(Unit)))

_I = TypeVar("_I", bound=Instr)


def rebuild(cls: type[_I], values: Iterable[int]) -> _I:
    """An instruction from the values of all its fields, in their order: the constructor without its keywords, for
    whoever makes thousands.
    """
    instr = object.__new__(cls)
    for put, value in zip(_setters(cls), values):
        put(instr, value)
    return instr


@cache
def _setters(cls: type) -> tuple[Callable[[Any, int], None], ...]:
    return tuple(cls.__dict__[item.name].__set__ for item in fields(cls))
