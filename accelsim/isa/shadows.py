"""Where in a memory accesses lie: spans of bytes, and shadow memories for what spans cannot tell.

Most accesses of a sound program are nowhere near those that they could race with, and that shows in a few comparisons
of integers. So accesses are only listed, and painted byte by byte onto a shadow when two spans meet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.footprint import Footprint, Loops, iterations

STEPS = 8
"""Iterations of one loop that two footprints are compared in."""

CHUNK = 16
"""Accesses that are passed over together when the span of all of them lies elsewhere."""

LOOK_BACK = 16
"""Chunks gone through before the shadow is asked instead."""


def apart(one: Footprint, other: Footprint) -> bool:
    """Whether two regions certainly share no byte: their runs lie apart modulo every stride of both."""
    period = gcd(*[stride for _, stride in one.loops], *[stride for _, stride in other.loops])
    if not period:
        return one.start + one.run <= other.start or other.start + other.run <= one.start
    offset = (other.start - one.start) % period
    return one.run <= offset and offset + other.run <= period


def share(one: Footprint, other: Footprint) -> bool | None:
    """Whether two footprints share a byte, found by going through the iterations whose spans meet.

    None if these are too many: then painting is quicker.
    """
    return _meet(other.start - one.start, one.run, one.loops, other.run, other.loops)


def _meet(offset: int, run: int, loops: Loops, other_run: int, other_loops: Loops) -> bool | None:
    """Whether windows at 0 and windows at ``offset`` meet; loops with the longest strides first."""
    reach, other_reach = _reach(loops, run), _reach(other_loops, other_run)
    if offset >= reach or -offset >= other_reach:
        return False
    if not loops and not other_loops:
        return True
    stride = max(loops[0][1] if loops else 0, other_loops[0][1] if other_loops else 0)
    steps = back = 0
    if loops and loops[0][1] == stride:
        steps, loops = loops[0][0] - 1, loops[1:]
        reach -= steps * stride
    if other_loops and other_loops[0][1] == stride:
        back, other_loops = other_loops[0][0] - 1, other_loops[1:]
        other_reach -= back * stride
    first = max(-back, (offset - reach) // stride + 1)
    last = min(steps, (offset + other_reach - 1) // stride)
    told: bool | None = False
    for step in range(first, last + 1):
        if step - first == STEPS:
            return None
        found = _meet(offset - step * stride, run, loops, other_run, other_loops)
        if found:
            return True
        if found is None:
            told = None
    return told


def _reach(loops: Loops, run: int) -> int:
    for count, stride in loops:
        run += (count - 1) * stride
    return run


@dataclass(frozen=True, slots=True)
class Frame:
    """The part of a memory that shadows cover: ``size`` granules from byte ``base``.

    A granule is the largest number of bytes that all accesses to the memory are multiples of.
    """

    base: int
    size: int
    granule: int = 1

    def view(self, shadow: NDArray[Any], region: Footprint) -> NDArray[Any]:
        """The granules of a region that lies within the frame, shape (counts..., run)."""
        unit, item = self.granule, shadow.itemsize
        shape = (*[count for count, _ in region.loops], region.run // unit)
        strides = (*[stride // unit * item for _, stride in region.loops], item)
        return np.ndarray(shape, shadow.dtype, shadow, (region.start - self.base) // unit * item, strides)

    def meets(self, region: Footprint) -> bool:
        """Whether the region's span reaches into the frame."""
        return region.start < self.base + self.size * self.granule and region.stop > self.base

    def clip(self, region: Footprint) -> Iterator[Footprint]:
        """Regions that together are the part of a region within the frame."""
        low, high = self.base, self.base + self.size * self.granule
        if region.start >= low and region.stop <= high:
            yield region
        elif region.start >= high or region.stop <= low:
            return
        elif not region.loops:
            start, stop = max(region.start, low), min(region.stop, high)
            yield Footprint(region.memory, start, stop - start, (), stop)
        else:
            for inner in iterations(region):
                yield from self.clip(inner)


