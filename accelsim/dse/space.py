"""The points of a sweep: axes, what follows from them, and the machine each point stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from accelsim.arch import Arch, flatten
from accelsim.cache import code_digest
from accelsim.dram_arch import plain
from accelsim.dse.expression import Expression, Value
from accelsim.dse.measures import Objective, beforehand
from accelsim.errors import AccelsimError, ConfigErrors
from accelsim.machine_file import load_arch
from accelsim.units import parse_clock, parse_rate, parse_size

Choice: TypeAlias = tuple[int, ...]
"""The position on every axis, the workload first."""

COMPILER_KEYS = ("batch", "objective")
"""Axes that are not keys of the machine."""

CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Workload:
    """A network of the sweep; ``digest`` is the content of its files."""

    name: str
    path: str
    digest: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """Keys whose values go together: one tuple of values for every position."""

    keys: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def name(self) -> str:
        """The keys in one word."""
        return "+".join(self.keys)

    @property
    def ordered(self) -> bool:
        """Whether neighbouring positions are alike: numbers in order."""
        first = [values[0] for values in self.values]
        return all(isinstance(value, int | float) for value in first) and sorted(first) == first


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How points are chosen; ``points`` is None where the space says how many there are."""

    kind: str
    points: int | None = None
    seed: int = 0
    population: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point. ``arch`` is None where the settings make no machine, ``reason`` says why it cannot be run.

    Points with equal ``key`` give equal results.
    """

    choice: Choice
    workload: Workload
    batch: int
    objective: str
    settings: dict[str, Any]
    arch: Arch | None
    reason: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A checked sweep file."""

    name: str
    path: str  # of the file, empty for one that was given as data
    text: str
    workloads: tuple[Workload, ...]
    arch: Arch
    arch_path: Path
    fixed: Mapping[str, Any]
    batch: int
    objective: str
    axes: tuple[Axis, ...]
    derived: tuple[tuple[str, Expression], ...]
    strategy: Strategy
    objectives: tuple[Objective, ...]
    constraints: tuple[Expression, ...]
    verify: int
    _base: dict[str, Any] = field(default_factory=dict)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions of every axis, the workloads first."""
        return (len(self.workloads), *(len(axis.values) for axis in self.axes))

    @property
    def size(self) -> int:
        """Points of the whole grid."""
        return prod(self.lengths)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that differs between points, in the order of the file."""
        return (*(key for axis in self.axes for key in axis.keys), *(key for key, _ in self.derived))

    @property
    def digest(self) -> str:
        """Names what is explored and how; sweeps with equal digest visit the same points."""
        parts = (
            [(w.name, w.digest) for w in self.workloads], self.arch.to_dict(), dict(self.fixed), self.batch,
            self.objective, [(a.keys, a.values) for a in self.axes], [(k, e.text) for k, e in self.derived],
            [repr(self.strategy), [(o.name, o.sign) for o in self.objectives], [c.text for c in self.constraints]],
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]

    def choice(self, number: int) -> Choice:
        """The position on every axis of the ``number``-th point of the grid; the last axis turns fastest."""
        places = []
        for length in reversed(self.lengths):
            number, place = divmod(number, length)
            places.append(place)
        return tuple(reversed(places))

    def point(self, choice: Choice) -> Point:
        """The point at a choice."""
        workload = self.workloads[choice[0]]
        settings: dict[str, Any] = {}
        for axis, place in zip(self.axes, choice[1:]):
            settings.update(zip(axis.keys, axis.values[place]))
        arch, reason = None, ""
        try:
            self._derive(settings)
            arch = self._machine(settings)
            reason = self.broken(beforehand(arch), arch, settings)
        except ConfigErrors as mistakes:
            reason = "; ".join(f"{e.key}: {e.problem}" for e in mistakes.errors)
        except (AccelsimError, ValueError) as error:
            reason = str(error).replace("\n", "; ")
        batch, objective = settings.get("batch", self.batch), settings.get("objective", self.objective)
        return Point(
            choice=choice, workload=workload, batch=batch, objective=objective, settings=settings, arch=arch,
            reason=reason, key=_key(workload, arch, batch, objective, settings),
        )  # fmt: skip

    def _derive(self, settings: dict[str, Any]) -> None:
        for key, expression in self.derived:
            settings[key] = as_setting(expression.evaluate(lambda name: self._value(name, settings)))

    def _value(self, name: str, settings: Mapping[str, Any]) -> Value:
        """What a name stands for in a derived key: a setting, or a key of the base machine."""
        base = self.base
        key = full_key(name, (*settings, *COMPILER_KEYS, *base))
        clock = as_number(CLOCK, settings.get(CLOCK, base[CLOCK]), Fraction(1))
        assert isinstance(clock, Fraction), "a clock is a number"
        return as_number(key, settings[key] if key in settings else base[key], clock)

    @property
    def base(self) -> dict[str, Any]:
        """What every name stands for where no axis says so."""
        if not self._base:
            self._base.update(flatten(self.arch.to_dict()), batch=self.batch, objective=self.objective)
        return self._base

    def _machine(self, settings: Mapping[str, Any]) -> Arch:
        """The machine; from its file where a new clock may change what rates in the file mean. Raises ConfigErrors."""
        keys = {key: value for key, value in settings.items() if key not in COMPILER_KEYS}
        if CLOCK in keys:
            return load_arch(self.arch_path, {**self.fixed, **keys})
        return load_arch(self.arch, keys) if keys else self.arch

    def broken(self, known: Mapping[str, Any], arch: Arch, settings: Mapping[str, Any]) -> str:
        """The constraints that fail with the measures ``known``; those with a name that is not known pass."""
        flat = {**flatten(arch.to_dict()), **{k: settings.get(k, self.base[k]) for k in COMPILER_KEYS}}
        failed = []
        for constraint in self.constraints:
            values = {name: self._known(name, known, flat) for name in constraint.names}
            if None in values.values():
                continue
            if not constraint.evaluate(lambda name, values=values: values[name]):
                shown = ", ".join(f"{name} is {_show(value)}" for name, value in values.items())
                failed.append(f"{constraint.text}: {shown}")
        return "; ".join(failed)

    def _known(self, name: str, known: Mapping[str, Any], flat: Mapping[str, Any]) -> Any:
        if name in known:
            return None if known[name] is None else Fraction(known[name])
        if name in flat or name.split(".")[-1] in {key.split(".")[-1] for key in flat}:
            return as_number("", flat[full_key(name, flat)], Fraction(1))
        return None


