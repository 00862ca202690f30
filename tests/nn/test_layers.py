"""Additions, normalisation, matrix products and ReLU6: float values, integer rules, fusion; several inputs, outputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer, Norm, QAdd, QConv, QLrn, QLut, Tensor
from accelsim.nn.liveness import liveness
from accelsim.nn.loader import random_feeds, random_inputs
from accelsim.nn.quantize import quantize
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.nn.shapes import UNREAD_HINT, infer_shapes
from accelsim.nn.tables import add_layer, clamp_limits
from accelsim.nn.weights import parameters, random_weights
from tests.oracles import nn as oracle

seeds = st.integers(0, 2**32 - 1)
A = Layer(name="a", kind="conv", input="x", kernel=(3, 3), pads=(1, 1, 1, 1), channels=4)
B = dataclasses.replace(A, name="b", kernel=(1, 1), pads=(0, 0, 0, 0))
SUM = Layer(name="s", kind="add", input="a", others=("b",))
RELU = Layer(name="r", kind="relu", input="s")


def network(*layers: Layer, inputs=(("x", (6, 5, 4)),), outputs=()) -> Graph:
    return random_weights(Graph(name="g", inputs=inputs, layers=layers, outputs=outputs), 3)


def signal(graph: Graph, name: str, seed: int = 1) -> float:
    """Signal to noise, dB, of one tensor against the float network, on the images of the calibration."""
    feeds = random_feeds(graph, 4, seed)
    q = quantize(graph, feeds)
    values = golden.run(q, {key: quantize_values(x, q.tensors[key]) for key, x in feeds.items()})
    return decibels(forward(graph, feeds)[name], dequantize(values[name], q.tensors[name]))


def decibels(real: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((real**2).mean() / ((got - real) ** 2).mean()))


# ------------------------------------------------------------------------------------------------------------ add
def test_an_addition_follows_the_float_sum():
    assert signal(network(A, B, SUM), "s") > 30
    assert signal(network(A, B, dataclasses.replace(SUM, activation="relu")), "s") > 30


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.floats(1e-4, 1e4)] * 2), st.floats(0.02, 50), st.tuples(*[st.integers(-128, 127)] * 3), seeds
)
def test_additions_are_exact_to_one_step(scales, ratio, zeros, seed):
    a, b, y = (
        Tensor(name=name, shape=(1, 1, 64), scale=np.float32(scale), zero=zero)
        for name, scale, zero in zip("aby", (*scales, ratio * max(scales)), zeros)
    )
    layer = add_layer("s", (a, b), y, (-128, 127))
    rng = np.random.default_rng(seed)
    pair = [rng.choice([-128, 127, t.zero, int(rng.integers(-128, 128))], t.shape).astype(np.int8) for t in (a, b)]
    got = golden._add(layer, pair[0][None], pair[1][None], y)[0]
    expected = oracle.add(layer, pair[0].tolist(), pair[1].tolist(), a, b, y)
    np.testing.assert_array_equal(got, expected)
    real = sum((v.astype(np.float64) - t.zero) * float(t.scale) for v, t in zip(pair, (a, b)))
    wanted = np.clip(np.rint(real / float(y.scale)) + y.zero, -128, 127)
    assert np.abs(got - wanted).max() <= 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.tuples(*[st.integers(-128, 127)] * 2))
def test_sums_of_products_never_pass_32_bits(first, second, zeros):
    a, b = (
        Tensor(name=name, shape=(1, 1, 1), scale=np.float32(scale), zero=zero)
        for name, scale, zero in zip("ab", (first, second), zeros)
    )
    layer = add_layer("s", (a, b), Tensor(name="y", shape=(1, 1, 1), scale=np.float32(1), zero=0), (-128, 127))
    assert max(layer.factors) == 2**22
    for x in (-128, 127):
        for y in (-128, 127):
            total = x * layer.factors[0] + y * layer.factors[1]
            assert -(2**31) <= total < 2**31
            assert -(2**31) <= total + layer.bias < 2**31


def test_a_relu_that_reads_a_sum_alone_is_fused():
    q = quantize(network(A, B, SUM, RELU), random_inputs((6, 5, 4), 2, 1))
    assert q.rows[2:] == (("s", "add", "s"), ("r", "relu", "s"))
    layer = q.layers[-1]
    assert isinstance(layer, QAdd)
    assert (layer.output, layer.lo, layer.hi, q.output) == ("r", q.tensors["r"].zero, 127, "r")
    merged = quantize(network(A, B, dataclasses.replace(SUM, activation="relu")), random_inputs((6, 5, 4), 2, 1))
    assert merged.layers[-1] == dataclasses.replace(layer, output="s")


def test_a_sum_that_is_read_twice_keeps_its_own_values():
    again = Layer(name="t", kind="add", input="s", others=("r",))
    q = quantize(network(A, B, SUM, RELU, again), random_inputs((6, 5, 4), 2, 1))
    assert [type(layer) for layer in q.layers[2:]] == [QAdd, QLut, QAdd]
    assert list(q.tensors) == ["x", "a", "b", "s", "r", "t"]


def test_a_tensor_may_be_added_to_itself():
    double = dataclasses.replace(SUM, others=("a",))
    graph = network(A, double)
    q = quantize(graph, x := random_inputs((6, 5, 4), 2, 1))
    values = golden.run(q, quantize_values(x, q.tensors["x"]))
    wanted = 2 * dequantize(values["a"], q.tensors["a"])
    np.testing.assert_allclose(dequantize(values["s"], q.tensors["s"]), wanted, atol=q.tensors["s"].scale)


# ------------------------------------------------------------------------------------------------------------ lrn
def lrn(size: int, alpha: float, beta: float, k: float) -> Graph:
    norm = Norm(size=size, alpha=alpha, beta=beta, k=k)
    return Graph(name="g", inputs=(("x", (3, 4, 12)),), layers=(Layer(name="n", kind="lrn", input="x", norm=norm),))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 14), st.floats(0, 2), st.floats(0, 2), st.floats(0.1, 4), seeds)
def test_float_normalisation_is_the_formula(size, alpha, beta, k, seed):
    x = np.random.default_rng(seed).normal(0, 1, (2, 3, 4, 12)).astype(np.float32)
    got = forward(lrn(size, alpha, beta, k), x)["n"]
    for index in np.ndindex(x.shape):
        c = index[3]
        window = [float(x[index[:3]][d]) for d in range(12) if c - size // 2 <= d <= c + (size - 1) // 2]
        wanted = float(x[index]) / (k + alpha / size * sum(v * v for v in window)) ** beta
        assert got[index] == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(1, 9), st.floats(0.01, 100), st.floats(0, 2), st.floats(0.2, 1), st.floats(0.5, 4), st.booleans(), seeds
)
def test_integer_normalisation_follows_float(size, spread, strength, beta, k, positive, seed):
    """At least 30 dB while the largest value alone would at most triple what is in the brackets."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(0, spread, (4, 3, 4, 12)) * rng.lognormal(0, 0.3, 12)).astype(np.float32)
    x = np.maximum(x, 0) if positive else x
    graph = lrn(size, strength * k * size / float(np.abs(x).max()) ** 2, beta, k)
    q = quantize(graph, x)
    values = golden.run(q, quantize_values(x, q.tensors["x"]))
    assert decibels(forward(graph, x)["n"], dequantize(values["n"], q.tensors["n"])) >= 30