def common_granule(regions: Iterable[Footprint]) -> int:
    """The largest number of bytes that starts, runs and strides of all regions are multiples of; 1 for none."""
    granule = 0
    for region in regions:
        granule = gcd(granule, region.start, region.run, *[stride for _, stride in region.loops])
        if granule == 1:
            break
    return granule or 1


Access: TypeAlias = tuple[int, int, int, Footprint]
"""Place, first byte, one past the last, where."""


def _search(accesses: Sequence[Access], region: Footprint, landed: int) -> int | None:
    """The place of the latest of some accesses to a byte of ``region``, 0 if it is at most ``landed``.

    None if all lie elsewhere, -1 if only painting can tell.
    """
    start, stop = region.start, region.stop
    for place, low, high, other in reversed(accesses):
        if place <= landed:
            return 0
        if low < stop and start < high and not apart(other, region):
            shared = share(other, region)
            if shared is not False:
                return place if shared else -1
    return None


class Log:
    """The accesses of one kind that one unit makes to one memory, in program order.

    ``newest`` is the place of the last one: 1 + its number among the unit's instructions.
    """

    __slots__ = ("_accesses", "_chunks", "_frame", "_painted", "_shadow", "newest")

    def __init__(self, frame: Frame) -> None:
        self.newest = 0
        self._frame = frame
        self._accesses: list[Access] = []
        self._chunks: list[tuple[int, int, int]] = []  # of CHUNK accesses: last place, first byte, one past the last
        self._shadow: NDArray[np.int32] | None = None
        self._painted = 0

    def add(self, place: int, region: Footprint) -> None:
        """Remember an access, which is the latest so far."""
        accesses = self._accesses
        accesses.append((place, region.start, region.stop, region))
        self.newest = place
        if not len(accesses) % CHUNK:
            _, lows, highs, _ = zip(*accesses[-CHUNK:])
            self._chunks.append((place, min(lows), max(highs)))

    def latest(self, region: Footprint, landed: int) -> int:
        """The place of the latest access to a byte of ``region`` if that is above ``landed``, else 0."""
        whole = len(self._chunks)
        found = _search(self._accesses[whole * CHUNK :], region, landed)
        for number in range(whole - 1, max(-1, whole - 1 - LOOK_BACK), -1):
            if found is not None:
                break
            place, low, high = self._chunks[number]
            if place <= landed:
                return 0
            if low < region.stop and region.start < high:
                found = _search(self._accesses[number * CHUNK : (number + 1) * CHUNK], region, landed)
        if found is None and whole <= LOOK_BACK:
            return 0
        if found is not None and found >= 0:
            return found
        views = [self._frame.view(self.shadow(), part) for part in self._frame.clip(region)]
        place = max([int(view.max()) for view in views], default=0)
        return place if place > landed else 0

    def shadow(self) -> NDArray[np.int32]:
        """Of every granule of the frame, the place of the latest access, 0 for none."""
        if self._shadow is None:
            self._shadow = np.zeros(self._frame.size, np.int32)
        for place, _, _, region in self._accesses[self._painted :]:
            for part in self._frame.clip(region):
                self._frame.view(self._shadow, part)[...] = place
        self._painted = len(self._accesses)
        return self._shadow


class Spans:
    """A set of bytes as ascending spans that do not touch."""

    __slots__ = ("_highs", "_lows")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        for low, high in spans:
            self.add(low, high)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._lows, self._highs)

    def add(self, low: int, high: int) -> None:
        """Add the bytes from ``low`` to before ``high``."""
        if low >= high:
            return
        first = bisect_left(self._highs, low)
        last = bisect_right(self._lows, high)
        if first < last:  # joined with what it touches
            low, high = min(low, self._lows[first]), max(high, self._highs[last - 1])
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]

    def cover(self, low: int, high: int) -> bool:
        """Whether all bytes from ``low`` to before ``high`` are in the set."""
        place = bisect_right(self._lows, low) - 1
        return place >= 0 and self._highs[place] >= high
