"""The bundled networks against published counts of weights and multiply-accumulates; values stay alive in depth."""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest

from accelsim.bundled import available
from accelsim.nn import golden
from accelsim.nn.loader import Network, load_network
from accelsim.nn.scales import quantize_values
from accelsim.nn.shapes import infer_shapes, parameter_shapes

RANDOM = [name for name in available("workloads") if not name.startswith("lenet")]


def load(name: str) -> Network:
    return load_network(available("workloads")[name])


def counts(name: str) -> tuple[int, int]:
    """(weights, multiply-accumulates of one image), biases not counted."""
    graph = load(name).graph
    shapes = infer_shapes(graph)
    weights = macs = 0
    for layer in graph.layers:
        shape, _ = parameter_shapes(layer, shapes[layer.input])
        if shape:
            p, q, k = shapes[layer.name]
            weights += prod(shape)
            macs += p * q * k * prod(shape[1:])
    return weights, macs


INCEPTION_3A = 192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32  # table 1 of the paper
INCEPTION_3B = 256 * (128 + 128 + 32 + 64) + 9 * 128 * 192 + 25 * 32 * 96


@pytest.mark.parametrize(
    ("name", "weights", "macs"),
    [
        ("alexnet", 60_954_656, 724_406_816),
        ("alexnet_without_lrn", 60_954_656, 724_406_816),
        # Parameters of the libraries' models less biases and batch normalisation.
        ("alexnet_nolrn", 61_100_840 - 10_344, 714_188_480),
        ("vgg16", 138_357_544 - 13_416, 15_470_264_320),
        ("resnet18", 11_689_512 - 9_600 - 1_000, 1_814_073_344),
        ("mobilenet_v2", 3_504_872 - 34_112 - 1_000, 300_774_272),
        ("squeezenet", 1_235_496 - 3_944, 349_151_936),
        ("googlenet_block", INCEPTION_3A + INCEPTION_3B, 28 * 28 * (INCEPTION_3A + INCEPTION_3B)),
        ("transformer_block", 12 * 768**2 + 12 * 2 * 64 * 128, 128 * (12 * 768**2 + 12 * 2 * 64 * 128)),
        ("decode_gemv", 2048 * (2 * 2048 + 2 * 512 + 3 * 8192), 2048 * (2 * 2048 + 2 * 512 + 3 * 8192)),
    ],
)
def test_published_counts(name, weights, macs):
    assert counts(name) == (weights, macs)


def test_every_file_without_weights_is_counted_and_named_like_its_file():
    assert len(RANDOM) == 10
    for name in RANDOM:
        assert load(name).name == name


def test_response_normalisation_is_all_that_tells_the_two_alexnets_apart():
    plain, full = load("alexnet_without_lrn").graph, load("alexnet").graph
    names = [layer.name for layer in full.layers if layer.kind != "lrn"]
    assert [layer.name for layer in plain.layers] == names
    assert [layer.name for layer in full.layers if layer.kind == "lrn"] == ["norm1", "norm2"]


def test_products_stand_alone():
    graph = load("transformer_block").graph
    assert len(graph.inputs) == len(graph.results) == len(graph.layers) == 3 + 24 + 3
    assert dict(graph.inputs)["score7.in"] == (1, 128, 64)
    assert graph.results == tuple(layer.name for layer in graph.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mobilenet_v2", "squeezenet", "transformer_block"])
def test_random_networks_are_alive_in_every_layer(name):
    network = load(name)
    graph = network.quantize()
    feeds = {key: quantize_values(values, graph.tensors[key]) for key, values in network.feeds(1).items()}
    values = golden.run(graph, feeds)
    for key, tensor in graph.tensors.items():
        share = Counter({int(v): int(n) for v, n in zip(*np.unique(values[key], return_counts=True))})
        size = values[key].size
        zero = share.pop(tensor.zero, 0)
        assert zero <= 0.7 * size, key
        assert share[-128] + share[127] <= 0.05 * size, key
        assert len(share) >= 100, key
