"""Instructions cut to fit narrower fields do the same as whole ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler import split
from accelsim.isa.instructions import Alu, AluOp, Gemm, Load
from accelsim.isa.protocol import Memory
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState
from accelsim.machine_file import load_arch

ARCH = load_arch("tiny")
counts = st.integers(1, 4)


@st.composite
def gemms(draw):
    r, m = [draw(counts) for _ in range(3)], [draw(counts) for _ in range(2)]
    return Gemm(
        overwrite=draw(st.integers(0, 1)), k=draw(st.integers(1, 4)), n=draw(st.integers(1, 4)),
        wgt=draw(st.integers(0, 8)), x=draw(st.integers(0, 64)), a=draw(st.integers(0, 8)),
        r0=r[0], r1=r[1], r2=r[2], xr0=draw(st.integers(0, 9)), xr1=draw(st.integers(0, 30)),
        xr2=draw(st.integers(0, 90)), m0=m[0], m1=m[1], xm0=draw(st.integers(0, 40)), xm1=draw(st.integers(0, 90)),
        am0=1, am1=m[0],
    )  # fmt: skip


@st.composite
def alus(draw):
    pooled = draw(st.booleans())
    m0 = draw(counts)
    return Alu(
        op=AluOp.MAX if pooled else AluOp.ADD, accumulate=draw(st.integers(0, 1)), n=draw(st.integers(1, 4)),
        dst_mem=Memory.UB if pooled else Memory.ACC, dst=4096 if pooled else 3, dm0=4 if pooled else 1,
        dm1=4 * m0 if pooled else m0, m0=m0, m1=draw(counts), r0=draw(counts), r1=draw(counts),
        src=draw(st.integers(0, 64)), sm0=draw(st.integers(0, 40)), sm1=draw(st.integers(0, 90)),
        sr0=draw(st.integers(0, 30)), sr1=draw(st.integers(0, 90)),
    )  # fmt: skip


@st.composite
def loads(draw):
    n = [draw(counts) for _ in range(3)]
    run = draw(st.integers(1, 8))
    return Load(
        memory=Memory.UB, dram=draw(st.integers(0, 64)), local=draw(st.integers(0, 64)), run=run, n0=n[0], n1=n[1],
        n2=n[2], ds0=draw(st.integers(0, 30)), ds1=draw(st.integers(0, 60)), ds2=draw(st.integers(0, 90)),
        ls0=run, ls1=run * n[0], ls2=run * n[0] * n[1],
    )  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.one_of(gemms(), alus(), loads()), st.integers(1, 4), st.sampled_from([0, 3, 20, 200]), st.integers(0, 999))
def test_parts_do_what_the_whole_does(instr, count_limit, stride_limit, seed):
    counted = {loop.count for loop in split.LOOPS[type(instr)]}
    strides = {stride for loop in split.LOOPS[type(instr)] for stride, _ in loop.moves}
    limits = dict.fromkeys(counted, count_limit) | dict.fromkeys(strides, stride_limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_limits", lambda _cls: limits)
        parts = list(split.fitting(instr))
    for part in parts:
        assert all(getattr(part, name) <= count_limit for name in counted)
        used = [loop for loop in split.LOOPS[type(instr)] if getattr(part, loop.count) > 1]
        assert all(getattr(part, stride) <= stride_limit for loop in used for stride, _ in loop.moves)
    rng = np.random.default_rng(seed)
    whole, cut = MachineState(ARCH, 4096), MachineState(ARCH, 4096)
    for memory in Memory:
        data = rng.integers(0, 256, whole.bytes_of(memory).size, dtype=np.uint8)
        whole.bytes_of(memory)[:] = data
        cut.bytes_of(memory)[:] = data
    execute(instr, whole)
    for part in parts:
        execute(part, cut)
    for memory in Memory:
        np.testing.assert_array_equal(whole.bytes_of(memory), cut.bytes_of(memory), err_msg=memory.name)
