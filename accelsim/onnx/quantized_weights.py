"""Weights of a quantised model as accelsim has them: int8 around 0, one scale per output channel, int32 biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.onnx.problems import Refusal
from accelsim.onnx.values import Quantized


def as_integers(values: Any, zeros: Any) -> NDArray[np.int8]:
    """Weights as int8; ``values`` int8 with zero points 0, or uint8 with zero points 128. Raises Refusal."""
    middle = {"int8": 0, "uint8": 128}.get(values.dtype.name)
    if middle is None:
        raise Refusal(f"its weights are {values.dtype}", "int8 and uint8 weights can be run")
    zeros = np.asarray(zeros).reshape(-1)
    wrong = zeros[zeros != middle]
    if wrong.size:
        raise Refusal(f"its weight zero point is {int(wrong[0])}, expected {middle} for {values.dtype} weights",
                      "quantise weights symmetrically: WeightSymmetric=True in ONNX Runtime")  # fmt: skip
    return values if middle == 0 else (values ^ np.uint8(128)).view(np.int8)


def weight_scales(scale: Any, k: int) -> NDArray[np.float32]:
    """float32 (k,): one scale per output channel, or one for all."""
    scales = np.asarray(scale, np.float32).reshape(-1)
    if scales.size not in (1, k):
        raise Refusal(f"has {scales.size} weight scales for {k} output channels")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise Refusal("has a weight scale that is not finite and above 0")
    return np.ascontiguousarray(np.broadcast_to(scales, (k,)))


def int_bias(bias: Any, k: int, step: NDArray[np.float32]) -> NDArray[np.int32]:
    """int32 (k,) in units of ``step`` (k,): from int32, or from real numbers, rounded. Raises Refusal."""
    if bias is None:
        return np.zeros(k, np.int32)
    if isinstance(bias, Quantized):
        scale = np.asarray(bias.scale, np.float32).reshape(-1)
        same = bias.values.dtype == np.int32 and not np.any(bias.zero) and scale.size in (1, k)
        same = same and np.allclose(scale, step, rtol=1e-5, atol=0)
        bias = bias.values if same else bias.real
    bias = np.asarray(bias)
    if bias.size not in (1, k) or bias.dtype.kind not in "if":
        raise Refusal(f"its bias is {bias.dtype} {list(bias.shape)}, expected {k} numbers")
    bias = np.broadcast_to(bias.reshape(-1), (k,))
    if bias.dtype.kind == "f":
        if not np.isfinite(bias).all():
            raise Refusal("its bias must be finite, and some values are not")
        bias = np.rint(bias.astype(np.float64) / step)
    if not (np.abs(bias) < 2**31).all():
        raise Refusal("its bias does not fit int32 in units of input scale times weight scale")
    return bias.astype(np.int32)
