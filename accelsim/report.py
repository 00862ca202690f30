"""The numbers of one run as plain data: totals, one row per layer of the network file, one entry per unit.

Nothing is measured here: cycles come from the trace, MACs and compulsory bytes from the network's facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accelsim.actions import Counts
from accelsim.arch import Arch
from accelsim.cyclesplit import CATEGORIES
from accelsim.energy_report import Costs, area_section
from accelsim.isa.protocol import Memory, Unit
from accelsim.trace import Requester, Trace
from accelsim.verdict import PortUse, busy, verdict

SCHEMA = 1


class Facts(Protocol):
    """Machine-independent costs: MACs, and the int8 bytes that must cross the DRAM port at least once."""

    @property
    def macs(self) -> int: ...
    @property
    def compulsory_bytes(self) -> int: ...


class LayerRow(Facts, Protocol):
    """Facts of one layer of the network file; ``host`` names the layer that does its work, itself if not fused."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def host(self) -> str: ...


def build_report(
    *,
    workload: str,
    arch: Arch,
    program_hash: str | None,
    instructions: int,
    trace: Trace | None,
    layers: Sequence[str],
    layer_of: Sequence[int],
    facts: Sequence[LayerRow],
    network: Facts,
    packing: Mapping[str, str],
    bit_exact: bool | None,
    host: Mapping[str, float],
    version: str,
    fused: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    loaded_into: Sequence[Memory | None] | None = None,
    liveness: Mapping[str, tuple[float, float]] | None = None,
    actions: Counts | None = None,
) -> dict[str, Any]:
    """The report of a run, ready for JSON; the keys are described in ``docs/report.md``.

    ``layers`` are the program's layer names in order and ``layer_of`` each instruction's index into them (-1 for
    none). ``facts`` has one entry per layer of the network file, ``network`` is their whole. ``fused`` names the
    host of layers that the compiler merged. ``loaded_into`` is the memory each load instruction fills, so that the
    verdicts can name the traffic, ``actions`` what each instruction does. ``liveness`` are the (saturated, zero) shares
    of each layer's values, by name. Without ``trace`` (values only) every cycle and traffic field is None, without it
    or ``actions`` every energy field.
    """
    measured = _layer_measurements(arch, trace, layers, layer_of, loaded_into)
    costs = Costs.of(arch, trace, actions, layer_of, [measured[name].cycles for name in layers if trace])
    place = {name: index for index, name in enumerate(layers)}
    rows = []
    for layer in facts:
        merged = layer.host if layer.host != layer.name else (fused or {}).get(layer.name)
        row = _row(arch, layer, merged, measured.get(layer.name), packing.get(layer.name), trace is not None)
        row["saturated"], row["zeros"] = (liveness or {}).get(layer.name, (None, None))
        rows.append(row | costs.layer(place.get(layer.name), row["cycles"]))
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "accelsim": version,
        "workload": workload,
        "arch": arch.to_dict(),
        "arch_hash": arch.full_hash,
        "program_hash": program_hash,
        "bit_exact": bit_exact,
    }
    if options is not None:
        report["options"] = dict(options)
    batch = (options or {}).get("batch", 1)
    report["totals"] = _totals(arch, network, instructions, trace) | costs.totals(network.macs, batch)
    report["layers"] = rows
    report["energy"] = costs.section()
    report["area"] = area_section(arch)
    report["units"] = {unit.name.lower(): _unit(trace, unit) for unit in Unit}
    report["host"] = dict(host)
    return report


def bound(arch: Arch, facts: Facts) -> tuple[int, str]:
    """The cycles no run of this work can beat, and which roof says so: ``array`` or ``dram`` (``array`` if equal)."""
    array = Fraction(facts.macs, arch.array.rows * arch.array.cols)
    dram = facts.compulsory_bytes / arch.dram_bytes_per_cycle
    return ceil(max(array, dram)), "array" if array >= dram else "dram"


def utilization(arch: Arch, macs: int, cycles: int | None) -> float | None:
    """MACs over the MACs the array could have done in ``cycles``; None when there is nothing to divide by."""
    if not cycles:
        return None if macs or cycles is None else 0.0
    return macs / (arch.array.rows * arch.array.cols * cycles)


class _Measured:
    """What the trace says of one layer."""

    def __init__(
        self, cycles: int, split: dict[str, int], read_bytes: int, write_bytes: int, told: str | None
    ) -> None:
        self.cycles = cycles
        self.split = split
        self.read_bytes = read_bytes
        self.write_bytes = write_bytes
        self.verdict = told


