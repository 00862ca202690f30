"""Output sizes, padding and shape inference."""
# ruff: noqa: E501 (full messages)

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import GraphError
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.shapes import infer_shapes, output_size, same_pads, tap_hits, window_counts

small = st.integers(1, 9)
pads = st.integers(0, 4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(small, st.integers(1, 5), st.integers(1, 4), pads, pads, st.integers(1, 3))
def test_output_size_counts_the_windows_that_fit(size, kernel, stride, before, after, dilation):
    length = before + size + after
    fits = [s for s in range(0, length, stride) if s + dilation * (kernel - 1) < length]
    assert max(output_size(size, kernel, stride, before, after, dilation), 0) == len(fits)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_gives_the_input_size_over_the_stride(size, kernel, stride, dilation):
    top, bottom, left, right = same_pads((size, size), (kernel, kernel), (stride, stride), (dilation, dilation))
    assert output_size(size, kernel, stride, top, bottom, dilation) == -(-size // stride)
    assert (top, bottom) == (left, right)
    assert bottom - top in (0, 1)
    if top + bottom:  # no more than needed
        assert output_size(size, kernel, stride, top, bottom - 1, dilation) < -(-size // stride)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(small, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_tap_hits_are_the_positions_each_window_reads(size, kernel, stride, before, dilation):
    outputs = max(output_size(size, kernel, stride, before, 2, dilation), 0)
    hits = tap_hits(size, kernel, stride, before, outputs, dilation)
    assert hits.shape == (outputs, size)
    for y in range(outputs):
        reads = {y * stride - before + i * dilation for i in range(kernel)}
        assert {int(i) for i in np.flatnonzero(hits[y])} == reads & set(range(size))


def test_window_counts_shrink_at_the_border():
    counts = window_counts((3, 3), (2, 2), (1, 1), (1, 0, 1, 0))
    np.testing.assert_array_equal(counts, [[1, 2, 2], [2, 4, 4], [2, 4, 4]])


CONV = Layer(name="a", kind="conv", input="x", kernel=(3, 3), channels=4)


def graph(*layers: Layer, shape: tuple[int, int, int] = (6, 6, 2)) -> Graph:
    return Graph(name="g", inputs=(("x", shape),), layers=layers)


def test_shapes_of_a_chain():
    layers = (
        dataclasses.replace(CONV, pads=(1, 0, 2, 1), stride=(2, 1)),
        Layer(name="b", kind="avgpool", input="a", kernel=(2, 3), stride=(1, 2)),
        Layer(name="c", kind="tanh", input="b"),
        Layer(name="d", kind="flatten", input="c"),
        Layer(name="e", kind="fc", input="d", channels=5),
        Layer(name="f", kind="softmax", input="e"),
    )
    assert infer_shapes(graph(*layers)) == {
        "x": (6, 6, 2), "a": (3, 7, 4), "b": (2, 3, 4), "c": (2, 3, 4), "d": (1, 1, 24), "e": (1, 1, 5), "f": (1, 1, 5),
    }  # fmt: skip


POOL = Layer(name="p", kind="maxpool", input="x", kernel=(2, 2), stride=(1, 1), pads=(2, 0, 0, 0))


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([dataclasses.replace(CONV, kernel=(7, 3))], "a: kernel height spans 7 and the padded input has only 6 (input 6, padding 0 + 0)"),
        ([dataclasses.replace(CONV, kernel=(1, 4), dilation=(1, 3), pads=(0, 0, 1, 0))], "a: kernel width spans 10 and the padded input has only 7 (input 6, padding 1 + 0)"),
        ([dataclasses.replace(CONV, groups=3)], "a: groups 3 must divide the 2 input and 4 output channels"),
        ([dataclasses.replace(CONV, channels=0)], "a: channels must be at least 1, got 0"),
        ([dataclasses.replace(CONV, stride=(0, 1))], "a: kernel, stride and dilation must be at least 1 and padding at least 0"),
        ([dataclasses.replace(CONV, weights=np.zeros((4, 3, 3, 1), np.float32))], "a: expected weights of shape [4, 3, 3, 2], got [4, 3, 3, 1] (its input is [6, 6, 2])"),
        ([dataclasses.replace(CONV, bias=np.zeros(3, np.float32))], "a: expected a bias of shape [4], got [3] (its input is [6, 6, 2])"),
        ([POOL], "p: padding [2, 0, 0, 0] leaves a window without any real pixel (keep each padding below the kernel [2, 2])"),
        ([dataclasses.replace(POOL, dilation=(2, 2))], "p: pooling has no dilation"),
        ([CONV, dataclasses.replace(CONV, input="a")], "a: this name is used twice"),
        ([dataclasses.replace(CONV, input="y")], "a: its input 'y' is not an earlier layer"),
        ([Layer(name="s", kind="softmax", input="x"), CONV], "s: softmax runs on the host and can only be the last layer"),
        ([CONV, dataclasses.replace(CONV, name="b")], "a: no layer uses its output (only the last layer is an output, unless `outputs` names others)"),
        ([dataclasses.replace(CONV, kind="lstm")], "a: unknown kind 'lstm' (one of conv, fc, gemm, maxpool, avgpool, add, concat, lrn, relu, relu6, clip, tanh, sigmoid, leaky_relu, hard_swish, hard_sigmoid, flatten, softmax)"),
    ],
)  # fmt: skip
def test_impossible_layers_name_the_layer_and_the_numbers(layers, text):
    with pytest.raises(GraphError) as caught:
        infer_shapes(graph(*layers))
    assert str(caught.value) == text


def test_an_empty_input_is_refused():
    with pytest.raises(GraphError, match=r"^x: input shape \[0, 6, 2\] has no elements$"):
        infer_shapes(graph(CONV, shape=(0, 6, 2)))
