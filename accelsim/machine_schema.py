"""The layout of a machine file. Every key may be missing: ``extends`` and ``configs/base.yaml`` fill the gaps.

The models only say what a value may look like; rules between values are in ``Arch.problems``. The descriptions are
the source of the tables in ``docs/machines.md``, checked by a test.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from accelsim.arch import ARRAY_LIMIT, FOLLOWS_COLS, MEMORY_BYTES_LIMIT, UB_BANKS_LIMIT
from accelsim.dram_arch import BURST_LIMIT, COUNT_LIMIT, DEVICE_LIMIT, ROW_LIMIT
from accelsim.energy_schema import EnergyKeys
from accelsim.units import parse_clock, parse_rate, parse_size, parse_time_ns
from accelsim.validation import FileModel, Version

ABSENT: Any = None  # no default value: the key is left to the files below


def _size(value: Any) -> Any:
    size = parse_size(value)
    if size > MEMORY_BYTES_LIMIT:
        limit = f"{MEMORY_BYTES_LIMIT >> 20} MiB"
        raise ValueError(f"must be at most {limit}, got {value}\nan instruction cannot address more")
    return value


def _clock(value: Any) -> Any:
    parse_clock(value)
    return value


def _rate(value: Any) -> Any:
    parse_rate(value, Fraction(1))
    return value


def _time(value: Any) -> Any:
    parse_time_ns(value)
    return value


def _burst(value: int) -> int:
    if value & (value - 1):
        below = 1 << (value.bit_length() - 1)
        raise ValueError(f"must be a power of two, got {value}\nthe nearest are {below} and {2 * below}")
    return value


def _lanes(value: Any) -> Any:
    if isinstance(value, str) and value != FOLLOWS_COLS:
        raise ValueError(f"expected a whole number or the word cols, got {value!r}")
    return value


def _quantity(*examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["integer", "number", "string"], "examples": list(examples)})


Size: TypeAlias = Annotated[Any, AfterValidator(_size), _quantity("262144", "256 KiB")]
Clock: TypeAlias = Annotated[Any, AfterValidator(_clock), _quantity("500 MHz", "1 GHz")]
Rate: TypeAlias = Annotated[Any, AfterValidator(_rate), _quantity("8", "340/7", "34 GB/s")]
Peak: TypeAlias = Annotated[Any, AfterValidator(_rate), _quantity("19.2 GB/s")]
Time: TypeAlias = Annotated[Any, AfterValidator(_time), WithJsonSchema({"type": "string", "examples": ["13.5 ns"]})]
Side: TypeAlias = Annotated[int, Field(ge=1, le=ARRAY_LIMIT)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=COUNT_LIMIT)]
Latency: TypeAlias = Annotated[int, Field(ge=0, le=COUNT_LIMIT)]
Parts: TypeAlias = Annotated[int, Field(ge=1, le=DEVICE_LIMIT)]
Burst: TypeAlias = Annotated[int, Field(ge=1, le=BURST_LIMIT), AfterValidator(_burst)]
Lanes: TypeAlias = Annotated[Side | Literal["cols"], BeforeValidator(_lanes)]


class ArrayKeys(FileModel):
    """The systolic array of int8 multipliers with int32 sums."""

    rows: Side = Field(ABSENT, description="multipliers along the reduction (ws), output pixels (os)")
    cols: Side = Field(ABSENT, description="output channels side by side")
    dataflow: Literal["ws", "os"] = Field(ABSENT, description="weight-stationary or output-stationary")
    weights: Literal["shadow", "single"] = Field(
        ABSENT, description="`shadow`: the next weight tile loads under the current one; `single`: it waits"
    )
    overlap: Literal["full", "none"] = Field(
        ABSENT, description="`none`: a tile starts only when the one before has landed"
    )


class AluKeys(FileModel):
    """The vector unit."""

    lanes: Lanes = Field(ABSENT, description="elements a cycle; `cols` means as many as `array.cols`")
    latency: Latency = Field(ABSENT, description="pipeline depth, cycles")


class MemoryKeys(FileModel):
    """One on-chip memory."""

    size: Size = Field(ABSENT, description="capacity, bytes")


class UbKeys(MemoryKeys):
    """The unified buffer."""

    ports: Literal["private", "shared"] = Field(
        ABSENT, description="`private`: every unit has its own ports; `shared`: units take turns on banks of one port"
    )
    banks: Annotated[int, Field(ge=1, le=UB_BANKS_LIMIT)] = Field(
        ABSENT, description="equal address ranges with a port each; only with shared ports"
    )


class DramKeys(FileModel):
    """The DRAM port that fetch, load and store share."""

    bytes_per_cycle: Rate = Field(ABSENT, description="bandwidth: bytes a cycle, or a rate in bytes a second")
    latency: Latency = Field(ABSENT, description="from request to first data, cycles")
    burst_bytes: Burst = Field(ABSENT, description="size and alignment of a burst, a power of two")
    outstanding: Count = Field(ABSENT, description="bursts each requester may have in flight")
    kind: Literal["flat", "banked"] = Field(
        ABSENT, description="`flat`: every burst takes the same time; `banked`: a device of channels, banks and rows"
    )
    preset: Annotated[str, Field(min_length=1)] = Field(
        ABSENT, description="a bundled device: sets `kind: banked` and the keys below, as far as the file does not"
    )
    channels: Parts = Field(ABSENT, description="channels of the device")
    banks: Parts = Field(ABSENT, description="banks of a channel")
    row_bytes: Annotated[int, Field(ge=1, le=ROW_LIMIT)] = Field(ABSENT, description="a row of a bank of one channel")
    access_bytes: Burst = Field(ABSENT, description="what one column command moves, a power of two")
    peak: Peak = Field(ABSENT, description="peak rate of all channels together, bytes a second")
    trcd: Time = Field(ABSENT, description="from opening a row to its first column command")
    trp: Time = Field(ABSENT, description="to close a row")
    tcas: Time = Field(ABSENT, description="from the column command of a read to its first data")
    tcwl: Time = Field(ABSENT, description="from the column command of a write to its first data")
    tras: Time = Field(ABSENT, description="from opening a row to closing it, at least")
    trfc: Time = Field(ABSENT, description="a refresh")
    trefi: Time = Field(ABSENT, description="from one refresh to the next")


class QueueKeys(FileModel):
    """The instruction queue in front of each unit."""

    depth: Count = Field(ABSENT, description="instructions a queue holds")


class FetchKeys(FileModel):
    """Instruction fetch."""

    prefetch_words: Count = Field(ABSENT, description="instruction words fetched ahead of dispatch")


class MachineFile(FileModel):
    """A machine that accelsim simulates."""

    schema_: Version = Field(alias="schema", description="version of this layout")
    extends: Annotated[str, Field(min_length=1)] = Field(
        ABSENT, description="another machine file whose keys hold where this one has none: path or bundled name"
    )
    name: Annotated[str, Field(min_length=1)] = Field(
        ABSENT, description="shown in reports; the file's name if missing"
    )
    clock: Clock = Field(ABSENT, description="one clock for everything")
    array: ArrayKeys = Field(ABSENT, description="the systolic array")
    alu: AluKeys = Field(ABSENT, description="the vector unit")
    ub: UbKeys = Field(ABSENT, description="unified buffer: int8 activations")
    wgt: MemoryKeys = Field(ABSENT, description="weights: rows of `array.cols` int8")
    acc: MemoryKeys = Field(ABSENT, description="sums: rows of `array.cols` int32")
    param: MemoryKeys = Field(ABSENT, description="bias, scale and tables: rows of `array.cols` 32-bit words")
    dram: DramKeys = Field(ABSENT, description="the DRAM port")
    queue: QueueKeys = Field(ABSENT, description="instruction queues")
    fetch: FetchKeys = Field(ABSENT, description="instruction fetch")
    energy: EnergyKeys = Field(ABSENT, description="what actions cost and how large parts are")


class Settings(MachineFile):
    """What ``--set`` may change: any key of a machine file but its frame."""

    schema_: Version = Field(1, alias="schema")


def machine_json_schema() -> dict[str, Any]:
    """The JSON Schema of machine files, for editors."""
    schema: dict[str, Any] = _without_absent(MachineFile.model_json_schema(by_alias=True))
    schema["title"] = "accelsim machine file"
    return schema


def _without_absent(schema: Any) -> Any:
    """The schema without ``default: null``, which only says that a key may be missing."""
    if isinstance(schema, dict):
        return {k: _without_absent(v) for k, v in schema.items() if not (k == "default" and v is None)}
    return [_without_absent(item) for item in schema] if isinstance(schema, list) else schema
