"""The register-level array: its cycles are the law's, its sums are the instruction set's, and it knows neither."""

from __future__ import annotations

import ast
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import accelsim.hw.array as array_module
from accelsim.arch import Arch, ArrayArch
from accelsim.execution import run_time, run_values
from accelsim.hw import units
from accelsim.hw.array import Operands, RegisterArray, Times
from accelsim.isa.instructions import Gemm, Halt
from accelsim.isa.program import Program
from accelsim.isa.protocol import ArrayWork, Unit
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState
from accelsim.timing import IDLE_ARRAY, Rhythm, advance, rhythm
from tests.hw.cases import machine
from tests.oracles import array as oracle

KINDS = [(d, w, o) for d in ("ws", "os") for w in ("shadow", "single") for o in ("full", "none")]
SEQUENCES = 80  # of one to six gemms, for each of the eight kinds


def random_gemm(rng: random.Random, rows: int, cols: int) -> Gemm:
    """Ragged in every direction; ACC rows may repeat, be shared with the gemm before, or lie apart."""
    k = rng.randint(1, rows)
    m0, m1 = rng.choice([(1, 1), (rng.randint(1, 5), 1), (rng.randint(1, 9), rng.randint(1, 3))])
    r = [rng.randint(1, 3), rng.randint(1, 2), rng.choice([1, 1, 2])]
    return Gemm(
        overwrite=rng.randint(0, 1), k=k, n=rng.randint(1, cols), wgt=rng.randint(0, 8), x=rng.randint(0, 50),
        a=rng.randint(0, 6), r0=r[0], r1=r[1], r2=r[2], xr0=rng.choice([0, k, 7]), xr1=rng.randint(0, 20),
        xr2=rng.randint(0, 40), m0=m0, m1=m1, xm0=rng.randint(0, 12), xm1=rng.randint(0, 60),
        am0=rng.choice([0, 1, 1, 1, 2]), am1=rng.choice([0, m0, m0, 5]),
    )  # fmt: skip


def operands(gemm: Gemm, state: MachineState) -> Operands:
    """Gathered element by element, unlike the product's."""
    tiles = [(c, b, a) for c in range(gemm.r2) for b in range(gemm.r1) for a in range(gemm.r0)]
    rows = [(outer, inner) for outer in range(gemm.m1) for inner in range(gemm.m0)]
    x = np.zeros((len(rows), len(tiles), gemm.k), np.int8)
    for i, (outer, inner) in enumerate(rows):
        for t, (c, b, a) in enumerate(tiles):
            start = gemm.x + outer * gemm.xm1 + inner * gemm.xm0 + c * gemm.xr2 + b * gemm.xr1 + a * gemm.xr0
            x[i, t] = state.ub[start : start + gemm.k]
    w = np.stack([state.wgt[gemm.wgt + t * gemm.k :][: gemm.k, : gemm.n] for t in range(len(tiles))])
    targets = np.array([gemm.a + outer * gemm.am1 + inner * gemm.am0 for outer, inner in rows])
    return Operands(x, w, targets, bool(gemm.overwrite))


def filled(arch: Arch, rng: random.Random, value: int | None) -> MachineState:
    state = MachineState(arch, 0)
    noise = np.random.default_rng(rng.getrandbits(32))
    for memory in (state.ub, state.wgt):
        memory[...] = noise.integers(-128, 128, memory.shape) if value is None else value
    state.acc[...] = noise.integers(-(2**31), 2**31, state.acc.shape)
    return state


