"""The layout of an energy table (``configs/energy``) and of the ``energy`` group of a machine file.

The keys come from ``energy_arch.ENTRIES``. Rules between entries, such as a factor for every node that is needed, are
in ``energy_table``.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema, create_model

from accelsim.energy_arch import (
    AUTO,
    BANKS_LIMIT,
    CELLS,
    ENTRIES,
    FORMULA,
    KEYS,
    MEMORIES,
    NODES_NM,
    OPERANDS,
    PORT_BITS_LIMIT,
    TECHNOLOGIES,
    UNITS,
)
from accelsim.spelling import suggest
from accelsim.units import parse_time_ns
from accelsim.validation import FileModel, Version

ABSENT: Any = None  # no default value: the key is left to the files below
UNSCALED = "none"
RULES = ("logic", "sram", "leakage", "logic_area", "sram_area")


def parse_node(text: str) -> int:
    """Nanometres of ``28 nm``. Raises ``ValueError`` for another text and for a node without scaling factors."""
    match = re.fullmatch(r"([0-9]+)\s*nm", text.strip())
    if not match or int(match[1]) not in NODES_NM:
        raise ValueError(f"{text!r} is no known node\n{suggest(text, [f'{node} nm' for node in NODES_NM])}")
    return int(match[1])


def _node(text: str) -> str:
    parse_node(text)
    return text


def _banks(value: Any) -> Any:
    if value != AUTO:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number or the word {AUTO}, got {value!r}")
        if not 1 <= value <= BANKS_LIMIT:
            raise ValueError(f"must be in 1..{BANKS_LIMIT}, got {value}")
    return value


def _number_or_formula(value: Any) -> Any:
    if value != FORMULA:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"expected a number or the word {FORMULA}, got {value!r}")
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"must be a finite number of at least 0, got {value}")
    return value


def _word_or(number: dict[str, Any], word: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [number, {"const": word}]})


def _window(value: Any) -> Any:
    parse_time_ns(value)
    return value


Node: TypeAlias = Annotated[str, AfterValidator(_node)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Number: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Trust: TypeAlias = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Window: TypeAlias = Annotated[Any, AfterValidator(_window), WithJsonSchema({"type": "string", "examples": ["1 us"]})]
Banks: TypeAlias = Annotated[
    Any, AfterValidator(_banks), _word_or({"type": "integer", "minimum": 1, "maximum": BANKS_LIMIT}, AUTO)
]
OptionalNumber: TypeAlias = Annotated[
    Any, AfterValidator(_number_or_formula), _word_or({"type": "number", "minimum": 0}, FORMULA)
]


class Sourced(FileModel):
    """A number with its origin: a publication, or the rule by which it was derived and how far to trust that.

    That there is exactly one of the two is checked in ``energy_table``, with everything else that is wrong.
    """

    source: Text = Field(ABSENT, description="where the number was published")
    derived: Text = Field(ABSENT, description="the rule it was derived by, if it was not published")
    trust: Trust = Field(ABSENT, description="the factor it may be off, either way; `derived` needs it")


class EntryKeys(Sourced):
    """One number of a table."""

    value: Number = Field(description="the number, in `unit`")
    unit: Text = Field(description="its unit")
    node: Node = Field(description="the node it holds for")
    scaling: Literal["logic", "sram", "leakage", "logic_area", "sram_area", "none"] = Field(
        description="the rule that takes it to another node; `none`: it does not depend on the node"
    )


class FactorKeys(Sourced):
    """What a rule multiplies with at one node."""

    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(description="relative to the other nodes")


def _model(fields: dict[str, Any]) -> type[FileModel]:
    """A model of these fields, each (type, description)."""
    make: Any = create_model
    return make("Keys", __base__=FileModel, **fields)


def _entry_fields() -> dict[str, Any]:
    return {entry.name: (EntryKeys, Field(ABSENT, description=entry.meaning)) for entry in ENTRIES}


class EntriesKeys(_model(_entry_fields())):
    """The numbers of a table, by name."""


class NodeKeys(_model({f"nm{node}": (FactorKeys, Field(ABSENT, alias=f"{node} nm")) for node in NODES_NM})):
    """The factors of a rule, by node."""


class ScalingKeys(_model({rule: (NodeKeys, Field(ABSENT)) for rule in RULES})):
    """The factors, by rule."""


class TableFile(FileModel):
    """An energy table: what every action costs at one node."""

    schema_: Version = Field(alias="schema", description="version of this layout")
    extends: Text = Field(ABSENT, description="another table whose entries hold where this one has none")
    node: Node = Field(ABSENT, description="the node everything is scaled to; that of `extends` if missing")
    unit: Literal["pJ", "MAC"] = Field(ABSENT, description="what energies count; that of `extends` if missing")
    entries: EntriesKeys = Field(ABSENT, description="the numbers")
    scaling: ScalingKeys = Field(ABSENT, description="factors from node to node")


def _machine_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {
        "table": (Text, "energy table: a bundled name or a path; sets all the numbers below that the file does not"),
        "name": (Text, "shown in reports; the name of the table"),
        "unit": (Literal[UNITS], "what energies count: pJ, or the energy of one MAC in normalised tables"),
        "node_nm": (Annotated[int, Field(ge=min(NODES_NM), le=max(NODES_NM))], "node of the table, nanometres"),
        "operands": (Literal[OPERANDS], "what a multiply-accumulate is charged as; values stay int8"),
        "dram": (Literal[TECHNOLOGIES], "which DRAM figure is charged"),
        "cell": (Literal[CELLS], "SRAM cells; `mixed`: published energies with the leakage of `lop`"),
        "window": (Window, "length of the window of peak power"),
        "port_bits": (
            Annotated[int, Field(ge=1, le=PORT_BITS_LIMIT)],
            "width of a bank's port, from which `auto` finds the number of banks",
        ),
    }
    for memory in MEMORIES:
        fields[f"{memory}_banks"] = (Banks, f"banks of {memory.upper()}; `auto`: side by side")
    for entry in KEYS.values():
        fields[entry.key] = (OptionalNumber if entry.optional else Number, entry.meaning)
    return {key: (kind, Field(ABSENT, description=text)) for key, (kind, text) in fields.items()}



class EnergyKeys(_model(_machine_fields())):
    """What actions cost and how large parts are."""
