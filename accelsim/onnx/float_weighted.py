"""Operators of float models that have weights, or that become some: products, factors and offsets of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.layouts import Layout
from accelsim.onnx.affine import arithmetic, channelwise, constant_side, normalisation
from accelsim.onnx.context import Context
from accelsim.onnx.float_pointwise import gated
from accelsim.onnx.problems import Refusal
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node, Value
from accelsim.onnx.windows import check_channels, window

WEIGHTED_OPERATORS = Registry()

Array = NDArray[np.float32]


@WEIGHTED_OPERATORS("1-D and 2-D; groups, depthwise, dilations, asymmetric pads, auto_pad", "Conv")
def conv(context: Context, node: Node) -> None:
    value = context.image(context.value(node))
    weights = context.numbers(node, 1, "weights")
    bias = context.numbers(node, 2, "bias") if node.given(2) else None
    if weights.ndim != len(value.layout.shape) + 1:
        raise Refusal(f"its weights have {weights.ndim} dimensions, its input {len(value.layout.shape) + 1}")
    if value.frame and value.frame.fill:
        raise Refusal(f"its input is padded with {value.frame.fill:g}", "a convolution pads with 0, only")
    shape = node.attributes.get("kernel_shape", weights.shape[2:])
    if tuple(shape) != weights.shape[2:]:
        raise Refusal(f"its kernel_shape {list(shape)} is not that of its weights {list(weights.shape)}")
    frame = window(node, value.layout.hwc[:2], weights.shape[2:], value.frame)
    kernel, groups = weights.reshape(*weights.shape[:2], *frame.kernel), int(node.attributes.get("group", 1))
    check_channels(weights.shape[1], groups, value.layout.hwc[2])
    result = context.add(
        node, "conv", [value], kernel=frame.kernel, stride=frame.stride, pads=frame.pads, dilation=frame.dilation,
        groups=groups, channels=len(weights), weights=kernel.transpose(0, 2, 3, 1), bias=bias,
    )  # fmt: skip
    context.give(node, result.seen(_rank(result.layout, weights.ndim - 1)))


def _rank(layout: Layout, rank: int) -> Layout:
    """(c, h, w), or (c, w) of an image of height 1."""
    return layout if rank == 3 else Layout(shape=(layout.shape[0], layout.shape[2]), hwc=layout.hwc)


@WEIGHTED_OPERATORS("constant B and C; transB, alpha, beta; not transA", "Gemm")
def gemm(context: Context, node: Node) -> None:
    value = context.plain(node)
    if node.attributes.get("transA", 0):
        raise Refusal("transA would mix images", "export the model with transA = 0")
    weights = context.numbers(node, 1, "weights B")
    if weights.ndim != 2:
        raise Refusal(f"its weights B have the shape {list(weights.shape)}, expected two dimensions")
    if not node.attributes.get("transB", 0):
        weights = weights.T
    bias = context.numbers(node, 2, "bias C") if node.given(2) else None
    alpha, beta = (np.float32(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if alpha != 1:
        weights = weights * alpha
    if bias is not None and beta != 1:
        bias = bias * beta
    context.give(node, dense(context, node, value, weights, bias))


@WEIGHTED_OPERATORS("activations by a constant matrix", "MatMul")
def matmul(context: Context, node: Node) -> None:
    first, second = (isinstance(context.known(node.inputs[index]), np.ndarray) for index in (0, 1))
    if first or not second:
        hint = "transpose the product" if first else "products of two activations (attention) cannot be run"
        raise Refusal("its second input must be constant, its first computed", hint)
    weights = context.numbers(node, 1, "weights")
    if weights.ndim != 2:
        raise Refusal(f"its weights have the shape {list(weights.shape)}, expected two dimensions")
    context.give(node, dense(context, node, context.plain(node), weights.T, None))


def dense(context: Context, node: Node, value: Value, weights: Array, bias: Array | None) -> Value:
    """Weights (k, c) applied to the last dimension of the model's tensor: an fc, a gemm, or a 1x1 convolution."""
    shape = value.layout.shape
    if not shape or weights.shape[1] != shape[-1]:
        raise Refusal(f"its weights take {weights.shape[1]} values, its input is {[context.batch, *shape]}")
    k = len(weights)
    if bias is not None:
        bias = _row(bias, k)
    keys: dict[str, Any] = {"channels": k, "bias": bias}
    if len(shape) == 1:
        if value.layout.index is not None:  # the columns, in the order in which the values lie
            weights = value.layout.to_nhwc(weights).reshape(k, -1)
        return context.add(node, "fc", [value], Layout.vector(k), weights=weights, **keys)
    if len(shape) == 2:
        m, c = shape
        value = context.as_stored(value, (1, m, c), (0, 1))
        layout = _rows((1, m, k), (m, k))
        return context.add(node, "gemm", [value], layout, matrix=(m, c), weights=weights, **keys)
    if len(shape) != 3:
        raise Refusal(f"its input has {len(shape) + 1} dimensions", "up to four can be used")
    h, w, c = shape
    value = context.as_stored(value, (h, w, c), (0, 1, 2))
    layout = _rows((h, w, k), (h, w, k))
    return context.add(node, "conv", [value], layout, weights=weights[:, None, None, :], **keys)


