"""Everything a page shows of one run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim import plots
from accelsim.arch import Arch
from accelsim.energy_report import energy_line
from accelsim.isa.program import Program
from accelsim.machine_file import dump_arch
from accelsim.page.layers import layer_table
from accelsim.page.markup import Cell, Column, details, facts, number, percent, preformatted, table, text
from accelsim.page.pictures import figure
from accelsim.trace import Trace

VERDICTS = {
    True: ("good", "PASS: every value equals the golden model"),
    False: ("bad", "FAIL: some values differ from the golden model"),
    None: ("", "not checked: no values were simulated"),
}
_DEFAULTS = {"batch": 1, "level": "cycle", "objective": "cycles"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run with its report, program and trace. ``source`` says where it was found, if it was saved."""

    report: Mapping[str, Any]
    program: Program
    trace: Trace
    arch: Arch
    source: str = ""

    @property
    def title(self) -> str:
        """The network and the machine."""
        return f"{self.report['workload']} on {self.report['arch']['name']}"

    @property
    def machine(self) -> str:
        """The array, its clock and the rate of DRAM."""
        array, rate = self.arch.array, float(self.arch.dram_bytes_per_cycle)
        clock = float(self.arch.clock_hz / 10**6)
        return f"{array.rows}x{array.cols} {array.dataflow}, {clock:g} MHz, {rate:.4g} B/cycle from DRAM"


def sections(run: Run, number_of_run: int) -> str:
    """Summary, timeline, layers, plots, machine and provenance; ids begin with the number of the run."""
    prefix = f"r{number_of_run}-"
    return (
        f'<section class="top">{facts(summary(run))}{_units(run.report)}</section>'
        f'<section class="timeline" data-run="{number_of_run}" aria-label="Timeline"></section>'
        f"<section>{_note(run.report)}{layer_table(run.report)}</section>"
        f'<section class="plots">{"".join(_plots(run, prefix))}</section>'
        f"<section>{details('Machine file', preformatted(dump_arch(run.arch)))}"
        f"{details('Provenance', facts(provenance(run)))}</section>"
    )


def summary(run: Run) -> dict[str, Cell]:
    """What somebody wants to know first."""
    report, totals = run.report, run.report["totals"]
    style, verdict = VERDICTS[report["bit_exact"]]
    batch = report["options"]["batch"]
    ratio = f"{totals['cycles'] / totals['bound_cycles']:.2f}x the bound" if totals["bound_cycles"] else "no bound"
    moved = f"{totals['dram_read_bytes']:,} B read ({totals['fetch_bytes']:,} of them instructions)"
    used = percent(totals["utilization"]).html
    return {
        "network": text(f"{report['workload']}, {'1 image' if batch == 1 else f'{batch} images'}"),
        "machine": text(f"{report['arch']['name']}: {run.machine}"),
        "cycles": text(f"{totals['cycles']:,} = {totals['time_us']:,.2f} us"),
        "against the bound": text(f"{ratio} of {totals['bound_cycles']:,} cycles ({totals['bound_by']})"),
        "utilisation": text(f"{used} % of the array's peak, {totals['macs']:,} MACs"),
        "DRAM": text(f"{moved}, {totals['dram_write_bytes']:,} B written"),
        "energy": text(energy_line(report) if report["energy"] else None),
        "instructions": text(f"{totals['instructions']:,}"),
        "bit-exact": Cell(f'<strong class="{style}">{verdict}</strong>', verdict),
    }


def _units(report: Mapping[str, Any]) -> str:
    """How long each unit worked, and for what it waited."""
    waits = sorted({wait for unit in report["units"].values() for wait in unit["wait_cycles"]})
    columns = (Column("unit", number=False), Column("busy"), Column("busy %"), *(Column(wait) for wait in waits))
    whole = report["totals"]["cycles"]
    rows = [
        [
            text(name), number(unit["busy_cycles"]), percent(unit["busy_cycles"] / whole if whole else None),
            *(number(unit["wait_cycles"].get(wait, 0)) for wait in waits),
        ]
        for name, unit in report["units"].items()
    ]  # fmt: skip
    return table(columns, rows, name="Units: cycles busy, and waiting by reason")


def _note(report: Mapping[str, Any]) -> str:
    if report["options"]["batch"] == 1:
        return ""
    return (
        '<p class="note">The layers of successive images overlap: a row says how far its layer moved the end of the '
        "run, not how long it worked. Read the totals.</p>"
    )


def _plots(run: Run, prefix: str) -> Iterator[str]:
    yield figure(plots.roofline(run.report), f"{prefix}1", "Roofline")
    yield figure(plots.utilization(run.report), f"{prefix}2", "What the cycles of each layer were spent on")
    if run.report["energy"] is not None and run.report["totals"]["energy_pj"]:
        yield figure(plots.energy(run.report), f"{prefix}3", "Energy of each layer by component")
    yield figure(plots.occupancy(run.program, run.trace, run.arch), f"{prefix}4", "Memories in use")


def provenance(run: Run) -> dict[str, Cell]:
    """What is needed to have the same run again."""
    report = run.report
    values = {
        "accelsim": report["accelsim"],
        "machine (arch_hash)": report["arch_hash"],
        "program (program_hash)": report["program_hash"] or None,
        **{f"option {name}": str(value) for name, value in report["options"].items()},
        "again": f"{command(report)} (with the machine file above as machine.yaml)",
    }
    if run.source:
        values["result"] = run.source
    return {name: text(value) for name, value in values.items()}


def command(report: Mapping[str, Any]) -> str:
    """The command line that runs the network so."""
    options = report["options"]
    parts = [f"--{name} {options[name]}" for name, default in _DEFAULTS.items() if options[name] != default]
    parts += ["--timing-only"] if options["timing_only"] else []
    named = shlex.quote(options.get("workload") or report["workload"])  # reports of earlier versions lack the option
    return " ".join(["accelsim run", named, "--arch machine.yaml", *parts])
