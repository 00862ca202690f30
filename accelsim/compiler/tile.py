"""Choosing how a chain is cut: every tile, packing, loop order and number of buffers that fits, ranked in closed form.

The tiles of level 0 are enumerated as arrays and pruned by exact capacity; what the operations behind it hold is found
by following the flow of rows. The rank is a closed form over the laws of ``accelsim.timing``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.aim import CYCLES, Aim
from accelsim.compiler.chain import Chain, begins_on_the_array, images_of, rows_held, rows_shared
from accelsim.compiler.grid import Follower, Reals, Surroundings, pace_of, plan_at
from accelsim.compiler.memo import Memo
from accelsim.compiler.ops import Lowered, LrnOp, MatOp, Op, bordered, needs_acc
from accelsim.compiler.options import fitting
from accelsim.compiler.packing import Packing, narrowed, packings
from accelsim.compiler.plan import ChainPlan, Plan, Room, distinct_parts, jobs_of, strip_shape
from accelsim.compiler.work import (
    acc_rows_per_pixel,
    gemm_rows_per_pixel,
    parameter_bytes,
    port_bytes,
    steps_per_pixel,
    words_per_tile,
)

MAX_CHANNEL_CUTS = 8
"""Widths of partial reductions that are tried."""

WORD_CYCLES = 10.0
"""What an instruction is taken to cost beside its bytes, so that of equals the shorter program is taken."""


def plan_chain(
    chain: Chain,
    lowered: Lowered,
    arch: Arch,
    room: Room,
    *,
    keep: int = 1,
    word_cycles: float = WORD_CYCLES,
    aim: Aim = CYCLES,
) -> list[ChainPlan]:
    """The ``keep`` cheapest plans of a chain, best first; none if nothing fits."""
    search = _Search(chain, lowered, arch, room, word_cycles, aim)
    found: list[ChainPlan] = []
    for plan, rank in search.candidates():
        made = search.complete(plan, rank)
        if made is not None and all(made.key() != other.key() for other in found):
            found.append(made)
            if len(found) >= keep:
                break
    return found


def best_by_packing(chain: Chain, lowered: Lowered, arch: Arch, room: Room, aim: Aim) -> dict[str, float]:
    """The cost of the cheapest plan of a chain's first operation, matrix work, with each packing; cheapest first."""
    best: dict[str, float] = {}
    head = chain.ops[0]
    assert isinstance(head, MatOp)
    for plan, rank in _Search(chain, lowered, arch, room, WORD_CYCLES, aim).candidates():
        if plan.packing is not None:
            best.setdefault(plan.packing.text(head), rank.cost)
    return best


class Rank(NamedTuple):
    """What a plan is ranked by, its cycles in closed form, those of its busiest unit, its instructions, roughly,
    and the energy that depends on the plan."""

    cost: float
    cycles: float
    busy: float
    words: int
    energy_pj: float


