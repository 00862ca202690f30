"""Many instructions at once: the fields of all instructions of one class as columns of numbers.

``encoding.py`` says what one instruction's fields mean; here are the same rules for thousands in a few numpy calls.
What does not fit them is told apart, never reported: the messages come from the rules for one instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.fields import OPCODE_BITS, WORD_BITS, WORD_BYTES, layout
from accelsim.isa.instructions import CLASSES, Instr, rebuild

LANE_BITS = 64
LANES = WORD_BITS // LANE_BITS
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class _Table:
    """The layout of a class, field by field: limits of its values, the values a choice stands for, where it lies."""

    values_of: Callable[[Any], tuple[Any, ...]]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    default: NDArray[np.int64]
    bias: NDArray[np.int64]  # stored = value - bias, as far as the field is no choice
    members: dict[int, NDArray[np.int64]]  # column of a choice -> its values, by the number that is stored
    arms: dict[int, tuple[int, int]]  # column of a union -> column of its selector, the value it needs
    place: tuple[tuple[int, int, bool], ...]  # offset, width, signed


@cache
def _table(cls: type) -> _Table:
    slots = layout(cls)
    column = {slot.name: number for number, slot in enumerate(slots)}
    members, arms = {}, {}
    for number, slot in enumerate(slots):
        if slot.spec.kind == "choice":
            members[number] = np.array([value for _, value in slot.spec.names], np.int64)
        if slot.spec.union:
            selector, _, wanted = slot.spec.union.partition("=")
            arms[number] = column[selector], dict(slots[column[selector]].spec.names)[wanted]
    return _Table(
        values_of=attrgetter(*(slot.name for slot in slots)),
        low=np.array([min(members[i]) if i in members else slot.spec.low for i, slot in enumerate(slots)]),
        high=np.array([max(members[i]) if i in members else slot.spec.high for i, slot in enumerate(slots)]),
        default=np.array([slot.default for slot in slots]),
        bias=np.array([int(slot.spec.kind == "count") for slot in slots]),
        members=members,
        arms=arms,
        place=tuple((slot.offset, slot.spec.width, slot.spec.kind == "signed") for slot in slots),
    )


@dataclass(frozen=True, slots=True)
class Columns:
    """The instructions of one class: their places in the program, and a row of field values for each."""

    cls: type[Instr]
    places: NDArray[np.intp]
    values: NDArray[np.int64]


def columns(instructions: Sequence[Instr]) -> list[Columns]:
    """The instructions by class. Raises ValueError when a field is no integer, or a far too large one."""
    groups: dict[type[Instr], list[int]] = {}
    for place, instr in enumerate(instructions):
        groups.setdefault(type(instr), []).append(place)
    found = []
    for cls, places in groups.items():
        values_of = _table(cls).values_of
        rows = [values_of(instructions[place]) for place in places]
        if not all(issubclass(kind, int) for kind in set(map(type, chain.from_iterable(rows)))):
            raise ValueError("a field is no integer")
        try:
            values = np.array(rows, np.int64)
        except OverflowError:
            raise ValueError("a field is no integer of 64 bits") from None
        found.append(Columns(cls, np.array(places), values))
    return found


def encodable(group: Columns) -> NDArray[np.bool_]:
    """Which instructions have only values that fit their fields."""
    table, values = _table(group.cls), group.values
    fits = (values >= table.low) & (values <= table.high)
    for column, members in table.members.items():
        fits[:, column] &= np.isin(values[:, column], members)
    for column, (selector, wanted) in table.arms.items():
        fits[:, column] &= (values[:, selector] == wanted) | (values[:, column] == table.default[column])
    return np.logical_and.reduce(fits, axis=1)


def pack(group: Columns) -> NDArray[np.uint8]:
    """The words uint8 (n, 32) of instructions that are all :func:`encodable`."""
    table = _table(group.cls)
    words = np.zeros((len(group.values), LANES), np.dtype("<u8"))
    words[:, 0] = int(group.cls.opcode)
    stored = group.values - table.bias
    for column, members in table.members.items():
        order = np.argsort(members)
        stored[:, column] = order[np.searchsorted(members[order], stored[:, column])]
    for column, (offset, width, _) in enumerate(table.place):
        lane, shift = divmod(offset, LANE_BITS)
        bits = stored[:, column].astype(np.uint64) & _mask(width)
        words[:, lane] |= bits << np.uint64(shift)
        if shift + width > LANE_BITS:
            words[:, lane + 1] |= bits >> np.uint64(LANE_BITS - shift)
    return words.view(np.uint8)


def unpack(words: NDArray[np.uint8]) -> list[Instr] | None:
    """The instructions of words uint8 (n, 32), or None if some word is no instruction."""
    lanes = np.ascontiguousarray(words).view(np.dtype("<u8"))
    opcodes = lanes[:, 0] & _mask(OPCODE_BITS)
    found: list[Instr] = [None] * len(words)  # type: ignore[list-item]
    known = 0
    for opcode, cls in CLASSES.items():
        places = np.flatnonzero(opcodes == int(opcode))
        values = _values(cls, lanes[places])
        if values is None or not np.array_equal(pack(Columns(cls, places, values)), words[places]):
            return None  # a choice without a meaning, or bits that no field holds
        for place, row in zip(places.tolist(), values.tolist()):
            found[place] = rebuild(cls, row)
        known += len(places)
    return found if known == len(words) else None


def _values(cls: type[Instr], lanes: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """The fields of words of one class; the arm of a union that is not in force holds its defaults."""
    table = _table(cls)
    values = np.empty((len(lanes), len(table.place)), np.int64)
    for column, (offset, width, signed) in enumerate(table.place):
        lane, shift = divmod(offset, LANE_BITS)
        bits = lanes[:, lane] >> np.uint64(shift)
        if shift + width > LANE_BITS:
            bits = bits | lanes[:, lane + 1] << np.uint64(LANE_BITS - shift)
        bits = bits & _mask(width)
        if signed:
            values[:, column] = (bits ^ _ONE << np.uint64(width - 1)).astype(np.int64) - (1 << width - 1)
        else:
            values[:, column] = bits
        if column in table.members:
            if len(bits) and int(bits.max()) >= len(table.members[column]):
                return None
            values[:, column] = table.members[column][values[:, column]]
    values += table.bias
    for column, (selector, wanted) in table.arms.items():
        values[values[:, selector] != wanted, column] = table.default[column]
    return values


def _mask(width: int) -> np.uint64:
    return np.uint64((1 << width) - 1)


assert WORD_BYTES * 8 == LANES * LANE_BITS
