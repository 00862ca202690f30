"""The parameters of a machine, as immutable values. ``accelsim.machine_file`` reads them from files.

There are no defaults here: the only home of defaults is ``configs/base.yaml``. :meth:`Arch.problems` holds the
rules a machine must obey, such as addresses that fit their instruction fields (a test compares the two).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accelsim.dram_arch import COUNT_LIMIT, DramArch, Problem, count_problems, plain
from accelsim.energy_arch import EnergyArch
from accelsim.errors import ConfigError
from accelsim.spelling import suggest
from accelsim.units import parse_clock, parse_size

ARRAY_LIMIT = 2**8  # rows and cols: the k and n fields
MEMORY_BYTES_LIMIT = 2**25  # the local address of load and store, the UB address of gemm and alu
WGT_ROWS_LIMIT = 2**18
ACC_ROWS_LIMIT = 2**16
PARAM_ROWS_LIMIT = 2**14
UB_BANKS_LIMIT = 64
QUANTITIES = ("size", "clock", "bytes_per_cycle", "peak")  # ends of keys whose values may carry units
FOLLOWS_COLS = "cols"  # the word for alu.lanes that means: as many as array.cols


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayArch:
    """The systolic array: ``rows`` x ``cols`` int8 multipliers with int32 sums."""

    rows: int
    cols: int
    dataflow: str  # "ws" | "os"
    weights: str  # "shadow" | "single"
    overlap: str  # "full" | "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AluArch:
    """The vector unit: ``lanes`` elements a cycle, ``latency`` pipeline stages in cycles."""

    lanes: int
    latency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One machine. Sizes in bytes, ``clock_hz`` an exact rational."""

    name: str
    clock_hz: Fraction
    array: ArrayArch
    alu: AluArch
    ub_bytes: int
    ub_ports: str  # "private" | "shared"
    ub_banks: int  # equal address ranges, each with one port
    wgt_bytes: int
    acc_bytes: int
    param_bytes: int
    dram: DramArch
    queue_depth: int  # instructions each unit's queue holds
    prefetch_words: int  # instruction words fetched ahead of dispatch
    energy: EnergyArch  # changes no cycle

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Arch:
        """The machine that complete plain data in the layout of :meth:`to_dict` describes; units are allowed.

        Raises ``ValueError`` for a quantity that cannot be read. Check :meth:`problems` afterwards.
        """
        array, alu = data["array"], data["alu"]
        clock_hz = parse_clock(data["clock"])
        lanes = array["cols"] if alu["lanes"] == FOLLOWS_COLS else alu["lanes"]
        return cls(
            name=data["name"],
            clock_hz=clock_hz,
            array=ArrayArch(**array),
            alu=AluArch(lanes=lanes, latency=alu["latency"]),
            ub_bytes=parse_size(data["ub"]["size"]),
            ub_ports=data["ub"]["ports"],
            ub_banks=data["ub"]["banks"],
            wgt_bytes=parse_size(data["wgt"]["size"]),
            acc_bytes=parse_size(data["acc"]["size"]),
            param_bytes=parse_size(data["param"]["size"]),
            dram=DramArch.from_dict(data["dram"], clock_hz),
            queue_depth=data["queue"]["depth"],
            prefetch_words=data["fetch"]["prefetch_words"],
            energy=EnergyArch.from_dict(data["energy"]),
        )

    def replace(self, changes: Mapping[str, Any] | None = None, **more: Any) -> Arch:
        """This machine with dotted keys changed: ``arch.replace({"array.rows": 32}, name="big")``.

        Values may carry units. ``alu.lanes`` follows ``array.cols`` if the two are equal, unless it is named.
        Raises :class:`ConfigError` for an unknown key, an unusable value or an impossible machine.
        """
        changed = {**(changes or {}), **more}
        flat = {key: value for key, value in flatten(self.to_dict()).items() if key != "schema"}
        if self.alu.lanes == self.array.cols:
            flat["alu.lanes"] = FOLLOWS_COLS
        for key, value in changed.items():
            where = f"Arch.replace({key}={value!r})"
            if key not in flat:
                raise ConfigError(where, key, "unknown key", suggest(key, flat))
            whole = isinstance(flat[key], int) and not key.endswith(QUANTITIES)
            if whole and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(where, key, f"expected a whole number, got {value!r}")
            flat[key] = value
        where = f"Arch.replace({', '.join(changed)})"
        try:
            arch = Arch.from_dict(unflatten(flat))
        except ValueError as error:
            raise ConfigError(where, "", *str(error).split("\n")) from None
        for problem in arch.problems():
            raise ConfigError(where, problem.keys[0], problem.problem, problem.hint)
        return arch

    def problems(self) -> tuple[Problem, ...]:
        """Every rule this machine breaks; empty for one that can be simulated."""
        return (*self._value_problems(), *self._memory_problems())

    def _value_problems(self) -> list[Problem]:
        words: tuple[tuple[str, str, tuple[str, ...]], ...] = (
            ("array.dataflow", self.array.dataflow, ("ws", "os")),
            ("array.weights", self.array.weights, ("shadow", "single")),
            ("array.overlap", self.array.overlap, ("full", "none")),
            ("ub.ports", self.ub_ports, ("private", "shared")),
        )
        found = [
            Problem((key,), f"{value!r} is not allowed", suggest(str(value), allowed))
            for key, value, allowed in words
            if value not in allowed
        ]
        counts = (
            ("array.rows", self.array.rows, 1, ARRAY_LIMIT),
            ("array.cols", self.array.cols, 1, ARRAY_LIMIT),
            ("alu.lanes", self.alu.lanes, 1, ARRAY_LIMIT),
            ("alu.latency", self.alu.latency, 0, COUNT_LIMIT),
            ("ub.banks", self.ub_banks, 1, UB_BANKS_LIMIT),
            ("queue.depth", self.queue_depth, 1, COUNT_LIMIT),
            ("fetch.prefetch_words", self.prefetch_words, 1, COUNT_LIMIT),
        )
        return [*found, *count_problems(counts), *self.dram.problems(), *self.energy.problems()]

    def _memory_problems(self) -> list[Problem]:
        cols = max(self.array.cols, 1)
        memories = (
            ("ub", self.ub_bytes, 1, "", MEMORY_BYTES_LIMIT),
            ("wgt", self.wgt_bytes, cols, "array.cols", WGT_ROWS_LIMIT),
            ("acc", self.acc_bytes, 4 * cols, "4 x array.cols", ACC_ROWS_LIMIT),
            ("param", self.param_bytes, 4 * cols, "4 x array.cols", PARAM_ROWS_LIMIT),
        )
        found = []
        for memory, size, row, law, rows_limit in memories:
            keys = (f"{memory}.size", "array.cols")
            if size % row:
                hint = f"the nearest are {size // row * row:,} and {(size // row + 1) * row:,}"
                problem = f"{memory}.size {size:,} is not a whole number of rows of {row} bytes ({law})"
                found.append(Problem(keys, problem, hint))
            limit = min(rows_limit * row, MEMORY_BYTES_LIMIT)
            if size > limit:
                problem = f"{memory}.size {size:,} is more than {limit:,} bytes"
                found.append(Problem(keys, problem, "an instruction cannot address more"))
        return found

    @property
    def wgt_rows(self) -> int:
        """Rows of ``cols`` int8 in WGT."""
        return self.wgt_bytes // self.array.cols

    @property
    def acc_rows(self) -> int:
        """Rows of ``cols`` int32 in ACC."""
        return self.acc_bytes // (4 * self.array.cols)

    @property
    def param_rows(self) -> int:
        """Rows of ``cols`` 32-bit words in PARAM."""
        return self.param_bytes // (4 * self.array.cols)

    @property
    def ub_bank_bytes(self) -> int:
        """Bytes of a UB bank; the last one has what is left."""
        return -(-self.ub_bytes // self.ub_banks)

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        """What DRAM can move at most: the port's rate, or the device's peak if that is lower."""
        if self.dram.kind == "flat":
            return self.dram.bytes_per_cycle
        return min(self.dram.bytes_per_cycle, self.dram.device.peak_bytes_per_s / self.clock_hz)

    @property
    def lut_rows(self) -> int:
        """PARAM rows that one 256-byte table takes."""
        return -(-256 // (4 * self.array.cols))

    @property
    def shape_hash(self) -> str:
        """Hash of what a program's meaning depends on: sizes, lanes of the array, dataflow."""
        shape = (
            self.array.rows, self.array.cols, self.array.dataflow,
            self.ub_bytes, self.wgt_bytes, self.acc_bytes, self.param_bytes,
        )  # fmt: skip
        return hashlib.sha256(repr(shape).encode()).hexdigest()[:16]

    @property
    def full_hash(self) -> str:
        """Hash of everything but the name and the energy: machines with equal ``full_hash`` give equal cycles."""
        values = {k: v for k, v in self.to_dict().items() if k not in ("name", "energy")}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The effective machine as plain data in the layout of a machine file; rationals as ``340/7``."""
        return {
            "schema": 1,
            "name": self.name,
            "clock": plain(self.clock_hz),
            "array": dataclasses.asdict(self.array),
            "alu": dataclasses.asdict(self.alu),
            "ub": {"size": self.ub_bytes, "ports": self.ub_ports, "banks": self.ub_banks},
            "wgt": {"size": self.wgt_bytes},
            "acc": {"size": self.acc_bytes},
            "param": {"size": self.param_bytes},
            "dram": self.dram.to_dict(),
            "queue": {"depth": self.queue_depth},
            "fetch": {"prefetch_words": self.prefetch_words},
            "energy": self.energy.to_dict(),
        }


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as one dictionary with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`flatten`."""
    data: dict[str, Any] = {}
    for dotted, value in flat.items():
        *groups, last = dotted.split(".")
        here = data
        for group in groups:
            here = here.setdefault(group, {})
        here[last] = value
    return data
