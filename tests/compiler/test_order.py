"""The order of words: a valid program of the same meaning, each unit's own order kept, whatever the expectation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import runner
from accelsim.compiler.order import expected_acceptance, program_order
from accelsim.compiler.sync import find_edges, with_tokens
from accelsim.hw.machine import simulate
from accelsim.isa import functional
from accelsim.isa.check import check_program
from accelsim.isa.effects import task, tasks
from accelsim.isa.protocol import Memory, Unit
from accelsim.isa.state import MachineState
from accelsim.machine_file import load_arch
from tests.compiler.streams import program_of, streams
from tests.isa.strategies import DRAM_BYTES, arches, fill_bytes
from tests.oracles.happens_before import conflicts, ordered_pairs


def works(stream, arch):
    return [task(word, arch) for word in stream]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_random_streams(data):
    arch = data.draw(arches())
    stream = data.draw(streams(arch))
    edges = find_edges(stream, arch, DRAM_BYTES)
    order = program_order(works(stream, arch), edges, arch)
    assert sorted(order) == list(range(len(stream)))
    for unit in Unit:
        assert is_increasing([i for i in order if stream[i].unit == unit])
    place = {old: new for new, old in enumerate(order)}
    assert all(place[p] < place[c] for c, producers in enumerate(edges.producers) for p in producers)

    words = with_tokens(stream, edges)
    ordered = program_of([words[i] for i in order])
    check_program(ordered, arch, data=False)
    reached = ordered_pairs(ordered)
    assert all(pair in reached for pair in conflicts(ordered, arch))

    seed = data.draw(st.integers(0, 2**32 - 1))
    assert memories(program_of(words), arch, seed) == memories(ordered, arch, seed)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data())
def test_a_token_is_expected_after_its_giver(data):
    """Acceptance never precedes the landing of what is waited for, nor that of the unit's earlier instruction."""
    arch = data.draw(arches())
    stream = data.draw(streams(arch))
    edges = find_edges(stream, arch, DRAM_BYTES)
    accepted = expected_acceptance(works(stream, arch), edges, arch)
    assert all(accepted[p] < accepted[c] for c, producers in enumerate(edges.producers) for p in producers)
    for unit in Unit:
        assert is_increasing([accepted[i] for i, word in enumerate(stream) if word.unit == unit], strictly=False)


@pytest.mark.parametrize("machine", ["edge", "tiny"])
def test_lenet_stands_in_expected_order_and_runs_no_earlier(machine):
    """The expectation knows neither fetch nor other users of the port, so the machine is later, never earlier."""
    arch = load_arch(machine)
    program = runner.compile_file("lenet", arch=arch)
    stream = list(program.instructions[:-1])
    edges = find_edges(stream, arch, program.dram_bytes)
    assert program_order(works(stream, arch), edges, arch) == list(range(len(stream)))
    expected = expected_acceptance(works(stream, arch), edges, arch)
    accepted = simulate(tasks(program, arch), arch).accepted[:-1].tolist()
    assert all(early <= real for early, real in zip(expected, accepted))
    assert 0.5 * accepted[-1] < expected[-1]


def is_increasing(values, *, strictly=True):
    return all(a < b or (a == b and not strictly) for a, b in pairwise(values))


def memories(program, arch, seed):
    """Everything in all memories after a run in program order from random contents."""
    state = MachineState(arch, program.dram_bytes, poison=True)
    rng = np.random.default_rng(seed)
    for memory in Memory:
        fill_bytes(state.bytes_of(memory), "random", rng)
    functional.run(program, state)
    return {memory: state.bytes_of(memory).tobytes() for memory in Memory}
