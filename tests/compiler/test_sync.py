"""Tokens of random streams: no race by the static check or by brute force, none implied, counters in bounds."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.sync import MAX_TOKENS, find_edges, with_tokens
from accelsim.errors import ProgramError
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Alu, AluOp, Gemm, Instr, Load, Store
from accelsim.isa.protocol import Memory, Unit
from tests.compiler.streams import bare, program_of, streams
from tests.compiler.tokens import all_pairs, token_pairs, without
from tests.isa.strategies import DRAM_BYTES, arches, small_arch
from tests.oracles.happens_before import conflicts, ordered_pairs

BIG = small_arch(ub=8192, wgt_rows=2048, acc_rows=4)
COUNT = 600


def test_random_streams_do_not_race():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.data())
    def compare(data):
        arch = data.draw(arches())
        stream = data.draw(streams(arch))
        edges = find_edges(stream, arch, DRAM_BYTES)
        program = program_of(with_tokens(stream, edges))
        assert bare(program.instructions[:-1]) == stream
        check_program(program, arch, data=False)
        clashing, ordered = conflicts(program, arch), ordered_pairs(program)
        assert [pair for pair in clashing if pair not in ordered] == []
        assert all_pairs(program) == sorted(
            ((p, c) for c, producers in enumerate(edges.producers) for p in producers), key=lambda pair: pair[::-1]
        )
        seen["tokens"] += len(all_pairs(program))
        seen["conflicts"] += len(clashing)
        assert set(all_pairs(program)) <= set(clashing)  # nobody waits for bytes that he does not touch

    compare()
    assert seen["conflicts"] > seen["tokens"] > 250  # some orders follow from others


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_no_token_is_implied_by_others(data):
    arch = data.draw(arches())
    stream = data.draw(streams(arch))
    program = program_of(with_tokens(stream, find_edges(stream, arch, DRAM_BYTES)))
    for pairs in token_pairs(program.instructions).values():
        assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))
    for pair in all_pairs(program):
        assert pair not in ordered_pairs(without(program, pair))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_what_is_known_is_what_the_tokens_order(data):
    arch = data.draw(arches())
    stream = data.draw(streams(arch))
    edges = find_edges(stream, arch, DRAM_BYTES)
    ordered = ordered_pairs(program_of(with_tokens(stream, edges)))
    for index, known in enumerate(edges.known):
        for unit in Unit:
            before = [i for i in range(index) if stream[i].unit == unit and (i, index) in ordered]
            if unit != stream[index].unit:
                assert known[unit] == max(before, default=-1)


def test_a_hand_written_stream():
    """Double buffering by hand: a load waits for the gemm that read its buffer, never for the other one."""
    arch = small_arch()
    weights = Load(memory=Memory.WGT, run=16)
    stream = [weights]
    for step in range(4):
        at = step % 2 * 16
        stream.append(Load(memory=Memory.UB, dram=16 * step, local=at, run=16))
        stream.append(Gemm(k=4, n=4, x=at, m0=4, xm0=4, am0=1, a=step % 2 * 4, overwrite=1))
    edges = find_edges(stream, arch, 64)
    assert edges.producers == ((), (), (1,), (), (3,), (2,), (5,), (4,), (7,))


@pytest.mark.parametrize(
    ("stream", "tokens"),
    [
        pytest.param("interleaved", 603, id="interleaved"),
        pytest.param("loads first", 90, id="loads first"),
        pytest.param("gemms", 603, id="gemms"),
        pytest.param("back and forth", 1199, id="back and forth"),
    ],
)
def test_a_counter_never_exceeds_its_limit(stream, tokens):
    """600 loads that one unit reads and nothing holds back: the tokens of one pair would reach 600."""
    words = STREAMS[stream]()
    edges = find_edges(words, BIG, 8192)
    program = program_of(with_tokens(words, edges), dram_bytes=8192)
    check_program(program, BIG, data=False)
    assert len(all_pairs(program)) == tokens
    for pairs in token_pairs(program.instructions).values():
        assert most_held(program, pairs) <= MAX_TOKENS


def test_without_the_extra_tokens_the_counter_overflows():
    words = interleaved(movs())
    program = program_of(with_tokens(words, find_edges(words, BIG, 8192)), dram_bytes=8192)
    assert most_held(program, token_pairs(program.instructions)[Unit.LOAD, Unit.ALU]) > MAX_TOKENS // 2
    for pair in token_pairs(program.instructions)[Unit.ALU, Unit.LOAD]:
        with pytest.raises(ProgramError, match=r"tokens from load to alu can reach \d+, and a counter holds 255"):
            check_program(without(program, pair), BIG, data=False)


def most_held(program, pairs):
    """The most tokens of one pair at any time under any timing, straight from what is ordered by reachability."""
    landed = known_before(program)
    return max(
        given - sum(1 for _, taker in pairs if taker in landed[giver]) for given, (giver, _) in enumerate(pairs, 1)
    )


def known_before(program):
    """Per instruction, everything that has landed before it starts: a plain forward pass over the tokens."""
    signals = {taker: [] for taker in range(len(program.instructions))}
    for giver, taker in all_pairs(program):
        signals[taker].append(giver)
    before: list[set[int]] = []
    last: dict[Unit, set[int]] = {}
    landed: dict[int, set[int]] = {}  # what has landed when an instruction has: earlier ones of its unit, too
    own: dict[Unit, list[int]] = {unit: [] for unit in Unit}
    for index, instr in enumerate(program.instructions):
        known = set(last.get(instr.unit, set()))
        for giver in signals[index]:
            known |= landed[giver]
        last[instr.unit] = known
        own[instr.unit].append(index)
        before.append(known)
        landed[index] = known | set(own[instr.unit])
    return before


def loads(memory=Memory.UB) -> list[Instr]:
    return [Load(memory=memory, dram=max(0, 4 * i - 4), local=4 * i, run=4) for i in range(COUNT)]


def movs() -> list[Instr]:
    return [Alu(op=AluOp.MOV, src_mem=Memory.UB, dst_mem=Memory.ACC, n=4, src=4 * i, dst=0) for i in range(COUNT)]


def gemms() -> list[Instr]:
    return [Gemm(k=1, n=4, wgt=i, x=0, a=1) for i in range(COUNT)]


def stores() -> list[Instr]:
    return [Store(memory=Memory.UB, local=4 * i, dram=4 * i, run=4) for i in range(COUNT)]


def interleaved(users: list[Instr]) -> list[Instr]:
    memory = Memory.WGT if isinstance(users[0], Gemm) else Memory.UB
    return [word for pair in zip(loads(memory), users) for word in pair]


STREAMS = {
    "interleaved": lambda: interleaved(movs()),
    "loads first": lambda: [*loads(), *movs()],
    "gemms": lambda: interleaved(gemms()),
    "back and forth": lambda: interleaved(stores()),  # each load is read by a store over the source of the next one
}
