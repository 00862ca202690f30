"""Token pairs of a program, and the program without one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

from accelsim.isa.instructions import Instr
from accelsim.isa.program import Program
from accelsim.isa.protocol import Unit

Pair: TypeAlias = tuple[int, int]
"""(instruction that signals, instruction that waits for it)."""


def token_pairs(instructions: Sequence[Instr]) -> dict[tuple[Unit, Unit], list[Pair]]:
    """Per ordered pair of units, the n-th signal with the n-th wait. Every token has a taker."""
    pairs: dict[tuple[Unit, Unit], list[Pair]] = {}
    for giver in Unit:
        for taker in Unit:
            signals = [i for i, x in enumerate(instructions) if x.unit == giver and x.signal >> taker & 1]
            waits = [i for i, x in enumerate(instructions) if x.unit == taker and x.wait >> giver & 1]
            assert len(signals) == len(waits)
            if signals:
                pairs[giver, taker] = list(zip(signals, waits))
    return pairs


def all_pairs(program: Program) -> list[Pair]:
    """The token pairs of all units, by the instruction that waits."""
    found = [pair for pairs in token_pairs(program.instructions).values() for pair in pairs]
    return sorted(found, key=lambda pair: pair[::-1])


def without(program: Program, pair: Pair) -> Program:
    """The program with one signal and the wait that takes it deleted; every other token keeps its taker."""
    words = list(program.instructions)
    giver, taker = pair
    words[giver] = dataclasses.replace(words[giver], signal=words[giver].signal & ~(1 << words[taker].unit))
    words[taker] = dataclasses.replace(words[taker], wait=words[taker].wait & ~(1 << words[giver].unit))
    return dataclasses.replace(program, instructions=tuple(words))
