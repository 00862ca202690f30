"""Output sizes, padding and shape inference, and the one home of the dimension letters.

Letters used across ``nn`` and ``compiler``: n batch, (h, w, c) input height, width and channels, k output
channels, (r, s) kernel height and width, (p, q) output height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.functions import POINTWISE
from accelsim.nn.graph import Graph, Layer, Pads


@dataclass(eq=False)
class ShapeError(GraphError):
    """A layer is impossible; ``key`` is the parameter at fault, or empty."""

    key: str = ""


Shape: TypeAlias = tuple[int, int, int]
"""One image: (h, w, c)."""

WINDOWED = ("conv", "maxpool", "avgpool")
WEIGHTED = ("conv", "fc", "gemm")
KINDS = (*WEIGHTED, "maxpool", "avgpool", "add", "concat", "lrn", *POINTWISE, "flatten", "softmax")

UNREAD_HINT = "only the last layer is an output, unless `outputs` names others"


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Windows that fit along one axis (floor mode); zero or less when not even one fits."""
    span = dilation * (kernel - 1) + 1
    return (size + before + after - span) // stride + 1


def output_hw(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: Pads,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """(p, q) of a convolution or pooling over (h, w) = ``size``; zero or less when no window fits."""
    top, bottom, left, right = pads
    return (
        output_size(size[0], kernel[0], stride[0], top, bottom, dilation[0]),
        output_size(size[1], kernel[1], stride[1], left, right, dilation[1]),
    )


def same_pads(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Pads:
    """Padding for which p = ceil(h / stride); an odd row or column goes to the bottom or right."""
    pads: list[int] = []
    for length, taps, step, spread in zip(size, kernel, stride, dilation):
        span = spread * (taps - 1) + 1
        total = max((-(-length // step) - 1) * step + span - length, 0)
        pads += [total // 2, total - total // 2]
    return (pads[0], pads[1], pads[2], pads[3])


def tap_hits(
    size: int, kernel: int, stride: int, before: int, outputs: int, dilation: int = 1
) -> NDArray[np.bool_]:
    """(outputs, size): whether the window of each output along one axis reads each real input position."""
    position = (
        np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation - before
    )  # (outputs, kernel)
    return (position[:, :, None] == np.arange(size)).any(axis=1)


def window_counts(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pads: Pads
) -> NDArray[np.int64]:
    """(p, q): the real (not padding) pixels inside each pooling window."""
    p, q = output_hw(size, kernel, stride, pads)
    rows = tap_hits(size[0], kernel[0], stride[0], pads[0], p).sum(axis=1)
    cols = tap_hits(size[1], kernel[1], stride[1], pads[2], q).sum(axis=1)
    return np.multiply.outer(rows, cols)


def average_scale(
    input_scale: np.float32, output_scale: np.float32, counts: NDArray[np.int64] | int
) -> NDArray[np.float32]:
    """Average pooling's factor ``float32(sx / (sy * count))``: the quotient in float64, rounded once."""
    quotient = np.float64(input_scale) / (np.float64(output_scale) * np.asarray(counts))
    return np.asarray(quotient, dtype=np.float32)


def layer_shape(layer: Layer, *inputs: Shape) -> Shape:
    """Output shape of one layer for the shapes it reads.

    Raises ShapeError when it is impossible: no window fits, groups do not divide, summands or weights of another shape,
    a function without values.
    """
    if layer.kind not in KINDS:
        raise GraphError(layer.name, f"unknown kind '{layer.kind}'", "one of " + ", ".join(KINDS))
    shape = h, w, c = inputs[0]
    if layer.kind in WEIGHTED and layer.channels < 1:
        raise ShapeError(layer.name, f"channels must be at least 1, got {layer.channels}", key="channels")
    _check_function(layer)
    if layer.kind in ("add", "concat"):
        return _joined_shape(layer, *inputs)
    if layer.kind == "gemm" and shape != (1, *layer.matrix):
        wanted = f"m = {layer.matrix[0]} and k = {layer.matrix[1]} need an input of shape {[1, *layer.matrix]}"
        raise ShapeError(layer.name, wanted, f"it is {list(shape)}")
    if layer.kind == "flatten":
        return (1, 1, h * w * c)
    if layer.kind in ("fc", "gemm"):
        _check_parameters(layer, shape)
        return (1, w if layer.kind == "gemm" else 1, layer.channels)
    if layer.kind not in WINDOWED:
        return shape
    p, q = _window_shape(layer, shape)
    if layer.kind != "conv":
        return (p, q, c)
    _check_groups(layer, c)
    _check_parameters(layer, shape)
    return (p, q, layer.channels)


def _joined_shape(layer: Layer, *inputs: Shape) -> Shape:
    """Of a sum, the shape of its summands; of a concatenation, all their channels."""
    texts = [f"'{name}' is {list(size)}" for name, size in zip(layer.inputs, inputs)]
    if layer.kind == "add" and (len(inputs) != 2 or inputs[0] != inputs[1]):
        raise ShapeError(layer.name, "both inputs must have one shape", " and ".join(texts), "inputs")
    if len({shape[:2] for shape in inputs}) > 1 or len(inputs) < 2:
        problem = "needs two or more inputs of one height and width"
        raise ShapeError(layer.name, problem, ", ".join(texts), "inputs")
    h, w, c = inputs[0]
    return (h, w, sum(shape[2] for shape in inputs) if layer.kind == "concat" else c)


def _check_function(layer: Layer) -> None:
    """A pointwise function has finite results, and a range with values in it."""
    low, high = layer.limits
    if not low <= high or low == np.inf or high == -np.inf:
        raise ShapeError(layer.name, f"clips from {low:g} to {high:g}", "the first must not be above the second", "low")
    if not np.isfinite(layer.slope) or ("hard_sigmoid" in (layer.kind, layer.activation) and layer.slope <= 0):
        hint = "hard_sigmoid needs one above 0; 0.2 and 1/6 are usual"
        raise ShapeError(layer.name, f"the slope cannot be {layer.slope:g}", hint, "slope")


def infer_shapes(graph: Graph) -> dict[str, Shape]:
    """(h, w, c) of every network input and of every layer's output, by name.

    Raises GraphError naming the first layer that is impossible, and the numbers.
    """
    shapes: dict[str, Shape] = {}
    for name, shape in graph.inputs:
        if min(shape) < 1:
            raise GraphError(name, f"input shape {list(shape)} has no elements")
        shapes[name] = shape
    for index, layer in enumerate(graph.layers):
        if layer.name in shapes:
            raise GraphError(layer.name, "this name is used twice")
        for name in layer.inputs:
            if name not in shapes:
                raise GraphError(layer.name, f"its input '{name}' is not an earlier layer")
        if layer.kind == "softmax" and index != len(graph.layers) - 1:
            raise GraphError(layer.name, "softmax runs on the host and can only be the last layer")
        shapes[layer.name] = layer_shape(layer, *(shapes[name] for name in layer.inputs))
    _check_uses(graph)
    return shapes


def _check_uses(graph: Graph) -> None:
    """Every value is read by a layer or by the host."""
    layers = [layer.name for layer in graph.layers]
    for name in graph.outputs:
        if name not in layers:
            raise GraphError(name, "is no layer and cannot be an output")
    used = {name for layer in graph.layers for name in layer.inputs} | set(graph.results)
    used |= {layer.name for layer in graph.layers if layer.kind == "softmax"}
    for name, _ in graph.inputs:
        if name not in used:
            raise GraphError(name, "no layer reads this input")
    for name in layers:
        if name not in used:
            raise GraphError(name, "no layer uses its output", UNREAD_HINT)


def _window_shape(layer: Layer, shape: Shape) -> tuple[int, int]:
    """(p, q); the numbers of a failure are those of the axis that fails."""
    size, pads = shape[:2], layer.pads
    if min(layer.kernel + layer.stride + layer.dilation) < 1 or min(pads) < 0:
        raise GraphError(layer.name, "kernel, stride and dilation must be at least 1 and padding at least 0")
    _check_padding(layer)
    outputs = output_hw(size, layer.kernel, layer.stride, pads, layer.dilation)
    for axis, letter in enumerate(("height", "width")):
        if outputs[axis] < 1:
            span = layer.dilation[axis] * (layer.kernel[axis] - 1) + 1
            padded = size[axis] + pads[2 * axis] + pads[2 * axis + 1]
            raise ShapeError(
                layer.name, f"kernel {letter} spans {span} and the padded input has only {padded}",
                f"input {size[axis]}, padding {pads[2 * axis]} + {pads[2 * axis + 1]}", "kernel",
            )  # fmt: skip
    if layer.kind != "conv" and not window_counts(size, layer.kernel, layer.stride, pads).all():
        raise _empty_window(layer)
    return outputs


def _check_padding(layer: Layer) -> None:
    """A window needs a real pixel to pool; a convolution may have padding as wide as its kernel (some published
    networks pad 1x1 kernels by 1) but not wider, which would only make arrays without any bound."""
    if layer.kind != "conv" and layer.dilation != (1, 1):
        raise GraphError(layer.name, "pooling has no dilation")
    for axis, letter in enumerate(("height", "width")):
        span = layer.dilation[axis] * (layer.kernel[axis] - 1) + 1
        widest = max(layer.pads[2 * axis : 2 * axis + 2])
        if widest < span or (layer.kind == "conv" and widest == span):
            continue
        if layer.kind != "conv":
            raise _empty_window(layer)
        raise ShapeError(
            layer.name, f"padding {widest} is wider than the kernel {letter}, which spans {span}",
            "such windows hold no real pixel", "padding",
        )  # fmt: skip


def _empty_window(layer: Layer) -> ShapeError:
    return ShapeError(
        layer.name, f"padding {list(layer.pads)} leaves a window without any real pixel",
        f"keep each padding below the kernel {list(layer.kernel)}", "padding",
    )  # fmt: skip


def _check_groups(layer: Layer, c: int) -> None:
    if layer.groups < 1 or c % layer.groups or layer.channels % layer.groups:
        raise ShapeError(
            layer.name, f"groups {layer.groups} must divide the {c} input and {layer.channels} output channels",
            key="groups",
        )  # fmt: skip


def parameter_shapes(layer: Layer, shape: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(weights, bias) shapes of a conv, fc or gemm layer that reads ``shape``; empty for other kinds."""
    h, w, c = shape
    match layer.kind:
        case "conv":
            return (layer.channels, *layer.kernel, c // layer.groups), (layer.channels,)
        case "fc":
            return (layer.channels, h * w * c), (layer.channels,)
        case "gemm":
            return (layer.channels, c), (layer.channels,)
        case _:
            return (), ()


def _check_parameters(layer: Layer, shape: Shape) -> None:
    for what, values, expected in zip(
        ("weights", "a bias"), (layer.weights, layer.bias), parameter_shapes(layer, shape)
    ):
        if values is not None and values.shape != expected:
            raise ShapeError(
                layer.name, f"expected {what} of shape {list(expected)}, got {list(values.shape)}",
                f"its input is {list(shape)}",
            )  # fmt: skip