def test_the_bundled_parameters_follow_float_closely():
    norm = Layer(name="n", kind="lrn", input="r", norm=Norm(size=5, alpha=5e-4, beta=0.75, k=2))
    layers = (dataclasses.replace(A, channels=16), Layer(name="r", kind="relu", input="a"), norm)
    assert signal(network(*layers), "n") >= 34


def test_normalisation_uses_its_ranges_to_the_ends():
    graph = lrn(5, 0.5, 0.75, 1)
    x = random_inputs((3, 4, 12), 3, 1)
    q = quantize(graph, x)
    layer, source = q.layers[0], q.tensors["x"]
    assert isinstance(layer, QLrn)
    seen = quantize_values(x, source)
    largest = np.abs(seen.astype(int) - source.zero).max()
    squares = layer.square[seen.astype(int) + 128].astype(int)
    assert squares.max() == 127
    assert layer.square.min() == 0 == layer.square[source.zero + 128]
    assert layer.square[np.clip(source.zero + largest, -128, 127) + 128] == 127
    sums = [squares[..., max(0, c - 2) : c + 3].sum(axis=-1) for c in range(12)]
    assert np.rint(np.float32(np.max(sums)) * layer.index_scale) + layer.index_zero == 127
    assert layer.factor.max() == 127
    assert (layer.factor >= 0).all()
    assert (np.diff(layer.factor.astype(int)) <= 0).all()


