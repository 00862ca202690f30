"""What was chosen for every operation and why, in words, for people who look at a run."""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.arch import Arch
from accelsim.compiler.aim import Aim
from accelsim.compiler.chain import Chain
from accelsim.compiler.ops import DepthwiseOp, Lowered, MatOp, Op
from accelsim.compiler.packing import Packing
from accelsim.compiler.plan import ChainPlan, Plan, Room
from accelsim.compiler.search import Found
from accelsim.compiler.tile import best_by_packing

_LISTED = 2  # packings that are named beside the chosen one


def choice_lines(lowered: Lowered, found: Found, arch: Arch, aim: Aim) -> list[str]:
    """``LAYER: sentence`` for every operation: packing, tiles, where its tensors lie, and the best alternatives."""
    lines: list[str] = []
    placement = found.placement
    for chain, plan, room in zip(placement.chains, found.plans, placement.rooms):
        lines += _chain_lines(chain, plan, lowered)
        head = chain.ops[0]
        if isinstance(head, MatOp):
            whole = Room(on_chip=frozenset(placement.homes), ub_bytes=room.ub_bytes)
            lines += _alternatives(chain, plan, lowered, arch, whole, aim)
    return lines


def _chain_lines(chain: Chain, plan: ChainPlan, lowered: Lowered) -> Iterator[str]:
    for level, op in enumerate(chain.ops):
        own = plan.plans[op.name]
        if level == 0:
            yield f"{op.layer}: {_tiles(op, own)}"
            yield from (f"{op.layer}: {text}" for text in _strips(own))
        elif op.layer != chain.ops[level - 1].layer:
            rows = f"{own.rows} row{'s' if own.rows > 1 else ''}"
            yield f"{op.layer}: follows {chain.ops[0].layer} strip by strip, {rows} at a time, without leaving the chip"
        if isinstance(op, MatOp) and own.packing is not None:
            yield f"{op.layer}: {_packing(op, own.packing)}"
        elif isinstance(op, DepthwiseOp):
            yield f"{op.layer}: on the vector unit, a channel a lane; on the array a channel would fill one column"


def _tiles(op: Op, plan: Plan) -> str:
    w = op.window
    count = -(-w.out_h // plan.rows) * -(-w.out_w // plan.cols)
    if op.batched:  # a fully connected layer: a pixel is an image's vector
        whole, part = f"the vectors of {w.out_w} images", f"{plan.cols} of the vectors of {w.out_w} images"
    else:
        whole = f"its {w.out_h}x{w.out_w} output pixels"
        part = f"{plan.rows}x{plan.cols} of {whole}"
    if w.out_h * w.out_w == 1:
        text = "one vector of outputs" if op.batched else "one output pixel"
    else:
        text = f"{whole} in one tile" if count == 1 else f"{count} tiles of {part}"
    if plan.packing is None:
        return text
    blocks = len(plan.packing.blocks)
    if blocks > 1 and plan.group < blocks:
        text += f"; {plan.group} of {blocks} blocks of channels over all tiles before the next ones"
    elif blocks > 1 and count > 1:
        text += f"; all {blocks} blocks of channels of a tile before the next tile"
    elif blocks > 1:
        text += f"; {blocks} blocks of channels one after the other"
    return text + (f"; weights are shared by {plan.together} images" if plan.together > 1 else "")


def _strips(plan: Plan) -> Iterator[str]:
    held = {1: "one strip in UB: every tile waits for its own", 2: "two strips in UB: one loads while one is used"}
    if plan.strips_in:
        yield f"its input comes from DRAM in strips of {plan.strip_in_bytes:,} B, {held[plan.strips_in]}"
    if plan.strips_out:
        yield f"its output leaves to DRAM in strips of {plan.strip_out_bytes:,} B"


def _packing(op: MatOp, packing: Packing) -> str:
    text = f"packing {packing.text(op)}: {packing.run:,} contiguous bytes "
    if op.window.kernel == (1, 1):
        text += "of a vector" if op.batched else "of a pixel"
    else:
        text += "under a whole kernel row" if packing.taps == 1 else "under each kernel column"
    if packing.pixels > 1:
        text += f" of {packing.pixels} neighbouring windows"
    pieces = [f"{packing.chunks} x {packing.k}"] if packing.chunks else []
    pieces += [f"{packing.tail}"] if packing.tail else []
    pieces += [f"{packing.odd} gathered by the vector unit"] if packing.odd else []
    text += f" as {' + '.join(pieces)}"
    text += f"; {packing.lanes} columns used by a full block"
    return text + (f"; reduced in {packing.parts} parts of {packing.channels} channels" if packing.parts > 1 else "")


def _alternatives(
    chain: Chain, plan: ChainPlan, lowered: Lowered, arch: Arch, room: Room, aim: Aim
) -> Iterator[str]:
    """How much dearer the best plans with other packings are, by the closed form."""
    head = chain.ops[0]
    chosen = plan.plans[head.name].packing
    assert isinstance(head, MatOp)
    assert chosen is not None
    ranked = best_by_packing(chain, lowered, arch, room, aim)
    mine = ranked.get(chosen.text(head))
    if not mine:
        return
    others = [f"{name} {cost / mine:.2f}x" for name, cost in ranked.items() if name != chosen.text(head)]
    if others:
        yield f"{head.layer}: other packings, by the closed form: {', '.join(others[:_LISTED])}"
