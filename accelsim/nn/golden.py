"""The golden model: whole layers computed directly from the quantised graph.

It knows no tiles, instructions or machines and shares only ``numerics`` with them. Exact for every input:
float32 matrix products are used only where no partial sum can pass 2**24; float32 holds every integer up to it.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import QConv, QGraph, QLut, QPool, QReshape, QSoftmax, Tensor, average_scale
from accelsim.nn.shapes import window_counts
from accelsim.nn.windows import pad, windows
from accelsim.numerics import INT8_MIN, requantize, wrap32

CHUNK = 1024  # 1024 * 128 * 128 = 2**24: any such run of int8 products is exact in float32
EXACT = 1 << 24
COLUMN_LIMIT = 1 << 24  # elements of one unrolled (im2col) matrix; larger batches go in blocks

Values = NDArray[np.int8]


def run(qgraph: QGraph, inputs: Values) -> dict[str, Values]:
    """Every tensor of the network, by name, each int8 (n, h, w, c); the input tensor is included.

    ``inputs`` is int8 (n, h, w, c), n >= 1. Raises GraphError when its shape or type does not fit.
    """
    expected = qgraph.tensors[qgraph.input]
    if inputs.ndim != 4 or inputs.shape[1:] != expected.shape or inputs.dtype != np.int8 or not len(inputs):
        raise GraphError(
            qgraph.input, f"expected int8 inputs of shape [N, {', '.join(map(str, expected.shape))}], "
            f"got {inputs.dtype} {list(inputs.shape)}",
        )  # fmt: skip
    values = {qgraph.input: inputs}
    for layer in qgraph.layers:
        if isinstance(layer, QSoftmax):
            continue
        x, source, result = values[layer.input], qgraph.tensors[layer.input], qgraph.tensors[layer.output]
        match layer:
            case QConv():
                values[layer.output] = _conv(layer, x, source, result)
            case QPool(kind="maxpool"):
                values[layer.output] = _maxpool(layer, x)
            case QPool():
                values[layer.output] = _avgpool(layer, x, source, result)
            case QLut():
                values[layer.output] = layer.table[x.astype(np.int16) + 128]
            case QReshape():
                values[layer.output] = x.reshape(len(x), *result.shape)
            case _:
                assert_never(layer)
    return values


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis of dequantised logits, as the host computes it; same shape, float32."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)


def _conv(layer: QConv, x: Values, source: Tensor, result: Tensor) -> Values:
    """int8 (n, p, q, k)."""
    c = x.shape[3]
    if layer.weights.shape[3] * layer.groups != c or layer.weights.shape[0] % layer.groups:
        raise GraphError(
            layer.name,
            f"weights {list(layer.weights.shape)} in {layer.groups} groups do not fit {c} channels",
        )
    accumulate = _taps if layer.groups > 1 and layer.weights.shape[3] == 1 else _matrix
    per_image = result.shape[0] * result.shape[1] * layer.weights[0].size * layer.groups
    block = max(1, COLUMN_LIMIT // per_image)
    parts = []
    for first in range(0, len(x), block):
        padded = pad(x[first : first + block], layer.pads, source.zero)
        acc = accumulate(layer, padded, source.zero)
        parts.append(requantize(acc, layer.bias, layer.scale, result.zero, layer.lo, layer.hi))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _taps(layer: QConv, padded: Values, zero: int) -> NDArray[np.int32]:
    """One input channel per group: int32 multiply-adds, tap by tap; (n, p, q, k)."""
    k, r, s, _ = layer.weights.shape
    view = windows(padded, (r, s), layer.stride, layer.dilation)
    n, p, q, _, _, c = view.shape
    weights = layer.weights.reshape(c, k // c, r, s).astype(np.int32)
    acc = np.zeros((n, p, q, c, k // c), dtype=np.int32)
    for i in range(r):
        for j in range(s):
            acc += (view[:, :, :, i, j, :, None].astype(np.int32) - zero) * weights[:, :, i, j]
    return acc.reshape(n, p, q, k)


def _matrix(layer: QConv, padded: Values, zero: int) -> NDArray[np.int32]:
    """Matrix product over unrolled windows, group by group; (n, p, q, k)."""
    k, r, s, per_group = layer.weights.shape
    view = windows(padded, (r, s), layer.stride, layer.dilation)
    n, p, q = view.shape[:3]
    acc = np.empty((n * p * q, k), dtype=np.int32)
    width = k // layer.groups
    for group in range(layer.groups):
        channels = view[..., group * per_group : (group + 1) * per_group]
        columns = np.empty(channels.shape, dtype=np.float32)
        columns[...] = channels
        out = slice(group * width, (group + 1) * width)
        weights = layer.weights[out].reshape(width, -1)
        acc[:, out] = exact_product(columns.reshape(n * p * q, -1), weights, zero)
    return acc.reshape(n, p, q, k)


def exact_product(columns: NDArray[np.float32], weights: Values, zero: int) -> NDArray[np.int32]:
    """sum((x - zero) * w) modulo 2**32: ``columns`` (m, d) holds int8 values, ``weights`` (k, d); (m, k)."""
    absolute = np.abs(weights.astype(np.int16)).sum(axis=1, dtype=np.int64)
    depth = weights.shape[1]
    step = depth if absolute.max() * -INT8_MIN < EXACT else CHUNK
    total = np.multiply(-zero, weights.sum(axis=1, dtype=np.int64))[None, :]
    for first in range(0, depth, step):
        part = slice(first, first + step)
        total = total + (columns[:, part] @ weights[:, part].T.astype(np.float32)).astype(np.int64)
    return wrap32(total)


def _maxpool(layer: QPool, x: Values) -> Values:
    """int8 (n, p, q, c). Padding is int8's minimum, so it never wins: every window has a real pixel."""
    view = windows(pad(x, layer.pads, INT8_MIN), layer.kernel, layer.stride)
    best = view[:, :, :, 0, 0].copy()
    for i in range(layer.kernel[0]):
        for j in range(layer.kernel[1]):
            np.maximum(best, view[:, :, :, i, j], out=best)
    return np.clip(best, layer.lo, layer.hi).astype(np.int8)


def _avgpool(layer: QPool, x: Values, source: Tensor, result: Tensor) -> Values:
    """int8 (n, p, q, c); the divisor is part of the float32 scale, one per window."""
    view = windows(pad(x, layer.pads, source.zero), layer.kernel, layer.stride)
    acc = np.zeros((*view.shape[:3], x.shape[3]), dtype=np.int32)
    for i in range(layer.kernel[0]):
        for j in range(layer.kernel[1]):
            acc += view[:, :, :, i, j]
    acc -= source.zero * layer.kernel[0] * layer.kernel[1]
    if layer.count_include_pad:
        counts = np.full(acc.shape[1:3], layer.kernel[0] * layer.kernel[1], dtype=np.int64)
    else:
        counts = window_counts(x.shape[1:3], layer.kernel, layer.stride, layer.pads)
    scale = average_scale(source.scale, result.scale, counts)[:, :, None]
    no_bias = np.zeros(1, dtype=np.int32)
    return requantize(acc, no_bias, scale, result.zero, layer.lo, layer.hi)
