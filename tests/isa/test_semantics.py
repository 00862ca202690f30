"""``execute`` against the byte-by-byte executor, for every instruction class."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.isa import semantics
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Load, Operand, Store, Sync
from accelsim.isa.protocol import Memory
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState
from tests.isa.strategies import STRATEGIES, arches, small_arch, states
from tests.oracles import isa as oracle


def oracle_of(state):
    contents = {memory: state.bytes_of(memory).tobytes() for memory in Memory}
    return oracle.Memories(state.arch, contents)


def assert_same(instr, state):
    memories = oracle_of(state)
    oracle.execute(instr, memories)
    execute(instr, state)
    for memory in Memory:
        expected = np.frombuffer(bytes(memories.bytes[memory]), np.uint8)
        np.testing.assert_array_equal(state.bytes_of(memory), expected, err_msg=memory.name)


@pytest.mark.parametrize(("cls", "examples"), [(Load, 80), (Gemm, 120), (Alu, 400), (Store, 60)])
def test_execute_equals_the_oracle(cls, examples):
    @settings(deadline=None, derandomize=True, max_examples=examples)
    @given(st.data())
    def run(data):
        arch = data.draw(arches())
        assert_same(data.draw(STRATEGIES[cls](arch)), data.draw(states(arch)))

    run()


@pytest.mark.parametrize("op", list(AluOp))
def test_every_op_in_place_and_overlapping(op):
    """Rows one byte apart feed each other: the order of rows shows in the result."""
    operand = Operand.PARAM if op in (AluOp.RQ, AluOp.LUT, AluOp.MAC) else Operand.NONE
    rq = {"zero": 1, "lo": -100, "hi": 100} if op is AluOp.RQ else {}
    state = MachineState(small_arch(param_rows=40), 300)
    rng = np.random.default_rng(3)
    for memory in Memory:
        state.bytes_of(memory)[:] = rng.integers(0, 256, state.bytes_of(memory).size)
    state.param[1] = np.float32(0.3).view(np.uint32)
    for dst in (0, 1, 2, 4, 7):
        instr = Alu(op=op, operand=operand, n=4, m0=5, m1=2, src=3, sm0=1, sm1=9, dst=dst, dm0=4, dm1=20, **rq)
        assert_same(instr, state)


@pytest.mark.parametrize(("value", "weight"), [(126, 126), (-127, 126), (-128, -128)])
@pytest.mark.parametrize("overwrite", [0, 1])
def test_long_reductions_of_extreme_data_are_exact(value, weight, overwrite):
    """4,608 large products of one sign: unbiased random data would hide a float32 sum that rounds."""
    arch = small_arch(4, 3, ub=6000, wgt_rows=4608)
    rng = np.random.default_rng(5)
    state = MachineState(arch, 16)
    state.ub[:] = value + rng.integers(0, 2, state.ub.size)
    state.wgt[:] = weight + rng.integers(0, 2, state.wgt.shape)
    state.acc[:] = 5
    execute(Gemm(overwrite=overwrite, k=4, n=3, r0=384, r1=3, xr0=4, xr1=1536, m0=2, xm0=1, am0=1), state)
    for row in range(2):
        exact = state.ub[row : row + 4608].astype(np.int64) @ state.wgt.astype(np.int64)
        assert state.acc[row].tolist() == (exact + 5 * (1 - overwrite)).tolist()


def test_gemm_sums_wrap():
    state = MachineState(small_arch(), 16)
    state.ub[:], state.wgt[:], state.acc[:] = 127, 127, 2**31 - 1
    execute(Gemm(k=1, n=1), state)
    assert state.acc[0, 0] == -(2**31) + 127 * 127 - 1


def test_gemm_in_small_blocks_gives_the_same(monkeypatch):
    arch = small_arch(4, 4)
    instr = Gemm(k=4, n=4, x=1, r0=2, xr0=8, m0=4, m1=5, xm0=1, xm1=16, am0=1, am1=4)
    results = []
    for block in (1, 1 << 24):
        monkeypatch.setattr(semantics, "BLOCK_BYTES", block)
        state = MachineState(arch, 16)
        state.ub[:] = np.arange(state.ub.size) % 251 - 125
        state.wgt[:] = np.arange(state.wgt.size).reshape(state.wgt.shape) % 127
        execute(instr, state)
        results.append(state.acc.copy())
    assert (results[0] == results[1]).all()
    assert results[0].any()


def test_an_acc_row_visited_twice_by_one_gemm():
    """Two rows into ACC row 0, two reduction steps: the first step's last write stays, the second adds both."""
    arch = small_arch(1, 1)
    for overwrite, expected in ((1, 2 * 10 + (1 + 2) * 100), (0, 7 + (1 + 2) * 110)):
        state = MachineState(arch, 16)
        state.ub[:4] = [1, 2, 1, 2]
        state.wgt[:2, 0] = [10, 100]
        state.acc[0, 0] = 7
        execute(Gemm(overwrite=overwrite, k=1, n=1, r0=2, xr0=2, m0=2, xm0=1, am0=0), state)
        assert state.acc[0, 0] == expected


@pytest.mark.parametrize(
    ("instr", "message"),
    [
        (Load(local=250, run=7), r"elements 250\.\.256 of a memory of 256"),
        (Load(dram=299, run=2), r"elements 299\.\.300 of a memory of 300"),
        (Store(dram=299, run=2), r"elements 299\.\.300 of a memory of 300"),
        (Gemm(k=4, wgt=29), r"WGT rows 29\.\.32 of 32"),
        (Gemm(a=20, m0=5, am0=1), "ACC row 24 of 24"),
        (Gemm(x=253, k=4), r"elements 253\.\.256"),
        (Alu(src=255, n=2), r"elements 255\.\.256"),
        (Alu(dst_mem=Memory.ACC, dst=24), r"elements 96\.\.96 of a memory of 96"),
    ],
)
def test_accesses_outside_a_memory_are_refused(instr, message):
    with pytest.raises(IndexError, match=message):
        execute(instr, MachineState(small_arch(), 300))


def test_sync_and_halt_change_nothing():
    state = MachineState(small_arch(), 300, poison=True)
    before = {memory: state.bytes_of(memory).copy() for memory in Memory}
    execute(Sync(on=1), state)
    execute(Halt(on=2), state)
    assert all((state.bytes_of(memory) == before[memory]).all() for memory in Memory)


def test_fill_writes_the_low_byte():
    state = MachineState(small_arch(), 0)
    execute(Load(memory=Memory.UB, fill=1, dram=0x1F3, local=3, run=2, n0=2, ls0=4), state)
    assert state.ub[:10].tolist() == [0, 0, 0, -13, -13, 0, 0, -13, -13, 0]


def test_fields_do_not_leak_between_instructions():
    """Evaluating an instruction twice from the same memories gives the same bytes."""
    state = MachineState(small_arch(), 300, poison=True)
    instr = Alu(op=AluOp.ADD, operand=Operand.IMM, imm=3, n=4, m0=2, sm0=4, dst=16, dm0=4)
    execute(instr, state)
    first = state.ub.copy()
    execute(dataclasses.replace(instr), state)
    assert (state.ub == first).all()
