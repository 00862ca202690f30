"""A small network with every kind of layer, and equality of int8 networks."""

from __future__ import annotations

import dataclasses

import numpy as np

from accelsim.nn.graph import Graph, Layer, Norm, QGraph
from accelsim.nn.loader import random_feeds
from accelsim.nn.quantize import quantize
from accelsim.nn.weights import random_weights

POOL = {"kernel": (3, 3), "stride": (2, 1), "pads": (1, 0, 1, 1)}


def every_kind(seed: int = 6) -> tuple[Graph, QGraph, dict[str, np.ndarray]]:
    """Float and int8 network, and the float inputs it was calibrated on."""
    layers = (
        Layer(name="c1", kind="conv", input="x", kernel=(3, 2), stride=(1, 2), pads=(1, 1, 0, 1), channels=8,
              dilation=(1, 2), activation="relu"),
        Layer(name="dw", kind="conv", input="c1", kernel=(3, 3), pads=(1, 1, 1, 1), channels=8, groups=8),
        Layer(name="r6", kind="relu6", input="dw"),
        Layer(name="gr", kind="conv", input="r6", kernel=(1, 1), channels=8, groups=2, activation="tanh"),
        Layer(name="n", kind="lrn", input="gr", norm=Norm(size=3, alpha=0.1, beta=0.75, k=1.0)),
        Layer(name="s", kind="add", input="n", others=("c1",), activation="relu"),
        Layer(name="lk", kind="leaky_relu", input="s2", slope=0.1),
        Layer(name="hs", kind="hard_swish", input="s"),
        Layer(name="j", kind="concat", input="lk", others=("hs", "s")),
        Layer(name="mp", kind="maxpool", input="j", **POOL),
        Layer(name="ap", kind="avgpool", input="mp", kernel=(2, 2), stride=(1, 1), pads=(1, 0, 0, 0),
              count_include_pad=True),
        Layer(name="fl", kind="flatten", input="ap"),
        Layer(name="fc", kind="fc", input="fl", channels=10),
        Layer(name="sm", kind="softmax", input="fc"),
    )  # fmt: skip
    scaled = Layer(name="s2", kind="conv", input="s", kernel=(1, 1), channels=5)
    index = next(i for i, layer in enumerate(layers) if layer.name == "lk")
    layers = (*layers[:index], scaled, *layers[index:])
    graph = random_weights(Graph(name="every", inputs=(("x", (7, 9, 3)),), layers=layers, outputs=("s",)), seed)
    feeds = random_feeds(graph, 3, seed)
    return graph, quantize(graph, feeds), feeds


def matrices() -> tuple[Graph, QGraph, dict[str, np.ndarray]]:
    """Two gemms with inputs of their own, whose results are added."""
    layers = (
        Layer(name="p", kind="gemm", input="p.in", matrix=(5, 6), channels=4),
        Layer(name="q", kind="gemm", input="q.in", matrix=(5, 3), channels=4, activation="sigmoid"),
        Layer(name="t", kind="add", input="p", others=("q",)),
    )
    graph = random_weights(Graph(name="m", inputs=(("p.in", (1, 5, 6)), ("q.in", (1, 5, 3))), layers=layers), 1)
    feeds = random_feeds(graph, 3, 1)
    return graph, quantize(graph, feeds), feeds


def assert_same(a: QGraph, b: QGraph) -> None:
    """Equal in every field, type and bit."""
    assert (a.name, a.inputs, a.outputs, a.tensors, a.rows) == (b.name, b.inputs, b.outputs, b.tensors, b.rows)
    assert list(a.tensors) == list(b.tensors)
    assert [type(layer) for layer in a.layers] == [type(layer) for layer in b.layers]
    for one, other in zip(a.layers, b.layers):
        for field in dataclasses.fields(one):
            left, right = getattr(one, field.name), getattr(other, field.name)
            assert type(left) is type(right), (one.name, field.name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype
                np.testing.assert_array_equal(left, right, err_msg=f"{one.name}.{field.name}")
            else:
                assert left == right, (one.name, field.name)
