"""The parameters of the DRAM port and of the device behind it, as immutable values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from accelsim.spelling import suggest
from accelsim.units import parse_rate, parse_time_ns

COUNT_LIMIT = 10**6  # of queue entries and of latencies in cycles; far beyond any real machine
BURST_LIMIT = 2**12
DEVICE_LIMIT = 2**10  # channels, and banks of a channel
ROW_LIMIT = 2**20
RATE_LIMITS = (Fraction(1, 10**4), Fraction(10**6))  # bytes a cycle; beyond, cycle counts leave 64 bits
PEAK_LIMITS = (Fraction(10**6), Fraction(10**15))  # bytes a second
TIMES = ("trcd", "trp", "tcas", "tcwl", "tras", "trfc", "trefi")  # keys with a duration; fields end in _ns
KINDS = ("flat", "banked")


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a machine breaks: the keys involved, the likely culprit first."""

    keys: tuple[str, ...]
    problem: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceArch:
    """The DRAM device behind the port, used when ``dram.kind`` is ``banked``. Times in nanoseconds, exact.

    ``banks`` and ``row_bytes`` are those of one channel; ``access_bytes`` is what one column command moves,
    ``peak_bytes_per_s`` what all channels together move in a second.
    """

    channels: int
    banks: int
    row_bytes: int
    access_bytes: int
    peak_bytes_per_s: Fraction
    trcd_ns: Fraction
    trp_ns: Fraction
    tcas_ns: Fraction
    tcwl_ns: Fraction
    tras_ns: Fraction
    trfc_ns: Fraction
    trefi_ns: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class DramArch:
    """The DRAM port: an exact rational rate, a fixed latency in cycles, aligned bursts; and what lies behind it."""

    kind: str  # "flat" | "banked"
    bytes_per_cycle: Fraction
    latency: int
    burst_bytes: int
    outstanding: int
    device: DeviceArch

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], clock_hz: Fraction) -> DramArch:
        """From the keys of a machine file. Raises ``ValueError`` for a quantity that cannot be read."""
        times = {f"{key}_ns": parse_time_ns(data[key]) for key in TIMES}
        device = DeviceArch(
            channels=data["channels"],
            banks=data["banks"],
            row_bytes=data["row_bytes"],
            access_bytes=data["access_bytes"],
            peak_bytes_per_s=parse_rate(data["peak"], Fraction(1)),
            **times,
        )
        return cls(
            kind=data["kind"],
            bytes_per_cycle=parse_rate(data["bytes_per_cycle"], clock_hz),
            latency=data["latency"],
            burst_bytes=data["burst_bytes"],
            outstanding=data["outstanding"],
            device=device,
        )

    def to_dict(self) -> dict[str, Any]:
        """The inverse of :meth:`from_dict`."""
        device = {
            key: value
            for key, value in dataclasses.asdict(self.device).items()
            if key in ("channels", "banks", "row_bytes", "access_bytes")
        }
        return {
            "kind": self.kind,
            "bytes_per_cycle": plain(self.bytes_per_cycle),
            "latency": self.latency,
            "burst_bytes": self.burst_bytes,
            "outstanding": self.outstanding,
            **device,
            "peak": plain(self.device.peak_bytes_per_s),
            **{key: f"{_decimal(getattr(self.device, f'{key}_ns'))} ns" for key in TIMES},
        }

    def problems(self) -> list[Problem]:
        """Every rule the port or its device breaks."""
        found = []
        if self.kind not in KINDS:
            problem = f"{self.kind!r} is not allowed"
            found.append(Problem(("dram.kind",), problem, suggest(str(self.kind), KINDS)))
        device = self.device
        counts = (
            ("dram.latency", self.latency, 0, COUNT_LIMIT),
            ("dram.burst_bytes", self.burst_bytes, 1, BURST_LIMIT),
            ("dram.outstanding", self.outstanding, 1, COUNT_LIMIT),
            ("dram.channels", device.channels, 1, DEVICE_LIMIT),
            ("dram.banks", device.banks, 1, DEVICE_LIMIT),
            ("dram.row_bytes", device.row_bytes, 1, ROW_LIMIT),
            ("dram.access_bytes", device.access_bytes, 1, BURST_LIMIT),
        )
        found += count_problems(counts)
        rates = (
            ("dram.bytes_per_cycle", self.bytes_per_cycle, RATE_LIMITS, "bytes a cycle"),
            ("dram.peak", device.peak_bytes_per_s, PEAK_LIMITS, "bytes a second"),
        )
        for key, rate, (low, high), unit in rates:
            if not low <= rate <= high:
                keys = (key, "clock") if key == "dram.bytes_per_cycle" else (key,)
                problem = f"must be from {float(low):g} to {float(high):g} {unit}, got {_approximately(rate)}"
                found.append(Problem(keys, problem))
        for key, value in (("dram.burst_bytes", self.burst_bytes), ("dram.access_bytes", device.access_bytes)):
            if value > 0 and value & (value - 1):
                below = 1 << (value.bit_length() - 1)
                hint = f"the nearest are {below} and {2 * below}"
                found.append(Problem((key,), f"must be a power of two, got {value}", hint))
        return found if found or self.kind == "flat" else self._device_problems()

    def _device_problems(self) -> list[Problem]:
        """Rules between values, which only matter if the device is used."""
        found = []
        device, stripe = self.device, self.stripe_bytes
        if device.row_bytes % stripe:
            keys = ("dram.row_bytes", "dram.burst_bytes", "dram.access_bytes")
            problem = f"dram.row_bytes {device.row_bytes} is not a whole number of bursts of {stripe} bytes"
            hint = "a burst is the larger of dram.burst_bytes and dram.access_bytes"
            found.append(Problem(keys, problem, hint))
        if device.trefi_ns <= device.trfc_ns:
            problem = "dram.trefi must be longer than dram.trfc: the device would only refresh"
            found.append(Problem(("dram.trefi", "dram.trfc"), problem))
        return found

    @property
    def stripe_bytes(self) -> int:
        """What a burst of the port moves in the device, and after which the address map turns to the next channel."""
        return max(self.burst_bytes, self.device.access_bytes)


def count_problems(counts: tuple[tuple[str, int, int, int], ...]) -> list[Problem]:
    """Those of ``(key, value, low, high)`` that are out of range."""
    return [
        Problem((key,), f"must be in {low}..{high}, got {value}")
        for key, value, low, high in counts
        if not low <= value <= high
    ]


def _approximately(value: Fraction) -> str:
    """Three digits, also of numbers that no float holds."""
    return str(Context(prec=3).divide(Decimal(value.numerator), Decimal(value.denominator)).normalize())


def _decimal(value: Fraction) -> int | str:
    """As :func:`plain`, but ``13.328`` rather than ``1666/125`` if picoseconds are enough."""
    thousandths = value * 1000
    if value.denominator == 1 or thousandths.denominator != 1:
        return plain(value)
    whole, part = divmod(thousandths.numerator, 1000)
    return f"{whole}.{part:03}".rstrip("0")


def plain(value: Fraction) -> int | str:
    """A rational as a file holds it: ``8`` or ``340/7``."""
    return value.numerator if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
