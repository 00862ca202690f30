"""The order of passes on one page: lower, place, tile, schedule, sync, order, emit, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from accelsim.arch import Arch
from accelsim.compiler.constants import store_constants
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.ops import Lowered, MatOp, Op, lower
from accelsim.compiler.order import program_order
from accelsim.compiler.place import Placement, place
from accelsim.compiler.schedule import schedule
from accelsim.compiler.stream import Stream
from accelsim.compiler.sync import Edges, find_edges, with_tokens
from accelsim.compiler.tile import Plan, Room, least_strip_bytes, needs_acc, plan_op
from accelsim.errors import AccelsimError, CapacityError
from accelsim.isa.asm import format_program
from accelsim.isa.check import check_program
from accelsim.isa.instructions import Halt, Instr, members
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Unit
from accelsim.nn.graph import QGraph

GRAINS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Weights of exposed ends tried by ``compile_network``: coarse to fine tiles."""

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
    evaluate: Callable[[Program], int] | None = None,
    observe: Observer | None = None,
) -> Compiled:
    """Compile ``batch`` images of a quantised network for a machine.

    ``evaluate`` gives the cycles of a program; with it, several grains of tiling are emitted and the fastest kept.
    Raises GraphError for a layer that cannot be done, CapacityError when one does not fit.
    """
    lowered = lower(graph, batch)
    _check_capacity(lowered, arch)
    choice = Choice(1.0, arch)
    if evaluate is not None:
        # Images of a batch repeat each other: two of them tell which plans are best.
        choice = _best_choice(lowered if batch <= 2 else lower(graph, 2), arch, evaluate)
    try:
        placement, plans = _plan(lowered, choice)
    except CapacityError:  # two images fitted the halved buffer, more do not
        placement, plans = _plan(lowered, Choice(choice.grain, arch))
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


@dataclass(frozen=True, slots=True)
class Choice:
    """What plans are made for: a grain, and a machine that may have one buffer less than the real one has."""

    grain: float
    room: Arch