@pytest.mark.parametrize(("dataflow", "weights", "overlap"), KINDS)
def test_registers_follow_the_law_and_compute_the_sums(dataflow: str, weights: str, overlap: str) -> None:
    repeats = pauses = 0
    for seed in range(SEQUENCES):
        rng = random.Random(f"{dataflow} {weights} {overlap} {seed}")
        rows, cols = rng.randint(1, 7), rng.randint(1, 7)
        arch = machine(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap).replace(
            {"wgt.size": 128 * cols, "acc.size": 64 * 4 * cols, "param.size": 8 * cols}
        )
        state = filled(arch, rng, {0: 127, 1: -128}.get(seed))
        wanted = state.acc.copy()
        registers = RegisterArray(arch.array, state.acc)
        free, law = 0, IDLE_ARRAY
        for number in range(rng.randint(1, 6)):
            gemm = random_gemm(rng, rows, cols)
            accepted = free + rng.choice([0, 0, 0, 0, 1, 2, 5, 40])
            work = ArrayWork(gemm.r0 * gemm.r1 * gemm.r2, gemm.k, gemm.m0 * gemm.m1)
            seen = registers.accept(number, operands(gemm, state), accepted)
            pauses += accepted > free
            free, landed, law = advance(law, work, accepted, arch.array)
            beat = rhythm(work, arch.array)
            assert (seen.load, seen.free, seen.landed) == (law.load, free, landed)
            assert list(seen.streams) == [law.stream + part * beat.period for part in range(beat.parts)]
            sums = MachineState(arch, 0)
            sums.ub[...], sums.wgt[...], sums.acc[...] = state.ub, state.wgt, wanted
            execute(gemm, sums)
            wanted[...] = sums.acc
            repeats += gemm.m0 * gemm.m1 > 1 and gemm.am0 == 0
        registers.run(law.landed)
        np.testing.assert_array_equal(state.acc, wanted, err_msg=f"seed {seed}")
    assert repeats > 10
    assert pauses > 50


