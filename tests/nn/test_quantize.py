"""Scales, zero points, fusion and rows; int8 results against the float network."""
# ruff: noqa: E501 (full messages)

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.functions import POINTWISE, Function
from accelsim.nn.graph import Graph, Layer, QConv, QLut, Tensor
from accelsim.nn.loader import random_inputs
from accelsim.nn.quantize import quantize
from accelsim.nn.scales import dequantize, quantize_values, quantize_weights, tensor_for
from accelsim.nn.tables import table_for
from accelsim.nn.weights import parameters, random_weights

finite = st.floats(-1e6, 1e6, width=32)


def network(*layers: Layer, shape=(8, 8, 3), seed=0) -> Graph:
    return random_weights(Graph(name="g", inputs=(("x", shape),), layers=layers), seed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(finite, finite)
def test_a_range_always_holds_zero_exactly(a, b):
    tensor = tensor_for("t", (1, 1, 1), min(a, b), max(a, b))
    assert -128 <= tensor.zero <= 127
    assert tensor.scale > 0
    ends = np.array([min(a, b, 0), max(a, b, 0), 0], np.float32)
    back = dequantize(quantize_values(ends, tensor), tensor)
    assert back[2] == 0
    if max(a, b) - min(a, b, 0) >= 1e-15:
        np.testing.assert_allclose(back, ends, atol=float(tensor.scale) * 1.01)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-30, 1e-6, 1.0, 1e4]), st.sampled_from([0.0, 1e-3, 1.0, 1e9]))
def test_weights_and_biases_come_back_within_half_a_step(seed, size, bias_size):
    rng = np.random.default_rng(seed)
    sx = np.float32(2.0 ** rng.integers(-12, 4))
    weights = rng.normal(0, 1, (3, 2, 2, 4)).astype(np.float32) * np.float32(size)
    weights[1] = 0
    bias = rng.normal(0, 1, 3).astype(np.float32) * np.float32(bias_size)
    q, b, sw = quantize_weights(weights, bias, sx)
    assert (q.dtype, b.dtype, sw.dtype) == (np.int8, np.int32, np.float32)
    assert q.min() >= -127
    assert (sw > 0).all()
    step = sw.astype(np.float64).reshape(3, 1, 1, 1)
    assert (np.abs(q * step - weights) <= step * 0.5001).all()
    bias_step = (sx * sw).astype(np.float64)
    assert (np.abs(b * bias_step - bias) <= bias_step * 0.5001).all()
    assert np.abs(b.astype(np.int64)).max() <= 2**30 + 2**8
    if size >= 1e-6 and bias_size <= 1e-3:
        assert abs(q[0]).max() == 127


def test_scales_are_float32_at_each_step():
    graph = network(Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=16))
    q = quantize(graph, random_inputs((8, 8, 3), 4, 1))
    layer = q.layers[0]
    assert isinstance(layer, QConv)
    sx, sy = q.tensors["x"].scale, q.tensors["a"].scale
    weights, _ = parameters(graph.layers[0], (8, 8, 3))
    differs = 0
    for c in range(16):
        sw = np.float32(float(np.abs(weights[c]).max()) / 127)
        expected = np.float32(np.float32(sx * sw) / sy)
        assert layer.scale[c] == expected
        differs += expected != np.float32(float(sx) * float(sw) / float(sy))
    assert differs  # the order of roundings is visible in this test


def test_relu_is_fused_as_the_lower_clamp():
    conv = Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=4)
    relu = Layer(name="r", kind="relu", input="a")
    graph = network(conv, relu)
    x = random_inputs((8, 8, 3), 4, 1)
    q = quantize(graph, x)
    assert q.rows == (("a", "conv", "a"), ("r", "relu", "a"))
    assert list(q.tensors) == ["x", "r"]
    assert (q.layers[0].name, q.output) == ("a", "r")
    assert (q.layers[0].lo, q.tensors["r"].zero) == (-128, -128)
    assert q.row_of == {"a": "a"}
    merged = dataclasses.replace(graph, layers=(dataclasses.replace(graph.layers[0], activation="relu"),))
    other = quantize(merged, x)
    assert other.rows == (("a", "conv", "a"),)
    inputs = quantize_values(x, q.tensors["x"])
    np.testing.assert_array_equal(golden.run(q, inputs)["r"], golden.run(other, inputs)["a"])


