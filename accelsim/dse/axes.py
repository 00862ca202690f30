"""The axes of a sweep file as lists of values, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from accelsim.arch import unflatten
from accelsim.compiler.aim import OBJECTIVES
from accelsim.dse.expression import Expression
from accelsim.dse.schema import POINTS_LIMIT
from accelsim.dse.space import Axis, as_number, as_setting, full_key, plain_value
from accelsim.errors import ConfigError
from accelsim.machine_schema import Settings
from accelsim.spelling import suggest
from accelsim.validation import check_data
from accelsim.yamlio import Document, Keys

FORMS = ("range", "powers_of_two")


@dataclass(slots=True)
class Axes:
    """Reads ``axes``, ``linked``, ``points`` and ``derived``; ``get`` gives what is not wrong by its form."""

    document: Document
    known: Mapping[str, Any]  # keys that may be set
    get: Callable[..., Any]
    errors: list[ConfigError]
    _used: dict[str, Keys] = field(default_factory=dict)

    def product(self) -> tuple[Axis, ...]:
        """The axes of a grid; linked ones are one axis."""
        self._fixed()
        if self.get("points") is not None:
            self._say(("points",), "belongs to the strategy list", "use axes", key=True)
        found = [
            Axis((key,), tuple((value,) for value in self._values(("axes", key), key, entry)))
            for key, entry in self._entries("axes")
            if self._claim(("axes", key), key)
        ]
        for place, group in enumerate(self.get("linked") or []):
            found += self._linked(place, group)
        return tuple(axis for axis in found if axis.values)

    def _entries(self, part: str) -> list[tuple[str, Any]]:
        """What stands in a part, also where one of its entries is wrong: the others are looked at all the same."""
        entries = (self.document.data or {}).get(part)
        items = entries.items() if isinstance(entries, dict) else ()
        return [(key, entry) for key, entry in items if isinstance(key, str)]

    def _fixed(self) -> None:
        fixed = self.get("set")
        for key in fixed if isinstance(fixed, dict) else ():
            self._used[key] = ("set", key)

    def _linked(self, place: int, group: Mapping[str, Any]) -> list[Axis]:
        if not isinstance(group, dict):
            return []
        columns = {
            key: self._values(("linked", place, key), key, entry)
            for key, entry in group.items()
            if self._claim(("linked", place, key), key)
        }
        lengths = {key: len(column) for key, column in columns.items() if column}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} {count}" for key, count in lengths.items())
            self._say(("linked", place), f"linked axes have equally many values, got {told}")
            return []
        return [Axis(tuple(columns), tuple(zip(*columns.values())))] if columns else []

    def listed(self) -> tuple[Axis, ...]:
        """The points of a list as one axis of many keys."""
        self._fixed()
        for other in ("axes", "linked"):
            if self.get(other) is not None:
                self._say((other,), "means nothing for the strategy list", "use points", key=True)
        points = self.get("points")
        if not points:
            if points is not None or "points" not in (self.document.data or {}):
                self._say(("points",), "is missing: the strategy list needs them")
            return ()
        keys = list(points[0])
        for key in keys:
            self._claim(("points", 0, key), key)
        rows = []
        for place, point in enumerate(points):
            if list(point) != keys and set(point) != set(keys):
                self._say(("points", place), f"every point has the keys of the first: {', '.join(keys)}")
                continue
            for key in keys:
                self._check(("points", place, key), key, point[key])
            rows.append((point, place))
        if self.errors:
            return ()
        return (Axis(tuple(keys), tuple(tuple(plain_value(k, point[k]) for k in keys) for point, _ in rows)),)

    def derived(self, axes: tuple[Axis, ...]) -> tuple[tuple[str, Expression], ...]:
        """Keys with their expressions; one may use those that stand above it."""
        entries = self.get("derived") or {}
        found: list[tuple[str, Expression]] = []
        for key, text in entries.items():
            place = ("derived", key)
            if not self._claim(place, key):
                continue
            try:
                expression = Expression.parse(str(text))
                for name in expression.names:
                    self._check_name(name, key, entries, [done for done, _ in found])
                if expression.compares:
                    raise ValueError(f"{text!r} is a comparison, not a value")
                found.append((key, expression))
            except ValueError as error:
                problem, _, hint = str(error).partition("\n")
                self._say(place, problem, hint)
        return tuple(found)

    def _check_name(self, name: str, key: str, entries: Mapping[str, Any], done: list[str]) -> None:
        keys = (*(k for k in self._used if k not in entries or k in done), *self.known)
        try:
            meant = full_key(name, keys)
        except ValueError as error:
            short = [other.split(".")[-1] for other in self.known]
            raise ValueError(f"{error}\n{suggest(name, (*self.known, *short))}") from None
        if meant == key or (meant in entries and meant not in done):
            raise ValueError(f"{key} follows from {meant}, which is not known above it")

    def _claim(self, place: Keys, key: str) -> bool:
        """Whether a key may be set here: known, and not set elsewhere."""
        if key not in self.known:
            group = [other for other in self.known if other.startswith(f"{key}.")]
            problem = "names a group of keys" if group else "unknown key"
            hint = f"one of {', '.join(group)}" if group else suggest(key, self.known)
            self._say(place, problem, hint, key=True)
            return False
        if key in self._used:
            line = self.document.mark(self._used[key], key=True).line
            self._say(place, f"is set twice, first on line {line}", key=True)
            return False
        self._used[key] = place
        return True

    def _values(self, place: Keys, key: str, entry: Any) -> list[Any]:
        """The values of one axis, empty where something is wrong."""
        if isinstance(entry, list):
            good = [self._check((*place, i), key, value) for i, value in enumerate(entry)]
            if not all(good):
                return []
            values = [plain_value(key, value) for value in entry]
            for i, value in enumerate(values):
                if value in values[:i]:
                    self._say((*place, i), f"{entry[i]} is given twice")
                    return []
            return values
        if not isinstance(entry, dict) or self.get(*place) is None:
            return []
        forms = [form for form in FORMS if form in entry]
        if len(forms) != 1:
            self._say(place, "expected a list, or one of range and powers_of_two")
            return []
        try:
            steps = _range(key, **_spelt(entry["range"])) if forms == ["range"] else _doublings(key, *entry[forms[0]])
        except ValueError as error:
            problem, _, hint = str(error).partition("\n")
            self._say((*place, forms[0]), problem, hint)
            return []
        values = [as_setting(value) for value in steps]
        return values if all(self._check((*place, forms[0]), key, value) for value in values) else []

    def _check(self, place: Keys, key: str, value: Any) -> bool:
        """Whether a value is one that the key may have."""
        if self.get(*place) is None and len(place) > 1 and place[-1] not in FORMS:
            return False
        if key == "batch":
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            mistakes = () if good else ((f"expected a whole number of at least 1, got {value!r}", ""),)
        elif key == "objective":
            mistakes = () if value in OBJECTIVES else ((f"{value!r} is not allowed", suggest(str(value), OBJECTIVES)),)
        elif key in self.known:
            _, found = check_data(unflatten({key: value}), Settings)
            mistakes = tuple((m.problem, m.hint) for m in found)
        else:
            mistakes = ()
        for problem, hint in mistakes:
            self._say(place, problem, hint)
        return not mistakes

    def _say(self, place: Keys, problem: str, hint: str = "", *, key: bool = False) -> None:
        self.errors.append(self.document.error(place, problem, hint, key=key))


def _spelt(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"first": entry["from"], "last": entry["to"], "step": entry["step"]}


def _range(key: str, first: Any, last: Any, step: Any) -> list[Fraction]:
    low, high, by = (_number(key, value) for value in (first, last, step))
    if by <= 0 or high < low:
        raise ValueError(f"expected from <= to and a step above 0, got {first}, {last}, {step}")
    return [low + i * by for i in range(_count((high - low) / by))]


def _doublings(key: str, first: Any, last: Any) -> list[Fraction]:
    low, high = _number(key, first), _number(key, last)
    if not 0 < low <= high:
        raise ValueError(f"expected two values above 0, the smaller first, got {first}, {last}")
    values = [low]
    while values[-1] * 2 <= high:
        values.append(values[-1] * 2)
    return values


def _count(steps: Fraction) -> int:
    count = int(steps) + 1
    if count > POINTS_LIMIT:
        raise ValueError(f"{count:,} values are too many")
    return count


def _number(key: str, value: Any) -> Fraction:
    if isinstance(value, str) and value.endswith("/s") and key.endswith(".bytes_per_cycle"):
        raise ValueError(f"expected bytes a cycle, got {value!r}\nwrite rates in bytes a second as a list")
    number = as_number(key, value, Fraction(1))
    if isinstance(number, str):
        raise ValueError(f"expected a number, got {value!r}")
    return number
