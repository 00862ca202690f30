"""Comparing points: the Pareto front, its hypervolume, and what each axis does."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import exp, log
from statistics import median
from typing import Any

from accelsim.dse.measures import Objective

Costs = Sequence[float]
Row = Mapping[str, Any]


def front(costs: Sequence[Costs]) -> list[int]:
    """Positions of the points that no other one beats (as good everywhere, better somewhere); equal ones all count."""
    order = sorted(range(len(costs)), key=lambda i: tuple(costs[i]))
    kept: list[int] = []
    for i in order:  # whoever beats a point stands before it
        if not any(_beats(costs[j], costs[i]) for j in kept):
            kept.append(i)
    return sorted(kept)


def _beats(one: Costs, other: Costs) -> bool:
    return all(a <= b for a, b in zip(one, other)) and tuple(one) != tuple(other)


def hypervolume(costs: Sequence[Costs], reference: Costs) -> float:
    """The volume that points beat within ``reference``; everything is minimised."""
    inside = [tuple(c) for c in costs if all(a < b for a, b in zip(c, reference))]
    return _volume(sorted({inside[i] for i in front(inside)}), tuple(reference))


def _volume(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """Slices along the first objective, each of one dimension less."""
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in points)
    total = 0.0
    ends = [point[0] for point in points[1:]] + [reference[0]]
    for i, (point, end) in enumerate(zip(points, ends)):
        if end > point[0]:
            inner = [other[1:] for other in points[: i + 1]]
            total += (end - point[0]) * _volume(sorted({inner[j] for j in front(inner)}), reference[1:])
    return total


def pareto_rows(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """The rows on the front, best in the first objective first."""
    found = [(row, [objective.cost(row) for objective in objectives]) for row in rows]
    whole = [(row, [c for c in costs if c is not None]) for row, costs in found if None not in costs]
    kept = front([costs for _, costs in whole])
    return [whole[i][0] for i in sorted(kept, key=lambda i: tuple(whole[i][1]))]


def sensitivity(
    rows: Sequence[Row], axes: Sequence[Sequence[str]], objectives: Sequence[Objective]
) -> list[dict[str, Any]]:
    """What each axis (one key, or several that go together) does to each objective, over rows that have both.

    ``share`` is the part of the variance of the logarithm that the mean over each value of the axis explains (0..1).
    ``ratio`` compares points that differ in this axis alone: largest over smallest, the median of all such groups
    (None without any). ``best`` is the value with the best mean. Axes with one value are left out.
    """
    found = []
    for objective in objectives:
        good = [row for row in rows if (row.get(objective.name) or 0) > 0]
        varied = [tuple(keys) for keys in axes if len({_place(row, keys) for row in good}) > 1]
        for keys in varied:
            others = [key for other in varied if other != keys for key in other]
            effect = _effect(good, keys, others, objective)
            found.append({"axis": "+".join(keys), "objective": objective.name, **effect})
    return found


def _effect(rows: Sequence[Row], keys: Sequence[str], others: Sequence[str], objective: Objective) -> dict[str, Any]:
    logs = {id(row): log(row[objective.name]) for row in rows}
    by_value = _grouped(rows, lambda row: _place(row, keys))
    mean = sum(logs.values()) / len(rows)
    means = {value: sum(logs[id(row)] for row in group) / len(group) for value, group in by_value.items()}
    between = sum(len(by_value[value]) * (m - mean) ** 2 for value, m in means.items())
    total = sum((value - mean) ** 2 for value in logs.values())
    ratios = []
    for group in _grouped(rows, lambda row: _place(row, others)).values():
        if len({_place(row, keys) for row in group}) > 1:
            values = [logs[id(row)] for row in group]
            ratios.append(exp(max(values) - min(values)))
    best = min(means, key=lambda value: objective.sign * means[value])
    return {
        "share": min(1.0, between / total) if total > 0 else 0.0,
        "ratio": median(ratios) if ratios else None,
        "groups": len(ratios),
        "best": best[0] if len(best) == 1 else list(best),
    }


def _place(row: Row, keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[key] for key in keys)


def _grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups
