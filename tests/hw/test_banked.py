"""The port with a device of banks against one that is stepped cycle by cycle."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import Arch
from accelsim.dram_arch import DeviceArch, DramArch
from accelsim.hw.banked import AddressMap, BankedPort, Place
from accelsim.hw.machine import simulate
from accelsim.isa.protocol import Memory, Region, Task
from accelsim.timing import DATA_LIMIT, device_cycles
from accelsim.trace import Requester
from tests.devices import DEVICE
from tests.hw.cases import drams, halt, load, machine, machines, store, task_lists
from tests.hw.test_machine import assert_equal_to_stepped, assert_laws
from tests.oracles.banked import SteppedBankedPort
from tests.oracles.port import Burst

CLOCK = Fraction(500_000_000)
times = st.builds(Fraction, st.integers(1, 60), st.integers(1, 3))


@st.composite
def devices(draw: st.DrawFn) -> DeviceArch:
    """Small rows, few banks and frequent refreshes, so that everything happens often."""
    trfc = draw(times)
    return DeviceArch(
        channels=draw(st.integers(1, 3)),
        banks=draw(st.integers(1, 3)),
        row_bytes=64 * draw(st.integers(1, 4)),
        access_bytes=draw(st.sampled_from([8, 32, 64])),
        peak_bytes_per_s=Fraction(draw(st.integers(10**9, 60 * 10**9))),
        trcd_ns=draw(times),
        trp_ns=draw(times),
        tcas_ns=draw(times),
        tcwl_ns=draw(times),
        tras_ns=draw(times),
        trfc_ns=trfc,
        trefi_ns=trfc + draw(st.integers(20, 600)),
    )


@st.composite
def banked_drams(draw: st.DrawFn) -> DramArch:
    return dataclasses.replace(draw(drams()), kind="banked", device=draw(devices()))


# One transfer of a requester: when it is shown, where it starts, how many bursts.
transfers = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60), st.integers(1, 9)), max_size=4).map(
    lambda items: [(show, start, count) for show, (_, start, count) in zip(sorted(i[0] for i in items), items)]
)
Traffic = list[list[tuple[int, int, int]]]


def drive(dram: DramArch, traffic: Traffic) -> list[list[tuple[int, int, int]]]:
    """Per transfer (first grant, last grant, landing); fetch has one burst at a time and no choice where."""
    port = BankedPort(dram, CLOCK)
    outcomes: list[list[tuple[int, int, int]]] = [[], [], []]
    upcoming = [list(items) for items in traffic]
    for show, _, count in upcoming[0]:
        for _ in range(count):
            port.submit(Requester.FETCH, 1, show)

    def submit(who: int, after: int) -> None:
        if upcoming[who]:
            show, start, count = upcoming[who].pop(0)
            region = Region(Memory.DRAM, start * dram.burst_bytes, count * dram.burst_bytes)
            port.submit(Requester(who), count, max(show, after), region)

    submit(1, 0)
    submit(2, 0)
    while (wake := port.wake()) is not None:
        for served in port.advance(wake):
            outcomes[served.requester].append((served.first, served.last, served.landed))
            if served.requester:
                submit(served.requester, served.last + 1)
    return outcomes


def step(dram: DramArch, traffic: Traffic) -> list[list[tuple[int, int, int]]]:
    """The same, stepped."""
    traffic = [[(show, start, 1) for show, start, count in traffic[0] for _ in range(count)], *traffic[1:]]
    taken: list[list[list[Burst]]] = [[[] for _ in items] for items in traffic]

    def current(who: int) -> int | None:
        return next((n for n, (_, _, count) in enumerate(traffic[who]) if len(taken[who][n]) < count), None)

    def address(burst: Burst) -> int:
        number = current(burst.requester)
        assert number is not None
        if burst.requester == 0:
            return 2**32 + number * dram.burst_bytes
        return (traffic[burst.requester][number][1] + len(taken[burst.requester][number])) * dram.burst_bytes

    port = SteppedBankedPort(dram, CLOCK, address)
    cycle = 0

    def wants(who: int) -> bool:
        number = current(who)
        if number is None or traffic[who][number][0] > cycle:
            return False
        return who == 0 or number == 0 or taken[who][number - 1][-1].granted < cycle

    def granted(burst: Burst) -> None:
        number = current(burst.requester)
        assert number is not None
        taken[burst.requester][number].append(burst)

    while any(current(who) is not None for who in range(3)) or any(b.landed < 0 for b in port.bursts):
        port.step(cycle, wants, granted)
        cycle += 1
        assert cycle < 100_000
    return [[(b[0].granted, b[-1].granted, b[-1].landed) for b in taken[who]] for who in range(3)]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(banked_drams(), transfers, transfers, transfers)
def test_equal_to_the_stepped_device(dram, fetch, loads, stores):
    traffic = [fetch, loads, stores]
    assert drive(dram, traffic) == step(dram, traffic)


@st.composite
def banked_runs(draw: st.DrawFn) -> tuple[list[Task], Arch]:
    arch = draw(machines())
    dram = dataclasses.replace(arch.dram, kind="banked", device=draw(devices()))
    return draw(task_lists(arch.array.rows)), dataclasses.replace(arch, dram=dram)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(banked_runs())
def test_whole_machines_are_equal_to_the_stepped_one(run: tuple[list[Task], Arch]):
    assert_equal_to_stepped(*run)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(banked_runs())
def test_laws_hold(run: tuple[list[Task], Arch]):
    tasks, arch = run
    assert_laws(tasks, simulate(tasks, arch), [arch.queue_depth] * 4)


# ------------------------------------------------------------------------------------------ by hand

# At 500 MHz: tRCD 5 cycles, tRP 6, tCAS 7, tCWL 4, tRAS 15, tRFC 50, tREFI 500; 32 bytes have the bus for 4.
# The port moves 4 bytes a cycle: a burst of 16 bytes has it for 4 cycles; latency 10. A bank's rows lie 8192 apart.
HAND = dataclasses.replace(machine().dram, kind="banked", device=DEVICE)


def landing(port: BankedPort, who: Requester, present: int, start: int, size: int = 16) -> int:
    port.submit(who, -(-size // 16), present, Region(Memory.DRAM, start, size))
    wake = port.wake()
    while wake is not None:
        served = port.advance(wake)
        if served:
            return served[-1].landed
        wake = port.wake()
    raise AssertionError("nothing was served")


def test_the_times_are_rounded_once():
    assert device_cycles(HAND, CLOCK) == (5, 6, 7, 4, 15, 50, 500, 4, 1)
    slow = device_cycles(HAND, Fraction(100_000_000))
    assert slow == (1, 2, 2, 1, 3, 10, 100, 4, 5)
    assert device_cycles(HAND, Fraction(1_999_999)).refi == 1  # 1.999998 cycles, rounded down


def test_a_row_is_opened_used_closed_and_refreshed():
    port = BankedPort(HAND, CLOCK)
    # Granted in 0, seen in 1: open 1, column 6, data 13..16, way back 17..20, then the latency.
    assert landing(port, Requester.LOAD, 0, 0) == 30
    # The same row, granted in 4, seen in 5: the column waits for the row, the data for the bus: 17..20, 21..24.
    assert landing(port, Requester.LOAD, 1, 64) == 34
    # Another row of the bank, seen in 101: closed 101, opened 107, column 112, data 119..122, way back 123..126.
    assert landing(port, Requester.LOAD, 100, 8192) == 136
    # A write has passed the port in 203: seen in 204, column 204, data 208..211.
    assert landing(port, Requester.STORE, 200, 8192) == 221
    # Seen in 500, behind the refresh: rows closed 500, refresh 506..555, opened 556, column 561, data 568..571.
    assert landing(port, Requester.LOAD, 499, 8192) == 571 + 4 + 10


def test_a_row_stays_open_for_tras():
    port = BankedPort(HAND, CLOCK)
    assert landing(port, Requester.STORE, 0, 0) == 26  # seen in 4: opened 4, column 9, data 13..16
    # Seen in 5: may be closed from 4 + 15 = 19 on; opened 25, column 30, data 37..40, way back 41..44.
    assert landing(port, Requester.LOAD, 4, 8192) == 54


def test_channels_work_side_by_side_and_data_come_back_in_order():
    port = BankedPort(HAND, CLOCK)
    # 32 bytes on channel 0, 32 on channel 1. Granted in 0, 4, 8, 12; a 16-byte burst costs a whole access.
    # Channel 0: data 13..16 and 17..20. Channel 1: seen in 9 and 13: data 21..24, 25..28; way back 29..32.
    assert landing(port, Requester.LOAD, 0, 0, 64) == 42


def test_words_lie_above_all_data():
    device = AddressMap(HAND)
    assert device.place(DATA_LIMIT) == Place(0, 0, DATA_LIMIT // 8192)
    assert device.place(DATA_LIMIT - 1).row == DATA_LIMIT // 8192 - 1


def test_the_address_map_fills_a_row_on_every_channel_and_then_the_next_bank():
    device = AddressMap(HAND)
    assert [device.place(address).channel for address in range(0, 192, 32)] == [0, 1, 0, 1, 0, 1]
    assert device.place(2047) == Place(1, 0, 0)
    assert device.place(2048) == Place(0, 1, 0)
    assert device.place(8191) == Place(1, 3, 0)
    assert device.place(8192) == Place(0, 0, 1)
    places = [device.place(address) for address in range(0, 1 << 15, 32)]
    assert {places.count(place) for place in places} == {1024 // 32}


@pytest.mark.parametrize("kind", ["flat", "banked"])
def test_transfers_on_a_wide_port_are_bound_by_the_device_or_not(kind: str):
    dram = dataclasses.replace(HAND, kind=kind, bytes_per_cycle=Fraction(64), outstanding=64, burst_bytes=32)
    arch = dataclasses.replace(machine(), dram=dram)
    trace = simulate([load(32 * 500), store(32 * 500), halt()], arch)
    moved = 32 * 1000
    if kind == "flat":
        assert trace.cycles < 1.2 * moved / 64
    else:
        assert arch.dram_bytes_per_cycle == 16  # two channels of 8 bytes a cycle
        assert trace.cycles > moved / 16
        assert trace.cycles < 1.3 * moved / 16