def test_relu_elsewhere_is_a_table():
    graph = network(
        Layer(name="p", kind="maxpool", input="x", kernel=(2, 2), stride=(2, 2)),
        Layer(name="r", kind="relu", input="p"),
    )
    x = random_inputs((8, 8, 3), 4, 1)
    q = quantize(graph, x)
    assert q.rows == (("p", "maxpool", "p"), ("r", "relu", "r"))
    assert isinstance(q.layers[1], QLut)
    out = golden.run(q, quantize_values(x, q.tensors["x"]))
    wanted = np.maximum(dequantize(out["p"], q.tensors["p"]), 0)
    np.testing.assert_allclose(dequantize(out["r"], q.tensors["r"]), wanted, atol=q.tensors["r"].scale)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_an_activation_becomes_a_table_behind_its_own_quantisation(kind):
    graph = network(
        Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=4, activation=kind),
        Layer(name="b", kind="fc", input="a", channels=3),
        Layer(name="c", kind=kind, input="b"),
    )
    q = quantize(graph, random_inputs((8, 8, 3), 4, 1))
    assert [layer.name for layer in q.layers] == ["a", f"a.{kind}", "b", "c"]
    assert q.rows == (("a", "conv", "a"), ("b", "fc", "b"), ("c", kind, "c"))
    assert q.row_of == {"a": "a", f"a.{kind}": "a", "b": "b", "c": "c"}
    assert list(q.tensors) == ["x", "a.pre", "a", "b", "c"]
    ends = [-1.0, 1.0] if kind == "tanh" else [0.0, 1.0]
    reached = dequantize(quantize_values(np.array(ends, np.float32), q.tensors["a"]), q.tensors["a"])
    np.testing.assert_allclose(reached, ends, rtol=1e-6)


FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "clip": lambda x: min(max(x, -0.4), 0.7),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "leaky_relu": lambda x: x if x > 0 else x * 0.125,
    "hard_swish": lambda x: 0.0 if x < -3 else x if x > 3 else x * (x + 3) / 6,
    "hard_sigmoid": lambda x: 0.0 if x < -4 else 1.0 if x > 4 else (x + 4) / 8,
}
"""Each kind in plain Python, with the slope 1/8 and the limits -0.4 and 0.7."""


def test_every_function_has_an_oracle():
    assert tuple(sorted(FUNCTIONS)) == tuple(sorted(POINTWISE))


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_tables_are_the_function_rounded_once(kind):
    source = Tensor(name="s", shape=(1, 1, 1), scale=np.float32(0.03), zero=-11)
    result = Tensor(name="r", shape=(1, 1, 1), scale=np.float32(1 / 127), zero=-5)
    table = table_for(Function(kind, 0.125, (-0.4, 0.7)), source, result)
    for q in range(-128, 128):
        x = (q + 11) * float(np.float32(0.03))
        y = FUNCTIONS[kind](x)
        assert table[q + 128] == min(max(round(y / float(np.float32(1 / 127))) - 5, -128), 127)


def test_pooling_and_flatten_quantisation():
    graph = network(
        Layer(name="a", kind="avgpool", input="x", kernel=(2, 2), stride=(2, 2)),
        Layer(name="m", kind="maxpool", input="a", kernel=(2, 2), stride=(2, 2)),
        Layer(name="f", kind="flatten", input="m"),
        Layer(name="s", kind="softmax", input="f"),
    )
    q = quantize(graph, random_inputs((8, 8, 3), 4, 1))
    a, m, f = (q.tensors[name] for name in "amf")
    assert (m.scale, m.zero) == (f.scale, f.zero) == (a.scale, a.zero)
    assert a.scale < q.tensors["x"].scale
    assert (q.output, q.layers[-1].name, f.shape) == ("f", "s", (1, 1, 12))


@pytest.mark.parametrize("groups", [3, 6])
def test_only_one_filter_per_channel_is_depthwise(groups):
    layers = [Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=6, groups=g) for g in (groups, 1)]
    q = quantize(network(layers[0], shape=(8, 8, 6)), random_inputs((8, 8, 6), 2, 1))
    assert q.rows[0][1] == q.layers[0].kind == ("depthwise" if groups == 6 else "conv")


