"""Field declarations of instructions and everything derived from them: widths, encoding, decoding, range checks.

A field is a dataclass field whose metadata is a :class:`Field`; the order of declaration is the order of bits, the
first field after the 3-bit opcode at bit 3. Fields that share a ``union`` name overlay the tail of the word.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """How one field is stored: ``width`` bits, ``bias`` subtracted first, sign, names of its values."""

    width: int
    doc: str
    kind: str  # "bits" | "count" | "signed" | "flag" | "choice" | "units"
    names: tuple[tuple[str, int], ...] = ()  # choice: (text, stored value)
    union: str = ""


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
    return _field(Field(width, doc, "choice", names=names), names[0][1])