@pytest.mark.parametrize("values", [0.0, 1e-30])
def test_normalising_nothing_is_nothing(values):
    graph = lrn(5, 1e-4, 0.75, 1)
    q = quantize(graph, np.full((1, 3, 4, 12), values, np.float32))
    zero = q.tensors["x"].zero
    got = golden.run(q, np.full((1, 3, 4, 12), zero, np.int8))["n"]
    np.testing.assert_array_equal(got, np.full(got.shape, q.tensors["n"].zero))


# ----------------------------------------------------------------------------------------------------- gemm, relu6
def test_a_product_is_a_1x1_convolution_over_a_row():
    graph = network(Layer(name="g", kind="gemm", input="x", matrix=(7, 5), channels=3), inputs=(("x", (1, 7, 5)),))
    x = random_inputs((1, 7, 5), 2, 1)
    weights, bias = parameters(graph.layers[0], (1, 7, 5))
    assert weights.shape == (3, 5)
    got = forward(graph, x)["g"]
    np.testing.assert_allclose(got[:, 0], x[:, 0] @ weights.T + bias, rtol=1e-5, atol=1e-5)
    q = quantize(graph, x)
    layer = q.layers[0]
    assert isinstance(layer, QConv)
    assert (layer.kind, layer.weights.shape, q.rows) == ("gemm", (3, 1, 1, 5), (("g", "gemm", "g"),))
    assert q.tensors["g"].shape == (1, 7, 3)
    assert signal(graph, "g") > 35


def test_a_product_needs_the_shape_it_names():
    graph = network(Layer(name="g", kind="gemm", input="x", matrix=(7, 5), channels=3), inputs=(("x", (1, 7, 5)),))
    wrong = dataclasses.replace(graph, inputs=(("x", (7, 1, 5)),))
    with pytest.raises(GraphError) as caught:
        infer_shapes(wrong)
    text = "g: m = 7 and k = 5 need an input of shape [1, 7, 5] (it is [7, 1, 5])"
    assert str(caught.value) == text


def test_sums_need_equal_shapes():
    with pytest.raises(GraphError) as caught:
        network(A, dataclasses.replace(B, channels=3), SUM)
    assert str(caught.value) == "s: both inputs must have one shape ('a' is [6, 5, 4] and 'b' is [6, 5, 3])"


@pytest.mark.parametrize("host", [A, dataclasses.replace(A, kind="fc", kernel=(1, 1), pads=(0, 0, 0, 0))])
def test_relu6_is_fused_as_both_clamps(host):
    loud = Layer(name="r", kind="relu6", input="a")
    graph = network(host, loud)
    x = random_inputs((6, 5, 4), 4, 1) * 20
    q = quantize(graph, x)
    layer, result = q.layers[0], q.tensors["r"]
    assert isinstance(layer, QConv)
    assert (len(q.layers), q.rows[1]) == (1, ("r", "relu6", "a"))
    assert (layer.lo, layer.hi, result.zero) == (-128, 127, -128)
    assert float(result.scale) == pytest.approx(6 / 255)
    assert signal(graph, "r") > 25
    merged = quantize(network(dataclasses.replace(host, activation="relu6")), x)
    assert (merged.layers[0].lo, merged.layers[0].hi) == (layer.lo, layer.hi)


@pytest.mark.parametrize(
    ("scale", "zero", "limits"),
    [(6 / 255, -128, (-128, 127)), (0.1, -128, (-128, -68)), (0.1, 0, (0, 60)), (0.01, 0, (0, 127)), (9, 5, (5, 6))],
)
def test_the_upper_limit_is_six(scale, zero, limits):
    result = Tensor(name="y", shape=(1, 1, 1), scale=np.float32(scale), zero=zero)
    assert clamp_limits([(0, 6)], result) == limits
    assert clamp_limits([(0, np.inf)], result) == (zero, 127)
    assert clamp_limits([], result) == (-128, 127)