@pytest.mark.parametrize(("dataflow", "weights", "overlap"), KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_written_out_array_agrees(dataflow: str, weights: str, overlap: str, seed: int) -> None:
    """Two models of the registers, written apart: every PE with Python integers, and this one."""
    rng = random.Random(f"{dataflow} {weights} {overlap} {seed}")
    rows, cols = rng.randint(1, 4), rng.randint(1, 4)
    n = rng.randint(1, cols)  # the other model writes whole ACC rows
    arch = ArrayArch(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap)
    slow, given = [], []
    for _ in range(4):
        tiles, k, m = rng.randint(1, 3), rng.randint(1, rows), rng.randint(1, 6)
        x = np.array([rng.randint(-128, 127) for _ in range(m * tiles * k)], np.int8).reshape(m, tiles, k)
        w = np.array([rng.randint(-128, 127) for _ in range(tiles * k * n)], np.int8).reshape(tiles, k, n)
        targets, overwrite, ready = rng.sample(range(8), m), rng.random() < 0.5, rng.choice([0, 0, 30, 90])
        slow.append(oracle.Gemm(ready, w.tolist(), x.transpose(1, 0, 2).tolist(), targets, overwrite))
        given.append((ready, Operands(x, w, np.array(targets), overwrite)))
    wanted = oracle.run(rows, cols, slow, dataflow=dataflow, weights=weights, overlap=overlap)
    acc = np.zeros((8, cols), np.int32)
    registers = RegisterArray(arch, acc)
    accepted, landed, free = [], [], 0
    for number, (ready, gemm) in enumerate(given):
        accepted.append(max(ready, free))
        times = registers.accept(number, gemm, accepted[-1])
        free = times.free
        landed.append(times.landed)
    registers.run(landed[-1])
    assert (accepted, landed) == (wanted.accepted, wanted.landed)
    assert {row: acc[row].tolist() for row in wanted.acc} == wanted.acc


def test_acc_is_written_row_by_row_in_time() -> None:
    """Half way through a gemm, ACC holds exactly the rows that have been written."""
    arch = ArrayArch(rows=2, cols=2, dataflow="ws", weights="shadow", overlap="full")
    acc = np.zeros((4, 2), np.int32)
    registers = RegisterArray(arch, acc)
    ones = np.ones((4, 1, 2), np.int8)
    times = registers.accept(0, Operands(ones, np.ones((1, 2, 2), np.int8), np.arange(4), True), 3)
    for cycle in range(times.landed - 5, times.landed + 1):
        registers.run(cycle)
        written = max(0, 4 - (times.landed - cycle))
        assert acc.tolist() == [[2, 2]] * written + [[0, 0]] * (4 - written)


def test_a_gemm_too_early_is_refused() -> None:
    arch = ArrayArch(rows=2, cols=2, dataflow="ws", weights="shadow", overlap="full")
    registers = RegisterArray(arch, np.zeros((4, 2), np.int32))
    gemm = Operands(np.ones((4, 1, 2), np.int8), np.ones((1, 2, 2), np.int8), np.arange(4), True)
    times = registers.accept(0, gemm, 0)
    with pytest.raises(ValueError, match=f"cannot accept gemm 1 in cycle {times.free - 1}"):
        registers.accept(1, gemm, times.free - 1)
    assert registers.accept(1, gemm, times.free).landed > times.landed


@pytest.mark.parametrize(("dataflow", "weights", "overlap"), KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_programs_of_gemms_run_the_same_on_both_levels(dataflow: str, weights: str, overlap: str, seed: int) -> None:
    """The whole machine: fetch, queue and array, every column of the trace."""
    rng = random.Random(seed)
    rows, cols = rng.randint(1, 6), rng.randint(1, 6)
    arch = machine(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap).replace(
        {"wgt.size": 128 * cols, "acc.size": 64 * 4 * cols, "param.size": 8 * cols, "queue.depth": rng.choice([1, 4])}
    )
    gemms = [random_gemm(rng, rows, cols) for _ in range(8)]
    program = Program(instructions=(*gemms, Halt(on=Unit.GEMM)), image=np.zeros(0, np.uint8), dram_bytes=0)
    start = filled(arch, rng, None)
    states, traces = [], []
    for level in ("cycle", "pe"):
        state = MachineState(arch, 0)
        state.ub[...], state.wgt[...], state.acc[...] = start.ub, start.wgt, start.acc
        traces.append(run_values(program, arch, state, level, None))
        states.append(state)
    np.testing.assert_array_equal(states[0].acc, states[1].acc)
    traces.append(run_time(program, arch, "pe"))
    for trace in traces[1:]:
        for column in ("dispatched", "accepted", "started", "free", "landed"):
            np.testing.assert_array_equal(getattr(traces[0], column), getattr(trace, column), err_msg=column)
        for column in ("index", "load", "stream", "count", "streaming"):
            np.testing.assert_array_equal(getattr(traces[0].array, column), getattr(trace.array, column))
        repeated = trace.array.count > 1  # a part that is not repeated has no period
        for column in ("period", "loading"):
            law, seen = getattr(traces[0].array, column), getattr(trace.array, column)
            np.testing.assert_array_equal(law[repeated], seen[repeated], err_msg=column)
        for start in range(0, trace.cycles, 7):
            assert trace.cycle_split(start, start + 13) == traces[0].cycle_split(start, start + 13)


def test_the_phases_of_registers_are_those_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a law that is wrong, the phases of the registers stay what they were and the law's differ."""
    gemm = Gemm(overwrite=1, k=3, n=2, r0=3, r1=2, m0=2, am0=1)
    program = Program(instructions=(gemm, Halt(on=Unit.GEMM)), image=np.zeros(0, np.uint8), dram_bytes=0)
    arch = machine(rows=4, cols=2)

    def phases(level: str) -> tuple[int, ...]:
        array = run_time(program, arch, level).array
        return tuple(int(column[0]) for column in (array.count, array.period, array.streaming, array.loading))

    assert phases("pe") == phases("cycle") == (6, 3, 2, 1)
    monkeypatch.setattr(units, "rhythm", lambda *_: Rhythm(6, 5, 2, 3))
    assert phases("cycle") == (6, 5, 2, 3)
    assert phases("pe") == (6, 3, 2, 1)


def test_parts_that_do_not_repeat_are_no_phases() -> None:
    even = Times(load=3, streams=(5, 9, 13), free=14, landed=30, streamed=6, loaded=4)
    assert units.seen_rhythm(even) == Rhythm(3, 4, 2, 2)
    for odd in (replace(even, streams=(5, 9, 14)), replace(even, streamed=7), replace(even, loaded=3)):
        with pytest.raises(ValueError, match="do not repeat"):
            units.seen_rhythm(odd)


def test_the_registers_know_no_law() -> None:
    """Nothing that the array is made of imports timing, directly or through others."""
    root = Path(array_module.__file__).parents[1]
    todo, seen = ["hw/array"], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((root / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("accelsim"):
                todo.append(node.module.removeprefix("accelsim.").replace(".", "/"))
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("accelsim") for alias in node.names)
    assert {"hw/array", "hw/pe", "hw/sequencer", "arch", "isa/protocol"} <= seen
    assert seen.isdisjoint({"timing", "isa/semantics", "isa/effects", "numerics", "hw/machine", "hw/units"})
