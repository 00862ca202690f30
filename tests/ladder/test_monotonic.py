"""Tier 4, whole networks: nothing beats the bound, and a better machine is never slower by more than a few bursts."""

from __future__ import annotations

from fractions import Fraction

import pytest

from accelsim.hw.machine import simulate
from accelsim.nn.facts import network_facts
from accelsim.report import bound
from tests.ladder.networks import CASES, WORKLOADS, case

FASTER = [
    ("more bandwidth", Fraction(3, 2), Fraction(1)),
    ("twice the bandwidth", Fraction(2), Fraction(1)),
    ("four times the bandwidth", Fraction(4), Fraction(1)),
    ("half the latency", Fraction(1), Fraction(1, 2)),
    ("a quarter of the latency", Fraction(1), Fraction(1, 4)),
    ("no latency", Fraction(1), Fraction(0)),
    ("both", Fraction(2), Fraction(0)),
]


@pytest.mark.parametrize(("workload", "name", "settings", "batch"), CASES)
def test_no_run_beats_the_bound_and_a_faster_memory_does_not_slow_it_down(
    workload: str, name: str, settings: tuple[tuple[str, str], ...], batch: int
) -> None:
    compiled = case(workload, name, settings, batch)
    arch, cycles = compiled.arch, compiled.trace.cycles
    least, _ = bound(arch, network_facts(compiled.graph, batch))
    assert 0 < least <= cycles
    rate, latency = arch.dram.bytes_per_cycle, arch.dram.latency
    allowed = Fraction(101, 100) * cycles + latency + 4 * arch.dram.burst_bytes / rate
    for better, bandwidth, delay in FASTER:
        changes = {"dram.bytes_per_cycle": rate * bandwidth, "dram.latency": int(latency * delay)}
        machine = arch.replace(changes)
        faster = simulate(compiled.tasks, machine).cycles
        assert faster <= allowed, better
        assert faster >= bound(machine, network_facts(compiled.graph, batch))[0], better
        if better == "both":
            assert faster < cycles, "at least this must help"


@pytest.mark.parametrize("memory", ["ub", "wgt", "acc", "param"])
@pytest.mark.parametrize("name", ["tiny", "edge", "mid"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_larger_buffer_does_not_slow_a_network_down(workload: str, name: str, memory: str) -> None:
    small = case(workload, name)
    doubled = ((f"{memory}.size", 2 * getattr(small.arch, f"{memory}_bytes")),)
    assert case(workload, name, doubled).trace.cycles <= 1.02 * small.trace.cycles
