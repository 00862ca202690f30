"""Tier 2: one instruction on the machine ``tiny``, every number worked out by hand.

tiny: 4x4 array, 4 bytes a cycle, bursts of 16 bytes, latency 10, 4 lanes, alu latency 4. An instruction word takes two
bursts: cycles 0..3 and 4..7; it has arrived in 17, is dispatched in 18 and accepted in 19.
"""

from __future__ import annotations

import pytest

from accelsim.hw.machine import simulate
from accelsim.isa.protocol import Task, Unit
from tests.hw.cases import alu, fill, gemm, halt, load, machine, store, sync


@pytest.mark.parametrize(
    ("task", "started", "free", "landed"),
    [
        # One burst, cycles 20..23, and ten more.
        (load(1), 20, 20, 33),
        # Four bursts, granted 20, 24, 28, 32; the last ends in 35.
        (load(64), 20, 32, 45),
        # Not aligned: five bursts.
        (load(64, start=8), 20, 36, 49),
        # Three runs of 2 bytes, 32 apart, the second byte of each in the next burst: six bursts, 20..43.
        (load(2, start=15, loops=((3, 32),)), 20, 40, 53),
        (store(64), 20, 32, 45),
        # Weights 20..23, rows 24..27, the last sum is written 8 cycles after the row behind the last would enter.
        (gemm(1, 4, 4), 20, 23, 36),
        # Three tiles of 2 rows and 5 activations: streams at 22, 27, 32; last weights 27..28.
        (gemm(3, 2, 5), 20, 28, 45),
        # Weight-bound: streams at 24, 28; last weights 24..27.
        (gemm(2, 4, 1), 20, 27, 37),
        # Ten vectors, four pipeline stages.
        (alu(10, 4), 20, 34, 33),
        # Two vectors a row, two operands from one memory: 3 * 2 * 2 steps.
        (alu(3, 5, reads=2), 20, 36, 35),
        (fill(7), 20, 26, 26),
        (sync(Unit.LOAD), 19, 20, 19),
        (sync(Unit.GEMM), 19, 20, 19),
        (halt(Unit.ALU), 19, 20, 19),
    ],
)
def test_single_instruction(task: Task, started: int, free: int, landed: int):
    trace = simulate([task], machine())
    assert trace.requested.tolist() == [0]
    assert trace.arrived.tolist() == [17]
    assert trace.dispatched.tolist() == [18]
    assert trace.accepted.tolist() == [19]
    assert trace.started.tolist() == [started]
    assert trace.free.tolist() == [free]
    assert trace.landed.tolist() == [landed]
    assert trace.cycles == landed + 1


@pytest.mark.parametrize(
    ("dataflow", "weights", "overlap", "load_at", "free", "landed"),
    [
        # Two tiles of k 2, m 3 (ws); one block of 3 rows, reduction 4 (os).
        ("ws", "shadow", "full", 20, 23, 36),  # streams 22, 25; last weights 22..23
        ("ws", "single", "full", 20, 26, 38),  # streams 22, 27; last weights 25..26
        ("ws", "shadow", "none", 20, 53, 52),  # stream 24, lands 35; weights 37..40, stream 41, lands 52
        ("os", "shadow", "full", 20, 23, 36),  # rows 20..23, drained 12 cycles on
        ("os", "single", "full", 20, 23, 36),
        ("os", "shadow", "none", 20, 37, 36),
    ],
)
def test_single_gemm_on_every_array(dataflow, weights, overlap, load_at, free, landed):
    trace = simulate([gemm(2, 2, 3)], machine(dataflow=dataflow, weights=weights, overlap=overlap))
    assert (trace.started[0], trace.free[0], trace.landed[0]) == (load_at, free, landed)
