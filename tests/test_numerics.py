"""``numerics`` against exact integers and fractions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import numerics
from tests.oracles import numerics as oracle

EDGES = (-(2**31), -(2**31) + 1, -(2**24) - 1, -129, -128, -1, 0, 1, 127, 128, 2**24 + 1, 2**30, 2**31 - 1)
int32s = st.one_of(st.sampled_from(EDGES), st.integers(-(2**31), 2**31 - 1))
int8s = st.integers(-128, 127)
# Any pattern at all, and often the size of a real scale.
scale_bits = st.one_of(
    st.integers(0, 2**32 - 1),
    st.floats(2**-20, 1.0, width=32).map(lambda value: int(np.float32(value).view(np.uint32))),
    st.sampled_from([0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x80000000, 0x7F7FFFFF, 0x3F000000]),
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(-(2**63), 2**63 - 1))
def test_wrap32(value):
    assert numerics.wrap32(np.array([value], np.int64)).tolist() == [oracle.wrap32(value)]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(int32s)
def test_saturate8(value):
    assert numerics.saturate8(np.array([value], np.int32)).tolist() == [oracle.saturate8(value)]


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.lists(st.tuples(int32s, int32s, scale_bits), min_size=1, max_size=8), int8s, int8s, int8s)
def test_requantize(lanes, zero, one, other):
    low, high = sorted((one, other))
    acc, bias, bits = (np.array(column, np.int64) for column in zip(*lanes))
    got = numerics.requantize(
        acc.astype(np.int32), bias.astype(np.int32), bits.astype(np.uint32).view(np.float32), zero, low, high
    )
    expected = [oracle.requantize(*lane, zero, low, high) for lane in lanes]
    assert got.dtype == np.int8
    assert got.tolist() == expected


@pytest.mark.parametrize(
    ("acc", "scale", "expected"),
    [(1, 0.5, 0), (3, 0.5, 2), (5, 0.5, 2), (-1, 0.5, 0), (-3, 0.5, -2), (2**24 + 1, 2.0**-18, 64)],
)
def test_rounds_half_to_even_after_float32(acc, scale, expected):
    one = np.array([acc], np.int32)
    got = numerics.requantize(one, np.zeros(1, np.int32), np.array([scale], np.float32), 0, -128, 127)
    assert got.tolist() == [expected]


def test_the_bias_sum_wraps():
    most = np.array([2**31 - 1], np.int32)
    scale = np.array([1.0], np.float32)
    assert numerics.requantize(most, np.array([1], np.int32), scale, 0, -128, 127).tolist() == [-128]


def test_requantize_broadcasts_over_rows():
    acc = np.arange(12, dtype=np.int32).reshape(2, 2, 3)
    got = numerics.requantize(acc, np.array([0, 1, 2], np.int32), np.ones(3, np.float32), -1, -128, 127)
    assert got.tolist() == (acc + np.array([-1, 0, 1])).tolist()
