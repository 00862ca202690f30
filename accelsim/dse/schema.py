"""The layout of a sweep file.

The models say what a value may look like; ``load`` checks what follows from several values together. The descriptions
are the source of the table in ``docs/sweeps.md``, checked by a test.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from accelsim.validation import FileModel, Version

ABSENT: Any = None
STRATEGIES = ("grid", "list", "random", "nsga2", "tpe")
POINTS_LIMIT = 1_000_000

Scalar: TypeAlias = int | float | str
Name: TypeAlias = Annotated[str, Field(min_length=1)]


class RangeKeys(FileModel):
    """Evenly spaced values."""

    from_: Scalar = Field(alias="from", description="the first value")
    to: Scalar = Field(description="the last value, if a whole number of steps leads to it")
    step: Scalar = Field(description="the difference between two values")


class AxisKeys(FileModel):
    """An axis that is not written as a list."""

    range: RangeKeys = Field(ABSENT, description="evenly spaced values")
    powers_of_two: Annotated[list[Scalar], Field(min_length=2, max_length=2)] = Field(
        ABSENT, description="[first, last]: every doubling of the first value up to the last"
    )


Axis: TypeAlias = Annotated[list[Scalar], Field(min_length=1)] | AxisKeys


class StrategyKeys(FileModel):
    """How points are chosen."""

    kind: Literal["grid", "list", "random", "nsga2", "tpe"] = Field(description="how points are chosen")
    points: Annotated[int, Field(ge=1, le=POINTS_LIMIT)] = Field(
        ABSENT, description="distinct points to look at (random, nsga2, tpe)"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="of every random choice")
    population: Annotated[int, Field(ge=2, le=10_000)] = Field(
        ABSENT, description="points of a generation (nsga2), or asked for at a time (tpe)"
    )


def _strategy(value: Any) -> Any:
    """A word alone is the kind."""
    return {"kind": value} if isinstance(value, str) else value


class SweepFile(FileModel):
    """Many points of workloads and machines."""

    schema_: Version = Field(alias="schema", description="version of this layout")
    name: Name = Field(ABSENT, description="shown in results; the file's name if missing")
    workloads: Annotated[list[Name], Field(min_length=1)] = Field(
        description="paths, relative to this file, or bundled names"
    )
    arch: Name = Field("edge", description="the base machine: path, relative to this file, or bundled name")
    set: dict[str, Any] = Field(ABSENT, description="keys of the machine that are the same for all points")
    batch: Annotated[int, Field(ge=1)] = Field(1, description="images at a time, where no axis says so")
    objective: Literal["cycles", "energy", "edp"] = Field(
        "cycles", description="what the compiler minimises, where no axis says so"
    )
    axes: dict[str, Axis] = Field(ABSENT, description="values by key of the machine, `batch` or `objective`")
    linked: list[dict[str, Axis]] = Field(ABSENT, description="groups of axes whose values go together, in step")
    derived: dict[str, Scalar] = Field(ABSENT, description="keys that follow from others, by an expression")
    points: list[dict[str, Scalar]] = Field(ABSENT, description="the points of the strategy `list`")
    strategy: Annotated[StrategyKeys, BeforeValidator(_strategy)] = Field(
        StrategyKeys.model_validate({"kind": "grid"}), description="a word, or the keys below"
    )
    objectives: Annotated[list[Name], Field(min_length=1)] = Field(
        ["cycles"], description="what points are compared by: totals of the report, less is better but for some"
    )
    constraints: list[Name] = Field(ABSENT, description="comparisons that a point must pass")
    verify: Annotated[int, Field(ge=0)] = Field(0, description="points that are also run with values and compared")


def sweep_json_schema() -> dict[str, Any]:
    """The JSON Schema of sweep files, for editors."""
    schema: dict[str, Any] = _without_absent(SweepFile.model_json_schema(by_alias=True))
    schema["title"] = "accelsim sweep file"
    one = {"type": "string", "enum": list(STRATEGIES)}
    schema["properties"]["strategy"]["anyOf"] = [one, {"$ref": "#/$defs/StrategyKeys"}]
    schema["properties"]["strategy"].pop("$ref", None)
    return schema


def _without_absent(schema: Any) -> Any:
    """The schema without ``default: null``, which only says that a key may be missing."""
    if isinstance(schema, dict):
        return {k: _without_absent(v) for k, v in schema.items() if not (k == "default" and v is None)}
    return [_without_absent(item) for item in schema] if isinstance(schema, list) else schema
