"""What a process remembers from one compilation to the next, so that neighbouring points of a sweep share it.

Entries are found by everything they were made from, so they are right whoever asks. The oldest ones are dropped when
all together weigh too much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Memo(Generic[Thing]):
    """Things by key, the least recently used first; ``limit`` is the most that all of them may weigh."""

    def __init__(self, limit: int) -> None:
        self._limit, self._total = limit, 0
        self._things: OrderedDict[Hashable, tuple[Thing, int]] = OrderedDict()
        self._lock = Lock()  # a cluster's worker may be several threads

    def get(self, key: Hashable, make: Callable[[], Thing], weigh: Callable[[Thing], int] = lambda _: 1) -> Thing:
        """The thing named ``key``, made and weighed if it is not there. Nobody may change it."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key][0]
        made = make()
        weight = weigh(made)
        with self._lock:
            if key not in self._things and weight <= self._limit:
                self._things[key] = made, weight
                self._total += weight
            while self._total > self._limit:
                self._total -= self._things.popitem(last=False)[1][1]
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._things.clear()
            self._total = 0
