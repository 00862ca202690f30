"""Reads energy tables: ``extends`` chains, units, scaling from node to node, and every mistake at its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from accelsim.bundled import folder, resolve
from accelsim.energy_arch import ENTRIES, FORMULA, MAC_ENERGY, Entry
from accelsim.energy_schema import UNSCALED, TableFile, parse_node
from accelsim.errors import ConfigError, ConfigErrors
from accelsim.spelling import suggest
from accelsim.validation import check_data, sort_by_line
from accelsim.yamlio import Document, read_document

UNIT_FACTORS: Mapping[str, Mapping[str, float]] = {
    "pJ": {"pJ": 1, "fJ": 1e-3, "nJ": 1e3, "MAC": 1},
    "pJ/B": {"pJ/B": 1, "pJ/bit": 8, "fJ/bit": 8e-3, "nJ/B": 1e3, "MAC/B": 1},
    "uW": {"uW": 1, "nW": 1e-3, "mW": 1e3},
    "uW/KiB": {"uW/KiB": 1, "nW/KiB": 1e-3, "mW/KiB": 1e3},
    "mW": {"mW": 1, "uW": 1e-3, "W": 1e3},
    "um2": {"um2": 1, "mm2": 1e6},
    "um2/bit": {"um2/bit": 1},
    "mm2/MiB": {"mm2/MiB": 1, "um2/bit": 8.388608},
    "1": {"ratio": 1, "%": 1e-2},
}
"""What each unit a table may use is worth in the unit that an entry is held in."""

_DIGITS = 6  # significant digits a converted or scaled value keeps
_ENERGIES = ("pJ", "pJ/B")
_LISTED = 12  # missing entries named in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of a table as a machine gets it: in the unit of its entry, at the node of the table.

    ``origin`` says where it comes from; ``trust`` is the factor it may be off either way, None for published values.
    """

    entry: Entry
    value: float
    origin: str
    trust: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An energy table, complete: every entry that is not optional has a row."""

    name: str
    unit: str
    node_nm: int
    rows: Mapping[str, Row]

    def settings(self) -> dict[str, Any]:
        """The table as dotted keys of a machine file."""
        values: dict[str, Any] = {"name": self.name, "unit": self.unit, "node_nm": self.node_nm}
        for entry in ENTRIES:
            row = self.rows.get(entry.name)
            values[entry.key] = FORMULA if row is None else row.value
        return {f"energy.{key}": value for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class _Place:
    """An entry or a factor, and the file it stands in."""

    document: Document
    keys: tuple[str, ...]
    data: Mapping[str, Any]

    def error(self, key: str, problem: str, hint: str = "") -> ConfigError:
        return self.document.error((*self.keys, key), problem, hint)

    @property
    def origin(self) -> str:
        return self.data.get("source") or f"derived: {self.data['derived']}"


def read_table(name_or_path: str | Path, *, beside: Path | None = None) -> Table:
    """The table of a file or a bundled name. Raises ConfigError if there is none, ConfigErrors for its mistakes."""
    path = resolve(name_or_path, "energy", beside=beside)
    return _bundled(path) if path.parent == folder("energy") else _read(path)


@lru_cache(maxsize=16)
def _bundled(path: Path) -> Table:
    return _read(path)


def _read(path: Path) -> Table:
    errors: list[ConfigError] = []
    documents = _chain(path, errors)
    for document in documents:
        _, mistakes = check_data(document.data, TableFile)
        errors += document.mistakes
        errors += [document.error(m.keys, m.problem, m.hint, key=m.at_key) for m in mistakes]
        errors += _own_mistakes(document)
    if errors:
        raise ConfigErrors(sort_by_line(errors))
    table = _merge(path, documents, errors)
    if errors:
        raise ConfigErrors(sort_by_line(errors))
    return table


def _chain(path: Path, errors: list[ConfigError]) -> list[Document]:
    """The file and those it extends, the last one first."""
    paths, documents = [path], [_document(path)]
    while True:
        data = documents[-1].data
        extends = data.get("extends") if isinstance(data, dict) else None
        if not isinstance(extends, str) or not extends:
            return documents[::-1]
        try:
            parent = resolve(extends, "energy", beside=paths[-1])
        except ConfigError as error:
            errors.append(documents[-1].error(("extends",), error.problem, error.hint))
            return documents[::-1]
        if parent.resolve() in [other.resolve() for other in paths]:
            names = " -> ".join(other.name for other in (*paths, parent))
            errors.append(documents[-1].error(("extends",), f"a table cannot extend itself: {names}"))
            return documents[::-1]
        paths.append(parent)
        documents.append(_document(parent))


def _document(path: Path) -> Document:
    return read_document(path, known=path.parent == folder("energy"))


def _own_mistakes(document: Document) -> list[ConfigError]:
    """Units that their entries cannot have, and numbers without one origin; the rest is the schema's affair."""
    found = []
    units = {entry.name: UNIT_FACTORS[entry.unit] for entry in ENTRIES}
    for keys in [*_groups(document, "entries"), *_groups(document, "scaling")]:
        data = _at(document.data, keys)
        allowed = units.get(keys[1], {}) if keys[0] == "entries" else {}
        unit = data.get("unit")
        if allowed and isinstance(unit, str) and unit and unit not in allowed:
            found.append(document.error((*keys, "unit"), f"{unit!r} is no unit of this", suggest(unit, allowed)))
        if ("source" in data) == ("derived" in data):
            problem, hint = "needs a source, or derived with the rule", "exactly one of the two"
            found.append(document.error(keys, problem, hint, key=True))
        elif "derived" in data and "trust" not in data:
            hint = "the factor it may be off either way, at least 1"
            found.append(document.error((*keys, "trust"), "is missing", hint))
    return found


