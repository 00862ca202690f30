"""Packed weights against plain loops: the same convolution, every weight row once, within the scratchpads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.packing import (
    MAX_CHUNKS,
    packings,
    param_rows,
    slab_data,
    slab_rows,
    slabs,
    weight_runs,
)
from tests.compiler.machines import machines
from tests.compiler.ops import mat_op, mat_ops
from tests.isa.strategies import small_arch


def padded_input(op, seed):
    """Random int8 (h, w, c) with a border of zeros, as Python integers."""
    w = op.window
    rng = np.random.default_rng(seed)
    image = np.zeros((w.in_h + w.pads[0] + w.pads[1], w.in_w + w.pads[2] + w.pads[3], w.in_c), np.int64)
    image[w.pads[0] : w.pads[0] + w.in_h, w.pads[2] : w.pads[2] + w.in_w] = rng.integers(
        -128, 128, (w.in_h, w.in_w, w.in_c)
    )
    return image.tolist()


def direct(op, image, row, col, channel):
    """One output sum by the definition of a (grouped, dilated) convolution."""
    w = op.window
    group_in, group_out = w.in_c // op.groups, w.out_c // op.groups
    first = channel // group_out * group_in
    total = 0
    for r in range(w.kernel[0]):
        for s in range(w.kernel[1]):
            pixel = image[row * w.stride[0] + r * w.dilation[0]][col * w.stride[1] + s * w.dilation[1]]
            for c in range(group_in):
                total += pixel[first + c] * int(op.weights[channel, r, s, c])
    return total


def packed(op, packing, block, parts, image, row, col):
    """The sums of ``packing.pixels`` pixels from ``col`` on, as the array makes them: contiguous bytes times rows."""
    w = op.window
    pitch = len(image[0]) * w.in_c
    flat = [value for line in image for pixel in line for value in pixel]
    lanes = packing.pixels * block.count
    sums = [0] * lanes
    for slab, data in parts:
        at = 0
        for piece in slab:
            for r in range(*piece.rows):
                for tap in range(*piece.taps):
                    y, x = row * w.stride[0] + r * w.dilation[0], col * w.stride[1] + tap * w.dilation[1]
                    start = y * pitch + x * w.in_c + block.channel + piece.at
                    for byte in range(piece.k * piece.count):
                        for lane in range(lanes):
                            sums[lane] += flat[start + byte] * int(data[at, lane])
                        at += 1
        assert at == len(data) == slab_rows(slab)
    return sums


def test_packed_weights_compute_the_convolution():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.data())
    def compare(data):
        op, arch = data.draw(mat_ops(max_hw=4, max_c=6)), data.draw(machines())
        choices = packings(op, arch)
        packing = choices[-1 - data.draw(st.integers(0, len(choices) - 1))]
        block = packing.blocks[data.draw(st.integers(0, len(packing.blocks) - 1))]
        runs = weight_runs(op, packing, block)
        parts = [(slab, slab_data(runs, slab)) for slab in slabs(packing, arch)]
        image = padded_input(op, data.draw(st.integers(0, 99)))
        row = data.draw(st.integers(0, op.window.out_h - 1))
        col = data.draw(st.integers(0, op.window.out_w - packing.pixels))
        got = packed(op, packing, block, parts, image, row, col)
        channels = range(block.first, block.first + block.count)
        wanted = [direct(op, image, row, col + pixel, c) for pixel in range(packing.pixels) for c in channels]
        assert got == wanted
        seen[packing.text(op)] += 1
        seen["column"] += packing.pixels > 1
        seen["cut"] += len(parts) > 1
        seen["tail"] += packing.tail > 0

    compare()
    assert min(seen["column"], seen["cut"], seen["tail"], seen["row"], seen["channel"]) >= 5, seen


@settings(deadline=None, derandomize=True, max_examples=200)
@given(mat_ops(), machines())
def test_blocks_and_slabs_cover_everything_once_and_fit(op, arch):
    for packing in packings(op, arch):
        channels = [c for b in packing.blocks for c in range(b.first, b.first + b.count)]
        assert channels == list(range(op.window.out_c))
        assert all(packing.pixels * b.count <= packing.lanes <= arch.array.cols for b in packing.blocks)
        per_group = op.window.out_c // op.groups
        for block in packing.blocks:
            groups = {c // per_group for c in range(block.first, block.first + block.count)}
            assert {block.channel} == {g * op.window.in_c // op.groups for g in groups}
        assert 1 <= packing.k <= min(arch.array.rows, arch.wgt_rows)
        assert 0 <= packing.tail < packing.k
        made = slabs(packing, arch)
        whole = packing.weight_rows * len(packing.blocks) <= arch.wgt_rows
        for slab in made:
            # A slab and the next one fit together, unless a single tile is more than half of WGT.
            limit = arch.wgt_rows if whole else max(packing.k, arch.wgt_rows // 2)
            assert 0 < slab_rows(slab) <= limit
            assert all(piece.k <= packing.k and 1 <= piece.count <= MAX_CHUNKS for piece in slab)
        assert len(made) == 1 or not whole
        visits = Counter(
            (r, tap, byte)
            for slab in made
            for piece in slab
            for r in range(*piece.rows)
            for tap in range(*piece.taps)
            for byte in range(piece.at, piece.at + piece.k * piece.count)
        )
        every = np.ndindex(packing.kernel_rows, packing.taps, packing.run)
        assert visits == Counter(every)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(mat_ops(), machines())
def test_slab_data_is_the_runs_in_the_order_of_the_array(op, arch):
    packing = packings(op, arch)[-1]
    runs = weight_runs(op, packing, packing.blocks[-1])
    assert runs.shape == (
        packing.kernel_rows, packing.taps, packing.run, packing.pixels * packing.blocks[-1].count
    )  # fmt: skip
    for slab in slabs(packing, arch):
        data = slab_data(runs, slab)
        wanted = [
            runs[r, tap, byte].tolist()
            for piece in slab
            for r in range(*piece.rows)
            for tap in range(*piece.taps)
            for byte in range(piece.at, piece.at + piece.k * piece.count)
        ]
        assert data.tolist() == wanted


def test_toeplitz_weights_by_hand():
    """Two outputs, kernel 1x2, stride 1, two pixels: three bytes a run, each pixel's weights shifted by one."""
    op = mat_op(height=1, width=5, channels=1, out=2, kernel=(1, 2))
    (a0, a1), (b0, b1) = op.weights.reshape(2, 2).tolist()
    packing = packings(op, arch_of(4))[1]
    assert (packing.pixels, packing.run, packing.text(op)) == (2, 3, "row+column x2")
    runs = weight_runs(op, packing, packing.blocks[0])
    assert runs.reshape(3, 4).tolist() == [[a0, b0, 0, 0], [a1, b1, a0, b0], [0, 0, a1, b1]]


