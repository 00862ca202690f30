"""Reading and writing assembly: layout of regions, names, round trips and the text of every mistake."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.errors import AsmErrors
from accelsim.isa.asm import format_instruction, format_program, parse_program
from accelsim.isa.encoding import encode_all
from accelsim.isa.instructions import Alu, AluOp, Gemm, Halt, Load, Operand, Store, Sync, mask
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Memory, Unit
from tests.isa.strategies import small_arch

ARCH = small_arch()


@pytest.mark.parametrize(
    ("line", "instr"),
    [
        ("load", Load()),
        ("  load memory=wgt run=0x10 dram=64 # comment = here", Load(memory=Memory.WGT, run=16, dram=64)),
        ("\tgemm overwrite n=4 k=3 wait=load,alu", Gemm(overwrite=1, n=4, k=3, wait=mask(Unit.LOAD, Unit.ALU))),
        ("gemm overwrite=0", Gemm()),
        (
            "alu operand=param op=rq src_mem=acc dst_mem=ub param=3 zero=-1 lo=-0x80 hi=127",
            Alu(op=AluOp.RQ, operand=Operand.PARAM, src_mem=Memory.ACC, param=3, zero=-1, lo=-128, hi=127),
        ),
        ("alu op=add operand=imm imm=-5", Alu(op=AluOp.ADD, operand=Operand.IMM, imm=-5)),
        ("alu op=add operand=none", Alu(op=AluOp.ADD)),
        ("store signal=load", Store(signal=mask(Unit.LOAD))),
        ("sync on=gemm", Sync(on=Unit.GEMM)),
        ("halt on=store", Halt(on=Unit.STORE)),
    ],
)
def test_lines(line, instr):
    assert parse_program(line, ARCH).instructions == (instr,)


@pytest.mark.parametrize(
    ("instr", "line"),
    [
        (Load(), "load memory=ub"),
        (Gemm(overwrite=1, k=2, signal=5), "gemm overwrite=1 k=2 signal=load,alu"),
        (Alu(), "alu op=mov src_mem=ub dst_mem=ub"),
        (
            Alu(op=AluOp.MAC, operand=Operand.IMM, imm=-3, wait=1, dst_mem=Memory.ACC),
            "alu op=mac src_mem=ub dst_mem=acc operand=imm imm=-3 wait=load",
        ),
        (Sync(on=2, wait=8), "sync on=alu wait=store"),
        (Gemm(k=999), "gemm k=999"),  # what cannot be encoded still has a text, for error messages
        (Alu(op=12), "alu op=12 src_mem=ub dst_mem=ub"),
    ],
)
def test_text_of_instructions(instr, line):
    assert format_instruction(instr) == line


def test_regions_lie_in_order_at_multiples_of_64(tmp_path):
    weights = np.arange(70, dtype=np.int8).reshape(7, 10)
    scales = np.array([1.5, -2], np.float32)
    np.save(tmp_path / "w.npy", weights)
    np.save(tmp_path / "s.npy", scales)
    source = """
    .region w int8 [7, 10] = w.npy            # constant, because a file
    .region y int8 [2, 3] = zeros             # output, because zeros
    .region s float32 [2] = s.npy constant
    .region far uint8 [4] = zeros scratch @ 0x400
    .region next int32 [] = zeros input
    load dram=s run=8
    load dram=far+3
    halt
    """
    program = parse_program(source, ARCH, base_dir=tmp_path)
    places = [(region.name, region.role, region.address, region.bytes) for region in program.regions]
    assert places == [
        ("w", "constant", 0, 70), ("y", "output", 128, 6), ("s", "constant", 192, 8),
        ("far", "scratch", 1024, 4), ("next", "input", 1088, 4),
    ]  # fmt: skip
    assert program.dram_bytes == 1152
    assert program.image.size == 1092
    assert (program.image[:70].view(np.int8) == weights.reshape(-1)).all()
    assert (program.image[192:200].view(np.float32) == scales).all()
    assert [instr.dram for instr in program.instructions[:2]] == [192, 1027]
    assert (program.shape_hash, program.full_hash) == (ARCH.shape_hash, ARCH.full_hash)


def test_dram_directive_and_layers():
    program = parse_program(".dram 4096\nload\n.layer a\nload\nsync\n.layer b\nload\n.layer\nhalt", ARCH)
    assert program.dram_bytes == 4096
    assert program.layers == ("a", "b")
    assert program.layer_of == (-1, 0, 0, 1, -1)
    assert [program.origin(index) for index in (0, 1, 3)] == ["", "a", "b"]


def test_a_region_may_be_named_before_its_line():
    assert parse_program("load dram=x\n.region x int8 [4] = zeros @ 128", ARCH).instructions == (Load(dram=128),)


def test_a_region_may_lie_over_the_data_of_another(tmp_path):
    np.save(tmp_path / "all.npy", np.arange(100, dtype=np.uint8))
    source = ".region all uint8 [100] = all.npy\n.region part int8 [4] = zeros constant @ 8\nhalt"
    program = parse_program(source, ARCH, base_dir=tmp_path)
    assert program.image.tolist() == list(range(100))


def test_programs_round_trip(tmp_path):
    program = Program(
        instructions=(Load(run=8, dram=64, signal=4), Alu(n=4, wait=1), Halt(on=3)),
        image=np.arange(80, dtype=np.uint8),
        dram_bytes=1000,
        regions=(
            DramRegion(name="constants", role="constant", dtype="int8", shape=(80,), address=0),
            DramRegion(name="in put#1", role="input", dtype="int8", shape=(1, 2, 3), address=128),
            DramRegion(name="2nd", role="output", dtype="int32", shape=(4,), address=256),
        ),
        layers=("conv 1", "fc"),
        layer_of=(0, 1, -1),
        tile_of=("t0", "", ""),
    )
    np.save(tmp_path / "image.npy", program.image)
    text = format_program(program, image_file="image.npy")
    assert text == (
        "# 3 instructions\n"
        ".dram 1000\n"
        ".region constants_ uint8 [80] = image.npy constant @ 0\n"
        ".region constants int8 [80] = zeros constant @ 0x0\n"
        ".region in_put_1 int8 [1, 2, 3] = zeros input @ 0x80\n"
        ".region _2nd int32 [4] = zeros output @ 0x100\n"
        ".layer conv_1\n"
        "load memory=ub dram=64 run=8 signal=alu\n"
        ".layer fc\n"
        "alu op=mov src_mem=ub dst_mem=ub n=4 wait=load\n"
        ".layer\n"
        "halt on=store\n"
    )
    again = parse_program(text, ARCH, base_dir=tmp_path)
    assert (encode_all(again.instructions) == encode_all(program.instructions)).all()
    assert again.dram_bytes == 1000
    assert again.layer_of == program.layer_of
    assert (again.image[:80] == program.image).all()
    assert [(r.role, r.dtype, r.shape, r.address) for r in again.regions[1:]] == [
        (r.role, r.dtype, r.shape, r.address) for r in program.regions
    ]
    assert format_program(parse_program(format_program(program), ARCH)).count("zeros") == 5


MISTAKES = [
    ("laod", "1:1: unknown instruction 'laod' (did you mean 'load'? allowed: load, gemm, alu, store, sync, halt)"),
    ("gemm m=4", "1:6: gemm has no field 'm' (did you mean 'm1'? fields: wait, signal, overwrite, k, n, wgt, x, a, "
     "r0, r1, r2, xr0, ...)"),
    ("gemm k", "1:6: field 'k' needs a value (k=...)"),
    ("gemm k=2 k=2", "1:10: field 'k' is given twice"),
    ("gemm k=300", "1:8: k is 300, outside 1..256"),
    ("gemm k=3.5", "1:8: k must be a number, not '3.5'"),
    ("gemm x=-1", "1:8: x is -1, outside 0..33554431"),
    ("gemm overwrite=yes", "1:16: overwrite must be a number, not 'yes'"),
    ("gemm overwrite=2", "1:16: overwrite is 2, outside 0..1"),
    ("load memory=wtg", "1:13: memory cannot be 'wtg' (did you mean 'wgt'? allowed: ub, wgt, acc, param)"),
    ("load memory=dram", "1:13: memory cannot be 'dram' (did you mean 'param'? allowed: ub, wgt, acc, param)"),
    ("alu op=relu", "1:8: op cannot be 'relu' (allowed: mov, add, sub, mul, mac, max, min, shr, rq, lut)"),
    ("load wait=lod", "1:11: wait names no unit 'lod' (did you mean 'load'? allowed: load, gemm, alu, store)"),
    ("load signal=alu,alu", "1:13: signal names alu twice"),
    ("load wait=", "1:11: wait names no unit '' (allowed: load, gemm, alu, store)"),
    ("alu operand=param imm=3", "1:19: imm needs operand=imm (the other operand's fields must be left out)"),
    ("alu lo=3", "1:5: lo needs operand=param (the other operand's fields must be left out)"),
    (".region weights int8 [4] = zeros\nload dram=wieghts",
     "2:11: dram must be a number, not 'wieghts' (did you mean 'weights'? regions: weights)"),
    (".region w int8 [4] = zeros\nload dram=w+x", "2:11: dram must be a number, not 'w+x' (did you mean 'w'? "
     "regions: w)"),
    (".regoin w int8 [4] = zeros",
     "1:1: unknown directive '.regoin' (did you mean '.region'? allowed: .region, .layer, .dram)"),
    (".region w int8 [4]",
     "1:1: the region cannot be read (write .region NAME dtype [shape] = file.npy|zeros [role] [@ address])"),
    (".region w int9 [4] = zeros",
     "1:11: unknown dtype 'int9' (did you mean 'int8'? allowed: int8, uint8, int32, float32)"),
    (".region w int8 [4, x] = zeros", "1:17: [4, x] is not a shape (write [1, 28, 28, 1])"),
    (".region w int8 [0] = zeros", "1:17: [0] is not a shape (write [1, 28, 28, 1])"),
    (".region w int8 [4] = zeros outptu",
     "1:28: unknown role 'outptu' (did you mean 'output'? allowed: input, output, constant, scratch)"),
    (".region w int8 [4] = zeros @ 0q", "1:30: '0q' is not an address"),
    (".region w int8 [4] = zeros\n.region w int8 [4] = zeros", "2:9: region w is declared twice"),
    (".region w int8 [4] = none.npy", "1:22: none.npy cannot be read: No such file or directory"),
    (".region w int8 [4] = text.npy", "1:22: text.npy is not a .npy file of numbers"),
    (".region w int8 [4] = two.npz", "1:22: two.npz holds several arrays, expected one (.npy)"),
    (".region w int8 [4] = five.npy", "1:22: five.npy holds int8 [5], expected int8 [4]"),
    (".region w int8 [5] = five.npy\n.region v int8 [5] = five.npy @ 4",
     "2:9: region v overlaps the data of region w"),
    (".dram", "1:1: expected .dram BYTES, 0 to 4294967296"),
    (".dram 5000000000", "1:1: expected .dram BYTES, 0 to 4294967296"),
    (".dram 1\n.dram 1", "2:1: .dram is given twice"),
    (".layer conv 1", "1:13: a layer has one name, without spaces"),
]


@pytest.mark.parametrize(("source", "text"), MISTAKES)
def test_the_text_of_mistakes(tmp_path, source, text):
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "five.npy", np.zeros(5, np.int8))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(AsmErrors) as caught:
        parse_program(source, ARCH, where="f.asm", base_dir=tmp_path)
    (error,) = caught.value.errors
    line, column = (int(part) for part in error.where.split(":")[1:])
    expected = f"f.asm:{text}\n    {source.splitlines()[line - 1]}\n    {' ' * (column - 1)}^"
    assert str(error) == expected
    assert str(caught.value) == f"{expected}\n1 mistake found"


def test_all_mistakes_are_reported_in_the_order_of_lines():
    source = "gemm k=0 x=-1\n.regoin\nlaod\n\tgemm n=0\nhalt on=store\n"
    with pytest.raises(AsmErrors) as caught:
        parse_program(source, ARCH)
    assert [error.where for error in caught.value.errors] == [
        "<asm>:1:8", "<asm>:1:12", "<asm>:2:1", "<asm>:3:1", "<asm>:4:9",
    ]  # fmt: skip
    assert caught.value.errors[-1].source == "    \tgemm n=0\n    \t       ^"
    assert str(caught.value).endswith("\n5 mistakes found")
