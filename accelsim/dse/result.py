"""What a sweep gives back, for people, files and notebooks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from accelsim.dse.measures import Objective, measured
from accelsim.dse.pareto import hypervolume, pareto_rows, sensitivity
from accelsim.dse.store import Member, Store
from accelsim.dse.task import FAILED, INFEASIBLE, OK, Outcome
from accelsim.errors import ConfigError, MissingExtraError

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """The points of one sweep.

    ``rows`` has a dictionary per point, ``layer_rows`` one per layer of every point that was simulated; both are the
    same whatever computed them. ``axes`` are the keys of each axis (several where they are linked), ``derived`` those
    that follow from them.
    """

    name: str
    axes: tuple[tuple[str, ...], ...]
    derived: tuple[str, ...]
    objectives: tuple[Objective, ...]
    rows: list[dict[str, Any]]
    layer_rows: list[dict[str, Any]]

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """The sweep that was last run into a store. Raises ConfigError."""
        with Store(path, create=False) as store:
            return cls.of(store)

    @classmethod
    def of(cls, store: Store) -> SweepResult:
        """The sweep that was last run into an open store."""
        digest, about = store.latest()
        members = store.members(digest)
        axes, derived = tuple(tuple(keys) for keys in about["axes"]), tuple(about["derived"])
        keys = (*(key for axis in axes for key in axis), *derived)
        layers = [row for member, outcome in members for row in _layer_rows(member, outcome)]
        objectives = tuple(Objective.parse(text) for text in about["objectives"])
        return cls(
            name=about["name"], axes=axes, derived=derived, objectives=objectives,
            rows=[_row(member, outcome, keys) for member, outcome in members], layer_rows=layers,
        )  # fmt: skip

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that differs between points."""
        return (*(key for keys in self.axes for key in keys), *self.derived)

    @property
    def points(self) -> Any:
        """The rows as a pandas DataFrame. Raises MissingExtraError without the extra ``data``."""
        return _frame("SweepResult.points", self.rows)

    @property
    def layers(self) -> Any:
        """The layers of all points as a pandas DataFrame. Raises MissingExtraError without the extra ``data``."""
        return _frame("SweepResult.layers", self.layer_rows)

    @property
    def feasible(self) -> list[dict[str, Any]]:
        """The rows that can be compared."""
        return [row for row in self.rows if row["status"] == OK]

    def count(self, status: str) -> int:
        """Points that are ``ok``, ``infeasible`` or ``failed``."""
        return sum(row["status"] == status for row in self.rows)

    def pareto(self, objectives: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The feasible rows that no other one beats, best in the first objective first.

        ``objectives`` are those of the file, or totals like ``"cycles"`` and ``"max tops"``. Raises ConfigError.
        """
        return [dict(row) for row in pareto_rows(self.feasible, self._objectives(objectives))]

    def top(self, count: int, objective: str | None = None) -> list[dict[str, Any]]:
        """The best ``count`` feasible rows by one objective, the first of the file if none is given."""
        (chosen, *_) = self._objectives(None if objective is None else [objective])
        known = [(cost, place) for place, row in enumerate(self.feasible) if (cost := chosen.cost(row)) is not None]
        return [self.feasible[place] for _, place in sorted(known)[:count]]

    def hypervolume(self, reference: Sequence[float], objectives: Sequence[str] | None = None) -> float:
        """The volume that the front beats within ``reference``, given in the objectives' own units and directions."""
        chosen = self._objectives(objectives)
        costs = [[o.cost(row) for o in chosen] for row in self.pareto(objectives)]
        worst = [o.sign * value for o, value in zip(chosen, reference, strict=True)]
        return hypervolume([[c for c in cost if c is not None] for cost in costs], worst)

    def sensitivity(self, objectives: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """What each axis does to each objective, see ``accelsim.dse.pareto.sensitivity``."""
        return sensitivity(self.feasible, (("workload",), *self.axes), self._objectives(objectives))

    def plot_pareto(self, ax: Any = None, objectives: Sequence[str] | None = None) -> Any:
        """All feasible points and the front over two objectives; takes and returns a matplotlib Axes."""
        chosen = self._objectives(objectives)
        if len(chosen) < 2:
            raise ConfigError("plot_pareto", "", "needs two objectives", "for example ['cycles', 'area_mm2']")
        first, second = (objective.name for objective in chosen[:2])
        plots = import_module("accelsim.plots")  # the only module with matplotlib, which is slow to import
        front = self.pareto([f"{o.word} {o.name}" for o in chosen[:2]])
        return plots.pareto(self.feasible, front, first, second, ax)

    def to_csv(self, rows: Sequence[dict[str, Any]] | None = None) -> str:
        """Rows (all points if not given) as CSV text."""
        chosen = self.rows if rows is None else rows
        buffer = io.StringIO()
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
        return buffer.getvalue()

    def to_json(self, rows: Sequence[dict[str, Any]] | None = None) -> str:
        """The sweep, or some of its rows, as JSON text."""
        data = {
            "schema": SCHEMA,
            "sweep": self.name,
            "axes": [list(keys) for keys in self.axes],
            "derived": list(self.derived),
            "objectives": [f"{objective.word} {objective.name}" for objective in self.objectives],
            "counts": {status: self.count(status) for status in (OK, INFEASIBLE, FAILED)},
            "points": list(self.rows if rows is None else rows),
        }
        return json.dumps(data, indent=2, allow_nan=False) + "\n"

    def _objectives(self, texts: Sequence[str] | None) -> tuple[Objective, ...]:
        if texts is None:
            return self.objectives
        try:
            return tuple(Objective.parse(text) for text in texts)
        except ValueError as error:
            problem, _, hint = str(error).partition("\n")
            raise ConfigError("objectives", "", problem, hint) from None


def _row(member: Member, outcome: Outcome | None, axes: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": member.number, "workload": member.workload, "batch": member.batch, "objective": member.objective,
        **{axis: member.settings.get(axis) for axis in axes if axis not in ("batch", "objective")},
        "status": member.status, "reason": member.reason or None,
        "bit_exact": outcome.bit_exact if outcome else None, **member.known,
    }  # fmt: skip
    totals = measured(outcome.totals) if outcome is not None and outcome.totals is not None else {}
    return {**row, **totals, "key": member.key, "program_hash": outcome.program_hash if outcome else None}


def _layer_rows(member: Member, outcome: Outcome | None) -> list[dict[str, Any]]:
    if outcome is None or outcome.layers is None:
        return []
    own = {"number": member.number, "workload": member.workload, **member.settings}
    return [{**own, **{("layer" if k == "name" else k): v for k, v in row.items()}} for row in outcome.layers]


def _frame(feature: str, rows: list[dict[str, Any]]) -> Any:
    try:
        pandas = import_module("pandas")  # optional, and slow to import
    except ImportError:
        raise MissingExtraError(feature, "data") from None
    return pandas.DataFrame(rows)
