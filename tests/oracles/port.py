"""The DRAM port, cycle by cycle and byte by byte.

Every cycle the port can move ``rate`` bytes (counted in parts of a byte so that a rational rate is whole). A burst is
granted when nothing is being moved and capacity is left in the cycle; capacity for which there is no burst is lost.
There is no formula here for when anything ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


@dataclass
class Burst:
    """One burst; cycles are -1 until known."""

    requester: int
    granted: int
    landed: int = -1
    address: int = -1  # where it matters


class SteppedPort:
    """Requesters 0, 1, 2 in a ring; the search starts behind the one granted last."""

    def __init__(self, burst_bytes: int, rate: Fraction, latency: int, outstanding: int) -> None:
        self.burst_parts, self.parts_per_cycle = burst_bytes * rate.denominator, rate.numerator
        self.latency, self.outstanding = latency, outstanding
        self.bursts: list[Burst] = []
        self._flying: list[list[Burst]] = [[], [], []]
        self._last = 2
        self._moving: Burst | None = None
        self._parts_left = 0

    def in_flight(self, requester: int, cycle: int) -> int:
        """Bursts granted whose landing is not visible in ``cycle``."""
        for burst in list(self._flying[requester]):
            if 0 <= burst.landed < cycle:
                self._flying[requester].remove(burst)
        return len(self._flying[requester])

    def step(self, cycle: int, wants: Callable[[int], bool], granted: Callable[[Burst], None]) -> None:
        """One clock cycle. ``wants(r)`` tells whether requester r shows a request right now."""
        capacity = self.parts_per_cycle
        while capacity > 0:
            if self._moving is None:
                for distance in (1, 2, 3):
                    requester = (self._last + distance) % 3
                    if wants(requester) and self.in_flight(requester, cycle) < self.outstanding:
                        self._moving = Burst(requester, cycle)
                        break
                else:
                    return  # nobody: the rest of the cycle is lost
                self._last = self._moving.requester
                self._parts_left = self.burst_parts
                self.bursts.append(self._moving)
                self._flying[self._moving.requester].append(self._moving)
                granted(self._moving)
            moved = min(capacity, self._parts_left)
            capacity -= moved
            self._parts_left -= moved
            if self._parts_left == 0:
                self.finished(self._moving, cycle)
                self._moving = None

    def finished(self, burst: Burst, cycle: int) -> None:
        """The last part of a burst has been moved."""
        burst.landed = cycle + self.latency
