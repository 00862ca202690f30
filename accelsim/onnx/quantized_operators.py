"""Operators of quantised models: QOperator's own, those of integers, and float ones between DequantizeLinear and
QuantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelsim.nn.functions import Function
from accelsim.nn.graph import QSoftmax
from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.onnx.context import title
from accelsim.onnx.float_pointwise import limits as clip_limits
from accelsim.onnx.float_pointwise import one_slope
from accelsim.onnx.float_windowed import check_softmax, counts_padding, left, pool_window, reduced, whole
from accelsim.onnx.nodes import stored_weights
from accelsim.onnx.problems import Refusal, shown
from accelsim.onnx.quantized import VALUES, Limits, Pending, Quant, QuantizedContext, plain
from accelsim.onnx.quantized_affine import AFFINE
from accelsim.onnx.quantized_layers import check_fill, concatenation, looked_up, pool
from accelsim.onnx.quantized_products import PRODUCTS
from accelsim.onnx.quantized_registry import QuantizedRegistry
from accelsim.onnx.quantized_tables import TABLES, limited
from accelsim.onnx.registry import Operator
from accelsim.onnx.values import Node, Value
from accelsim.onnx.views import VIEWS

_OPERATORS = QuantizedRegistry()
operator = _OPERATORS.register
ALL = (INT8_MIN, INT8_MAX)


@operator("one scale for the whole tensor; int8 and uint8", "QuantizeLinear")
def quantize(context: QuantizedContext, node: Node) -> None:
    found, quant = context.known(node.inputs[0]), context.quant(node, 1, 2)
    if isinstance(found, Pending):
        context.give(node, context.settle(found, quant))
        return
    if isinstance(found, Value) and found.host:
        context.give(node, found)
        return
    value = context.value(node)
    if not value.real:
        raise Refusal("quantises what is quantised already")
    known = context.quants.get(value.layer)
    if known is None:
        context.store(value.layer, context.shapes[value.layer], quant)
    elif known != quant:  # also where only the type differs: whoever reads the first needs its type
        value = context.table(node, context.plain(node), quant, lambda real: real)
    context.give(node, quant.padded(value, real=False))


@operator("of activations: one scale; of constants: one for each output channel", "DequantizeLinear")
def dequantize(context: QuantizedContext, node: Node) -> None:
    found = context.known(node.inputs[0])
    if isinstance(found, np.ndarray):
        given = [context.constant(node, index, "scale and zero point") for index in (1, 2) if node.given(index)]
        context.give(node, stored_weights(node, [found, *given]))
        return
    if isinstance(found, Value) and found.host:
        context.give(node, found)
        return
    value = context.value(node)
    if value.real:
        raise Refusal(f"its input {shown(node.inputs[0])!r} is float")
    quant = context.quant(node, 1, 2)
    context.give(node, quant.padded(context.as_quantized(value, quant), real=True))


def function_of(node: Node) -> Function:
    """The function of a pointwise operator. Raises Refusal."""
    slope = float(node.attributes.get("alpha", 0.2 if node.op == "HardSigmoid" else 0.01))
    if node.op == "HardSigmoid" and (slope <= 0 or abs(node.attributes.get("beta", 0.5) - 0.5) > 1e-6):
        raise Refusal("its alpha and beta are unusual", "beta 0.5 and an alpha above 0 can be run")
    name = node.op.removeprefix("com.microsoft.").removeprefix("QLinear")
    kinds = {"LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid", "HardSwish": "hard_swish"}
    return Function(kinds.get(name, name.lower()), slope)


@operator("a table of 256 entries", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish")
def function(context: QuantizedContext, node: Node) -> None:
    value, _ = context.dequantized(node)
    context.give(node, looked_up(context, node, value, function_of(node)))


@operator("one slope for all, constant: a table of 256 entries", "PRelu")
def prelu(context: QuantizedContext, node: Node) -> None:
    value, _ = context.dequantized(node)
    context.give(node, looked_up(context, node, value, Function("leaky_relu", one_slope(context, node))))


@operator("a table of 256 entries", "com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu")
def quantized_function(context: QuantizedContext, node: Node) -> None:
    value = context.integers_of(node, 0, context.quant(node, 1, 2))
    what = function_of(node)
    context.give(node, context.table(node, value, context.quant(node, 3, 4), what, what.kind))


@operator("behind a layer: its limits; of integers: a table", "Relu", "Clip")
def clamp(context: QuantizedContext, node: Node) -> None:
    low, high = (0.0, np.inf) if node.op == "Relu" else clip_limits(context, node)
    found = context.known(node.inputs[0])
    if isinstance(found, Pending):
        context.give(node, found.clamped(node, low, high))
        return
    value = context.plain(node)
    if value.real:
        value, _ = context.dequantized(node)
        context.give(node, looked_up(context, node, value, lambda real: np.clip(real, low, high), node.op.lower()))
        return
    quant = context.quants.get(value.layer)
    if quant is None:
        raise Refusal("reads an integer input that has no scale yet")
    wanted = np.clip(VALUES + quant.shift, low, high) - quant.shift
    ends = np.clip(wanted[[0, -1]], *ALL)
    done = limited(context, node, value, (int(ends[0]), int(ends[1])))
    context.give(node, done or context.mapped(node, value, quant, wanted, node.op.lower()))


@operator("of channels, or of vectors", "Concat")
def concat(context: QuantizedContext, node: Node) -> None:
    values = [plain(context.value(node, index)) for index in range(len(node.inputs))]
    if all(value.real for value in values):
        values = [context.dequantized(node, index)[0] for index in range(len(values))]

        def emit(result: Quant, limits: Limits) -> Value:
            if limits != ALL:
                raise Refusal("is followed by a Relu or Clip in float", "a QuantizeLinear must stand between")
            return concatenation(context, node, values, result)

        context.give(node, Pending(node, emit))
        return
    quants = {context.quants.get(value.layer) for value in values}
    quant = quants.pop()
    if quants or quant is None or any(value.real for value in values):
        raise Refusal("joins tensors of different scales", "use QLinearConcat, which rescales them")
    context.give(node, concatenation(context, node, values, quant))


@operator("of channels, or of vectors", "com.microsoft.QLinearConcat")
def quantized_concat(context: QuantizedContext, node: Node) -> None:
    values = [
        plain(context.integers_of(node, i, context.quant(node, i + 1, i + 2))) for i in range(2, len(node.inputs), 3)
    ]
    context.give(node, concatenation(context, node, values, context.quant(node, 0, 1)))


@operator("", "GlobalMaxPool")
@operator("without dilation and indices; ceil_mode as padding", "MaxPool")
def maxpool(context: QuantizedContext, node: Node) -> None:
    if len(node.outputs) > 1 and context.uses[node.outputs[1]]:
        raise Refusal("its second output, the indices, is read", "accelsim keeps the largest values only")
    given = context.value(node)
    value, quant = context.image(given), context.quants.get(given.layer)
    if quant is None:
        raise Refusal("reads an input that has no scale yet", "quantise the input first")
    if value.frame is not None:
        raise Refusal("its input is padded with a number, which could be the largest value", "use the pads of MaxPool")
    found = whole(value) if node.op == "GlobalMaxPool" else pool_window(node, value)
    context.give(node, replace(pool(context, node, "maxpool", value, found, quant, ALL), real=given.real))


@operator("", "GlobalAveragePool")
@operator("count_include_pad 0 and 1; ceil_mode with 0", "AveragePool")
def avgpool(context: QuantizedContext, node: Node) -> None:
    value = context.dequantized(node)[0]
    context.give(node, Pending(node, lambda result, limits: _average(context, node, value, result, limits)))


@operator(
    "channels_last 0; as AveragePool", "com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool"
)
def quantized_avgpool(context: QuantizedContext, node: Node) -> None:
    value = context.integers_of(node, 0, context.quant(node, 1, 2))
    if node.attributes.get("channels_last", 0):
        raise Refusal("has channels_last 1", "0 can be run")
    context.give(node, _average(context, node, value, context.quant(node, 3, 4), ALL))


def _average(context: QuantizedContext, node: Node, value: Value, result: Quant, limits: Limits) -> Value:
    value, quant = context.image(value), context.quants[value.layer]
    check_fill(value, quant)
    if "Global" in node.op:
        return pool(context, node, "avgpool", plain(value), whole(value), result, limits)
    found = pool_window(node, value)
    include = counts_padding(node, value, found, 0.0 if value.real else quant.zero + quant.shift)
    return pool(context, node, "avgpool", value, found, result, limits, include)


@operator("over height and width", "ReduceMean")
def reduce_mean(context: QuantizedContext, node: Node) -> None:
    value = plain(context.dequantized(node)[0])
    stored, axes = reduced(context, node, value)

    def emit(result: Quant, limits: Limits) -> Value:
        made = pool(context, node, "avgpool", stored, whole(stored), result, limits)
        return made.seen(left(value.layout.shape, axes, bool(node.attributes.get("keepdims", 1)), made))

    context.give(node, Pending(node, emit))


@operator("over channels, as the last operator: on the host", "Softmax", "com.microsoft.QLinearSoftmax")
def softmax(context: QuantizedContext, node: Node) -> None:
    if node.op == "Softmax":
        value, quant = context.dequantized(node)
    else:
        quant = context.quant(node, 1, 2)
        value = context.integers_of(node, 0, quant)
    check_softmax(context, node, plain(value))
    layer = QSoftmax(name=context.name(title(node), node.label), kind="softmax", input=value.layer)
    made = context.push(layer, value.layout.hwc, quant, value.layout)
    context.give(node, replace(made, host=True, real=True))


QUANTIZED: dict[str, Operator] = {
    **VIEWS.operators, **TABLES.operators, **PRODUCTS.operators, **AFFINE.operators, **_OPERATORS.operators
}  # fmt: skip
"""Operators of quantised models, by name."""