def test_relu6_elsewhere_is_a_table():
    pool = Layer(name="p", kind="maxpool", input="x", kernel=(2, 2), stride=(1, 1))
    graph = network(pool, Layer(name="r", kind="relu6", input="p"))
    x = random_inputs((6, 5, 4), 4, 1) * 9
    q = quantize(graph, x)
    out = golden.run(q, quantize_values(x, q.tensors["x"]))
    wanted = np.clip(dequantize(out["p"], q.tensors["p"]), 0, 6)
    np.testing.assert_allclose(dequantize(out["r"], q.tensors["r"]), wanted, atol=q.tensors["r"].scale)


# ------------------------------------------------------------------------------------- several inputs and outputs
TWO = (("x", (6, 5, 4)), ("y", (6, 5, 4)))


def test_inputs_and_outputs_by_name():
    graph = network(A, dataclasses.replace(B, input="y"), SUM, inputs=TWO, outputs=("a", "s"))
    feeds = random_feeds(graph, 2, 0)
    q = quantize(graph, feeds)
    assert (q.inputs, q.outputs, q.output) == (("x", "y"), ("a", "s"), "s")
    ints = {name: quantize_values(x, q.tensors[name]) for name, x in feeds.items()}
    np.testing.assert_array_equal(golden.run(q, ints)["s"], oracle.run(q, ints)["s"])
    swapped = golden.run(q, dict(reversed(ints.items())))
    np.testing.assert_array_equal(swapped["s"], golden.run(q, ints)["s"])


def test_an_output_is_not_fused_away():
    relu = Layer(name="r", kind="relu", input="a")
    q = quantize(network(A, relu, outputs=("a", "r")), random_inputs((6, 5, 4), 2, 1))
    assert (q.outputs, [type(layer) for layer in q.layers]) == (("a", "r"), [QConv, QLut])


def test_logits_are_the_last_output():
    fc = Layer(name="f", kind="fc", input="a", channels=3)
    softmax = Layer(name="p", kind="softmax", input="f")
    for outputs in ((), ("p",), ("f",), ("f", "p")):
        assert network(A, fc, softmax, outputs=outputs).results == ("f",)
    assert network(A, fc, softmax, outputs=("p", "a")).results == ("a", "f")


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        (np.zeros((1, 6, 5, 4), np.int8), "x: several inputs need an array each, by name (x, y)"),
        ({"x": np.zeros((1, 6, 5, 4), np.int8)}, "y: has no values"),
        ({"z": np.zeros((1, 6, 5, 4), np.int8)}, "z: the network has no such input (x, y)"),
        (
            {"x": np.zeros((1, 6, 5, 4), np.int8), "y": np.zeros((2, 6, 5, 4), np.int8)},
            "x: every input needs the same number of images, got x 1, y 2",
        ),
        (
            {"x": np.zeros((1, 6, 5, 4), np.int8), "y": np.zeros((1, 6, 5, 4))},
            "y: expected int8 inputs of shape [N, 6, 5, 4], got float64 [1, 6, 5, 4]",
        ),
    ],
)
def test_feeds_that_do_not_fit(feeds, text):
    graph = network(A, dataclasses.replace(B, input="y"), SUM, inputs=TWO)
    q = quantize(graph, random_feeds(graph, 2, 0))
    with pytest.raises(GraphError) as caught:
        golden.run(q, feeds)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        (TWO, (), "y: no layer reads this input"),
        (TWO[:1], ("a", "z"), "z: is no layer and cannot be an output"),
        (TWO[:1], ("a",), f"r: no layer uses its output ({UNREAD_HINT})"),
    ],
)
def test_everything_is_used(inputs, outputs, text):
    with pytest.raises(GraphError) as caught:
        network(A, Layer(name="r", kind="relu", input="a"), inputs=inputs, outputs=outputs)
    assert str(caught.value) == text


