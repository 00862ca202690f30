"""Windows of a flat memory: contiguous runs at affine places, and what can be said of them without looking."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Loops: TypeAlias = tuple[tuple[int, int], ...]
"""(count, stride in elements), outermost first."""


def reach(loops: Loops, run: int) -> int:
    """Elements from the first of the first window to the last of the last one; strides are never negative."""
    for count, stride in loops:
        run += (count - 1) * stride
    return run


def strided(flat: NDArray[Any], start: int, loops: Loops, run: int) -> NDArray[Any]:
    """A view of shape (counts..., run) of a flat array; windows may overlap. Raises IndexError outside it."""
    item = flat.itemsize
    shape, strides, size = _form(loops, run, item)
    if start + size > flat.size:
        raise IndexError(f"elements {start}..{start + size - 1} of a memory of {flat.size}")
    return np.ndarray(shape, flat.dtype, flat, start * item, strides)


@lru_cache(maxsize=1 << 14)
def _form(loops: Loops, run: int, item: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides in bytes and reach of windows; a program has far fewer forms than windows."""
    shape = (*[count for count, _ in loops], run)
    return shape, (*[stride * item for _, stride in loops], item), reach(loops, run)


@lru_cache(maxsize=1 << 14)
def disjoint(loops: Loops, run: int) -> bool:
    """Whether the windows are certainly pairwise disjoint; a rare interleaving of disjoint windows gives False."""
    for stride, count in sorted([(stride, count) for count, stride in loops if count > 1]):
        if stride < run:
            return False
        run += (count - 1) * stride
    return True
