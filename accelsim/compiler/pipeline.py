"""The order of passes on one page: lower, place and tile, schedule, sync, order, emit, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.capacity import check_capacity, refuse
from accelsim.compiler.chain import Chain
from accelsim.compiler.constants import Constants
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.lower import lower
from accelsim.compiler.ops import Lowered, MatOp, Op
from accelsim.compiler.order import program_order
from accelsim.compiler.place import Placement, place
from accelsim.compiler.plan import ChainPlan, Plan, Room
from accelsim.compiler.schedule import run_chain, schedule
from accelsim.compiler.stream import Stream
from accelsim.compiler.sync import Edges, find_edges, with_tokens
from accelsim.compiler.tile import plan_chain
from accelsim.errors import AccelsimError
from accelsim.isa.asm import format_program
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Halt, Instr, members
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Unit
from accelsim.nn.graph import QGraph

Observer = Callable[[str, str], None]
"""Called with a stage's name and its text form."""

Evaluate = Callable[[Program], int]

KEPT = 3
"""Plans of a chain that are compared on the simulator."""

SETTLED = 1.02
"""Plans are not compared when the first takes no more than this times its busiest unit's work."""


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
    evaluate: Evaluate | None = None,
    observe: Observer | None = None,
) -> Compiled:
    """Compile ``batch`` images of a quantised network for a machine.

    ``evaluate`` gives the cycles of a program; with it, the best few plans of every chain are compared and the fastest
    kept. Raises GraphError for a layer that cannot be done, CapacityError when one does not fit.
    """
    lowered = lower(graph, batch)
    check_capacity(lowered, arch)
    placement = _place(lowered, arch)
    plans = choose_plans(lowered, placement, arch, evaluate)
    compiled = _emit(lowered, placement, plans, arch)
    _check(compiled.program, arch)
    if observe is not None:
        _report(observe, lowered, placement, plans, compiled.program)
    return compiled


def _check(program: Program, arch: Arch) -> None:
    """The user is not to blame for a program that this compiler made."""
    try:
        check_program(program, arch)
    except AccelsimError as error:
        raise RuntimeError(f"the compiler made an invalid program: {error}") from error


def _place(lowered: Lowered, arch: Arch) -> Placement:
    known: dict[object, list[ChainPlan]] = {}

    def planner(chain: Chain, room: Room) -> list[ChainPlan]:
        key = tuple(op.name for op in chain.ops), room
        if key not in known:
            known[key] = plan_chain(chain, lowered, arch, room)
        return known[key]

    found = place(lowered, arch, planner)
    if isinstance(found, Chain):
        raise refuse(found, lowered, arch)
    return found


def choose_plans(
    lowered: Lowered, placement: Placement, arch: Arch, evaluate: Evaluate | None
) -> tuple[ChainPlan, ...]:
    """The plan of every chain: the first in rank, or the fastest of the best few on the simulator."""
    if evaluate is None:
        return tuple(plans[0] for plans in placement.plans)
    chosen = [plans[0] for plans in placement.plans]
    for number, chain in enumerate(placement.chains):
        first = chosen[number]
        if first.cycles <= SETTLED * first.busy:
            continue  # nothing is left to be won
        candidates = plan_chain(chain, lowered, arch, placement.rooms[number], keep=KEPT)
        best: tuple[int, ChainPlan] | None = None
        for candidate in candidates:
            trial = tuple(candidate if n == number else plan for n, plan in enumerate(chosen))
            cycles = evaluate(_chain_program(lowered, placement, trial, number, arch))
            if best is None or cycles < best[0]:
                best = cycles, candidate
        if best is not None:
            chosen[number] = best[1]
    return tuple(chosen)


def _chain_program(
    lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], number: int, arch: Arch
) -> Program:
    """One image of one chain alone, without its constants: for its time."""
    chain = placement.chains[number]
    names = {op.name for op in chain.ops}
    layout = DramLayout(align=max(64, arch.dram.burst_bytes))
    part = replace(lowered, ops=chain.ops, batch=lowered.batch if chain.batched else 1)
    tiles = {name: plan for name, plan in plans[number].plans.items() if name in names}
    constants = Constants(part, tiles, layout, arch)
    emitter = Emitter(part, placement, plans, constants, _dram_tensors(lowered, placement, layout), arch)
    run_chain(emitter, number, 0)
    edges = find_edges(emitter.stream.instructions, arch, layout.size)
    words = with_tokens(emitter.stream.instructions, edges)
    order = program_order(emitter.stream.instructions, edges, arch)
    return Program(
        instructions=(*(words[i] for i in order), Halt(on=Unit.STORE)), image=np.zeros(0, np.uint8),
        dram_bytes=layout.size,
    )  # fmt: skip


def _emit(lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], arch: Arch) -> Compiled:
    layout = DramLayout(align=max(64, arch.dram.burst_bytes))
    tiles = {name: plan for chain in plans for name, plan in chain.plans.items()}
    constants = Constants(lowered, tiles, layout, arch)
    emitter = Emitter(lowered, placement, plans, constants, _dram_tensors(lowered, placement, layout), arch)
    stream = schedule(emitter)
    edges = find_edges(stream.instructions, arch, layout.size)
    program = _program(lowered, stream, edges, layout, emitter.dram, arch)
    packing = {op.layer: _packing_text(op, tiles[op.name]) for op in reversed(lowered.ops)}
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
        image=layout.image(),
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


def _report(
    observe: Observer, lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], program: Program
) -> None:
    """Text forms of every stage, for ``--dump``."""
    observe("lower", "\n".join(f"{op.name}: {', '.join(op.inputs)} -> {op.output} {op.window}" for op in lowered.ops))
    observe(
        "place",
        "\n".join(f"{h.tensor}: UB {h.base}..{h.base + h.bytes}" for h in placement.homes.values()),
    )
    observe("tile", "\n".join(f"{name}: {plan.text()}" for chain in plans for name, plan in chain.plans.items()))
    observe(
        "schedule",
        "\n".join(
            f"{i}: {program.layers[layer]} {tile}"
            for i, (layer, tile) in enumerate(zip(program.layer_of, program.tile_of))
        ),
    )
    observe("sync", "\n".join(_token_text(i, instr) for i, instr in enumerate(program.instructions)))
    observe("emit", format_program(program))


def _token_text(index: int, instr: Instr) -> str:
    wait, signal = (",".join(u.name.lower() for u in members(m)) or "-" for m in (instr.wait, instr.signal))
    return f"{index}: {instr.unit.name.lower()} waits for {wait}, signals {signal}"
