"""Token counters between units, and the dispatch of instruction words into the units' queues."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.isa.protocol import Unit


class Tokens:
    """One counter per ordered pair of units, kept as the landing cycles of its signals in program order.

    A signal that leaves in cycle t can be taken from t + 1. The n-th wait of a pair takes the n-th signal.
    """

    def __init__(self) -> None:
        self._given: list[list[list[int]]] = [[[] for _ in Unit] for _ in Unit]
        self._taken: list[list[int]] = [[0 for _ in Unit] for _ in Unit]

    def give(self, giver: Unit, takers: Sequence[Unit], landed: int) -> None:
        """``giver``'s next instruction in program order lands in ``landed`` and signals ``takers``."""
        for taker in takers:
            self._given[giver][taker].append(landed)

    def missing(self, taker: Unit, waits: Sequence[Unit]) -> Unit | None:
        """The first unit whose token is not yet known to come, or None."""
        for giver in waits:
            if self._taken[giver][taker] == len(self._given[giver][taker]):
                return giver
        return None

    def ready(self, taker: Unit, waits: Sequence[Unit]) -> tuple[int, Unit]:
        """First cycle in which all tokens can be taken, and the unit whose token comes last (ties: the first)."""
        latest, last = -1, waits[0]
        for giver in waits:
            landed = self._given[giver][taker][self._taken[giver][taker]]
            if landed > latest:
                latest, last = landed, giver
        return latest + 1, last

    def take(self, taker: Unit, waits: Sequence[Unit]) -> None:
        """Take one token from each unit of ``waits``."""
        for giver in waits:
            self._taken[giver][taker] += 1


class InstructionQueue:
    """A unit's bounded queue. An entry leaves in the cycle its instruction is accepted; room shows a cycle later."""

    __slots__ = ("_accepted", "depth", "entries")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.entries: list[int] = []  # every instruction dispatched so far
        self._accepted: list[int] = []  # the cycles in which the first of them were accepted

    @property
    def head(self) -> int | None:
        """Index of the next instruction to accept, or None."""
        place = len(self._accepted)
        return self.entries[place] if place < len(self.entries) else None

    def room(self) -> int | None:
        """First cycle in which another word may be dispatched into the queue, or None if that is not known."""
        leaver = len(self.entries) - self.depth
        if leaver < 0:
            return 0
        return self._accepted[leaver] + 1 if leaver < len(self._accepted) else None

    def accept(self, cycle: int) -> None:
        """The head leaves in ``cycle``."""
        self._accepted.append(cycle)
