"""The layers of a quantised model, made from its integers and scales; used by both spellings, QOperator and QDQ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.functions import Function
from accelsim.nn.graph import QConv, QPool
from accelsim.nn.layouts import Layout
from accelsim.nn.tables import add_layer, concat_layer
from accelsim.numerics import INT8_MAX
from accelsim.onnx.context import title
from accelsim.onnx.float_weighted import check_alike
from accelsim.onnx.float_windowed import joined
from accelsim.onnx.problems import Refusal
from accelsim.onnx.quantized import Limits, Pending, Quant, QuantizedContext, Table, plain
from accelsim.onnx.quantized_weights import int_bias
from accelsim.onnx.registry import Handler
from accelsim.onnx.values import Node, Quantized, Value
from accelsim.onnx.windows import Window, window

POINT = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 ``values``, output channels first; ``scales`` float32 (k,); ``bias`` as the model has it."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: Any

    def scaled(self, factor: NDArray[np.float64], offset: NDArray[np.float64]) -> Weights:
        """The weights whose products are ``factor`` times as large, and ``offset`` more, both (k,); float bias."""
        bias = (
            0.0 if self.bias is None else np.asarray(self.bias.real if isinstance(self.bias, Quantized) else self.bias)
        )
        signs = np.sign(factor).reshape(-1, *[1] * (self.values.ndim - 1))
        values = self.values * signs
        if (values > INT8_MAX).any() or not (np.isfinite(factor).all() and np.isfinite(offset).all()):
            raise Refusal("its factors are not finite, or turn a weight of -128 into 128")
        scales = np.where(factor == 0, 1, self.scales * np.abs(factor)).astype(np.float32)
        return Weights(values.astype(np.int8), scales, np.asarray(bias * factor + offset, np.float32))


def looked_up(context: QuantizedContext, node: Node, value: Value, what: Table, kind: str = "lut") -> Pending:
    """A pointwise function that waits for the scale of its result."""
    plain(value)
    kind = what.kind if isinstance(what, Function) else kind
    return Pending(node, lambda result, limits: context.table(node, value, result, what, kind, limits))


COMMUTING = ("MaxPool", "GlobalMaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that give the same whether values are stored in integers before them or behind."""


def later(context: QuantizedContext, node: Node, before: Pending, read: Handler) -> Pending:
    """One of ``COMMUTING`` on what has no scale yet: done when the scale is known, behind the layer that waits."""

    def emit(result: Quant, limits: Limits) -> Value:
        low, high = (int(np.clip(end, *limits)) for end in result.limits(*before.limits))
        source, target = node.inputs[0], node.outputs[0]
        waiting = context.values[target]
        context.values[source] = replace(context.settle(before, result, (low, high)), real=True)
        read(context, node)
        made, context.values[source], context.values[target] = context.values[target], before, waiting
        return replace(made, real=False)

    return Pending(node, emit)


def check_fill(value: Value, quant: Quant) -> None:
    """Refuse padding with anything but what stands for 0."""
    if value.frame is None:
        return
    zero = 0 if value.real else quant.zero + quant.shift
    if value.frame.fill != zero:
        raise Refusal(
            f"its input is padded with {value.frame.fill:g}", f"padding with {zero}, which stands for 0, can be run"
        )


def convolution(
    context: QuantizedContext, node: Node, value: Value, source: Quant, weights: Weights, result: Quant, limits: Limits
) -> Value:
    """A Conv; ``value`` is an image and the weights are (k, c / groups, r, s), or (k, c / groups, s)."""
    check_fill(value, source)
    rank = len(value.layout.shape)
    if weights.values.ndim != rank + 1:
        raise Refusal(f"its weights have {weights.values.ndim} dimensions, its input {rank + 1}")
    found = window(node, value.layout.hwc[:2], weights.values.shape[2:], value.frame)
    groups = int(node.attributes.get("group", 1))
    kernel = weights.values.reshape(*weights.values.shape[:2], *found.kernel).transpose(0, 2, 3, 1)
    c = value.layout.hwc[2]
    kind = "depthwise" if 1 < groups == len(kernel) == c else "conv"
    hwc = context.checked(node, kind, value, kernel.shape, found, groups)
    layout = None if rank == 3 else Layout(shape=(hwc[2], hwc[1]), hwc=hwc)
    layer = _weighted(context, node, value, (source, result), (kernel, weights, kind), found, groups, limits)
    return context.push(layer, hwc, result, layout)