@pytest.mark.parametrize("method", ["max", "percentile"])
def test_int8_follows_float(method):
    graph = network(
        Layer(name="c1", kind="conv", input="x", kernel=(3, 3), channels=12, pads=(1, 1, 1, 1), activation="relu"),
        Layer(name="c2", kind="conv", input="c1", kernel=(3, 3), channels=12, groups=12, dilation=(2, 2)),
        Layer(name="t", kind="tanh", input="c2"),
        Layer(name="c3", kind="conv", input="t", kernel=(2, 2), channels=8, groups=2, activation="sigmoid"),
        Layer(name="p", kind="avgpool", input="c3", kernel=(2, 2), stride=(1, 1), pads=(1, 0, 0, 1)),
        Layer(name="m", kind="maxpool", input="p", kernel=(2, 2), stride=(2, 2), pads=(0, 1, 1, 0)),
        Layer(name="f", kind="fc", input="m", channels=9),
        shape=(12, 12, 3),
    )  # fmt: skip
    x = random_inputs((12, 12, 3), 16, 3)
    q = quantize(graph, x, method)
    real = forward(graph, x)
    values = golden.run(q, quantize_values(x, q.tensors["x"]))
    for name, tensor in q.tensors.items():
        error = dequantize(values[name], tensor) - real[name]
        signal = 10 * np.log10((real[name] ** 2).mean() / (error**2).mean())
        assert signal > 25, (name, signal)


def test_percentile_ignores_outliers():
    graph = network(Layer(name="p", kind="maxpool", input="x", kernel=(1, 1)))
    x = random_inputs((8, 8, 3), 100, 3)
    x[0, 0, 0, 0] = 1000
    assert quantize(graph, x, "max").tensors["x"].scale > 3
    assert quantize(graph, x, "percentile").tensors["x"].scale < 0.01


def test_all_zero_networks_quantise_and_run():
    conv = Layer(
        name="a", kind="conv", input="x", kernel=(3, 3), channels=4, activation="relu",
        weights=np.zeros((4, 3, 3, 3), np.float32), bias=np.array([0, 1, -1, 1e-30], np.float32),
    )  # fmt: skip
    pool = Layer(name="p", kind="avgpool", input="a", kernel=(2, 2))
    graph = Graph(name="g", inputs=(("x", (8, 8, 3)),), layers=(conv, pool))
    q = quantize(graph, np.zeros((2, 8, 8, 3), np.float32))
    out = golden.run(q, np.zeros((1, 8, 8, 3), np.int8))
    real = dequantize(out["p"], q.tensors["p"])
    np.testing.assert_allclose(real[0, 0, 0], [0, 1, 0, 0], atol=0.01)


BAD = np.full((2, 8, 8, 3), np.nan, np.float32)
CONV = Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=4)


@pytest.mark.parametrize(
    ("graph", "x", "text"),
    [
        (network(CONV), BAD, "x: calibration gives values that are not finite"),
        (network(CONV), np.full((2, 8, 8, 3), 3e38, np.float32), "a: calibration gives values that are not finite"),
        (network(CONV), BAD[:0], "x: expected inputs of shape [N, 8, 8, 3], got [0, 8, 8, 3]"),
        (network(CONV), BAD[0], "x: expected inputs of shape [N, 8, 8, 3], got [8, 8, 3]"),
        (Graph(name="g", inputs=(("x", (8, 8, 3)),), layers=(CONV,)), np.zeros((1, 8, 8, 3)), "a: has no weights"),
        (Graph(name="g", inputs=(("x", (8, 8, 3)),), layers=(Layer(name="s", kind="softmax", input="x"),)), np.zeros((1, 8, 8, 3)), "g: no layer runs on the accelerator"),
    ],
)  # fmt: skip
def test_what_cannot_be_quantised_is_refused(graph, x, text):
    with pytest.raises(GraphError) as caught:
        quantize(graph, x)
    assert str(caught.value) == text


def test_weights_must_be_finite():
    bias = np.array([0, np.inf, 0, 0], np.float32)
    layer = dataclasses.replace(CONV, weights=np.ones((4, 3, 3, 3), np.float32), bias=bias)
    graph = Graph(name="g", inputs=(("x", (8, 8, 3)),), layers=(layer,))
    with pytest.raises(GraphError, match=r"^a: weights or bias hold values that are not finite$"):
        quantize(graph, random_inputs((8, 8, 3), 1, 0))


def test_inputs_must_be_finite():
    tensor = tensor_for("x", (1, 1, 1), -1, 1)
    with pytest.raises(GraphError, match=r"^x: holds values that are not finite$"):
        quantize_values(np.array([np.inf], np.float32), tensor)
    assert quantize_values(np.array([3e38, -3e38], np.float32), tensor).tolist() == [127, -128]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown calibration method 'kl': one of max, percentile"):
        quantize(network(CONV), random_inputs((8, 8, 3), 1, 0), "kl")
