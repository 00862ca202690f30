"""Plots; the only package with matplotlib. Each function takes and returns an Axes and never shows anything.

What is drawn comes from a report, or from a program and its trace; nothing is computed twice. ``docs/plots.md`` shows
one picture of each.
"""

from accelsim.plots.energy import energy
from accelsim.plots.occupancy import occupancy
from accelsim.plots.pareto import pareto
from accelsim.plots.roofline import roofline
from accelsim.plots.style import save
from accelsim.plots.tiling import tiling
from accelsim.plots.timeline import timeline
from accelsim.plots.utilization import utilization

__all__ = ["energy", "occupancy", "pareto", "roofline", "save", "tiling", "timeline", "utilization"]
