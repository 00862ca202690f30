"""Tier 4: what can be streamed reaches the roof, what cannot loses what it should."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accelsim.arch import Arch
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import Unit
from accelsim.machine_file import load_arch
from tests.hw.cases import alu, gemm, load, machine, store


def edge(**changes) -> Arch:
    values = {"rows": 16, "cols": 16, "lanes": 16, "rate": Fraction(8), "burst": 64, "latency": 100}
    return machine(**{**values, "outstanding": 16, **changes})


@pytest.mark.parametrize(
    ("rate", "outstanding"), [(Fraction(8), 16), (Fraction(16), 32), (Fraction(340, 7), 128), (Fraction(7, 3), 16)]
)
def test_a_streaming_load_fills_the_port(rate: Fraction, outstanding: int):
    arch, size, count = edge(rate=rate, outstanding=outstanding), 1 << 16, 60
    trace = simulate([load(size) for _ in range(count)], arch)
    assert size * count / trace.cycles >= 0.99 * float(rate)
    moved = sum(trace.port_bursts) * 64
    assert moved <= rate * trace.cycles


@pytest.mark.parametrize("name", ["tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1"])
def test_every_shipped_machine_streams_at_its_rate(name: str):
    arch = load_arch(name)
    size, count = 1 << 16, 60
    trace = simulate([load(size) for _ in range(count)], arch)
    rate = size * count / trace.cycles
    assert 0.99 * float(arch.dram.bytes_per_cycle) <= rate <= float(arch.dram.bytes_per_cycle)


def test_loads_and_stores_together_fill_the_port():
    arch, size, count = edge(), 1 << 14, 60
    tasks = [task for _ in range(count) for task in (load(size), store(size))]
    trace = simulate(tasks, arch)
    assert 2 * size * count / trace.cycles >= 0.99 * 8
    # And neither starves: they end within two bursts of each other.
    assert abs(int(trace.landed[-1] - trace.landed[-2])) <= 16


def test_short_runs_pay_whole_bursts():
    trace = simulate([load(5, loops=((4096, 64),))], edge())
    assert trace.bursts[0] == 4096
    busy = int(trace.landed[0] - trace.accepted[0]) - 100
    assert busy == 4096 * 8  # 5 of 64 bytes are used


@pytest.mark.parametrize(
    ("pitch", "burst", "bursts"),
    [
        (5, 64, 5 * 4096 // 64),  # the runs continue each other: nothing is lost
        (32, 64, 4096),  # two runs in each burst, and both pay for it: 5 of 64 bytes
        (640, 64, 4096),  # 5 of 64 bytes
        (61, 64, 4096 + 4096 * 4 // 64),  # of 64 starts modulo 64, four (60 .. 63) reach into the next burst
        (61, 16, 4096 + 4096 * 4 // 16),
        (61, 4, 2 * 4096),  # five bytes always touch two bursts of four
    ],
)
def test_five_byte_runs_lose_what_they_do_not_use(pitch: int, burst: int, bursts: int):
    arch = edge(burst=burst, outstanding=10_000)
    trace = simulate([load(5, loops=((4096, pitch),))], arch)
    assert trace.bursts[0] == bursts
    assert trace.landed[0] - trace.accepted[0] == -(-bursts * burst // 8) + 100
    useful = 5 * 4096 / (bursts * burst)
    assert 5 * 4096 / (trace.landed[0] - trace.accepted[0] - 100) == pytest.approx(8 * useful, rel=0.001)


def test_few_outstanding_bursts_are_bound_by_latency():
    trace = simulate([load(64 * 100)], edge(outstanding=2))
    # Two bursts in flight; each is 8 cycles of port and 100 of latency, and its room is seen the cycle after.
    assert trace.landed[0] - trace.accepted[0] == pytest.approx(100 / 2 * 108, rel=0.02)


@pytest.mark.parametrize(("k", "m"), [(16, 16), (16, 100), (16, 1), (3, 7), (7, 3)])
@pytest.mark.parametrize("tiles", [1, 9])
def test_gemms_back_to_back(k: int, m: int, tiles: int):
    count = 200
    trace = simulate([gemm(tiles, k, m) for _ in range(count)], edge(prefetch=64, rate=Fraction(32), outstanding=99))
    beat = tiles * max(k, m)
    assert set(np.diff(trace.accepted[20:]).tolist()) == {beat}
    streaming = trace.cycle_split(int(trace.accepted[20]), int(trace.accepted[-1]))
    assert streaming["array"] == pytest.approx((count - 21) * tiles * m, abs=2 * max(k, m))


def test_a_batch_of_one_moves_a_weight_row_a_cycle():
    rows = 16
    trace = simulate([gemm(1000, rows, 1)], edge())
    assert trace.landed[0] - trace.accepted[0] == 1000 * rows + 1 + 1 + 32


def test_the_vector_unit_does_a_vector_a_cycle():
    trace = simulate([alu(1000, 16) for _ in range(20)], edge())
    assert trace.cycle_split(int(trace.accepted[0]), trace.cycles)["alu"] == 20 * (1000 + 4 + 1)
    assert trace.wait_cycles(Unit.ALU) == {"port": 108, "queue": 1}
