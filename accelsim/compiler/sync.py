"""Tokens from overlapping effects: who must wait for whom, with every implied edge dropped.

The stream is in order of meaning. For each instruction the latest conflicting instruction of every other unit is
found (read after write, write after read, write after write), rounded up to whole scratchpad rows and to the span of
a region. An edge is dropped when it follows from edges taken before: units run in order and land in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.effects import effects
from accelsim.isa.instructions import Instr, mask
from accelsim.isa.protocol import Memory, Region, Unit

MAX_TOKENS = 255
"""What a token counter holds."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Per instruction, the instructions it waits for (one per unit at most), and the last known of every unit."""

    producers: tuple[tuple[int, ...], ...]
    known: tuple[tuple[int, ...], ...]  # per instruction, per unit: highest index known to have landed before, or -1


def find_edges(instructions: Sequence[Instr], arch: Arch, dram_bytes: int) -> Edges:
    """The tokens a stream needs so that any timing gives the values of its order."""
    conflicts = _Conflicts(arch, dram_bytes)
    needs = [conflicts.step(i, instr) for i, instr in enumerate(instructions)]
    forced: dict[int, list[int]] = {}
    while True:
        edges = _reduce(instructions, needs, forced)
        late = _overfull(instructions, edges)
        if not late:
            return edges
        for index, earlier in late:
            forced.setdefault(index, []).append(earlier)


def with_tokens(instructions: Sequence[Instr], edges: Edges) -> list[Instr]:
    """The instructions with their ``wait`` and ``signal`` masks."""
    waits, signals = [0] * len(instructions), [0] * len(instructions)
    for consumer, producers in enumerate(edges.producers):
        for producer in producers:
            waits[consumer] |= mask(instructions[producer].unit)
            signals[producer] |= mask(instructions[consumer].unit)
    return [replace(instr, wait=w, signal=s) for instr, w, s in zip(instructions, waits, signals)]


class _Conflicts:
    """Per memory and unit, the last instruction that wrote and that read each granule (0 for none, else index + 1)."""

    def __init__(self, arch: Arch, dram_bytes: int) -> None:
        cols = arch.array.cols
        self._grain = {
            Memory.UB: 1,
            Memory.WGT: cols,
            Memory.ACC: 4 * cols,
            Memory.PARAM: 4 * cols,
            Memory.DRAM: 64,
        }
        sizes = {
            Memory.UB: arch.ub_bytes,
            Memory.WGT: arch.wgt_rows,
            Memory.ACC: arch.acc_rows,
            Memory.PARAM: arch.param_rows,
            Memory.DRAM: -(-dram_bytes // 64),
        }
        self._sizes, self._arch = sizes, arch
        # [written?][memory] -> the units that touched it so far, each with its last instruction per granule
        self._last: tuple[list[dict[Unit, NDArray[np.int32]]], ...] = ([{} for _ in Memory], [{} for _ in Memory])

    def step(self, index: int, instr: Instr) -> list[int]:
        """Indices of the latest conflicting instruction of every other unit; then records this one."""
        touched, unit = effects(instr, self._arch), instr.unit
        reads = [(region.memory, self._span(region)) for region in touched.reads]
        writes = [(region.memory, self._span(region)) for region in touched.writes]
        latest = [0] * len(Unit)
        for memory, span in reads:
            _scan(self._last[True][memory], span, unit, latest)
        for memory, span in writes:
            _scan(self._last[True][memory], span, unit, latest)
            _scan(self._last[False][memory], span, unit, latest)
        for spans, last in ((reads, self._last[False]), (writes, self._last[True])):
            for memory, span in spans:
                if unit not in last[memory]:
                    last[memory][unit] = np.zeros(self._sizes[memory], np.int32)
                last[memory][unit][span] = index + 1
        return [found - 1 for found in latest if found]

    def _span(self, region: Region) -> slice:
        grain = self._grain[region.memory]
        return slice(region.start // grain, (region.stop - 1) // grain + 1)


def _scan(last: dict[Unit, NDArray[np.int32]], span: slice, unit: Unit, latest: list[int]) -> None:
    """Raise ``latest`` to the last instruction of every other unit on some granule of ``span``."""
    for other, shadow in last.items():
        if other is not unit:
            latest[other] = max(latest[other], int(shadow[span].max()))


def _reduce(instructions: Sequence[Instr], needs: list[list[int]], forced: dict[int, list[int]]) -> Edges:
    """Keep an edge only when what is known through earlier edges does not imply it; latest producers first."""
    producers: list[tuple[int, ...]] = []
    known: list[tuple[int, ...]] = []
    current = [[-1] * len(Unit) for _ in Unit]  # per unit, what its latest instruction knew when it started
    for index, instr in enumerate(instructions):
        mine = current[instr.unit]
        taken: list[int] = []
        for producer in sorted([*needs[index], *forced.get(index, ())], reverse=True):
            unit = instructions[producer].unit
            if mine[unit] >= producer:
                continue
            taken.append(producer)
            mine = [max(a, b) for a, b in zip(mine, known[producer])]
            mine[unit] = max(mine[unit], producer)
        current[instr.unit] = mine
        producers.append(tuple(taken))
        known.append(tuple(mine))
    return Edges(tuple(producers), tuple(known))


def _overfull(instructions: Sequence[Instr], edges: Edges) -> list[tuple[int, int]]:
    """(instruction, earlier one it must wait for) wherever a counter could exceed its limit under some timing."""
    given: dict[tuple[Unit, Unit], list[tuple[int, int]]] = {}
    for consumer, producers in enumerate(edges.producers):
        for producer in producers:
            pair = (instructions[producer].unit, instructions[consumer].unit)
            given.setdefault(pair, []).append((producer, consumer))
    late: list[tuple[int, int]] = []
    for (_, to), pairs in given.items():
        for n in range(MAX_TOKENS, len(pairs)):
            producer, first = pairs[n][0], pairs[n - MAX_TOKENS][1]
            if edges.known[producer][to] >= first:
                continue
            if first > producer:
                late.append((first, producer))  # nobody takes before: one token stands for all up to this one
            else:
                half = [consumer for _, consumer in pairs[n - MAX_TOKENS : n - MAX_TOKENS // 2] if consumer < producer]
                late.append((producer, half[-1]))  # the next producers find room too
            break  # one more edge often settles the rest of the pair
    return late
