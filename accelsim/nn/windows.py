"""Padded arrays and window views, shared by the float and the integer reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from accelsim.nn.graph import Pads
from accelsim.nn.shapes import output_hw


def pad(values: NDArray[Any], pads: Pads, fill: float) -> NDArray[Any]:
    """(n, h, w, c) framed by ``pads`` rows and columns of ``fill``; contiguous."""
    top, bottom, left, right = pads
    if not any(pads):
        return np.ascontiguousarray(values)
    n, h, w, c = values.shape
    padded = np.full((n, h + top + bottom, w + left + right, c), fill, dtype=values.dtype)
    padded[:, top : top + h, left : left + w] = values
    return padded


def windows(
    padded: NDArray[Any],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> NDArray[Any]:
    """Read-only view (n, p, q, r, s, c) of every window of a padded (n, h, w, c) array."""
    n, h, w, c = padded.shape
    p, q = output_hw((h, w), kernel, stride, (0, 0, 0, 0), dilation)
    sn, sh, sw, sc = padded.strides
    strides = (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc)
    return as_strided(padded, (n, p, q, *kernel, c), strides, writeable=False)


def band_sum(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Sums over the channels ``c - size//2 .. c + (size - 1)//2`` that exist; same shape and type."""
    total = np.zeros_like(values)
    c = values.shape[-1]
    for step in range(-min(size // 2, c - 1), min((size - 1) // 2, c - 1) + 1):
        low, high = max(0, -step), min(c, c - step)  # channels whose neighbour at this distance exists
        total[..., low:high] += values[..., low + step : high + step]
    return total
