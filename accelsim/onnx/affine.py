"""Factors and offsets of channels: what Add, Sub, Mul and Div by a constant and BatchNormalization come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.onnx.context import Context
from accelsim.onnx.problems import Refusal
from accelsim.onnx.values import Node, Quantized, Value

Numbers = NDArray[np.float64]


def constant_side(context: Context, node: Node) -> int | None:
    """Which of two inputs is constant, if one is."""
    sides = [i for i in (0, 1) if isinstance(context.known(node.inputs[i]), np.ndarray | Quantized)]
    return sides[0] if sides else None


def arithmetic(op: str, side: int, constant: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Factor and offset, so that ``op`` of x and ``constant``, its input number ``side``, is factor * x + offset."""
    numbers = constant.astype(np.float64)
    one, nothing = np.ones(1), np.zeros(1)
    match op, side:
        case (("Add" | "Sum"), _):
            return one, numbers
        case "Mul", _:
            return numbers, nothing
        case "Sub", 1:
            return one, -numbers
        case "Sub", _:
            return -one, numbers
        case "Div", 1:
            if not numbers.all():
                raise Refusal("divides by 0")
            return 1 / numbers, nothing
        case _:
            raise Refusal("divides a constant by activations", "has no counterpart in accelsim")


def normalisation(context: Context, node: Node, channels: int) -> tuple[Numbers, Numbers]:
    """Factor and offset of each channel, (channels,), of a BatchNormalization."""
    if node.attributes.get("training_mode", 0):
        raise Refusal("is in training mode", "export the model for inference")
    scale, shift, mean, variance = (
        context.numbers(node, index, what).astype(np.float64)
        for index, what in ((1, "scale"), (2, "B"), (3, "mean"), (4, "variance"))
    )
    if (variance < 0).any():
        raise Refusal("has a variance below 0")
    if any(array.shape != (channels,) for array in (scale, shift, mean, variance)):
        raise Refusal(f"expected {channels} factors for its channels, got {list(scale.shape)}")
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return factor, shift - mean * factor


def channelwise(value: Value, numbers: NDArray[Any]) -> NDArray[np.float32]:
    """float32 (c,): what the model's broadcast gives each of accelsim's channels. Refused if pixels differ."""
    c, shape = value.layout.hwc[2], value.layout.shape
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    if numbers.size == 1:
        return np.full(c, numbers.reshape(-1)[0], np.float32)
    if numbers.ndim == len(shape) + 1 and len(numbers) == 1:
        numbers = numbers[0]
    try:
        spread = np.broadcast_to(numbers, shape)
    except ValueError:
        raise Refusal(f"its constant of shape {list(numbers.shape)} does not fit {list(shape)}") from None
    if value.layout.index is None and len(shape) > 1 and numbers.shape == (shape[0], *[1] * (len(shape) - 1)):
        return numbers.reshape(-1)
    flat = np.empty(value.size, np.float32)
    flat[value.layout.places.reshape(-1)] = spread.reshape(-1)
    rows = flat.reshape(-1, c)
    if (rows != rows[0]).any():
        raise Refusal(f"its constant of shape {list(numbers.shape)} differs from pixel to pixel",
                      "one number, or one for each channel, can be used")  # fmt: skip
    return rows[0].copy()
