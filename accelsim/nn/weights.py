"""Weights of a network: from an ``.npz`` file, or seeded random ones that keep activations alive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.dataset import as_float32, read_arrays
from accelsim.nn.functions import CLAMPS, POINTWISE
from accelsim.nn.graph import Draw, Graph, Layer
from accelsim.nn.shapes import Shape, infer_shapes, parameter_shapes
from accelsim.spelling import suggest

Array = NDArray[np.float32]

BLOCK = 1 << 18  # weights that are made, used and quantised at a time, while they are in the cache
SPREAD = 0.4  # of the logarithm of a channel's weights
BIAS = 0.1
INPUT_POWER = 1 / 3  # mean square of what is uniform in -1..1
KEPT_POWER = {
    "relu": 0.5, "relu6": 0.5, "clip": 1.0, "tanh": 0.4, "sigmoid": 0.3, "leaky_relu": 0.5, "hard_swish": 0.33,
    "hard_sigmoid": 0.3,
}  # fmt: skip
"""About what a function leaves of the mean square of a symmetric value around 1."""
SYMMETRIC = ("tanh", "clip")
"""Functions whose values are about as often below 0 as above, if what they read is."""


def file_weights(graph: Graph, path: Path) -> tuple[Graph, list[tuple[str, str, str]]]:
    """The graph with ``<layer>.weight`` and ``<layer>.bias`` of an ``.npz`` file, and what is wrong with them.

    A mistake is (layer name or empty, problem, hint). A missing bias is zero. Raises ``ValueError`` whose text says
    why the file cannot be read.
    """
    arrays = read_arrays(path)
    shapes = infer_shapes(graph)
    mistakes: list[tuple[str, str, str]] = []
    layers = []
    wanted: list[str] = []
    for layer in graph.layers:
        expected = parameter_shapes(layer, shapes[layer.input])
        found: list[Array | None] = [None, None]
        for index, suffix in enumerate(("weight", "bias")):
            name = f"{layer.name}.{suffix}"
            if not expected[index]:
                continue
            wanted.append(name)
            if name in arrays:
                problem = _problem(arrays[name], expected[index])
                if problem:
                    mistakes.append((layer.name, f"{path.name} array {name!r}: {problem}", ""))
                else:
                    found[index] = as_float32(arrays[name])
            elif suffix == "weight":
                hint = suggest(name, arrays, "in the file")
                mistakes.append((layer.name, f"{path.name} has no array {name!r}", hint))
        layers.append(dataclasses.replace(layer, weights=found[0], bias=found[1]))
    for name in arrays:
        if name not in wanted:
            mistakes.append(("", f"{path.name} array {name!r} belongs to no layer", suggest(name, wanted)))
    return dataclasses.replace(graph, layers=tuple(layers)), mistakes


def random_weights(graph: Graph, seed: int) -> Graph:
    """The graph with random weights, each layer's made from ``seed`` and its name when :func:`parameters` is asked.

    Weights are uniform around 0, with a spread of their own per output channel, and sized by the reduction length and
    by what the layer reads, so that every layer's sums have about mean square 1, however deep the network is; biases
    are normal.
    """
    shapes = infer_shapes(graph)
    power = {name: INPUT_POWER for name, _ in graph.inputs}
    symmetric = set(power)  # values around 0, of which a relu takes half away
    layers = []
    for layer in graph.layers:
        result = sum(power[name] for name in layer.inputs)
        if layer.kind == "concat":
            result = sum(power[name] * shapes[name][2] for name in layer.inputs) / shapes[layer.name][2]
        expected, _ = parameter_shapes(layer, shapes[layer.input])
        if expected:
            deviation = (prod(expected[1:]) * result) ** -0.5
            layer = dataclasses.replace(layer, draw=Draw(seed=seed, deviation=deviation))
            result = 1.0
        function = layer.activation or layer.kind
        around_zero = bool(expected) or symmetric.issuperset(layer.inputs)
        if function in KEPT_POWER and (around_zero or function not in CLAMPS):
            result *= KEPT_POWER[function]
        if around_zero and (function not in POINTWISE or function in SYMMETRIC):
            symmetric.add(layer.name)
        power[layer.name] = result
        layers.append(layer)
    return dataclasses.replace(graph, layers=tuple(layers))


def parameters(layer: Layer, shape: Shape) -> tuple[Array, Array]:
    """Weights and bias of a conv, fc or gemm layer that reads ``shape``; a missing bias is zero.

    Raises GraphError without weights, or when some are not finite.
    """
    blocks = [(weights, bias) for _, weights, bias in parameter_blocks(layer, shape)]
    if len(blocks) == 1:
        return blocks[0]
    weights, bias = (np.concatenate(parts) for parts in zip(*blocks))
    return weights, bias


def parameter_blocks(layer: Layer, shape: Shape) -> Iterator[tuple[slice, Array, Array]]:
    """As :func:`parameters`, in blocks of output channels: (channels, their weights, their biases).

    Only one block of random weights exists at a time. A convolution is one block, a matrix several of about
    ``BLOCK`` weights.
    """
    expected, _ = parameter_shapes(layer, shape)
    size = prod(expected[1:])
    step = layer.channels if layer.kind == "conv" else max(4, BLOCK // size // 4 * 4)
    rows = [slice(first, min(first + step, layer.channels)) for first in range(0, layer.channels, step)]
    if layer.draw is not None:
        yield from _drawn(layer, layer.draw, expected, rows)
        return
    if layer.weights is None:
        raise GraphError(layer.name, "has no weights")
    bias = np.zeros(layer.channels, np.float32) if layer.bias is None else layer.bias
    if not (np.isfinite(layer.weights).all() and np.isfinite(bias).all()):
        raise GraphError(layer.name, "weights or bias hold values that are not finite")
    for part in rows:
        yield part, layer.weights[part], bias[part]


def name_number(name: str) -> int:
    """A name as a number, to seed what belongs to it and to nothing else."""
    return int.from_bytes(name.encode(), "big")


def _drawn(
    layer: Layer, draw: Draw, expected: tuple[int, ...], rows: list[slice]
) -> Iterator[tuple[slice, Array, Array]]:
    """Weights are 16 random bits each, four from every word of the generator; see :func:`random_weights`."""
    bits = np.random.SFC64([draw.seed, name_number(layer.name)])
    rng = np.random.Generator(bits)
    spread = np.exp(rng.normal(-(SPREAD**2), SPREAD, layer.channels))  # of mean square 1
    bias = rng.normal(0, BIAS, layer.channels).astype(np.float32)
    scale = (np.sqrt(12) / 65536 * draw.deviation * spread).astype(np.float32)
    size = prod(expected[1:])
    for part in rows:
        count = (part.stop - part.start) * size
        words = np.asarray(bits.random_raw(-(-count // 4)), dtype="<u8")
        weights = np.subtract(words.view("<u2")[:count], np.float32(32767.5), dtype=np.float32)
        weights = weights.reshape(-1, *expected[1:])
        weights *= scale[part].reshape(-1, *[1] * (len(expected) - 1))
        yield part, weights, bias[part]


def _problem(array: NDArray[Any], expected: tuple[int, ...]) -> str:
    if array.dtype.kind != "f":
        return f"expected floating-point values, got {array.dtype}"
    if array.shape != expected:
        return f"expected shape {list(expected)}, got {list(array.shape)}"
    return "" if np.isfinite(as_float32(array)).all() else "holds values that are not finite"