def _layer_measurements(
    arch: Arch,
    trace: Trace | None,
    layers: Sequence[str],
    layer_of: Sequence[int],
    loaded_into: Sequence[Memory | None] | None,
) -> dict[str, _Measured]:
    if trace is None:
        return {}
    ends = [0, *trace.layer_ends(layer_of, len(layers)).tolist()]
    owner = np.asarray(layer_of, dtype=np.int64)
    read = _bytes_by_layer(arch, trace, owner, Unit.LOAD, len(layers))
    written = _bytes_by_layer(arch, trace, owner, Unit.STORE, len(layers))
    port = PortUse(trace, arch, layer_of, loaded_into)
    measured = {}
    for index, (name, start, stop) in enumerate(zip(layers, ends, ends[1:])):
        split = trace.cycle_split(start, stop)
        told = verdict(split, busy(trace, layer_of, index, start, stop), port.cycles(index, start, stop))
        measured[name] = _Measured(stop - start, split, read[index], written[index], told)
    return measured


def _bytes_by_layer(arch: Arch, trace: Trace, owner: NDArray[np.int64], unit: Unit, count: int) -> list[int]:
    mine = (owner >= 0) & (trace.unit == unit)
    bursts = np.zeros(count, dtype=np.int64)
    np.add.at(bursts, owner[mine], trace.bursts[mine])
    return (bursts * arch.dram.burst_bytes).tolist()


def _row(
    arch: Arch, layer: LayerRow, merged: str | None, measured: _Measured | None, packing: str | None, timed: bool
) -> dict[str, Any]:
    """One layer. A layer without instructions of its own (fused, or only a view) took 0 cycles and no traffic."""
    if measured is None and timed:
        measured = _Measured(0, {}, 0, 0, None)
    cycles = measured.cycles if measured else None
    bound_cycles, bound_by = (0, "array") if merged else bound(arch, layer)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "host": merged,
        "cycles": cycles,
        "macs": layer.macs,
        "utilization": utilization(arch, layer.macs, cycles),
        "bound_cycles": bound_cycles,
        "bound_by": bound_by,
        "dram_read_bytes": measured.read_bytes if measured else None,
        "dram_write_bytes": measured.write_bytes if measured else None,
        "energy_pj": None,
        "packing": packing,
        "cycle_split": _split(measured),
        "verdict": measured.verdict if measured else None,
    }


def _split(measured: _Measured | None) -> dict[str, int] | None:
    if measured is None:
        return None
    return {name: measured.split.get(name, 0) for name in CATEGORIES}


def _totals(arch: Arch, network: Facts, instructions: int, trace: Trace | None) -> dict[str, Any]:
    cycles = trace.cycles if trace else None
    bound_cycles, bound_by = bound(arch, network)
    burst = arch.dram.burst_bytes
    bursts = trace.port_bursts if trace else None
    return {
        "cycles": cycles,
        "macs": network.macs,
        "utilization": utilization(arch, network.macs, cycles),
        "bound_cycles": bound_cycles,
        "bound_by": bound_by,
        "instructions": instructions,
        "dram_read_bytes": burst * (bursts[Requester.FETCH] + bursts[Requester.LOAD]) if bursts else None,
        "dram_write_bytes": burst * bursts[Requester.STORE] if bursts else None,
        "fetch_bytes": burst * bursts[Requester.FETCH] if bursts else None,
        "energy_pj": None,
        "time_us": None if cycles is None else float(cycles * 10**6 / arch.clock_hz),
        "area_mm2": None,
    }


def _unit(trace: Trace | None, unit: Unit) -> dict[str, Any]:
    if trace is None:
        return {"busy_cycles": None, "wait_cycles": None}
    return {"busy_cycles": trace.busy_cycles(unit), "wait_cycles": trace.wait_cycles(unit)}


TABLE_HEADER = (
    "layer", "kind", "cycles", "MACs", "util %", "bound cycles", "bound by", "DRAM read B", "DRAM write B", "packing",
)  # fmt: skip


def table(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The layers and their total as rows of text in the order of :data:`TABLE_HEADER`."""
    rows = [_text_row(row["name"], row["kind"], row, _remark(row)) for row in report["layers"]]
    return [*rows, _text_row("total", "", report["totals"], "")]


def _remark(row: Mapping[str, Any]) -> str:
    return f"in {row['host']}" if row["host"] else row["packing"] or ""


def _text_row(name: str, kind: str, row: Mapping[str, Any], remark: str) -> tuple[str, ...]:
    share = row["utilization"]
    return (
        name,
        kind,
        _number(row["cycles"]),
        _number(row["macs"]),
        "-" if share is None else f"{100 * share:.1f}",
        _number(row["bound_cycles"]),
        row["bound_by"],
        _number(row["dram_read_bytes"]),
        _number(row["dram_write_bytes"]),
        remark,
    )


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
