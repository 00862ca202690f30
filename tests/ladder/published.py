"""Runs of published machines: what is measured in them, beside the figures of their papers.

Every figure of ours comes from the report, the trace or the action counts of a compiled run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import accelsim
from accelsim.actions import Action, count_actions
from accelsim.energy import measure
from accelsim.isa.effects import effects
from accelsim.isa.protocol import Memory, Unit
from accelsim.result import Result

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
ON_CHIP = ("array", "buffers", "alu", "control")
BATCH = {"tpu_mlp0": 200, "tpu_mlp1": 168, "tpu_mlp1_square": 168, "tpu_cnn0": 8}
COUNTERS = ("array active", "weight shift", "weight stall", "non-matrix")
PAPER = {  # Jouppi et al., ISCA 2017, Table 3, percent, by :data:`COUNTERS`
    "tpu_mlp0": (12.7, 15.9, 53.9, 17.5),
    "tpu_mlp1": (10.6, 13.4, 44.2, 31.9),
    "tpu_mlp1_square": (10.6, 13.4, 44.2, 31.9),
    "tpu_cnn0": (78.2, 0.0, 0.0, 21.8),
}
PAPER_WATTS = 12  # CNN0: 40 W busy less 28 W idle, Table 2
EYERISS = {  # Chen et al., ISCA 2016, Figure 10, batch 16, 1e9 MAC energies: ALU, RF
    "conv1": (1.69, 6.75), "conv2": (3.58, 14.33), "conv3": (2.39, 9.57), "conv4": (1.79, 7.18),
    "conv5": (1.20, 4.78), "fc6": (0.60, 2.42), "fc7": (0.27, 1.07), "fc8": (0.07, 0.26),
}  # fmt: skip
EYERISS_BATCH = 16


class Line(NamedTuple):
    """One row of a table: what, ours, the paper's."""

    what: str
    ours: float
    paper: float | None


@cache
def tpu(name: str) -> Result:
    """A run on ``tpu_v1`` at the batch of the paper."""
    return accelsim.run(DATA / f"{name}.yaml", arch="tpu_v1", batch=BATCH[name], timing_only=True)


def counters(result: Result) -> tuple[float, ...]:
    """Percent of the run by :data:`COUNTERS`; they sum to 100.

    Active: activation rows enter the array. Shift: weights are shifted in and none enter. Stall: neither, and the last
    token that the next gemm waits for is that of a load. The rest is non-matrix.
    """
    trace = result.trace
    assert trace is not None
    split, array = trace.cycle_split(0, trace.cycles), trace.array
    stop = array.stream + (array.count - 1) * array.period + array.streaming
    idle_from = np.concatenate([[0], stop[:-1]])
    waited = trace.token_ready[array.index]
    until = np.minimum(np.where(trace.token_unit[array.index] == Unit.LOAD, waited, 0), array.load)
    stall = int(np.maximum(0, until - idle_from).sum())
    active, shift = split["array"], split["weight_load"]
    return tuple(100 * part / trace.cycles for part in (active, shift, stall, trace.cycles - active - shift - stall))


def ridge(result: Result) -> float:
    """MACs per byte of weights at which array and DRAM take equally long, measured in a run that waits for weights:
    MACs in a cycle of streaming, over bytes of weights that land in a cycle while loads follow each other.
    """
    trace, program = result.trace, result.program
    assert trace is not None
    counts = count_actions(program.instructions, result.arch)
    streaming = int((trace.array.count * trace.array.streaming).sum())
    macs = int(counts[:, Action.MAC].sum()) / streaming
    weights = [
        index for index, instr in enumerate(program.instructions)
        if trace.unit[index] == Unit.LOAD and effects(instr, result.arch).writes[0].memory == Memory.WGT
    ]  # fmt: skip
    landed, moved = trace.landed[weights], counts[weights, Action.DRAM_READ]
    rates = moved[1:] / np.maximum(1, np.diff(landed))
    return macs / float(np.median(rates))


def dynamic_w(result: Result) -> float:
    """Power on the chip that is there because work is done."""
    parts, totals = result.report["energy"]["components"], result.report["totals"]
    return sum(parts[name]["pj"] for name in ON_CHIP) * 1e-12 / (totals["time_us"] * 1e-6)


def area_percent(result: Result) -> dict[str, float]:
    """Shares of the chip: buffers, compute, control, and the rest."""
    area = {name: part["percent"] for name, part in result.report["area"].items()}
    return {
        "buffers": sum(area[name] for name in ("ub", "wgt", "acc", "param")),
        "compute": area["array"] + area["alu"],
        "control": area["control"],
        "I/O and blank": area["other"],
    }


@cache
def alexnet(batch: int) -> Result:
    """AlexNet on ``mid`` under the normalised set."""
    changes = {"energy.table": "eyeriss_normalized"}
    return accelsim.run("alexnet", arch="mid", set=changes, batch=batch, timing_only=True)


def eyeriss_columns(result: Result, images: int) -> dict[str, tuple[float, float]]:
    """ALU and RF energy of every layer for 16 images, in 1e9 MAC energies, from the run's action counts."""
    program = result.program
    counts = count_actions(program.instructions, result.arch)
    energy = measure(counts, result.arch, program.layer_of, [0] * len(program.layers))
    names = [term.name for term in energy.terms]
    places = [names.index(name) for name in ("mac", "register_access")]
    scale = EYERISS_BATCH / images / 1e9
    rows = {name: [energy.cells[layer][place] * scale for place in places] for layer, name in enumerate(program.layers)}
    return {name: (rows[name][0], rows[name][1]) for name in EYERISS if name in rows}


def tpu_table() -> list[Line]:
    """Everything compared with the first TPU."""
    lines = []
    for name, paper in PAPER.items():
        for counter, ours, theirs in zip(COUNTERS, counters(tpu(name)), paper):
            lines.append(Line(f"`{name}` {counter}, %", ours, theirs))
    mlp = tpu("tpu_mlp0")
    lines.append(Line("ridge, MACs a weight byte", ridge(mlp), 1350))
    watts, share = dynamic_w(tpu("tpu_cnn0")), PAPER["tpu_cnn0"][0] / counters(tpu("tpu_cnn0"))[0]
    lines.append(Line("`tpu_cnn0` dynamic power, W", watts, PAPER_WATTS))
    lines.append(Line("`tpu_cnn0` dynamic power at the paper's activity, W", watts * share, PAPER_WATTS))
    papers = {"buffers": 37.0, "compute": 30.0, "control": 2.0, "I/O and blank": 31.0}
    lines += [Line(f"area: {name}, %", share, papers[name]) for name, share in area_percent(mlp).items()]
    total = mlp.report["totals"]["area_mm2"]
    lines.append(Line("area, mm2 (the paper gives a limit)", total, 331))
    return lines


def eyeriss_table(images: int) -> list[Line]:
    """ALU and RF columns of every layer."""
    lines = []
    for layer, columns in eyeriss_columns(alexnet(images), images).items():
        for name, ours, paper in zip(("ALU", "RF"), columns, EYERISS[layer]):
            lines.append(Line(f"`{layer}` {name}, 1e9 MAC energies", ours, paper))
    return lines


def markdown(lines: list[Line]) -> str:
    """The table of the page."""
    rows = ["| | accelsim | paper | ratio |", "|---|---|---|---|"]
    for line in lines:
        paper = "" if line.paper is None else f"{line.paper:g}"
        ratio = f"{line.ours / line.paper:.2f}" if line.paper else ""
        rows.append(f"| {line.what} | {line.ours:.4g} | {paper} | {ratio} |")
    return "\n".join(rows) + "\n"
