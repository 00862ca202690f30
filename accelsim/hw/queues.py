"""Token counters between units, and the dispatch of instruction words into the units' queues."""

from __future__ import annotations

from collections import deque
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

    def ready(self, taker: Unit, waits: Sequence[Unit]) -> tuple[int | None, Unit]:
        """First cycle in which all tokens can be taken, and the unit whose token comes last (ties: the first named).

        The cycle is None while a token's landing is not known; the unit is then the first that owes one.
        """
        latest, last = -1, waits[0]
        for giver in waits:
            given, taken = self._given[giver][taker], self._taken[giver][taker]
            if taken == len(given):
                return None, giver
            if given[taken] > latest:
                latest, last = given[taken], giver
        return latest + 1, last

    def take(self, taker: Unit, waits: Sequence[Unit]) -> None:
        """Take one token from each unit of ``waits``."""
        for giver in waits:
            self._taken[giver][taker] += 1


class InstructionQueue:
    """A unit's bounded queue. An entry leaves in the cycle its instruction is accepted; room shows a cycle later."""

    __slots__ = ("_entries", "_room", "head")

    def __init__(self, depth: int) -> None:
        self.head: int | None = None  # index of the next instruction to accept
        self._entries: deque[int] = deque()  # behind the head
        self._room = deque([0] * depth)  # for each free entry, the first cycle in which it is seen to be free

    def room(self) -> int | None:
        """First cycle in which another word may be dispatched into the queue, or None if that is not known."""
        return self._room[0] if self._room else None

    def enter(self, index: int) -> None:
        """Instruction ``index`` takes the entry that :meth:`room` spoke of."""
        self._room.popleft()
        if self.head is None:
            self.head = index
        else:
            self._entries.append(index)

    def accept(self, cycle: int) -> None:
        """The head leaves in ``cycle``."""
        self._room.append(cycle + 1)
        self.head = self._entries.popleft() if self._entries else None