class _Search:
    def __init__(
        self, chain: Chain, lowered: Lowered, arch: Arch, room: Room, word_cycles: float, aim: Aim
    ) -> None:
        self.chain, self.lowered, self.arch, self.room = chain, lowered, arch, room
        self.head = chain.ops[0]
        behind = chain.ops[1:]
        side = _side_rows(behind, arch)
        pixels = [op.window.out_h * op.window.out_w for op in behind]
        moved = sum(
            lowered.tensors[t].size for op in behind for t in op.inputs if self.off_chip(t) and not self.inside(t)
        )
        last = chain.ops[len(chain.ops) - 1]
        if behind and self.off_chip(last.output):
            moved += lowered.tensors[last.output].size * port_bytes(last, last.output in lowered.parts, arch)
        self.around = Surroundings(
            leads=self.head is lowered.ops[0],
            images=images_of(chain, lowered),
            behind=tuple(_follower(op, side, arch) for op in behind),
            inputs_off_chip=sum(self.off_chip(t) for t in dict.fromkeys(self.head.inputs)),
            output_off_chip=not behind and self.off_chip(self.head.output),
            side_rows=side,
            vector_steps=sum(n * steps_per_pixel(op, arch) for op, n in zip(behind, pixels)),
            gemm_rows=sum(n * gemm_rows_per_pixel(op, arch) for op, n in zip(behind, pixels)),
            moved_bytes=moved,
            input_bytes=images_of(chain, lowered)
            * sum(lowered.tensors[t].size for t in dict.fromkeys(self.head.inputs) if self.arrives(t)),
            part=self.head.output in lowered.parts,
        )
        self.pace = pace_of(arch, word_cycles, aim)
        self.side: dict[str, list[int]] = {}  # tensors that levels behind the first read from DRAM
        for level, op in enumerate(behind, 1):
            for tensor in dict.fromkeys(lowered.root[t] for t in op.inputs):
                if self.off_chip(tensor) and not self.inside(tensor):
                    self.side.setdefault(tensor, []).append(level)
        self.delayed = any(begins_on_the_array(op) for op in behind)
        self._extras: dict[tuple[int, int, bool], tuple[dict[int, int], dict[str, int], tuple[int, ...]]] = {}

    def off_chip(self, tensor: str) -> bool:
        return self.lowered.root[tensor] not in self.room.on_chip

    def arrives(self, tensor: str) -> bool:
        """Whether the first operation finds an input of the network in UB that no chain before has used."""
        root = self.lowered.root[tensor]
        return root in self.lowered.inputs and not self.off_chip(tensor) and self.lowered.readers[root][0] is self.head

    def inside(self, tensor: str) -> bool:
        root = self.lowered.root[tensor]
        return any(self.lowered.root[op.output] == root for op in self.chain.ops)

    def candidates(self) -> Iterator[tuple[Plan, Rank]]:
        """All plans of level 0 that fit by themselves, cheapest first."""
        make = (lambda head=self.head: self._packings(head)) if isinstance(self.head, MatOp) else tuple
        packings, fitted = fitting(self.head, make, self.arch, self.around, self.room.ub_bytes)
        ranks = fitted.rank(self.pace)
        for at in _cheapest_first(ranks.cost):
            rank = Rank(
                float(ranks.cost[at]), float(ranks.cycles[at]), float(ranks.busy[at]), int(fitted.words[at]),
                float(ranks.energy_pj[at]),
            )  # fmt: skip
            yield plan_at(packings, fitted.grid, at), rank

    def _packings(self, head: MatOp) -> list[Packing]:
        made = list(packings(head, self.arch))
        if self.around.inputs_off_chip and strip_shape(head.window, 1, 1)[1][1] != head.window.stride[1]:
            made = [packing for packing in made if packing.pixels == 1]  # the strip skips pixels that a run would cover
        if self.around.part and not self.off_chip(head.output):
            made = [packing for packing in made if packing.pixels == 1]  # between pixels of a part others lie
        if not self.around.inputs_off_chip or head.groups > 1:
            return made
        rows, whole = self.arch.array.rows, head.window.in_c
        widths = [c for c in distinct_parts(whole) if c < whole and (c % rows == 0 or c < rows)]
        return [*made, *(narrowed(head, self.arch, c) for c in widths[:MAX_CHANNEL_CUTS]), *self._narrowest(widths)]

    def _narrowest(self, widths: list[int]) -> list[Packing]:
        """One channel at a time: the smallest strip there is."""
        assert isinstance(self.head, MatOp)
        return [narrowed(self.head, self.arch, 1)] if len(widths) > MAX_CHANNEL_CUTS else []

    # --------------------------------------------------------------------------------- the other levels

    def complete(self, plan: Plan, rank: Rank) -> ChainPlan | None:
        """The plan of the chain with this level 0, or None when the other levels do not fit beside it."""
        chain, lowered = self.chain, self.lowered
        places: dict[tuple[str, str], int] = {}
        size = 0

        def take(kind: str, name: str, count: int) -> None:
            nonlocal size
            if count:
                places[kind, name] = size
                size += count

        take("strips", self.head.name, plan.bytes)
        held: dict[str, int] = {}
        rows, shared, caps = self._behind(plan) if len(chain.ops) > 1 else ({}, {}, (plan.rows,))
        for level, count in rows.items():
            tensor = lowered.root[chain.ops[level].output]
            if tensor not in self.room.on_chip:
                held[tensor] = min(count, _padded_height(chain, level))
                take("ring", tensor, held[tensor] * _pitch(chain, level))
        for tensor, levels in self.side.items():
            w = chain.ops[levels[0]].window
            held[tensor] = min(w.in_h, max(2 * caps[levels[0]], shared.get(tensor, 0)))
            take("ring", tensor, held[tensor] * w.in_w * w.in_c)
        for i, op in enumerate(chain.ops):
            if isinstance(op, LrnOp):
                take("temp", op.name, (caps[i] * op.window.out_w if i else plan.rows * plan.cols) * op.window.out_c)
        top = len(chain.ops) - 1
        last = chain.ops[top]
        if top and self.off_chip(last.output):
            tensor = lowered.root[last.output]
            held[tensor] = min(last.window.out_h, 2 * caps[top])
            take("ring", tensor, held[tensor] * last.window.out_w * last.window.out_c)
        if size > self.room.ub_bytes:
            return None
        plans = {op.name: Plan(rows=cap, cols=op.window.out_w) for op, cap in zip(chain.ops[1:], caps[1:])}
        return ChainPlan(
            plans={self.head.name: plan} | plans, held=held, places=places, bytes=size,
            side_rows=self.around.side_rows, **rank._asdict(),
        )  # fmt: skip

    def _behind(self, plan: Plan) -> tuple[dict[int, int], dict[str, int], tuple[int, ...]]:
        """Rows held of what stays within the chain, and of what several levels read from DRAM; rows at a time of every
        level."""
        pace = self._pace(plan)
        key = (plan.rows, *pace)
        if key not in self._extras:
            caps = self._caps(plan)
            forms = tuple((type(op), op.window) for op in self.chain.ops)
            several = tuple(tuple(levels) for levels in self.side.values() if len(levels) > 1)
            known = forms, self.chain.feeds, several, caps, pace
            held, shared = _HELD.get(known, lambda: self._followed(plan, caps, several))
            tensors = [tensor for tensor, levels in self.side.items() if len(levels) > 1]
            self._extras[key] = held, dict(zip(tensors, shared)), caps
        return self._extras[key]

    def _pace(self, plan: Plan) -> tuple[int, bool]:
        """What the flow of a chain depends on, beside rows at a time: the jobs between which the steps of delayed
        operations are spread, and whether groups of blocks come before the last one, which gives all rows.
        """
        blocks = len(plan.packing.blocks) if plan.packing is not None else 1
        groups = -(-blocks // max(1, plan.group))
        jobs = 1 if plan.parts > 1 else blocks - (groups - 1) * plan.group
        across = -(-self.head.window.out_w // plan.cols)
        return (jobs * across if self.delayed else 1), groups > 1

    def _followed(
        self, plan: Plan, caps: tuple[int, ...], several: tuple[tuple[int, ...], ...]
    ) -> tuple[dict[int, int], list[int]]:
        """Rows held of what stays within the chain, and of what some levels read from DRAM together."""
        whole = replace(plan, cols=self.head.window.out_w)  # the same rows in fewer jobs
        jobs = jobs_of(self.head, plan if self.delayed else whole)
        return rows_held(self.chain, jobs, caps), [rows_shared(self.chain, jobs, caps, levels) for levels in several]

    def _caps(self, plan: Plan) -> tuple[int, ...]:
        """Rows at a time: what a tile of level 0 gives, as far as ACC goes."""
        height = self.head.window.out_h
        caps = [plan.rows, *(int(f.rows_at_a_time(plan.rows, height)) for f in self.around.behind)]
        return tuple(caps)


_HELD: Memo[tuple[dict[int, int], list[int]]] = Memo(1 << 14)
"""Rows held by the chain, what leads it, and how many rows at a time; following the flow takes long."""


def _cheapest_first(costs: Reals) -> Iterator[int]:
    """Positions by cost; of equal ones the first comes first. Often one is enough, so it is found without sorting."""
    if len(costs):
        yield (first := int(np.argmin(costs)))
        yield from (at for at in np.argsort(costs, kind="stable").tolist() if at != first)


def _follower(op: Op, side_rows: int, arch: Arch) -> Follower:
    most = op.window.out_h
    if needs_acc(op):
        most = max(1, side_rows // (acc_rows_per_pixel(op, arch) * op.window.out_w))
    return Follower(op.window.out_h, most, *words_per_tile(op, arch), parameter_bytes(op, arch))


def _side_rows(behind: tuple[Op, ...], arch: Arch) -> int:
    """ACC rows for the operations behind the first: a row of their pixels where that leaves a quarter of ACC."""
    wanted = [acc_rows_per_pixel(op, arch) * op.window.out_w for op in behind if needs_acc(op)]
    if not wanted:
        return 0
    return max(1, min(max(max(wanted), arch.acc_rows // 4), arch.acc_rows * 3 // 4))


def _border(chain: Chain, level: int) -> tuple[int, int, int, int]:
    """The padding that the readers of a level's output see around it."""
    pads = [chain.ops[reader].window.pads for reader in chain.inner[level] if bordered(chain.ops[reader])]
    return tuple(max((p[i] for p in pads), default=0) for i in range(4))  # type: ignore[return-value]


def _padded_height(chain: Chain, level: int) -> int:
    top, bottom, _, _ = _border(chain, level)
    return chain.ops[level].window.out_h + top + bottom


def _pitch(chain: Chain, level: int) -> int:
    _, _, left, right = _border(chain, level)
    w = chain.ops[level].window
    return (w.out_w + left + right) * w.out_c
