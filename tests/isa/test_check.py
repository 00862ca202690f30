"""Every rule of the static check but races, each with its text."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from accelsim.errors import ConfigError, ProgramError
from accelsim.isa.asm import parse_program
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Gemm, Halt, Load
from accelsim.isa.program import DramRegion, Program
from tests.isa.strategies import small_arch

ARCH = small_arch()  # 4x4; UB 256 bytes, WGT 32 rows, ACC 24, PARAM 20
HEAD = ".region w int8 [128] = zeros constant\n.region y int8 [64] = zeros output\n.dram 1024\n"
READY = "load memory=ub run=128\nload memory=wgt run=128 signal=gemm\n"


def refusal(lines, **options):
    program = parse_program(HEAD + lines, ARCH)
    with pytest.raises(ProgramError) as caught:
        check_program(program, ARCH, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gemm k=5", "k is 5 and the array has 4 rows"),
        ("gemm n=5", "n is 5 and the array has 4 columns"),
        ("alu n=5", "n is 5 and the array has 4 columns"),
        ("load local=250 run=7", "writes UB bytes 250..256, and UB has 256 bytes"),
        ("load memory=wgt local=124 run=5", "writes WGT rows 31..32, and WGT has 32 rows"),
        ("load memory=acc local=380 run=5", "writes ACC rows 23..24, and ACC has 24 rows"),
        ("load memory=param local=320", "writes PARAM row 20, and PARAM has 20 rows"),
        ("load dram=1023 run=2", "reads DRAM bytes 1023..1024, and DRAM has 1024 bytes"),
        ("store local=200 n0=2 ls0=56", "reads UB bytes 200..256, and UB has 256 bytes"),
        ("store dram=1000 n2=2 ds2=24", "writes DRAM bytes 1000..1024, and DRAM has 1024 bytes"),
        ("gemm x=253 k=4", "reads UB bytes 253..256, and UB has 256 bytes"),
        ("gemm wgt=29 k=2 r0=2", "reads WGT rows 29..32, and WGT has 32 rows"),
        ("gemm overwrite a=20 m0=5 am0=1", "writes ACC rows 20..24, and ACC has 24 rows"),
        ("gemm a=24", "reads ACC row 24, and ACC has 24 rows"),
        ("alu src_mem=acc src=24", "reads ACC row 24, and ACC has 24 rows"),
        ("alu dst=255 n=2", "writes UB bytes 255..256, and UB has 256 bytes"),
        ("alu op=rq operand=param param=19", "reads PARAM rows 19..20, and PARAM has 20 rows"),
        ("alu op=lut operand=param param=5", "reads PARAM rows 5..20, and PARAM has 20 rows"),
        ("alu op=mac operand=param param=15 r0=3 r1=2", "reads PARAM rows 15..20, and PARAM has 20 rows"),
        ("load wait=load", "wait names the instruction's own unit, load; a unit runs in order anyway"),
        ("sync on=alu signal=alu", "signal names the instruction's own unit, alu; a unit runs in order anyway"),
        ("alu op=rq", "rq needs operand=param"),
        ("alu op=lut operand=imm", "lut needs operand=param"),
        ("alu op=mac", "mac needs an operand: imm, param or dst"),
        ("alu op=mov operand=dst", "mov takes no operand"),
        ("alu op=mov r0=2", "mov does not reduce: r0 and r1 must be 1"),
        ("alu op=mov accumulate", "mov does not accumulate"),
        ("alu op=add operand=imm r1=2", "add with operand=imm does not reduce: r0 and r1 must be 1"),
        ("alu op=max operand=param accumulate", "max with operand=param does not accumulate"),
        ("alu op=rq operand=param r0=2", "rq with operand=param does not reduce: r0 and r1 must be 1"),
        ("alu op=rq operand=param lo=3 hi=2", "rq clamps to lo=3..hi=2, an empty range"),
        ("alu op=add operand=param hi=2", "zero, lo and hi belong to rq, not to add"),
        ("halt on=load", "halt must be the last instruction, and the only one"),
        ("store dram=120 n0=2 ds0=20 run=4", "stores to DRAM byte 120, a constant of the program's image"),
        ("store dram=100 n0=3 ds0=20 run=4", "stores to DRAM byte 100, a constant of the program's image"),
    ],
)
def test_single_instructions(line, problem):
    text = refusal(f"sync\n{line}\nhalt", data=False)
    first, shown = text.split("\n    ")
    assert first == f"instruction 1: {problem}"
    assert shown.split()[0] == line.split()[0]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("sync", "instruction 0: the program does not end with halt (add `halt on=store`)\n    sync on=load"),
        ("", "instruction 0: the program does not end with halt (add `halt on=store`)\n    (no instructions)"),
        (
            ".layer fc\nsync on=alu wait=gemm\nhalt",
            "instruction 0 [fc]: waits for a token from gemm that no earlier instruction gives (an earlier gemm "
            "instruction needs signal=alu)\n    sync on=alu wait=gemm",
        ),
        (
            "sync on=alu wait=gemm\nsync on=gemm signal=alu\nhalt",
            "instruction 0: waits for a token from gemm that no earlier instruction gives (an earlier gemm "
            "instruction needs signal=alu)\n    sync on=alu wait=gemm",
        ),
        (
            "sync on=gemm signal=alu\nsync on=gemm signal=alu\nsync on=alu wait=gemm\nhalt",
            "instruction 1: gives alu a token that no instruction takes (a later alu instruction needs wait=gemm)"
            "\n    sync on=gemm signal=alu",
        ),
        (
            "halt signal=alu",
            "instruction 0: gives alu a token that no instruction takes (a later alu instruction needs wait=load)"
            "\n    halt on=load signal=alu",
        ),
        (
            "load run=4 signal=alu\nalu n=4 src=2 dst=8 wait=load\nhalt",
            "instruction 1: reads UB bytes 4..5, never written before\n"
            "    alu op=mov src_mem=ub dst_mem=ub n=4 src=2 dst=8 wait=load",
        ),
        ("load dram=500 run=20\nhalt",
         "instruction 0: reads DRAM bytes 500..519, never written before\n    load memory=ub dram=500 run=20"),
        ("load dram=120 run=20\nhalt",
         "instruction 0: reads DRAM bytes 128..139, never written before\n    load memory=ub dram=120 run=20"),
        (
            f"{READY}gemm k=4 n=4 wait=load\nhalt",
            "instruction 2: reads ACC row 0, never written before\n    gemm k=4 n=4 wait=load",
        ),
        (
            "alu op=rq operand=param n=4\nhalt",
            "instruction 0: reads UB bytes 0..3, never written before\n"
            "    alu op=rq src_mem=ub dst_mem=ub operand=param n=4",
        ),
    ],
)
def test_programs(lines, text):
    assert refusal(lines) == text


def test_reads_of_unwritten_bytes_may_be_skipped():
    check_program(parse_program(f"{HEAD}load dram=500 run=20\nstore dram=200 local=7 wait=load\nhalt".replace(
        "run=20", "run=20 signal=store"), ARCH), ARCH, data=False)  # fmt: skip


def test_what_stores_wrote_may_be_loaded():
    lines = "load run=16 signal=store\nstore dram=128 run=16 wait=load signal=load\nload dram=128 run=16 wait=store"
    check_program(parse_program(f"{HEAD}{lines}\nhalt", ARCH), ARCH)
    longer = lines.replace("run=16 wait=store", "run=17 wait=store")
    assert "reads DRAM byte 144, never written" in refusal(f"{longer}\nhalt")
    # A load across the constants and what was stored after them.
    across = lines.replace("load dram=128", "load dram=112 n0=2 ds0=16")
    check_program(parse_program(f"{HEAD}{across}\nhalt", ARCH), ARCH)


def test_a_declared_output_inside_the_image_may_be_stored_to():
    source = (
        ".region a int8 [64] = zeros constant\n.region y int8 [64] = zeros output\n"
        ".region b int8 [64] = zeros constant\nload run=64 signal=store\nstore dram=y run=64 wait=load\nhalt"
    )
    program = parse_program(source, ARCH)
    assert program.image.size == 192
    check_program(program, ARCH)
    assert "DRAM byte 128, a constant" in refusal_of(source.replace("dram=y", "dram=y+1"))


def refusal_of(source):
    with pytest.raises(ProgramError) as caught:
        check_program(parse_program(source, ARCH), ARCH)
    return str(caught.value)


@pytest.mark.parametrize(("tokens", "good"), [(255, True), (256, False)])
def test_a_counter_holds_255_tokens(tokens, good):
    lines = ["sync on=gemm signal=alu"] * tokens + ["sync on=alu wait=gemm"] * tokens + ["halt"]
    if good:
        check_program(parse_program("\n".join(lines), ARCH), ARCH)
        return
    assert refusal("\n".join(lines)) == (
        "instruction 255: tokens from gemm to alu can reach 256, and a counter holds 255 "
        "(gemm must wait for alu now and then)\n    sync on=gemm signal=alu"
    )


def test_a_counter_is_bounded_under_any_timing():
    """Program order alternates, but nothing stops gemm from running ahead unless alu answers."""
    alternate = ["sync on=gemm signal=alu", "sync on=alu wait=gemm"] * 256
    assert "can reach 256" in refusal("\n".join([*alternate, "halt"]))
    answered = ["sync on=gemm signal=alu", "sync on=alu wait=gemm"] * 200
    answered += ["sync on=alu signal=gemm", "sync on=gemm wait=alu"]
    check_program(parse_program("\n".join([*answered * 3, "halt"]), ARCH), ARCH)


def test_fields_out_of_range_name_the_instruction():
    program = Program(instructions=(Load(), Gemm(k=300), Halt()), image=np.zeros(0, np.uint8), dram_bytes=64)
    with pytest.raises(ProgramError) as caught:
        check_program(program, ARCH)
    assert str(caught.value) == "instruction 1: gemm.k: 300 is outside 1..256 (8 bits)\n    gemm k=300"


def test_what_does_not_belong_to_the_machine_or_the_memory():
    program = parse_program("halt", ARCH)
    other = small_arch(rows=5)
    with pytest.raises(ConfigError) as caught:
        check_program(program, other)
    assert str(caught.value) == (
        "program: shape_hash: compiled for a machine of another shape than small "
        f"(program {ARCH.shape_hash}, machine {other.shape_hash}; compile it for small)"
    )
    region = DramRegion(name="y", role="output", dtype="int32", shape=(4,), address=52)
    with pytest.raises(ConfigError) as caught:
        check_program(dataclasses.replace(program, regions=(region,), dram_bytes=64), ARCH)
    assert str(caught.value) == "program: region y: bytes 52..67 of 64 bytes of DRAM"
    with pytest.raises(ConfigError) as caught:
        check_program(dataclasses.replace(program, image=np.zeros(65, np.uint8), dram_bytes=64), ARCH)
    assert str(caught.value) == "program: image: has 65 bytes and DRAM 64"


def test_ten_thousand_instructions_take_seconds():
    """A double-buffered loop over all units, large enough that anything quadratic would show."""
    lines = [HEAD.replace("128", "64")]
    for step in range(2000):
        half, first = step % 2, step < 2
        more = step < 1998
        lines += [
            f"load local={half * 64} run=64 {'' if first else 'wait=gemm'}",
            f"load memory=wgt local={half * 16} run=16 signal=gemm",
            f"gemm overwrite k=4 n=4 x={half * 64} wgt={half * 4} a={half * 12} m0=12 xm0=4 am0=1 "
            f"wait=load{'' if first else ',alu'} signal=alu{',load' if more else ''}",
            f"alu src_mem=acc src={half * 12} n=4 m0=12 sm0=1 dst={128 + half * 48} dm0=4 "
            f"wait=gemm{'' if first else ',store'} signal=store{',gemm' if more else ''}",
            f"store local={128 + half * 48} run=48 dram=64 wait=alu {'signal=alu' if more else ''}",
        ]
    program = parse_program("\n".join([*lines, "halt"]), ARCH)
    start = time.process_time()
    check_program(program, ARCH)
    assert time.process_time() - start < 10  # about half a second alone
