"""Concatenations and the functions beside relu and tanh: float values, integer rules, fusion, mistakes in files."""

from __future__ import annotations

import dataclasses
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import ConfigErrors, GraphError
from accelsim.nn import golden
from accelsim.nn.facts import layer_facts
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer, QConcat, QConv, QGraph, QLut, Tensor
from accelsim.nn.loader import load_network, random_feeds
from accelsim.nn.quantize import quantize
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.nn.shapes import infer_shapes
from accelsim.nn.tables import clamp_limits, concat_layer
from accelsim.nn.weights import random_weights
from tests.oracles import nn as oracle

A = Layer(name="a", kind="conv", input="x", kernel=(3, 3), pads=(1, 1, 1, 1), channels=4)
B = dataclasses.replace(A, name="b", kernel=(1, 1), pads=(0, 0, 0, 0), channels=3)
JOIN = Layer(name="j", kind="concat", input="a", others=("b", "x"))
INPUTS = (("x", (6, 5, 4)),)


def quantized(*layers: Layer) -> tuple[Graph, QGraph, dict[str, np.ndarray]]:
    graph = random_weights(Graph(name="g", inputs=INPUTS, layers=layers), 3)
    feeds = random_feeds(graph, 4, 1)
    return graph, quantize(graph, feeds), feeds


def close(graph: Graph, q: QGraph, feeds: dict[str, np.ndarray], name: str, steps: float) -> None:
    """The integer network is within ``steps`` of the float one."""
    values = golden.run(q, {key: quantize_values(x, q.tensors[key]) for key, x in feeds.items()})
    wanted, tensor = forward(graph, feeds)[name], q.tensors[name]
    assert np.abs(dequantize(values[name], tensor) - wanted).max() <= steps * tensor.scale


def test_a_concatenation_holds_what_it_joins():
    graph, q, feeds = quantized(A, B, JOIN)
    assert infer_shapes(graph)["j"] == (6, 5, 11) == q.tensors["j"].shape
    assert isinstance(q.layers[-1], QConcat)
    close(graph, q, feeds, "j", 3)
    facts = layer_facts(q, 2)[-1]
    assert (facts.macs, facts.input_bytes, facts.output_bytes) == (0, 2 * 30 * 11, 2 * 30 * 11)


def tensors(scales, zeros) -> list[Tensor]:
    return [
        Tensor(name=f"t{i}", shape=(2, 3, 1 + i), scale=np.float32(scale), zero=zero)
        for i, (scale, zero) in enumerate(zip(scales, zeros))
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data(), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_concatenations_follow_the_oracle(data, count, seed):
    scales = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=count + 1, max_size=count + 1))
    zeros = data.draw(st.lists(st.integers(-128, 127), min_size=count + 1, max_size=count + 1))
    *parts, result = tensors(scales, zeros)
    result = dataclasses.replace(result, shape=(2, 3, sum(part.shape[2] for part in parts)))
    rng = np.random.default_rng(seed)
    images = {t.name: rng.choice([-128, 127, t.zero, 3], (1, *t.shape)).astype(np.int8) for t in parts}
    layer = concat_layer("j", parts, dataclasses.replace(result, name="j"))
    graph = QGraph(
        name="g", inputs=tuple(images), outputs=("j",), layers=(layer,), rows=(("j", "concat", "j"),),
        tensors={t.name: t for t in parts} | {"j": dataclasses.replace(result, name="j")},
    )  # fmt: skip
    np.testing.assert_array_equal(golden.run(graph, images)["j"], oracle.run(graph, images)["j"])


def test_equal_scales_are_copied():
    first, second, result = tensors([0.3, 0.3, 0.3], [5, 6, 5])
    layer = concat_layer("j", (first, second), result)
    assert layer.scales == (1, 1)
    every = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16, 1)
    shapes = {t.name: dataclasses.replace(t, shape=(16, 16, 1)) for t in (first, second)}
    got = golden._concat(layer, [every, every], shapes | {result.name: result})
    np.testing.assert_array_equal(got[..., :1], every)
    np.testing.assert_array_equal(got[..., 1:], np.maximum(every.astype(int) - 1, -128))


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (dataclasses.replace(JOIN, others=("y",)), "needs two or more inputs of one height and width"),
        (dataclasses.replace(JOIN, others=()), "needs two or more inputs of one height and width"),
        (dataclasses.replace(JOIN, kind="add"), "both inputs must have one shape"),
        (Layer(name="j", kind="clip", input="a", limits=(2, 1)), "clips from 2 to 1"),
        (Layer(name="j", kind="clip", input="a", limits=(inf, inf)), "clips from inf to inf"),
        (Layer(name="j", kind="leaky_relu", input="a", slope=inf), "the slope cannot be inf"),
        (Layer(name="j", kind="hard_sigmoid", input="a"), "the slope cannot be 0"),
        (dataclasses.replace(A, name="j", activation="hard_sigmoid"), "the slope cannot be 0"),
    ],
)
def test_impossible_layers_are_refused(layer, problem):
    with pytest.raises(GraphError) as caught:
        infer_shapes(Graph(name="g", inputs=(*INPUTS, ("y", (6, 6, 4))), layers=(A, B, layer)))
    assert (caught.value.layer, caught.value.problem) == ("j", problem)


