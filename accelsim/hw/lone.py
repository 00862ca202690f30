"""A long request that has the DRAM port to itself while the limit on outstanding bursts holds it back.

Its grants repeat: after as many bursts as may be outstanding, everything that decides on the next ones is as it was,
only later. So a few rounds are stepped through, and the rest follow from the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from accelsim.trace import Requester

Grant: TypeAlias = tuple[int, int, int, int]
"""The cycle in which a burst is granted, the start of its busy period, its place in it, and its landing."""


class Lone:
    """The next grants of one requester with ``left`` bursts, the first of them in ``cycle``, the last in ``until``."""

    __slots__ = ("_grants", "_left", "_round", "_shift", "cycle", "until", "who")

    def __init__(
        self, who: Requester, left: int, present: int, period: tuple[int, int, int], flying: deque[int],
        ratio: tuple[int, int], latency: int, horizon: int | None = None,
    ) -> None:  # fmt: skip
        """``present``: when the request is seen. ``period``: when the next burst is decided, the start of the busy
        period, bursts in it. From cycle ``horizon`` on there is another requester.
        """
        assert flying.maxlen is not None, "a limit has a number"
        self.who, self._left, self._round, self._shift = who, left, flying.maxlen, 0
        self._grants: list[Grant] = []
        self._step(deque(flying, flying.maxlen), present, period, ratio, latency, horizon)
        self.cycle, self.until = self._grants[0][0], self.grant(self._left - 1)[0]
        if horizon is not None and self.until >= horizon:
            self._left = self.granted_by(horizon - 1)
            self.until = self.grant(self._left - 1)[0]

    def _step(
        self, flying: deque[int], present: int, period: tuple[int, int, int], ratio: tuple[int, int], latency: int,
        horizon: int | None,
    ) -> None:  # fmt: skip
        """Grant burst by burst until a round is like the one before it."""
        over, under = ratio
        due, start, count = period
        grants, left, most = self._grants, self._left, self._round
        before: tuple[int, ...] = ()
        cycle, number = present, 0
        while number < left:
            if len(flying) == most and flying[0] >= cycle:
                cycle = flying[0] + 1
            if cycle <= due:
                cycle = due
            else:
                start, count = cycle, 0
            if horizon is not None and cycle >= horizon:
                self._left = number
                return
            count += 1
            due = start + count * over // under
            landed = start - (-count * over // under) - 1 + latency
            flying.append(landed)
            grants.append((cycle, start, count, landed))
            number += 1
            if number % most == 0:
                state = (due - cycle, count * over % under, *[other - cycle for other in flying])
                if state == before:
                    self._shift = cycle - grants[-1 - most][0]
                    return
                before = state

    def grant(self, number: int) -> Grant:
        """The ``number``-th grant, from 0."""
        grants = self._grants
        if number < len(grants):
            return grants[number]
        rounds, place = divmod(number - len(grants), self._round)
        cycle, start, count, landed = grants[len(grants) - self._round + place]
        later = (rounds + 1) * self._shift
        return cycle + later, start + later, count, landed + later

    def granted_by(self, cycle: int) -> int:
        """How many bursts are granted up to and including ``cycle``."""
        if cycle >= self.until:
            return self._left
        low, high = 0, self._left - 1  # the grant at ``high`` comes later, all before ``low`` do not
        while low < high:
            middle = (low + high) >> 1
            if self.grant(middle)[0] > cycle:
                high = middle
            else:
                low = middle + 1
        return low

    def landings(self, count: int) -> Iterable[int]:
        """The landings, oldest first, of the last of ``count`` bursts that may still be outstanding."""
        return (self.grant(number)[-1] for number in range(max(0, count - self._round), count))
