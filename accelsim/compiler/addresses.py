"""Addresses of homes in UB: tensors alive at the same time never share bytes; what is left is a chain's workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accelsim.compiler.home import Home


@dataclass(frozen=True, slots=True)
class Life:
    """The chains during which a tensor is alive, and how many of its images are held."""

    first: int
    last: int
    images: tuple[int, ...]  # the choices, most first


ORDERS: tuple[Callable[[Home, Life], Any], ...] = (
    lambda home, life: (life.first, life.last),
    lambda home, life: (-home.bytes, life.first),
    lambda home, life: (life.first - life.last, -home.bytes),
)
"""In which order homes take the first place that is free: by first use, the largest first, the longest alive first."""


@dataclass(frozen=True, slots=True)
class Map:
    """Homes with their addresses.

    ``gaps``: (base, bytes) of the largest range free in each chain; ``tight``: the chains that need more than that.
    """

    homes: dict[str, Home]
    gaps: tuple[tuple[int, int], ...]
    tight: tuple[int, ...]
    ub_bytes: int

    @property
    def fits(self) -> bool:
        """Whether every home lies in UB and every chain has its workspace."""
        return not self.tight and all(home.base + home.bytes <= self.ub_bytes for home in self.homes.values())


def mapped(homes: Sequence[Home], lives: Mapping[str, Life], needs: Sequence[int], ub_bytes: int) -> Map:
    """The first of the orders in which all fits, or else the first one; ``needs`` are the bytes of every chain's
    workspace."""
    made: list[Map] = []
    for found in _maps(homes, lives, needs, ub_bytes):
        if found.fits:
            return found
        made.append(found)
    return made[0]


def _maps(homes: Sequence[Home], lives: Mapping[str, Life], needs: Sequence[int], ub_bytes: int) -> Iterator[Map]:
    for order in ORDERS:
        placed: dict[str, Home] = {}
        for home in sorted(homes, key=lambda home: (order(home, lives[home.tensor]), home.tensor)):
            life, base = lives[home.tensor], 0
            for start, stop in _taken(placed, lives, life.first, life.last):
                if base + home.bytes <= start:
                    break
                base = max(base, stop)
            placed[home.tensor] = replace(home, base=base)
        gaps = tuple(_largest_gap(placed, lives, t, ub_bytes) for t in range(len(needs)))
        yield Map(placed, gaps, tuple(t for t, need in enumerate(needs) if need > gaps[t][1]), ub_bytes)


def _taken(homes: Mapping[str, Home], lives: Mapping[str, Life], first: int, last: int) -> list[tuple[int, int]]:
    """Address ranges in use at some time in ``first .. last``, by address."""
    return sorted(
        (h.base, h.base + h.bytes)
        for h in homes.values()
        if lives[h.tensor].first <= last and lives[h.tensor].last >= first
    )


def _largest_gap(homes: Mapping[str, Home], lives: Mapping[str, Life], time: int, ub_bytes: int) -> tuple[int, int]:
    """(base, bytes) of the largest range free in chain ``time``."""
    best, base = (0, 0), 0
    for start, stop in [*_taken(homes, lives, time, time), (ub_bytes, ub_bytes)]:
        if start - base > best[1]:
            best = (base, start - base)
        base = max(base, stop)
    return best
