"""Where the energy went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from accelsim.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, axes_or_new

COMPONENT_STYLE = {
    "array": (BLUE, ""), "buffers": (SKY, "///"), "dram": (VERMILION, "\\\\\\"), "alu": (ORANGE, ""),
    "control": (PURPLE, "xx"), "leakage": (GREEN, ".."), "other": (GREY, ""),
}  # fmt: skip
_UNITS = ((1e12, "J"), (1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"), (1.0, "pJ"))


def energy(report: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """A bar per layer that cost energy, stacked by component. Raises ValueError for a report without energy."""
    if report["energy"] is None:
        raise ValueError("a report without time has no energy")
    rows = [row for row in report["layers"] if row["energy_pj"]]
    axes = axes_or_new(ax, height=1.4 + 0.28 * len(rows))
    scale, unit = unit_of(report, max(row["energy_pj"] for row in rows))
    left = [0.0] * len(rows)
    for name, (color, hatch) in COMPONENT_STYLE.items():
        values = [row["energy"][name] / scale for row in rows]
        axes.barh(
            range(len(rows)), values, left=left, color=color, hatch=hatch, edgecolor="white", linewidth=0.3, label=name
        )  # fmt: skip
        left = [before + value for before, value in zip(left, values)]
    for place, row in enumerate(rows):
        axes.text(left[place], place, f" {row['energy_percent']:.1f} %", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlabel(f"energy, {unit}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=len(COMPONENT_STYLE), fontsize=7, frameon=False)
    return axes


def unit_of(report: Mapping[str, Any], largest: float) -> tuple[float, str]:
    """What to divide pJ by, and its name; tables in units of a MAC are left as they are."""
    if report["energy"]["unit"] != "pJ":
        return 1.0, f"x the energy of a {report['energy']['unit']}"
    return next((size, name) for size, name in _UNITS if largest >= size or size == 1.0)
