"""The bit layout, round trips, golden words and refusals of the encoding."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import EncodingError, ProgramError
from accelsim.isa.asm import parse_program
from accelsim.isa.encoding import arm_active, check_ranges, decode, decode_all, encode, encode_all, unencodable
from accelsim.isa.fields import OPCODE_BITS, WORD_BITS, choice, layout, used_bits
from accelsim.isa.instructions import (
    CLASSES,
    Alu,
    AluOp,
    Gemm,
    Halt,
    Load,
    Opcode,
    Operand,
    Store,
    Sync,
    mask,
    members,
    rebuild,
)
from accelsim.isa.protocol import Memory, Unit
from accelsim.isa.text import format_instruction
from tests.isa.strategies import arches, instructions, small_arch

WIDTHS = {Load: 247, Gemm: 250, Alu: 256, Store: 246, Sync: 13, Halt: 13}


@pytest.mark.parametrize("cls", WIDTHS)
def test_widths_and_places(cls):
    """Fields follow each other without gap or overlap; arms of a union start together and end within the word."""
    slots = layout(cls)
    assert used_bits(cls) == WIDTHS[cls]
    offset = OPCODE_BITS
    for slot in slots:
        if not slot.spec.union:
            assert slot.offset == offset
            offset += slot.spec.width
    arms = {}
    for slot in slots:
        if slot.spec.union:
            assert slot.offset == arms.get(slot.spec.union, offset)
            arms[slot.spec.union] = slot.offset + slot.spec.width
            assert slot.default == 0  # an inactive arm must leave the word alone
    assert all(end <= WORD_BITS for end in arms.values())
    assert arms or offset == WIDTHS[cls]
    assert [slot.name for slot in slots[:2]] == ["wait", "signal"]
    assert all(slot.spec.doc for slot in slots)


def test_the_operand_takes_40_bits():
    places = {slot.name: (slot.offset, slot.spec.width) for slot in layout(Alu)}
    assert places["imm"] == (216, 32)
    assert [places[name] for name in ("param", "zero", "lo", "hi")] == [(216, 14), (230, 8), (238, 8), (246, 8)]


def test_opcodes_are_unique_and_all_have_a_class():
    assert set(CLASSES) == set(Opcode)
    assert len({cls.opcode for cls in CLASSES.values()}) == len(CLASSES) == 6


def test_a_choice_must_fit_its_bits():
    with pytest.raises(ValueError, match="5 values do not fit 2 bits"):
        choice(2, Memory, "")


@st.composite
def encodable(draw):
    """Any instruction with any values that fit, extremes often."""
    cls = draw(st.sampled_from(list(WIDTHS)))
    values = {}
    for slot in layout(cls):
        spec = slot.spec
        if spec.kind == "choice":
            values[slot.name] = draw(st.sampled_from([value for _, value in spec.names]))
        else:
            edges = st.sampled_from((spec.low, spec.high))
            values[slot.name] = draw(st.one_of(edges, st.integers(spec.low, spec.high)))
    instr = cls(**values)
    inactive = {slot.name for slot in layout(cls) if not arm_active(instr, slot)}
    return cls(**{name: value for name, value in values.items() if name not in inactive})


@settings(deadline=None, derandomize=True, max_examples=300)
@given(encodable())
def test_encode_decode_and_assembly_round_trip(instr):
    word = encode(instr)
    assert len(word) == 32
    assert decode(word) == instr
    assert encode(decode(word)) == word
    parsed = parse_program(format_instruction(instr), small_arch()).instructions
    assert parsed == (instr,)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(encodable())
def test_every_field_stands_at_its_bits(instr):
    """Read each field from the word with a mask, from the layout alone."""
    number = int.from_bytes(encode(instr), "little")
    assert number & 7 == instr.opcode
    for slot in layout(type(instr)):
        if not arm_active(instr, slot):
            continue
        raw = number >> slot.offset & ((1 << slot.spec.width) - 1)
        value = getattr(instr, slot.name)
        if slot.spec.kind == "count":
            value -= 1
        elif slot.spec.kind == "choice":
            value = [member for _, member in slot.spec.names].index(value)
        assert raw == value % (1 << slot.spec.width)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.binary(min_size=32, max_size=32))
def test_any_word_decodes_to_itself_or_is_refused(word):
    try:
        instr = decode(word)
    except ProgramError:
        return
    assert encode(instr) == word


@settings(deadline=None, derandomize=True, max_examples=100)
@given(encodable(), st.integers(0, 255))
def test_a_flipped_bit_gives_another_instruction_or_is_refused(instr, bit):
    flipped = int.from_bytes(encode(instr), "little") ^ (1 << bit)
    try:
        other = decode(flipped.to_bytes(32, "little"))
    except ProgramError:
        return
    assert other != instr


def test_many_words():
    instrs = (Load(run=5), Gemm(k=3, n=2), Halt(on=3))
    words = encode_all(instrs)
    assert words.dtype == np.uint8
    assert words.shape == (3, 32)
    assert decode_all(words) == instrs
    assert encode_all(()).shape == (0, 32)
    assert decode_all(encode_all(())) == ()


@pytest.mark.parametrize(
    ("instr", "word"),
    [
        (Halt(), "05" + "00" * 31),
        (Halt(on=Unit.STORE, wait=mask(Unit.ALU)), "2518" + "00" * 30),
        (Sync(on=Unit.GEMM, signal=mask(Unit.LOAD, Unit.STORE)), "840c" + "00" * 30),
        (
            Load(memory=Memory.WGT, dram=0x12345678, local=512, run=256, n0=2, ds0=256, ls0=256, signal=2),
            "00099e158d048000807f00080000000020000000000000000002000000000000",
        ),
        (
            Gemm(overwrite=1, k=25, n=6, x=3, a=7, r0=5, xr0=32, m0=28, m1=28, xm0=1, xm1=32, am0=1, am1=28),
            "0188510000c00000800300020000400000000000800dd8800000400020800300",
        ),
        (
            Alu(
                op=AluOp.RQ, src_mem=Memory.ACC, operand=Operand.PARAM, n=6, m0=784, sm0=1, dst=100, dm0=6,
                param=2, zero=-3, lo=-128, hi=127, wait=2, signal=8,
            ),
            "12c454f0300000000000800000000000000000800c00800100000002403fe01f",
        ),
        (
            Store(memory=Memory.ACC, dram=64, local=4, run=16, wait=4),
            "2308080000800000c00300000000000000000000000000000000000000000000",
        ),
    ],
)
def test_golden_words(instr, word):
    """Packed by hand from the table of widths; a change here breaks every program file."""
    assert encode(instr).hex() == word


@pytest.mark.parametrize(
    ("instr", "text"),
    [
        (Gemm(k=257), "gemm.k: 257 is outside 1..256 (8 bits)"),
        (Gemm(k=0), "gemm.k: 0 is outside 1..256 (8 bits)"),
        (Gemm(x=-1), "gemm.x: -1 is outside 0..33554431 (25 bits)"),
        (Load(memory=Memory.DRAM), "load.memory: 4 is none of ub (0), wgt (1), acc (2), param (3)"),
        (Alu(dst_mem=Memory.WGT), "alu.dst_mem: 1 is none of ub (0), acc (2)"),
        (Alu(operand=Operand.IMM, imm=2**31), f"alu.imm: {2**31} is outside -2147483648..2147483647 (32 bits)"),
        (Alu(imm=1), "alu.imm: 1 needs operand=imm; otherwise the field must be 0"),
        (Alu(operand=Operand.IMM, lo=1), "alu.lo: 1 needs operand=param; otherwise the field must be 0"),
        (Load(run=2.0), "load.run: 2.0 is not an integer"),
        (Load(run=np.int64(2)), "load.run: 2 is not an integer"),
        (Sync(wait=16), "sync.wait: 16 is outside 0..15 (4 bits)"),
    ],
)
def test_the_text_of_values_that_do_not_fit(instr, text):
    for refuse in (encode, check_ranges):
        with pytest.raises(EncodingError) as caught:
            refuse(instr)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("07" + "00" * 31, "unknown opcode 7"),
        ("06" + "00" * 31, "unknown opcode 6"),
        ("05" + "00" * 30 + "80", "bit 255 is set and no field of halt holds it"),
        ("02" + "00" * 26 + "01" + "00" * 4, "bit 216 is set and no field of alu holds it"),
        ("02f8" + "00" * 30, "alu.op has no value 15"),
        ("0500", "an instruction word has 32 bytes, this one 2"),
    ],
)
def test_the_text_of_words_that_are_no_instruction(word, problem):
    with pytest.raises(ProgramError) as caught:
        decode(bytes.fromhex(word), 17)
    assert str(caught.value) == f"instruction 17: {problem}\n    {word}"


def test_masks():
    assert mask(Unit.LOAD, Unit.ALU) == 0b101
    assert members(0b1010) == (Unit.GEMM, Unit.STORE)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data())
def test_legal_random_instructions_encode(data):
    instr = data.draw(instructions(data.draw(arches())))
    assert decode(encode(instr)) == instr


@st.composite
def perhaps_encodable(draw):
    """An instruction, one of whose fields may hold anything."""
    instr = draw(encodable())
    if draw(st.integers(0, 3)):
        return instr
    slot = draw(st.sampled_from(layout(type(instr))))
    spec = slot.spec
    wrong = st.sampled_from((spec.low - 1, spec.high + 1, 3, 2**63, -(2**70), 1.0, np.int64(1), None, True))
    return dataclasses.replace(instr, **{slot.name: draw(wrong)})


def refusal(work):
    """The text of the error that ``work`` raises, None if it does not."""
    try:
        work()
    except (EncodingError, ProgramError) as error:
        return str(error)
    return None


def test_many_instructions_encode_as_each_by_itself():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.lists(perhaps_encodable(), max_size=6))
    def compare(instrs):
        alone = [refusal(lambda instr=instr: check_ranges(instr)) for instr in instrs]
        assert unencodable(instrs) == {place for place, text in enumerate(alone) if text is not None}
        expected = next((text for text in alone if text is not None), None)
        assert refusal(lambda: encode_all(instrs)) == expected
        if expected is None:
            assert encode_all(instrs).tobytes() == b"".join(encode(instr) for instr in instrs)
        seen[expected is None] += 1

    compare()
    assert min(seen[True], seen[False]) > 50


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.one_of(encodable().map(encode), st.binary(min_size=32, max_size=32)), max_size=5), st.data())
def test_many_words_decode_as_each_by_itself(words, data):
    if words and data.draw(st.booleans()):  # a word that is nearly one
        place, bit = data.draw(st.integers(0, len(words) - 1)), data.draw(st.integers(0, 255))
        words[place] = (int.from_bytes(words[place], "little") ^ 1 << bit).to_bytes(32, "little")
    alone = [refusal(lambda index=index, word=word: decode(word, index)) for index, word in enumerate(words)]
    expected = next((text for text in alone if text is not None), None)
    array = np.frombuffer(b"".join(words), np.uint8).reshape(-1, 32)
    assert refusal(lambda: decode_all(array)) == expected
    if expected is None:
        found = decode_all(array)
        assert found == tuple(map(decode, words))
        assert all(type(getattr(instr, slot.name)) is int for instr in found for slot in layout(type(instr)))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(encodable())
def test_rebuild_is_the_constructor_without_keywords(instr):
    values = [getattr(instr, slot.name) for slot in layout(type(instr))]
    again = rebuild(type(instr), values)
    assert (again, hash(again)) == (instr, hash(instr))
