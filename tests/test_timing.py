"""The local laws against loops over single tiles, runs and bytes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import AluArch, ArrayArch
from accelsim.isa.protocol import ArrayWork, FillWork, Memory, Region, VectorWork
from accelsim.timing import (
    IDLE_ARRAY,
    advance,
    array_interval_cycles,
    burst_count,
    burst_ratio,
    fetch_bursts,
    fetch_trigger,
    fill_cycles,
    never_throttled,
    port_end,
    rhythm,
    streamed,
    transfer_cycles,
    vector_cycles,
    word_burst,
)
from tests.hw.cases import drams, machine
from tests.oracles.machine import TileLoop, count_bursts

arrays = st.builds(
    ArrayArch,
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    dataflow=st.sampled_from(["ws", "os"]),
    weights=st.sampled_from(["shadow", "single"]),
    overlap=st.sampled_from(["full", "none"]),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(arrays, st.data())
def test_closed_form_equals_the_tile_loop(arch: ArrayArch, data: st.DataObject):
    state, loop, accepted = IDLE_ARRAY, TileLoop(arch), 0
    for _ in range(data.draw(st.integers(1, 8))):
        work = ArrayWork(
            data.draw(st.integers(1, 9)), data.draw(st.integers(1, arch.rows)), data.draw(st.integers(1, 30))
        )
        accepted += data.draw(st.sampled_from([0, 0, 0, 1, 5, 40]))
        free, landed, state = advance(state, work, accepted, arch)
        assert (free, landed) == loop.gemm(work, accepted)
        assert (state.load, state.stream, state.last_stream) == (loop.loads[0], loop.streams[0], loop.streams[-1])
        beat = rhythm(work, arch)
        assert [state.stream + beat.period * i for i in range(beat.parts)] == loop.streams
        assert beat.streaming == loop.length
        assert state.stop == loop.streams[-1] + loop.length
        for offset in range(0, beat.parts * beat.period + 3, 5):
            rows = {at + i for at in loop.streams for i in range(loop.length)}
            assert streamed(beat, offset) == sum(1 for at in rows if at < state.stream + offset)
        assert accepted < free <= landed + 1
        accepted = free


@settings(max_examples=300, deadline=None, derandomize=True)
@given(arrays, st.integers(1, 9), st.integers(1, 9), st.integers(1, 30))
def test_equal_gemms_follow_each_other_every_interval(arch: ArrayArch, tiles: int, k: int, m: int):
    work = ArrayWork(tiles, min(k, arch.rows), m)
    state, accepted, cycles = IDLE_ARRAY, 0, []
    for _ in range(6):
        cycles.append(accepted)
        accepted, _, state = advance(state, work, accepted, arch)
    assert cycles[5] - cycles[4] == array_interval_cycles(work, arch)


def test_a_billion_tiles_take_no_time_to_compute():
    arch = ArrayArch(rows=16, cols=16, dataflow="ws", weights="shadow", overlap="full")
    free, landed, _ = advance(IDLE_ARRAY, ArrayWork(10**9, 16, 20), 0, arch)
    assert landed == 1 + 16 + (10**9 - 1) * 20 + 20 + 32
    assert free == 1 + 16 + (10**9 - 2) * 20 + 15


regions = st.builds(
    Region,
    st.just(Memory.DRAM),
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 400)), max_size=3).map(tuple),
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(regions, st.sampled_from([1, 16, 24, 64, 256]))
def test_bursts_equal_the_enumeration(region: Region, burst_bytes: int):
    assert burst_count(region, burst_bytes) == count_bursts(region, burst_bytes)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 99), st.integers(1, 40), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 2))
def test_loops_that_continue_the_run_are_one_run(start: int, run: int, counts: list[int], gap: int):
    loops, length = [], run
    for count in counts:  # innermost first
        loops.append((count, length))
        length *= count
    region = Region(Memory.DRAM, start, run, tuple(reversed(loops)))
    assert burst_count(region, 16) == (start % 16 + length - 1) // 16 + 1
    apart = Region(Memory.DRAM, start, run, ((3, length + gap * 16), *reversed(loops)))
    assert burst_count(apart, 16) == count_bursts(apart, 16)


@pytest.mark.parametrize(
    ("region", "bursts"),
    [
        (Region(Memory.DRAM, 0, 64), 1),
        (Region(Memory.DRAM, 63, 2), 2),
        (Region(Memory.DRAM, 1, 64), 2),
        (Region(Memory.DRAM, 0, 5, ((100, 28),)), 106),  # 28-byte pitch: 6 of 100 runs cross a boundary
        (Region(Memory.DRAM, 0, 5, ((100, 5),)), 8),  # one run of 500 bytes
        (Region(Memory.DRAM, 0, 5, ((1, 7), (100, 5), (1, 3))), 8),  # loops of one round do not matter
        (Region(Memory.DRAM, 0, 5, ((2, 0),)), 2),  # the same bytes twice are fetched twice
        (Region(Memory.DRAM, 0, 64, ((1024, 4096 * 64), (4096, 64), (1, 0))), 1024 * 4096),
        (Region(Memory.DRAM, 32, 64, ((1024, 1 << 20), (4096, 128), (4096, 0))), 2 * 1024 * 4096 * 4096),
    ],
)
def test_burst_counts_by_hand(region: Region, bursts: int):
    assert burst_count(region, 64) == bursts


@settings(max_examples=300, deadline=None, derandomize=True)
@given(drams(), st.integers(0, 99), st.integers(1, 10**12))
def test_port_end_is_exact(dram, start: int, bursts: int):
    over, under = burst_ratio(dram)
    assert Fraction(over, under) == Fraction(dram.burst_bytes) / dram.bytes_per_cycle
    taken = Fraction(bursts * dram.burst_bytes) / dram.bytes_per_cycle
    end = port_end(start, bursts, dram)
    assert end < start + taken <= end + 1
    assert transfer_cycles(bursts, dram) == port_end(1, bursts, dram) + dram.latency


def test_shipped_ports_are_never_throttled_and_tight_ones_are():
    assert never_throttled(machine(rate=Fraction(8), latency=100, burst=64, outstanding=16).dram)
    assert never_throttled(machine().dram)
    assert not never_throttled(machine(outstanding=3).dram)
    assert not never_throttled(machine(outstanding=1, latency=0).dram)


@pytest.mark.parametrize(
    ("work", "lanes", "latency", "cycles"),
    [
        (VectorWork(1, 1, 1), 16, 4, 5),
        (VectorWork(10, 1, 16), 16, 4, 14),
        (VectorWork(10, 2, 17), 16, 4, 44),
        (VectorWork(7, 0, 16), 16, 0, 7),  # an operand is read from nowhere: still a step
    ],
)
def test_vector_unit(work: VectorWork, lanes: int, latency: int, cycles: int):
    assert vector_cycles(work, AluArch(lanes=lanes, latency=latency)) == cycles


def test_fill_takes_a_cycle_a_row():
    assert fill_cycles(FillWork(17)) == 17


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.sampled_from([8, 16, 24, 32, 64, 96, 256]), st.integers(1, 9))
def test_fetch_geometry(words: int, burst_bytes: int, prefetch: int):
    total = fetch_bursts(words, burst_bytes)
    carried = [byte // burst_bytes for byte in range(words * 32)]
    assert total == carried[-1] + 1
    for word in range(words):
        assert word_burst(word, burst_bytes) == carried[word * 32 + 31]
    for burst in range(total):
        # The first number of dispatched words that leaves room, tried one by one.
        asked = burst * burst_bytes
        room = [
            done
            for done in range(words + 1)
            if asked - 32 * done + burst_bytes <= 32 * prefetch or asked - 32 * done < 32
        ]
        assert fetch_trigger(burst, burst_bytes, prefetch) == room[0]
