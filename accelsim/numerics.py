"""Integer and rounding rules shared by the instruction set, the quantiser and the golden model.

One home for wrap, saturation and requantisation; the witness is ``tests/oracles/numerics.py``, written with
Python's unbounded integers and exact fractions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INT8_MIN, INT8_MAX = -128, 127


def wrap32(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """The low 32 bits of each value as a signed integer, as a two's complement adder leaves them."""
    return values.astype(np.int64, copy=False).astype(np.uint32).view(np.int32)


def saturate8(values: NDArray[np.integer]) -> NDArray[np.int8]:
    """Each value clamped to -128..127."""
    return np.clip(values, INT8_MIN, INT8_MAX).astype(np.int8)


def requantize(
    acc: NDArray[np.int32],
    bias: NDArray[np.int32],
    scale: NDArray[np.float32],
    zero: int,
    low: int,
    high: int,
) -> NDArray[np.int8]:
    """``clamp(rint(float32(acc + bias) * scale) + zero, low, high)``: the ``rq`` rule of the instruction set.

    ``acc`` is int32 of any shape whose last axis broadcasts with ``bias`` and ``scale``. The sum wraps, the product
    is a float32 multiplication and rounding is half to even, as in ONNX Runtime's integer kernels. A product that is
    not a number (0 times an infinite scale, or a scale that is none) counts as 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add(acc, bias, dtype=np.int32)
        scaled = np.rint(total.astype(np.float32) * scale)
    if not np.isfinite(scale).all():
        scaled = np.where(np.isnan(scaled), np.float32(0), scaled)
    # Clamp in float64 before converting: zero is exact there, and no huge value reaches the integer cast.
    return np.clip(scaled.astype(np.float64) + zero, low, high).astype(np.int8)
