"""The golden model: whole layers computed directly from the quantised graph.

It knows no tiles, instructions or machines and shares only ``numerics`` with them. Exact for every input:
float32 matrix products are used only where no partial sum can pass 2**24; float32 holds every integer up to it.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.graph import (
    QAdd,
    QConcat,
    QConv,
    QGraph,
    QLrn,
    QLut,
    QPool,
    QReshape,
    QSoftmax,
    Tensor,
    sources,
)
from accelsim.nn.shapes import average_scale, window_counts
from accelsim.nn.windows import band_sum, pad, windows
from accelsim.numerics import INT8_MAX, INT8_MIN, requantize, wrap32

CHUNK = 1024  # 1024 * 128 * 128 = 2**24: any such run of int8 products is exact in float32
EXACT = 1 << 24
COLUMN_LIMIT = 1 << 24  # elements of one unrolled (im2col) matrix; larger batches go in blocks
WEIGHT_BLOCK = 1 << 18  # weights in float32 at a time

Values = NDArray[np.int8]


def run(qgraph: QGraph, feeds: Feeds) -> dict[str, Values]:
    """Every tensor of the network, by name, each int8 (n, h, w, c); the input tensors are included.

    ``feeds`` is one int8 array (n, h, w, c), n >= 1, or one by name for each input. Raises GraphError when a shape or
    type does not fit.
    """
    shapes = [(name, qgraph.tensors[name].shape) for name in qgraph.inputs]
    values: dict[str, Values] = by_name(feeds, shapes, "int8")
    for layer in qgraph.layers:
        if not isinstance(layer, QSoftmax):
            values[layer.output] = _layer(layer, [values[name] for name in sources(layer)], qgraph.tensors)
    return values


def _layer(
    layer: QConv | QPool | QLut | QAdd | QConcat | QLrn | QReshape, inputs: list[Values], tensors: dict[str, Tensor]
) -> Values:
    x, source, result = inputs[0], tensors[sources(layer)[0]], tensors[layer.output]
    match layer:
        case QConv():
            return _conv(layer, x, source, result)
        case QPool(kind="maxpool"):
            return _maxpool(layer, x)
        case QPool():
            return _avgpool(layer, x, source, result)
        case QLut():
            return layer.table[x.astype(np.int16) + 128]
        case QAdd():
            return _add(layer, x, inputs[1], result)
        case QConcat():
            return _concat(layer, inputs, tensors)
        case QLrn():
            return _lrn(layer, x, source, result)
        case QReshape():
            return x.reshape(len(x), *result.shape)
        case _:
            assert_never(layer)


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
    result = np.empty((len(columns), len(weights)), dtype=np.int32)
    block = max(1, WEIGHT_BLOCK // weights.shape[1])
    for first in range(0, len(weights), block):
        rows = slice(first, first + block)
        result[:, rows] = _block_product(columns, weights[rows], zero)
    return result


def _block_product(columns: NDArray[np.float32], weights: Values, zero: int) -> NDArray[np.int32]:
    """As :func:`exact_product`, for few rows of weights."""
    values = weights.astype(np.float32)
    # Sums of magnitudes below the limit are exact in float32, and no larger one rounds to less.
    largest = np.abs(values).sum(axis=1).max()
    depth = weights.shape[1]
    step = depth if largest * -INT8_MIN < EXACT else CHUNK
    total = np.multiply(-zero, weights.sum(axis=1, dtype=np.int64))[None, :]
    for first in range(0, depth, step):
        part = slice(first, first + step)
        total = total + (columns[:, part] @ values[:, part].T).astype(np.int64)
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


def _add(layer: QAdd, a: Values, b: Values, result: Tensor) -> Values:
    """int8 (n, h, w, c), the shape of both summands."""
    total = a.astype(np.int64) * layer.factors[0] + b.astype(np.int64) * layer.factors[1]
    bias, scale = np.array([layer.bias], np.int32), np.array([layer.scale], np.float32)
    return requantize(wrap32(total), bias, scale, result.zero, layer.lo, layer.hi)


def _concat(layer: QConcat, inputs: list[Values], tensors: dict[str, Tensor]) -> Values:
    """int8 (n, h, w, channels of all inputs)."""
    result = tensors[layer.output]
    parts = []
    for name, x, factor in zip(layer.inputs, inputs, layer.scales):
        bias, scale = np.array([-tensors[name].zero], np.int32), np.array([factor], np.float32)
        parts.append(requantize(x.astype(np.int32), bias, scale, result.zero, INT8_MIN, INT8_MAX))
    return np.concatenate(parts, axis=3)


def _lrn(layer: QLrn, x: Values, source: Tensor, result: Tensor) -> Values:
    """int8 (n, h, w, c): squares, window sums over channels, a factor for each sum, the product."""
    square = layer.square[x.astype(np.int16) + 128].astype(np.int32)
    total = band_sum(square, layer.size)
    none, one = np.zeros(1, np.int32), np.array([layer.index_scale], np.float32)
    index = requantize(total, none, one, layer.index_zero, INT8_MIN, INT8_MAX)
    factor = layer.factor[index.astype(np.int16) + 128].astype(np.int32)
    product = (x.astype(np.int32) - source.zero) * factor
    return requantize(product, none, np.array([layer.scale], np.float32), result.zero, INT8_MIN, INT8_MAX)
