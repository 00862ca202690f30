"""The last look at a float network: factors folded into the layers before them, layers that nobody reads left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from accelsim.nn.graph import Layer
from accelsim.nn.shapes import WEIGHTED


def folded(
    layers: dict[str, Layer], affine: Iterable[str], results: set[str]
) -> tuple[dict[str, Layer], dict[str, str]]:
    """The layers without those of ``affine`` that could be folded, and what each of them became.

    A factor and an offset go into a convolution or matrix product that nothing else reads and that is no result.
    """
    renamed: dict[str, str] = {}
    kept: dict[str, Layer] = {}
    uses = Counter(name for layer in layers.values() for name in layer.inputs)
    affine = set(affine)
    for layer in layers.values():
        layer = _reading(layer, renamed)
        host = kept.get(layer.input)
        single = host is not None and uses[layer.input] + (layer.input in results) == 1
        if layer.name in affine and host is not None and _changes_nothing(layer):
            renamed[layer.name] = layer.input
            uses[layer.input] += uses[layer.name] - 1
            results |= {layer.input} if layer.name in results else set()
        elif layer.name in affine and host is not None and single and host.kind in WEIGHTED:
            kept[host.name] = _scaled(host, layer)
            renamed[layer.name] = host.name
            uses[host.name] = uses[layer.name]
            results |= {host.name} if layer.name in results else set()
        else:
            kept[layer.name] = layer
    return kept, renamed


def _reading(layer: Layer, renamed: dict[str, str]) -> Layer:
    inputs = [renamed.get(name, name) for name in layer.inputs]
    return layer if inputs == list(layer.inputs) else replace(layer, input=inputs[0], others=tuple(inputs[1:]))


def _changes_nothing(layer: Layer) -> bool:
    assert layer.weights is not None
    return bool((layer.weights == 1).all()) and (layer.bias is None or not layer.bias.any())


def _scaled(host: Layer, layer: Layer) -> Layer:
    """``host`` with the factors of ``layer`` in its weights, which stay float32, and both in its bias."""
    assert host.weights is not None
    assert layer.weights is not None
    assert layer.bias is not None
    factor = layer.weights.reshape(-1)
    weights = host.weights
    if (factor != 1).any():
        weights = host.weights * factor.reshape(-1, *[1] * (host.weights.ndim - 1))
    bias = np.zeros(host.channels) if host.bias is None else host.bias.astype(np.float64)
    return replace(host, weights=weights, bias=(bias * factor + layer.bias).astype(np.float32))


def needed(layers: dict[str, Layer], results: Iterable[str]) -> dict[str, Layer]:
    """The layers that ``results`` follow from, a softmax last."""
    wanted = set(results)
    for layer in reversed(layers.values()):
        if layer.name in wanted:
            wanted |= set(layer.inputs)
    found = [layer for layer in layers.values() if layer.name in wanted]
    found.sort(key=lambda layer: layer.kind == "softmax")
    return {layer.name: layer for layer in found}
