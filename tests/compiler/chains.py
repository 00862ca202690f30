"""Random chains of operations, and ways to cut the first one."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from accelsim.compiler.chain import Chain
from accelsim.compiler.ops import Lowered, MatOp
from accelsim.compiler.packing import narrowed, packings
from accelsim.compiler.plan import Plan
from tests.compiler.ops import add_op, chain_with, depthwise_op, lrn_op, mat_op, pool_op, table_op
from tests.isa.strategies import small_arch

BEHIND = ("max", "avg", "depthwise", "lrn", "add", "table")


@st.composite
def chains(
    draw: st.DrawFn, kinds=BEHIND, most: int = 4, size: int = 9, lrn_leads: bool = False
) -> tuple[Chain, Lowered]:
    """A convolution or a pooling (or a normalisation), and up to ``most`` layers behind it."""
    side = st.integers(3, size)
    shape = {"height": draw(side), "width": draw(side), "channels": draw(st.integers(1, 5))}
    if lrn_leads:
        ops = [table_op(**shape, name="squares", observed=False)]
        ops.append(lrn_op(**shape, name="head", inputs=("x", "squares.out")))
    elif draw(st.integers(0, 3)):
        pads = draw(st.sampled_from(((0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 2))))
        ops = [mat_op(**shape, out=draw(st.integers(1, 9)), kernel=(3, 3), pads=pads, name="head")]
    else:
        ops = [pool_op(**shape, name="head", stride=(1, 1))]
    for number in range(draw(st.integers(1, most))):
        _follow(draw, ops, draw(st.sampled_from(kinds)), f"n{number}")
    return chain_with(*ops)


def _follow(draw: st.DrawFn, ops: list, kind: str, name: str) -> None:
    w = ops[-1].window
    last, same = ops[-1].output, {"height": w.out_h, "width": w.out_w, "channels": w.out_c}
    if kind == "table":
        ops.append(table_op(name=name, inputs=(last,), **same))
    elif kind == "lrn":
        ops.append(table_op(name=f"{name}s", inputs=(last,), observed=False, **same))
        ops.append(lrn_op(name=name, inputs=(last, f"{name}s.out"), **same))
    elif kind == "add":
        shape = (w.out_h, w.out_w, w.out_c)
        others = [op.output for op in ops if (op.window.out_h, op.window.out_w, op.window.out_c) == shape]
        ops.append(add_op(name=name, inputs=(last, draw(st.sampled_from([*others, f"{name}.in"]))), **same))
    else:
        kernel = (min(w.out_h, draw(st.integers(1, 3))), min(w.out_w, draw(st.integers(1, 3))))
        pads = [min(draw(st.integers(0, 2)), size - 1) for size in (kernel[0], kernel[0], kernel[1], kernel[1])]
        more = {"kernel": kernel, "stride": (draw(st.integers(1, 2)), draw(st.integers(1, 2))), "pads": tuple(pads)}
        if kind == "depthwise":
            ops.append(depthwise_op(name=name, inputs=(last,), **same, **more))
        else:
            ops.append(pool_op(name=name, inputs=(last,), kind=kind, **same, **more))


@st.composite
def cuts(draw: st.DrawFn, chain: Chain) -> tuple[Plan, list[int]]:
    """A plan of the first operation, with any group of blocks or partial reduction, and rows at a time of all."""
    head, w = chain.ops[0], chain.ops[0].window
    plan = Plan(rows=draw(st.integers(1, w.out_h)), cols=draw(st.integers(1, w.out_w)))
    if isinstance(head, MatOp):
        arch = small_arch(4, draw(st.integers(1, 4)), ub=4096, wgt_rows=64, acc_rows=512, param_rows=64)
        packing = packings(head, arch)[0]
        if w.in_c > 1 and draw(st.booleans()):
            packing = narrowed(head, arch, draw(st.integers(1, w.in_c - 1)))
        group = draw(st.integers(1, len(packing.blocks)))
        plan = dataclasses.replace(plan, packing=packing, group=group, channels=packing.channels)
    return plan, [plan.rows, *(draw(st.integers(1, op.window.out_h)) for op in chain.ops[1:])]
