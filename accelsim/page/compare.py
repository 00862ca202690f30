"""Several runs side by side: totals, machines, layers, rooflines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from accelsim import plots
from accelsim.page.markup import Cell, Column, number, percent, table, text
from accelsim.page.pictures import figure
from accelsim.page.run import VERDICTS, Run

_TOTALS = (
    ("cycles", "cycles"), ("bound_cycles", "bound, cycles"), ("time_us", "time, us"), ("macs", "MACs"),
    ("instructions", "instructions"), ("dram_read_bytes", "DRAM read, B"), ("dram_write_bytes", "DRAM written, B"),
    ("energy_pj", "energy, {unit}"), ("energy_per_inference_pj", "energy per inference, {unit}"),
    ("power_w", "power, W"), ("tops", "TOPS"), ("tops_per_w", "TOPS/W"),
    ("edp_js", "energy-delay product, J s"), ("area_mm2", "area, mm2"),
)  # fmt: skip
_SHARES = (("utilization", "utilisation, %"),)


def letters(count: int) -> list[str]:
    """A, B ... Z, AA, AB ..."""
    return [_letters(place) for place in range(count)]


def _letters(place: int) -> str:
    head, tail = divmod(place, 26)
    return (_letters(head - 1) if head else "") + chr(ord("A") + tail)


def comparison(runs: Sequence[Run]) -> str:
    """The tables and the roofline of all runs; numbers after the first run's come with their ratio to it."""
    reports = [run.report for run in runs]
    names = letters(len(runs))
    return (
        f'<section>{_legend(runs, names)}<div class="beside">'
        f"{_totals(reports, names)}{_layers(reports, names)}{_machines(reports, names)}</div></section>"
        f'<section class="plots">{figure(plots.roofline(reports), "r0-1", "Rooflines of all runs")}</section>'
    )


def _legend(runs: Sequence[Run], names: Sequence[str]) -> str:
    columns = [Column(name, number=False) for name in ("run", "network", "machine", "batch", "bit-exact", "result")]
    rows = [
        [
            text(name), text(run.report["workload"]), text(f"{run.report['arch']['name']}: {run.machine}"),
            number(run.report["options"]["batch"]), _verdict(run.report["bit_exact"]), text(run.source or None),
        ]
        for name, run in zip(names, runs)
    ]  # fmt: skip
    return table(columns, rows, name="Runs")


def _verdict(bit_exact: bool | None) -> Cell:
    style, told = VERDICTS[bit_exact]
    return Cell(f'<strong class="{style}">{escape(told.partition(":")[0])}</strong>', told)


def _columns(first: str, names: Sequence[str]) -> list[Column]:
    """A column for the first run, for the others also one for their ratio to it."""
    columns = [Column(first, number=False), Column(names[0])]
    for name in names[1:]:
        columns += [Column(name), Column(f"{name}/{names[0]}")]
    return columns


def _beside(values: Sequence[float | None], shown: Sequence[str | None] | None = None) -> list[Cell]:
    """The numbers of all runs, each but the first with its ratio to it; a dash where there is none."""
    cells = []
    for place, value in enumerate(values):
        cells.append(number(value, shown[place] if shown else None))
        if place:
            base = values[0]
            ratio = value / base if value is not None and base else None
            cells.append(number(ratio, None if ratio is None else f"{ratio:.3f}"))
    return cells


def _totals(reports: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    # Tables of energies may count in units of a MAC instead of pJ.
    unit = " or ".join(dict.fromkeys(report["energy"]["unit"] for report in reports if report["energy"])) or "pJ"
    rows = []
    for key, name in _TOTALS:
        values = [report["totals"].get(key) for report in reports]
        rows.append([text(name.format(unit=unit)), *_beside(values, [_shown(value) for value in values])])
    for key, name in _SHARES:
        values = [report["totals"][key] for report in reports]
        rows.append([text(name), *_beside(values, [percent(value).html for value in values])])
    ratios = [_over(report) for report in reports]
    rows.append([text("cycles / bound"), *_beside(ratios, [_shown(ratio) for ratio in ratios])])
    return table(_columns("total", names), rows, name="Totals")


def _over(report: Mapping[str, Any]) -> float | None:
    totals = report["totals"]
    return totals["cycles"] / totals["bound_cycles"] if totals["bound_cycles"] else None


def _shown(value: float | None) -> str | None:
    """Four digits; thousands whole."""
    if value is None:
        return None
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1e4 else f"{value:,.4g}"


def _machines(reports: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The keys of machine files in which the runs differ, and so their options."""
    flat = [dict(_flat(report["arch"])) | dict(_flat(report["options"], "option ")) for report in reports]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = [
        [text(key), *(text(values.get(key)) for values in flat)]
        for key in keys
        if len({str(values.get(key)) for values in flat}) > 1
    ]
    columns = [Column(name, number=False) for name in ("key", *names)]
    return table(columns, rows, name="Where machines and options differ") if rows else ""


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _layers(reports: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Cycles of each layer by its name; a run without the layer has dashes."""
    cycles = [{row["name"]: row["cycles"] for row in report["layers"]} for report in reports]
    every = dict.fromkeys(name for found in cycles for name in found)
    columns = [Column("#", "Order in the network files"), *_columns("layer", names)]
    rows = [
        [number(place), text(name), *_beside([found.get(name) for found in cycles])]
        for place, name in enumerate(every, 1)
    ]
    end = [text(""), text("total"), *_beside([report["totals"]["cycles"] for report in reports])]
    return table(columns, rows, name="Cycles of each layer", foot=end)
