"""A long request that has the DRAM port to itself while the limit on outstanding bursts holds it back.

Its grants repeat: after as many bursts as may be outstanding, everything that decides on the next ones is as it was,
only later. So a few rounds are stepped through, and the rest follow from the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from accelsim.trace import Requester


class Grant(NamedTuple):
    """A burst granted in ``cycle``, the ``place``-th of the busy period that starts in ``start``."""

    cycle: int
    start: int
    place: int
    landed: int


class Lone:
    """The grants of ``left`` bursts of one requester, the first of them in ``cycle``, the last in ``until``."""

    __slots__ = ("_grants", "_left", "_round", "_shift", "cycle", "until", "who")

    def __init__(
        self, who: Requester, left: int, present: int, due: int, start: int, count: int, flying: deque[int],
        ratio: tuple[int, int], latency: int,
    ) -> None:  # fmt: skip
        """``present``: when the request is seen; ``due``: when the next burst of the busy period is decided."""
        assert flying.maxlen is not None, "a limit has a number"
        self.who, self._left, self._round, self._shift = who, left, flying.maxlen, 0
        self._grants: list[Grant] = []
        self._step(deque(flying, flying.maxlen), present, due, start, count, ratio, latency)
        self.cycle, self.until = self._grants[0].cycle, self.grant(left - 1).cycle

    def _step(
        self, flying: deque[int], present: int, due: int, start: int, count: int, ratio: tuple[int, int], latency: int
    ) -> None:
        """Grant burst by burst until a round is like the one before it."""
        over, under = ratio
        grants, left, most = self._grants, self._left, self._round
        before: tuple[int, ...] = ()
        while len(grants) < left:
            cycle = max(present, flying[0] + 1) if len(flying) == most else present
            if cycle <= due:
                cycle = due
            else:
                cycle = max(due + 1, cycle)
                start, count = cycle, 0
            count += 1
            due = start + count * over // under
            landed = start - (-count * over // under) - 1 + latency
            flying.append(landed)
            grants.append(Grant(cycle, start, count, landed))
            if len(grants) % most == 0:
                state = (due - cycle, count * over % under, *(other - cycle for other in flying))
                if state == before:
                    self._shift = cycle - grants[-1 - most].cycle
                    return
                before = state

    def grant(self, number: int) -> Grant:
        """The ``number``-th grant, from 0."""
        grants = self._grants
        if number < len(grants):
            return grants[number]
        rounds, place = divmod(number - len(grants), self._round)
        known = grants[len(grants) - self._round + place]
        later = (rounds + 1) * self._shift
        return Grant(known.cycle + later, known.start + later, known.place, known.landed + later)

    def granted_by(self, cycle: int) -> int:
        """How many bursts are granted up to and including ``cycle``."""
        if cycle >= self.until:
            return self._left
        low, high = 0, self._left - 1  # the grant at ``high`` comes later, all before ``low`` do not
        while low < high:
            middle = (low + high) >> 1
            if self.grant(middle).cycle > cycle:
                high = middle
            else:
                low = middle + 1
        return low

    def landings(self, count: int) -> Iterable[int]:
        """The landings, oldest first, of the last of ``count`` bursts that may still be outstanding."""
        return (self.grant(number).landed for number in range(max(0, count - self._round), count))
