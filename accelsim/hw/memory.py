"""The DRAM port: fetch, load and store share it burst by burst, round robin.

The port advances in stretches, not in bursts: while the same requesters compete, who gets which burst in which cycle
is a closed form. ``docs/timing.md`` states the rules in clock-edge terms.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from accelsim.dram_arch import DramArch
from accelsim.hw.crowd import Crowd
from accelsim.hw.lone import Lone
from accelsim.isa.protocol import Region
from accelsim.timing import burst_ratio, never_throttled
from accelsim.trace import Requester


class Delivery(NamedTuple):
    """A request whose last burst has been granted.

    ``first`` and ``last`` are the cycles in which its first and last burst were granted, ``landed`` the cycle in
    which its last burst's data has arrived (read) or is written.
    """

    requester: Requester
    first: int
    last: int
    landed: int


class _Stretch(NamedTuple):
    """``grants`` bursts from cycle ``cycle`` on, dealt to ``ready`` in turn; they are the bursts ``done``,
    ``done + 1``, ... of the busy period that starts in ``start``. ``until`` is when things change.
    """

    cycle: int
    start: int
    done: int
    ready: list[Requester]
    grants: int
    until: int


class Port:
    """Exact, event-driven: :meth:`submit` requests, :meth:`advance` to a cycle, :meth:`wake` tells when to."""

    def __init__(self, dram: DramArch) -> None:
        self.granted = [0 for _ in Requester]  # bursts so far
        self.changed = True  # whether wake() may have a new answer since it was last asked
        self._latency = dram.latency
        self._over, self._under = burst_ratio(dram)
        self._throttled = not never_throttled(dram)
        self._foreseen = True  # landings depend on nothing but the grant
        # Landing cycles of the bursts that fill a requester's allowance, oldest first.
        self._flying: list[deque[int]] = [deque(maxlen=dram.outstanding) for _ in Requester]
        self._backlog: list[deque[tuple[int, int]]] = [deque() for _ in Requester]
        self._present = [0 for _ in Requester]  # of the current request: first cycle in which it is seen
        self._left = [0 for _ in Requester]  # bursts not granted yet
        self._first = [-1 for _ in Requester]  # cycle of its first grant
        self._start = 0  # of the busy period
        self._count = 0  # bursts granted in it
        self._due = -1  # cycle in which the next burst of it is decided
        self._stretch: _Stretch | Lone | Crowd | None = None  # the plan, while it holds
        self._order = _orders()
        self._last = Requester.STORE  # so that the search starts at fetch

    def submit(self, requester: Requester, bursts: int, present: int, region: Region | None = None) -> None:
        """Ask for ``bursts`` bursts, visible to the port from cycle ``present`` on, behind earlier requests.

        ``region`` is where they lie, None for the next instruction words.
        """
        if self._left[requester]:
            self._backlog[requester].append((present, bursts))
        else:
            self._present[requester], self._left[requester] = present, bursts
            self._stretch, self.changed = None, True

    def advance(self, cycle: int) -> list[Delivery]:
        """Grant all bursts up to and including ``cycle``; returns the requests served, in time order.

        Every request that is visible by then must have been submitted.
        """
        served: list[Delivery] = []
        while (stretch := self._stretch or self._plan()) is not None and stretch.cycle <= cycle:
            self._stretch = None
            if isinstance(stretch, Lone):
                self._grant_lone(stretch, cycle, served)
            elif isinstance(stretch, Crowd):
                self._grant_crowd(stretch, cycle, served)
            else:
                self._grant(stretch, cycle, served)
        self._stretch = stretch
        return served

    def wake(self) -> int | None:
        """The next cycle in which :meth:`advance` must be called, or None without requests."""
        self.changed = False
        self._stretch = stretch = self._stretch or self._plan()
        return None if stretch is None else stretch.until

    def _plan(self) -> _Stretch | Lone | Crowd | None:
        """The next stretch, as far as the submitted requests tell."""
        left, due = self._left, self._due
        waiting = [who for who in self._order[self._last] if left[who]]
        if not waiting:
            return None
        if self._throttled and self._foreseen:
            return self._limited(waiting)
        present = self._visible() if self._throttled else self._present
        ready = [who for who in waiting if present[who] <= due]
        if ready:
            cycle, start, count = due, self._start, self._count
        else:  # the busy period is over; the next one starts with the first request
            cycle = max(due + 1, min([present[who] for who in waiting]))
            start, count = cycle, 0
            ready = [who for who in waiting if present[who] <= cycle]
        if self._throttled:
            return _Stretch(cycle, start, count, ready, 1, cycle)
        share = len(ready)
        grants = min([place + (left[who] - 1) * share for place, who in enumerate(ready)]) + 1
        until = start + (count + grants - 1) * self._over // self._under
        if share < len(waiting):  # somebody joins later
            joins = min([present[who] for who in waiting if present[who] > cycle])
            if joins <= until:
                grants, until = self._grants_before(joins, start) - count, joins
        return _Stretch(cycle, start, count, ready, grants, until)

    def _limited(self, waiting: list[Requester]) -> Lone | Crowd:
        """The next grants where the limit on outstanding bursts matters."""
        period, ratio = (self._due, self._start, self._count), (self._over, self._under)
        who, horizon = waiting[0], None
        if len(waiting) > 1:
            seen = self._visible()
            who, other, *_ = sorted(waiting, key=seen.__getitem__)
            horizon = seen[other]
            if horizon <= max(self._due, seen[who]):  # both are there
                return Crowd(
                    self._order, self._last, self._left, self._present, self._flying, period, ratio, self._latency
                )
        return Lone(
            who, self._left[who], self._present[who], period, self._flying[who], ratio, self._latency, horizon
        )  # fmt: skip

    def _visible(self) -> list[int]:
        """First cycle in which each current request may be granted as far as the outstanding limit goes."""
        return [
            max(present, flying[0] + 1) if len(flying) == flying.maxlen else present
            for present, flying in zip(self._present, self._flying)
        ]

    def _grants_before(self, cycle: int, start: int) -> int:
        """How many bursts of a period that starts in ``start`` are granted before ``cycle``."""
        return -((start - cycle) * self._under // self._over)

    def _grant(self, stretch: _Stretch, cycle: int, served: list[Delivery]) -> None:
        over, under = self._over, self._under
        start, count, ready = stretch.start, stretch.done, stretch.ready
        grants = stretch.grants
        if stretch.until > cycle:
            grants = min(grants, self._grants_before(cycle + 1, start) - count)
        share = len(ready)
        for place, who in enumerate(ready):
            turns = (grants - place + share - 1) // share
            if turns <= 0:
                break
            if self._first[who] < 0:
                self._first[who] = start + (count + place) * over // under
            self._left[who] -= turns
            self.granted[who] += turns
        count += grants
        last = ready[(grants - 1) % share]
        self._start, self._count, self._last = start, count, last
        self._due = start + count * over // under
        landed = self._lands(last, start + (count - 1) * over // under, start - (-count * over // under) - 1)
        if self._throttled:
            self._flying[last].append(landed)
        if not self._left[last]:
            self._serve(last, start + (count - 1) * over // under, landed, served)

    def _grant_lone(self, lone: Lone, cycle: int, served: list[Delivery]) -> None:
        who, grants = lone.who, lone.granted_by(cycle)
        last = lone.grant(grants - 1)
        if self._first[who] < 0:
            self._first[who] = lone.cycle
        self._left[who] -= grants
        self.granted[who] += grants
        granted, self._start, self._count, landed = last
        self._last, self._due = who, self._start + self._count * self._over // self._under
        self._flying[who].extend(lone.landings(grants))
        if not self._left[who]:
            self._serve(who, granted, landed, served)

    def _grant_crowd(self, crowd: Crowd, cycle: int, served: list[Delivery]) -> None:
        for who, granted, start, count, landed in crowd.take(cycle):
            if self._first[who] < 0:
                self._first[who] = granted
            self._left[who] -= 1
            self.granted[who] += 1
            self._flying[who].append(landed)
            self._start, self._count, self._last = start, count, who
            if not self._left[who]:
                self._serve(who, granted, landed, served)
        self._due = self._start + self._count * self._over // self._under
        if not crowd.over:
            self._stretch = crowd

    def _serve(self, who: Requester, cycle: int, landed: int, served: list[Delivery]) -> None:
        """The last burst of a request was granted; the next one of its requester takes its place."""
        served.append(Delivery(who, self._first[who], cycle, landed))
        self._first[who] = -1
        if self._backlog[who]:
            self._present[who], self._left[who] = self._backlog[who].popleft()

    def _lands(self, who: Requester, granted: int, ended: int) -> int:
        """The landing of a burst that had the port from cycle ``granted`` to ``ended``."""
        return ended + self._latency


def _orders() -> list[list[Requester]]:
    """Search order behind each requester."""
    ring = list(Requester)
    return [ring[who + 1 :] + ring[: who + 1] for who in ring]
