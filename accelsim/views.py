"""The pictures of a run as methods of its result; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from accelsim.arch import Arch
from accelsim.errors import ConfigError
from accelsim.execution import run_time
from accelsim.isa.program import Program
from accelsim.trace import Trace


class Views:
    """What :class:`accelsim.Result` draws. Every method takes and returns a matplotlib Axes and shows nothing.

    All raise ConfigError for a run without time (level ``functional``).
    """

    report: dict[str, Any]
    program: Program
    arch: Arch
    trace: Trace | None

    @cached_property
    def timed(self) -> Trace:
        """The trace; of a result that was loaded, or that has none, simulated again."""
        if self.trace is not None:
            return self.trace
        self._need_time()
        trace = run_time(self.program, self.arch, "cycle")
        wanted = self.report["totals"]["cycles"]
        if trace.cycles != wanted:
            problem = f"takes {trace.cycles:,} cycles with this version of accelsim, {wanted:,} in the report"
            raise ConfigError(self.report["workload"], "", problem, "run it again")
        return trace

    def roofline(self, ax: Any = None) -> Any:
        """GMAC/s over MACs per byte of DRAM traffic, a mark per layer under the machine's roof."""
        self._need_time()
        return self._plots.roofline(self.report, ax)

    def utilization(self, ax: Any = None) -> Any:
        """What the cycles of each layer were spent on, stacked to 100 %."""
        self._need_time()
        return self._plots.utilization(self.report, ax)

    def energy(self, ax: Any = None) -> Any:
        """Energy of each layer by component."""
        self._need_time()
        return self._plots.energy(self.report, ax)

    def timeline(self, ax: Any = None, start: int = 0, stop: int | None = None) -> Any:
        """What each unit did in the cycles ``[start, stop)``, by layer, and what it waited for."""
        return self._plots.timeline(self.program, self.timed, start, stop, ax)

    def occupancy(self, ax: Any = None) -> Any:
        """How much of each on-chip memory was in use, cycle by cycle."""
        return self._plots.occupancy(self.program, self.timed, self.arch, ax)

    def tiling(self, layer: str, ax: Any = None) -> Any:
        """How ``layer`` was cut into tiles, and in which order they were done. Raises ValueError for no such layer."""
        return self._plots.tiling(self.program, self.timed, layer, ax)

    def html(self, path: str | Path, *others: Views) -> None:
        """Write one page that shows this run and opens offline, or compares it with others. Raises ConfigError."""
        page = import_module("accelsim.page")
        runs = [
            page.Run(report=one.report, program=one.program, trace=one.timed, arch=one.arch) for one in (self, *others)
        ]
        page.save_page(runs, path)

    @property
    def _plots(self) -> Any:
        return import_module("accelsim.plots")

    def _need_time(self) -> None:
        if self.report["totals"]["cycles"] is None:
            raise ConfigError(self.report["workload"], "", "no time was simulated", "use level cycle")
