"""The parameters of a machine, as immutable values. Reading them from files is ``accelsim.machine_file``'s work.

There are no defaults here: the only home of defaults is ``configs/base.yaml``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


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
class DramArch:
    """The DRAM port: an exact rational rate, a fixed latency in cycles, aligned bursts."""

    bytes_per_cycle: Fraction
    latency: int
    burst_bytes: int
    outstanding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One machine. Sizes in bytes, ``clock_hz`` an exact rational."""

    name: str
    clock_hz: Fraction
    array: ArrayArch
    alu: AluArch
    ub_bytes: int
    wgt_bytes: int
    acc_bytes: int
    param_bytes: int
    dram: DramArch
    queue_depth: int  # instructions each unit's queue holds
    prefetch_words: int  # instruction words fetched ahead of dispatch

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
        """Hash of everything but the name: two machines with equal ``full_hash`` give equal cycles."""
        values = {k: v for k, v in self.to_dict().items() if k != "name"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The effective machine as plain data in the layout of a machine file; rationals as text like ``340/7``."""
        return {
            "schema": 1,
            "name": self.name,
            "clock": _plain(self.clock_hz),
            "array": dataclasses.asdict(self.array),
            "alu": dataclasses.asdict(self.alu),
            "ub": {"size": self.ub_bytes},
            "wgt": {"size": self.wgt_bytes},
            "acc": {"size": self.acc_bytes},
            "param": {"size": self.param_bytes},
            "dram": {
                "bytes_per_cycle": _plain(self.dram.bytes_per_cycle),
                "latency": self.dram.latency,
                "burst_bytes": self.dram.burst_bytes,
                "outstanding": self.dram.outstanding,
            },
            "queue": {"depth": self.queue_depth},
            "fetch": {"prefetch_words": self.prefetch_words},
        }


def _plain(value: Fraction) -> int | str:
    return value.numerator if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
