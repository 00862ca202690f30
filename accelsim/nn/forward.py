"""The network in float32, for calibration and for the accuracy int8 is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.functions import lrn_factor
from accelsim.nn.golden import softmax
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.shapes import WEIGHTED, infer_shapes, output_hw, window_counts
from accelsim.nn.weights import parameters
from accelsim.nn.windows import band_sum, pad, windows

Array = NDArray[np.float32]
Parameters = tuple[Array, Array]

COLUMN_LIMIT = 1 << 22  # elements of the unrolled (im2col) windows of some images


def pre_name(layer: str) -> str:
    """Name of the value of ``layer`` before its own activation."""
    return f"{layer}.pre"


def forward(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """Every layer's float32 output (n, h, w, c) by layer name, the network inputs included.

    ``feeds`` is one array (n, h, w, c), or one by name for each input. A layer with an ``activation`` also gives its
    value before it, as ``<layer>.pre``. Raises GraphError when the graph is impossible, has no weights, or ``feeds``
    do not fit it.
    """
    shapes = infer_shapes(graph)
    values: dict[str, Array] = {
        name: array.astype(np.float32, copy=False) for name, array in by_name(feeds, graph.inputs).items()
    }
    for layer in graph.layers:
        given = parameters(layer, shapes[layer.input]) if layer.kind in WEIGHTED else None
        result = evaluate(layer, [values[name] for name in layer.inputs], given)
        if layer.activation:
            values[pre_name(layer.name)] = result
            result = layer.function(result)
        values[layer.name] = result
    return values


def evaluate(layer: Layer, inputs: Sequence[Array], given: Parameters | None) -> Array:
    """A layer's value (n, h, w, c) before its own activation; ``given`` are its weights and bias, if it has any.

    With the weights of some output channels of an fc or gemm, those channels.
    """
    x = inputs[0]
    match layer.kind:
        case "conv":
            assert given is not None
            return _conv(layer, x, *given)
        case "fc" | "gemm":
            assert given is not None
            rows = x.reshape(len(x), -1) if layer.kind == "fc" else x
            product = steady_product(rows, given[0])
            product += given[1]
            return product.reshape(len(x), 1, -1, len(given[1]))
        case "add":
            return inputs[0] + inputs[1]
        case "concat":
            return np.concatenate(inputs, axis=3)
        case "lrn":
            assert layer.norm is not None
            return x * lrn_factor(layer.norm, band_sum(np.square(x), layer.norm.size))
        case "maxpool":
            return _maxpool(layer, x)
        case "avgpool":
            return _avgpool(layer, x)
        case "flatten":
            return x.reshape(len(x), 1, 1, -1)
        case "softmax":
            return softmax(x)
        case _:
            return layer.function(x)


def steady_product(left: Array, right: Array) -> Array:
    """``left @ right.T`` in float64, rounded once: the same float32 whatever the order in which a BLAS library adds.

    Ranges follow from these values, and a program's hash from the ranges: neither may depend on threads or processors.
    """
    return (left.astype(np.float64) @ right.T.astype(np.float64)).astype(np.float32)


def _conv(layer: Layer, x: Array, weights: Array, bias: Array) -> Array:
    """Image by image where windows unrolled for all of them would be large."""
    k, r, s, per_group = weights.shape
    p, q = output_hw(x.shape[1:3], (r, s), layer.stride, layer.pads, layer.dilation)
    block = max(1, COLUMN_LIMIT // (p * q * weights[0].size))
    result = np.empty((len(x), p, q, k), np.float32)
    for first in range(0, len(x), block):
        images = slice(first, first + block)
        view = windows(pad(x[images], layer.pads, 0.0), (r, s), layer.stride, layer.dilation)
        if per_group == 1 and layer.groups > 1:
            result[images] = _taps(view, weights, layer.groups)
        else:
            _unrolled(view, weights, layer.groups, result[images])
    result += bias
    return result


def _taps(view: Array, weights: Array, groups: int) -> Array:
    """One input channel per group: tap by tap over a view of windows (n, p, q, r, s, c); (n, p, q, k)."""
    n, p, q, r, s, _ = view.shape
    taps = weights.reshape(groups, -1, r, s)
    total = np.zeros((n, p, q, *taps.shape[:2]), np.float32)
    for i in range(r):
        for j in range(s):
            total += view[:, :, :, i, j, :, None] * taps[:, :, i, j]
    return total.reshape(n, p, q, -1)


def _unrolled(view: Array, weights: Array, groups: int, result: Array) -> None:
    """Matrix products over unrolled windows, group by group, into ``result`` (n, p, q, k)."""
    rows, per_group = result.reshape(-1, result.shape[3]), weights.shape[3]
    width = len(weights) // groups
    for group in range(groups):
        columns = view[..., group * per_group : (group + 1) * per_group].reshape(len(rows), -1)
        out = slice(group * width, (group + 1) * width)
        rows[:, out] = steady_product(columns, weights[out].reshape(width, -1))


def _maxpool(layer: Layer, x: Array) -> Array:
    view = windows(pad(x, layer.pads, -np.inf), layer.kernel, layer.stride)
    best = view[:, :, :, 0, 0].copy()
    for i in range(layer.kernel[0]):
        for j in range(layer.kernel[1]):
            np.maximum(best, view[:, :, :, i, j], out=best)
    return best


def _avgpool(layer: Layer, x: Array) -> Array:
    view = windows(pad(x, layer.pads, 0.0), layer.kernel, layer.stride)
    if layer.count_include_pad:
        return view.mean(axis=(3, 4), dtype=np.float32)
    counts = window_counts(x.shape[1:3], layer.kernel, layer.stride, layer.pads)
    return view.sum(axis=(3, 4), dtype=np.float32) / counts[:, :, None].astype(np.float32)
