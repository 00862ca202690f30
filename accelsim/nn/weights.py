"""Weights of a network: from an ``.npz`` file, or seeded random ones that keep activations alive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.dataset import as_float32, read_arrays
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.shapes import Shape, infer_shapes, parameter_shapes
from accelsim.spelling import suggest


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
        found: list[NDArray[np.float32] | None] = [None, None]
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
    """The graph with random weights: zero mean, spread per output channel, small biases.

    The variance follows the reduction length, so that signals neither fade nor grow over many layers.
    """
    rng = np.random.default_rng(seed)
    shapes = infer_shapes(graph)
    layers = [_randomized(layer, shapes[layer.input], rng) for layer in graph.layers]
    return dataclasses.replace(graph, layers=tuple(layers))


def _randomized(layer: Layer, shape: Shape, rng: np.random.Generator) -> Layer:
    expected, _ = parameter_shapes(layer, shape)
    if not expected:
        return layer
    fan_in = int(np.prod(expected[1:]))
    spread = np.exp(rng.normal(0, 0.4, layer.channels)).astype(np.float32)
    spread *= np.float32(np.sqrt(2 / fan_in))
    weights = rng.standard_normal(expected, dtype=np.float32)
    weights *= spread.reshape(-1, *[1] * (len(expected) - 1))
    bias = rng.normal(0, 0.1, layer.channels).astype(np.float32)
    return dataclasses.replace(layer, weights=weights, bias=bias)


def _problem(array: NDArray[Any], expected: tuple[int, ...]) -> str:
    if array.dtype.kind != "f":
        return f"expected floating-point values, got {array.dtype}"
    if array.shape != expected:
        return f"expected shape {list(expected)}, got {list(array.shape)}"
    return "" if np.isfinite(as_float32(array)).all() else "holds values that are not finite"
