"""Packed weights against plain loops: the same convolution, every weight row once, within the scratchpads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.ops import folded_bias
from accelsim.compiler.packing import MAX_CHUNKS, narrowed, packings, slab_rows
from accelsim.compiler.weights import param_rows, slab_data, weight_runs
from tests.compiler.machines import machines
from tests.compiler.ops import mat_op, mat_ops
from tests.isa.strategies import small_arch


@st.composite
def packed_cases(draw, arch, **sizes):
    """(operation, packing, first channel of the strip): every packing, and parts of the input channels."""
    op = draw(st.one_of(mat_ops(**sizes), tall_ops()))
    if op.groups == 1 and op.window.in_c > 1 and draw(st.integers(0, 2)) == 0:
        channels = draw(st.integers(1, op.window.in_c - 1))
        part = draw(st.integers(0, op.window.in_c // channels - 1))
        return op, narrowed(op, arch, channels), part * channels
    choices = packings(op, arch)
    return op, choices[-1 - draw(st.sampled_from([0, 0, *range(len(choices))]))], 0


@st.composite
def tall_ops(draw):
    """Several kernel rows without dilation: odd bytes can be gathered."""
    groups = draw(st.sampled_from((1, 1, 2)))
    kernel = (draw(st.integers(2, 4)), draw(st.integers(1, 3)))
    return mat_op(
        height=draw(st.integers(4, 7)), width=draw(st.integers(3, 6)), channels=groups * draw(st.integers(1, 7)),
        out=groups * draw(st.integers(1, 3)), groups=groups, kernel=kernel, stride=(draw(st.integers(1, 2)), 1),
        pads=(0, 1, draw(st.integers(0, 1)), 0), seed=draw(st.integers(0, 99)),
    )  # fmt: skip


def padded_input(op, seed):
    """Random int8 (h, w, c) with a border of zeros, as Python integers."""
    w = op.window
    rng = np.random.default_rng(seed)
    image = np.zeros((w.in_h + w.pads[0] + w.pads[1], w.in_w + w.pads[2] + w.pads[3], w.in_c), np.int64)
    image[w.pads[0] : w.pads[0] + w.in_h, w.pads[2] : w.pads[2] + w.in_w] = rng.integers(
        -128, 128, (w.in_h, w.in_w, w.in_c)
    )
    return image


def direct(op, image, row, col, channel, inputs):
    """One output sum over the input channels ``inputs`` of its group, by the definition of a convolution."""
    w = op.window
    group_in, group_out = w.in_c // op.groups, w.out_c // op.groups
    first = channel // group_out * group_in
    total = 0
    for r in range(w.kernel[0]):
        for s in range(w.kernel[1]):
            pixel = image[row * w.stride[0] + r * w.dilation[0], col * w.stride[1] + s * w.dilation[1]]
            for c in inputs:
                total += int(pixel[first + c]) * int(op.weights[channel, r, s, c])
    return total


def order(packing, slab):
    """(kernel row, tap, byte of the run) of every WGT row of a slab, as the array consumes them."""
    for piece in slab:
        whole = range(piece.at, piece.at + piece.k * piece.count)
        if piece.gathered:  # of all kernel rows, the odd bytes one row after the other
            assert piece.rows == (0, packing.kernel_rows)
            for tap in range(*piece.taps):
                for r, odd in (divmod(byte, packing.odd) for byte in whole):
                    yield r, tap, packing.run - packing.odd + odd
        else:
            for r in range(*piece.rows):
                for tap in range(*piece.taps):
                    for byte in whole:
                        yield r, tap, byte


def packed(op, packing, block, parts, strip, row, col):
    """The sums of ``packing.pixels`` pixels from ``col`` on, as the array makes them: contiguous bytes times rows."""
    w = op.window
    _, wide, held = strip.shape
    flat = strip.reshape(-1)
    sums = np.zeros(packing.pixels * block.count, np.int64)
    for slab, data in parts:
        steps = list(order(packing, slab))
        assert len(steps) == len(data) == slab_rows(slab)
        for (r, tap, byte), weights in zip(steps, data.astype(np.int64)):
            y, x = row * w.stride[0] + r * w.dilation[0], col * w.stride[1] + tap * w.dilation[1]
            channel = block.channel if op.groups > 1 else 0
            sums += flat[(y * wide + x) * held + channel + byte] * weights
    return sums.tolist()


def test_packed_weights_compute_the_convolution():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.data())
    def compare(data):
        arch = data.draw(machines())
        op, packing, first = data.draw(packed_cases(arch, max_hw=4, max_c=8))
        block = packing.blocks[data.draw(st.integers(0, len(packing.blocks) - 1))]
        runs = weight_runs(op, packing, block, first)
        parts = [(slab, slab_data(runs, slab, packing.odd)) for slab in packing.slabs]
        image = padded_input(op, data.draw(st.integers(0, 99)))
        strip = image[:, :, first : first + packing.channels] if op.groups == 1 else image
        row = data.draw(st.integers(0, op.window.out_h - 1))
        col = data.draw(st.integers(0, op.window.out_w - packing.pixels))
        got = packed(op, packing, block, parts, strip, row, col)
        inputs = range(first, first + packing.channels) if op.groups == 1 else range(op.window.in_c // op.groups)
        wanted = [
            direct(op, image, row, col + pixel, channel, inputs)
            for pixel in range(packing.pixels)
            for channel in range(block.first, block.first + block.count)
        ]
        assert got == wanted
        seen[packing.text(op).split()[0]] += 1
        seen["cut"] += len(parts) > 1
        seen["tail"] += packing.tail > 0
        seen["part"] += packing.parts > 1
        seen["odd, groups"] += packing.odd > 0 and len(packing.groups) > 1
        seen["side"] += packing.side > 1
        seen["side, joined"] += packing.side == op.groups > 1

    compare()
    kinds = ("row", "channel", "row+column", "row+gather", "row+im2col", "cut", "tail", "part", "odd, groups", "side")
    assert min(seen[kind] for kind in kinds) >= 5, seen


def test_blocks_and_slabs_cover_everything_once_and_fit():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.data())
    def check(data):
        arch = data.draw(machines())
        op, packing, _ = data.draw(packed_cases(arch))
        channels = [c for b in packing.blocks for c in range(b.first, b.first + b.count)]
        assert channels == list(range(op.window.out_c))
        assert all(packing.pixels * b.count <= packing.lanes <= arch.array.cols for b in packing.blocks)
        per_group = op.window.out_c // op.groups
        for block in packing.blocks:
            groups = {c // per_group // packing.side for c in range(block.first, block.first + block.count)}
            assert {block.channel} == {g * packing.side * op.window.in_c // op.groups for g in groups}
        deepest = min(arch.array.rows, arch.wgt_rows)
        assert 1 <= packing.k <= deepest
        assert 0 <= packing.tail < packing.k
        assert packing.parts == -(-op.window.in_c // len(packing.groups) // packing.channels)
        whole = packing.weight_rows * packing.parts * len(packing.blocks) <= arch.wgt_rows
        for slab in packing.slabs:
            # A slab and the next one fit together, unless a single tile is more than half of WGT.
            limit = arch.wgt_rows if whole else max(packing.k, arch.wgt_rows // 2)
            assert 0 < slab_rows(slab) <= limit
            assert all(1 <= piece.k <= deepest and 1 <= piece.count <= MAX_CHUNKS for piece in slab)
        assert len(packing.slabs) == 1 or not whole
        visits = Counter(step for slab in packing.slabs for step in order(packing, slab))
        assert visits == Counter(np.ndindex(packing.kernel_rows, packing.taps, packing.run))
        made = Counter((piece.tiles, piece.k) for slab in packing.slabs for piece in slab)
        assert made == {(tiles, k): count for count, tiles, k in packing.gemms}
        seen.update({"whole": whole, "slabs": len(packing.slabs) > 1, "gathered": packing.odd > 0})

    check()
    assert min(seen.values()) > 20, seen


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_slab_data_is_the_runs_in_the_order_of_the_array(data):
    arch = data.draw(machines())
    op, packing, first = data.draw(packed_cases(arch))
    runs = weight_runs(op, packing, packing.blocks[-1], first)
    assert runs.shape == (
        packing.kernel_rows, packing.taps, packing.run, packing.pixels * packing.blocks[-1].count
    )  # fmt: skip
    for slab in packing.slabs:
        wanted = [runs[step].tolist() for step in order(packing, slab)]
        assert slab_data(runs, slab, packing.odd).tolist() == wanted


def test_toeplitz_weights_by_hand():
    """Two outputs, kernel 1x2, stride 1, two pixels: three bytes a run, each pixel's weights shifted by one."""
    op = mat_op(height=1, width=5, channels=1, out=2, kernel=(1, 2))
    (a0, a1), (b0, b1) = op.weights.reshape(2, 2).tolist()
    packing = packings(op, arch_of(4))[1]
    assert (packing.pixels, packing.run, packing.text(op)) == (2, 3, "row+column x2")
    runs = weight_runs(op, packing, packing.blocks[0])
    assert runs.reshape(3, 4).tolist() == [[a0, b0, 0, 0], [a1, b1, a0, b0], [0, 0, a1, b1]]


