"""The machine in time against one loop over clock cycles, and what must hold on every run."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import Arch
from accelsim.errors import DeadlockError
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import HaltWork, SyncWork, Task, Unit
from tests.hw.cases import alu, fill, gemm, halt, load, machine, machines, runs, store, sync, task_lists
from tests.oracles.machine import SteppedMachine

COLUMNS = ("requested", "arrived", "dispatched", "asked", "accepted", "started", "free", "landed")


def assert_equal_to_stepped(tasks: list[Task], arch: Arch) -> None:
    oracle = SteppedMachine(tasks, arch)
    oracle.run()
    trace = simulate(tasks, arch)
    for column in COLUMNS:
        assert getattr(trace, column).tolist() == getattr(oracle, column), column
    per_requester = [sum(1 for burst in oracle.port.bursts if burst.requester == who) for who in range(3)]
    assert list(trace.port_bursts) == per_requester


@settings(max_examples=350, deadline=None, derandomize=True)
@given(runs())
def test_equal_to_the_stepped_machine(run: tuple[list[Task], Arch]):
    assert_equal_to_stepped(*run)


@pytest.mark.parametrize("prefetch", [1, 2, 16])
@pytest.mark.parametrize("burst", [16, 64])
@pytest.mark.parametrize("rate", [Fraction(4), Fraction(340, 7), Fraction(3, 7)])
def test_equal_on_a_pipeline(prefetch: int, burst: int, rate: Fraction):
    tasks = []
    for step in range(12):
        tasks.append(load(48, waits=(Unit.GEMM,) if step > 1 else (), signals=(Unit.GEMM,)))
        tasks.append(gemm(2, 4, 3, waits=(Unit.LOAD,), signals=(Unit.LOAD, Unit.ALU)))
        tasks.append(alu(3, 4, waits=(Unit.GEMM,), signals=(Unit.STORE,)))
        tasks.append(store(20, start=3, waits=(Unit.ALU,)))
    arch = machine(prefetch=prefetch, burst=burst, rate=rate, depth=2)
    assert_equal_to_stepped([*tasks, halt()], arch)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(machines(), st.data())
def test_any_service_time_and_queue_depth_runs_to_the_end_in_order(arch: Arch, data: st.DataObject):
    tasks = data.draw(task_lists(arch.array.rows))
    depths = data.draw(st.lists(st.integers(1, 5), min_size=4, max_size=4))
    seed = data.draw(st.randoms(use_true_random=False))

    def service(index: int, task: Task, accepted: int) -> tuple[int, int] | None:
        landed = accepted + seed.randrange(1, 50)
        return seed.randrange(accepted + 1, landed + 2), landed

    order: list[int] = []
    trace = simulate(tasks, arch, on_land=order.append, service=service, queue_depths=depths)
    assert_laws(tasks, trace, depths)
    assert order == sorted(range(len(tasks)), key=lambda i: (trace.landed[i], tasks[i].unit, i))
    assert order == trace.landings()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(runs())
def test_laws_hold(run: tuple[list[Task], Arch]):
    tasks, arch = run
    assert_laws(tasks, simulate(tasks, arch), [arch.queue_depth] * 4)


def assert_laws(tasks, trace, depths) -> None:
    """Tokens, order and queues, stated without the simulator's means."""
    signals = {(a, b): [] for a in Unit for b in Unit}
    waits = {(a, b): [] for a in Unit for b in Unit}
    for i, task in enumerate(tasks):
        for taker in task.signals:
            signals[task.unit, taker].append(trace.landed[i])
        for giver in task.waits:
            waits[giver, task.unit].append(trace.accepted[i])
    for pair, taken in waits.items():
        assert all(landed < accepted for landed, accepted in zip(signals[pair], taken))
    assert (trace.dispatched[1:] > trace.dispatched[:-1]).all()
    for unit, depth in zip(Unit, depths):
        mine = [i for i, task in enumerate(tasks) if task.unit == unit]
        for earlier, later in pairwise(mine):
            assert trace.free[earlier] <= trace.accepted[later]
            assert trace.accepted[earlier] < trace.accepted[later]
            assert trace.landed[earlier] <= trace.landed[later]
            if isinstance(tasks[later].work, SyncWork):
                assert trace.landed[earlier] < trace.accepted[later]
        for leaver, comer in zip(mine, mine[depth:]):
            assert trace.accepted[leaver] < trace.dispatched[comer]
    for i, task in enumerate(tasks):
        assert trace.arrived[i] < trace.dispatched[i] < trace.accepted[i] <= trace.landed[i]
        if isinstance(task.work, HaltWork):
            assert (trace.landed[:i] < trace.accepted[i]).all()
    assert trace.cycles == max(trace.landed) + 1


