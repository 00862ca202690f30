"""One instruction as a line of assembly and back. Files of such lines are ``asm.py``'s work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.isa.encoding import arm_active, mnemonic
from accelsim.isa.fields import Slot, layout
from accelsim.isa.instructions import CLASSES, Instr, mask, members
from accelsim.isa.protocol import Unit
from accelsim.spelling import suggest

MNEMONICS = {opcode.name.lower(): cls for opcode, cls in CLASSES.items()}
UNIT_NAMES = {unit.name.lower(): unit for unit in Unit}


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake in a line: what is wrong, what would help, and the column (0 based) where it stands."""

    column: int
    problem: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a line and the column (0 based) where it starts."""

    text: str
    column: int


def format_instruction(instr: Instr) -> str:
    """The line of assembly: choices always, other fields unless they hold their default, tokens last."""
    parts, tail = [], []
    for slot in layout(type(instr)):
        value, spec = getattr(instr, slot.name), slot.spec
        if spec.kind == "units":
            if value:
                tail.append(f"{slot.name}={unit_names(value)}")
        elif spec.kind == "choice":
            text = next((name for name, member in spec.names if member == value), str(int(value)))
            if text != "none":
                parts.append(f"{slot.name}={text}")
        elif value != slot.default:
            parts.append(f"{slot.name}={int(value)}")
    return " ".join([mnemonic(instr), *parts, *tail])


def unit_names(value: int) -> str:
    """``load,alu`` for a mask of units."""
    return ",".join(unit.name.lower() for unit in members(value))


def parse_instruction(tokens: list[Token], symbols: Mapping[str, int]) -> tuple[Instr | None, list[Fault]]:
    """The instruction of a line's words and all mistakes in it; None when there are any.

    ``symbols`` are names usable as numbers (DRAM regions): ``dram=weights`` or ``dram=weights+64``.
    """
    cls = MNEMONICS.get(tokens[0].text)
    if cls is None:
        problem = f"unknown instruction {tokens[0].text!r}"
        return None, [Fault(tokens[0].column, problem, suggest(tokens[0].text, MNEMONICS))]
    slots = {slot.name: slot for slot in layout(cls)}
    values: dict[str, int] = {}
    columns: dict[str, int] = {}
    faults: list[Fault] = []
    for token in tokens[1:]:
        name, equals, text = token.text.partition("=")
        slot = slots.get(name)
        if slot is None:
            problem = f"{tokens[0].text} has no field {name!r}"
            faults.append(Fault(token.column, problem, suggest(name, slots, "fields")))
        elif name in columns:
            faults.append(Fault(token.column, f"field {name!r} is given twice"))
        elif not equals and slot.spec.kind != "flag":
            faults.append(Fault(token.column, f"field {name!r} needs a value", f"{name}=..."))
        else:
            columns[name] = token.column
            value = _value(slot, text if equals else "1", symbols)
            if isinstance(value, int):
                values[name] = value
            else:
                column = token.column + (len(name) + 1 if equals else 0)
                faults.append(Fault(column + value.column, value.problem, value.hint))
    if faults:
        return None, faults
    instr = cls(**values)
    faults = [
        Fault(columns[slot.name], f"{slot.name} needs {slot.spec.union}", "the other operand's fields must be left out")
        for slot in layout(cls)
        if slot.name in columns and not arm_active(instr, slot)
    ]
    return (None, faults) if faults else (instr, [])


def _value(slot: Slot, text: str, symbols: Mapping[str, int]) -> int | Fault:
    spec = slot.spec
    if spec.kind == "units":
        return _units(slot.name, text)
    if spec.kind == "choice":
        names = dict(spec.names)
        if text in names:
            return names[text]
        return Fault(0, f"{slot.name} cannot be {text!r}", suggest(text, names))
    value = _number(text, symbols)
    if value is None:
        hint = suggest(text.partition("+")[0], symbols, "regions") if symbols and text[:1].isalpha() else ""
        return Fault(0, f"{slot.name} must be a number, not {text!r}", hint)
    if not spec.low <= value <= spec.high:
        return Fault(0, f"{slot.name} is {value}, outside {spec.low}..{spec.high}")
    return value


def _number(text: str, symbols: Mapping[str, int]) -> int | None:
    name, plus, offset = text.partition("+")
    if name in symbols:
        extra = _number(offset, {}) if plus else 0
        return None if extra is None else symbols[name] + extra
    try:
        return int(text, 0)
    except ValueError:
        return None


def _units(name: str, text: str) -> int | Fault:
    found: list[Unit] = []
    for word in text.split(","):
        unit = UNIT_NAMES.get(word)
        if unit is None:
            return Fault(0, f"{name} names no unit {word!r}", suggest(word, UNIT_NAMES))
        if unit in found:
            return Fault(0, f"{name} names {word} twice")
        found.append(unit)
    return mask(*found)


