"""Tokens from overlapping effects: who must wait for whom, with every implied edge dropped.

The stream is in order of meaning. For each instruction the latest conflicting instruction of every other unit is
found (read after write, write after read, write after write), byte by byte. An edge is dropped when it follows from
edges taken before: units run in order and land in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from accelsim.arch import Arch
from accelsim.isa.effects import effects
from accelsim.isa.fields import layout
from accelsim.isa.footprint import Footprint, footprint
from accelsim.isa.instructions import Instr, mask, rebuild
from accelsim.isa.protocol import Memory, Unit
from accelsim.isa.shadows import Frame, Log
from accelsim.isa.state import memory_bytes

MAX_TOKENS = 255
"""What a token counter holds."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Per instruction, the instructions it waits for (one per unit at most), and the last known of every unit."""

    producers: tuple[tuple[int, ...], ...]
    known: tuple[tuple[int, ...], ...]  # per instruction, per unit: highest index known to have landed before, or -1


def find_edges(instructions: Sequence[Instr], arch: Arch, dram_bytes: int) -> Edges:
    """The tokens a stream needs so that any timing gives the values of its order."""
    units = [instr.unit for instr in instructions]
    conflicts, reduction = _Conflicts(instructions, arch, dram_bytes), _Reduction(units)
    needs: list[list[int]] = []
    for index, unit in enumerate(units):
        needs.append(conflicts.step(index, reduction.current[unit]))
        reduction.take(needs[-1])
    forced: dict[int, list[int]] = {}
    while late := _overfull(units, reduction.edges()):
        for index, earlier in late:
            forced.setdefault(index, []).append(earlier)
        # What is known only grows, so that no further conflicts can show.
        reduction = _Reduction(units)
        for index, need in enumerate(needs):
            reduction.take([*need, *forced.get(index, ())])
    return reduction.edges()


def with_tokens(instructions: Sequence[Instr], edges: Edges) -> list[Instr]:
    """The instructions with their ``wait`` and ``signal`` masks."""
    waits, signals = [0] * len(instructions), [0] * len(instructions)
    bits = [mask(instr.unit) for instr in instructions]
    for consumer, producers in enumerate(edges.producers):
        for producer in producers:
            waits[consumer] |= bits[producer]
            signals[producer] |= bits[consumer]
    names = {cls: [slot.name for slot in layout(cls)[2:]] for cls in set(map(type, instructions))}
    # Two names at least, else attrgetter gives a bare value: the first two slots are the masks, which are replaced.
    fields = {cls: attrgetter("wait", "signal", *rest) for cls, rest in names.items()}
    return [
        rebuild(type(instr), (wait, signal, *fields[type(instr)](instr)[2:]))
        for instr, wait, signal in zip(instructions, waits, signals)
    ]


class _Conflicts:
    """What every unit has read and written so far, per memory; a place is 1 + the index of an instruction."""

    def __init__(self, instructions: Sequence[Instr], arch: Arch, dram_bytes: int) -> None:
        self._accesses: list[tuple[Unit, list[Footprint], list[Footprint]]] = []
        for instr in instructions:
            touched = effects(instr, arch)
            reads, writes = map(footprint, touched.reads), map(footprint, touched.writes)
            self._accesses.append((instr.unit, list(reads), list(writes)))
        self._frames = {memory: Frame(0, size) for memory, size in memory_bytes(arch, dram_bytes).items()}
        self._frames[Memory.DRAM] = self._written(Memory.DRAM)  # nothing else of it can conflict
        # [written?][memory] -> the units that touched it so far
        self._logs: tuple[list[dict[Unit, Log]], ...] = ([{} for _ in Memory], [{} for _ in Memory])

    def _written(self, memory: Memory) -> Frame:
        spans = [
            (region.start, region.stop)
            for _, _, writes in self._accesses
            for region in writes
            if region.memory is memory
        ]
        low, high = min((low for low, _ in spans), default=0), max((high for _, high in spans), default=0)
        return Frame(low, high - low)

    def step(self, index: int, known: Sequence[int]) -> list[int]:
        """Indices of the latest conflicting instruction of every other unit, as far as they are not ``known`` to have
        landed; then records this one. ``known`` has the highest index of every unit.
        """
        unit, reads, writes = self._accesses[index]
        latest = list(known)
        read, written = self._logs
        for region in reads:
            _scan(written[region.memory], region, unit, latest)
        for region in writes:
            _scan(written[region.memory], region, unit, latest)
            _scan(read[region.memory], region, unit, latest)
        for regions, logs in ((reads, read), (writes, written)):
            for region in regions:
                frame = self._frames[region.memory]
                if region.memory is not Memory.DRAM or frame.meets(region):
                    if unit not in logs[region.memory]:
                        logs[region.memory][unit] = Log(frame)
                    logs[region.memory][unit].add(index + 1, region)
        return [found for found, before in zip(latest, known) if found > before]


def _scan(logs: dict[Unit, Log], region: Footprint, unit: Unit, latest: list[int]) -> None:
    """Raise ``latest`` to the last instruction of every other unit that touched some byte of ``region``."""
    for other, log in logs.items():
        if other is not unit and log.newest > latest[other] + 1:
            latest[other] = max(latest[other], log.latest(region, latest[other] + 1) - 1)


class _Reduction:
    """Keeps an edge only when what is known through earlier edges does not imply it.

    ``current`` is, per unit, what its latest instruction knew when it started: the highest index of every unit that
    has landed by then, or -1.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.current: list[tuple[int, ...]] = [(-1,) * len(Unit) for _ in Unit]
        self._units = units
        self._producers: list[tuple[int, ...]] = []
        self._known: list[tuple[int, ...]] = []

    def take(self, wanted: Iterable[int]) -> None:
        """The next instruction must wait for those ``wanted``; latest producers first."""
        unit = self._units[len(self._known)]
        mine, taken = list(self.current[unit]), []
        for producer in sorted(wanted, reverse=True):
            giver = self._units[producer]
            if mine[giver] < producer:
                taken.append(producer)
                mine = list(map(max, mine, self._known[producer]))
                mine[giver] = max(mine[giver], producer)
        known = self.current[unit] = tuple(mine) if taken else self.current[unit]
        self._producers.append(tuple(taken))
        self._known.append(known)

    def edges(self) -> Edges:
        return Edges(tuple(self._producers), tuple(self._known))


def _overfull(units: Sequence[Unit], edges: Edges) -> list[tuple[int, int]]:
    """(instruction, earlier one it must wait for) wherever a counter could exceed its limit under some timing."""
    given: dict[tuple[Unit, Unit], list[tuple[int, int]]] = {}
    for consumer, producers in enumerate(edges.producers):
        for producer in producers:
            pair = (units[producer], units[consumer])
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
