"""Loops that exceed an instruction's fields become several instructions with the same effect.

A loop is cut where its count does not fit, and into single rounds where one of its strides does not fit. Later parts
of a reduction accumulate onto the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from accelsim.isa.fields import layout
from accelsim.isa.instructions import Alu, Gemm, Instr, Load, Store


@dataclass(frozen=True, slots=True)
class Loop:
    """The count field of a loop and, per address it moves, (stride field, address field)."""

    count: str
    moves: tuple[tuple[str, str], ...]
    reduces: bool = False


_TRANSFER = tuple(Loop(f"n{i}", ((f"ds{i}", "dram"), (f"ls{i}", "local"))) for i in (2, 1, 0))
LOOPS: dict[type, tuple[Loop, ...]] = {
    Load: _TRANSFER,
    Store: _TRANSFER,
    Gemm: (
        *(Loop(f"r{i}", ((f"xr{i}", "x"),), reduces=True) for i in (2, 1, 0)),
        *(Loop(f"m{i}", ((f"xm{i}", "x"), (f"am{i}", "a"))) for i in (1, 0)),
    ),
    Alu: (
        *(Loop(f"m{i}", ((f"sm{i}", "src"), (f"dm{i}", "dst"))) for i in (1, 0)),
        *(Loop(f"r{i}", ((f"sr{i}", "src"),), reduces=True) for i in (1, 0)),
    ),
}
"""Outermost loops first, so that cutting keeps the order in which rows act as far as it can."""


def fitting(instr: Instr) -> Iterator[Instr]:
    """The instruction itself, or instructions that fit their fields and together do the same.

    Rows of one instruction must not depend on each other, and a reduction must be one that accumulates.
    """
    limits = _limits(type(instr)) if type(instr) in LOOPS else {}
    outer: Loop | None = None  # a gemm's outermost reduction loop
    for loop in LOOPS.get(type(instr), ()):
        count = getattr(instr, loop.count)
        if count == 1:
            continue
        wide = any(getattr(instr, stride) > limits[stride] for stride, _ in loop.moves)
        if wide or count > limits[loop.count]:
            size = 1 if wide else limits[loop.count]
            if loop.reduces and outer is not None:
                # Weight tiles lie in loop order, so an inner loop can only be cut within one round of the outer.
                loop, count, size = outer, getattr(instr, outer.count), 1
            for first in range(0, count, size):
                yield from fitting(_part(instr, loop, first, min(size, count - first)))
            return
        if loop.reduces and isinstance(instr, Gemm):
            outer = outer or loop
    yield instr


@cache
def _limits(cls: type) -> dict[str, int]:
    return {slot.name: slot.spec.high for slot in layout(cls)}


def _part(instr: Instr, loop: Loop, first: int, count: int) -> Instr:
    """Rounds ``first .. first + count`` of one loop."""
    changes = {loop.count: count}
    for stride, address in loop.moves:
        changes[address] = getattr(instr, address) + first * getattr(instr, stride)
        if count == 1:
            changes[stride] = 0
    if loop.reduces and first:
        if isinstance(instr, Gemm):
            changes["overwrite"] = 0
            changes["wgt"] = instr.wgt + first * instr.k * _inner_tiles(instr, loop)
        else:
            changes["accumulate"] = 1
    return replace(instr, **changes)


def _inner_tiles(instr: Gemm, loop: Loop) -> int:
    """Weight tiles that one round of a reduction loop consumes."""
    inner = {"r0": (), "r1": ("r0",), "r2": ("r1", "r0")}[loop.count]
    tiles = 1
    for name in inner:
        tiles *= getattr(instr, name)
    return tiles
