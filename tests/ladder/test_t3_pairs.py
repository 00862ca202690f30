"""Tier 3: two or three instructions that meet, counted by hand.

The machine: bursts of 64 bytes at 8 bytes a cycle (8 cycles each), latency 20. The first two words come in one burst,
cycles 0..7, and have arrived in 27; they are dispatched in 28 and 29 and may be accepted in 29 and 30.
"""

from __future__ import annotations

from fractions import Fraction

from accelsim.arch import Arch
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import Unit
from tests.hw.cases import alu, fill, gemm, halt, load, machine, store, sync


def plain(**changes) -> Arch:
    values = {"rate": Fraction(8), "burst": 64, "latency": 20, "outstanding": 16}
    return machine(**{**values, **changes})


def test_load_and_store_share_the_port():
    trace = simulate([load(192), store(192)], plain())
    assert trace.accepted.tolist() == [29, 30]
    # load 30, store 38, load 46, store 54, load 62 (ends 69), store 70 (ends 77)
    assert trace.started.tolist() == [30, 38]
    assert trace.free.tolist() == [62, 70]
    assert trace.landed.tolist() == [89, 97]


def test_fetch_takes_its_turn():
    """Two words fit the prefetch buffer, so the second burst is asked for when both are dispatched, in cycle 30."""
    trace = simulate([load(192), sync(Unit.LOAD), alu(1, 1)], plain(prefetch=2))
    assert trace.requested.tolist() == [0, 0, 30]
    # The load's first request is seen in 30, too, and fetch had the last burst: load 30, fetch 38, load 46, load 54.
    assert trace.arrived.tolist() == [27, 27, 65]
    assert trace.started[0] == 30
    assert trace.free[0] == 54
    assert trace.landed[0] == 81
    assert trace.accepted.tolist() == [29, 82, 67]


def test_loads_follow_without_a_gap():
    trace = simulate([load(128), load(128)], plain())
    # 30..37, 38..45 | 46..53, 54..61; the second is accepted when the first one's last burst is granted.
    assert trace.accepted.tolist() == [29, 38]
    assert trace.started.tolist() == [30, 46]
    assert trace.landed.tolist() == [65, 81]


def test_load_gemm_alu_store_pass_the_token_on():
    tasks = [
        load(64, signals=(Unit.GEMM,)),
        gemm(1, 4, 4, waits=(Unit.LOAD,), signals=(Unit.ALU,)),
        alu(4, 4, waits=(Unit.GEMM,), signals=(Unit.STORE,)),
        store(16, waits=(Unit.ALU,)),
        halt(),
    ]
    trace = simulate(tasks, plain())
    # load 30..37 lands 57; gemm weights 59, rows 63, lands 75; alu lands 76 + 4 + 4; store 86..93 lands 113.
    assert trace.accepted.tolist() == [29, 58, 76, 85, 114]
    assert trace.landed.tolist() == [57, 75, 84, 113, 114]
    assert trace.token_ready.tolist() == [-1, 58, 76, 85, -1]
    assert trace.token_unit.tolist() == [-1, Unit.LOAD, Unit.GEMM, Unit.ALU, -1]


def test_the_last_of_two_tokens_counts():
    tasks = [
        alu(50, 4, signals=(Unit.GEMM,)),
        load(64, signals=(Unit.GEMM,)),
        gemm(1, 1, 1, waits=(Unit.LOAD, Unit.ALU)),
    ]
    trace = simulate(tasks, plain())
    # alu lands 29 + 50 + 4; load lands 30 + 20 + 8.
    assert trace.landed[:2].tolist() == [83, 58]
    assert trace.accepted[2] == 84
    assert trace.token_unit[2] == Unit.ALU


def test_next_gemms_weights_come_in_under_the_rows():
    trace = simulate([gemm(1, 4, 9), gemm(1, 4, 9)], plain())
    # 29: weights 30..33, rows 34..42. Accepted again in 33; weights 34..37; rows from 43.
    assert trace.accepted.tolist() == [29, 33]
    assert trace.landed.tolist() == [34 + 9 + 8, 43 + 9 + 8]


def test_a_fill_lands_behind_the_load_before_it():
    trace = simulate([load(64), fill(2), fill(90)], plain())
    # The load is free in 30 and lands in 57. The first fill is written in 32 and lands in 57, too.
    assert trace.accepted.tolist() == [29, 30, 37]  # the third word comes with the second burst: 8..15, there in 35
    assert trace.landed.tolist() == [57, 57, 127]


def test_a_full_queue_holds_up_everybody_behind():
    trace = simulate([load(64), load(64), load(64), alu(1, 4)], plain(depth=1))
    # Dispatched 28; accepted 29, so the queue has room in 30. The second waits for the first's grant in 30 and leaves
    # in 31 (dispatched 30); room in 32. Third word: there since 35 (second burst 8..15), dispatched in 36; its unit
    # is free when the second load's only burst is granted, in 38.
    assert trace.dispatched.tolist() == [28, 30, 36, 37]
    assert trace.accepted.tolist() == [29, 31, 38, 38]


def test_sync_waits_for_the_unit_and_halt_for_all():
    tasks = [alu(100, 4), sync(Unit.ALU, signals=(Unit.STORE,)), load(64), halt(waits=(Unit.ALU,))]
    trace = simulate(tasks, plain())
    assert trace.landed[0] == 29 + 100 + 4
    assert trace.accepted[1] == trace.landed[1] == 134
    assert trace.accepted[3] == trace.landed[3] == 135
    assert trace.cycles == 136
