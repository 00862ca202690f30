"""The table of a run's layers: every key of ``report["layers"]`` but the parts of the energy, which a plot shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from accelsim.page.markup import Cell, Column, number, percent, table, text, times
from accelsim.plots.energy import unit_of
from accelsim.plots.style import CATEGORY_STYLE

_COLUMNS = (
    Column("#", "Order in the network file"),
    Column("layer", "Click on a name: the timeline shows the layer", number=False),
    Column("kind", number=False),
    Column("cycles", "By how much the last landing of the layer moved the end of the run"),
    Column("% run", "Share of the cycles of the run"),
    Column("spent on", "What the cycles were spent on; sorted by the share of the array", number=False),
    Column("MACs", "Of convolutions, fully connected layers and gemms"),
    Column("util %", "MACs / (rows x cols x cycles)"),
    Column("bound", "Cycles that this layer alone cannot beat"),
    Column("by", "What the bound comes from", number=False),
    Column("x bound", "Cycles / bound"),
    Column("read B", "From DRAM, whole bursts"),
    Column("written B", "To DRAM, whole bursts"),
)
_LAST = (
    Column("packing", "How the layer lies on the array", number=False),
    Column("verdict", "What the layer's time was bound by, or spent on", number=False),
)
_ALIVE = (
    Column("sat %", "Share of the values that are saturated"),
    Column("zero %", "Share of the values that are zero"),
)


@dataclass(frozen=True, slots=True)
class _Energy:
    """How energies are shown: what to divide pJ by, the unit that makes, digits behind the point."""

    scale: float
    unit: str
    digits: int

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> _Energy | None:
        """So that the largest layer has four digits or so; None for a report without energy."""
        if report["energy"] is None:
            return None
        largest = max((row["energy_pj"] for row in report["layers"] if row["energy_pj"]), default=1.0)
        scale, unit = unit_of(report, largest)
        return cls(scale, unit.removeprefix("x the energy of a "), 3 if largest < 10 * scale else 1)

    def cell(self, pj: float | None) -> Cell:
        return number(pj, None if pj is None else f"{pj / self.scale:,.{self.digits}f}")


def layer_table(report: Mapping[str, Any]) -> str:
    """A row per layer of the network file in its order; fused ones name the layer that does their work."""
    rows, totals = report["layers"], report["totals"]
    shown = _Energy.of(report)
    alive = any(row["saturated"] is not None for row in rows)
    costs = (Column(shown.unit, "Energy of the layer"), Column("% energy")) if shown else ()
    columns = (*_COLUMNS, *costs, *(_ALIVE if alive else ()), *_LAST)
    body = [_row(place, row, totals["cycles"], shown, alive) for place, row in enumerate(rows, 1)]
    end = _total(report, shown, alive)
    return legend() + table(columns, body, name="Layers", style="layers", foot=end)


def legend() -> str:
    """The colours of the parts of a cycle split."""
    parts = "".join(
        f'<span><i class="swatch" style="background:{color}"></i>{escape(name.replace("_", " "))}</span>'
        for name, (color, _) in CATEGORY_STYLE.items()
    )
    return f'<p class="legend">{parts}</p>'


def _row(place: int, row: Mapping[str, Any], cycles: int, shown: _Energy | None, alive: bool) -> list[Cell]:
    cells = [
        number(place), _name(row["name"], row["host"]), text(row["kind"]), *_cycles(row, cycles), split_bar(row),
        *_work(row),
    ]  # fmt: skip
    if shown is not None:
        cells += [shown.cell(row["energy_pj"]), number(row["energy_percent"], _short(row["energy_percent"]))]
    if alive:
        cells += [percent(row["saturated"]), percent(row["zeros"])]
    told = f"done in {row['host']}" if row["host"] else row["verdict"]
    return [*cells, text(row["packing"]), text(told)]


def _total(report: Mapping[str, Any], shown: _Energy | None, alive: bool) -> list[Cell]:
    totals = report["totals"]
    cells = [text(""), text("total"), text(""), *_cycles(totals, totals["cycles"]), text(""), *_work(totals)]
    if shown is not None:
        cells += [shown.cell(totals["energy_pj"]), number(100.0, "100.0")]
    return [*cells, *([text("")] * 2 if alive else []), text(""), text("")]


def _cycles(row: Mapping[str, Any], whole: int) -> list[Cell]:
    return [number(row["cycles"]), percent(row["cycles"] / whole if whole else None)]


def _work(row: Mapping[str, Any]) -> list[Cell]:
    bound = row["bound_cycles"]
    return [
        number(row["macs"]), percent(row["utilization"]), number(bound), text(row["bound_by"] if bound else None),
        times(row["cycles"], bound), number(row["dram_read_bytes"]), number(row["dram_write_bytes"]),
    ]  # fmt: skip


def _name(name: str, host: str | None) -> Cell:
    """A button that ``main.js`` connects with the timeline; a fused layer has no time of its own to show."""
    if host:
        return Cell(f'{escape(name)} <span class="host">in {escape(host)}</span>', name)
    return Cell(f'<button class="layer" data-layer="{escape(name)}">{escape(name)}</button>', name)


def split_bar(row: Mapping[str, Any]) -> Cell:
    """The cycle split as one bar, its parts named when the pointer rests on it."""
    whole, split = row["cycles"], row["cycle_split"]
    if not whole:
        return text(None)
    shares = {name: split[name] / whole for name in CATEGORY_STYLE if split[name]}
    told = ", ".join(f"{name.replace('_', ' ')} {100 * share:.1f} %" for name, share in shares.items())
    parts = "".join(
        f'<i style="width:{100 * share:.2f}%;background:{CATEGORY_STYLE[name][0]}"></i>'
        for name, share in shares.items()
    )
    bar = f'<div class="split" role="img" title="{escape(told)}" aria-label="{escape(told)}">{parts}</div>'
    return Cell(bar, shares.get("array", 0.0))


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"
