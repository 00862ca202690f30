"""Quantities with units as text, exactly: ``256 KiB``, ``500 MHz``, ``34 GB/s``, ``340/7``.

Every function takes what a file holds (a number or text) and raises ``ValueError`` whose text is the problem,
then after a line break a hint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from accelsim.spelling import closest

SIZE_UNITS: Mapping[str, int] = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9,
}  # fmt: skip
CLOCK_UNITS: Mapping[str, int] = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
TIME_UNITS_NS: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6}
RATE_UNITS: Mapping[str, int] = {f"{unit}/s": factor for unit, factor in SIZE_UNITS.items()}

CLOCK_LIMITS_HZ = (10**3, 10**12)
TIME_LIMITS_NS = (Fraction(1, 10**6), 10**9)

_QUANTITY = re.compile(
    r"([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?|[-+]?[0-9]+/[0-9]+)\s*([A-Za-z/]*)"
)


def parse_size(value: Any) -> int:
    """Bytes: a whole number, or text like ``256 KiB`` (KiB is 1024, kB is 1000)."""
    number, unit = _quantity(value, SIZE_UNITS, "a size like 256 KiB")
    size = number * SIZE_UNITS[unit or "B"]
    if size <= 0:
        raise ValueError(f"a size must be greater than 0, got {value}")
    if size.denominator != 1:
        raise ValueError(f"{value} is not a whole number of bytes")
    return size.numerator


def parse_clock(value: Any) -> Fraction:
    """Hertz: a number, or text like ``500 MHz``."""
    number, unit = _quantity(value, CLOCK_UNITS, "a clock like 500 MHz")
    if number <= 0:
        raise ValueError(f"a clock must be greater than 0, got {value}")
    clock_hz = number * CLOCK_UNITS[unit or "Hz"]
    if not CLOCK_LIMITS_HZ[0] <= clock_hz <= CLOCK_LIMITS_HZ[1]:
        raise ValueError(f"a clock must be from 1 kHz to 1000 GHz, got {value}")
    return clock_hz


def parse_rate(value: Any, clock_hz: Fraction) -> Fraction:
    """Bytes a cycle: a number or fraction text as it is, text like ``34 GB/s`` divided by the clock."""
    number, unit = _quantity(value, RATE_UNITS, "bytes a cycle like 8 or 340/7, or a rate like 34 GB/s")
    if number <= 0:
        raise ValueError(f"a rate must be greater than 0, got {value}")
    return number * RATE_UNITS[unit] / clock_hz if unit else number


def parse_time_ns(value: Any) -> Fraction:
    """Nanoseconds: text like ``13.328 ns`` or ``3.9 us``."""
    number, unit = _quantity(value, TIME_UNITS_NS, "a time like 13.5 ns")
    if not unit:
        raise ValueError(f"expected a time like 13.5 ns, got {value!r}\nwrite the unit: ns, us or ms")
    if number <= 0:
        raise ValueError(f"a time must be greater than 0, got {value}")
    time_ns = number * TIME_UNITS_NS[unit]
    if not TIME_LIMITS_NS[0] <= time_ns <= TIME_LIMITS_NS[1]:
        raise ValueError(f"a time must be from 0.000001 ns to 1000 ms, got {value}")
    return time_ns


def _quantity(value: Any, units: Mapping[str, int], expected: str) -> tuple[Fraction, str]:
    """The exact number and the unit, which is empty when there is none."""
    if isinstance(value, Fraction | int) and not isinstance(value, bool):
        return Fraction(value), ""
    text = repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else ""
    match = _QUANTITY.fullmatch(text)
    if not match or re.search(r"/0+$", match[1]):
        raise ValueError(f"expected {expected}, got {value!r}")
    number, unit = match.groups()
    if unit and unit not in units:
        best = closest(unit, units)
        hint = (f"did you mean {best!r}? " if best else "") + f"allowed: {', '.join(units)}"
        raise ValueError(f"the unit {unit!r} is not allowed\n{hint}")
    return Fraction(number), unit