def test_gathered_bytes_by_hand():
    """AlexNet's first layer on 16 rows: two whole tiles of each run of 33 bytes, and the odd byte of all 11 rows."""
    op = mat_op(height=27, width=27, channels=3, out=20, kernel=(11, 11), stride=(4, 4))
    packing = packings(op, arch_of(16))[-1]
    assert (packing.run, packing.odd, packing.k, packing.chunks, packing.tail) == (33, 1, 16, 2, 0)
    assert packing.text(op) == "row+gather 1"
    assert sum(piece.tiles for slab in packing.slabs for piece in slab) == 11 * 2 + 1  # instead of 11 * 3


COLUMNS = ["row", *(f"row+column x{pixels}" for pixels in range(2, 6))]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"out": 3}, [*COLUMNS, "row+im2col"]),  # 16 // 3; runs of 6 bytes: all are odd
        ({"out": 16}, ["row", "row+im2col"]),
        ({"out": 3, "dilation": (2, 1)}, COLUMNS),  # rows may be apart
        ({"out": 3, "dilation": (1, 2)}, ["channel"]),
        (
            {"out": 4, "channels": 4, "groups": 2},
            ["channel", "channel+im2col", *(name.replace("row", "row 2 groups") for name in COLUMNS[:4])],
        ),
        ({"out": 32, "channels": 64, "groups": 4}, ["channel", "channel 2 groups"]),  # 16 // 8
        ({"out": 16, "channels": 6}, ["row", "row+gather 2"]),  # 18 = 16 + 2
        ({"out": 16, "channels": 5}, ["row"]),  # three times 15 bytes take three tiles, one way or the other
        ({"out": 16, "channels": 16}, ["row"]),  # no byte is odd
    ],
)
def test_which_packings_there_are(options, found):
    op = mat_op(**{"height": 12, "width": 12, "channels": 2, "kernel": (3, 3), **options})
    assert [packing.text(op) for packing in packings(op, arch_of(16))] == found


