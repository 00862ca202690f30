"""Memories, functional runs and probes."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.isa.asm import parse_program
from accelsim.isa.check import check_program
from accelsim.isa.functional import run
from accelsim.isa.instructions import Load, Store
from accelsim.isa.probes import Recorder
from accelsim.isa.program import DramRegion, Probe, Program
from accelsim.isa.protocol import Memory
from accelsim.isa.semantics import execute
from accelsim.isa.state import POISON, MachineState, memory_bytes
from tests.isa.strategies import small_arch

ARCH = small_arch(2, 3)


def test_typed_arrays_are_views_of_the_bytes():
    state = MachineState(ARCH, 100)
    assert (state.dram.dtype, state.dram.shape) == (np.uint8, (100,))
    assert (state.ub.dtype, state.ub.shape) == (np.int8, (256,))
    assert (state.wgt.dtype, state.wgt.shape) == (np.int8, (32, 3))
    assert (state.acc.dtype, state.acc.shape) == (np.int32, (24, 3))
    assert (state.param.dtype, state.param.shape) == (np.uint32, (20, 3))
    state.acc[1, 2] = -2
    assert state.bytes_of(Memory.ACC)[20:24].tolist() == [254, 255, 255, 255]
    state.bytes_of(Memory.WGT)[3] = 255
    assert state.wgt[1, 0] == -1
    assert {memory: state.bytes_of(memory).size for memory in Memory} == memory_bytes(ARCH, 100)


def test_memories_hold_whole_rows():
    arch = small_arch(2, 3)
    odd = MachineState(type(arch)(**{**_fields(arch), "acc_bytes": 30, "wgt_bytes": 8, "param_bytes": 25}), 0)
    assert (odd.acc.shape, odd.wgt.shape, odd.param.shape) == ((2, 3), (2, 3), (2, 3))


def _fields(arch):
    return {name: getattr(arch, name) for name in arch.__slots__}


def test_memories_start_as_zeros_or_poison():
    assert not any(MachineState(ARCH, 50).bytes_of(memory).any() for memory in Memory)
    poisoned = MachineState(ARCH, 50, poison=True)
    assert all((poisoned.bytes_of(memory) == POISON).all() for memory in Memory)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32"])
def test_regions_round_trip(dtype):
    region = DramRegion(name="r", role="input", dtype=dtype, shape=(2, 3), address=5)
    state = MachineState(ARCH, 40, poison=True)
    array = (np.arange(6).reshape(2, 3) - 2).astype(dtype)
    state.write_region(region, array[:, ::-1])
    got = state.read_region(region)
    assert (got == array[:, ::-1]).all()
    assert got.dtype == array.dtype
    assert (state.dram[:5] == POISON).all()
    assert (state.dram[5 + region.bytes :] == POISON).all()
    got[...] = 0
    assert state.read_region(region).any()  # a copy


def test_an_array_of_another_shape_or_type_is_refused():
    region = DramRegion(name="r", role="input", dtype="int8", shape=(2, 3), address=0)
    for array in (np.zeros((3, 2), np.int8), np.zeros((2, 3), np.int32)):
        with pytest.raises(ValueError, match=r"region r is int8 \[2, 3\], the array "):
            MachineState(ARCH, 40).write_region(region, array)


def test_constants_are_read_where_they_are_and_never_written():
    """Reads and writes below, across and beyond the end of the image, against a DRAM that holds a copy of it."""
    image = np.arange(1, 41, dtype=np.uint8)
    rng = np.random.default_rng(1)
    for turn in range(300):
        named = [  # what a program may write, also in the middle of its image
            DramRegion(name="s", role="scratch", dtype="uint8", shape=(6,), address=address) for address in (0, 20, 37)
        ]
        program = Program(instructions=(), image=image, dram_bytes=100, regions=tuple(named[: turn % 4]))
        state, plain = MachineState(ARCH, 100, poison=True), MachineState(ARCH, 100, poison=True)
        state.load_program(program)
        plain.dram[:40] = image
        for _ in range(4):
            dram, run_bytes = int(rng.integers(0, 90)), int(rng.integers(1, 10))
            instr = (Load, Store)[rng.integers(2)](dram=dram, run=run_bytes, local=int(rng.integers(0, 200)))
            execute(instr, state)
            execute(instr, plain)
            assert (state.ub == plain.ub).all()
        region = DramRegion(name="r", role="output", dtype="uint8", shape=(20,), address=int(rng.integers(0, 80)))
        assert (state.read_region(region) == plain.read_region(region)).all()
        if rng.integers(2):
            state.write_region(region, np.zeros(20, np.uint8))
            plain.write_region(region, np.zeros(20, np.uint8))
        assert (state.dram == plain.dram).all()
        assert (image == np.arange(1, 41)).all()


def test_a_second_program_keeps_what_its_image_leaves():
    state = MachineState(ARCH, 10)
    for image in (np.array([1, 2, 3], np.uint8), np.array([9, 8, 7, 6], np.uint8)[::2]):
        state.load_program(Program(instructions=(), image=image, dram_bytes=10))
    assert state.dram[:4].tolist() == [9, 7, 3, 0]
    with pytest.raises(ValueError, match="an image of 11 bytes in 10 bytes of DRAM"):
        state.load_program(Program(instructions=(), image=np.zeros(11, np.uint8), dram_bytes=11))


SOURCE = """
.region x int8 [1, 4, 4, 1] = zeros input
.region w int8 [4] = w.npy                   # two rows of two output channels, padded to the machine's three
.region y int8 [1, 4, 4, 2] = zeros output
load memory=ub dram=x run=16 signal=gemm
load memory=wgt dram=w run=2 n0=2 ds0=2 ls0=3 signal=gemm
sync on=gemm wait=load
gemm overwrite=1 k=1 n=2 m0=16 xm0=1 am0=1 wait=load signal=alu
alu op=mov src_mem=acc dst_mem=ub n=2 m0=16 sm0=1 dst=32 dm0=2 wait=gemm signal=store
store memory=ub local=32 dram=y run=32 wait=alu
halt on=store
"""


def small_program(tmp_path):
    np.save(tmp_path / "w.npy", np.array([2, -3, 0, 0], np.int8))
    return parse_program(SOURCE, ARCH, base_dir=tmp_path)


def test_a_program_runs_in_program_order(tmp_path):
    program = small_program(tmp_path)
    check_program(program, ARCH)
    state = MachineState(ARCH, program.dram_bytes, poison=True)
    state.load_program(program)
    x, _, y = program.regions
    values = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1)
    state.write_region(x, values)
    landed = []
    run(program, state, landed.append)
    assert landed == list(range(7))
    assert (state.read_region(y) == values * np.array([2, -3])).all()


def test_probes_copy_pieces_when_their_instruction_lands(tmp_path):
    program = small_program(tmp_path)
    fields = {name: getattr(program, name) for name in ("instructions", "image", "dram_bytes", "regions")}
    program = Program(
        **fields,
        probes=(
            Probe(index=4, tensor="left", run=4, ub=32, at=0, count0=4, us0=8, ts0=4),
            Probe(index=4, tensor="first", run=1, ub=32, at=0, count0=4, us0=2, ts0=1, count1=4, us1=8, ts1=4),
            Probe(index=0, tensor="x", run=16, ub=0, at=0),
        ),
    )
    state = MachineState(ARCH, program.dram_bytes)
    state.load_program(program)
    values = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1)
    state.write_region(program.regions[0], values)
    recorder = Recorder(program, state, {"left": (1, 4, 2, 2), "first": (4, 4), "x": (1, 4, 4, 1)})
    run(program, state, recorder.land)
    result = values * np.array([2, -3])
    assert (recorder.tensors["left"] == result[:, :, :2]).all()
    assert (recorder.tensors["first"] == result[0, :, :, 0]).all()
    assert (recorder.tensors["x"] == values).all()
    assert all(tensor.dtype == np.int8 for tensor in recorder.tensors.values())


@pytest.mark.parametrize("probe", [Probe(index=0, tensor="t", run=2, ub=255, at=0),
                                   Probe(index=0, tensor="t", run=2, ub=0, at=3)])  # fmt: skip
def test_a_probe_outside_memory_or_tensor_is_refused(probe):
    program = Program(instructions=(Load(),), image=np.zeros(0, np.uint8), dram_bytes=1, probes=(probe,))
    recorder = Recorder(program, MachineState(ARCH, 1), {"t": (4,)})
    with pytest.raises(IndexError):
        recorder.land(0)
    with pytest.raises(KeyError):
        Recorder(program, MachineState(ARCH, 1), {})
