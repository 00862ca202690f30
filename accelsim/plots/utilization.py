"""Where the cycles of each layer went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from accelsim.cyclesplit import CATEGORIES
from accelsim.plots.style import CATEGORY_STYLE, axes_or_new, quantity


def utilization(report: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """A bar per layer that took time, its cycle split stacked to 100 %; beside it its cycles and its utilisation.

    Raises ValueError for a report without time.
    """
    if report["totals"]["cycles"] is None:
        raise ValueError("a report without time has no utilisation")
    rows = [row for row in report["layers"] if row["cycles"]]
    axes = axes_or_new(ax, height=1.4 + 0.28 * len(rows))
    left = [0.0] * len(rows)
    for name in CATEGORIES:
        color, hatch = CATEGORY_STYLE[name]
        shares = [100 * row["cycle_split"][name] / row["cycles"] for row in rows]
        axes.barh(
            range(len(rows)), shares, left=left, color=color, hatch=hatch, edgecolor="white", linewidth=0.3, label=name
        )  # fmt: skip
        left = [before + share for before, share in zip(left, shares)]
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    for place, row in enumerate(rows):
        used = "" if row["utilization"] is None or not row["macs"] else f", util {100 * row['utilization']:.0f} %"
        axes.text(101, place, f"{quantity(row['cycles'])} cycles{used}", va="center", fontsize=7)
    axes.set_xlim(0, 128)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("% of the layer's cycles")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.14), ncols=len(CATEGORIES), fontsize=7, frameon=False)
    return axes
