"""Declared effects against what really happens, work against hand counts, footprints against sets of bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.isa.asm import parse_program
from accelsim.isa.effects import effects, task, tasks
from accelsim.isa.footprint import footprint
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Load, Operand, Store, Sync
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
)
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState
from tests.isa.strategies import DRAM_BYTES, arches, instructions, small_arch, states
from tests.oracles import isa as oracle
from tests.oracles.happens_before import byte_masks

ARCH = small_arch(4, 3)
COLS = ARCH.array.cols


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data())
def test_effects_are_the_bytes_the_oracle_touches(data):
    arch = data.draw(arches())
    instr, state = data.draw(instructions(arch)), data.draw(states(arch))
    memories = oracle.Memories(arch, {memory: state.bytes_of(memory).tobytes() for memory in Memory})
    oracle.execute(instr, memories)
    touched = effects(instr, arch)
    reads, writes = byte_masks(touched.reads), byte_masks(touched.writes)
    for memory in Memory:
        written, inputs, read = 0, 0, 0
        for kind, where, address in memories.log:
            if where is not memory:
                continue
            if kind == "w":
                written |= 1 << address
            else:
                read |= 1 << address
                inputs |= (1 << address) & ~written  # its value from before the instruction counts
        assert writes[memory] == written
        assert inputs & ~reads[memory] == 0
        if not (isinstance(instr, Alu) and instr.op == AluOp.LUT):  # of a table only the entries met are read
            assert reads[memory] & ~read == 0


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_undeclared_bytes_neither_change_nor_matter(data, seed):
    arch = data.draw(arches())
    instr, state = data.draw(instructions(arch)), data.draw(states(arch))
    touched = effects(instr, arch)
    reads, writes = byte_masks(touched.reads), byte_masks(touched.writes)
    other = MachineState(arch, DRAM_BYTES)
    rng = np.random.default_rng(seed)
    for memory in Memory:
        size = state.bytes_of(memory).size
        declared = _bits(reads[memory], size)
        noise = rng.integers(0, 256, size)
        other.bytes_of(memory)[:] = np.where(declared, state.bytes_of(memory), noise)
    before = {memory: (state.bytes_of(memory).copy(), other.bytes_of(memory).copy()) for memory in Memory}
    execute(instr, state)
    execute(instr, other)
    for memory in Memory:
        changed = _bits(writes[memory], state.bytes_of(memory).size)
        assert (state.bytes_of(memory)[changed] == other.bytes_of(memory)[changed]).all()
        assert (state.bytes_of(memory)[~changed] == before[memory][0][~changed]).all()
        assert (other.bytes_of(memory)[~changed] == before[memory][1][~changed]).all()


def _bits(mask, size):
    return np.array([mask >> place & 1 for place in range(size)], bool)


def test_arithmetic_counts():
    gemm = Gemm(k=4, n=2, r0=3, r1=2, r2=5, m0=7, m1=11)
    assert effects(gemm, ARCH).macs == 4 * 2 * 30 * 77
    alu = Alu(op=AluOp.MAX, n=3, m0=7, m1=2, r0=2, r1=3)
    assert effects(alu, ARCH).alu_ops == 3 * 14 * 6
    assert effects(Load(), ARCH).macs == effects(Store(), ARCH).alu_ops == 0


@pytest.mark.parametrize(
    ("instr", "work"),
    [
        (Gemm(k=4, n=2, r0=3, r1=2, r2=5, m0=7, m1=11), ArrayWork(tiles=30, k=4, m=77)),
        (Alu(n=3, m0=7, m1=2, r0=2, r1=3, op=AluOp.MAX), VectorWork(steps=84, reads=1, lanes=3)),
        (Alu(n=3, op=AluOp.ADD, accumulate=1), VectorWork(steps=1, reads=2, lanes=3)),
        (Alu(n=3, op=AluOp.ADD, operand=Operand.DST), VectorWork(steps=1, reads=2, lanes=3)),
        (Alu(op=AluOp.MAC, operand=Operand.DST, accumulate=1), VectorWork(steps=1, reads=2, lanes=1)),
        (Alu(op=AluOp.ADD, accumulate=1, src_mem=Memory.ACC), VectorWork(steps=1, reads=1, lanes=1)),
        (Alu(op=AluOp.RQ, operand=Operand.PARAM), VectorWork(steps=1, reads=1, lanes=1)),
        (Load(fill=1, n0=3, n1=4, n2=5), FillWork(rows=60)),
        (Load(fill=1, run=300, n0=7), FillWork(rows=7)),  # UB is byte-addressed: a run is a row
        (Load(fill=1, memory=Memory.WGT, local=1, run=COLS), FillWork(rows=2)),  # rows of COLS bytes
        (Load(fill=1, memory=Memory.WGT, run=9 * COLS), FillWork(rows=9)),
        (Load(fill=1, memory=Memory.ACC, run=16 * COLS, n0=3), FillWork(rows=12)),  # rows of COLS words
        (Load(fill=1, memory=Memory.PARAM, run=4 * COLS, n1=5), FillWork(rows=5)),
        (
            Load(dram=9, run=5, n0=3, n2=2, ds0=5, ds2=40),
            TransferWork(Region(Memory.DRAM, 9, 5, ((2, 40), (3, 5))), write=False),
        ),
        (Store(dram=9, run=5, n1=3, ds1=5), TransferWork(Region(Memory.DRAM, 9, 5, ((3, 5),)), write=True)),
        (Sync(on=2), SyncWork()),
        (Halt(on=1), HaltWork()),
    ],
)
def test_work(instr, work):
    assert task(instr, ARCH) == Task(instr.unit, (), (), work)


def test_tasks_carry_units_and_tokens():
    source = "load wait=gemm,alu signal=store\nsync on=alu wait=load\nhalt on=gemm signal=load,store"
    got = tasks(parse_program(source, ARCH), ARCH)
    assert [(item.unit, item.waits, item.signals) for item in got] == [
        (Unit.LOAD, (Unit.GEMM, Unit.ALU), (Unit.STORE,)),
        (Unit.ALU, (Unit.LOAD,), ()),
        (Unit.GEMM, (), (Unit.LOAD, Unit.STORE)),
    ]


loop_lists = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), max_size=5)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.integers(0, 20), st.integers(1, 12), loop_lists)
def test_a_footprint_is_the_same_set_of_bytes(start, run, loops):
    region = Region(Memory.UB, start, run, tuple(loops))
    small = footprint(region)
    assert byte_masks((small,)) == byte_masks((region,))
    assert small.stop == region.stop
    assert len(small.loops) <= len(loops)
    assert all(count > 1 and stride > small.run for count, stride in small.loops)
    assert [stride for _, stride in small.loops] == sorted((s for _, s in small.loops), reverse=True)


@pytest.mark.parametrize(
    ("loops", "run", "expected_loops", "expected_run"),
    [
        (((28, 96), (28, 3), (5, 96)), 15, (), 96 * 31 + 96),  # a 5x5 convolution over 32x32x3
        (((5, 100), (7, 100)), 3, ((11, 100),), 3),  # equal strides
        (((4, 200), (3, 100)), 3, ((9, 100),), 3),  # a multiple that continues
        (((4, 400), (3, 100)), 3, ((4, 400), (3, 100)), 3),  # a multiple that leaves a gap
        (((9, 0), (1, 77)), 3, (), 3),
    ],
)
def test_footprints_of_common_patterns(loops, run, expected_loops, expected_run):
    small = footprint(Region(Memory.UB, 4, run, loops))
    assert (small.loops, small.run) == (expected_loops, expected_run)
