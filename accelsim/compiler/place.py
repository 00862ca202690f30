"""Where every tensor lives: in UB for the operations that read it, or in DRAM; and the chains of operations.

Time is counted in chains. Which tensors stay in UB is chosen by dynamic programming over the chains: a state is the
set of tensors that lie in UB between two of them, its cost the closed-form cycles of all chains so far. Tensors alive
at the same time never share bytes; what a chain's largest gap holds is its workspace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import TypeAlias

from accelsim.arch import Arch
from accelsim.compiler.addresses import Life, Map, mapped
from accelsim.compiler.chain import Chain, chain_of
from accelsim.compiler.chaining import chains_of
from accelsim.compiler.home import Home, home_of, makers_of, readers_of, torn
from accelsim.compiler.ops import Lowered, LrnOp, Op
from accelsim.compiler.plan import ChainPlan, Room

Planner = Callable[[Chain, Room], list[ChainPlan]]
"""The plans of a chain, best first; none if it does not fit."""

SPILL_PENALTY = 1.0 / 16
"""Cycles per byte that a tensor in DRAM costs in the choice beside its time: of equals, the one on chip is taken."""

PARTED = 0.98
"""A chain is parted where its pieces cost less than this share of it."""

TOGETHER = 0.75
"""A chain runs over all images at once where that costs less than this share of running them one by one."""


MAX_STATES = 16
"""States that are followed from one chain to the next: twice what networks need whose tensors are read soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Homes of the tensors that lie whole in UB, the chains in order with their plans, and each one's workspace."""

    homes: dict[str, Home]
    chains: tuple[Chain, ...]
    plans: tuple[tuple[ChainPlan, ...], ...]  # per chain the best ones, best first
    workspace: tuple[int, ...]  # first byte
    rooms: tuple[Room, ...]


def place(lowered: Lowered, arch: Arch, planner: Planner) -> Placement | Chain:
    """Choose chains, homes and plans; the first chain that cannot be planned is returned if there is one."""
    apart: set[str] = set()  # operations that do not join the chain before them
    together: set[str] = set()  # operations that run over all images before the next one
    # Results that nobody reads on leave as they are made.
    banned = torn(lowered) | {tensor for tensor in lowered.outputs if not readers_of(lowered, tensor)}
    while True:
        chains = chains_of(lowered, arch, banned, apart, together)
        lives = lifetimes(lowered, chains)
        chosen = _choose(lowered, arch, chains, lives, banned, planner)
        if isinstance(chosen, int):
            if len(chains[chosen].ops) == 1:
                return chains[chosen]
            apart.add(_cut(chains[chosen]))
            continue
        better = {_apart(chain, plans[0], lowered, arch, planner) for chain, plans in zip(chains, chosen.plans)} - {""}
        more = _batched(chains, chosen.plans, lowered, arch, planner)
        if better or more:
            apart |= better
            together |= more
            continue
        homes = [home_of(lowered, tensor, images=images) for tensor, images in chosen.homes.items()]
        found = mapped(homes, lives, [plan[0].bytes for plan in chosen.plans], arch.ub_bytes)
        if found.fits:
            return _placement(chains, chosen, found)
        # The bytes suffice, but not in one piece: the largest tensor in the way goes to DRAM.
        where = found.tight[0] if found.tight else max(lives[tensor].first for tensor in found.homes)
        alive = [h for h in found.homes.values() if lives[h.tensor].first <= where <= lives[h.tensor].last]
        banned.add(max(alive, key=lambda h: (h.bytes, h.tensor)).tensor)


def _placement(chains: tuple[Chain, ...], chosen: _Chosen, found: Map) -> Placement:
    return Placement(
        homes=found.homes, chains=chains, plans=tuple(tuple(p) for p in chosen.plans),
        workspace=tuple(base for base, _ in found.gaps),
        rooms=tuple(Room(on_chip=frozenset(found.homes), ub_bytes=gap) for _, gap in found.gaps),
    )  # fmt: skip


def _cut(chain: Chain) -> str:
    """The operation to part from its chain: the last one, a normalisation together with its squares."""
    last = chain.ops[-1]
    return chain.ops[-2].name if isinstance(last, LrnOp) and len(chain.ops) > 2 else last.name


def _apart(chain: Chain, plan: ChainPlan, lowered: Lowered, arch: Arch, planner: Planner) -> str:
    """The operation to part from a chain that costs more than its pieces with all their tensors in DRAM; or nothing."""
    if len(chain.ops) == 1:
        return ""
    cut = _cut(chain)
    at = next(i for i, op in enumerate(chain.ops) if op.name == cut)
    whole = Room(on_chip=frozenset(), ub_bytes=arch.ub_bytes)
    pieces = [planner(chain_of(ops, lowered), whole) for ops in (chain.ops[:at], chain.ops[at:])]
    if not all(pieces):
        return ""
    return cut if sum(found[0].cost for found in pieces) < PARTED * plan.cost else ""


def _batched(
    chains: tuple[Chain, ...], plans: tuple[list[ChainPlan], ...], lowered: Lowered, arch: Arch, planner: Planner
) -> set[str]:
    """The operations of chains that cost more image by image than one by one over the whole batch, where weights are
    loaded once for all images."""
    found: set[str] = set()
    for chain, (plan, *_) in zip(chains, plans):
        if lowered.batch == 1 or chain.batched or any(isinstance(op, LrnOp) for op in chain.ops):
            continue
        costs = [_whole_cost(op, lowered, arch, planner) for op in chain.ops]
        if sum(costs) < TOGETHER * lowered.batch * plan.cost:
            found |= {op.name for op in chain.ops}
    return found


