"""Weights of a network: from an ``.npz`` file, or seeded random ones that keep activations alive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.dataset import as_float32, read_arrays
from accelsim.nn.graph import Draw, Graph, Layer
from accelsim.nn.shapes import Shape, infer_shapes, parameter_shapes
from accelsim.spelling import suggest

Array = NDArray[np.float32]

SPREAD = 0.4  # of the logarithm of a channel's weights
BIAS = 0.1
INPUT_POWER = 1 / 3  # mean square of what is uniform in -1..1
KEPT_POWER = {"relu": 0.5, "relu6": 0.5, "tanh": 0.4, "sigmoid": 0.3}
"""About what a function leaves of the mean square of a symmetric value around 1."""


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
    layers = []
    for layer in graph.layers:
        result = sum(power[name] for name in layer.inputs)
        expected, _ = parameter_shapes(layer, shapes[layer.input])
        if expected:
            deviation = float(1 / np.sqrt(np.prod(expected[1:]) * result))
            layer = dataclasses.replace(layer, draw=Draw(seed=seed, deviation=deviation))
            result = 1.0
        power[layer.name] = result * KEPT_POWER.get(layer.activation or layer.kind, 1.0)
        layers.append(layer)
    return dataclasses.replace(graph, layers=tuple(layers))


def parameters(layer: Layer, shape: Shape) -> tuple[Array, Array]:
    """Weights and bias of a conv, fc or gemm layer that reads ``shape``; a missing bias is zero.

    Raises GraphError without weights, or when some are not finite.
    """
    if layer.draw is not None:
        return _drawn(layer, layer.draw, parameter_shapes(layer, shape)[0])
    if layer.weights is None:
        raise GraphError(layer.name, "has no weights")
    bias = np.zeros(layer.channels, np.float32) if layer.bias is None else layer.bias
    if not (np.isfinite(layer.weights).all() and np.isfinite(bias).all()):
        raise GraphError(layer.name, "weights or bias hold values that are not finite")
    return layer.weights, bias


def name_number(name: str) -> int:
    """A name as a number, to seed what belongs to it and to nothing else."""
    return int.from_bytes(name.encode(), "big")


def _drawn(layer: Layer, draw: Draw, expected: tuple[int, ...]) -> tuple[Array, Array]:
    rng = np.random.Generator(np.random.SFC64([draw.seed, name_number(layer.name)]))
    spread = np.exp(rng.normal(-(SPREAD**2), SPREAD, layer.channels))  # of mean square 1
    bias = rng.normal(0, BIAS, layer.channels).astype(np.float32)
    weights = rng.random(expected, dtype=np.float32)
    weights -= np.float32(0.5)  # of deviation sqrt(1 / 12)
    scale = (np.sqrt(12) * draw.deviation * spread).astype(np.float32)
    weights *= scale.reshape(-1, *[1] * (len(expected) - 1))
    return weights, bias


def _problem(array: NDArray[Any], expected: tuple[int, ...]) -> str:
    if array.dtype.kind != "f":
        return f"expected floating-point values, got {array.dtype}"
    if array.shape != expected:
        return f"expected shape {list(expected)}, got {list(array.shape)}"
    return "" if np.isfinite(as_float32(array)).all() else "holds values that are not finite"
