"""How full the memories were."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from accelsim import occupancy as used
from accelsim.arch import Arch
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory
from accelsim.plots.style import BLUE, GREEN, ORANGE, VERMILION, axes_or_new
from accelsim.trace import Trace

_STYLE = {
    Memory.UB: (BLUE, "-"), Memory.WGT: (VERMILION, "--"), Memory.ACC: (ORANGE, "-."), Memory.PARAM: (GREEN, ":")
}  # fmt: skip
POINTS = 2000
"""Steps that are drawn of a memory; of more, the highest in each of so many stretches of time."""


def occupancy(program: Program, trace: Trace, arch: Arch, ax: Axes | None = None) -> Axes:
    """Per on-chip memory the share that holds bytes still to be read, over time in cycles."""
    axes = axes_or_new(ax, height=3.6)
    sizes = {
        Memory.UB: arch.ub_bytes, Memory.WGT: arch.wgt_bytes, Memory.ACC: arch.acc_bytes, Memory.PARAM: arch.param_bytes
    }  # fmt: skip
    for memory, (cycles, held) in used.occupancy(program, trace, arch).items():
        color, line = _STYLE[memory]
        x, y = highest(cycles, held, trace.cycles)
        peak = int(held.max()) if len(held) else 0
        label = f"{memory.name}: at most {peak:,} of {sizes[memory]:,} B"
        axes.step(x, 100 * y / sizes[memory], where="post", color=color, linestyle=line, linewidth=1.1, label=label)
    axes.set_xlim(0, max(1, trace.cycles))
    axes.set_ylim(0, 105)
    axes.set_xlabel("cycle")
    axes.set_ylabel("% in use")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2, fontsize=8, frameon=False)
    return axes


def highest(cycles: used.Integers, values: used.Integers, stop: int) -> tuple[used.Integers, used.Integers]:
    """A step curve with at most about ``POINTS`` steps: where there are more, the highest value of each stretch."""
    if len(cycles) <= POINTS:
        return np.append(cycles, stop), np.append(values, values[-1])
    edges = np.linspace(0, stop, POINTS + 1).astype(np.int64)[:-1]
    at = np.maximum(np.searchsorted(cycles, edges, side="right") - 1, 0)  # the step that holds when a stretch begins
    tops = np.maximum.reduceat(values, at)
    # The step that holds at the next edge began before it, in this stretch, unless it begins right there.
    following, inside = at[1:], cycles[at[1:]] < edges[1:]
    tops[:-1] = np.where(inside, np.maximum(tops[:-1], values[following]), tops[:-1])
    return np.append(edges, stop), np.append(tops, tops[-1])
