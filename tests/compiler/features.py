"""What a compiled network makes use of, so that tests can say what they have seen; and networks with any plans."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from accelsim.arch import Arch
from accelsim.compiler import pipeline
from accelsim.compiler import search as searching
from accelsim.compiler.chain import Chain
from accelsim.compiler.constants import tap_parts
from accelsim.compiler.ops import AddOp, DepthwiseOp, Lowered, LrnOp
from accelsim.compiler.plan import ChainPlan, Plan
from accelsim.compiler.search import Found
from accelsim.compiler.stream import View
from accelsim.nn.graph import QConv, QGraph, QLayer, QPool

MANY = 100
"""Plans of a chain among which any one is taken."""


@dataclass
class Watch:
    """What the compiler does while :func:`watched`."""

    lowered: Lowered | None = None
    found: Found | None = None
    cut_windows: int = 0  # windows that a ring begins anew inside
    seen: Counter = field(default_factory=Counter)

    def note(self, graph: QGraph, arch: Arch, batch: int) -> None:
        """Count what the network compiled last makes use of."""
        assert self.found is not None
        assert self.lowered is not None
        used: set[str] = {layer.kind for layer in graph.layers} | {f"batch {batch}", arch.array.dataflow}
        used |= {"several inputs"} if len(graph.inputs) > 1 else set()
        used |= {"several outputs"} if len(graph.outputs) > 1 else set()
        used |= {"window cut by a ring"} if self.cut_windows else set()
        for chain, plan in zip(self.found.placement.chains, self.found.plans):
            used |= set(_of_chain(chain, plan, self.lowered, arch))
            used |= set(_of_plan(chain, plan.plans[chain.ops[0].name]))
            if plan.plans[chain.ops[0].name].packing is None:
                used |= set(_of_vector(chain, plan.plans[chain.ops[0].name]))
        used |= set(_of_parts(self.lowered, self.found)) | {name for layer in graph.layers for name in _of_layer(layer)}
        self.seen.update(used)


@contextmanager
def watched(any_plan: int | None = None):
    """A :class:`Watch` on the compiler. With ``any_plan`` as seed, plans are taken at random, not the best ones."""
    watch, plain, views = Watch(), pipeline.search, View.windows

    def search(lowered, *args):
        watch.lowered, watch.found, watch.cut_windows = lowered, plain(lowered, *args), 0
        return watch.found

    def windows(self, row, rows, window, taps=None):
        made = views(self, row, rows, window, taps)
        low, high = taps or (0, window.kernel[0])
        watch.cut_windows += any(count < high - low for *_, count in made)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "search", search)
        patch.setattr(View, "windows", windows)
        if any_plan is not None:
            patch.setattr(searching, "plan_chain", _any_of(random.Random(any_plan), searching.plan_chain))
        yield watch


def _any_of(rng, plan_chain):
    def plans(chain, *args, keep=1, **options):
        sorts: dict[tuple[str, ...], list[ChainPlan]] = {}
        for plan in plan_chain(chain, *args, keep=MANY, **options):
            sorts.setdefault(tuple(_of_plan(chain, plan.plans[chain.ops[0].name])), []).append(plan)
        if not sorts:
            return []
        plan = rng.choice(rng.choice(list(sorts.values())))
        return [dataclasses.replace(plan, cost=rng.random())]  # so that homes and chains are any, too

    return plans


def _of_chain(chain: Chain, plan: ChainPlan, lowered: Lowered, arch: Arch):
    made = {lowered.root[op.output] for op in chain.ops}
    for level, op in enumerate(chain.ops):
        if isinstance(op, AddOp):
            within = [lowered.root[name] in made for name in op.inputs]
            if level and not all(within):
                side = next(lowered.root[name] for name, own in zip(op.inputs, within) if not own)
                yield "addend from DRAM, by rows" if side in plan.held else "addend in UB"
            yield "add behind" if level else "add leads"
            yield "added to itself" if len(set(op.inputs)) == 1 else "two addends"
        if isinstance(op, LrnOp):
            yield "lrn behind" if level else "lrn leads"
        if isinstance(op, DepthwiseOp):
            yield "depthwise behind" if level else "depthwise leads"
            yield "taps in parts" if len(tap_parts(op, arch)) > 1 else "all taps at once"
    for tensor, rows in plan.held.items():
        yield "ring" if rows < lowered.tensors[tensor].shape[0] else "held whole"
    if chain.batched and not chain.ops[0].batched:
        yield "image layer over the batch"


def _of_layer(layer: QLayer):
    """What windows of a layer are like."""
    if not isinstance(layer, QConv | QPool):
        return
    sort = "convolution" if isinstance(layer, QConv) else "pooling"
    kernel = layer.weights.shape[1:3] if isinstance(layer, QConv) else layer.kernel
    top, bottom, left, right = layer.pads
    if top != bottom or left != right:
        yield f"{sort} with unequal padding"
    if layer.stride[0] > kernel[0] or layer.stride[1] > kernel[1]:
        yield f"{sort} that skips pixels"
    if isinstance(layer, QConv) and max(layer.dilation) > 1 and max(kernel) > 1:
        yield "dilation"
    if layer.kind == "avgpool" and any(layer.pads):
        yield "padding counted" if isinstance(layer, QPool) and layer.count_include_pad else "padding not counted"


def _of_parts(lowered: Lowered, found: Found):
    """How inputs of concatenations come to their channels, and where those lie."""
    homes = found.placement.homes
    for op in lowered.ops:
        if op.output not in lowered.parts:
            continue
        yield "joined in UB" if lowered.root[op.output] in homes else "joined in DRAM"
        if getattr(op, "kind", "") in ("mov", "lut") and not lowered.parts[op.output].observed:
            yield "joined by a copy" if op.table is None else "joined by a copy through a table"
        else:
            yield "joined as it is made" if op.raw == op.output else "joined by a table behind"
    if any(part.whole in lowered.parts for part in lowered.parts.values()):
        yield "joined twice"
    for chain, plan in zip(found.placement.chains, found.plans):
        last = chain.ops[-1]
        if last.output in lowered.parts and lowered.root[last.output] in plan.held:
            yield "joined through a ring"


def _of_vector(chain: Chain, plan: Plan):
    w = chain.ops[0].window
    if plan.channels:
        kind = "depthwise" if isinstance(chain.ops[0], DepthwiseOp) else "pooling"
        yield f"{kind} over parts of the channels"
        yield "last part narrower" if w.in_c % plan.channels else "equal parts"


def _of_plan(chain: Chain, plan: Plan):
    w, packing = chain.ops[0].window, plan.packing
    if plan.cols < w.out_w:
        yield "columns cut"
    if plan.strips_in:
        yield "strips in"
    if plan.strips_out:
        yield "strips out"
    if packing is None:
        return
    blocks = len(packing.blocks)
    if packing.odd:
        yield "gathered"
        yield "gathered, groups" if len(packing.groups) > 1 else "gathered, no groups"
    if packing.side > 1:
        yield "groups side by side"
    if packing.pixels > 1:
        yield "packed columns"
    if packing.parts > 1:
        yield "channel parts"
        yield "channel parts, last one narrower" if w.in_c % packing.channels else "equal channel parts"
    if plan.group < blocks:
        yield "weights stay" if packing.parts == 1 else "channel parts, groups of blocks"
    if plan.strips_out and plan.out_blocks < plan.group:
        yield "strips of one block"
    if plan.together > 1:
        yield "images share weights"
    if len(packing.slabs) > 1:
        yield "slabs"
