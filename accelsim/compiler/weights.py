"""The weights of a matrix operation as WGT holds them, and its bias and scale rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Block, Packing, Slab


def weight_runs(op: MatOp, packing: Packing, block: Block, channel: int = 0) -> NDArray[np.int8]:
    """The weights of one block over ``packing.channels`` channels from ``channel`` on, as (kernel rows, taps, run,
    pixels * count) int8."""
    weights = op.weights[block.first : block.first + block.count, :, :, channel : channel + packing.channels]
    if packing.side > 1:
        weights = _side_by_side(op, packing, block, weights)
    count, rows, cols, channels = weights.shape
    if packing.pixels == 1:  # a view: nothing is copied before the slab is put together
        return weights.transpose(1, 2, 3, 0).reshape(rows, packing.taps, packing.run, count)
    flat = weights.transpose(1, 2, 3, 0).reshape(rows, cols * channels, count)
    runs = np.zeros((rows, 1, packing.run, packing.pixels, count), np.int8)
    step = op.window.stride[1] * channels
    for pixel in range(packing.pixels):
        runs[:, 0, pixel * step : pixel * step + cols * channels, pixel] = flat
    return runs.reshape(rows, 1, packing.run, packing.pixels * count)


def _side_by_side(op: MatOp, packing: Packing, block: Block, weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """The kernels of a block over the channels of several groups: zeros outside each kernel's own group."""
    count, rows, cols, own = weights.shape
    spread = np.zeros((count, rows, cols, packing.channels), np.int8)
    first = block.channel // own
    for index in range(count):
        group = (block.first + index) // (op.window.out_c // op.groups) - first
        spread[index, :, :, group * own : (group + 1) * own] = weights[index]
    return spread


def slab_data(runs: NDArray[np.int8], slab: Slab, odd: int = 0) -> NDArray[np.int8]:
    """The WGT rows of a slab, (slab_rows, lanes) int8, in the order in which gemm consumes them.

    ``odd`` is the packing's: the last bytes of every run, which gathered pieces take.
    """
    lanes = runs.shape[3]
    parts: list[NDArray[np.int8]] = []
    for p in slab:
        part = slice(p.at, p.at + p.k * p.count)
        if p.gathered:
            odds = runs[:, slice(*p.taps), runs.shape[2] - odd :].transpose(1, 0, 2, 3)
            parts.append(odds.reshape(p.taps[1] - p.taps[0], -1, lanes)[:, part].reshape(-1, lanes))
        else:
            parts.append(runs[slice(*p.rows), slice(*p.taps), part].reshape(-1, lanes))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def param_rows(
    op: MatOp, bias: NDArray[np.int32], packing: Packing, block: Block, lanes: int
) -> NDArray[np.uint32]:
    """Bias and scale rows of one block, repeated per packed pixel: uint32 (2, lanes), unused lanes 0."""
    part = slice(block.first, block.first + block.count)
    rows = np.zeros((2, lanes), np.uint32)
    used = packing.pixels * block.count
    rows[0, :used] = np.tile(bias[part].view(np.uint32), packing.pixels)
    rows[1, :used] = np.tile(op.scale[part].astype(np.float32).view(np.uint32), packing.pixels)
    return rows
