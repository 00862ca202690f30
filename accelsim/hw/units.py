"""The four in-order units: what each remembers between instructions, and how long its instructions take alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.hw.array import Operands, RegisterArray, Times
from accelsim.hw.queues import InstructionQueue
from accelsim.isa.protocol import ArrayWork, FillWork, HaltWork, SyncWork, TransferWork, Unit, VectorWork, Work
from accelsim.timing import IDLE_ARRAY, Rhythm, advance, fill_cycles, rhythm, vector_cycles
from accelsim.trace import Kind, Requester

KINDS: dict[type[Work], Kind] = {
    ArrayWork: Kind.ARRAY,
    VectorWork: Kind.VECTOR,
    TransferWork: Kind.TRANSFER,
    FillWork: Kind.FILL,
    SyncWork: Kind.SYNC,
    HaltWork: Kind.HALT,
}


class Phase(NamedTuple):
    """When a gemm's weights and rows entered the array."""

    instruction: int
    load: int
    stream: int
    beat: Rhythm


class Served(NamedTuple):
    """First cycle of work, earliest cycle of the next acceptance, cycle of the last effect."""

    started: int
    free: int
    landed: int


class UnitState:
    """One unit. ``free`` is the earliest next acceptance, None while a transfer still waits for its last grant;
    ``landed`` the latest landing so far (landings are in order); ``armed`` while an acceptance is scheduled.
    """

    __slots__ = ("armed", "free", "landed", "moving", "queue", "requester", "unit")

    def __init__(self, unit: Unit, depth: int) -> None:
        self.unit = unit
        self.queue = InstructionQueue(depth)
        self.requester = Requester.STORE if unit is Unit.STORE else Requester.LOAD
        self.free: int | None = 0
        self.landed = -1
        self.armed = False
        self.moving = -1  # the transfer whose bursts are being granted


class ArrayUnit:
    """Runs gemms by the array's law and keeps their phases for the trace."""

    def __init__(self, arch: Arch) -> None:
        self._arch = arch.array
        self._state = IDLE_ARRAY
        self.phases: list[Phase] = []

    def serve(self, index: int, work: ArrayWork, accepted: int) -> Served:
        """Take gemm ``index`` in cycle ``accepted``."""
        free, landed, state = advance(self._state, work, accepted, self._arch)
        self._state = state
        self.phases.append(Phase(index, state.load, state.stream, rhythm(work, self._arch)))
        return Served(state.load, free, landed)


class RegisterArrayUnit(ArrayUnit):
    """Runs gemms through the registers of the array, which write ACC; knows no law of its cycles.

    ``operands(i)`` gives what gemm i works on, asked for when it is accepted.
    """

    def __init__(self, arch: Arch, acc: NDArray[np.int32], operands: Callable[[int], Operands]) -> None:
        super().__init__(arch)
        self._registers = RegisterArray(arch.array, acc)
        self._operands = operands
        self._landed: dict[int, int] = {}

    def serve(self, index: int, work: ArrayWork, accepted: int) -> Served:
        """Take gemm ``index`` in cycle ``accepted``."""
        times = self._registers.accept(index, self._operands(index), accepted)
        self.phases.append(Phase(index, times.load, times.streams[0], seen_rhythm(times)))
        self._landed[index] = times.landed
        return Served(times.load, times.free, times.landed)

    def land(self, index: int) -> None:
        """Bring ACC to the end of the cycle in which gemm ``index`` landed."""
        self._registers.run(self._landed.pop(index))


def seen_rhythm(times: Times) -> Rhythm:
    """How the parts of a gemm were seen to follow each other; a single part has a period of its own length.

    Raises ValueError if they are not equal, which the trace could not show.
    """
    parts = len(times.streams)
    streaming, odd = divmod(times.streamed, parts)
    loading, left = divmod(times.loaded, max(1, parts - 1))
    periods = {after - before for before, after in pairwise(times.streams)} or {streaming}
    if odd or left or len(periods) > 1:
        raise ValueError(f"the parts of a gemm do not repeat: {times}")
    return Rhythm(parts, periods.pop(), streaming, loading)


def serve_vector(work: VectorWork, accepted: int, arch: Arch) -> Served:
    """The vector unit takes its next instruction when this one has landed."""
    landed = accepted + vector_cycles(work, arch.alu)
    return Served(accepted + 1, landed + 1, landed)


def serve_fill(work: FillWork, accepted: int) -> Served:
    """A fill occupies the unit until its last row is written."""
    written = accepted + fill_cycles(work)
    return Served(accepted + 1, written, written)


def serve_sync(accepted: int) -> Served:
    """``sync`` and ``halt`` land in the cycle in which they are accepted."""
    return Served(accepted, accepted + 1, accepted)
