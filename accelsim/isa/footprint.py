"""The set of bytes a region touches, with as few loops as possible, so that checks of macro instructions stay fast."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from accelsim.isa.protocol import Memory, Region

Loops: TypeAlias = tuple[tuple[int, int], ...]


class Footprint(NamedTuple):
    """A region whose loops are few, have growing strides (innermost last), count > 1 and leave gaps between runs."""

    memory: Memory
    start: int
    run: int
    loops: Loops
    stop: int  # one past the highest byte


def footprint(region: Region) -> Footprint:
    """The bytes of a region.

    The set is a sum of arithmetic progressions and a run, so the order of loops does not matter. A progression whose
    stride is at most the run extends the run; one whose stride is a small multiple of another's extends that one.
    """
    memory, start, run, loops = region
    if not loops:
        return Footprint(memory, start, run, loops, start + run)
    run, loops, reach = _joined(run, loops)
    return Footprint(memory, start, run, loops, start + reach)


def iterations(region: Footprint) -> Iterator[Footprint]:
    """The footprint in each round of its outermost loop."""
    (count, stride), *inner = region.loops
    for start in range(region.start, region.start + count * stride, stride):
        stop = region.stop - (count - 1) * stride + start - region.start
        yield Footprint(region.memory, start, region.run, tuple(inner), stop)


@lru_cache(maxsize=1 << 14)
def _joined(run: int, ordered: Loops) -> tuple[int, Loops, int]:
    """Run and loops of the footprint, and the bytes from its first to its last."""
    loops = sorted((stride, count) for count, stride in ordered if count > 1 and stride > 0)
    merged = True
    while merged:
        merged = False
        if loops and loops[0][0] <= run:
            stride, count = loops.pop(0)
            run += (count - 1) * stride
            merged = True
        for inner, (stride, count) in enumerate(loops):
            outer = _multiple(loops, inner)
            if outer is not None:
                times = loops[outer][0] // stride
                loops[inner] = (stride, count + times * (loops[outer][1] - 1))
                del loops[outer]
                merged = True
                break
    reach = run + sum((count - 1) * stride for stride, count in loops)
    return run, tuple((count, stride) for stride, count in reversed(loops)), reach


def _multiple(loops: list[tuple[int, int]], inner: int) -> int | None:
    """A later loop whose stride is q times this one's with q <= count: together they are one progression."""
    stride, count = loops[inner]
    for outer in range(inner + 1, len(loops)):
        times, rest = divmod(loops[outer][0], stride)
        if rest == 0 and times <= count:
            return outer
    return None
