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
    return np.minimum(np.maximum(values, INT8_MIN), INT8_MAX).astype(np.int8)


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
        scaled = np.add(acc, bias, dtype=np.int32).astype(np.float32) * scale
    np.rint(scaled, out=scaled)
    if not np.isfinite(scale).all():
        scaled[np.isnan(scaled)] = 0
    # Clamped to limits less zero first: what is left are small integers, to which float32 adds zero exactly.
    np.maximum(scaled, low - zero, out=scaled)
    np.minimum(scaled, high - zero, out=scaled)
    scaled += zero
    return scaled.astype(np.int8)