# --------------------------------------------------------------------------------------------------- random weights
def test_random_weights_depend_on_the_seed_and_the_name_alone():
    small, large = network(A), network(dataclasses.replace(B, name="other"), dataclasses.replace(A, input="other"))
    np.testing.assert_array_equal(*(parameters(g.layers[-1], (6, 5, 4))[1] for g in (small, large)))
    first, second = (parameters(g.layers[-1], (6, 5, 4))[0] for g in (small, large))
    np.testing.assert_allclose(first / first.std(), second / second.std(), rtol=1e-4)
    assert not np.array_equal(first, parameters(random_weights(small, 4).layers[0], (6, 5, 4))[0])
    feeds = random_feeds(network(A, dataclasses.replace(B, input="y"), SUM, inputs=TWO), 2, 0)
    np.testing.assert_array_equal(feeds["x"], random_feeds(small, 2, 0)["x"])
    assert not np.array_equal(feeds["x"], feeds["y"])


@pytest.mark.parametrize("kind", ["fc", "gemm"])
def test_large_matrices_are_made_and_quantised_in_blocks(kind, monkeypatch):
    layer = Layer(name="g", kind=kind, input="x", matrix=(1, 37), channels=50)
    graph = network(layer, inputs=(("x", (1, 1, 37)),))
    whole, weights = quantize(graph, x := random_inputs((1, 1, 37), 3, 1)), parameters(graph.layers[0], (1, 1, 37))
    monkeypatch.setattr("accelsim.nn.weights.BLOCK", 300)
    pieces = quantize(graph, x)
    for got, expected in zip(parameters(graph.layers[0], (1, 1, 37)), weights):
        np.testing.assert_array_equal(got, expected)
    for name in ("weights", "bias"):
        np.testing.assert_array_equal(getattr(pieces.layers[0], name), getattr(whole.layers[0], name))


def test_images_are_convolved_one_by_one_where_they_are_large(monkeypatch):
    graph = network(dataclasses.replace(A, groups=2), dataclasses.replace(A, name="d", input="a", groups=4))
    whole = forward(graph, x := random_inputs((6, 5, 4), 5, 1))
    monkeypatch.setattr("accelsim.nn.forward.COLUMN_LIMIT", 2 * 6 * 5 * 18)
    parts = forward(graph, x)
    for name in ("a", "d"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-6)


def test_random_weights_are_spread_by_channel_around_zero():
    graph = network(dataclasses.replace(A, channels=400), inputs=(("x", (6, 5, 64)),))
    weights, bias = parameters(graph.layers[0], (6, 5, 64))
    spread = weights.reshape(400, -1).std(axis=1)
    assert np.abs(weights.mean()) < 0.01 * weights.std()
    assert np.log(spread).std() == pytest.approx(0.4, rel=0.15)
    assert (spread**2).mean() == pytest.approx(3 / (9 * 64), rel=0.15)  # inputs have the mean square 1/3
    assert bias.std() == pytest.approx(0.1, rel=0.15)


def test_deep_residual_networks_neither_fade_nor_grow():
    layers, before = [A], "a"
    for i in range(12):
        conv = dataclasses.replace(A, name=f"c{i}", input=before, channels=4, activation="relu6" if i % 2 else "")
        layers += [conv, Layer(name=f"s{i}", kind="add", input=f"c{i}", others=(before,), activation="relu")]
        before = f"s{i}"
    layers = [dataclasses.replace(layer, channels=16) if layer.channels else layer for layer in layers]
    graph = network(*layers)
    x = random_inputs((6, 5, 4), 2, 1)
    q = quantize(graph, x)
    shares = liveness(q, golden.run(q, quantize_values(x, q.tensors["x"])))
    assert shares.keys() == {layer.name for layer in layers}
    for name, (saturated, zeros) in shares.items():
        assert saturated < 0.05, name
        assert zeros < 0.75, name


def test_liveness_counts_ends_and_zero_points():
    pool = Layer(name="p", kind="maxpool", input="r", kernel=(2, 2))
    graph = network(A, Layer(name="r", kind="relu", input="a"), pool)
    q = quantize(graph, random_inputs((6, 5, 4), 2, 1))
    values = {"r": np.array([-128, -128, 127, 5], np.int8), "p": np.array([-128, 0, 0, 0, 1], np.int8)}
    assert q.tensors["r"].zero == -128
    assert liveness(q, values) == {"a": (0.25, 0.5), "p": (0.0, 0.2)}