def _row(bias: Array, k: int) -> Array:
    if bias.size not in (1, k) or (bias.ndim and bias.size != bias.shape[-1]):
        raise Refusal(f"its bias has the shape {list(bias.shape)}, expected {k} values", "one for each output")
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (k,)))


def _rows(hwc: tuple[int, int, int], shape: tuple[int, ...]) -> Layout:
    """A layout whose elements lie in the order of ``shape``."""
    return Layout(shape=shape, hwc=hwc, index=np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape))


@WEIGHTED_OPERATORS(
    "folded into the convolution or Gemm before it, else a depthwise 1x1 convolution", "BatchNormalization"
)
def batch_normalization(context: Context, node: Node) -> None:
    value = context.plain(node)
    factor, offset = normalisation(context, node, value.layout.shape[0])
    sides = (-1, *[1] * (len(value.layout.shape) - 1))
    context.give(node, affine(context, node, value, factor.reshape(sides), offset.reshape(sides)))


def affine(context: Context, node: Node, value: Value, factor: Any, offset: Any) -> Value:
    """``value * factor + offset`` as a depthwise 1x1 convolution, which graph.tidied folds where it can."""
    scale, shift = (channelwise(value, np.asarray(numbers)) for numbers in (factor, offset))
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Refusal("gives factors that are not finite")
    c = value.layout.hwc[2]
    result = context.add(
        node, "conv", [value], value.layout, channels=c, groups=c, weights=scale.reshape(c, 1, 1, 1), bias=shift
    )
    context.affine.add(result.layer)
    return result


@WEIGHTED_OPERATORS("two activations of one shape, or a constant (one number or one for each channel)", "Add", "Sum")
def add(context: Context, node: Node) -> None:
    if len(node.inputs) == 1:
        context.give(node, context.plain(node))
        return
    if len(node.inputs) != 2:
        raise Refusal(f"adds {len(node.inputs)} tensors", "a chain of Adds of two can be run")
    constant = constant_side(context, node)
    if constant is not None:
        numbers = arithmetic(node.op, constant, context.numbers(node, constant, "constant"))
        context.give(node, affine(context, node, context.plain(node, 1 - constant), *numbers))
        return
    context.give(node, added(context, node, context.plain(node, 0), context.plain(node, 1)))


def added(context: Context, node: Node, a: Value, b: Value) -> Value:
    """The sum of two activations that lie alike."""
    check_alike(a, b)
    return context.add(node, "add", [a, b], a.layout)


def check_alike(a: Value, b: Value) -> None:
    """Refuse summands of different shapes, or of which one lies in another order."""
    if a.layout.shape != b.layout.shape:
        raise Refusal(f"its inputs have the shapes {list(a.layout.shape)} and {list(b.layout.shape)} behind the batch",
                      "two activations need one shape; only constants are spread")  # fmt: skip
    if not a.layout.same(b.layout):
        raise Refusal(
            "its inputs lie in different orders", "a Transpose or Reshape of one of them cannot be folded away"
        )


@WEIGHTED_OPERATORS("a constant (one number or one for each channel) and activations", "Mul", "Sub", "Div")
def scale(context: Context, node: Node) -> None:
    """A factor or an offset of every channel; of two activations, x * HardSigmoid(x) only."""
    constant = constant_side(context, node)
    if constant is None:
        context.give(node, gated(context, node))
        return
    numbers = arithmetic(node.op, constant, context.numbers(node, constant, "constant"))
    context.give(node, affine(context, node, context.plain(node, 1 - constant), *numbers))
