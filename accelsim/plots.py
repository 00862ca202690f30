"""Plots; the only module with matplotlib. Functions take and return an Axes and never show anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def pareto(
    rows: Sequence[Mapping[str, Any]], front: Sequence[Mapping[str, Any]], x: str, y: str, ax: Axes | None = None
) -> Axes:
    """All points of a sweep over two of their numbers, with those on the front joined by a line."""
    axes = ax if ax is not None else Figure(figsize=(6.4, 4.4), layout="constrained").subplots()
    whole = [row for row in rows if row.get(x) is not None and row.get(y) is not None]
    best = [row for row in front if row.get(x) is not None and row.get(y) is not None]
    axes.scatter([row[x] for row in whole], [row[y] for row in whole], s=14, color="0.7", label="points")
    axes.plot([row[x] for row in best], [row[y] for row in best], "o-", markersize=5, label="Pareto front")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend()
    return axes
