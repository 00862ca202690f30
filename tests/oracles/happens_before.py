"""Unordered conflicts of a program by brute force: reachability over a graph of instructions, byte sets as bit masks.

Nodes are the start and the landing of every instruction. An instruction starts before it lands; a unit starts and
lands its instructions in order; the n-th signal of a pair leaves when its instruction lands, and the instruction of
the n-th wait starts after it. Two instructions of different units conflict when both touch a byte and one writes it;
they are ordered when the landing of one reaches the start of the other.
"""

from __future__ import annotations

from itertools import pairwise, product

from accelsim.arch import Arch
from accelsim.isa.effects import effects
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory, Region, Unit


def unordered_conflicts(program: Program, arch: Arch) -> list[tuple[int, int]]:
    """All pairs (earlier, later) in program order that conflict and that no chain of tokens orders."""
    ordered = ordered_pairs(program)
    return [pair for pair in conflicts(program, arch) if pair not in ordered]


def conflicts(program: Program, arch: Arch) -> list[tuple[int, int]]:
    """All pairs (earlier, later) of different units that touch a common byte, one of them writing it.

    Depends on what the instructions touch, not on their tokens.
    """
    touched = []
    for instr in program.instructions:
        effect = effects(instr, arch)
        touched.append((instr.unit, byte_masks(effect.reads), byte_masks(effect.writes)))
    found = []
    for later, (unit, reads, writes) in enumerate(touched):
        for earlier, (other_unit, other_reads, other_writes) in enumerate(touched[:later]):
            if unit == other_unit:
                continue
            if any(
                writes[memory] & (other_reads[memory] | other_writes[memory]) or reads[memory] & other_writes[memory]
                for memory in Memory
            ):
                found.append((earlier, later))
    return found


def byte_masks(regions: tuple[Region, ...]) -> dict[Memory, int]:
    """Per memory, an integer whose bit b is set when byte b is in a region."""
    masks = dict.fromkeys(Memory, 0)
    for region in regions:
        window = (1 << region.run) - 1
        for steps in product(*(range(count) for count, _ in region.loops)):
            offset = sum(step * stride for step, (_, stride) in zip(steps, region.loops))
            masks[region.memory] |= window << (region.start + offset)
    return masks


def ordered_pairs(program: Program) -> set[tuple[int, int]]:
    """All pairs (a, b) such that a has landed before b starts, whatever the timing, or that share a unit in order."""
    instrs = program.instructions
    edges: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for index in range(len(instrs)):
        edges[("start", index)] = [("land", index)]
        edges[("land", index)] = []
    result = set()
    for unit in Unit:
        own = [index for index, instr in enumerate(instrs) if instr.unit == unit]
        for position, index in enumerate(own):
            result.update((earlier, index) for earlier in own[:position])
        for before, after in pairwise(own):
            edges[("start", before)].append(("start", after))
            edges[("land", before)].append(("land", after))
    for giver, taker in product(Unit, Unit):
        signals = [i for i, instr in enumerate(instrs) if instr.unit == giver and instr.signal >> taker & 1]
        waits = [i for i, instr in enumerate(instrs) if instr.unit == taker and instr.wait >> giver & 1]
        for signaller, waiter in zip(signals, waits):
            edges[("land", signaller)].append(("start", waiter))
    for index in range(len(instrs)):
        result.update((index, other) for kind, other in _reachable(("land", index), edges) if kind == "start")
    return result


def _reachable(
    node: tuple[str, int], edges: dict[tuple[str, int], list[tuple[str, int]]]
) -> set[tuple[str, int]]:
    seen: set[tuple[str, int]] = set()
    pending = [node]
    while pending:
        for following in edges[pending.pop()]:
            if following not in seen:
                seen.add(following)
                pending.append(following)
    return seen