@pytest.mark.parametrize(
    ("options", "count", "text"),
    [
        ({"out": 3}, 5, "row+column x5"),  # 16 // 3
        ({"out": 16}, 1, "row"),
        ({"out": 3, "dilation": (2, 1)}, 5, "row+column x5"),  # rows may be apart
        ({"out": 3, "dilation": (1, 2)}, 1, "channel"),
        ({"out": 4, "channels": 4, "groups": 2}, 1, "channel"),
    ],
)
def test_which_convolutions_pack_columns(options, count, text):
    op = mat_op(**{"height": 12, "width": 12, "channels": 2, "kernel": (3, 3), **options})
    found = packings(op, arch_of(16))
    assert len(found) == count
    assert found[-1].text(op) == text


def test_a_fully_connected_layer_packs_its_whole_input():
    op = mat_op(height=1, width=4, channels=400, out=120, batched=True)
    (packing,) = packings(op, arch_of(16))
    assert (packing.k, packing.chunks, packing.tail, len(packing.blocks)) == (16, 25, 0, 8)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(mat_ops(), machines(), st.integers(0, 5))
def test_param_rows(op, arch, spare):
    for packing in packings(op, arch):
        for block in packing.blocks:
            lanes = packing.pixels * block.count + spare
            rows = param_rows(op, packing, block, lanes)
            assert rows.shape == (2, lanes)
            for lane in range(lanes):
                used = lane < packing.pixels * block.count
                channel = block.first + lane % block.count
                bias = int(op.bias[channel]) if used else 0
                scale = op.scale[channel] if used else np.float32(0)
                assert rows[0, lane] == bias % 2**32
                assert rows[1, lane].tobytes() == np.float32(scale).tobytes()


def arch_of(size):
    return small_arch(size, size, ub=65536, wgt_rows=4096, acc_rows=1024, param_rows=64)
