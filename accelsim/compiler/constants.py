"""The constants of every operation in DRAM: weight slabs, bands, parameter rows and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.bands import Band, band_weights, bands
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.ops import AddOp, DepthwiseOp, Lowered, LrnOp, MatOp, Op, VecOp, folded_bias, needs_acc
from accelsim.compiler.packing import Packing, narrowed, slab_rows
from accelsim.compiler.plan import Plan
from accelsim.compiler.weights import param_rows, slab_data, weight_runs
from accelsim.nn.shapes import average_scale

Rows = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamGroup:
    """Entries ``first .. first + count`` whose rows are loaded by one instruction; ``rows`` each, ``lanes`` wide."""

    first: int
    count: int
    rows: int
    lanes: int


@lru_cache(maxsize=4096)
def clips(extent: int, count: int, kernel: int, stride: int, pad: int) -> tuple[tuple[int, int, int, int], ...]:
    """Runs of output positions with equal clipping: (first, positions, cut before, cut after)."""
    runs: list[tuple[int, int, int, int]] = []
    for at in range(count):
        start = at * stride - pad
        before, after = max(0, -start), max(0, start + kernel - extent)
        if runs and runs[-1][2:] == (before, after):
            first, length, *_ = runs[-1]
            runs[-1] = (first, length + 1, before, after)
        else:
            runs.append((at, 1, before, after))
    return tuple(runs)


def pixel_counts(op: Op) -> tuple[int, ...]:
    """The distinct numbers of real pixels under the windows of an average pooling, in first use order."""
    if not isinstance(op, VecOp) or op.kind != "avg":
        return ()
    w = op.window
    tall = clips(w.in_h, w.out_h, w.kernel[0], w.stride[0], w.pads[0])
    wide = clips(w.in_w, w.out_w, w.kernel[1], w.stride[1], w.pads[2])
    sides = {(w.kernel[0] - a - b, w.kernel[1] - c - d): None for *_, a, b in tall for *_, c, d in wide}
    return tuple(dict.fromkeys(rows * cols for rows, cols in sides))


def tap_parts(op: DepthwiseOp, arch: Arch) -> list[tuple[int, int, int, int]]:
    """Parts of a depthwise kernel whose weights are loaded at once: (first row, rows, first column, columns).

    The whole kernel if it fits half of PARAM beside its bias and scale, else rows, else single taps.
    """
    rows, cols = op.weights.shape[1:]
    room = max(1, arch.param_rows // 2 - 2)
    if rows * cols <= room:
        return [(0, rows, 0, cols)]
    if cols <= room:
        return [(row, 1, 0, cols) for row in range(rows)]
    return [(row, 1, col, 1) for row in range(rows) for col in range(cols)]


class Constants:
    """Addresses of constants, laid out when they are first asked for, and made with the image."""

    def __init__(self, lowered: Lowered, plans: Mapping[str, Plan], layout: DramLayout, arch: Arch) -> None:
        self._plans, self._layout, self._arch = plans, layout, arch
        self._chunks: dict[tuple[str, int], Packing] = {}
        self._bias = cache(lambda name: folded_bias(ops[name]))  # type: ignore[arg-type]
        ops = {op.name: op for op in lowered.ops}
        for op in lowered.ops:  # all of them now, so that they lie before everything else
            self._store(op)

    def _store(self, op: Op) -> None:
        if isinstance(op, MatOp):
            self._store_weights(op)
        if isinstance(op, LrnOp):
            for band in bands(op, self._arch):
                self.band(op, band)
        if isinstance(op, DepthwiseOp):
            for first in range(0, op.window.out_c, self._arch.array.cols):
                for part in tap_parts(op, self._arch):
                    self.taps(op, first, part)
        if needs_acc(op):
            for group in self.param_groups(op):
                self.params(op, group)
        if op.table is not None or isinstance(op, LrnOp):
            self.table(op)

    def _constant(self, key: tuple[Any, ...], size: int, make: Callable[[], NDArray[Any]]) -> int:
        return self._layout.constant(key, size, make)

    def _store_weights(self, op: MatOp) -> None:
        packing = self.packing(op, 0)
        for b in range(len(packing.blocks)):
            for part in range(packing.parts):
                for i in range(len(self.packing(op, part).slabs)):
                    self.weights(op, b, part, i)

    def packing(self, op: MatOp, part: int) -> Packing:
        """The packing over part ``part`` of the input channels; the last part may be narrower."""
        if (op.name, part) not in self._chunks:
            packing = _packing(self._plans[op.name])
            rest = op.window.in_c // len(packing.groups) - part * packing.channels
            if rest < packing.channels:
                packing = narrowed(op, self._arch, rest, packing.parts)
            self._chunks[op.name, part] = packing
        return self._chunks[op.name, part]

    def weights(self, op: MatOp, b: int, part: int, i: int) -> int:
        """Address of slab ``i`` of block ``b`` over part ``part`` of the channels."""
        key = (op.name, "weights", b, part, i)
        known = self._layout.known(key)
        if known is not None:
            return known
        packing = self.packing(op, part)
        slab, block = packing.slabs[i], packing.blocks[b]
        channel = part * self._plans[op.name].channels

        def make() -> NDArray[Any]:
            return slab_data(weight_runs(op, packing, block, channel), slab, packing.odd)

        return self._constant(key, slab_rows(slab) * packing.pixels * block.count, make)

    def band(self, op: LrnOp, band: Band) -> int:
        """Address of the band's weights, shared by bands of the same form."""
        key = (op.name, "band", *band_form(band))
        return self._constant(key, band.depth * band.count, lambda: band_weights(op, band))

    def table(self, op: Op) -> int:
        """Address of an operation's 256-byte table."""
        table = op.factor if isinstance(op, LrnOp) else op.table
        assert table is not None
        return self._constant((op.name, "table"), 256, lambda: table)

    def param_groups(self, op: Op) -> tuple[ParamGroup, ...]:
        """How an operation's bias and scale rows are loaded: as many pairs at once as a quarter of PARAM holds."""
        if isinstance(op, MatOp):
            packing = _packing(self._plans[op.name])
            total, lanes = len(packing.blocks), packing.lanes
        else:
            lanes = min(self._arch.array.cols, op.window.out_c)
            total = len(pixel_counts(op)) or (2 if isinstance(op, LrnOp) else 1)
        per = max(1, self._arch.param_rows // 8)
        if isinstance(op, DepthwiseOp):  # their taps would drive a common block of rows out of PARAM
            total, per = -(-op.window.out_c // self._arch.array.cols), 1
        return tuple(
            ParamGroup(first=f, count=min(per, total - f), rows=2, lanes=lanes) for f in range(0, total, per)
        )

    def params(self, op: Op, group: ParamGroup) -> int:
        """Address of a group of bias and scale rows."""
        size = 4 * group.rows * group.count * group.lanes
        return self._constant((op.name, "param", group.first), size, lambda: self._param_rows(op, group))

    def taps(self, op: DepthwiseOp, first: int, part: tuple[int, int, int, int]) -> int:
        """Address of a part of the kernels of channels from ``first`` on, a row per tap."""
        row, rows, col, cols = part
        lanes = min(self._arch.array.cols, op.window.out_c - first)

        def make() -> NDArray[Any]:
            kernel = op.weights[first : first + lanes, row : row + rows, col : col + cols]
            return np.ascontiguousarray(kernel.reshape(lanes, -1).T.astype(np.int32)).view(np.uint32)

        return self._constant((op.name, "taps", first, part), 4 * rows * cols * lanes, make)

    def _param_rows(self, op: Op, group: ParamGroup) -> Rows:
        entries = range(group.first, group.first + group.count)
        if isinstance(op, MatOp):
            packing = _packing(self._plans[op.name])
            bias = self._bias(op.name)
            return np.concatenate([param_rows(op, bias, packing, packing.blocks[b], group.lanes) for b in entries])
        return np.concatenate([self._pair(op, entry, group.lanes) for entry in entries])

    def _pair(self, op: Op, entry: int, lanes: int) -> Rows:
        """Bias and scale rows of entry ``entry``, uint32 (2, lanes)."""
        rows = np.zeros((2, lanes), np.uint32)
        bias, scale = rows[0].view(np.int32), rows[1].view(np.float32)
        if isinstance(op, DepthwiseOp):
            part = slice(entry * self._arch.array.cols, min((entry + 1) * self._arch.array.cols, op.window.out_c))
            used = part.stop - part.start
            bias[:used], scale[:used] = self._bias(op.name)[part], op.scale[part]
        elif isinstance(op, AddOp):
            bias[:], scale[:] = op.bias, op.scale
        elif isinstance(op, LrnOp):
            scale[:] = op.scale if entry else op.index_scale
        else:
            assert isinstance(op, VecOp)
            count = pixel_counts(op)[entry]
            divisor = op.window.kernel[0] * op.window.kernel[1] if op.include_pad else count
            bias[:] = np.array([-op.zero_in * count], np.int64).astype(np.uint32).view(np.int32)
            scale[:] = average_scale(op.scale_in, op.scale, np.array([divisor])).astype(np.float32)
        return rows


def _packing(plan: Plan) -> Packing:
    assert plan.packing is not None, "matrix work has a packing"
    return plan.packing


def band_form(band: Band) -> tuple[int, int, int]:
    """Bands of equal form have equal weights."""
    return band.first - band.start, band.count, band.depth
