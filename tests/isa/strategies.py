"""Random small machines, legal instructions, memory contents and programs for property tests."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from accelsim.arch import AluArch, Arch, ArrayArch
from accelsim.isa.effects import param_rows
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Instr, Load, Operand, Store
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory
from accelsim.isa.state import MachineState, memory_bytes
from tests.devices import ENERGY, flat_dram

DRAM_BYTES = 300
FILLS = ("random", "all 127", "all -128", "zero", "small", "poison")
INSTRUCTIONS = (Load, Gemm, Alu, Store)


def small_arch(
    rows: int = 4, cols: int = 4, *, ub: int = 256, wgt_rows: int = 32, acc_rows: int = 24, param_rows: int = 20
) -> Arch:
    """A machine of a given shape; sizes in bytes or rows."""
    return Arch(
        name="small",
        clock_hz=Fraction(500_000_000),
        array=ArrayArch(rows=rows, cols=cols, dataflow="ws", weights="shadow", overlap="full"),
        alu=AluArch(lanes=cols, latency=4),
        ub_bytes=ub,
        ub_ports="private",
        ub_banks=4,
        wgt_bytes=wgt_rows * cols,
        acc_bytes=acc_rows * cols * 4,
        param_bytes=param_rows * cols * 4,
        dram=flat_dram(bytes_per_cycle=Fraction(4), latency=10, burst_bytes=16, outstanding=4),
        queue_depth=16,
        prefetch_words=16,
        energy=ENERGY,
    )


@st.composite
def arches(draw: st.DrawFn) -> Arch:
    """Machines whose rows and cols differ more often than not."""
    cols = draw(st.integers(1, 6))
    return small_arch(
        draw(st.integers(1, 6)), cols,
        ub=draw(st.integers(40, 300)), wgt_rows=draw(st.integers(8, 40)), acc_rows=draw(st.integers(3, 40)),
        param_rows=-(-256 // (4 * cols)) + draw(st.integers(0, 3)),
    )  # fmt: skip


@st.composite
def affine(
    draw: st.DrawFn, size: int, run: int, counts: tuple[int, ...], limits: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """A start and one stride per loop, below its limit, such that every window fits into ``size``.

    Strides are often the run or 0, so that windows touch, overlap and coincide.
    """
    room = size - run
    strides = []
    for count, limit in zip(counts, limits):
        most = min(limit - 1, room // (count - 1) if count > 1 else limit)
        stride = min(draw(st.one_of(st.sampled_from((0, 1, run, run + 1)), st.integers(0, most))), most)
        strides.append(stride)
        room -= (count - 1) * stride
    return draw(st.integers(0, room)), tuple(strides)


@st.composite
def loads(draw: st.DrawFn, arch: Arch) -> Load:
    memory = draw(st.sampled_from((Memory.UB, Memory.WGT, Memory.ACC, Memory.PARAM)))
    return draw(transfers(arch, Load, memory))


@st.composite
def stores(draw: st.DrawFn, arch: Arch) -> Store:
    return draw(transfers(arch, Store, draw(st.sampled_from((Memory.UB, Memory.ACC)))))


@st.composite
def transfers(draw: st.DrawFn, arch: Arch, cls: type, memory: Memory) -> Instr:
    """A load or store of up to 4 x 3 x 3 windows."""
    size = memory_bytes(arch, DRAM_BYTES)[memory]
    counts = (draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    run = draw(st.integers(1, min(size, 12)))
    local, (ls0, ls1, ls2) = draw(affine(size, run, counts, (1 << 16, 1 << 18, 1 << 20)))
    dram, (ds0, ds1, ds2) = draw(affine(DRAM_BYTES, run, counts, (1 << 20, 1 << 22, 1 << 26)))
    instr = cls(
        memory=int(memory), dram=dram, local=local, run=run, n0=counts[0], n1=counts[1], n2=counts[2],
        ds0=ds0, ds1=ds1, ds2=ds2, ls0=ls0, ls1=ls1, ls2=ls2,
    )  # fmt: skip
    if cls is Load and draw(st.integers(0, 4)) == 0:
        return dataclasses.replace(instr, fill=1, dram=draw(st.integers(0, 2**32 - 1)))
    return instr


@st.composite
def gemms(draw: st.DrawFn, arch: Arch) -> Gemm:
    """A gemm of up to 2 x 2 x 2 weight tiles and 4 x 3 rows, ACC rows often visited several times."""
    k = draw(st.integers(1, min(arch.array.rows, arch.wgt_rows, arch.ub_bytes)))
    n = draw(st.integers(1, arch.array.cols))
    reduction = [draw(st.integers(1, 2)) for _ in range(3)]
    while reduction[0] * reduction[1] * reduction[2] * k > arch.wgt_rows:
        reduction.remove(max(reduction))
        reduction.append(1)
    m0, m1 = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    x, (xr0, xr1, xr2, xm0, xm1) = draw(
        affine(arch.ub_bytes, k, (*reduction, m0, m1), (1 << 16, 1 << 18, 1 << 20, 1 << 18, 1 << 20))
    )
    a, (am0, am1) = draw(affine(arch.acc_rows, 1, (m0, m1), (256, 8192)))
    depth = reduction[0] * reduction[1] * reduction[2] * k
    return Gemm(
        overwrite=draw(st.integers(0, 1)), k=k, n=n, wgt=draw(st.integers(0, arch.wgt_rows - depth)), x=x, a=a,
        r0=reduction[0], r1=reduction[1], r2=reduction[2], xr0=xr0, xr1=xr1, xr2=xr2,
        m0=m0, m1=m1, xm0=xm0, xm1=xm1, am0=am0, am1=am1,
    )  # fmt: skip


@st.composite
def alus(draw: st.DrawFn, arch: Arch) -> Alu:
    """Any op with any operand it allows; src and dst often in the same memory, overlapping."""
    op = draw(st.sampled_from(AluOp))
    operand = draw(st.sampled_from(_operands(op)))
    reduces = op is AluOp.MAC or (operand is Operand.NONE and op is not AluOp.MOV)
    n = draw(st.integers(1, min(arch.array.cols, arch.ub_bytes)))
    m0, m1 = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    r0, r1 = (draw(st.integers(1, 3)), draw(st.integers(1, 2))) if reduces else (1, 1)
    src_mem, dst_mem = (draw(st.sampled_from((Memory.UB, Memory.ACC))) for _ in range(2))
    sizes = {Memory.UB: (arch.ub_bytes, n), Memory.ACC: (arch.acc_rows, 1)}
    src, (sm0, sm1, sr0, sr1) = draw(
        affine(*sizes[src_mem], (m0, m1, r0, r1), (1 << 18, 1 << 20, 1 << 14, 1 << 18))
    )
    dst, (dm0, dm1) = draw(affine(*sizes[dst_mem], (m0, m1), (1 << 16, 1 << 18)))
    instr = Alu(
        op=int(op), src_mem=int(src_mem), dst_mem=int(dst_mem), operand=int(operand), n=n,
        accumulate=draw(st.integers(0, 1)) if reduces else 0, m0=m0, m1=m1, r0=r0, r1=r1,
        src=src, sm0=sm0, sm1=sm1, sr0=sr0, sr1=sr1, dst=dst, dm0=dm0, dm1=dm1,
    )  # fmt: skip
    if operand is Operand.IMM:
        return dataclasses.replace(instr, imm=draw(st.integers(-(2**31), 2**31 - 1)))
    if operand is Operand.PARAM:
        last = arch.param_rows - param_rows(instr, arch)
        instr = dataclasses.replace(instr, param=draw(st.integers(0, last)))
    if op is AluOp.RQ:
        lo, hi = sorted((draw(st.integers(-128, 127)), draw(st.integers(-128, 127))))
        return dataclasses.replace(instr, zero=draw(st.integers(-128, 127)), lo=lo, hi=hi)
    return instr


def _operands(op: AluOp) -> tuple[Operand, ...]:
    if op in (AluOp.RQ, AluOp.LUT):
        return (Operand.PARAM,)
    if op is AluOp.MOV:
        return (Operand.NONE,)
    if op is AluOp.MAC:
        return (Operand.IMM, Operand.PARAM, Operand.DST)
    return tuple(Operand)


STRATEGIES = {Load: loads, Gemm: gemms, Alu: alus, Store: stores}


@st.composite
def instructions(draw: st.DrawFn, arch: Arch) -> Instr:
    """Any legal instruction that touches memory."""
    return draw(STRATEGIES[draw(st.sampled_from(INSTRUCTIONS))](arch))


@st.composite
def states(draw: st.DrawFn, arch: Arch) -> MachineState:
    """Memories full of random or extreme bytes; half the PARAM words look like real scales."""
    state = MachineState(arch, DRAM_BYTES, poison=True)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for memory in Memory:
        fill_bytes(state.bytes_of(memory), draw(st.sampled_from(FILLS)), rng)
    if draw(st.booleans()):
        scales = rng.uniform(2.0**-12, 1.0, state.param.shape).astype(np.float32).view(np.uint32)
        state.param[1::2] = scales[1::2]
    return state


def fill_bytes(flat: np.ndarray, mode: str, rng: np.random.Generator) -> None:
    """Overwrite a memory in one of FILLS."""
    if mode == "random":
        flat[:] = rng.integers(0, 256, flat.size)
    elif mode == "small":
        flat[:] = rng.integers(0, 4, flat.size)
    elif mode != "poison":
        flat[:] = {"all 127": 127, "all -128": 128, "zero": 0}[mode]


@st.composite
def programs(draw: st.DrawFn, arch: Arch, max_length: int = 10) -> Program:
    """Random instructions with random tokens that balance and never block in program order."""
    body = draw(st.lists(instructions(arch), min_size=2, max_size=max_length))
    waits, signals = [0] * len(body), [0] * len(body)
    last: dict[tuple[int, int], tuple[int, int]] = {}  # pair of units: its latest token's giver and taker
    density = draw(st.sampled_from((1, 3, 8)))
    for taker, instr in enumerate(body):
        for giver in range(taker - 1, -1, -1):
            pair = (int(body[giver].unit), int(instr.unit))
            before = last.get(pair, (-1, -1))
            free = giver > before[0] and taker > before[1] and pair[0] != pair[1]
            if free and draw(st.integers(0, 8)) < density:
                last[pair] = (giver, taker)
                waits[taker] |= 1 << pair[0]
                signals[giver] |= 1 << pair[1]
    linked = tuple(
        dataclasses.replace(instr, wait=wait, signal=signal)
        for instr, wait, signal in zip(body, waits, signals)
    )
    return Program(
        instructions=(*linked, Halt(on=3)), image=np.zeros(0, np.uint8), dram_bytes=DRAM_BYTES
    )
