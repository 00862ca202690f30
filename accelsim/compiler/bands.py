"""Local response normalisation on the array: sums over neighbouring channels are products with a banded 0/1 matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.ops import LrnOp

VECTOR_STEPS = 5
"""Steps of the vector unit per band and pixel: index, factor, x - zero, product, rq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Channels ``first .. first + count`` from the squares of channels ``start .. start + depth``."""

    first: int
    count: int
    start: int
    depth: int


@lru_cache(maxsize=256)
def _bands(channels: int, size: int, before: int, rows: int, cols: int) -> tuple[Band, ...]:
    def tiles(width: int) -> tuple[int, int]:
        count = -(-channels // width)
        return count * -(-min(channels, width + size - 1) // rows), count

    width = min(range(1, min(cols, channels) + 1), key=tiles)
    width = -(-channels // -(-channels // width))  # as even as the count of bands allows
    made = []
    for first in range(0, channels, width):
        count = min(width, channels - first)
        depth = min(channels, width + size - 1)
        made.append(Band(first=first, count=count, start=min(max(0, first - before), channels - depth), depth=depth))
    return tuple(made)


def bands(op: LrnOp, arch: Arch) -> tuple[Band, ...]:
    """The bands with the fewest array cycles, then the fewest bands."""
    return _bands(op.window.in_c, op.size, op.before, min(arch.array.rows, arch.wgt_rows), arch.array.cols)


def tiles(band: Band, arch: Arch) -> tuple[tuple[int, int], ...]:
    """Weight tiles of a band as (k, how many)."""
    k = min(band.depth, arch.array.rows, arch.wgt_rows)
    count, tail = divmod(band.depth, k)
    return ((k, count), (tail, 1)) if tail else ((k, count),)


def band_weights(op: LrnOp, band: Band) -> NDArray[np.int8]:
    """int8 (depth, count): 1 where the window of an output holds the channel."""
    channel = band.start + np.arange(band.depth)[:, None]
    output = band.first + np.arange(band.count)[None, :]
    low = output - op.before
    return ((low <= channel) & (channel < low + op.size)).astype(np.int8)
