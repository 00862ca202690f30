"""What a layer's line says, on traces made for it, and on LeNet on every machine."""

from __future__ import annotations

import re
from dataclasses import replace
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
from accelsim.verdict import Busy, PortUse, busy, vector_cycles, verdict
from tests.command_line import accelsim as command
from tests.hw.cases import alu, gemm, load, machine, store, sync

LINES = [
    r"bound by (weight|activation|parameter|output|instruction) traffic: \d+ % of the port(, \d+ % of that for other "
    r"layers)?",
    r"bound by DRAM traffic: \d+ % of the port \(\w+ \d+ %(, \w+ \d+ %)*\)(, \d+ % of that for other layers)?",
    r"bound by (the array|the vector unit|shifting weights into the array): busy in \d+ % of its cycles"
    r"(, shifting weights in \d+ %)?(, \d+ % of that for other layers)?",
    r"waits for [\w' ]+: \d+ % of its cycles( \([\w %,:;]+\))?",
    r"array( for other layers)? \d+ % of its cycles(, ([a-z ]+ )?waits for [\w' ]+ \d+ %)?( \([\w %,:;]+\))?",
    r"hidden behind its neighbours",
]


def split(**cycles: int) -> dict[str, int]:
    assert set(cycles) <= set(CATEGORIES)
    return {name: cycles.get(name, 0) for name in CATEGORIES}


@pytest.mark.parametrize(
    ("parts", "used", "port", "line"),
    [
        ({}, Busy(), {}, "hidden behind its neighbours"),
        (
            {"array": 97, "dram": 3}, Busy(97, 50, 50), {("weight", False): 100.0},
            "bound by the array: busy in 97 % of its cycles",
        ),
        (
            {"array": 70, "weight_load": 10, "dram": 20}, Busy(60, 50, 50), {},
            "bound by the array: busy in 80 % of its cycles, shifting weights in 10 %, 25 % of that for other layers",
        ),
        (
            {"array": 6, "weight_load": 90, "dram": 4}, Busy(96, 5, 5), {},
            "bound by shifting weights into the array: busy in 96 % of its cycles, shifting weights in 90 %",
        ),
        # On a tie the unit wins that the layer itself uses, or uses more.
        ({"array": 100}, Busy(0, 100, 100), {}, "bound by the vector unit: busy in 100 % of its cycles"),
        (
            {"array": 100}, Busy(60, 100, 100), {("weight", True): 70.0, ("weight", False): 30.0},
            "bound by the vector unit: busy in 100 % of its cycles",
        ),
        ({"array": 100}, Busy(100, 100, 0), {}, "bound by the array: busy in 100 % of its cycles"),
        (
            {"array": 100}, Busy(0, 50, 50), {("weight", False): 100.0},
            "array for other layers 100 % of its cycles (vector unit 50 %; for other layers: port 100 %)",
        ),
        ({"array": 20, "alu": 80}, Busy(20, 95, 95), {}, "bound by the vector unit: busy in 95 % of its cycles"),
        (
            {"dram": 99}, Busy(), {("weight", True): 93.0, ("output", True): 2.0},
            "bound by weight traffic: 94 % of the port",
        ),
        (
            {"dram": 100}, Busy(), {("weight", True): 60.0, ("weight", False): 30.0},
            "bound by weight traffic: 90 % of the port, 33 % of that for other layers",
        ),
        (
            {"dram": 100}, Busy(), {("weight", True): 45.0, ("output", True): 40.0, ("instruction", True): 1.0},
            "bound by DRAM traffic: 86 % of the port (weight 45 %, output 40 %)",
        ),
        (
            {"array": 30, "dram": 70}, Busy(30), {("weight", False): 80.0, ("activation", True): 10.0},
            "waits for its data behind other layers' traffic: 70 % of its cycles (array 30 %; "
            "for other layers: port 90 %)",
        ),
        # Behind the array comes what the layer waits for; the share is the one that was compared with BOUND.
        (
            {"array": 50, "weight_load": 10, "dram": 40}, Busy(60, 20, 20), {("weight", False): 130.0},
            "array 60 % of its cycles, waits for its data behind other layers' traffic 40 % (shifting weights 10 %, "
            "vector unit 20 %; for other layers: port 100 %)",
        ),
        (
            {"array": 51, "dispatch": 29, "dram": 20}, Busy(51), {},
            "array 51 % of its cycles, waits for instructions and tokens 29 %",
        ),
        (
            {"array": 60, "alu": 22, "dram": 18}, Busy(60, 30, 30, 70, "load"), {},
            "array 60 % of its cycles, load waits for banks of UB 70 % (vector unit 30 %)",
        ),
        (
            {"array": 60, "alu": 30, "dram": 10}, Busy(60, 30, 30, 12, "array"), {},
            "array 60 % of its cycles, waits for the vector unit 30 % (vector unit 30 %, banks of UB 12 %)",
        ),
        (
            {"array": 30, "dram": 45, "alu": 25}, Busy(30, 30, 30), {("weight", True): 20.0},
            "waits for DRAM latency: 45 % of its cycles (array 30 %, vector unit 30 %, port 20 %)",
        ),
        (
            {"fill_drain": 60, "array": 40}, Busy(40, 4, 4), {("output", True): 9.0},
            "waits for the array to fill and drain: 60 % of its cycles (array 40 %)",
        ),
        (
            {"store": 99, "array": 1}, Busy(1), {("output", True): 18},
            "waits for its stores: 99 % of its cycles (port 18 %)",
        ),
        ({"dispatch": 100}, Busy(), {}, "waits for instructions and tokens: 100 % of its cycles"),
    ],
)  # fmt: skip
def test_the_line_names_what_holds_the_layer_up(
    parts: dict[str, int], used: Busy, port: dict[tuple[str, bool], float], line: str
) -> None:
    assert verdict(split(**parts), used, port) == line
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
        used = busy(trace, [0] * len(tasks), 0, 0, trace.cycles)
        assert verdict(trace.cycle_split(0, trace.cycles), used, port).startswith(line)


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_array_time_is_that_of_the_own_gemms(dataflow: str) -> None:
    """Gemms of two layers in turn: the own and the others' sum to the split, and alone they are all of it."""
    tasks = [gemm(3, 4, 30), gemm(1, 2, 50), gemm(2, 4, 9), gemm(40, 4, 1)]
    trace, _ = measured(tasks, dataflow=dataflow)
    layers = [0, 1, 0, 1]
    for start, stop in ((0, trace.cycles), (20, 95), (70, 71), (0, 0), (100, 300)):
        parts = trace.cycle_split(start, stop)
        shares = [busy(trace, layers, layer, start, stop).own_array for layer in (0, 1, 2)]
        assert shares[0] + shares[1] == parts["array"] + parts["weight_load"]
        assert shares[2] == 0
    if dataflow == "ws":  # rows and, before the first tile, its weights
        whole = busy(trace, layers, 0, 0, trace.cycles).own_array
        first = int(trace.array.stream[1]) - int(trace.array.load[0])
        assert whole >= 3 * 30 + 2 * 9
        assert busy(trace, layers, 0, 0, int(trace.array.load[0]) + first).own_array == first