def full_key(name: str, keys: Any) -> str:
    """The key that a name means: itself, or the only key that ends in it. Raises ``ValueError``."""
    keys = dict.fromkeys(keys)
    if name in keys:
        return name
    found = [key for key in keys if key.endswith(f".{name}")]
    if len(found) != 1:
        problem = f"{name!r} is no key" if not found else f"{name!r} may mean {' or '.join(found)}"
        raise ValueError(problem)
    return found[0]


def as_number(key: str, value: Any, clock_hz: Fraction) -> Value:
    """The exact number of a setting in the unit of the effective machine file, or its word."""
    if key == CLOCK:
        return parse_clock(value)
    if key.endswith(".size"):
        return Fraction(parse_size(value))
    if key.endswith((".bytes_per_cycle", ".peak")):
        return parse_rate(value, clock_hz if key.endswith(".bytes_per_cycle") else Fraction(1))
    if isinstance(value, int | float):
        return Fraction(str(value))
    try:
        return Fraction(value)  # 340/7, as effective machine files have it
    except (ValueError, ZeroDivisionError):
        return str(value)


def as_setting(value: Value) -> Any:
    """A number or word as a machine file has it."""
    return plain(value) if isinstance(value, Fraction) else value


def plain_value(key: str, value: Any) -> Any:
    """A setting without a unit, where the unit means the same on every machine: sizes and clocks."""
    if key == CLOCK or key.endswith(".size"):
        return as_setting(as_number(key, value, Fraction(1)))
    return value


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value.numerator:,}" if value.denominator == 1 else f"{float(value):.6g}"


def _key(workload: Workload, arch: Arch | None, batch: int, objective: str, settings: Mapping[str, Any]) -> str:
    machine = arch.to_dict() | {"name": ""} if arch is not None else dict(settings)
    parts = json.dumps([code_digest(), workload.digest, machine, batch, objective], sort_keys=True, default=str)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
