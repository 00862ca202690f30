"""Units that share the banks of UB: against the stepped machine, and what must hold on every run."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accelsim
from accelsim.arch import Arch
from accelsim.hw.machine import simulate
from accelsim.isa.banks import bank_mask
from accelsim.isa.effects import task
from accelsim.isa.effects import tasks as tasks_of
from accelsim.isa.instructions import Alu, AluOp, Gemm, Load, Store, Sync
from accelsim.isa.protocol import HaltWork, Memory, Region, SyncWork, Task, Unit
from accelsim.machine_file import load_arch
from tests.hw.cases import alu, fill, gemm, machine, machines, store, task_lists
from tests.hw.test_machine import assert_equal_to_stepped, assert_laws

MASKS = st.one_of(st.just(0), st.integers(1, 15))


@st.composite
def sharing_runs(draw: st.DrawFn) -> tuple[list[Task], Arch]:
    arch = draw(machines())
    tasks = []
    for one in draw(task_lists(arch.array.rows)):
        quiet = isinstance(one.work, SyncWork | HaltWork)
        tasks.append(one if quiet else dataclasses.replace(one, banks=draw(MASKS)))
    return tasks, arch


def assert_nobody_shares(tasks: list[Task], trace) -> None:
    """No bank has two units in one cycle, from acceptance to landing; whoever waited was kept out all the time."""
    holds = list(zip(tasks, trace.accepted.tolist(), trace.landed.tolist()))
    for mine, (one, start, stop) in enumerate(holds):
        others = [h for h in holds[mine + 1 :] if h[0].unit != one.unit and h[0].banks & one.banks]
        assert all(stop < begin or end < start for _, begin, end in others)
    for one, asked, accepted in zip(tasks, trace.asked.tolist(), trace.accepted.tolist()):
        rivals = [(a, e) for other, a, e in holds if other.unit != one.unit and other.banks & one.banks]
        assert all(any(a <= cycle <= e for a, e in rivals) for cycle in range(asked, accepted))


def assert_tiled(trace) -> None:
    for unit in Unit:
        spans = trace.spans(unit)
        assert [s.start for s in spans] == [0, *(s.stop for s in spans)][: len(spans)]
        assert sum(s.stop - s.start for s in spans) == trace.cycles
        waits: dict[str, int] = {}
        for span in spans:
            if span.wait:
                waits[span.wait] = waits.get(span.wait, 0) + span.stop - span.start
        assert waits == trace.wait_cycles(unit)
        assert trace.busy_cycles(unit) + sum(waits.values()) == trace.cycles


@settings(max_examples=250, deadline=None, derandomize=True)
@given(sharing_runs())
def test_equal_to_the_stepped_machine(run: tuple[list[Task], Arch]):
    assert_equal_to_stepped(*run)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sharing_runs())
def test_no_bank_has_two_units(run: tuple[list[Task], Arch]):
    tasks, arch = run
    trace = simulate(tasks, arch)
    assert_laws(tasks, trace, [arch.queue_depth] * 4)
    assert_nobody_shares(tasks, trace)
    assert_tiled(trace)
    again = simulate(tasks, arch)
    assert again.accepted.tolist() == trace.accepted.tolist()
    assert again.landed.tolist() == trace.landed.tolist()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sharing_runs(), st.randoms(use_true_random=False), st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_any_service_time_and_queue_depth_runs_to_the_end(run, seed, depths: list[int]):
    tasks, arch = run

    def service(index: int, one: Task, accepted: int) -> tuple[int, int] | None:
        landed = accepted + seed.randrange(1, 50)
        return seed.randrange(accepted + 1, landed + 2), landed

    order: list[int] = []
    trace = simulate(tasks, arch, on_land=order.append, service=service, queue_depths=depths)
    assert_laws(tasks, trace, depths)
    assert_nobody_shares(tasks, trace)
    assert_tiled(trace)
    assert order == sorted(range(len(tasks)), key=lambda i: (trace.landed[i], tasks[i].unit, i))


def banked(one: Task, mask: int) -> Task:
    return dataclasses.replace(one, banks=mask)


# A port that brings in the program at once and a load in one cycle: 256 bytes a cycle, no latency.
QUICK = machine(burst=64, rate=Fraction(256), latency=0, outstanding=64)


def test_in_one_cycle_the_order_is_load_gemm_alu_store():
    first = banked(fill(20), 1)  # dispatched in 1, accepted in 2, landed in 22
    tasks = [first, banked(store(8), 1), banked(alu(3, 4), 1), banked(gemm(1, 4, 4), 1)]
    trace = simulate(tasks, QUICK)
    assert trace.landed[0] == 22
    assert trace.asked.tolist() == [2, 3, 4, 5]
    # All ask when the bank comes back: gemm, then alu, then store, each in the cycle after a landing.
    assert trace.accepted[3] == 23
    assert trace.accepted[2] == trace.landed[3] + 1
    assert trace.accepted[1] == trace.landed[2] + 1
    assert trace.wait_cycles(Unit.GEMM)["bank"] == 23 - 5
    assert trace.wait_cycles(Unit.ALU)["bank"] == trace.accepted[2] - 4
    assert "bank" not in trace.wait_cycles(Unit.LOAD)


def test_a_unit_goes_on_in_its_own_banks_and_others_in_other_banks():
    tasks = [banked(fill(20), 1), banked(fill(5), 1), banked(alu(3, 4), 2)]
    trace = simulate(tasks, QUICK)
    assert trace.accepted.tolist() == [2, 22, 4]  # the second fill starts where the first one is written
    assert trace.asked.tolist() == trace.accepted.tolist()


def test_all_banks_are_taken_at_once():
    tasks = [banked(fill(20), 1), banked(alu(3, 4), 3), banked(gemm(1, 4, 4), 2)]
    trace = simulate(tasks, QUICK)
    assert trace.accepted[2] == trace.asked[2] == 4  # the alu, which waits for bank 0, does not sit on bank 1
    assert trace.accepted[1] == max(trace.landed[0], trace.landed[2]) + 1


# ------------------------------------------------------------------------------------------- masks


def touched(region: Region, bank_bytes: int) -> int:
    starts = [region.start]
    for count, stride in region.loops:
        starts = [start + i * stride for start in starts for i in range(count)]
    return sum(1 << bank for bank in {(s + i) // bank_bytes for s in starts for i in range(region.run)})


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(0, 300), st.integers(1, 60),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 150)), max_size=4).map(tuple), st.integers(1, 100),
)  # fmt: skip
def test_masks_are_those_of_the_bytes(start: int, run: int, loops, bank_bytes: int):
    region = Region(Memory.UB, start, run, loops)
    assert bank_mask([region], bank_bytes) == touched(region, bank_bytes)
    other = Region(Memory.UB, 0, 1)
    assert bank_mask([region, other], bank_bytes) == touched(region, bank_bytes) | 1
    assert bank_mask([Region(Memory.ACC, start, run, loops)], bank_bytes) == 0


def test_tasks_ask_for_banks_only_where_ports_are_shared():
    private = load_arch("tiny")
    shared = private.replace({"ub.ports": "shared"})  # banks of 2 KiB
    to_ub = Load(memory=Memory.UB, dram=0, local=2000, run=100)
    assert task(to_ub, private).banks == 0
    assert task(to_ub, shared).banks == 0b11
    assert task(Load(memory=Memory.WGT, dram=0, local=0, run=100), shared).banks == 0
    assert task(Store(memory=Memory.UB, dram=0, local=8191, run=1), shared).banks == 0b1000
    assert task(Gemm(x=4096, k=4, n=4, wgt=0, a=0), shared).banks == 0b100
    assert task(Sync(on=Unit.ALU), shared).banks == 0
    move = Alu(op=AluOp.MOV, src_mem=0, dst_mem=0, src=0, dst=7000, n=4)
    assert task(move, shared).banks == 0b1001


@pytest.mark.parametrize(("size", "banks", "each"), [("8 KiB", 4, 2048), ("8 KiB", 3, 2731), (10, 4, 3), (10, 1, 10)])
def test_banks_are_equal_but_for_the_last(size, banks: int, each: int):
    arch = load_arch("tiny", {"ub.size": size, "ub.banks": banks})
    assert arch.ub_bank_bytes == each
    assert (banks - 1) * each < arch.ub_bytes <= banks * each


# ------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("name", ["tiny", "edge"])
def test_the_same_bits_in_more_cycles(name: str):
    program = accelsim.compile("lenet", arch=name)
    private, _ = accelsim.simulate(program, arch=accelsim.load_arch(name), timing_only=True)
    assert private is not None
    for banks in (16, 1):
        changes = {"ub.ports": "shared", "ub.banks": banks}
        assert accelsim.run("lenet", arch=name, set=changes).report["bit_exact"]
        machine = accelsim.load_arch(name, changes)
        trace, _ = accelsim.simulate(program, arch=machine, timing_only=True)
        assert trace is not None
        assert trace.cycles > private.cycles
        assert sum(trace.wait_cycles(unit).get("bank", 0) for unit in Unit) > 0
        assert_nobody_shares(list(tasks_of(program, machine)), trace)
        assert_tiled(trace)
