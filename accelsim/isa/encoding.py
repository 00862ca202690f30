"""Instructions as 32-byte little-endian words and back: everything follows from the table in ``instructions.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import EncodingError, ProgramError
from accelsim.isa.columns import columns, encodable, pack, unpack
from accelsim.isa.fields import OPCODE_BITS, WORD_BITS, WORD_BYTES, Slot, layout
from accelsim.isa.instructions import CLASSES, Instr

_CLASS_OF = {int(opcode): cls for opcode, cls in CLASSES.items()}
_ALL_BITS = (1 << WORD_BITS) - 1


def mnemonic(instr: Instr) -> str:
    """The lower-case name of an instruction, as assembly writes it."""
    return instr.opcode.name.lower()


def arm_active(instr: Instr, slot: Slot) -> bool:
    """Whether the slot's union arm is the one its selector names (true for fields outside unions)."""
    if not slot.spec.union:
        return True
    selector, _, wanted = slot.spec.union.partition("=")
    names = next(other.spec.names for other in layout(type(instr)) if other.name == selector)
    return (wanted, getattr(instr, selector)) in names


def _stored(instr: Instr, slot: Slot) -> int:
    """The bits of one field, or EncodingError."""
    value, spec = getattr(instr, slot.name), slot.spec
    if not isinstance(value, int):
        raise EncodingError(mnemonic(instr), slot.name, value, spec.width, problem="is not an integer")
    if spec.kind == "choice":
        for position, (_, member) in enumerate(spec.names):
            if member == value:
                return position
        allowed = ", ".join(f"{text} ({member})" for text, member in spec.names)
        raise EncodingError(mnemonic(instr), slot.name, value, spec.width, problem=f"is none of {allowed}")
    if not spec.low <= value <= spec.high:
        raise EncodingError(mnemonic(instr), slot.name, value, spec.width, spec.low)
    if spec.union and value != slot.default and not arm_active(instr, slot):
        raise EncodingError(
            mnemonic(instr), slot.name, value, spec.width,
            problem=f"needs {spec.union}; otherwise the field must be {slot.default}",
        )  # fmt: skip
    return value - 1 if spec.kind == "count" else value & ((1 << spec.width) - 1)


def check_ranges(instr: Instr) -> None:
    """Raise EncodingError for the first field whose value cannot be encoded."""
    for slot in layout(type(instr)):
        _stored(instr, slot)


def encode(instr: Instr) -> bytes:
    """The 32-byte word of an instruction. Raises EncodingError."""
    word = int(instr.opcode)
    for slot in layout(type(instr)):
        # Inactive union arms hold their defaults, all zero bits, so they leave the active arm alone.
        word |= _stored(instr, slot) << slot.offset
    return word.to_bytes(WORD_BYTES, "little")


def encode_all(instrs: Iterable[Instr]) -> NDArray[np.uint8]:
    """All words as uint8 (n, 32). Raises EncodingError."""
    instructions = tuple(instrs)
    try:
        groups = columns(instructions)
    except ValueError:
        groups = []
    if not groups or not all(encodable(group).all() for group in groups):
        for instr in instructions:
            check_ranges(instr)
    words = np.empty((len(instructions), WORD_BYTES), np.uint8)
    for group in groups:
        words[group.places] = pack(group)
    return words


def unencodable(instructions: Sequence[Instr]) -> set[int]:
    """The places of the instructions for which :func:`check_ranges` raises."""
    try:
        groups = columns(instructions)
    except ValueError:
        return {place for place, instr in enumerate(instructions) if not _fits(instr)}
    return {place for group in groups for place in group.places[~encodable(group)].tolist()}


def _fits(instr: Instr) -> bool:
    try:
        check_ranges(instr)
    except EncodingError:
        return False
    return True


def decode(word: bytes, index: int = 0) -> Instr:
    """The instruction of a 32-byte word.

    Raises ProgramError (naming ``index``) for an unknown opcode or choice, a unit mask or bits outside the fields.
    """
    if len(word) != WORD_BYTES:
        raise ProgramError(index, word.hex(), f"an instruction word has {WORD_BYTES} bytes, this one {len(word)}")
    number = int.from_bytes(word, "little")
    cls = _CLASS_OF.get(number & ((1 << OPCODE_BITS) - 1))
    if cls is None:
        raise ProgramError(index, word.hex(), f"unknown opcode {number & ((1 << OPCODE_BITS) - 1)}")
    values: dict[str, int] = {}
    used = (1 << OPCODE_BITS) - 1
    for slot in layout(cls):
        spec = slot.spec
        if spec.union and not _selected(values, layout(cls), spec.union):
            continue
        mask = (1 << spec.width) - 1
        raw = number >> slot.offset & mask
        used |= mask << slot.offset
        if spec.kind == "choice":
            if raw >= len(spec.names):
                raise ProgramError(index, word.hex(), f"{cls.opcode.name.lower()}.{slot.name} has no value {raw}")
            raw = spec.names[raw][1]
        elif spec.kind == "count":
            raw += 1
        elif spec.kind == "signed" and raw >> (spec.width - 1):
            raw -= 1 << spec.width
        values[slot.name] = raw
    stray = number & (_ALL_BITS ^ used)
    if stray:
        bit = (stray & -stray).bit_length() - 1
        raise ProgramError(index, word.hex(), f"bit {bit} is set and no field of {cls.opcode.name.lower()} holds it")
    return cls(**values)


def _selected(values: dict[str, int], slots: tuple[Slot, ...], union: str) -> bool:
    selector, _, wanted = union.partition("=")
    names = next(slot.spec.names for slot in slots if slot.name == selector)
    return (wanted, values[selector]) in names


def decode_all(words: NDArray[np.uint8]) -> tuple[Instr, ...]:
    """The instructions of uint8 (n, 32). Raises ProgramError naming the first bad word."""
    data = np.ascontiguousarray(words, dtype=np.uint8)
    found = unpack(data)
    return tuple(decode(word.tobytes(), index) for index, word in enumerate(data)) if found is None else tuple(found)
