"""What is read off a trace, against a look at every single cycle."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import Arch
from accelsim.cyclesplit import CATEGORIES
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import ArrayWork, FillWork, HaltWork, Task, TransferWork, Unit, VectorWork
from accelsim.trace import Span, Trace
from tests.hw.cases import alu, gemm, halt, load, machine, runs, store
from tests.oracles.machine import TileLoop


def wait_in(trace: Trace, tasks: list[Task], unit: Unit, cycle: int) -> tuple[int, str]:
    """What the unit is doing in one cycle: instruction and wait ("" is busy)."""
    mine = [i for i, task in enumerate(tasks) if task.unit == unit]
    done = [i for i in mine if trace.accepted[i] <= cycle]
    if done and cycle <= trace.landed[done[-1]]:
        return done[-1], ""
    if len(done) == len(mine):
        return -1, "done"
    index = mine[len(done)]
    if cycle <= trace.dispatched[index]:
        fetching = trace.requested[index] <= cycle <= trace.arrived[index]
        return index, "port" if fetching else "queue"
    seen = dict.fromkeys(Unit, 0)
    last, ready = None, -1
    for giver in tasks[index].waits:
        number = sum(1 for i in mine if i < index and giver in tasks[i].waits)
        signals = [i for i, task in enumerate(tasks) if task.unit == giver and unit in task.signals]
        seen[giver] = trace.landed[signals[number]]
        if seen[giver] > ready:
            last, ready = giver, seen[giver]
    if last is not None and cycle <= ready:
        return index, f"token:{last.name.lower()}"
    assert isinstance(tasks[index].work, HaltWork), "nothing else waits with all tokens there"
    return index, "drain"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(runs())
def test_spans_tile_every_unit_and_name_every_cycle(run: tuple[list[Task], Arch]):
    tasks, arch = run
    trace = simulate(tasks, arch)
    for unit in Unit:
        spans = trace.spans(unit)
        assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
        assert spans[-1].stop == trace.cycles
        assert all(span.stop > span.start for span in spans)
        for before, after in pairwise(spans):
            assert (before.index, before.wait) != (after.index, after.wait)
        for span in spans:
            for cycle in range(span.start, span.stop):
                assert wait_in(trace, tasks, unit, cycle) == (span.index, span.wait)
        assert trace.busy_cycles(unit) == sum(s.stop - s.start for s in spans if not s.wait)
        waits: dict[str, int] = {}
        for span in spans:
            if span.wait:
                waits[span.wait] = waits.get(span.wait, 0) + span.stop - span.start
        assert trace.wait_cycles(unit) == waits


def categories(trace: Trace, tasks: list[Task], arch: Arch) -> list[str]:
    """The category of every cycle."""
    array, weights, pauses = set(), set(), set()
    loop = TileLoop(arch.array)
    for i, task in enumerate(tasks):
        if isinstance(task.work, ArrayWork):
            loop.gemm(task.work, int(trace.accepted[i]))
            for at in loop.streams:
                array.update(range(at, at + loop.length))
            depth = arch.array.rows if arch.array.overlap == "none" else task.work.k
            for at in loop.loads if arch.array.dataflow == "ws" else []:
                weights.update(range(at, at + depth))
            pauses.update(range(loop.streams[0], loop.streams[-1]))
    flights = {name: set() for name in CATEGORIES}
    for i, task in enumerate(tasks):
        flight = range(trace.accepted[i], trace.landed[i] + 1)
        match task.work:
            case ArrayWork():
                flights["fill_drain"].update(flight)
            case VectorWork():
                flights["alu"].update(flight)
            case TransferWork(write=True):
                flights["store"].update(flight)
            case TransferWork() | FillWork():
                flights["dram"].update(flight)
    result = []
    for cycle in range(trace.cycles):
        if cycle in array:
            result.append("array")
        elif cycle in weights:
            result.append("weight_load")
        elif cycle in pauses:
            result.append("fill_drain")
        else:
            names = ("alu", "dram", "fill_drain", "store")
            result.append(next((name for name in names if cycle in flights[name]), "dispatch"))
    return result


@settings(max_examples=250, deadline=None, derandomize=True)
@given(runs(), st.data())
def test_cycle_split_counts_every_cycle_once(run: tuple[list[Task], Arch], data: st.DataObject):
    tasks, arch = run
    trace = simulate(tasks, arch)
    names = categories(trace, tasks, arch)
    cuts = sorted(data.draw(st.lists(st.integers(0, trace.cycles), max_size=4)))
    for start, stop in pairwise([0, *cuts, trace.cycles]):
        split = trace.cycle_split(start, stop)
        assert list(split) == list(CATEGORIES)
        assert split == {name: names[start:stop].count(name) for name in CATEGORIES}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(runs(), st.data())
def test_layers_tile_the_run(run: tuple[list[Task], Arch], data: st.DataObject):
    tasks, arch = run
    trace = simulate(tasks, arch)
    count = data.draw(st.integers(1, 4))
    layer_of = data.draw(st.lists(st.integers(-1, count - 1), min_size=len(tasks), max_size=len(tasks)))
    ends = trace.layer_ends(layer_of, count).tolist()
    end = 0
    for layer in range(count):
        last = [int(trace.landed[i]) + 1 for i in range(len(tasks)) if layer_of[i] == layer]
        end = max([end, *last])
        assert ends[layer] == (trace.cycles if layer == count - 1 else end)


def test_layers_by_hand():
    tasks = [load(64, signals=(Unit.GEMM,)), gemm(1, 4, 4, waits=(Unit.LOAD,)), alu(1, 1), halt()]
    trace = simulate(tasks, machine())
    ends = trace.layer_ends([0, 1, 0, -1], 3)
    assert ends.tolist() == [trace.landed[0] + 1, trace.landed[1] + 1, trace.cycles]
    assert trace.layer_ends([], 0).tolist() == []


def test_spans_by_hand():
    """A load, and a gemm that waits for it; every word comes in the first burst."""
    arch = machine(burst=64, rate=Fraction(64), latency=3)
    trace = simulate([load(64, signals=(Unit.GEMM,)), gemm(1, 4, 4, waits=(Unit.LOAD,))], arch)
    # Burst in cycle 0, words there in 3; load dispatched 4, accepted 5, moved 6, landed 9.
    assert trace.spans(Unit.LOAD) == [
        Span(Unit.LOAD, 0, 0, 4, "port"),
        Span(Unit.LOAD, 0, 4, 5, "queue"),
        Span(Unit.LOAD, 0, 5, 10),
        Span(Unit.LOAD, -1, 10, 28, "done"),
    ]
    # gemm dispatched 5, token usable 10, weights 11..14, rows 15..18, last write 15 + 4 + 4 + 4.
    assert trace.spans(Unit.GEMM) == [
        Span(Unit.GEMM, 1, 0, 4, "port"),
        Span(Unit.GEMM, 1, 4, 6, "queue"),
        Span(Unit.GEMM, 1, 6, 10, "token:load"),
        Span(Unit.GEMM, 1, 10, 28),
    ]
    assert trace.spans(Unit.ALU) == [Span(Unit.ALU, -1, 0, 28, "done")]
    assert trace.wait_cycles(Unit.GEMM) == {"port": 4, "queue": 2, "token:load": 4}
    assert trace.cycle_split(0, 28) == {
        "array": 4, "weight_load": 4, "alu": 0, "dram": 5, "fill_drain": 10, "store": 0, "dispatch": 5,
    }  # fmt: skip


def test_a_long_run_is_split_without_looking_at_cycles():
    tasks = [gemm(10**6, 4, 10**4), store(8)]
    trace = simulate(tasks, machine())
    split = trace.cycle_split(0, trace.cycles)
    assert split["array"] == 10**10
    assert sum(split.values()) == trace.cycles
    half = trace.cycles // 2
    parts = [trace.cycle_split(0, half), trace.cycle_split(half, trace.cycles)]
    assert {name: parts[0][name] + parts[1][name] for name in CATEGORIES} == split


def test_columns_are_int64():
    trace = simulate([load(8), halt()], machine())
    for name in ("unit", "kind", "requested", "arrived", "dispatched", "accepted", "started", "free", "landed"):
        assert getattr(trace, name).dtype == np.int64
    assert trace.bursts.tolist() == [1, 0]
    assert trace.port_bursts == (4, 1, 0)
