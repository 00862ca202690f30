"""Several requesters that share the DRAM port while the limit on outstanding bursts may hold some of them back.

Who is held back when depends on every landing, so the grants are gone through one by one, as far as the requests
that are known tell: up to the first one that is granted in full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from accelsim.trace import Requester

Turn: TypeAlias = tuple[Requester, int, int, int, int]
"""A burst granted to a requester in a cycle, the n-th of the busy period that starts in a cycle, and its landing."""


class Crowd:
    """The next grants, from ``cycle`` to ``until``, the last of which ends a request."""

    __slots__ = ("_done", "_turns", "until")

    def __init__(
        self, orders: Sequence[Sequence[Requester]], last: Requester, left: Sequence[int], present: Sequence[int],
        flying: Sequence[deque[int]], period: tuple[int, int, int], ratio: tuple[int, int], latency: int,
    ) -> None:  # fmt: skip
        """``left`` and ``present``: bursts of the current requests, and when these are seen. ``orders``: who is asked
        behind whom. ``period``: when the next burst is decided, the start of the busy period, bursts in it.
        """
        self._turns: list[Turn] = []
        self._done = 0
        self._step(orders, last, list(left), present, [deque(each, each.maxlen) for each in flying], period, ratio,
                   latency)  # fmt: skip
        self.until = self._turns[-1][1]

    def _step(
        self, orders: Sequence[Sequence[Requester]], last: Requester, left: list[int], present: Sequence[int],
        flying: list[deque[int]], period: tuple[int, int, int], ratio: tuple[int, int], latency: int,
    ) -> None:  # fmt: skip
        over, under = ratio
        due, start, count = period
        waiting = [who for who in orders[last] if left[who]]
        behind, turns = orders[last], self._turns
        # First cycle in which each may be granted, as far as the limit goes.
        seen = [
            max(at, landings[0] + 1) if len(landings) == landings.maxlen else at
            for at, landings in zip(present, flying)
        ]
        while True:
            chosen = next((who for who in behind if left[who] and seen[who] <= due), None)
            if chosen is None:  # the busy period is over; the next one starts with the first request
                start, count = max(due + 1, min([seen[who] for who in waiting])), 0
                due = start
                continue
            cycle, count, behind = due, count + 1, orders[chosen]
            due = start + count * over // under
            landed = start - (-count * over // under) - 1 + latency
            landings = flying[chosen]
            landings.append(landed)
            if len(landings) == landings.maxlen and seen[chosen] <= landings[0]:
                seen[chosen] = landings[0] + 1
            turns.append((chosen, cycle, start, count, landed))
            left[chosen] -= 1
            if not left[chosen]:
                return

    @property
    def cycle(self) -> int:
        """The cycle of the next grant."""
        return self._turns[self._done][1]

    def take(self, cycle: int) -> list[Turn]:
        """The next grants up to and including ``cycle``."""
        turns, first = self._turns, self._done
        stop = len(turns)
        if cycle < self.until:
            stop = next(number for number in range(first, stop) if turns[number][1] > cycle)
        self._done = stop
        return turns[first:stop]

    @property
    def over(self) -> bool:
        """Whether all of them are taken."""
        return self._done == len(self._turns)