FUNCTIONS = [
    Layer(name="f", kind="leaky_relu", input="a", slope=0.1),
    Layer(name="f", kind="hard_swish", input="a"),
    Layer(name="f", kind="hard_sigmoid", input="a", slope=0.2),
    Layer(name="f", kind="clip", input="a", limits=(-0.5, 0.75)),
]


@pytest.mark.parametrize("layer", FUNCTIONS, ids=lambda layer: layer.kind)
def test_functions_follow_the_float_ones(layer):
    graph, q, feeds = quantized(A, layer)
    assert isinstance(q.layers[-1], QConv if layer.kind == "clip" else QLut)
    close(graph, q, feeds, "f", 4)
    joined = dataclasses.replace(A, name="f", activation=layer.kind, slope=layer.slope, limits=layer.limits)
    graph, q, feeds = quantized(joined)
    close(graph, q, feeds, "f", 4)
    assert [type(x) for x in q.layers] == ([QConv] if layer.kind == "clip" else [QConv, QLut])


@pytest.mark.parametrize(
    ("limits", "zero", "expected"),
    [
        ([(-1, 2)], 3, (-7, 23)),
        ([(-inf, 2)], 3, (-128, 23)),
        ([(-1, inf)], 3, (-7, 127)),
        ([(-inf, inf)], 3, (-128, 127)),
        ([(-100, 100)], 3, (-128, 127)),
        ([(1, 2)], 127, (127, 127)),
        ([(-3, -2)], -128, (-128, -128)),
        ([(0, inf), (-1, 2)], 3, (3, 23)),
        ([(-3, -2), (0, inf)], 3, (3, 3)),
    ],
)
def test_limits_of_clips(limits, zero, expected):
    result = Tensor(name="y", shape=(1, 1, 1), scale=np.float32(0.1), zero=zero)
    assert clamp_limits(limits, result) == expected


FILE = """
schema: 1
input: {name: image, shape: [6, 5, 4]}
layers:
  - {name: a, kind: conv, channels: 3, kernel: 1, activation: hard_swish}
  - {name: b, kind: conv, channels: 2, kernel: 3, padding: 1, input: image}
  - {name: c, kind: clip, low: -1}
  - {name: d, kind: leaky_relu, slope: 0.25, input: a}
  - {name: e, kind: hard_sigmoid, input: d}
  - {name: j, kind: concat, inputs: [c, image, e]}
"""


def test_a_file_joins_and_clips(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(FILE, encoding="utf-8")
    network = load_network(path)
    layers = {layer.name: layer for layer in network.graph.layers}
    assert layers["j"].inputs == ("c", "image", "e")
    assert (layers["c"].limits, layers["d"].slope, layers["e"].slope) == ((-1, inf), 0.25, 0.2)
    q = network.quantize()
    assert [kind for _, kind, _ in q.rows] == ["conv", "conv", "clip", "leaky_relu", "hard_sigmoid", "concat"]
    assert q.rows[2][2] == "b"
    assert q.tensors["j"].shape == (6, 5, 9)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("[c, image, e]", "[c]", "net.yaml:10:37: layers[5].inputs: must have at least 2 elements, got 1"),
        ("[c, image, e]", "[c, imaeg]",
         "net.yaml:10:41: layers[5].inputs[1]: no layer 'imaeg' (did you mean 'image'? earlier: image, a, b, c, d, e)"),
        ("padding: 1", "padding: 0",
         "net.yaml:10:37: layers[5].inputs: needs two or more inputs of one height and width ('c' is [4, 3, 2], "
         "'image' is [6, 5, 4], 'e' is [6, 5, 3])"),
        ("low: -1", "low: 2, high: 1",
         "net.yaml:7:32: layers[2].low: clips from 2 to 1 (the first must not be above the second)"),
        ("slope: 0.25", "slope: .nan", "net.yaml:8:40: layers[3].slope: expected a finite number, got .nan"),
    ],
)  # fmt: skip
def test_mistakes_in_files_are_located(tmp_path, old, new, text):
    path = tmp_path / "net.yaml"
    path.write_text(FILE.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load_network(path)
    [error, *_] = caught.value.errors
    assert str(error).replace(f"{tmp_path}/", "").split("\n")[0] == text