def dense(
    context: QuantizedContext, node: Node, value: Value, source: Quant, weights: Weights, result: Quant, limits: Limits
) -> Value:
    """Weights (k, c) applied to vectors, or to the rows of a matrix (n, m, c)."""
    shape, k = value.layout.shape, len(weights.values)
    if not shape or weights.values.shape[1] != shape[-1]:
        raise Refusal(f"its weights take {weights.values.shape[1]} values, its input is {[context.batch, *shape]}")
    if len(shape) == 1:
        kernel = weights.values
        if value.layout.index is not None:
            kernel = value.layout.to_nhwc(kernel)
        kernel = kernel.reshape(k, *value.layout.hwc)
        layer = _weighted(context, node, value, (source, result), (kernel, weights, "fc"), POINT, 1, limits)
        return context.push(layer, (1, 1, k), result, Layout.vector(k))
    if len(shape) != 2:
        raise Refusal(f"its input has {len(shape) + 1} dimensions", "two or three can be run in a quantised model")
    m, c = shape
    value = context.as_stored(value, (1, m, c), (0, 1))
    kernel, hwc = weights.values[:, None, None, :], (1, m, k)
    layer = _weighted(context, node, value, (source, result), (kernel, weights, "gemm"), POINT, 1, limits)
    index = np.arange(m * k, dtype=np.intp).reshape(m, k)
    return context.push(layer, hwc, result, Layout(shape=(m, k), hwc=hwc, index=index))


def _weighted(
    context: QuantizedContext, node: Node, value: Value, quants: tuple[Quant, Quant],
    parts: tuple[NDArray[np.int8], Weights, str], found: Window, groups: int, limits: Limits,
) -> QConv:  # fmt: skip
    """The rule of ONNX Runtime: float32 at each step."""
    (source, result), (kernel, weights, kind) = quants, parts
    step = (source.scale * weights.scales).astype(np.float32)
    name = context.name(title(node), node.label)
    return QConv(
        name=name, kind=kind, input=value.layer, output=name, weights=np.ascontiguousarray(kernel),
        bias=int_bias(weights.bias, len(kernel), step), scale=(step / result.scale).astype(np.float32),
        stride=found.stride, pads=found.pads, dilation=found.dilation, groups=groups, lo=limits[0], hi=limits[1],
    )  # fmt: skip


def pool(
    context: QuantizedContext, node: Node, kind: str, value: Value, found: Window, result: Quant, limits: Limits,
    include: bool = False,
) -> Value:  # fmt: skip
    """Max or average pooling of an image; its output has as many dimensions."""
    hwc = context.checked(node, kind, value, (), found, 1)
    name = context.name(title(node), node.label)
    layer = QPool(
        name=name, kind=kind, input=value.layer, output=name, kernel=found.kernel, stride=found.stride,
        pads=found.pads, count_include_pad=include, lo=limits[0], hi=limits[1],
    )  # fmt: skip
    layout = None if len(value.layout.shape) == 3 else Layout(shape=(hwc[2], hwc[1]), hwc=hwc)
    return context.push(layer, hwc, result, layout)


def addition(context: QuantizedContext, node: Node, a: Value, b: Value, result: Quant, limits: Limits) -> Value:
    """The sum of two activations that lie alike."""
    check_alike(a, b)
    name = context.name(title(node), node.label)
    tensor = context.store(name, a.layout.hwc, result)
    layer = add_layer(name, (context.made[a.layer], context.made[b.layer]), tensor, limits)
    return context.push(layer, a.layout.hwc, result, a.layout)


def concatenation(context: QuantizedContext, node: Node, values: list[Value], result: Quant) -> Value:
    """Tensors side by side in the channels of one; each with the scale of the result."""
    values, layout = joined(context, node, values)
    name = context.name(title(node), node.label)
    tensor = context.store(name, layout.hwc, result)
    layer = concat_layer(name, [context.made[value.layer] for value in values], tensor)
    return context.push(layer, layout.hwc, result, layout)
