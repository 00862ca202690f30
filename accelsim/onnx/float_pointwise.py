"""Operators of float models that act on every value by itself."""

from __future__ import annotations

from math import inf, isclose

import numpy as np

from accelsim.nn.graph import Layer
from accelsim.onnx.context import Context
from accelsim.onnx.problems import Refusal
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node, Value

POINTWISE_OPERATORS = Registry()

_TWO_ACTIVATIONS = {
    "Mul": (
        "multiplies two activations",
        "one of them must be constant; x * HardSigmoid(x) is HardSwish and can be run",
    ),
    "Sub": ("subtracts two activations", "one of them must be constant"),
    "Div": ("divides two activations", "the second must be constant"),
}


@POINTWISE_OPERATORS("", "Relu", "Sigmoid", "Tanh", "HardSwish")
def function(context: Context, node: Node) -> None:
    kind = {"HardSwish": "hard_swish"}.get(node.op, node.op.lower())
    value = context.plain(node)
    context.give(node, context.add(node, kind, [value], value.layout))


@POINTWISE_OPERATORS("one slope for all", "LeakyRelu")
def leaky_relu(context: Context, node: Node) -> None:
    value, slope = context.plain(node), float(node.attributes.get("alpha", 0.01))
    context.give(node, context.add(node, "leaky_relu", [value], value.layout, slope=slope))


@POINTWISE_OPERATORS("one slope for all, constant", "PRelu")
def prelu(context: Context, node: Node) -> None:
    value, slope = context.plain(node), one_slope(context, node)
    context.give(node, context.add(node, "leaky_relu", [value], value.layout, slope=slope))


def one_slope(context: Context, node: Node) -> float:
    """The slope of a PRelu that has one. Raises Refusal."""
    slopes = context.numbers(node, 1, "slope")
    if slopes.size != 1:
        raise Refusal(f"has {slopes.size} slopes", "one slope for all channels can be run")
    return float(slopes.reshape(-1)[0])


@POINTWISE_OPERATORS("beta 0.5", "HardSigmoid")
def hard_sigmoid(context: Context, node: Node) -> None:
    slope, beta = float(node.attributes.get("alpha", 0.2)), node.attributes.get("beta", 0.5)
    if not isclose(beta, 0.5) or slope <= 0:
        raise Refusal(f"its alpha is {slope:g} and its beta {beta:g}", "beta 0.5 and an alpha above 0 can be run")
    value = context.plain(node)
    context.give(node, context.add(node, "hard_sigmoid", [value], value.layout, slope=slope))


def limits(context: Context, node: Node) -> tuple[float, float]:
    """(lowest, highest) of a Clip, from its inputs or, in old models, its attributes."""
    found = [float(node.attributes.get(name, default)) for name, default in (("min", -inf), ("max", inf))]
    for index in (1, 2):
        if node.given(index):
            numbers = context.constant(node, index, ("", "lower limit", "upper limit")[index])
            if numbers.size != 1:
                raise Refusal("has limits that are not single numbers")
            found[index - 1] = float(numbers.reshape(-1)[0])
    low, high = found
    if not low <= high:
        raise Refusal(f"clips from {low:g} to {high:g}", "the first must not be above the second")
    biggest = float(np.finfo(np.float32).max)  # what exporters write for no limit
    return (-inf if low <= -biggest else low, inf if high >= biggest else high)


@POINTWISE_OPERATORS("limits as attributes or constant inputs; 0..6 is relu6", "Clip")
def clip(context: Context, node: Node) -> None:
    value, (low, high) = context.plain(node), limits(context, node)
    if (low, high) == (-inf, inf):
        context.give(node, value)
    elif low == 0 and high in (6, inf):
        context.give(node, context.add(node, "relu" if high == inf else "relu6", [value], value.layout))
    else:
        context.give(node, context.add(node, "clip", [value], value.layout, limits=(low, high)))


def gated(context: Context, node: Node) -> Value:
    """Mul of two activations that is x * HardSigmoid(x) with alpha 1/6, however it is written. Raises Refusal."""
    first, second = context.plain(node, 0), context.plain(node, 1)
    for x, gate in ((first, second), (second, first)):
        factor = _gate(context, x, gate) if node.op == "Mul" and x.layout.same(gate.layout) else None
        if factor is None:
            continue
        result = context.add(node, "hard_swish", [x], x.layout)
        if factor == 1:
            return result
        c = x.layout.hwc[2]
        scaled = context.add(
            node, "conv", [result], x.layout, channels=c, groups=c,
            weights=np.full((c, 1, 1, 1), factor, np.float32), bias=np.zeros(c, np.float32),
        )  # fmt: skip
        context.affine.add(scaled.layer)
        return scaled
    raise Refusal(*_TWO_ACTIVATIONS[node.op])


def _gate(context: Context, x: Value, gate: Value) -> float | None:
    """f when ``gate`` is ``f * HardSigmoid(x)`` with alpha 1/6: itself, or relu6(x + 3), or relu6(x + 3) / 6."""
    factor, layer = 6.0, context.layers.get(gate.layer)
    if layer and layer.kind == "hard_sigmoid":
        return 1.0 if isclose(layer.slope, 1 / 6, rel_tol=1e-4) and layer.input == x.layer else None
    scaled = _same_for_all(context, layer)
    if layer and scaled and scaled[1] == 0:
        factor, layer = factor * scaled[0], context.layers.get(layer.input)
    if not layer or layer.kind != "relu6":
        return None
    moved = context.layers.get(layer.input)
    if not moved or _same_for_all(context, moved) != (1.0, 3.0) or moved.input != x.layer:
        return None
    return 1.0 if isclose(factor, 1, rel_tol=1e-4) else factor


def _same_for_all(context: Context, layer: Layer | None) -> tuple[float, float] | None:
    """Factor and offset of a layer that has one of each for all channels."""
    if not layer or layer.name not in context.affine or layer.weights is None or layer.bias is None:
        return None
    factors, offsets = layer.weights.reshape(-1), layer.bias
    if (factors != factors[0]).any() or (offsets != offsets[0]).any():
        return None
    return float(factors[0]), float(offsets[0])
