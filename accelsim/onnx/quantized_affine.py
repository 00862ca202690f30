"""Additions, and factors and offsets by constants, in quantised models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import QConv
from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.onnx.affine import arithmetic, channelwise, constant_side, normalisation
from accelsim.onnx.context import title
from accelsim.onnx.problems import Refusal
from accelsim.onnx.quantized import FREE, Limits, Pending, Quant, QuantizedContext, plain
from accelsim.onnx.quantized_layers import addition, looked_up
from accelsim.onnx.quantized_registry import QuantizedRegistry
from accelsim.onnx.quantized_weights import int_bias
from accelsim.onnx.values import Node, Quantized, Value

AFFINE = QuantizedRegistry()
ALL = (INT8_MIN, INT8_MAX)

Numbers = NDArray[np.float64]


@AFFINE.register("two activations of one shape, or a constant", "Add")
@AFFINE.register("a constant: folded, a table, or a depthwise 1x1 convolution", "Sub", "Mul", "Div")
def arithmetic_node(context: QuantizedContext, node: Node) -> None:
    """By a constant, or the sum of two activations."""
    side = constant_side(context, node)
    if side is not None:
        numbers = arithmetic(node.op, side, context.numbers(node, side, "constant"))
        context.give(node, _affine(context, node, 1 - side, *numbers))
        return
    if node.op != "Add":
        raise Refusal("computes with two activations", "one of them must be constant in a quantised model")
    a, b = (plain(context.dequantized(node, index)[0]) for index in (0, 1))
    context.give(node, Pending(node, lambda result, limits: addition(context, node, a, b, result, limits)))


@AFFINE.register("folded, or a depthwise 1x1 convolution", "BatchNormalization")
def batch_normalization(context: QuantizedContext, node: Node) -> None:
    """Behind a Conv whose result has no scale yet, or of dequantised values."""
    found = context.known(node.inputs[0])
    if isinstance(found, Pending) and found.scaled is not None:
        channels, trailing = found.channels, found.trailing
    else:
        shape = context.value(node).layout.shape
        channels, trailing = shape[0], len(shape) - 1
    sides = (-1, *[1] * trailing)
    factor, offset = normalisation(context, node, channels)
    context.give(node, _affine(context, node, 0, factor.reshape(sides), offset.reshape(sides)))


def _affine(context: QuantizedContext, node: Node, index: int, factor: Numbers, offset: Numbers) -> Pending:
    found = context.known(node.inputs[index])
    if isinstance(found, Pending) and found.scaled is not None and found.limits == FREE:
        return found.scaled(per_output(factor, found), per_output(offset, found))
    value = plain(context.dequantized(node, index)[0])
    if factor.size == offset.size == 1:
        a, b = float(factor.reshape(-1)[0]), float(offset.reshape(-1)[0])
        return looked_up(context, node, value, lambda real: real * a + b)
    factors, offsets = (channelwise(value, numbers) for numbers in (factor, offset))
    return Pending(node, lambda result, limits: _channels(context, node, value, (factors, offsets), result, limits))


def per_output(numbers: Numbers, pending: Pending) -> Numbers:
    """(k,): one number for each output channel of a product, from what the model spreads over its result."""
    k, wanted = pending.channels, (pending.channels, *[1] * pending.trailing)
    if numbers.size == 1:
        return np.full(k, numbers.reshape(-1)[0])
    if numbers.size == k and numbers.shape[-len(wanted) :] == wanted:
        return numbers.reshape(-1)
    raise Refusal(
        f"its constant has the shape {list(numbers.shape)}", "one number, or one for each channel, can be used"
    )


def _channels(
    context: QuantizedContext, node: Node, value: Value, numbers: tuple[Any, Any], result: Quant, limits: Limits
) -> Value:
    """A depthwise 1x1 convolution whose weights are 127 or -127: all of the factor is in the scale."""
    factor, offset = numbers
    size, c = np.abs(factor), value.layout.hwc[2]
    scales = np.where(size == 0, 1, size / np.float32(INT8_MAX)).astype(np.float32)
    step = (context.quants[value.layer].scale * scales).astype(np.float32)
    name = context.name(title(node), node.label)
    layer = QConv(
        name=name, kind="depthwise" if c > 1 else "conv", input=value.layer, output=name,
        weights=(np.sign(factor) * INT8_MAX).astype(np.int8).reshape(c, 1, 1, 1), bias=int_bias(offset, c, step),
        scale=(step / result.scale).astype(np.float32), stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=c,
        lo=limits[0], hi=limits[1],
    )  # fmt: skip
    return context.push(layer, value.layout.hwc, result, value.layout)


@AFFINE.register("two activations of one shape, or a constant", "com.microsoft.QLinearAdd")
@AFFINE.register("a constant: a table, or a depthwise 1x1 convolution", "com.microsoft.QLinearMul")
def quantized_arithmetic(context: QuantizedContext, node: Node) -> None:
    """As Add and Mul, of integers with their scales."""
    op = "Add" if node.op.endswith("Add") else "Mul"
    result = context.quant(node, 6, 7)
    sides = [i for i in (0, 3) if isinstance(context.known(node.inputs[i]), np.ndarray)]
    if not sides and op == "Add":
        a, b = (plain(context.integers_of(node, i, context.quant(node, i + 1, i + 2))) for i in (0, 3))
        context.give(node, addition(context, node, a, b, result, ALL))
        return
    if len(sides) != 1:
        raise Refusal("computes with two activations", "one of them must be constant")
    quant, other = context.quant(node, sides[0] + 1, sides[0] + 2), 3 - sides[0]
    raw = context.constant(node, sides[0], "constant")
    real = Quantized(raw, quant.scale, quant.zero + quant.shift, 0).real
    value = plain(context.integers_of(node, other, context.quant(node, other + 1, other + 2)))
    factor, offset = arithmetic(op, 1, real)
    if real.size == 1:
        a, b = float(factor.reshape(-1)[0]), float(offset.reshape(-1)[0])
        context.give(node, looked_up(context, node, value, lambda x: x * a + b).emit(result, ALL))
        return
    numbers = (channelwise(value, factor), channelwise(value, offset))
    context.give(node, _channels(context, node, value, numbers, result, ALL))
