"""The constants of every operation in DRAM: weight pieces, bias and scale rows, tables, in the order of their use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.ops import MatOp, Op, VecOp
from accelsim.compiler.packing import param_rows, slab_data, slabs, weight_runs
from accelsim.compiler.tile import Plan
from accelsim.nn.graph import average_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamGroup:
    """Blocks ``first .. first + count`` whose bias and scale rows are loaded by one instruction."""

    first: int
    count: int
    lanes: int


def param_groups(op: Op, plan: Plan, arch: Arch) -> tuple[ParamGroup, ...]:
    """As many blocks per load as half of PARAM holds; average pooling has one block per distinct pixel count."""
    if isinstance(op, MatOp):
        assert plan.packing is not None
        total, lanes = len(plan.packing.blocks), plan.packing.lanes
    else:
        total, lanes = len(pixel_counts(op)), min(arch.array.cols, op.window.out_c)
    per = max(1, arch.param_rows // 4)
    return tuple(ParamGroup(first=f, count=min(per, total - f), lanes=lanes) for f in range(0, total, per))


def clips(extent: int, count: int, kernel: int, stride: int, pad: int) -> list[tuple[int, int, int, int]]:
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
    return runs


def pixel_counts(op: Op) -> tuple[int, ...]:
    """The distinct numbers of real pixels under the windows of an average pooling, in first use order."""
    if not isinstance(op, VecOp) or op.kind != "avg":
        return ()
    w = op.window
    tall = clips(w.in_h, w.out_h, w.kernel[0], w.stride[0], w.pads[0])
    wide = clips(w.in_w, w.out_w, w.kernel[1], w.stride[1], w.pads[2])
    counts = [(w.kernel[0] - a - b) * (w.kernel[1] - c - d) for *_, a, b in tall for *_, c, d in wide]
    return tuple(dict.fromkeys(counts))


def store_constants(ops: Sequence[Op], plans: Mapping[str, Plan], layout: DramLayout, arch: Arch) -> None:
    """Put every constant of every operation into the DRAM image."""
    for op in ops:
        plan = plans[op.name]
        if isinstance(op, MatOp):
            _store_weights(op, plan, layout, arch)
        if isinstance(op, MatOp) or pixel_counts(op):
            for group in param_groups(op, plan, arch):
                layout.constant((op.name, "param", group.first), _param_rows(op, plan, group))
        if op.table is not None:
            layout.constant((op.name, "table"), op.table)


def _store_weights(op: MatOp, plan: Plan, layout: DramLayout, arch: Arch) -> None:
    packing = plan.packing
    assert packing is not None
    for b, block in enumerate(packing.blocks):
        runs = weight_runs(op, packing, block)
        for i, slab in enumerate(slabs(packing, arch)):
            layout.constant((op.name, "weights", b, i), slab_data(runs, slab))


def _param_rows(op: Op, plan: Plan, group: ParamGroup) -> np.ndarray:
    if isinstance(op, MatOp):
        packing = plan.packing
        assert packing is not None
        blocks = packing.blocks[group.first : group.first + group.count]
        return np.concatenate([param_rows(op, packing, block, group.lanes) for block in blocks])
    assert isinstance(op, VecOp)
    rows = np.zeros((2 * group.count, group.lanes), np.uint32)
    area = op.window.kernel[0] * op.window.kernel[1]
    for i, count in enumerate(pixel_counts(op)[group.first : group.first + group.count]):
        divisor = area if op.include_pad else count
        scale = average_scale(op.scale_in, op.scale, np.array([divisor]))
        rows[2 * i] = np.array([-op.zero_in * count], np.int32).view(np.uint32)
        rows[2 * i + 1] = scale.astype(np.float32).view(np.uint32)
    return rows