def test_bank_waits_are_those_of_the_own_instructions() -> None:
    """A gemm waits until the alu instruction before it has left the bank."""
    first, second = replace(alu(100, 4), banks=1), replace(gemm(1, 4, 20), banks=1)
    trace, _ = measured([first, second])
    waited = int(trace.accepted[1] - trace.asked[1])
    assert waited > 50
    whole = busy(trace, [0, 1], 1, 0, trace.cycles)
    assert (whole.bank, whole.waiting, whole.vector, whole.own_vector) == (waited, "array", 105, 0)
    assert busy(trace, [0, 1], 1, 0, int(trace.asked[1]) + 7).bank == 7
    assert busy(trace, [0, 1], 0, 0, trace.cycles).bank == 0


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
            assert len(row["verdict"]) <= 150
    assert own == len(result.program.layers)
    assert sum(row["cycles"] for row in result.rows) == result.report["totals"]["cycles"]


ARRAY, VECTOR, WEIGHTS = "bound by the array", "bound by the vector unit", "bound by weight traffic"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("tiny", [ARRAY, VECTOR, ARRAY, VECTOR, WEIGHTS, WEIGHTS, "bound by shifting weights into the array"]),
        ("edge", [ARRAY, VECTOR, ARRAY, VECTOR, WEIGHTS, WEIGHTS, "waits for its stores"]),
    ],
)
def test_what_lenet_is_bound_by(name: str, lines: list[str]) -> None:
    """While pool1 ends, conv2 streams already: that is not what pool1 is bound by."""
    rows = accelsim.run("lenet", arch=name, timing_only=True).rows
    told = [row["verdict"] for row in rows if row["verdict"] is not None]
    assert [line[: len(start)] for line, start in zip(told, lines, strict=True)] == lines, told


@pytest.mark.parametrize(
    ("name", "key", "value", "layer", "pattern"),
    [
        ("edge", "dram.outstanding", 1, "conv1", r"array \d+ % of its cycles, waits for DRAM latency \d+ % \(.*"),
        ("edge", "ub.ports", "shared", "conv1", r"array \d+ % of its cycles, vector unit waits for banks of UB .*"),
    ],
)
def test_behind_the_array_the_wait_is_named(name: str, key: str, value: Any, layer: str, pattern: str) -> None:
    arch = accelsim.load_arch(name).replace({key: value})
    (row,) = [row for row in accelsim.run("lenet", arch=arch, timing_only=True).rows if row["name"] == layer]
    assert re.fullmatch(pattern, row["verdict"]), row["verdict"]
    share = (row["cycle_split"]["array"] + row["cycle_split"]["weight_load"]) / row["cycles"]
    assert row["verdict"].startswith(f"array {100 * share:.0f} %")


def test_without_time_nothing_is_explained() -> None:
    result = accelsim.run("lenet", level="functional")
    assert {row["verdict"] for row in result.rows} == {None}


def test_run_prints_a_line_per_layer() -> None:
    lines = command("run", "lenet", "--timing-only").stdout.splitlines()
    told = [line for line in lines if any(re.fullmatch(pattern, line[8:].strip()) for pattern in LINES)]
    assert [line.split()[0] for line in told] == ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"]
    assert max(map(len, told)) <= 120
    assert "bound by the" not in command("run", "lenet", "--level", "functional").stdout
