"""Ranges of tensors by each method, and the sharing of scales before concatenations."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.errors import GraphError
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer, QConcat
from accelsim.nn.loader import random_feeds
from accelsim.nn.quantize import quantize
from accelsim.nn.ranges import METHODS, find_range
from accelsim.nn.scales import dequantize, quantize_values, tensor_for
from accelsim.nn.sharing import towards_concat
from accelsim.nn.weights import random_weights
from tests.oracles import ranges as oracle

DRAWS = {
    "normal": lambda rng: rng.normal(0, 1, 400),
    "one-sided": lambda rng: np.abs(rng.standard_t(3, 400)),
    "negative": lambda rng: -rng.exponential(2, 400),
    "tails": lambda rng: rng.standard_t(2, 400),
    "outlier": lambda rng: np.append(rng.normal(0, 1, 400), 60.0),
    "skewed": lambda rng: rng.gamma(0.5, 1, 400) - 0.3,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", DRAWS)
def test_mse_is_near_the_best_of_all_ranges_of_its_grid(draw, seed):
    values = DRAWS[draw](np.random.default_rng(seed)).astype(np.float32)
    low, high = find_range("t", values, "mse")
    listed = values.astype(float).tolist()
    found = oracle.error(listed, min(low, 0.0), max(high, 0.0))
    assert found <= oracle.error(listed, min(*listed, 0.0), max(*listed, 0.0)) * (1 + 1e-9)
    assert found <= oracle.best(listed, 32) * 1.1


def test_mse_cuts_off_what_the_steps_pay_for():
    """An outlier at 40 among 400,000 normal values would make all steps five times as coarse."""
    rng = np.random.default_rng(5)
    values = np.append(rng.normal(0, 1, 400_000), 40).astype(np.float32).reshape(1, 1, 1, -1)
    errors = {}
    for method in METHODS:
        tensor = tensor_for("t", (1, 1, 400_001), *find_range("t", values, method))
        back = dequantize(quantize_values(values, tensor), tensor)
        errors[method] = float(np.square(back.astype(float) - values).sum())
    assert errors["mse"] < errors["max"] / 1.3
    assert errors["mse"] <= errors["percentile"]


@pytest.mark.parametrize("seed", range(4))
def test_mse_is_never_worse_than_max(seed):
    rng = np.random.default_rng(seed)
    values = (rng.standard_cauchy(30_000) * 10.0 ** rng.integers(-6, 6)).astype(np.float32)
    errors = []
    for method in ("mse", "max"):
        tensor = tensor_for("t", (1, 1, 30_000), *find_range("t", values, method))
        errors.append(np.square(dequantize(quantize_values(values, tensor), tensor).astype(float) - values).sum())
    assert errors[0] <= errors[1] * (1 + 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_constant_and_empty_ranges(method):
    for constant in (0.0, 3.0, -2.0, 1e-30):
        low, high = find_range("t", np.full((2, 3), constant, np.float32), method)
        tensor = tensor_for("t", (1, 1, 3), low, high)
        back = dequantize(quantize_values(np.full((1, 3), constant, np.float32), tensor), tensor)
        np.testing.assert_allclose(back, constant, rtol=1e-5, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_not_finite_are_refused(method):
    with pytest.raises(GraphError, match="conv9: calibration gives values that are not finite"):
        find_range("conv9", np.array([1, np.nan], np.float32), method)


def conv(name: str, source: str = "x", **keys) -> Layer:
    return Layer(name=name, kind="conv", input=source, channels=4, **keys)


POOL = {"kind": "maxpool", "kernel": (3, 3), "stride": (1, 1), "pads": (1, 1, 1, 1)}


def built(*layers: Layer, outputs: tuple[str, ...] = ()) -> tuple[Graph, dict[str, np.ndarray]]:
    graph = random_weights(Graph(name="g", inputs=(("x", (6, 6, 4)),), layers=layers, outputs=outputs), 4)
    return graph, random_feeds(graph, 4, 1)


def same(q, *names: str) -> bool:
    return len({(q.tensors[name].scale, q.tensors[name].zero) for name in names}) == 1


INCEPTION = (
    conv("a", activation="relu"),
    conv("b"),
    Layer(name="r", kind="relu", input="b"),
    conv("c", activation="tanh"),
    conv("d"),
    Layer(name="p", input="d", **POOL),
    Layer(name="s", kind="add", input="a2", others=("x",)),
    Layer(name="v", kind="avgpool", input="x", kernel=(3, 3), stride=(1, 1), pads=(1, 1, 1, 1)),
    Layer(name="j", kind="concat", input="a", others=("r", "c", "p", "s", "v")),
)


def test_what_only_a_concatenation_reads_takes_its_quantisation():
    layers = (conv("a2"), *INCEPTION, conv("end", "j"))
    graph, feeds = built(*layers)
    assert towards_concat(graph) == {"a", "r", "c", "p", "d", "s", "v"}
    q = quantize(graph, feeds)
    assert same(q, "j", "a", "r", "c", "p", "d", "s", "v")
    [join] = [layer for layer in q.layers if isinstance(layer, QConcat)]
    assert set(join.scales) == {np.float32(1)}
    lows = {layer.name: layer.lo for layer in q.layers if layer.kind == "conv"}
    assert lows["a"] == lows["b"] == q.tensors["j"].zero > -128  # rectifiers of a range that goes below 0
    assert lows["d"] == -128
    inputs = {name: quantize_values(x, q.tensors[name]) for name, x in feeds.items()}
    values, wanted = golden.run(q, inputs), forward(graph, feeds)
    for name in ("a", "r", "c", "p", "s", "v", "j"):  # d is cut off where no maximum can be
        assert np.abs(dequantize(values[name], q.tensors[name]) - wanted[name]).max() <= 4 * q.tensors[name].scale


def test_what_others_read_keeps_its_own():
    join = Layer(name="j", kind="concat", input="x", others=("a", "b"))
    graph, feeds = built(conv("a"), conv("b", "a"), join, conv("end", "j"))
    assert towards_concat(graph) == {"b"}  # x and a are read by convolutions
    q = quantize(graph, feeds)
    assert same(q, "b", "j")
    assert not same(q, "a", "j")
    graph, feeds = built(conv("a"), conv("b", "a"), join, outputs=("j", "b"))
    assert towards_concat(graph) == frozenset()
    pool = Layer(name="p", input="a", **POOL)
    join = Layer(name="j", kind="concat", input="p", others=("b",))
    graph, feeds = built(conv("a"), conv("b", "a"), pool, join, conv("end", "j"))
    q = quantize(graph, feeds)
    assert same(q, "a", "p")  # pooling has the scale of its input, which a convolution reads
    assert not same(q, "p", "j")


def test_nested_concatenations_share_with_the_outermost():
    inner = Layer(name="i", kind="concat", input="a", others=("b",))
    outer = Layer(name="j", kind="concat", input="i", others=("c", "x"))
    graph, feeds = built(conv("a"), conv("b"), conv("c"), inner, outer, conv("end", "j"))
    q = quantize(graph, feeds)
    assert same(q, "a", "b", "c", "i", "j")
    assert all(set(layer.scales[:2]) == {np.float32(1)} for layer in q.layers if isinstance(layer, QConcat))


def test_sharing_loses_nothing():
    """One rounding instead of two: the joined values come no further from the float ones."""
    graph, feeds = built(conv("a"), conv("b", kernel=(3, 3), pads=(1, 1, 1, 1)),
                         Layer(name="j", kind="concat", input="a", others=("b",)), conv("end", "j"))  # fmt: skip
    apart = Graph(name="g", inputs=graph.inputs, layers=graph.layers, outputs=("end", "a", "b"))
    errors = []
    for each in (graph, apart):
        q = quantize(each, feeds)
        values = golden.run(q, {name: quantize_values(x, q.tensors[name]) for name, x in feeds.items()})
        errors.append(np.square(dequantize(values["j"], q.tensors["j"]) - forward(graph, feeds)["j"]).mean())
    assert errors[0] < errors[1]
