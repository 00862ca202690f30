"""Power over time against a loop over cycles."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accelsim
from accelsim.actions import Action, Counts, count_actions
from accelsim.arch import Arch
from accelsim.machine_file import load_arch
from accelsim.power import peak_window
from accelsim.trace import ArrayPhases, Trace
from tests.oracles.energy import prices, static_mw


def power_by_cycle(trace: Trace, counts: Counts, arch: Arch) -> np.ndarray:
    """pJ spent in each cycle, instruction by instruction."""
    price = prices(arch)
    spent = np.zeros(trace.cycles)
    for index, row in enumerate(counts):
        fetch = row[Action.DRAM_FETCH] * price["dram_fetch"] + row[Action.INSTRUCTION] * price["instruction"]
        whole = sum(int(row[action]) * price[action.name.lower()] for action in Action)
        for start, stop, pj in (
            (trace.started[index], trace.landed[index], whole - fetch),
            (trace.requested[index], trace.arrived[index], fetch),
        ):
            stop = max(start, stop) + 1
            spent[start:stop] += pj / (stop - start)
    return spent + sum(static_mw(arch).values()) * 1e9 / float(arch.clock_hz)


def costliest(spent: np.ndarray, window: int) -> float:
    """The largest sum of ``window`` cycles in a row."""
    return max(spent[first : first + window].sum() for first in range(len(spent) - window + 1))


@pytest.mark.parametrize("window", ["2 ns", "100 ns", "1 us", "3.3 us", "1 ms"])
@pytest.mark.parametrize("machine", ["tiny", "edge"])
def test_the_peak_of_a_run(machine: str, window: str) -> None:
    arch = load_arch(machine, {"energy.window": window, "energy.static_mw": 2})
    result = accelsim.run("lenet", arch=arch, timing_only=True)
    trace, counts = result.trace, count_actions(result.program.instructions, arch)
    assert trace is not None
    peak = peak_window(trace, counts, arch)
    spent = power_by_cycle(trace, counts, arch)
    assert peak.cycles == min(trace.cycles, round(arch.energy.window_ns * Fraction(1, 2)))
    assert peak.pj == pytest.approx(costliest(spent, peak.cycles), rel=1e-5)
    assert spent[peak.start : peak.start + peak.cycles].sum() == pytest.approx(peak.pj, rel=1e-5)
    assert spent.sum() == pytest.approx(result.report["totals"]["energy_pj"], rel=1e-5)
    watts = peak.pj * 1e-12 / (peak.cycles * 2e-9)
    power = result.report["energy"]["power"]
    assert power["peak_w"] == pytest.approx(watts)
    assert power["window_us"] == pytest.approx(peak.cycles * 0.002)
    assert power["peak_start_us"] == pytest.approx(peak.start * 0.002)


@st.composite
def traces(draw: st.DrawFn) -> tuple[Trace, Counts]:
    """Instructions at any time that do anything."""
    count = draw(st.integers(1, 6))
    times = st.lists(st.integers(0, 60), min_size=count, max_size=count)
    requested, started = np.array(draw(times)), np.array(draw(times))
    arrived, landed = requested + np.array(draw(times)), started + np.array(draw(times))
    nothing = np.zeros(0, np.int64)
    zero = np.zeros(count, np.int64)
    trace = Trace(
        unit=zero, kind=zero, requested=requested, arrived=arrived, dispatched=arrived,
        token_ready=zero, token_unit=zero, asked=started, accepted=started, started=started, free=started,
        landed=np.maximum(landed, arrived), bursts=zero, port_bursts=(0, 0, 0),
        array=ArrayPhases(
            index=nothing, load=nothing, stream=nothing, count=nothing, period=nothing, streaming=nothing,
            loading=nothing,
        ),
    )  # fmt: skip
    counts = np.array(draw(st.lists(
        st.lists(st.integers(0, 9), min_size=len(Action), max_size=len(Action)), min_size=count, max_size=count,
    )))  # fmt: skip
    return trace, counts


@given(traces(), st.integers(1, 200))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_peak_of_anything(case: tuple[Trace, Counts], window: int) -> None:
    trace, counts = case
    arch = load_arch("tiny", {"energy.window": f"{2 * window} ns"})
    peak = peak_window(trace, counts, arch)
    spent = power_by_cycle(trace, counts, arch)
    assert peak.cycles == min(window, trace.cycles)
    assert peak.pj == pytest.approx(costliest(spent, peak.cycles), rel=1e-5)
