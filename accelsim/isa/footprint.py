"""The set of bytes a region touches, with as few loops as possible, so that checks of macro instructions stay fast."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from accelsim.isa.protocol import Region

Loops: TypeAlias = tuple[tuple[int, int], ...]


def footprint(region: Region) -> Region:
    """A region of the same bytes whose loops are few, have growing strides (innermost last) and count > 1.

    The set is a sum of arithmetic progressions and a run, so the order of loops does not matter. A progression whose
    stride is at most the run extends the run; one whose stride is a small multiple of another's extends that one.
    """
    if not region.loops:
        return region
    run, loops = _joined(region.run, region.loops)
    return Region(region.memory, region.start, run, loops)


@lru_cache(maxsize=1 << 14)
def _joined(run: int, ordered: Loops) -> tuple[int, Loops]:
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
    return run, tuple((count, stride) for stride, count in reversed(loops))


def _multiple(loops: list[tuple[int, int]], inner: int) -> int | None:
    """A later loop whose stride is q times this one's with q <= count: together they are one progression."""
    stride, count = loops[inner]
    for outer in range(inner + 1, len(loops)):
        times, rest = divmod(loops[outer][0], stride)
        if rest == 0 and times <= count:
            return outer
    return None
