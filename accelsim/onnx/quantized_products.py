"""Convolutions and matrix products of quantised models, in both spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.onnx.context import Context
from accelsim.onnx.problems import Refusal, shown
from accelsim.onnx.quantized import Limits, Pending, Quant, QuantizedContext
from accelsim.onnx.quantized_layers import Weights, convolution, dense
from accelsim.onnx.quantized_weights import as_integers, weight_scales
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node, Quantized, Value

PRODUCTS = Registry()
ALL = (INT8_MIN, INT8_MAX)


def _quantized(context: Context) -> QuantizedContext:
    assert isinstance(context, QuantizedContext)
    return context


def _raw(context: QuantizedContext, node: Node, index: int, flip: bool = False) -> Weights:
    """Weights, scale and zero point from three inputs; output channels first, or last and to be turned by ``flip``."""
    values = context.constant(node, index, "weights")
    zero = context.constant(node, index + 2, "weight zero point") if node.given(index + 2) else np.zeros(1)
    if values.ndim < 2 or (flip and values.ndim != 2):
        raise Refusal(f"its weights have the shape {list(values.shape)}, expected two dimensions or more")
    integers = as_integers(values, zero)
    integers = integers.T if flip else integers
    return Weights(integers, weight_scales(context.constant(node, index + 1, "weight scale"), len(integers)), None)


def _dequantized(context: QuantizedContext, node: Node, index: int, flip: bool = False) -> Weights:
    """Weights behind a DequantizeLinear."""
    found = context.known(node.inputs[index]) if node.given(index) else None
    if not isinstance(found, Quantized):
        name = shown(node.inputs[index]) if node.given(index) else ""
        raise Refusal(f"its weights {name!r} have no scale", "in a quantised model they come from a DequantizeLinear")
    if found.values.ndim < 2 or (flip and found.values.ndim != 2):
        raise Refusal(f"its weights have the shape {list(found.values.shape)}, expected two dimensions or more")
    channel = found.values.ndim - 1 if flip else 0
    if np.ndim(found.scale) and found.axis != channel:
        raise Refusal(
            f"its weights have scales along axis {found.axis}", f"one for each output channel: axis {channel}"
        )
    integers = as_integers(found.values, found.zero)
    integers = integers.T if flip else integers
    return Weights(integers, weight_scales(found.scale, len(integers)), None)


def _with_bias(weights: Weights, bias: Any) -> Weights:
    return Weights(weights.values, weights.scales, bias)


@PRODUCTS("as Conv; int8 weights with zero point 0, uint8 with 128; a scale, or one for each channel", "QLinearConv")
def quantized_conv(context: Context, node: Node) -> None:
    context = _quantized(context)
    source = context.quant(node, 1, 2)
    value = context.image(context.integers_of(node, 0, source))
    bias = context.constant(node, 8, "bias") if node.given(8) else None
    weights = _with_bias(_raw(context, node, 3), bias)
    context.give(node, convolution(context, node, value, source, weights, context.quant(node, 6, 7), ALL))


@PRODUCTS("as QLinearConv, between DequantizeLinear and QuantizeLinear", "Conv")
def conv(context: Context, node: Node) -> None:
    context = _quantized(context)
    value, source = context.dequantized(node)
    value = context.image(value)
    weights = _with_bias(_dequantized(context, node, 1), context.known(node.inputs[2]) if node.given(2) else None)

    def build(weights: Weights, result: Quant, limits: Limits) -> Value:
        return convolution(context, node, value, source, weights, result, limits)

    context.give(node, _pending(node, build, weights, len(value.layout.shape) - 1))


@PRODUCTS("constant second matrix, with the weights of QLinearConv", "QLinearMatMul")
def quantized_matmul(context: Context, node: Node) -> None:
    context = _quantized(context)
    source = context.quant(node, 1, 2)
    value = context.integers_of(node, 0, source)
    context.give(
        node, _product(context, node, value, source, _raw(context, node, 3, True), context.quant(node, 6, 7), ALL)
    )


@PRODUCTS(
    "transB, alpha; not transA; with a scale for its result, or a QuantizeLinear behind it", "com.microsoft.QGemm"
)
def quantized_gemm(context: Context, node: Node) -> None:
    context = _quantized(context)
    _check_gemm(node)
    source = context.quant(node, 1, 2)
    value = context.integers_of(node, 0, source)
    weights = _raw(context, node, 3, not node.attributes.get("transB", 0))
    bias = context.constant(node, 6, "bias") if node.given(6) else None
    alpha = np.float32(node.attributes.get("alpha", 1.0))
    weights = Weights(weights.values, (alpha * weights.scales).astype(np.float32), bias)
    if node.given(7):
        context.give(node, _product(context, node, value, source, weights, context.quant(node, 7, 8), ALL))
        return
    context.give(node, Pending(node, lambda result, limits: _product(
        context, node, value, source, weights, result, limits)))  # fmt: skip


@PRODUCTS("between DequantizeLinear and QuantizeLinear; constant second matrix", "Gemm", "MatMul")
def product(context: Context, node: Node) -> None:
    context = _quantized(context)
    _check_gemm(node)
    value, source = context.dequantized(node)
    if any(node.attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        raise Refusal("has an alpha or beta", "fold them into the weights before quantising")
    weights = _dequantized(context, node, 1, not node.attributes.get("transB", 0))
    weights = _with_bias(weights, context.known(node.inputs[2]) if node.given(2) else None)

    def build(weights: Weights, result: Quant, limits: Limits) -> Value:
        return _product(context, node, value, source, weights, result, limits)

    context.give(node, _pending(node, build, weights, 0))


def _pending(node: Node, build: Callable[[Weights, Quant, Limits], Value], weights: Weights, trailing: int) -> Pending:
    """A product that waits for the scale of its result, and takes factors and offsets behind it into its weights."""

    def scaled(factor: NDArray[np.float64], offset: NDArray[np.float64]) -> Pending:
        return _pending(node, build, weights.scaled(factor, offset), trailing)

    return Pending(
        node, lambda result, limits: build(weights, result, limits), scaled=scaled, channels=len(weights.values),
        trailing=trailing,
    )  # fmt: skip


def _check_gemm(node: Node) -> None:
    if node.attributes.get("transA", 0):
        raise Refusal("transA would mix images", "export the model with transA = 0")


def _product(
    context: QuantizedContext, node: Node, value: Value, source: Quant, weights: Weights, result: Quant, limits: Limits
) -> Value:  # fmt: skip
    if value.frame is not None:
        raise Refusal("reads what a Pad gives", "padding can be done by the Conv or pooling that follows it, only")
    return dense(context, node, value, source, weights, result, limits)
