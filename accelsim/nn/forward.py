"""The network in float32, for calibration and for the accuracy int8 is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.golden import softmax
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.shapes import Shape, infer_shapes, window_counts
from accelsim.nn.windows import pad, windows

Array = NDArray[np.float32]


def pre_name(layer: str) -> str:
    """Name of the value of ``layer`` before its own activation."""
    return f"{layer}.pre"


def forward(graph: Graph, x: NDArray[Any]) -> dict[str, Array]:
    """Every layer's float32 output (n, h, w, c) by layer name, the network input included.

    A layer with an ``activation`` also gives its value before it, as ``<layer>.pre``. Raises GraphError when
    the graph is impossible, has no weights, or ``x`` (n, h, w, c) does not fit it.
    """
    shapes = infer_shapes(graph)
    if x.ndim != 4 or x.shape[1:] != graph.input_shape or not len(x):
        expected = ", ".join(map(str, graph.input_shape))
        raise GraphError(graph.input, f"expected inputs of shape [N, {expected}], got {list(x.shape)}")
    values: dict[str, Array] = {graph.input: x.astype(np.float32, copy=False)}
    for layer in graph.layers:
        result = _layer(layer, values[layer.input], shapes[layer.name])
        if layer.activation:
            values[pre_name(layer.name)] = result
            result = pointwise(layer.activation, result)
        values[layer.name] = result
    return values


def pointwise(kind: str, x: NDArray[Any]) -> NDArray[Any]:
    """relu, tanh or sigmoid of every element, in the type of ``x``."""
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "tanh":
        return np.tanh(x)
    if kind == "sigmoid":
        return 0.5 * np.tanh(0.5 * x) + 0.5
    raise ValueError(f"no pointwise function '{kind}'")


def parameters(layer: Layer) -> tuple[Array, Array]:
    """Weights and bias of a conv or fc layer; a missing bias is zero. Raises GraphError without weights."""
    if layer.weights is None:
        raise GraphError(layer.name, "has no weights")
    bias = np.zeros(layer.channels, np.float32) if layer.bias is None else layer.bias
    if not (np.isfinite(layer.weights).all() and np.isfinite(bias).all()):
        raise GraphError(layer.name, "weights or bias hold values that are not finite")
    return layer.weights, bias


def _layer(layer: Layer, x: Array, shape: Shape) -> Array:
    match layer.kind:
        case "conv":
            return _conv(layer, x)
        case "fc":
            weights, bias = parameters(layer)
            return (x.reshape(len(x), -1) @ weights.T + bias).reshape(len(x), *shape)
        case "maxpool":
            return _maxpool(layer, x)
        case "avgpool":
            return _avgpool(layer, x)
        case "flatten":
            return x.reshape(len(x), *shape)
        case "softmax":
            return softmax(x)
        case _:
            return pointwise(layer.kind, x)


def _conv(layer: Layer, x: Array) -> Array:
    weights, bias = parameters(layer)
    k, r, s, per_group = weights.shape
    view = windows(pad(x, layer.pads, 0.0), (r, s), layer.stride, layer.dilation)
    n, p, q = view.shape[:3]
    if per_group == 1 and layer.groups > 1:
        taps = weights.reshape(layer.groups, k // layer.groups, r, s)
        total = np.zeros((n, p, q, layer.groups, k // layer.groups), np.float32)
        for i in range(r):
            for j in range(s):
                total += view[:, :, :, i, j, :, None] * taps[:, :, i, j]
        return total.reshape(n, p, q, k) + bias
    result = np.empty((n * p * q, k), np.float32)
    width = k // layer.groups
    for group in range(layer.groups):
        columns = view[..., group * per_group : (group + 1) * per_group].reshape(n * p * q, -1)
        out = slice(group * width, (group + 1) * width)
        result[:, out] = columns @ weights[out].reshape(width, -1).T
    return (result + bias).reshape(n, p, q, k)


def _maxpool(layer: Layer, x: Array) -> Array:
    return windows(pad(x, layer.pads, -np.inf), layer.kernel, layer.stride).max(axis=(3, 4))


def _avgpool(layer: Layer, x: Array) -> Array:
    view = windows(pad(x, layer.pads, 0.0), layer.kernel, layer.stride)
    if layer.count_include_pad:
        return view.mean(axis=(3, 4), dtype=np.float32)
    counts = window_counts(x.shape[1:3], layer.kernel, layer.stride, layer.pads)
    return view.sum(axis=(3, 4), dtype=np.float32) / counts[:, :, None].astype(np.float32)
