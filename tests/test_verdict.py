"""What a layer's line says, on traces made for it, and on LeNet on every machine."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.arch import Arch
from accelsim.cyclesplit import CATEGORIES
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import Memory, Task, Unit
from accelsim.trace import Trace
from accelsim.verdict import PortUse, vector_cycles, verdict
from tests.command_line import accelsim as command
from tests.hw.cases import alu, gemm, load, machine, store, sync

LINES = [
    r"bound by (weight|activation|parameter|output|instruction) traffic: \d+ % of the port(, \d+ % of that for other "
    r"layers)?",
    r"bound by DRAM traffic: \d+ % of the port \(\w+ \d+ %(, \w+ \d+ %)*\)(, \d+ % of that for other layers)?",
    r"bound by the array: \d+ % of its cycles stream rows",
    r"bound by shifting weights into the array: \d+ % of its cycles",
    r"bound by the vector unit: busy in \d+ % of its cycles",
    r"(waits for [\w' ]+|no unit is busy throughout): (array )?\d+ %( of its cycles)?( \([\w %,]+\))?",
    r"hidden behind its neighbours",
]


def split(**cycles: int) -> dict[str, int]:
    assert set(cycles) <= set(CATEGORIES)
    return {name: cycles.get(name, 0) for name in CATEGORIES}


@pytest.mark.parametrize(
    ("parts", "vector", "port", "line"),
    [
        ({}, 0, {}, "hidden behind its neighbours"),
        (
            {"array": 97, "dram": 3}, 50, {("weight", False): 100.0},
            "bound by the array: 97 % of its cycles stream rows",
        ),
        (
            {"array": 6, "weight_load": 90, "dram": 4}, 5, {},
            "bound by shifting weights into the array: 90 % of its cycles",
        ),
        ({"array": 20, "alu": 80}, 95, {}, "bound by the vector unit: busy in 95 % of its cycles"),
        ({"dram": 99}, 0, {("weight", True): 93.0, ("output", True): 2.0}, "bound by weight traffic: 94 % of the port"),
        (
            {"dram": 100}, 0, {("weight", True): 60.0, ("weight", False): 30.0},
            "bound by weight traffic: 90 % of the port, 33 % of that for other layers",
        ),
        (
            {"dram": 100}, 0, {("weight", True): 45.0, ("output", True): 40.0, ("instruction", True): 1.0},
            "bound by DRAM traffic: 86 % of the port (weight 45 %, output 40 %)",
        ),
        (
            {"array": 30, "dram": 70}, 0, {("weight", False): 80.0, ("activation", True): 10.0},
            "waits for its data behind other layers' traffic: 70 % of its cycles (port 90 %)",
        ),
        (
            {"array": 60, "dram": 40}, 20, {("weight", False): 130.0},
            "no unit is busy throughout: array 60 % (vector unit 20 %, port for other layers 100 %)",
        ),
        (
            {"array": 30, "dram": 45, "alu": 25}, 30, {("weight", True): 20.0},
            "waits for DRAM latency: 45 % of its cycles (array 30 %, vector unit 30 %, port 20 %)",
        ),
        ({"array": 50, "alu": 30, "dram": 20}, 60, {}, "no unit is busy throughout: array 50 % (vector unit 60 %)"),
        (
            {"fill_drain": 60, "array": 40}, 4, {("output", True): 9.0},
            "waits for the array to fill and drain: 60 % of its cycles (array 40 %)",
        ),
        ({"store": 99, "array": 1}, 0, {("output", True): 18}, "waits for its stores: 99 % of its cycles (port 18 %)"),
        ({"dispatch": 100}, 0, {}, "waits for instructions and tokens: 100 % of its cycles"),
    ],
)  # fmt: skip
def test_the_line_names_what_holds_the_layer_up(
    parts: dict[str, int], vector: int, port: dict[tuple[str, bool], float], line: str
) -> None:
    assert verdict(split(**parts), vector, port) == line
    assert any(re.fullmatch(pattern, line) for pattern in LINES)


def measured(tasks: list[Task], **changes: Any) -> tuple[Trace, Arch]:
    arch = machine(rate=Fraction(8), burst=64, latency=100, outstanding=100, **changes)
    return simulate(tasks, arch), arch


def test_port_cycles_are_those_of_the_bursts() -> None:
    """A load of 100 bursts, then a store of 20, eight cycles each; 3 words come in two bursts."""
    trace, arch = measured([load(6400), sync(Unit.LOAD), store(1280)])
    port = PortUse(trace, arch, [0, 0, 1], [Memory.WGT, None, None])
    whole = port.cycles(0, 0, trace.cycles)
    assert whole == {
        ("weight", True): pytest.approx(800), ("output", False): pytest.approx(160),
        ("instruction", True): pytest.approx(32 / 3), ("instruction", False): pytest.approx(16 / 3),
    }  # fmt: skip
    assert list(whole.values()) == sorted(whole.values(), reverse=True)
    first, last = int(trace.started[0]), int(trace.free[0])
    middle = (first + last) // 2
    parts = [port.cycles(0, start, stop) for start, stop in ((0, middle), (middle, trace.cycles))]
    assert sum(part["weight", True] for part in parts) == pytest.approx(800)
    assert parts[0]["weight", True] == pytest.approx(400, abs=8)
    assert port.cycles(1, 0, trace.cycles)["output", True] == pytest.approx(160)


def test_loads_are_named_by_where_they_go() -> None:
    trace, arch = measured([load(64), load(64), load(64), load(64)])
    into = [Memory.UB, Memory.WGT, Memory.PARAM, None]
    kinds = {kind for kind, _ in PortUse(trace, arch, [0] * 4, into).cycles(0, 0, trace.cycles)}
    assert kinds == {"activation", "weight", "parameter", "load", "instruction"}
    unknown = {kind for kind, _ in PortUse(trace, arch, [0] * 4).cycles(0, 0, trace.cycles)}
    assert unknown == {"load", "instruction"}


def test_vector_cycles_count_under_a_running_array() -> None:
    trace, _ = measured([gemm(1, 4, 500), alu(100, 4), alu(50, 4)])
    busy = np.zeros(trace.cycles, bool)
    for index in (1, 2):
        busy[trace.accepted[index] : trace.landed[index] + 1] = True
    for start, stop in ((0, trace.cycles), (0, 0), (150, 290)):
        assert vector_cycles(trace, start, stop) == busy[start:stop].sum()
    assert trace.cycle_split(0, trace.cycles)["alu"] < busy.sum()


def test_lines_of_whole_layers() -> None:
    """One layer each: streaming weights, long rows, long vectors, one lonely burst after the other."""
    for tasks, line in [
        ([load(64000), load(64000)], "bound by weight traffic: 99 % of the port"),
        ([gemm(1, 4, 4000)], "bound by the array"),
        ([gemm(1000, 4, 1)], "bound by shifting weights into the array"),
        ([alu(4000, 4)], "bound by the vector unit"),
        ([task for _ in range(9) for task in (load(64), sync(Unit.LOAD))], "waits for DRAM latency"),
    ]:
        trace, arch = measured(tasks)
        port = PortUse(trace, arch, [0] * len(tasks), [Memory.WGT] * len(tasks)).cycles(0, 0, trace.cycles)
        vector = vector_cycles(trace, 0, trace.cycles)
        assert verdict(trace.cycle_split(0, trace.cycles), vector, port).startswith(line)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1"])
def test_every_layer_of_lenet_is_explained(name: str, batch: int) -> None:
    result = accelsim.run("lenet", arch=name, batch=batch, timing_only=True)
    own = 0
    for row in result.rows:
        assert list(row["cycle_split"]) == list(CATEGORIES)
        assert sum(row["cycle_split"].values()) == row["cycles"]
        if row["verdict"] is None:
            assert row["cycles"] == 0
        else:
            own += 1
            assert any(re.fullmatch(pattern, row["verdict"]) for pattern in LINES), row["verdict"]
            assert len(row["verdict"]) <= 110
    assert own == len(result.program.layers)
    assert sum(row["cycles"] for row in result.rows) == result.report["totals"]["cycles"]


def test_what_lenet_is_bound_by() -> None:
    """On tiny the convolutions keep 16 multipliers busy; on edge the weights of fc1 keep the port busy."""
    tiny = {row["name"]: row["verdict"] for row in accelsim.run("lenet", arch="tiny", timing_only=True).rows}
    edge = {row["name"]: row["verdict"] for row in accelsim.run("lenet", arch="edge", timing_only=True).rows}
    assert tiny["conv1"].startswith("bound by the array")
    assert tiny["conv2"].startswith("bound by the array")
    assert edge["fc1"].startswith("bound by weight traffic")
    assert edge["pool2"].startswith("bound by the vector unit")
    assert edge["softmax"] is None


def test_without_time_nothing_is_explained() -> None:
    result = accelsim.run("lenet", level="functional")
    assert {row["verdict"] for row in result.rows} == {None}


def test_run_prints_a_line_per_layer() -> None:
    lines = command("run", "lenet", "--timing-only").stdout.splitlines()
    told = [line for line in lines if any(re.fullmatch(pattern, line[8:].strip()) for pattern in LINES)]
    assert [line.split()[0] for line in told] == ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"]
    assert max(map(len, told)) <= 120
    assert "bound by the" not in command("run", "lenet", "--level", "functional").stdout
