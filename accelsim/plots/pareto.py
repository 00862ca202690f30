"""The points of a design-space sweep and its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from accelsim.plots.style import BLUE, GREY, axes_or_new


def pareto(
    rows: Sequence[Mapping[str, Any]], front: Sequence[Mapping[str, Any]], x: str, y: str, ax: Axes | None = None
) -> Axes:
    """All points of a sweep over two of their numbers, with those on the front joined by a line."""
    axes = axes_or_new(ax)
    whole = [row for row in rows if row.get(x) is not None and row.get(y) is not None]
    best = [row for row in front if row.get(x) is not None and row.get(y) is not None]
    axes.scatter([row[x] for row in whole], [row[y] for row in whole], s=14, color=GREY, label="points")
    axes.plot([row[x] for row in best], [row[y] for row in best], "o-", color=BLUE, markersize=5, label="Pareto front")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend()
    return axes
