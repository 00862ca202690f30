"""The order of passes on one page: lower, place and tile, schedule, sync, order, emit, check."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.cache import Cache, key_of
from accelsim.compiler.aim import CYCLES, Aim
from accelsim.compiler.capacity import check_capacity
from accelsim.compiler.draft import Draft, Drafts, Energy, Evaluate, Judge, emitter_of
from accelsim.compiler.dump import report_stages
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.lower import lower
from accelsim.compiler.ops import Lowered, MatOp, Op
from accelsim.compiler.plan import Plan
from accelsim.compiler.search import Found, aimed, search
from accelsim.compiler.store import dump_plans, load_plans, structure
from accelsim.errors import AccelsimError
from accelsim.isa.check import check_program
from accelsim.isa.program import DramRegion, Program
from accelsim.nn.graph import QGraph

Observer = Callable[[str, str], None]
"""Called with a stage's name and its text form."""

@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A checked program and how its layers were packed (by layer name)."""

    program: Program
    packing: dict[str, str]
    fused: dict[str, str]


def compile_network(
    graph: QGraph,
    arch: Arch,
    *,
    batch: int = 1,
    aim: Aim = CYCLES,
    evaluate: Evaluate | None = None,
    energy: Energy | None = None,
    observe: Observer | None = None,
    cache: Cache | None = None,
    time_only: bool = False,
) -> Compiled:
    """Compile ``batch`` images of a quantised network for a machine.

    ``aim`` is what plans are ranked by. ``evaluate`` gives the cycles of a program; with it, the best few plans are
    compared where the closed form leaves something to be won, and by their ``energy`` if that is aimed at. ``cache``
    keeps plans for later runs. ``time_only`` leaves out constants and the check: such a program takes the same time but
    cannot compute values. Raises GraphError for a layer that cannot be done, CapacityError when one does not fit.
    """
    lowered = lower(graph, batch)
    check_capacity(lowered, arch)
    drafts = Drafts.of(lowered, arch)
    found = _plans(drafts, aim, Judge(evaluate, energy) if evaluate is not None else None, cache)
    compiled = _emit(lowered, found, drafts, arch, constants=not time_only)
    if not time_only:
        _check(compiled.program, arch)
    if observe is not None:
        report_stages(observe, lowered, found, compiled.program, arch, aim)
    return compiled


def _check(program: Program, arch: Arch) -> None:
    """The user is not to blame for a program that this compiler made."""
    try:
        check_program(program, arch)
    except AccelsimError as error:
        raise RuntimeError(f"the compiler made an invalid program: {error}") from error


def _plans(drafts: Drafts, aim: Aim, judge: Judge | None, cache: Cache | None) -> Found:
    """Plans from the cache, or new ones."""
    key, lowered, arch = "", drafts.lowered, drafts.arch
    if cache is not None:
        machine = json.dumps(arch.to_dict() | {"name": ""}, sort_keys=True)
        key = key_of("plan", (structure(lowered), machine, repr(aim), str(judge is not None)))
        text = cache.read(key)
        found = load_plans(text, lowered, arch) if text is not None else None
        if found is not None:
            return Found(*found)
    aim = aimed(lowered, arch, aim)
    found = search(lowered, arch, aim, (lambda each: drafts.costs(each, judge)) if judge is not None else None)
    if cache is not None:
        cache.write(key, dump_plans(found.placement, found.plans))
    return found


def _emit(lowered: Lowered, found: Found, drafts: Drafts, arch: Arch, *, constants: bool) -> Compiled:
    draft, image = drafts.get(found.placement, found.plans, None), np.zeros(0, np.uint8)
    if constants:
        layout = DramLayout(align=max(64, arch.dram.burst_bytes))
        emitter_of(lowered, found.placement, found.plans, layout, arch)
        assert layout.size == draft.dram_bytes, "constants and tensors have their places before there are instructions"
        image = layout.image()
    program = _program(lowered, draft, arch, image)
    plans = {name: plan for chain in found.plans for name, plan in chain.plans.items()}
    packing = {op.layer: _packing_text(op, plans[op.name]) for op in reversed(lowered.ops)}
    return Compiled(program=program, packing=packing, fused=lowered.fused)


def _packing_text(op: Op, plan: Plan) -> str:
    return plan.packing.text(op) if isinstance(op, MatOp) and plan.packing is not None else "vector"


def _program(lowered: Lowered, draft: Draft, arch: Arch, image: NDArray[np.uint8]) -> Program:
    order, stream = draft.order(arch), draft.stream
    place_of = {old: new for new, old in enumerate(order)}
    number = {name: i for i, name in enumerate(lowered.layers)}
    last = len(lowered.layers) - 1
    return Program(
        instructions=draft.instructions(order),
        image=image,
        dram_bytes=draft.dram_bytes,
        regions=_regions(lowered, draft.dram),
        layers=lowered.layers,
        layer_of=(*(number[stream.layers[i]] for i in order), last),
        tile_of=(*(stream.tiles[i] for i in order), "end"),
        probes=tuple(replace(p, index=place_of[p.index]) for p in stream.probes),
        shape_hash=arch.shape_hash,
        full_hash=arch.full_hash,
        meta={"batch": lowered.batch},
    ).with_tasks(arch, draft.ordered_tasks(order))


def _regions(lowered: Lowered, tensors: dict[str, int]) -> tuple[DramRegion, ...]:
    regions: list[DramRegion] = []
    for name, address in tensors.items():
        tensor = lowered.tensors[name]
        role = "input" if name in lowered.inputs else "output" if name in lowered.outputs else "scratch"
        regions.append(
            DramRegion(
                name=name,
                role=role,
                dtype="int8",
                shape=(lowered.batch, *tensor.shape),
                address=address,
                scale=float(tensor.scale),
                zero=tensor.zero,
            )
        )
    return tuple(regions)
