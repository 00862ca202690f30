"""Small machines and random task lists for the timing tests."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from accelsim.arch import AluArch, Arch, ArrayArch, DramArch
from accelsim.isa.protocol import (
    ArrayWork,
    FillWork,
    HaltWork,
    Memory,
    Region,
    SyncWork,
    Task,
    TransferWork,
    Unit,
    VectorWork,
    Work,
)
from tests.devices import ENERGY, flat_dram


def machine(
    *,
    rows=4,
    cols=4,
    dataflow="ws",
    weights="shadow",
    overlap="full",
    lanes=4,
    alu_latency=4,
    rate=Fraction(4),
    latency=10,
    burst=16,
    outstanding=4,
    depth=16,
    prefetch=16,
) -> Arch:
    """A machine with the figures of ``tiny`` unless told otherwise; memory sizes do not matter to time."""
    return Arch(
        name="case",
        clock_hz=Fraction(500_000_000),
        array=ArrayArch(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap),
        alu=AluArch(lanes=lanes, latency=alu_latency),
        ub_bytes=8192,
        ub_ports="private",
        ub_banks=4,
        wgt_bytes=4096,
        acc_bytes=2048,
        param_bytes=2048,
        dram=flat_dram(
            bytes_per_cycle=Fraction(rate), latency=latency, burst_bytes=burst, outstanding=outstanding
        ),
        queue_depth=depth,
        prefetch_words=prefetch,
        energy=ENERGY,
    )


def load(size: int, *, start=0, loops=(), waits=(), signals=()) -> Task:
    return Task(Unit.LOAD, waits, signals, TransferWork(Region(Memory.DRAM, start, size, loops), False))


def store(size: int, *, start=0, loops=(), waits=(), signals=()) -> Task:
    return Task(Unit.STORE, waits, signals, TransferWork(Region(Memory.DRAM, start, size, loops), True))


def fill(rows: int, *, waits=(), signals=()) -> Task:
    return Task(Unit.LOAD, waits, signals, FillWork(rows))


def gemm(tiles: int, k: int, m: int, *, waits=(), signals=()) -> Task:
    return Task(Unit.GEMM, waits, signals, ArrayWork(tiles, k, m))


def alu(steps: int, lanes: int, *, reads=1, waits=(), signals=()) -> Task:
    return Task(Unit.ALU, waits, signals, VectorWork(steps, reads, lanes))


def sync(unit: Unit, *, waits=(), signals=()) -> Task:
    return Task(unit, waits, signals, SyncWork())


def halt(unit: Unit = Unit.STORE, *, waits=(), signals=()) -> Task:
    return Task(unit, waits, signals, HaltWork())


rates = st.builds(Fraction, st.integers(5, 60), st.integers(1, 9))


@st.composite
def drams(draw: st.DrawFn) -> DramArch:
    """Ports of every temper: slow, faster than a burst a cycle, throttled to one burst in flight, never throttled."""
    return flat_dram(
        bytes_per_cycle=draw(rates),
        latency=draw(st.integers(0, 12)),
        burst_bytes=draw(st.sampled_from([16, 32, 64])),
        outstanding=draw(st.sampled_from([1, 2, 3, 5, 200])),
    )


@st.composite
def machines(draw: st.DrawFn) -> Arch:
    dram = draw(drams())
    return machine(
        rows=draw(st.integers(1, 5)),
        cols=draw(st.integers(1, 5)),
        dataflow=draw(st.sampled_from(["ws", "os"])),
        weights=draw(st.sampled_from(["shadow", "single"])),
        overlap=draw(st.sampled_from(["full", "full", "none"])),
        lanes=draw(st.integers(1, 4)),
        alu_latency=draw(st.integers(0, 5)),
        rate=dram.bytes_per_cycle,
        latency=dram.latency,
        burst=dram.burst_bytes,
        outstanding=dram.outstanding,
        depth=draw(st.integers(1, 4)),
        prefetch=draw(st.integers(1, 9)),
    )


regions = st.builds(
    Region,
    st.just(Memory.DRAM),
    st.integers(0, 200),
    st.integers(1, 150),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 200)), max_size=3).map(tuple),
)


@st.composite
def works(draw: st.DrawFn, unit: Unit, rows: int) -> Work:
    if draw(st.integers(0, 7)) == 0:
        return SyncWork()
    if unit is Unit.GEMM:
        return ArrayWork(draw(st.integers(1, 4)), draw(st.integers(1, rows)), draw(st.integers(1, 12)))
    if unit is Unit.ALU:
        return VectorWork(draw(st.integers(1, 9)), draw(st.integers(0, 2)), draw(st.integers(1, 9)))
    if unit is Unit.LOAD and draw(st.integers(0, 3)) == 0:
        return FillWork(draw(st.integers(1, 20)))
    return TransferWork(draw(regions), unit is Unit.STORE)


@st.composite
def task_lists(draw: st.DrawFn, rows: int) -> list[Task]:
    """A valid program: every wait's signal stands earlier."""
    pending = {(giver, taker): 0 for giver in Unit for taker in Unit}
    tasks: list[Task] = []
    for _ in range(draw(st.integers(1, 14))):
        unit = draw(st.sampled_from(list(Unit)))
        others = [other for other in Unit if other != unit]
        waits = tuple(other for other in others if pending[other, unit] and draw(st.booleans()))
        signals = tuple(other for other in others if draw(st.integers(0, 2)) == 0)
        for giver in waits:
            pending[giver, unit] -= 1
        for taker in signals:
            pending[unit, taker] += 1
        tasks.append(Task(unit, waits, signals, draw(works(unit, rows))))
    if draw(st.booleans()):
        tasks.append(halt(draw(st.sampled_from(list(Unit)))))
    return tasks


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Task], Arch]:
    arch = draw(machines())
    return draw(task_lists(arch.array.rows)), arch