def test_landings_are_reported_before_later_acceptances():
    seen: list[str] = []

    def service(index: int, task: Task, accepted: int) -> None:
        seen.append(f"accept {index}")

    tasks = [
        alu(5, 4, signals=(Unit.GEMM,)),
        gemm(1, 4, 4, waits=(Unit.ALU,), signals=(Unit.STORE,)),
        store(8, waits=(Unit.GEMM,)),
    ]
    simulate(tasks, machine(), on_land=lambda i: seen.append(f"land {i}"), service=service)
    assert seen == ["accept 0", "land 0", "accept 1", "land 1", "accept 2", "land 2"]


def test_no_instructions_take_no_time():
    trace = simulate([], machine())
    assert trace.cycles == 0
    assert trace.spans(Unit.GEMM) == []
    assert trace.busy_cycles(Unit.GEMM) == 0
    assert trace.wait_cycles(Unit.GEMM) == {}
    assert sum(trace.cycle_split(0, 0).values()) == 0


def test_service_times_out_of_range_are_refused():
    with pytest.raises(ValueError, match="instruction 0: accepted"):
        simulate([alu(1, 1)], machine(), service=lambda index, task, accepted: (accepted, accepted + 3))
    with pytest.raises(ValueError, match="instruction 0: accepted"):
        simulate([alu(1, 1)], machine(), service=lambda index, task, accepted: (accepted + 5, accepted + 3))


def test_deadlock_says_who_waits_for_what():
    arch = machine(depth=1)
    tasks = [
        load(16, waits=(Unit.STORE,)),
        gemm(1, 4, 4, waits=(Unit.ALU,)),
        alu(1, 4),
        load(16),
        store(16, signals=(Unit.LOAD,)),
        halt(Unit.ALU),
    ]
    with pytest.raises(DeadlockError) as caught:
        simulate(tasks, arch)
    # The last thing to happen: the twelfth fetch burst ends in cycle 47 and lands in 57.
    assert str(caught.value) == (
        "deadlock in cycle 58: "
        "load: instruction 0 waits for a token from store; "
        "gemm: instruction 1 waits for a token from alu; "
        "alu: instruction 5 is not dispatched, instruction 3 waits for room in the queue of load; "
        "store: instruction 4 is not dispatched, instruction 3 waits for room in the queue of load"
    )


def test_a_halt_behind_a_stuck_unit_is_named():
    with pytest.raises(DeadlockError) as caught:
        simulate([fill(3), gemm(1, 1, 1, waits=(Unit.LOAD,)), halt()], machine())
    assert caught.value.waiting == (
        "gemm: instruction 1 waits for a token from load",
        "store: instruction 2 waits for earlier instructions to land",
    )


def test_sync_on_every_unit_passes_tokens():
    tasks = [
        sync(Unit.LOAD, signals=(Unit.GEMM,)),
        sync(Unit.GEMM, waits=(Unit.LOAD,), signals=(Unit.ALU,)),
        sync(Unit.ALU, waits=(Unit.GEMM,), signals=(Unit.STORE,)),
        sync(Unit.STORE, waits=(Unit.ALU,)),
    ]
    trace = simulate(tasks, machine(burst=64, rate=Fraction(64), latency=0))
    # Two words a burst: both bursts are moved in cycles 0 and 1.
    assert trace.dispatched.tolist() == [1, 2, 3, 4]
    assert trace.accepted.tolist() == [2, 3, 4, 5]
    assert trace.landed.tolist() == [2, 3, 4, 5]
