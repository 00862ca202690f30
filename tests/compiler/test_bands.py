"""Bands of a normalisation: their products are window sums, whatever the size, the channels and the array."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.bands import band_weights, bands, tiles
from accelsim.compiler.constants import band_form
from accelsim.machine_file import load_arch
from tests.compiler.machines import machines
from tests.compiler.ops import lrn_op


@st.composite
def cases(draw):
    """A window of up to all channels, reaching any way below its own."""
    channels = draw(st.integers(1, 80))
    size = draw(st.integers(1, 12))
    op = lrn_op(channels=channels, size=size)
    return dataclasses.replace(op, before=draw(st.integers(0, size - 1))), draw(machines())


@settings(deadline=None, derandomize=True, max_examples=200)
@given(cases(), st.integers(0, 999))
def test_products_with_bands_are_window_sums(case, seed):
    op, arch = case
    values = np.random.default_rng(seed).integers(-128, 128, op.window.in_c).tolist()
    sums = []
    for band in bands(op, arch):
        weights = band_weights(op, band)
        assert weights.shape == (band.depth, band.count)
        assert band.first == len(sums)
        assert 0 <= band.start <= band.start + band.depth <= op.window.in_c
        assert 1 <= band.count <= arch.array.cols
        sums += (np.array(values[band.start : band.start + band.depth]) @ weights.astype(np.int64)).tolist()
        made = tiles(band, arch)
        assert sum(k * count for k, count in made) == band.depth
        assert all(1 <= k <= min(arch.array.rows, arch.wgt_rows) for k, _ in made)
    wanted = []
    for channel in range(op.window.in_c):
        inside = range(channel - op.before, channel - op.before + op.size)
        wanted.append(sum(value for c, value in enumerate(values) if c in inside))
    assert sums == wanted


@settings(deadline=None, derandomize=True, max_examples=100)
@given(cases())
def test_bands_of_equal_form_have_equal_weights(case):
    op, arch = case
    known = {}
    for band in bands(op, arch):
        weights = band_weights(op, band).tolist()
        assert known.setdefault(band_form(band), weights) == weights


@settings(deadline=None, derandomize=True, max_examples=100)
@given(cases())
def test_no_other_width_streams_fewer_rows(case):
    op, arch = case
    depth = min(arch.array.rows, arch.wgt_rows)
    found = bands(op, arch)
    rows = sum(count for band in found for _, count in tiles(band, arch))
    for width in range(1, min(arch.array.cols, op.window.in_c) + 1):
        blocks = -(-op.window.in_c // width)
        assert rows <= blocks * -(-min(op.window.in_c, width + op.size - 1) // depth)


def test_alexnet_by_hand():
    """Windows of 5 over 96 channels on 16x16: 12 sums from 16 channels, 8 bands."""
    found = bands(lrn_op(channels=96, size=5), load_arch("edge"))
    assert [(band.count, band.depth) for band in found] == [(12, 16)] * 8
    assert [band.start for band in found] == [0, 10, 22, 34, 46, 58, 70, 80]