def _groups(document: Document, section: str) -> list[tuple[str, ...]]:
    """Where the entries, or the factors of all rules, stand, as far as they are groups of keys."""
    names = list(_at(document.data, (section,)))
    if section == "entries":
        ways = [(section, name) for name in names]
    else:
        ways = [(section, rule, node) for rule in names for node in _at(document.data, (section, rule))]
    return [way for way in ways if _at(document.data, way)]


def _at(data: Any, keys: tuple[str, ...]) -> Mapping[str, Any]:
    """The group of keys there; empty if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _merge(path: Path, documents: list[Document], errors: list[ConfigError]) -> Table:
    """One table out of checked files; what is missing or cannot be scaled is added to ``errors``."""
    node_nm, unit = 0, ""
    entries: dict[str, _Place] = {}
    factors: dict[tuple[str, int], _Place] = {}
    for document in documents:
        data = document.data
        node_nm = parse_node(data["node"]) if "node" in data else node_nm
        unit = data.get("unit", unit)
        for name, entry in data.get("entries", {}).items():
            entries[name] = _Place(document, ("entries", name), entry)
        for rule, nodes in data.get("scaling", {}).items():
            for node, factor in nodes.items():
                factors[rule, parse_node(node)] = _Place(document, ("scaling", rule, node), factor)
    last = documents[-1]
    missing = [last.error((key,), "is missing") for key, value in (("node", node_nm), ("unit", unit)) if not value]
    absent = [entry.name for entry in ENTRIES if not entry.optional and entry.name not in entries]
    if absent:
        listed = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
        problem = f"{len(absent)} numbers are missing: {listed}"
        missing.append(last.error(("entries",), problem, "extends: 45nm has all"))
    errors += missing
    rows: dict[str, Row] = {}
    for entry in ENTRIES if not missing else ():
        if entry.name in entries:
            row = _row(entry, entries[entry.name], unit, node_nm, factors, errors)
            rows.update({entry.name: row} if row else {})
    return Table(name=path.stem, unit=unit, node_nm=node_nm, rows=rows)


def _row(
    entry: Entry, place: _Place, unit: str, node_nm: int, factors: Mapping[tuple[str, int], _Place],
    errors: list[ConfigError],
) -> Row | None:  # fmt: skip
    """The entry in its own unit at the table's node; None if that is not known."""
    data = place.data
    if entry.unit in _ENERGIES and data["unit"].startswith(MAC_ENERGY) != (unit == MAC_ENERGY):
        hint = f"energies of a table all count {MAC_ENERGY} or all joules"
        errors.append(place.error("unit", f"{data['unit']!r} in a table whose unit is {unit}", hint))
        return None
    value = data["value"] * UNIT_FACTORS[entry.unit][data["unit"]]
    own, rule = parse_node(data["node"]), data["scaling"]
    origin, trust = place.origin, data.get("trust")
    if rule != UNSCALED and own != node_nm:
        ends = [factors.get((rule, node)) for node in (own, node_nm)]
        if ends[0] is None or ends[1] is None:
            lacking = next(node for node, end in zip((own, node_nm), ends) if end is None)
            problem = f"the rule {rule!r} has no factor for {lacking} nm"
            errors.append(place.error("scaling", problem, "give it under `scaling`, or the entry at the table's node"))
            return None
        factor = ends[1].data["factor"] / ends[0].data["factor"]
        value *= factor
        reason = ends[1].origin.removeprefix("derived: ")
        origin = f"derived: {own} nm x {factor:.3g} ({rule}: {reason}); {origin.removeprefix('derived: ')}"
        trust = round((trust or 1) * max(end.data.get("trust", 1) for end in ends if end is not None), 2)
    return Row(entry=entry, value=float(f"{value:.{_DIGITS}g}"), origin=origin, trust=trust)
