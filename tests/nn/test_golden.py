"""The golden model against nested loops over single values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.nn import golden
from accelsim.nn.graph import QConv, QGraph, Tensor
from tests.drawn import WEIGHT_MODES, random_weights
from tests.oracles import nn as oracle
from tests.strategies import inputs_for, network_cases, wide_cases

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(network_cases(max_hw=8, max_c=5))
def test_every_tensor_equals_nested_loops(case):
    graph, inputs = case
    got, expected = golden.run(graph, inputs), oracle.run(graph, inputs)
    assert got.keys() == expected.keys() == graph.tensors.keys()
    for name, values in expected.items():
        assert got[name].dtype == np.int8
        np.testing.assert_array_equal(got[name], values, err_msg=name)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(wide_cases(max_hw=6, max_c=6))
def test_every_tensor_of_wide_networks_equals_nested_loops(case):
    graph, feeds = case
    got, expected = golden.run(graph, feeds), oracle.run(graph, feeds)
    assert got.keys() == expected.keys() == graph.tensors.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(got[name], values, err_msg=name)


def dense(depth: int, k: int, weights: np.ndarray, zero: int, scale: float = 1e-4) -> QGraph:
    source = Tensor(name="x", shape=(1, 1, depth), scale=np.float32(1), zero=zero)
    result = Tensor(name="y", shape=(1, 1, k), scale=np.float32(1), zero=3)
    layer = QConv(
        name="y", kind="fc", input="x", output="y", weights=weights.reshape(k, 1, 1, depth),
        bias=np.arange(k, dtype=np.int32), scale=np.full(k, scale, np.float32), stride=(1, 1),
        pads=(0, 0, 0, 0), dilation=(1, 1), groups=1, lo=-128, hi=127,
    )  # fmt: skip
    return QGraph(
        name="dense", inputs=("x",), outputs=("y",), tensors={"x": source, "y": result}, layers=(layer,), rows=()
    )


@pytest.mark.parametrize("depth", [1024, 1025, 5000])
@pytest.mark.parametrize("zero", [-128, 127, 5])
@pytest.mark.parametrize("mode", ["high", "low", "uniform", "alternating"])
def test_deep_reductions_are_exact_on_biased_data(depth, zero, mode):
    rng = np.random.default_rng(depth)
    # Odd values next to extremes: a float32 sum beyond 2**24 would lose their last bit.
    weights = random_weights(rng, (3, depth), mode)
    weights[:, ::7] = 125
    x = np.full((2, 1, 1, depth), 127, np.int8)
    x[1, ..., ::3] = -127
    acc = (x[:, 0, 0].astype(object) - zero) @ weights.T.astype(object)
    # A scale of 2**-k that leaves the sum's own low bits visible in the output.
    for shift in (0, 8, 16):
        graph = dense(depth, 3, weights, zero, 2.0**-shift)
        got = golden.run(graph, x)["y"].reshape(2, 3)
        expected = [
            [oracle.requantize(int(acc[n, k]), k, 2.0**-shift, 3, -128, 127) for k in range(3)]
            for n in range(2)
        ]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("depth", [1025, 4096])
def test_the_accumulator_itself_is_exact(depth):
    # Outputs hide low bits behind rounding; compare sums that straddle zero, where scale 1 shows each unit.
    weights = np.full((1, depth), 127, np.int8)
    x = np.full((1, 1, 1, depth), 127, np.int8)
    x[..., depth // 2 :] = -127
    x[..., 0] = 126
    graph = dense(depth, 1, weights, 0, 1.0)
    acc = int(x.astype(np.int64).sum()) * 127
    assert golden.run(graph, x)["y"].item() == oracle.requantize(acc, 0, 1.0, 3, -128, 127)


def test_sums_wrap_at_32_bits():
    depth = 70_000  # 70,000 * 255 * 127 > 2**31
    graph = dense(depth, 1, np.full((1, depth), 127, np.int8), -128, 2.0**-25)
    x = np.full((1, 1, 1, depth), 127, np.int8)
    acc = depth * 255 * 127
    assert acc >= 2**31
    expected = oracle.requantize(acc, 0, 2.0**-25, 3, -128, 127)
    assert expected < 0
    assert golden.run(graph, x)["y"].item() == expected


def test_batches_beyond_one_block_give_the_same_values(monkeypatch):
    rng = np.random.default_rng(0)
    graph = dense(40, 5, random_weights(rng, (5, 40), "uniform"), 7)
    x = inputs_for(graph, 9)
    whole = golden.run(graph, x)["y"]
    monkeypatch.setattr(golden, "COLUMN_LIMIT", 80)
    np.testing.assert_array_equal(golden.run(graph, x)["y"], whole)
    monkeypatch.setattr(golden, "WEIGHT_BLOCK", 80)
    np.testing.assert_array_equal(golden.run(graph, x)["y"], whole)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 1, 1, 3), "int8"), ((1, 1, 1, 4), "int16"), ((0, 1, 1, 4), "int8"), ((4,), "int8")]
)
def test_inputs_that_do_not_fit_are_refused(shape, dtype):
    x = np.zeros(shape, dtype)
    graph = dense(4, 1, np.ones((1, 4), np.int8), 0)
    with pytest.raises(GraphError) as caught:
        golden.run(graph, x)
    expected = f"x: expected int8 inputs of shape [N, 1, 1, 4], got {dtype} {list(shape)}"
    assert str(caught.value) == expected


def test_weights_that_do_not_fit_are_refused():
    graph = dense(4, 1, np.ones((1, 4), np.int8), 0)
    layer = dataclasses.replace(graph.layers[0], groups=2)
    broken = dataclasses.replace(graph, layers=(layer,))
    with pytest.raises(GraphError, match=r"^y: weights \[1, 1, 1, 4\] in 2 groups do not fit 4 channels$"):
        golden.run(broken, np.zeros((1, 1, 1, 4), np.int8))


def test_softmax_is_a_distribution_even_for_large_logits():
    p = golden.softmax(np.array([[1000.0, 1000.0, -1000.0]], np.float32))
    assert p.dtype == np.float32
    np.testing.assert_allclose(p, [[0.5, 0.5, 0.0]])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(900, 4000), st.integers(-128, 127), st.sampled_from(WEIGHT_MODES), st.booleans(), seeds)
def test_products_are_exact_where_float32_starts_to_lose_ones(depth, zero, mode, biased, seed):
    rng = np.random.default_rng(seed)
    weights = random_weights(rng, (5, depth), mode)
    weights -= (weights > 0) & (rng.random(weights.shape) < 0.3)  # odd and even products mixed
    weights[4] = rng.choice([126, 127], depth)
    x = rng.choice([-128, -127] if biased else [126, 127], (3, depth)).astype(np.int8)
    got = golden.exact_product(x.astype(np.float32), weights, zero)
    expected = (x.astype(np.int64) - zero) @ weights.T.astype(np.int64)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)
