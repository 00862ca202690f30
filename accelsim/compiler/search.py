"""Finding plans for a whole network: placement, the plan of every chain, and the weights they are compared with.

The closed form ranks; where it leaves something to be won and programs are short, the simulator decides between the
best few. Chains that are alike, as the blocks of a residual network are, are planned once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace

from accelsim.arch import Arch
from accelsim.compiler.aim import CYCLES, Aim
from accelsim.compiler.capacity import refuse
from accelsim.compiler.chain import Chain
from accelsim.compiler.ops import Lowered, LrnOp, MatOp, Op, VecOp
from accelsim.compiler.place import Placement, place
from accelsim.compiler.plan import ChainPlan, Room
from accelsim.compiler.tile import WORD_CYCLES, plan_chain

KEPT = 3
"""Plans of a chain that are compared on the simulator."""

SETTLED = 1.02
"""Plans are not compared when the first takes no more than this times its busiest unit's work."""

COMPARED_WORDS = 1000
"""Nor when a chain has more instructions than this: there the closed form is at its best."""

WEIGHTS = (WORD_CYCLES, 2.0, 40.0)
"""What an instruction is taken to cost, in networks so short that whole programs are compared."""

Cost = Callable[[Placement, tuple[ChainPlan, ...], int | None], float]
"""The cost on the simulator of one chain (by number) with given plans, or of the whole network."""


@dataclass(frozen=True, slots=True)
class Found:
    """A placement with the plan of every chain."""

    placement: Placement
    plans: tuple[ChainPlan, ...]

    @property
    def words(self) -> int:
        """Instructions, roughly."""
        return sum(plan.words for plan in self.plans)


def search(lowered: Lowered, arch: Arch, aim: Aim, judge: Callable[[Aim], Cost] | None) -> Found:
    """The best plans; without a ``judge`` (the cost on the simulator for an aim) the closed form alone decides.

    Plans for energy are held against those for cycles, so that they never cost more. Raises CapacityError.
    """
    if judge is None:
        return _search(lowered, arch, aim, None)
    cost = judge(aim)
    found = _search(lowered, arch, aim, cost)
    if not aim.weighs_energy:
        return found
    fast = replace(CYCLES, prices=aim.prices)
    return min(
        (found, _search(lowered, arch, fast, judge(fast))), key=lambda each: cost(each.placement, each.plans, None)
    )


def _search(lowered: Lowered, arch: Arch, aim: Aim, cost: Cost | None) -> Found:
    first = _with_weight(lowered, arch, aim, WEIGHTS[0], cost)
    if cost is None or first.words * lowered.batch > COMPARED_WORDS:
        return first
    found = [first, *(_with_weight(lowered, arch, aim, weight, cost) for weight in WEIGHTS[1:])]
    different = {tuple(plan.key() for plan in each.plans): each for each in reversed(found)}
    return min(reversed(different.values()), key=lambda each: cost(each.placement, each.plans, None))


def aimed(lowered: Lowered, arch: Arch, aim: Aim) -> Aim:
    """The aim with what a plan for cycles takes, which ``edp`` is measured by."""
    if aim.objective != "edp":
        return aim
    plain = _with_weight(lowered, arch, replace(CYCLES, prices=aim.prices), WORD_CYCLES, None)
    return replace(
        aim, cycles=sum(plan.cycles for plan in plain.plans), energy_pj=sum(plan.energy_pj for plan in plain.plans)
    )


def _with_weight(lowered: Lowered, arch: Arch, aim: Aim, weight: float, cost: Cost | None) -> Found:
    planner = Planner(lowered, arch, aim, weight)
    placement = place(lowered, arch, planner.best)
    if isinstance(placement, Chain):
        raise refuse(placement, lowered, arch)
    plans = tuple(plans[0] for plans in placement.plans)
    return Found(placement, _compared(placement, plans, planner, cost) if cost is not None else plans)


def _compared(
    placement: Placement, plans: tuple[ChainPlan, ...], planner: Planner, cost: Cost
) -> tuple[ChainPlan, ...]:
    """The plan of every chain that is fastest on the simulator, where that is worth the time."""
    chosen = list(plans)
    known: dict[Hashable, int] = {}
    for number, chain in enumerate(placement.chains):
        first = chosen[number]
        if first.cycles <= SETTLED * first.busy or first.words > COMPARED_WORDS:
            continue
        room = placement.rooms[number]
        candidates = planner.several(chain, room)
        likeness = planner.likeness(chain, room)
        if likeness not in known:
            costs = [
                cost(placement, (*chosen[:number], candidate, *chosen[number + 1 :]), number)
                for candidate in candidates
            ]
            known[likeness] = costs.index(min(costs))
        chosen[number] = candidates[known[likeness]]
    return tuple(chosen)


@dataclass(slots=True)
class Planner:
    """Plans of chains of one network, remembered by likeness."""

    lowered: Lowered
    arch: Arch
    aim: Aim
    weight: float
    _known: dict[Hashable, tuple[tuple[str, ...], list[ChainPlan]]] = field(default_factory=dict)

    def best(self, chain: Chain, room: Room) -> list[ChainPlan]:
        """The best plan of a chain, if there is one."""
        return self._plans(chain, room, 1)

    def several(self, chain: Chain, room: Room) -> list[ChainPlan]:
        """The best few plans of a chain."""
        return self._plans(chain, room, KEPT)

    def likeness(self, chain: Chain, room: Room) -> Hashable:
        """Chains with equal likeness have equal plans, but for names."""
        ops = tuple(
            (
                type(op), op.window, op.batched, op.table is None, op.observed, _sort(op),
                tuple(self.lowered.root[t] in room.on_chip for t in (*op.inputs, op.output)),
                self.lowered.lanes(op.output) if op.output in self.lowered.parts else None,
            )
            for op in chain.ops
        )  # fmt: skip
        names = tuple(_names(chain, self.lowered))
        same = tuple(map(names.index, names))  # a tensor added to itself is read once
        return ops, same, chain.feeds, chain.batched, room.ub_bytes, chain.ops[0] is self.lowered.ops[0]

    def _plans(self, chain: Chain, room: Room, keep: int) -> list[ChainPlan]:
        key = self.likeness(chain, room), keep
        names = tuple(_names(chain, self.lowered))
        if key not in self._known:
            made = plan_chain(
                chain, self.lowered, self.arch, room, keep=keep, word_cycles=self.weight, aim=self.aim
            )
            self._known[key] = names, made
        other, plans = self._known[key]
        return plans if other == names else [_renamed(plan, dict(zip(other, names))) for plan in plans]


def _sort(op: Op) -> object:
    """What else tells operations of one type apart."""
    match op:
        case MatOp():
            return op.groups
        case VecOp():
            return op.kind
        case LrnOp():
            return op.size, op.before
        case _:
            return None


def _names(chain: Chain, lowered: Lowered) -> Iterator[str]:
    """The names that a chain's plan refers to, by their part in the chain."""
    for op in chain.ops:
        yield op.name
        yield from (lowered.root[t] for t in (*op.inputs, op.output))


def _renamed(plan: ChainPlan, names: dict[str, str]) -> ChainPlan:
    return replace(
        plan,
        plans={names[name]: part for name, part in plan.plans.items()},
        held={names[name]: rows for name, rows in plan.held.items()},
        places={(kind, names[name]): offset for (kind, name), offset in plan.places.items()},
    )
