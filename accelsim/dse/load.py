"""Sweep file -> :class:`Sweep`, every mistake located, before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.arch import Arch, flatten
from accelsim.bundled import resolve
from accelsim.dse.axes import Axes
from accelsim.dse.expression import Expression
from accelsim.dse.measures import BEFOREHAND, TOTALS, Objective
from accelsim.dse.schema import POINTS_LIMIT, SweepFile
from accelsim.dse.space import COMPILER_KEYS, Strategy, Sweep, Workload, full_key
from accelsim.errors import AccelsimError, ConfigError, ConfigErrors, GraphError
from accelsim.machine_file import PRESET, TABLE, load_arch
from accelsim.networks import open_network
from accelsim.spelling import suggest
from accelsim.validation import check_data, sort_by_line
from accelsim.yamlio import Document, Keys, dump_yaml, parse_document, read_document

SEARCHES = ("nsga2", "tpe")


def load_sweep(source: str | Path | Mapping[str, Any]) -> Sweep:
    """Read a sweep by path or bundled name, or from data in the layout of a sweep file.

    Raises :class:`ConfigErrors` with every mistake of the file and of the machine and workloads it names, and
    :class:`ConfigError` when there is no such file.
    """
    if isinstance(source, Mapping):
        return _Reader(parse_document(dump_yaml(dict(source)), "sweep"), None).sweep()
    path = resolve(source, "sweeps")
    return _Reader(read_document(path), path).sweep()


@dataclass(slots=True)
class _Reader:
    """Reads one document; what is wrong is collected, and what is not wrong still checked."""

    document: Document
    path: Path | None

    def sweep(self) -> Sweep:
        document = self.document
        file, mistakes = check_data(document.data, SweepFile)
        errors = [*document.mistakes, *(document.error(m.keys, m.problem, m.hint, key=m.at_key) for m in mistakes)]
        parts = _Parts(document, self.path, [m.keys for m in mistakes], errors)
        workloads = parts.workloads()
        machine = parts.machine()
        known = _known_keys(machine[0] if machine else load_arch("edge"))
        axes = Axes(document, known, parts.get, errors)
        if parts.get("strategy") == "list" or _kind(parts.get("strategy")) == "list":
            made = axes.listed()
        else:
            made = axes.product()
        derived = axes.derived(made)
        objectives, constraints = parts.objectives(), parts.constraints(known)
        parts.strategy(made)
        if errors or file is None or machine is None:
            raise ConfigErrors(sort_by_line(errors))
        keys = file.strategy
        return Sweep(
            name=file.name or (self.path.stem if self.path else "sweep"),
            path=str(self.path or ""), text=document.text, workloads=workloads, arch=machine[0],
            arch_path=machine[1], fixed=file.set or {}, batch=file.batch, objective=file.objective, axes=made,
            derived=derived, objectives=objectives, constraints=constraints, verify=file.verify,
            strategy=Strategy(kind=keys.kind, points=keys.points, seed=keys.seed, population=keys.population),
        )  # fmt: skip


def _kind(strategy: Any) -> Any:
    return strategy.get("kind") if isinstance(strategy, dict) else strategy or "grid"


def _known_keys(arch: Arch) -> dict[str, Any]:
    """Keys that axes may set, with their values in the base machine."""
    keys = {key: value for key, value in flatten(arch.to_dict()).items() if key not in ("schema", "name")}
    return {**keys, PRESET: None, TABLE: None, **dict.fromkeys(COMPILER_KEYS)}


@dataclass(slots=True)
class _Parts:
    """The parts of a sweep file that are not axes."""

    document: Document
    path: Path | None
    wrong: list[Keys]
    errors: list[ConfigError]

    def get(self, *keys: str | int) -> Any:
        """A value of the file, None where it is missing or wrong."""
        if any(w[: len(keys)] == keys or keys[: len(w)] == w for w in self.wrong if w):
            return None
        value: Any = self.document.data
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key)
            else:
                value = value[key] if isinstance(value, list) and isinstance(key, int) else None
        return value

    def _blame(self, keys: Keys, error: AccelsimError) -> None:
        """Errors of another file keep their place; one without a place gets that of the name."""
        if isinstance(error, ConfigErrors):
            self.errors += error.errors
        elif isinstance(error, ConfigError) and ":" not in error.where:
            self.errors.append(self.document.error(keys, error.problem, error.hint))
        elif isinstance(error, ConfigError):
            self.errors.append(error)
        else:
            self.errors.append(self.document.error(keys, str(error)))

    def workloads(self) -> tuple[Workload, ...]:
        """The networks, read once to see that they can be."""
        found: list[Workload] = []
        names = self.get("workloads")
        for place, name in enumerate(names if isinstance(names, list) else []):
            keys = ("workloads", place)
            try:
                path = resolve(name, "workloads", beside=self.path)
            except ConfigError as error:
                self.errors.append(self.document.error(keys, error.problem, error.hint))
                continue
            try:
                network = open_network(path)
            except (ConfigError, ConfigErrors, GraphError) as error:
                self._blame(keys, error)
                continue
            if any(other.path == str(path) for other in found):
                self.errors.append(self.document.error(keys, f"{name!r} is given twice"))
            found.append(Workload(network.name, str(path), network.digest(), network.files))
        return tuple(found)

    def machine(self) -> tuple[Arch, Path] | None:
        """The base machine and its file."""
        name, fixed = self.get("arch") or "edge", self.get("set") or {}
        if "arch" in (w[0] for w in self.wrong if w):
            return None
        try:
            path = resolve(name, "configs", beside=self.path)
        except ConfigError as error:
            self.errors.append(self.document.error(("arch",), error.problem, error.hint))
            return None
        try:
            return load_arch(path, fixed), path
        except ConfigErrors as mistakes:
            for error in mistakes.errors:
                inside = error.where.startswith("--set ")
                self.errors.append(
                    self.document.error(("set", error.key), error.problem, error.hint) if inside else error
                )
        return None

    def objectives(self) -> tuple[Objective, ...]:
        found = []
        for place, text in enumerate(self.get("objectives") or ["cycles"]):
            try:
                found.append(Objective.parse(text))
            except ValueError as error:
                self.errors.append(self._located(("objectives", place), error))
        return tuple(found)

    def constraints(self, known: Iterable[str]) -> tuple[Expression, ...]:
        found = []
        for place, text in enumerate(self.get("constraints") or []):
            try:
                expression = Expression.parse(text)
                if not expression.compares:
                    raise ValueError(f"{text!r} is not a comparison\nfor example: area_mm2 <= 5")
                for name in expression.names:
                    if name not in (*TOTALS, *BEFOREHAND):
                        _check_name(name, known)
                found.append(expression)
            except ValueError as error:
                self.errors.append(self._located(("constraints", place), error))
        return tuple(found)

    def strategy(self, axes: tuple[Any, ...]) -> None:
        """What a strategy needs beside its own keys."""
        kind, points = _kind(self.get("strategy")), self.get("strategy", "points")
        if kind in ("random", *SEARCHES) and points is None and not self._is_wrong("strategy"):
            self.errors.append(self.document.error(("strategy", "points"), f"is missing: {kind} needs a number"))
        if kind in ("grid", "list") and points is not None:
            self.errors.append(self.document.error(("strategy", "points"), f"means nothing for {kind}", key=True))
        size = 1
        for axis in axes:
            size *= max(1, len(axis.values))
        if kind in ("grid", "list") and size > POINTS_LIMIT:
            hint = "use random, nsga2 or tpe"
            self.errors.append(self.document.error(("axes",), f"{size:,} points are too many for a {kind}", hint))

    def _is_wrong(self, name: str) -> bool:
        return any(w[:1] == (name,) for w in self.wrong)

    def _located(self, keys: Keys, error: ValueError) -> ConfigError:
        problem, _, hint = str(error).partition("\n")
        return self.document.error(keys, problem, hint)


def _check_name(name: str, known: Iterable[str]) -> None:
    names = list(known)
    try:
        full_key(name, names)
    except ValueError as error:
        short = [key.split(".")[-1] for key in names]
        raise ValueError(f"{error}\n{suggest(name, (*TOTALS, *BEFOREHAND, *names, *short))}") from None
