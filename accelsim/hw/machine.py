"""The machine in time: fetch, four units and the DRAM port, held together by simpy.

There is one event per accepted instruction and a few per transfer, never one per cycle. Everything one unit does to
another takes effect in the next cycle, so the order of events within a cycle cannot matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TypeAlias, cast

import simpy

from accelsim.arch import Arch
from accelsim.errors import DeadlockError
from accelsim.hw.banked import BankedPort
from accelsim.hw.banks import Arbiter
from accelsim.hw.memory import Port
from accelsim.hw.queues import Tokens
from accelsim.hw.record import Record
from accelsim.hw.units import ArrayUnit, Served, UnitState, serve_fill, serve_sync, serve_vector
from accelsim.isa.protocol import ArrayWork, FillWork, HaltWork, SyncWork, Task, TransferWork, Unit, VectorWork
from accelsim.timing import burst_count, fetch_bursts, fetch_trigger, word_burst
from accelsim.trace import Requester, Trace

Service: TypeAlias = Callable[[int, Task, int], tuple[int, int] | None]
"""Called with (index, task, accepted) for every gemm, alu, load and store; may return ``(free, landed)`` to be used
instead of the local law (a transfer then makes no port traffic). ``accepted < free <= landed + 1`` is required.
"""


def simulate(
    tasks: Sequence[Task],
    arch: Arch,
    *,
    on_land: Callable[[int], None] | None = None,
    service: Service | None = None,
    queue_depths: Sequence[int] | None = None,
    array: ArrayUnit | None = None,
) -> Trace:
    """Run a program's tasks (in program order) on a machine and return what happened when.

    ``on_land(i)`` is called for every instruction in the order of landing cycles (ties: by unit, then in program
    order), before any instruction is accepted in a later cycle. ``service`` and ``queue_depths`` (one per unit, at
    least 1) replace service times and queue depths in tests; ``array`` takes the gemms instead of the array's law.
    Raises :class:`DeadlockError` if nothing can proceed
    while instructions remain, ValueError for service times out of range.
    """
    depths = queue_depths if queue_depths is not None else [arch.queue_depth for _ in Unit]
    return _Machine(tasks, arch, on_land, service, depths, array or ArrayUnit(arch)).run()


class _Machine:
    def __init__(
        self,
        tasks: Sequence[Task],
        arch: Arch,
        on_land: Callable[[int], None] | None,
        service: Service | None,
        depths: Sequence[int],
        array: ArrayUnit,
    ) -> None:
        self._tasks = tasks
        self._arch = arch
        self._on_land = on_land
        self._service = service
        self._env = simpy.Environment()
        self._units = [UnitState(unit, depth) for unit, depth in zip(Unit, depths)]
        self._array = array
        self._tokens = Tokens()
        self._record = Record(tasks)
        self._landings: list[tuple[int, Unit, int]] = []  # known, not reported yet
        self._halting: list[UnitState] = []
        self._arbiter = Arbiter(self._env, self._accept)
        self._landed_before = 0  # every instruction before this one has a known landing
        self._port = Port(arch.dram) if arch.dram.kind == "flat" else BankedPort(arch.dram, arch.clock_hz)
        self._port_wake: int | None = None
        self._fetch_total = fetch_bursts(len(tasks), arch.dram.burst_bytes)
        self._words = len(tasks)
        self._states = [self._units[task.unit] for task in tasks]
        self._carriers = [word_burst(word, arch.dram.burst_bytes) for word in range(len(tasks))]
        self._next_word = 0
        self._trigger: int | None = None  # words to be dispatched before the next fetch burst may be requested
        self._last_dispatch = -1

    def run(self) -> Trace:
        self._request_words(0, 0)
        self._serve_port()
        self._env.run()
        if self._landings:
            self._report_landings(max(self._landings)[0] + 1)
        if -1 in self._record.landed:
            raise DeadlockError(self._record.quiet_from(), tuple(self._waiting()))
        return self._record.trace(self._array.phases, self._port.granted, self._carriers)

    # ------------------------------------------------------------------------------------------ fetch

    def _request_words(self, dispatched: int, present: int) -> None:
        """Request every burst that ``dispatched`` words leave room for; visible from cycle ``present``."""
        requested, arch = self._record.requested, self._arch
        while len(requested) < self._fetch_total:
            self._trigger = fetch_trigger(len(requested), arch.dram.burst_bytes, arch.prefetch_words)
            if self._trigger > dispatched:
                return
            requested.append(present)
            self._port.submit(Requester.FETCH, 1, present)
        self._trigger = None

    def _dispatch(self) -> None:
        """Dispatch every word whose cycle is known: its burst is granted and its queue is known to have room."""
        arrived, dispatched, carriers = self._record.arrived, self._record.dispatched, self._carriers
        word = self._next_word
        while word < self._words and (burst := carriers[word]) < len(arrived):
            state = self._states[word]
            room = state.queue.room()
            if room is None:
                break
            cycle = max(self._last_dispatch, arrived[burst], room - 1) + 1
            dispatched[word] = self._last_dispatch = cycle
            state.queue.enter(word)
            if state.queue.head == word:
                self._poke(state)
            word += 1
            self._next_word = word
            if self._trigger is not None and self._trigger <= word:
                self._request_words(word, cycle + 1)

    # ------------------------------------------------------------------------------------------ units

    def _poke(self, state: UnitState) -> None:
        """Schedule the acceptance of the unit's next instruction if its cycle is known."""
        index = state.queue.head
        if state.armed or state.free is None or index is None:
            return
        task = self._tasks[index]
        cycle = max(self._record.dispatched[index] + 1, state.free)
        if task.waits:
            ready, giver = self._tokens.ready(state.unit, task.waits)
            if ready is None:
                return
            self._record.token_ready[index], self._record.token_unit[index] = ready, giver
            cycle = max(cycle, ready)
        work = type(task.work)
        if work is SyncWork:
            cycle = max(cycle, state.landed + 1)
        elif work is HaltWork:
            drained = self._drained(index)
            if drained is None:
                if state not in self._halting:
                    self._halting.append(state)
                return
            cycle = max(cycle, drained)
        state.armed = True
        callbacks = self._env.timeout(cycle - self._env.now, state).callbacks
        callbacks.append(self._present)

    def _drained(self, index: int) -> int | None:
        """First cycle in which every instruction before ``index`` has landed, or None if not known yet."""
        landed = self._record.landed
        while self._landed_before < index and landed[self._landed_before] >= 0:
            self._landed_before += 1
        return max(landed[:index], default=-1) + 1 if self._landed_before >= index else None

    def _present(self, event: simpy.Event) -> None:
        """The unit's next instruction lacks nothing, except UB banks if these are shared."""
        state = cast(UnitState, event.value)
        index = state.queue.head
        banks = 0 if index is None else self._tasks[index].banks
        if index is None or not banks:
            self._accept(state)
        else:
            self._record.asked[index] = int(self._env.now)
            self._arbiter.ask(state, banks)

    def _accept(self, state: UnitState) -> None:
        now = int(self._env.now)
        if self._landings:
            self._report_landings(now)
        index = state.queue.head
        assert index is not None, "an acceptance was scheduled without an instruction"
        task = self._tasks[index]
        state.queue.accept(now)
        state.armed = False
        self._record.accepted[index] = now
        if task.waits:
            self._tokens.take(state.unit, task.waits)
        served = self._serve(state, index, task, now)
        if served is None:
            state.free, state.moving = None, index
        else:
            self._land(state, index, served)
        self._dispatch()
        if self._port.changed:
            self._serve_port()

    def _serve(self, state: UnitState, index: int, task: Task, accepted: int) -> Served | None:
        """The instruction's cycles, or None for a transfer that now asks for the port."""
        work = task.work
        if isinstance(work, SyncWork | HaltWork):
            return serve_sync(accepted)
        if self._service is not None and (given := self._service(index, task, accepted)) is not None:
            free, landed = given
            if not accepted < free <= landed + 1:
                raise ValueError(f"instruction {index}: accepted {accepted}, free {free}, landed {landed}")
            return Served(accepted + 1, free, landed)
        if isinstance(work, ArrayWork):
            return self._array.serve(index, work, accepted)
        if isinstance(work, VectorWork):
            return serve_vector(work, accepted, self._arch)
        if isinstance(work, FillWork):
            return serve_fill(work, accepted)
        self._submit(state, index, work, accepted)
        return None

    def _submit(self, state: UnitState, index: int, work: TransferWork, accepted: int) -> None:
        bursts = burst_count(work.region, self._arch.dram.burst_bytes)
        self._record.bursts[index] = bursts
        self._port.submit(state.requester, bursts, accepted + 1, work.region)

    def _land(self, state: UnitState, index: int, served: Served) -> None:
        """All of the instruction's cycles are known: tell whom it concerns."""
        record = self._record
        landed = max(served.landed, state.landed)
        record.started[index], record.free[index], record.landed[index] = served.started, served.free, landed
        state.free, state.landed = served.free, landed
        if self._on_land is not None:
            heappush(self._landings, (landed, state.unit, index))
        task = self._tasks[index]
        if task.banks:
            self._arbiter.land(state.unit, landed)
        if signals := task.signals:
            self._tokens.give(state.unit, signals, landed)
            for taker in signals:
                self._poke(self._units[taker])
        self._poke(state)
        if self._halting:
            halting, self._halting = self._halting, []
            for other in halting:
                self._poke(other)

    def _report_landings(self, now: int) -> None:
        """Tell ``on_land`` of everything that landed before cycle ``now``; nothing can land there any more."""
        landings = self._landings
        while landings and landings[0][0] < now:
            index = heappop(landings)[-1]
            if self._on_land is not None:
                self._on_land(index)

    # ------------------------------------------------------------------------------------------- port

    def _serve_port(self) -> None:
        """Bring the port up to now and ask to be woken when it next has something to tell."""
        now = int(self._env.now)
        for served in self._port.advance(now):
            if served.requester is Requester.FETCH:
                self._record.arrived.append(served.landed)
                self._dispatch()
            else:
                state = self._units[Unit.LOAD if served.requester is Requester.LOAD else Unit.STORE]
                self._land(state, state.moving, Served(served.first, served.last, served.landed))
        wake = self._port.wake()
        if wake is not None and wake != self._port_wake:
            self._port_wake = wake
            callbacks = self._env.timeout(wake - now, wake).callbacks
            callbacks.append(self._wake_port)

    def _wake_port(self, event: simpy.Event) -> None:
        if event.value == self._port_wake:  # else a newer plan replaced this one
            self._port_wake = None
            self._serve_port()

    # --------------------------------------------------------------------------------------- deadlock

    def _waiting(self) -> list[str]:
        """Per unit with instructions left, what its next one waits for."""
        texts = []
        for state in self._units:
            name, index = state.unit.name.lower(), state.queue.head
            if index is None:
                rest = range(self._next_word, len(self._tasks))
                index = next((word for word in rest if self._tasks[word].unit == state.unit), None)
                if index is not None:
                    full = self._tasks[self._next_word].unit.name.lower()
                    texts.append(
                        f"{name}: instruction {index} is not dispatched, instruction {self._next_word} "
                        f"waits for room in the queue of {full}"
                    )
                continue
            waits = self._tasks[index].waits
            ready, giver = self._tokens.ready(state.unit, waits) if waits else (0, state.unit)
            if ready is None:
                texts.append(f"{name}: instruction {index} waits for a token from {giver.name.lower()}")
            else:
                texts.append(f"{name}: instruction {index} waits for earlier instructions to land")
        return texts