def _choices(arch: Arch) -> list[Choice]:
    """Every grain on the whole machine; then with one buffer halved, so that a larger buffer never hurts."""
    halved = [
        replace(arch, **{field: getattr(arch, field) // 2})
        for field in ("ub_bytes", "wgt_bytes", "acc_bytes", "param_bytes")
    ]
    usable = [room for room in halved if min(room.ub_bytes, room.wgt_rows, room.acc_rows, room.param_rows)]
    return [Choice(grain, room) for room in (arch, *usable) for grain in GRAINS]


def _plan(lowered: Lowered, choice: Choice) -> tuple[Placement, dict[str, Plan]]:
    placement = place(lowered, choice.room)
    return placement, _plans(lowered, placement, choice.room, choice.grain)


def _best_choice(lowered: Lowered, arch: Arch, evaluate: Callable[[Program], int]) -> Choice:
    """The choice whose program runs fastest, the first of equals; equal plans are emitted once."""
    tried: set[object] = set()
    best: tuple[int, Choice] | None = None
    for choice in _choices(arch):
        try:
            placement, plans = _plan(lowered, choice)
        except CapacityError:
            if choice.room is arch:
                raise
            continue
        key = _key(placement, plans)
        if key in tried:
            continue
        tried.add(key)
        cycles = evaluate(_emit(lowered, placement, plans, arch).program)
        if best is None or cycles < best[0]:
            best = cycles, choice
    assert best is not None
    return best[1]


def _key(placement: Placement, plans: dict[str, Plan]) -> object:
    """What tells two sets of plans apart; the strip workspace counts only where strips are used."""
    strips = any(plan.strips_in or plan.strips_out for plan in plans.values())
    shape = tuple((name, replace(plan, cost_cycles=0.0)) for name, plan in plans.items())
    return tuple(placement.homes.values()), placement.workspace if strips else (), shape


def _check_capacity(lowered: Lowered, arch: Arch) -> None:
    """Every program needs one accumulator row, one bias and scale pair, and a whole table at a time."""
    limits = {"ACC": arch.acc_bytes, "PARAM": arch.param_bytes, "WGT": arch.wgt_bytes}
    demands = [(op, *demand) for op in lowered.ops for demand in _demands(op, arch)]
    enough: dict[str, int] = {}
    for _, resource, need, _ in demands:
        enough[resource] = max(need, enough.get(resource, 0))
    for op, resource, need, term in demands:
        if need > limits[resource]:
            raise CapacityError(
                where=op.layer,
                resource=resource,
                demand_bytes=need,
                limit_bytes=limits[resource],
                terms=((term, need),),
                levers=tuple(
                    f"{name.lower()}.size of at least {size} bytes fits"
                    for name, size in enough.items()
                    if size > limits[name]
                ),
            )


def _demands(op: Op, arch: Arch) -> list[tuple[str, int, str]]:
    """(memory, bytes, what for) that an operation cannot do without, however it is cut; UB is up to ``place``."""
    row = 4 * arch.array.cols
    found: list[tuple[str, int, str]] = []
    if needs_acc(op):
        found += [("ACC", row, "one accumulator row"), ("PARAM", 2 * row, "bias and scale rows")]
    if op.table is not None:
        found.append(("PARAM", arch.lut_rows * row, "a 256-byte table"))
    if isinstance(op, MatOp):
        found.append(("WGT", arch.array.cols, "one weight row"))
    return found


def _rooms(lowered: Lowered, placement: Placement, arch: Arch) -> dict[str, tuple[Room, int]]:
    """What each operation may use, and where its strip workspace begins."""
    rooms: dict[str, tuple[Room, int]] = {}
    for chain, (base, size) in zip(placement.chains, placement.workspace):
        homes = [
            (lowered.root[op.input] in placement.homes, lowered.root[op.output] in placement.homes) for op in chain.ops
        ]
        least = [least_strip_bytes(op, input_on_chip=i, output_on_chip=o) for op, (i, o) in zip(chain.ops, homes)]
        users = sum(1 for need in least if need) or 1
        spare = max(0, size - sum(least)) // users
        for op, (on_in, on_out), need in zip(chain.ops, homes, least):
            share = need + spare if need else 0
            rooms[op.name] = (Room(input_on_chip=on_in, output_on_chip=on_out, ub_bytes=share), base)
            base += share
    return rooms


def _plans(lowered: Lowered, placement: Placement, arch: Arch, grain: float) -> dict[str, Plan]:
    rooms = _rooms(lowered, placement, arch)
    return {op.name: plan_op(op, arch, rooms[op.name][0], grain) for op in lowered.ops}


def _emit(lowered: Lowered, placement: Placement, plans: dict[str, Plan], arch: Arch) -> Compiled:
    layout = DramLayout(align=max(64, arch.dram.burst_bytes))
    store_constants(lowered.ops, plans, layout, arch)
    tensors = _dram_tensors(lowered, placement, layout)
    rooms = _rooms(lowered, placement, arch)
    bases = {name: base for name, (_, base) in rooms.items()}
    stream = schedule(Emitter(lowered, placement, plans, bases, layout, tensors, arch))
    edges = find_edges(stream.instructions, arch, layout.size)
    program = _program(lowered, stream, edges, layout, tensors, arch)
    packing = {op.layer: _packing_text(op, plans[op.name]) for op in reversed(lowered.ops)}
    return Compiled(program=program, packing=packing, fused=lowered.fused)


def _packing_text(op: Op, plan: Plan) -> str:
    return plan.packing.text(op) if isinstance(op, MatOp) and plan.packing is not None else "vector"


def _dram_tensors(lowered: Lowered, placement: Placement, layout: DramLayout) -> dict[str, int]:
    """Addresses of input, output and spilled tensors, dense, all images."""
    roots = dict.fromkeys(
        root
        for root in (lowered.root[name] for name in lowered.tensors)
        if root in (lowered.input, lowered.root[lowered.output])
        or (root not in placement.homes and _used(lowered, root))
    )
    return {root: layout.reserve(lowered.tensors[root].size * lowered.batch) for root in roots}


def _used(lowered: Lowered, root: str) -> bool:
    return any(lowered.root[op.output] == root for op in lowered.ops)


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
    output = lowered.root[lowered.output]
    for name, address in tensors.items():
        tensor = lowered.tensors[name]
        role = "input" if name == lowered.input else "output" if name == output else "scratch"
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
    observe: Observer, lowered: Lowered, placement: Placement, plans: dict[str, Plan], program: Program
) -> None:
    """Text forms of every stage, for ``--dump``."""
    observe("lower", "\n".join(f"{op.name}: {op.input} -> {op.output} {op.window}" for op in lowered.ops))
    observe(
        "place",
        "\n".join(f"{h.tensor}: UB {h.base}..{h.base + h.image_bytes * h.images}" for h in placement.homes.values()),
    )
    observe("tile", "\n".join(f"{name}: {plan.text()}" for name, plan in plans.items()))
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