def _whole_cost(op: Op, lowered: Lowered, arch: Arch, planner: Planner) -> float:
    """The cost of one operation over the whole batch, its tensors in DRAM or, if they fit, in UB."""
    chain = chain_of([op], lowered, whole=True)
    homes = [home_of(lowered, lowered.root[t], images=lowered.batch) for t in dict.fromkeys((*op.inputs, op.output))]
    left = arch.ub_bytes - sum(home.bytes for home in homes)
    rooms = [Room(on_chip=frozenset(), ub_bytes=arch.ub_bytes)]
    if left >= 0:
        rooms.append(Room(on_chip=frozenset(home.tensor for home in homes), ub_bytes=left))
    return min((made[0].cost for room in rooms if (made := planner(chain, room))), default=inf)


def _group_bounds(chains: tuple[Chain, ...], index: int) -> tuple[int, int]:
    """First and last chain of the run of chains that share one loop over images."""
    first = last = index
    while first > 0 and chains[first - 1].batched == chains[index].batched:
        first -= 1
    while last + 1 < len(chains) and chains[last + 1].batched == chains[index].batched:
        last += 1
    return first, last


def lifetimes(lowered: Lowered, chains: tuple[Chain, ...]) -> dict[str, Life]:
    """Of every tensor that is not used up within one chain; a life ends with the last chain that touches it.

    A tensor that leaves the loop over images it was made in is held for all images, the network's inputs in up to two
    slots, so that the next one loads early.
    """
    lives: dict[str, Life] = {}
    where = {op.name: t for t, chain in enumerate(chains) for op in chain.ops}
    for tensor in dict.fromkeys(lowered.root[t] for t in lowered.tensors):
        users = [where[op.name] for op in (*makers_of(lowered, tensor), *readers_of(lowered, tensor))]
        if not users or _inner(tensor, chains, lowered):
            continue
        first, last = min(users), max(users)
        loops = {_group_bounds(chains, t) for t in users}
        crossing = lowered.batch > 1 and (len(loops) > 1 or any(chains[t].batched for t in users))
        if crossing:
            first = first if chains[first].batched else _group_bounds(chains, first)[0]
            last = last if chains[last].batched else _group_bounds(chains, last)[1]
        images = (lowered.batch,) if crossing else (1,)
        if tensor in lowered.inputs and not crossing and lowered.batch > 1:
            images = (2, 1)
        lives[tensor] = Life(first, last, images)
    return lives


def _inner(tensor: str, chains: tuple[Chain, ...], lowered: Lowered) -> bool:
    return any(
        lowered.root[chain.ops[level].output] == tensor for chain in chains for level in chain.inner
    )


# ---------------------------------------------------------------------------------------------- the choice


@dataclass(frozen=True, slots=True)
class _Chosen:
    homes: dict[str, int]  # images held of every tensor on chip
    plans: tuple[list[ChainPlan], ...]


_Alive: TypeAlias = frozenset[tuple[str, int]]
"""Tensors in UB, with the images held of each."""


@dataclass(frozen=True, slots=True)
class _State:
    cost: float
    homes: Mapping[str, int]
    plans: tuple[list[ChainPlan], ...]


def _choose(
    lowered: Lowered, arch: Arch, chains: tuple[Chain, ...], lives: dict[str, Life], banned: set[str], planner: Planner
) -> _Chosen | int:
    """Dynamic programming over the chains; the number of the first one that nothing fits, if there is one."""
    sizes = {
        (tensor, images): home_of(lowered, tensor, images=images).bytes
        for tensor, life in lives.items()
        for images in life.images
    }
    states: dict[_Alive, _State] = {frozenset(): _State(0.0, {}, ())}
    for t, chain in enumerate(chains):
        born = [name for name, life in lives.items() if life.first == t]
        options = [[0] if name in banned else [*lives[name].images, 0] for name in born]
        following: dict[_Alive, _State] = {}
        for alive, state in states.items():
            for choice in product(*options):
                new = frozenset((name, images) for name, images in zip(born, choice) if images)
                held = alive | new
                room = arch.ub_bytes - sum(sizes[item] for item in held)
                if room < 0:
                    continue
                used = frozenset(name for name, _ in held if _touched(name, chain, lowered))
                found = planner(chain, Room(on_chip=used, ub_bytes=room))
                if not found:
                    continue
                repeat = 1 if chain.batched else lowered.batch
                spilled = sum(
                    lowered.tensors[name].size * repeat
                    for name, images in zip(born, choice)
                    if images < lives[name].images[0]
                )
                cost = state.cost + found[0].cost * repeat + spilled * SPILL_PENALTY
                left = frozenset(item for item in held if lives[item[0]].last > t)
                if left not in following or cost < following[left].cost:
                    following[left] = _State(cost, {**state.homes, **dict(new)}, (*state.plans, found))
        if not following:
            return t
        states = _kept(following, sizes)
    best = min(states.values(), key=lambda state: state.cost)
    return _Chosen(dict(best.homes), best.plans)


def _kept(states: dict[_Alive, _State], sizes: Mapping[tuple[str, int], int]) -> dict[_Alive, _State]:
    """The cheapest states, and always the one that holds the fewest bytes: where nothing else fits later, it does."""
    if len(states) <= MAX_STATES:
        return states
    ranked = sorted(states, key=lambda alive: (states[alive].cost, sorted(alive)))
    least = min(ranked, key=lambda alive: sum(sizes[item] for item in alive))
    return {alive: states[alive] for alive in dict.fromkeys((*ranked[: MAX_STATES - 1], least))}


def _touched(tensor: str, chain: Chain, lowered: Lowered) -> bool:
    return any(tensor in (lowered.root[t] for t in (*op.inputs, op.output)) for op in chain.ops)
