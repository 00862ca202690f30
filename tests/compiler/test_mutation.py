"""Mutants of compiled LeNets: without any one token the check refuses, or the token was redundant indeed.

Redundant means: a brute-force happens-before oracle finds no unordered conflict, and runs in random time give the
same bits. The compiler drops implied tokens, so its own programs have none to spare; the second half of the test
puts the implied ones back in.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache

import numpy as np
import pytest

from accelsim import runner
from accelsim.compiler.sync import Edges, with_tokens
from accelsim.errors import RaceError
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Halt
from accelsim.isa.program import Program
from accelsim.machine_file import load_arch
from accelsim.nn.quantize import quantize_values
from tests.compiler.running import values_of
from tests.compiler.tokens import all_pairs, without
from tests.oracles.happens_before import conflicts, ordered_pairs

SHARDS = 4
RANDOM_RUNS = 200


@cache
def compiled(machine):
    """(machine, program, conflicts whatever the tokens) of LeNet."""
    arch = load_arch(machine)
    program = runner.compile_file("lenet", arch=arch)
    return arch, program, conflicts(program, arch)


@cache
def images():
    network = runner.open_network("lenet")
    graph = network.quantize()
    return graph, quantize_values(network.inputs(1), graph.tensors[graph.input])


def verdict(mutant, arch, conflicting, *, oracle):
    """``refused`` or ``redundant``, the oracle agreeing."""
    try:
        check_program(mutant, arch)
        race = None
    except RaceError as error:
        race = (error.other, error.index)
    if oracle or race is None:
        ordered = ordered_pairs(mutant)
        unordered = [pair for pair in conflicting if pair not in ordered]
        assert bool(unordered) == (race is not None)
        assert race is None or race in unordered
    return "redundant" if race is None else "refused"


def bits(program, arch, how, seed=0):
    graph, inputs = images()
    tensors, output, _ = values_of(program, arch, graph, inputs, how, seed)
    return {**tensors, "output": output}


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("machine", ["edge", "tiny"])
def test_without_any_one_token(machine, shard):
    arch, program, conflicting = compiled(machine)
    seen = Counter()
    for number, pair in enumerate(all_pairs(program)[shard::SHARDS]):
        mutant = without(program, pair)
        # The oracle confirms every refusal on edge and a quarter of those on tiny, where it is slow.
        outcome = verdict(mutant, arch, conflicting, oracle=machine == "edge" or number % 4 == 0)
        seen[outcome] += 1
        if outcome == "redundant":
            reference = bits(program, arch, "functional")
            assert all(equal(bits(mutant, arch, "random", seed), reference) for seed in range(RANDOM_RUNS))
    print(f"lenet on {machine}, shard {shard}: {dict(seen)}")
    assert seen["refused"] >= 10
    assert seen["redundant"] == 0  # with_tokens keeps no implied token


def test_the_compiled_program_itself_runs_right_in_random_time():
    arch, program, conflicting = compiled("edge")
    assert verdict(program, arch, conflicting, oracle=True) == "redundant"
    reference = bits(program, arch, "functional")
    assert all(equal(bits(program, arch, "random", seed), reference) for seed in range(20))


def test_random_time_shows_some_of_the_refused_races():
    """The refusals are no pedantry, and random time is wild enough to tell."""
    arch, program, _ = compiled("edge")
    reference = bits(program, arch, "functional")
    wrong = 0
    for pair in all_pairs(program)[::4]:
        wrong += not all(equal(bits(without(program, pair), arch, "random", seed), reference) for seed in range(4))
    assert wrong >= 3


def test_tokens_that_are_implied_can_go():
    arch, program, conflicting = compiled("edge")
    generous = with_implied_tokens(program)
    pairs = all_pairs(generous)
    assert len(pairs) > len(all_pairs(program))
    reference = bits(program, arch, "functional")
    seen = Counter()
    for pair in pairs:
        mutant = without(generous, pair)
        outcome = verdict(mutant, arch, conflicting, oracle=True)
        seen[outcome] += 1
        if outcome == "redundant":
            runs = RANDOM_RUNS if seen[outcome] <= 3 else 10
            assert all(equal(bits(mutant, arch, "random", seed), reference) for seed in range(runs))
    print(f"lenet on edge with implied tokens: {dict(seen)}")
    assert seen["refused"] >= 10
    assert seen["redundant"] >= 10


def with_implied_tokens(program: Program) -> Program:
    """Every instruction takes a token from each unit that it knows more of than the one before it in its unit."""
    instrs = program.instructions
    known: dict[tuple[int, int], int] = {}
    for earlier, later in ordered_pairs(program):
        key = (later, instrs[earlier].unit)
        known[key] = max(known.get(key, -1), earlier)
    last: dict[tuple[int, int], int] = {}
    producers: list[list[int]] = [[] for _ in instrs]
    for (later, unit), earlier in sorted(known.items()):
        taker = instrs[later].unit
        if unit != taker and earlier > last.get((unit, taker), -1) and not isinstance(instrs[later], Halt):
            last[unit, taker] = earlier
            producers[later].append(earlier)
    words = with_tokens(instrs, Edges(tuple(map(tuple, producers)), ()))
    return dataclasses.replace(program, instructions=tuple(words))
