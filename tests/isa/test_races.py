"""The static race check against brute-force happens-before, on random small programs."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import ProgramError, RaceError
from accelsim.isa.asm import parse_program
from accelsim.isa.check import check_program
from accelsim.isa.effects import effects
from accelsim.isa.functional import run
from accelsim.isa.order import order
from accelsim.isa.protocol import Memory
from accelsim.isa.races import initial_dram
from accelsim.isa.state import MachineState
from tests.isa.strategies import DRAM_BYTES, arches, programs, small_arch
from tests.oracles.happens_before import byte_masks, ordered_pairs, unordered_conflicts

ARCH = small_arch()


def test_races_are_exactly_the_unordered_conflicts():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.data())
    def compare(data):
        arch = data.draw(arches())
        program = data.draw(programs(arch))
        expected = unordered_conflicts(program, arch)
        try:
            check_program(program, arch, data=False)
            found = None
        except RaceError as error:
            found = (error.other, error.index)
        assert (found in expected) if expected else (found is None)
        if found is not None:
            assert found[1] == min(later for _, later in expected)
        seen[found is None] += 1

    compare()
    assert min(seen[True], seen[False]) > 50  # both verdicts are common


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_clocks_are_reachability(data):
    program = data.draw(programs(ARCH, max_length=12))
    known, pairs = order(program), ordered_pairs(program)
    for index, clock in enumerate(known.clock):
        for unit, landed in enumerate(clock):
            if unit == program.instructions[index].unit:
                continue
            before = {other for other in known.of_unit[unit] if (other, index) in pairs}
            assert before == set(known.of_unit[unit][:landed])


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_a_read_of_unwritten_bytes_is_refused(data):
    """The check with data against bit masks of everything written so far."""
    arch = data.draw(arches())
    program = data.draw(programs(arch, max_length=5))
    image = np.zeros(data.draw(st.sampled_from((0, 100, DRAM_BYTES))), np.uint8)
    program = dataclasses.replace(program, image=image)
    written = dict.fromkeys(Memory, 0)
    written[Memory.DRAM] = (1 << image.size) - 1
    expected = None
    for index, instr in enumerate(program.instructions):
        touched = effects(instr, arch)
        reads, writes = byte_masks(touched.reads), byte_masks(touched.writes)
        if expected is None and any(reads[memory] & ~written[memory] for memory in Memory):
            expected = index
        written = {memory: written[memory] | writes[memory] for memory in Memory}
    found = refusal(program, arch)
    if isinstance(found, RaceError) or (found is not None and "constant" in found.problem):
        return  # two mistakes; one is reported
    assert (None if found is None else found.index) == expected
    assert found is None or "never written before" in found.problem


def refusal(program, arch):
    try:
        check_program(program, arch)
    except ProgramError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (
            "load run=8\nalu n=4 src=4 dst=16",
            "race: instructions 0 and 1 both touch UB bytes 4..7: written by load, then read by alu, and nothing "
            "orders the two (alu needs wait=load here or before, matching signal=alu at 0 or a later load)\n"
            "    0 [conv1]: load memory=ub run=8\n"
            "    1 [conv1]: alu op=mov src_mem=ub dst_mem=ub n=4 src=4 dst=16",
        ),
        (
            "load run=32 signal=alu\nalu n=4 wait=load dst_mem=acc dst=2 m0=3 dm0=1\nload memory=acc local=46 run=2",
            "race: instructions 1 and 2 both touch ACC row 2: written by alu, then written by load, and nothing "
            "orders the two (load needs wait=alu here or before, matching signal=load at 1 or a later alu)\n"
            "    1 [conv1]: alu op=mov src_mem=ub dst_mem=acc n=4 m0=3 dst=2 dm0=1 wait=load\n"
            "    2 [conv1]: load memory=acc local=46 run=2",
        ),
        (
            "load run=9\nstore local=8 dram=64\n",
            "race: instructions 0 and 1 both touch UB byte 8: written by load, then read by store, and nothing "
            "orders the two (store needs wait=load here or before, matching signal=store at 0 or a later load)\n"
            "    0 [conv1]: load memory=ub run=9\n"
            "    1 [conv1]: store memory=ub dram=64 local=8",
        ),
        (
            "load run=9 signal=store\nstore wait=load dram=64 run=4 signal=load\nstore dram=68 run=4\n"
            "load wait=store dram=60 run=9",
            "race: instructions 2 and 3 both touch DRAM byte 68: written by store, then read by load, and nothing "
            "orders the two (load needs wait=store here or before, matching signal=load at 2 or a later store)\n"
            "    2 [conv1]: store memory=ub dram=68 run=4\n"
            "    3 [conv1]: load memory=ub dram=60 run=9 wait=store",
        ),
    ],
)
def test_the_text_of_races(lines, text):
    source = f".region w uint8 [64] = zeros constant\n.region y uint8 [64] = zeros\n.layer conv1\n{lines}\nhalt"
    program = parse_program(source, ARCH)
    with pytest.raises(RaceError) as caught:
        check_program(program, ARCH)
    assert str(caught.value) == text


def test_following_the_hint_removes_the_race():
    source = ".region w uint8 [64] = zeros constant\nload run=8 signal=alu\nalu n=4 src=4 dst=16 wait=load\nhalt"
    program = parse_program(source, ARCH)
    check_program(program, ARCH)
    state = MachineState(ARCH, program.dram_bytes, poison=True)
    state.load_program(program)
    run(program, state)
    assert state.ub[16:20].tolist() == [0, 0, 0, 0]


def test_windows_of_a_load_that_straddle_the_stored_bytes():
    """Loads that reach beyond the span of all stores are clipped to it, run by run."""
    lines = (
        "store dram=70 run=4 signal=load\nload wait=store dram=66 run=3 n0=3 ds0=5\n"
        "store local=99 dram=72 run=6\nhalt"
    )
    source = f".region w uint8 [256] = zeros constant\n.region y uint8 [64] = zeros @ 64\n{lines}"
    program = parse_program(source, ARCH)
    with pytest.raises(RaceError, match=r"DRAM bytes 72\.\.77") as caught:
        check_program(program, ARCH, data=False)
    assert (caught.value.other, caught.value.index) == (1, 2)


def test_initial_dram_merges_image_inputs_and_constants():
    source = (
        ".region w uint8 [64] = zeros constant\n.region x int8 [10] = zeros input @ 64\n"
        ".region y int8 [10] = zeros output @ 80\n.region c int32 [2] = zeros constant @ 0x60\nhalt"
    )
    program = parse_program(source, ARCH)
    assert initial_dram(program) == [(0, 104)]
    bare = dataclasses.replace(program, image=np.zeros(16, np.uint8))
    assert initial_dram(bare) == [(0, 74), (96, 104)]