def test_a_fully_connected_layer_packs_its_whole_input():
    op = mat_op(height=1, width=4, channels=400, out=120, batched=True)
    (packing,) = packings(op, arch_of(16))
    assert (packing.k, packing.chunks, packing.tail, len(packing.blocks)) == (16, 25, 0, 8)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(mat_ops(), machines(), st.integers(0, 5))
def test_param_rows(op, arch, spare):
    bias = folded_bias(op)
    for packing in packings(op, arch):
        for block in packing.blocks:
            lanes = packing.pixels * block.count + spare
            rows = param_rows(op, bias, packing, block, lanes)
            assert rows.shape == (2, lanes)
            for lane in range(lanes):
                used = lane < packing.pixels * block.count
                channel = block.first + lane % block.count
                scale = op.scale[channel] if used else np.float32(0)
                assert rows[0, lane] == (int(bias[channel]) % 2**32 if used else 0)
                assert rows[1, lane].tobytes() == np.float32(scale).tobytes()


@settings(deadline=None, derandomize=True, max_examples=50)
@given(mat_ops())
def test_the_folded_bias_takes_the_zero_point_out(op):
    for channel, bias in enumerate(folded_bias(op).tolist()):
        total = sum(int(weight) for weight in op.weights[channel].reshape(-1))
        assert (bias - (int(op.bias[channel]) - op.zero_in * total)) % 2**32 == 0


def arch_of(size):
    return small_arch(size, size, ub=65536, wgt_rows=4096, acc_rows=1024, param_rows=64)
