"""Field declarations of instructions and the bit layout derived from them.

A field is a dataclass field whose metadata is a :class:`Field`; the order of declaration is the order of bits, the
first field after the 3-bit opcode at bit 3. The fields of a union overlay the tail of the word: ``union`` names the
arm as ``selector=value`` and an arm is in force when the choice field ``selector`` holds that value. Each arm starts
at the same bit, so a union must come last.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any

OPCODE_BITS = 3
WORD_BYTES = 32
WORD_BITS = 8 * WORD_BYTES


@dataclass(frozen=True, slots=True)
class Field:
    """How one field is stored: its width in bits, its kind, the names of its values."""

    width: int
    doc: str
    kind: str  # "bits" | "count" | "signed" | "flag" | "choice" | "units"
    names: tuple[tuple[str, int], ...] = ()  # choice: (text, attribute value), stored as the position
    union: str = ""  # "selector=value" of the arm

    @property
    def low(self) -> int:
        """Smallest value a person may write."""
        if self.kind == "signed":
            return -(1 << (self.width - 1))
        return 1 if self.kind == "count" else 0

    @property
    def high(self) -> int:
        """Largest value a person may write."""
        return self.low + (1 << self.width) - 1


@dataclass(frozen=True, slots=True)
class Slot:
    """A field in its place: bits ``offset .. offset + width - 1`` of the word, bit 0 the lowest of byte 0."""

    name: str
    spec: Field
    offset: int
    default: int


@cache
def layout(cls: type) -> tuple[Slot, ...]:
    """The fields of an instruction class with their bit positions, in declaration order."""
    slots: list[Slot] = []
    offset = OPCODE_BITS
    ends: dict[str, int] = {}  # union arm -> its next free bit
    for item in dataclasses.fields(cls):
        spec: Field = item.metadata["field"]
        default: int = item.default  # type: ignore[assignment]
        if spec.union:
            start = ends.get(spec.union, offset)
            ends[spec.union] = start + spec.width
        else:
            start, offset = offset, offset + spec.width
        slots.append(Slot(item.name, spec, start, default))
    return tuple(slots)


def used_bits(cls: type) -> int:
    """Bits of the word an instruction class occupies, opcode included; a union takes the whole tail."""
    slots = layout(cls)
    if any(slot.spec.union for slot in slots):
        return WORD_BITS
    return max(slot.offset + slot.spec.width for slot in slots)


def _field(spec: Field, default: int) -> Any:
    return dataclasses.field(default=default, metadata={"field": spec})


def bits(width: int, doc: str, *, union: str = "") -> Any:
    """An unsigned number, default 0."""
    return _field(Field(width, doc, "bits", union=union), 0)


def signed(width: int, doc: str, *, union: str = "") -> Any:
    """A two's complement number, default 0."""
    return _field(Field(width, doc, "signed", union=union), 0)


def count(width: int, doc: str) -> Any:
    """A count 1 .. 2**width, stored as count - 1, default 1."""
    return _field(Field(width, doc, "count"), 1)


def flag(doc: str) -> Any:
    """One bit, default 0."""
    return _field(Field(1, doc, "flag"), 0)


def units(doc: str) -> Any:
    """A 4-bit mask over the units, default none; text form ``load,alu``."""
    return _field(Field(4, doc, "units"), 0)


def choice(width: int, values: Any, doc: str) -> Any:
    """One member of an enumeration (the attribute holds the member's int value); stored as its position."""
    names = tuple((member.name.lower(), int(member)) for member in values)
    if len(names) > 1 << width:
        raise ValueError(f"{len(names)} values do not fit {width} bits")
    return _field(Field(width, doc, "choice", names=names), names[0][1])
