"""The whole machine as one loop over clock cycles: no events, no closed forms, one burst and one tile at a time.

Within a cycle everything looks only at what happened in earlier cycles, with one exception: a transfer's last grant
frees its unit in the same cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from accelsim.arch import Arch, ArrayArch
from accelsim.isa.protocol import (
    ArrayWork,
    FillWork,
    HaltWork,
    Region,
    SyncWork,
    Task,
    TransferWork,
    Unit,
    VectorWork,
)
from tests.oracles.banked import SteppedBankedPort
from tests.oracles.port import Burst, SteppedPort

WORD = 32


@dataclass
class TileLoop:
    """The array's recurrences, literally, one tile (ws) or row block (os) after the other."""

    arch: ArrayArch
    stream: int = 0
    length: int = 0  # of the stream: m in ws, k in os
    landed: int = -1
    first: bool = True
    streams: list[int] = field(default_factory=list)  # of the last gemm's tiles
    loads: list[int] = field(default_factory=list)

    def gemm(self, work: ArrayWork, accepted: int) -> tuple[int, int]:
        """Returns (free, landed)."""
        self.streams, self.loads = [], []
        free = -1
        tiles = work.tiles if self.arch.dataflow == "ws" else -(-work.m // self.arch.rows)
        for tile in range(tiles):
            if self.arch.overlap == "none" and tile > 0:
                accepted = self.landed + 1
            free = self._ws(work.k, work.m, accepted) if self.arch.dataflow == "ws" else self._os(work, accepted)
            self.first = False
        return free, self.landed

    def _ws(self, k: int, m: int, accepted: int) -> int:
        rows, cols = self.arch.rows, self.arch.cols
        if self.arch.overlap == "none":
            k = rows
        if self.arch.weights == "single":
            load = max(accepted + 1, self.stream + self.length)
            stream = load + k
        else:
            load = max(accepted + 1, self.stream)
            stream = max(load + k, self.stream + self.length)
        self.stream, self.length, self.landed = stream, m, stream + m + rows + cols
        self.loads.append(load)
        self.streams.append(stream)
        return self.landed + 1 if self.arch.overlap == "none" else load + k - 1

    def _os(self, work: ArrayWork, accepted: int) -> int:
        rows, cols = self.arch.rows, self.arch.cols
        k = work.k * work.tiles
        stream = accepted + 1
        if not self.first:
            pause = rows if self.arch.weights == "single" else max(0, rows - k)
            stream = max(stream, self.stream + self.length + pause)
        self.stream, self.length, self.landed = stream, k, stream + k + 2 * rows + cols
        self.loads.append(stream)
        self.streams.append(stream)
        return self.landed + 1 if self.arch.overlap == "none" else stream + k - 1


def bursts_of(region: Region, burst_bytes: int) -> list[int]:
    """Visit every run and every byte's burst; returns where they start."""
    run = region.run
    loops = [loop for loop in region.loops if loop[0] != 1]
    while loops and loops[-1][1] == run:
        run = run * loops[-1][0]
        loops = loops[:-1]
    starts = [region.start]
    for count, stride in loops:
        starts = [start + i * stride for start in starts for i in range(count)]
    bursts = []
    for start in starts:
        touched = []
        for byte in range(start, start + run):
            if byte // burst_bytes not in touched:
                touched.append(byte // burst_bytes)
        bursts += [number * burst_bytes for number in touched]
    return bursts


def count_bursts(region: Region, burst_bytes: int) -> int:
    """How many bursts a region costs."""
    return len(bursts_of(region, burst_bytes))


class SteppedMachine:
    """``run()`` fills the lists ``requested`` .. ``landed`` and ``asked``, -1 where something never happened."""

    def __init__(self, tasks: Sequence[Task], arch: Arch) -> None:
        self.tasks, self.arch = list(tasks), arch
        count = len(self.tasks)
        self.requested, self.arrived = [-1] * count, [-1] * count
        self.dispatched, self.accepted = [-1] * count, [-1] * count
        self.started, self.free, self.landed = [-1] * count, [-1] * count, [-1] * count
        self.asked = [-1] * count
        dram = arch.dram
        self.port = SteppedPort(dram.burst_bytes, dram.bytes_per_cycle, dram.latency, dram.outstanding)
        if dram.kind == "banked":
            self.port = SteppedBankedPort(dram, arch.clock_hz, self._address)
        self.array = TileLoop(arch.array)
        self.tokens = {(giver, taker): 0 for giver in Unit for taker in Unit}
        self.fetched: list[Burst] = []
        self.moving: dict[Unit, int] = {}  # unit -> transfer that still asks for bursts
        self.todo: dict[int, int] = {}  # transfer -> bursts to ask for
        self.bursts: dict[int, list[Burst]] = {}
        self.written: dict[int, int] = {}  # fill -> cycle of its last row, until it has landed

    def run(self, limit: int = 200_000) -> None:
        """Step until every instruction has landed or ``limit`` cycles have passed."""
        for cycle in range(limit):
            self._signal(cycle)
            self.port.step(cycle, partial(self._wants, cycle), partial(self._granted, cycle))
            self._transfers_land()
            for unit in Unit:
                self._accept(unit, cycle)
            self._dispatch(cycle)
            if all(0 <= landed <= cycle for landed in self.landed):
                return

    def _signal(self, cycle: int) -> None:
        for index, task in enumerate(self.tasks):
            if 0 <= self.landed[index] == cycle - 1:
                for taker in task.signals:
                    self.tokens[task.unit, taker] += 1

    # -- the port's customers

    def _wants(self, cycle: int, who: int) -> bool:
        if who == 0:
            return self._fetch_wants(cycle)
        index = self.moving.get(Unit.LOAD if who == 1 else Unit.STORE)
        return index is not None and self.accepted[index] < cycle and self.todo[index] > 0

    def _fetch_wants(self, cycle: int) -> bool:
        burst = self.arch.dram.burst_bytes
        asked = len(self.fetched) * burst
        if asked >= WORD * len(self.tasks):
            return False
        used = WORD * sum(1 for at in self.dispatched if 0 <= at < cycle)
        return asked - used + burst <= WORD * self.arch.prefetch_words or asked - used < WORD

    def _note_request(self, cycle: int) -> None:
        """Remember when the next fetch burst is first allowed, for the words whose last byte it carries."""
        burst = self.arch.dram.burst_bytes
        used = WORD * sum(1 for at in self.dispatched if 0 <= at < cycle)
        for word in range(len(self.tasks)):
            number = (WORD * (word + 1) - 1) // burst
            asked = number * burst
            room = asked - used + burst <= WORD * self.arch.prefetch_words or asked - used < WORD
            if self.requested[word] < 0 and room:
                self.requested[word] = cycle

    def _address(self, burst: Burst) -> int:
        """Where a burst lies that is being granted."""
        size = self.arch.dram.burst_bytes
        if burst.requester == 0:
            return 2**32 + len(self.fetched) * size
        index = self.moving[Unit.LOAD if burst.requester == 1 else Unit.STORE]
        work = self.tasks[index].work
        assert isinstance(work, TransferWork)
        return bursts_of(work.region, size)[len(self.bursts[index])]

    def _granted(self, cycle: int, burst: Burst) -> None:
        if burst.requester == 0:
            self.fetched.append(burst)
            return
        unit = Unit.LOAD if burst.requester == 1 else Unit.STORE
        index = self.moving[unit]
        if not self.bursts[index]:
            self.started[index] = cycle
        self.bursts[index].append(burst)
        self.todo[index] -= 1
        if self.todo[index] == 0:
            self.free[index] = cycle
            del self.moving[unit]

    def _transfers_land(self) -> None:
        """Loads, stores and fills land in order: no earlier than their predecessor."""
        for index in sorted([*self.bursts, *self.written]):
            mine = self.tasks[index].unit
            before = [self.landed[i] for i in range(index) if self.tasks[i].unit == mine]
            if -1 in before:
                continue
            if index in self.written:
                self.landed[index] = max([self.written.pop(index), *before])
            elif self.todo[index] == 0 and all(burst.landed >= 0 for burst in self.bursts[index]):
                self.landed[index] = max([self.bursts[index][-1].landed, *before])
                del self.bursts[index]

    # -- fetch and units

    def _dispatch(self, cycle: int) -> None:
        self._note_request(cycle)
        burst = self.arch.dram.burst_bytes
        for word in range(len(self.tasks)):
            number = (WORD * (word + 1) - 1) // burst
            if number < len(self.fetched) and self.fetched[number].landed >= 0:
                self.arrived[word] = self.fetched[number].landed
        word = sum(1 for at in self.dispatched if at >= 0)
        if word == len(self.tasks) or not 0 <= self.arrived[word] < cycle:
            return
        mine = [i for i in range(word) if self.tasks[i].unit == self.tasks[word].unit]
        waiting = [i for i in mine if not 0 <= self.accepted[i] < cycle]
        if len(waiting) < self.arch.queue_depth:
            self.dispatched[word] = cycle

    def _accept(self, unit: Unit, cycle: int) -> None:
        mine = [i for i, task in enumerate(self.tasks) if task.unit == unit]
        index = next((i for i in mine if self.accepted[i] < 0), None)
        if index is None or not 0 <= self.dispatched[index] < cycle:
            return
        earlier = [i for i in mine if i < index]
        if earlier and not 0 <= self.free[earlier[-1]] <= cycle:
            return
        task = self.tasks[index]
        if any(self.tokens[giver, unit] == 0 for giver in task.waits):
            return
        drains = earlier if isinstance(task.work, SyncWork) else range(index)
        if isinstance(task.work, SyncWork | HaltWork) and not all(0 <= self.landed[i] < cycle for i in drains):
            return
        if self.asked[index] < 0:
            self.asked[index] = cycle
        if not self._banks_are_free(task, cycle):
            return
        for giver in task.waits:
            self.tokens[giver, unit] -= 1
        self.accepted[index] = cycle
        self._start(index, task, cycle)

    def _banks_are_free(self, task: Task, cycle: int) -> bool:
        """Whether no instruction of another unit, accepted and not landed in an earlier cycle, has one of them."""
        for other, at, landed in zip(self.tasks, self.accepted, self.landed):
            if at >= 0 and not 0 <= landed < cycle and other.unit != task.unit and other.banks & task.banks:
                return False
        return True

    def _start(self, index: int, task: Task, cycle: int) -> None:
        work = task.work
        if isinstance(work, TransferWork):
            self.moving[task.unit], self.bursts[index] = index, []
            self.todo[index] = len(bursts_of(work.region, self.arch.dram.burst_bytes))
            return
        self.started[index] = cycle + 1
        if isinstance(work, ArrayWork):
            self.free[index], self.landed[index] = self.array.gemm(work, cycle)
            self.started[index] = self.array.loads[0]
        elif isinstance(work, VectorWork):
            vectors = -(-work.lanes // self.arch.alu.lanes)
            self.landed[index] = cycle + self.arch.alu.latency
            for _ in range(work.steps):
                self.landed[index] += vectors * max(1, work.reads)
            self.free[index] = self.landed[index] + 1
        elif isinstance(work, FillWork):
            self.free[index] = self.written[index] = cycle + work.rows
        else:
            self.started[index] = self.landed[index] = cycle
            self.free[index] = cycle + 1
