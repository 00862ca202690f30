"""How real numbers become int8: ranges of tensors, scales of weights, and the way back."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import Tensor
from accelsim.nn.shapes import Shape
from accelsim.numerics import INT8_MAX, INT8_MIN

QuantizedWeights: TypeAlias = tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]
"""int8 weights, int32 bias, and the float32 scale of each output channel's weights."""

TINY = 2.0**-64  # ranges and steps below this count as zero: their quotients could leave float32
BIAS_LIMIT = 2.0**30  # |bias| at scale sx * sw stays below, so that int32 leaves room for the sum

_SHARE = (np.float32(1 / 255), INT8_MIN)  # 0 .. 1
FIXED_RANGES = {"tanh": (np.float32(1 / 127), 0), "sigmoid": _SHARE, "hard_sigmoid": _SHARE}
"""(scale, zero) of the functions whose range is known."""


def tensor_for(name: str, shape: Shape, low: float, high: float) -> Tensor:
    """The int8 tensor whose range covers ``low`` .. ``high`` and always 0; 0 is represented exactly."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < TINY:
        return Tensor(name=name, shape=shape, scale=np.float32(1), zero=0)
    scale = np.float32((high - low) / 255)
    zero = int(np.clip(np.rint(INT8_MIN - low / float(scale)), INT8_MIN, INT8_MAX))
    return Tensor(name=name, shape=shape, scale=scale, zero=zero)


def quantize_values(values: NDArray[Any], tensor: Tensor) -> NDArray[np.int8]:
    """float -> int8 of the same shape: ``clamp(rint(x / scale) + zero)``, in float32.

    Raises GraphError when a value is not finite.
    """
    if not np.isfinite(values).all():
        raise GraphError(tensor.name, "holds values that are not finite")
    with np.errstate(over="ignore"):
        scaled = np.rint(values.astype(np.float32, copy=False) / tensor.scale)
    return np.clip(scaled.astype(np.float64) + tensor.zero, INT8_MIN, INT8_MAX).astype(np.int8)


def dequantize(values: NDArray[np.int8], tensor: Tensor) -> NDArray[np.float32]:
    """int8 -> float32 of the same shape: ``scale * (q - zero)``."""
    return (values.astype(np.int32) - tensor.zero).astype(np.float32) * tensor.scale


def quantize_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], sx: np.float32
) -> QuantizedWeights:
    """(int8 weights in -127..127, int32 bias at scale sx * sw, float32 sw): one scale per output channel.

    A channel's scale is its largest weight / 127, or more if its bias would not fit int32 otherwise.
    """
    rows = weights.reshape(len(weights), -1)
    largest = np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype(np.float64)
    sw = np.maximum(largest / 127, np.abs(bias.astype(np.float64)) / (float(sx) * BIAS_LIMIT))
    sw = np.where((sw * float(sx) < TINY) | (sw < TINY), 1.0, sw).astype(np.float32)
    scaled = rows / sw[:, None]
    np.rint(scaled, out=scaled)
    np.clip(scaled, -127, 127, out=scaled)
    step = (sx * sw).astype(np.float64)
    return scaled.astype(np.int8).reshape(weights.shape), np.rint(bias / step).astype(np.int32), sw
