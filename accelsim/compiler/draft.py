"""Programs without constants, for their time alone: what the simulator compares, and what sweeps are made of.

Instructions and tokens do not depend on how fast a machine is, only their order does. So a draft is made once for all
machines that differ in speed alone, and put in order for each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.aim import Aim
from accelsim.compiler.constants import Constants
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.memo import Memo
from accelsim.compiler.ops import Lowered
from accelsim.compiler.order import program_order
from accelsim.compiler.place import Placement
from accelsim.compiler.plan import ChainPlan
from accelsim.compiler.schedule import run_chain, schedule
from accelsim.compiler.search import Cost
from accelsim.compiler.shape import Shape, shape_of
from accelsim.compiler.store import structure
from accelsim.compiler.stream import Stream
from accelsim.compiler.sync import Edges, find_edges, with_tokens
from accelsim.isa.effects import task
from accelsim.isa.instructions import Halt, Instr
from accelsim.isa.program import Program
from accelsim.isa.protocol import HaltWork, Task, Unit

Evaluate = Callable[[Program], int]
"""The cycles of a program, which may lack its constants."""

Energy = Callable[[Program, int], float]
"""The energy in pJ of a program that takes so many cycles."""


_END = Halt(on=Unit.STORE)
_END_TASK = Task(Unit.STORE, (), (), HaltWork())


@dataclass(frozen=True, slots=True)
class Judge:
    """The simulator's side of a comparison."""

    evaluate: Evaluate
    energy: Energy | None


@dataclass(frozen=True, slots=True)
class Draft:
    """Instructions in order of meaning, without and with their tokens, and where they find data in DRAM."""

    stream: Stream
    edges: Edges
    words: tuple[Instr, ...]
    tasks: tuple[Task, ...]
    dram: dict[str, int]
    dram_bytes: int

    def order(self, arch: Arch) -> list[int]:
        """Positions of the stream's instructions in program order on a machine."""
        return program_order(self.tasks, self.edges, arch)

    def instructions(self, order: Sequence[int]) -> tuple[Instr, ...]:
        """The words of the program."""
        return (*[self.words[i] for i in order], _END)

    def ordered_tasks(self, order: Sequence[int]) -> tuple[Task, ...]:
        """What the words are for the timing simulator."""
        return (*[self.tasks[i] for i in order], _END_TASK)


def _draft_of(emitter: Emitter, dram_bytes: int, arch: Arch) -> Draft:
    """What was emitted, with its tokens."""
    stream = emitter.stream
    edges = find_edges(stream.instructions, arch, dram_bytes)
    words = tuple(with_tokens(stream.instructions, edges))
    return Draft(stream, edges, words, tuple(task(word, arch) for word in words), emitter.dram, dram_bytes)


@dataclass(frozen=True, slots=True)
class Drafts:
    """Drafts of one network for machines of one shape, with any plans."""

    lowered: Lowered
    arch: Arch
    shape: Shape
    network: Hashable

    @classmethod
    def of(cls, lowered: Lowered, arch: Arch) -> Drafts:
        """Whatever else the machine may be."""
        zeros = tuple(tensor.zero for tensor in lowered.tensors.values())  # borders are filled with them
        return cls(lowered, arch, shape_of(arch), (structure(lowered), zeros))

    def get(self, placement: Placement, plans: tuple[ChainPlan, ...], number: int | None) -> Draft:
        """The network, or one image of one of its chains alone."""
        key = self.network, self.shape, _choices(self.lowered, placement, plans, number)
        return _KNOWN.get(key, lambda: self._make(placement, plans, number), lambda draft: len(draft.words))

    def _make(self, placement: Placement, plans: tuple[ChainPlan, ...], number: int | None) -> Draft:
        part, layout = self.lowered, DramLayout(align=max(64, self.shape.arch.dram.burst_bytes))
        if number is not None:
            chain = placement.chains[number]
            part = replace(part, ops=chain.ops, batch=part.batch if chain.batched else 1)
        emitter = emitter_of(part, placement, plans, layout, self.shape.arch)
        if number is None:
            schedule(emitter)
        else:
            run_chain(emitter, number, 0)
        return _draft_of(emitter, layout.size, self.shape.arch)

    def costs(self, aim: Aim, judge: Judge) -> Cost:
        """The cost of plans on the simulator, asked for once."""
        known: dict[Hashable, float] = {}

        def cost(placement: Placement, plans: tuple[ChainPlan, ...], number: int | None) -> float:
            key = number, _choices(self.lowered, placement, plans, number)
            if key not in known:
                program = self._program(self.get(placement, plans, number))
                cycles = judge.evaluate(program)
                spent = judge.energy(program, cycles) if aim.weighs_energy and judge.energy is not None else 0.0
                known[key] = aim.cost(cycles, spent)
            return known[key]

        return cost

    def _program(self, draft: Draft) -> Program:
        order = draft.order(self.arch)
        program = Program(
            instructions=draft.instructions(order), image=np.zeros(0, np.uint8), dram_bytes=draft.dram_bytes
        )
        return program.with_tasks(self.arch, draft.ordered_tasks(order))


_KNOWN: Memo[Draft] = Memo(100_000)
"""Drafts by what they were made of; the limit is in instructions, of which each takes about half a kilobyte."""


def _choices(
    lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], number: int | None
) -> Hashable:
    """Everything of a placement and its plans that the instructions of the network, or of one chain, depend on."""
    numbers = range(len(placement.chains)) if number is None else (number,)
    chains = [placement.chains[n] for n in numbers]
    used = {lowered.root[t] for chain in chains for op in chain.ops for t in (*op.inputs, op.output)}
    return (
        number is None,
        tuple((chain.batched, tuple(op.name for op in chain.ops)) for chain in chains),
        tuple(home for name, home in sorted(placement.homes.items()) if name in used),
        tuple((placement.workspace[n], plans[n].key(), tuple(plans[n].places.items())) for n in numbers),
    )


def emitter_of(
    lowered: Lowered, placement: Placement, plans: tuple[ChainPlan, ...], layout: DramLayout, arch: Arch
) -> Emitter:
    """An emitter whose constants and tensors have their places in DRAM."""
    tiles = {name: plan for chain in plans for name, plan in chain.plans.items()}
    constants = Constants(lowered, tiles, layout, arch)
    return Emitter(lowered, placement, plans, constants, _dram_tensors(lowered, placement, layout), arch)


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
