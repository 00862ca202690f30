"""The port against the byte-by-byte one, on random traffic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import DramArch
from accelsim.hw.memory import Port
from accelsim.timing import never_throttled, port_end, transfer_cycles
from accelsim.trace import Requester
from tests.devices import flat_dram
from tests.hw.cases import drams, rates
from tests.oracles.port import Burst, SteppedPort


@dataclass
class Client:
    """Requests of one requester, in order; each is shown at the given cycle, but only behind its predecessor."""

    shows: list[int]
    bursts: list[int]


Outcome = list[tuple[int, int, int]]  # per request: first grant, last grant, landing


def drive(dram: DramArch, clients: list[Client]) -> list[Outcome]:
    """Run the port: load and store follow up in the cycle behind the last grant, fetch keeps a backlog."""
    port = Port(dram)
    outcomes: list[Outcome] = [[], [], []]
    upcoming = [list(zip(client.shows, client.bursts)) for client in clients]
    for show, bursts in upcoming[0]:
        for _ in range(bursts):
            port.submit(Requester.FETCH, 1, show)
    for who in (1, 2):
        if upcoming[who]:
            show, bursts = upcoming[who].pop(0)
            port.submit(Requester(who), bursts, show)
    while (wake := port.wake()) is not None:
        for served in port.advance(wake):
            who = served.requester
            outcomes[who].append((served.first, served.last, served.landed))
            if who and upcoming[who]:
                show, bursts = upcoming[who].pop(0)
                port.submit(who, bursts, max(show, served.last + 1))
    return outcomes


def step(dram: DramArch, clients: list[Client]) -> list[Outcome]:
    """The same with the stepped port."""
    port = SteppedPort(dram.burst_bytes, dram.bytes_per_cycle, dram.latency, dram.outstanding)
    shows = [list(client.shows) for client in clients]
    bursts = [list(client.bursts) for client in clients]
    if clients[0].shows:
        shows[0] = [show for show, count in zip(*_pair(clients[0])) for _ in range(count)]
        bursts[0] = [1 for _ in shows[0]]
    taken: list[list[list[Burst]]] = [[[] for _ in bursts[who]] for who in range(3)]
    cycle = 0

    def current(who: int) -> int | None:
        for number, burst in enumerate(taken[who]):
            if len(burst) < bursts[who][number]:
                return number
        return None

    def wants(who: int) -> bool:
        number = current(who)
        if number is None or shows[who][number] > cycle:
            return False
        return who == 0 or number == 0 or taken[who][number - 1][-1].granted < cycle

    def granted(burst: Burst) -> None:
        number = current(burst.requester)
        assert number is not None
        taken[burst.requester][number].append(burst)

    while any(current(who) is not None for who in range(3)) or any(b.landed < 0 for b in port.bursts):
        port.step(cycle, wants, granted)
        cycle += 1
    return [[(b[0].granted, b[-1].granted, b[-1].landed) for b in taken[who]] for who in range(3)]


def _pair(client: Client) -> tuple[list[int], list[int]]:
    return client.shows, client.bursts


clients = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=5).map(
    lambda items: Client(sorted(show for show, _ in items), [count for _, count in items])
)


@settings(max_examples=1200, deadline=None, derandomize=True)
@given(drams(), clients, clients, clients)
def test_equal_to_the_stepped_port(dram: DramArch, fetch: Client, load: Client, store: Client):
    traffic = [fetch, load, store]
    assert drive(dram, traffic) == step(dram, traffic)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rates, st.integers(0, 9), st.sampled_from([16, 64]), st.integers(1, 9), clients, clients, clients)
def test_the_limit_never_binds_where_it_is_said_not_to(rate, latency, burst, outstanding, fetch, load, store):
    dram = flat_dram(bytes_per_cycle=rate, latency=latency, burst_bytes=burst, outstanding=outstanding)
    free = flat_dram(bytes_per_cycle=rate, latency=latency, burst_bytes=burst, outstanding=10_000)
    traffic = [fetch, load, store]
    if never_throttled(dram):
        assert step(dram, traffic) == step(free, traffic)


@pytest.mark.parametrize("outstanding", [1, 2, 16])
def test_two_streams_share_the_port_in_turn(outstanding: int):
    dram = flat_dram(bytes_per_cycle=Fraction(8), latency=100, burst_bytes=64, outstanding=outstanding)
    quiet = Client([], [])
    # Both are seen in cycle 0; load goes before store. A burst takes 8 cycles.
    loads, stores = drive(dram, [quiet, Client([0], [3]), Client([0], [2])])[1:]
    if outstanding == 16:
        assert loads == [(0, 32, 139)]
        assert stores == [(8, 24, 131)]
    elif outstanding == 1:  # the first burst lands in 107, the next may be granted in 108
        assert loads == [(0, 216, 323)]
        assert stores == [(8, 116, 223)]
    else:  # two in flight: 0 and 16 land in 107 and 123
        assert loads == [(0, 108, 215)]
        assert stores == [(8, 24, 131)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(drams(), st.integers(1, 3000))
def test_a_lone_transfer_takes_the_closed_form(dram: DramArch, bursts: int):
    if not never_throttled(dram):
        dram = flat_dram(
            bytes_per_cycle=dram.bytes_per_cycle,
            latency=dram.latency,
            burst_bytes=dram.burst_bytes,
            outstanding=100_000,
        )
    accepted = 7
    ((first, _, landed),) = drive(dram, [Client([], []), Client([accepted + 1], [bursts]), Client([], [])])[1]
    assert first == accepted + 1
    assert landed == accepted + transfer_cycles(bursts, dram)
    assert landed == port_end(accepted + 1, bursts, dram) + dram.latency
    exact = bursts * Fraction(dram.burst_bytes) / dram.bytes_per_cycle
    assert landed - dram.latency - accepted - 1 < exact <= landed - dram.latency - accepted


def test_a_stretch_is_not_stepped():
    dram = flat_dram(bytes_per_cycle=Fraction(8), latency=100, burst_bytes=64, outstanding=16)
    port = Port(dram)
    port.submit(Requester.LOAD, 10**9, 1)
    assert port.wake() == 1 + (10**9 - 1) * 8
    assert port.advance(10**6) == []
    assert port.granted[Requester.LOAD] == (10**6 - 1) // 8 + 1


long_clients = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), min_size=1, max_size=3).map(
    lambda items: Client(sorted(show for show, _ in items), [count for _, count in items])
)
few = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 2)), max_size=4).map(
    lambda items: Client(sorted(show for show, _ in items), [count for _, count in items])
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rates, st.integers(0, 60), st.sampled_from([4, 16, 64]), st.integers(1, 9), few, long_clients, few)
def test_a_long_transfer_that_the_limit_holds_back(rate, latency, burst, outstanding, fetch, load, store):
    """Its grants repeat by rounds; others interrupt it anywhere."""
    dram = flat_dram(bytes_per_cycle=rate, latency=latency, burst_bytes=burst, outstanding=outstanding)
    traffic = [fetch, load, store]
    assert drive(dram, traffic) == step(dram, traffic)


@pytest.mark.parametrize("rate", [Fraction(16), Fraction(340, 7), Fraction(1000, 3)])
def test_rounds_are_not_stepped(rate: Fraction):
    dram = flat_dram(bytes_per_cycle=rate, latency=100, burst_bytes=64, outstanding=8)
    assert not never_throttled(dram)
    ends = []
    for bursts in (8 * 10**3, 8 * (10**3 + 1), 8 * 10**9):
        port = Port(dram)
        port.submit(Requester.LOAD, bursts, 1)
        wake = port.wake()
        assert wake is not None
        assert port.advance(wake // 2) == []
        half = port.granted[Requester.LOAD]
        assert abs(half - bursts // 2) <= 8
        assert port.wake() == wake
        (served,) = port.advance(wake)
        assert (served.first, served.last) == (1, wake)
        ends.append(served.landed)
    assert ends[2] - ends[0] == (10**9 - 10**3) * (ends[1] - ends[0])
