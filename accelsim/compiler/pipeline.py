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
from accelsim.compiler.constants import Constants
from accelsim.compiler.dump import report_stages
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.lower import lower
from accelsim.compiler.ops import Lowered, MatOp, Op
from accelsim.compiler.order import program_order
from accelsim.compiler.place import Placement
from accelsim.compiler.plan import ChainPlan, Plan
from accelsim.compiler.schedule import run_chain, schedule
from accelsim.compiler.search import Cost, Found, aimed, search
from accelsim.compiler.store import dump_plans, load_plans, structure
from accelsim.compiler.stream import Stream
from accelsim.compiler.sync import Edges, find_edges, with_tokens
from accelsim.errors import AccelsimError
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Halt, Instr
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Unit
from accelsim.nn.graph import QGraph

Observer = Callable[[str, str], None]
"""Called with a stage's name and its text form."""

Evaluate = Callable[[Program], int]
"""The cycles of a program, which may lack its constants."""

Energy = Callable[[Program, int], float]
"""The energy in pJ of a program that takes so many cycles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A checked program and how its layers were packed (by layer name)."""

    program: Program
    packing: dict[str, str]
    fused: dict[str, str]


@dataclass(frozen=True, slots=True)
class Judge:
    """The simulator's side of a comparison."""

    evaluate: Evaluate
    energy: Energy | None


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
    found = _plans(lowered, arch, aim, Judge(evaluate, energy) if evaluate is not None else None, cache)
    compiled = _emit(lowered, found, arch, constants=not time_only)
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


def _plans(lowered: Lowered, arch: Arch, aim: Aim, judge: Judge | None, cache: Cache | None) -> Found:
    """Plans from the cache, or new ones."""
    key = ""
    if cache is not None:
        machine = json.dumps(arch.to_dict() | {"name": ""}, sort_keys=True)
        key = key_of("plan", (structure(lowered), machine, repr(aim), str(judge is not None)))
        text = cache.read(key)
        found = load_plans(text, lowered, arch) if text is not None else None
        if found is not None:
            return Found(*found)
    aim = aimed(lowered, arch, aim)
    found = search(lowered, arch, aim, _costs(lowered, arch, judge) if judge is not None else None)
    if cache is not None:
        cache.write(key, dump_plans(found.placement, found.plans))
    return found


def _costs(lowered: Lowered, arch: Arch, judge: Judge) -> Callable[[Aim], Cost]:
    return lambda aim: _cost(lowered, arch, aim, judge)


def _cost(lowered: Lowered, arch: Arch, aim: Aim, judge: Judge) -> Cost:
    def cost(placement: Placement, plans: tuple[ChainPlan, ...], number: int | None) -> float:
        program = _trial(lowered, placement, plans, number, arch)
        cycles = judge.evaluate(program)
        spent = judge.energy(program, cycles) if aim.weighs_energy and judge.energy is not None else 0.0
        return aim.cost(cycles, spent)

    return cost


def _trial(
    lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], number: int | None, arch: Arch
) -> Program:
    """The network, or one image of one chain alone, without its constants: for its time."""
    part = lowered
    if number is not None:
        chain = placement.chains[number]
        part = replace(lowered, ops=chain.ops, batch=lowered.batch if chain.batched else 1)
    layout = DramLayout(align=max(64, arch.dram.burst_bytes))
    emitter = _emitter(part, placement, plans, layout, arch)
    if number is None:
        schedule(emitter)
    else:
        run_chain(emitter, number, 0)
    stream = emitter.stream
    edges = find_edges(stream.instructions, arch, layout.size)
    words = with_tokens(stream.instructions, edges)
    order = program_order(stream.instructions, edges, arch)
    return Program(
        instructions=(*(words[i] for i in order), Halt(on=Unit.STORE)), image=np.zeros(0, np.uint8),
        dram_bytes=layout.size,
    )  # fmt: skip


def _emitter(
    lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], layout: DramLayout, arch: Arch
) -> Emitter:
    tiles = {name: plan for chain in plans for name, plan in chain.plans.items()}
    constants = Constants(lowered, tiles, layout, arch)
    return Emitter(lowered, placement, plans, constants, _dram_tensors(lowered, placement, layout), arch)


def _emit(lowered: Lowered, found: Found, arch: Arch, *, constants: bool) -> Compiled:
    layout = DramLayout(align=max(64, arch.dram.burst_bytes))
    emitter = _emitter(lowered, found.placement, found.plans, layout, arch)
    stream = schedule(emitter)
    edges = find_edges(stream.instructions, arch, layout.size)
    image = layout.image() if constants else np.zeros(0, np.uint8)
    program = _program(lowered, stream, edges, layout, emitter.dram, arch, image)
    packing = {op.layer: _packing_text(op, emitter.plans[op.name]) for op in reversed(lowered.ops)}
    return Compiled(program=program, packing=packing, fused=lowered.fused)


def _packing_text(op: Op, plan: Plan) -> str:
    return plan.packing.text(op) if isinstance(op, MatOp) and plan.packing is not None else "vector"


def _dram_tensors(lowered: Lowered, placement: Placement, layout: DramLayout) -> dict[str, int]:
    """Addresses of inputs, outputs and tensors that live in DRAM, dense, all images."""
    inner = {
        lowered.root[chain.ops[level].output] for chain in placement.chains for level in chain.inner
    }
    used = {lowered.root[t] for op in lowered.ops for t in (*op.inputs, op.output)}
    roots = dict.fromkeys(
        root
        for root in (lowered.root[name] for name in lowered.tensors)
        if root in (*lowered.inputs, *lowered.outputs)
        or (root not in placement.homes and root not in inner and root in used)
    )
    return {root: layout.reserve(lowered.tensors[root].size * lowered.batch) for root in roots}


def _program(
    lowered: Lowered,
    stream: Stream,
    edges: Edges,
    layout: DramLayout,
    tensors: dict[str, int],
    arch: Arch,
    image: NDArray[np.uint8],
) -> Program:
    order = program_order(stream.instructions, edges, arch)
    place_of = {old: new for new, old in enumerate(order)}
    words = with_tokens(stream.instructions, edges)
    instructions: list[Instr] = [words[i] for i in order]
    instructions.append(Halt(on=Unit.STORE))
    number = {name: i for i, name in enumerate(lowered.layers)}
    last = len(lowered.layers) - 1
    return Program(
        instructions=tuple(instructions),
        image=image,
        dram_bytes=layout.size,
        regions=_regions(lowered, tensors),
        layers=lowered.layers,
        layer_of=(*(number[stream.layers[i]] for i in order), last),
        tile_of=(*(stream.tiles[i] for i in order), "end"),
        probes=tuple(replace(p, index=place_of[p.index]) for p in stream.probes),
        shape_hash=arch.shape_hash,
        full_hash=arch.full_hash,
        meta={"batch": lowered.batch},
    )


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
