"""Energy, power and area as they stand in a report, and as one line of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelsim.actions import Counts
from accelsim.arch import Arch
from accelsim.area import PARTS, area_mm2
from accelsim.energy import COMPONENTS, Energy, measure
from accelsim.energy_arch import PICOJOULE
from accelsim.power import Peak, peak_window
from accelsim.trace import Trace

TRUST = (
    "absolute energy and power to within about a factor of 2 at 45 nm, less well at other nodes (see the trust of "
    "each number), area likewise; far better between schedules on one machine"
)
LEFT_OUT = (
    "clock tree, power delivery, I/O pads and everything off the accelerator but DRAM (energy.static adds a power)",
    "DRAM refresh, standby and termination (energy.dram_background adds a power), rows opened and closed",
    "data: energies are averages, whatever the values; zeros save nothing",
    "voltage and temperature: those of the table; clock gating is taken to be perfect, idle parts only leak",
    "SRAM words wider than what is used of them: bytes are charged, not words",
    "the array's control, address generators of the units, tokens",
    "second ports of WGT, ACC and PARAM, which several units use at once: they are priced with one",
    "wires between blocks",
)
LAYER_KEYS = ("energy_pj", "energy_percent", "energy", "power_w")
TOTAL_KEYS = ("energy_pj", "energy_per_inference_pj", "power_w", "tops", "tops_per_w", "edp_js", "area_mm2")
OPERATIONS_PER_MAC = 2
_PJ_PER_J = 10**12
_SCALES = (("J", 1.0), ("mJ", 1e-3), ("uJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12))
_SHOWN_PERCENT = 1  # smaller components are not named in a line of text


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a run of ``cycles`` cost; ``energy`` and ``peak`` are None where no time was simulated."""

    arch: Arch
    cycles: int
    energy: Energy | None
    peak: Peak | None

    @classmethod
    def of(
        cls,
        arch: Arch,
        trace: Trace | None,
        actions: Counts | None,
        layer_of: Sequence[int],
        layer_cycles: Sequence[int],
    ) -> Costs:
        """From the actions of every instruction, its layer, and the cycles of the layers."""
        if trace is None or actions is None or not trace.cycles:
            return cls(arch=arch, cycles=0, energy=None, peak=None)
        energy = measure(actions, arch, layer_of, layer_cycles or [trace.cycles])
        return cls(arch=arch, cycles=trace.cycles, energy=energy, peak=peak_window(trace, actions, arch))

    def layer(self, place: int | None, cycles: int | None) -> dict[str, Any]:
        """Energy, its share of the run's, its components, and power of a layer; ``place`` None: one without work."""
        if self.energy is None or cycles is None:
            return dict.fromkeys(LAYER_KEYS)
        parts = {name: 0.0 if place is None else self.energy.layer_pj(place, name) for name in COMPONENTS}
        total = sum(parts.values())
        share = _percent(total, self.energy.total_pj)
        return dict(zip(LAYER_KEYS, (total, share, parts, self._watts(total, cycles))))

    def totals(self, macs: int, batch: int) -> dict[str, Any]:
        """What ``totals`` says of energy, power and area."""
        area = sum(area_mm2(self.arch).values())
        if self.energy is None:
            return {**dict.fromkeys(TOTAL_KEYS), "area_mm2": area}
        total, seconds = self.energy.total_pj, float(self.cycles / self.arch.clock_hz)
        power = self._watts(total, self.cycles)
        tops = OPERATIONS_PER_MAC * macs / seconds / 10**12
        return {
            "energy_pj": total,
            "energy_per_inference_pj": total / batch,
            "power_w": power,
            "tops": tops,
            "tops_per_w": tops / power if power else None,
            "edp_js": None if power is None else total / _PJ_PER_J * seconds,
            "area_mm2": area,
        }

    def section(self) -> dict[str, Any] | None:
        """``energy`` of a report: the table, components and terms, power, and what the model leaves out."""
        energy, peak, numbers = self.energy, self.peak, self.arch.energy
        if energy is None or peak is None:
            return None
        total = energy.total_pj
        terms = {
            term.name: {
                "component": term.component,
                "count": energy.counts[place],
                "pj_each": float(term.pj),
                "pj": energy.term_pj(place),
            }
            for place, term in enumerate(energy.terms)
        }
        pj = {name: energy.component_pj(name) for name in COMPONENTS}
        power = {
            "average_w": self._watts(total, self.cycles),
            "peak_w": self._watts(peak.pj, peak.cycles),
            "window_us": self._microseconds(peak.cycles),
            "peak_start_us": self._microseconds(peak.start),
        }
        return {
            "table": numbers.name,
            "node_nm": numbers.node_nm,
            "unit": numbers.unit,
            "components": {name: {"pj": value, "percent": _percent(value, total)} for name, value in pj.items()},
            "terms": terms,
            "power": power,
            "trust": TRUST,
            "left_out": list(LEFT_OUT),
        }

    def _watts(self, pj: float, cycles: int) -> float | None:
        """Average power; None for a time of 0 and for energies that are not joules."""
        if not cycles or self.arch.energy.unit != PICOJOULE:
            return None
        return pj / _PJ_PER_J * float(self.arch.clock_hz) / cycles

    def _microseconds(self, cycles: int) -> float:
        return float(cycles * 10**6 / self.arch.clock_hz)


def area_section(arch: Arch) -> dict[str, Any]:
    """``area`` of a report: every part in mm2 and percent."""
    parts = area_mm2(arch)
    whole = sum(parts.values())
    return {name: {"mm2": parts[name], "percent": _percent(parts[name], whole)} for name in PARTS}


def energy_line(report: Mapping[str, Any]) -> str:
    """Energy, power and area of a run in one line."""
    energy, totals = report["energy"], report["totals"]
    shares = sorted(((part["percent"], name) for name, part in energy["components"].items()), reverse=True)
    named = ", ".join(f"{name} {share:.0f} %" for share, name in shares if share >= _SHOWN_PERCENT)
    line = f"{_joules(totals['energy_pj'], energy['unit'])} ({named})"
    if totals["power_w"] is not None:
        power = energy["power"]
        line += f", {1e3 * power['average_w']:,.0f} mW, at most {1e3 * power['peak_w']:,.0f}"
        line += f"; {totals['tops_per_w']:.3g} TOPS/W"
    return f"{line}; {totals['area_mm2']:.3g} mm2 ({energy['table']}, within about 2x)"


def _joules(pj: float, unit: str) -> str:
    if unit != PICOJOULE:
        return f"{pj:,.0f} x the energy of a MAC"
    name, size = next(((name, size) for name, size in _SCALES if pj >= _PJ_PER_J * size), _SCALES[-1])
    return f"{pj / _PJ_PER_J / size:.3g} {name}"


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 4) if whole else 0.0
