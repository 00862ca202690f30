"""Collects the cycles of a run while it happens and turns them into a :class:`~accelsim.trace.Trace`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.hw.units import KINDS, Phase
from accelsim.isa.protocol import Task
from accelsim.trace import ArrayPhases, Trace


class Record:
    """Plain lists, one entry per instruction (``requested``, ``arrived``: per fetch burst); -1 is not yet known."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        count = len(tasks)
        self._tasks = tasks
        self.requested: list[int] = []
        self.arrived: list[int] = []
        self.dispatched = [-1] * count
        self.token_ready = [-1] * count
        self.token_unit = [-1] * count
        self.asked = [-1] * count
        self.accepted = [-1] * count
        self.started = [-1] * count
        self.free = [-1] * count
        self.landed = [-1] * count
        self.bursts = [0] * count

    def quiet_from(self) -> int:
        """First cycle in which nothing happens any more."""
        columns = (self.arrived, self.dispatched, self.accepted, self.landed)
        return max(max(column, default=-1) for column in columns) + 1

    def trace(self, phases: Sequence[Phase], granted: Sequence[int], carriers: Sequence[int]) -> Trace:
        """The finished trace; every landing must be known. ``carriers[w]`` is the fetch burst that completes word w."""
        fetch, load, store = granted
        beats = [phase.beat for phase in phases]
        return Trace(
            unit=_column([task.unit for task in self._tasks]),
            kind=_column([KINDS[type(task.work)] for task in self._tasks]),
            requested=_column([self.requested[burst] for burst in carriers]),
            arrived=_column([self.arrived[burst] for burst in carriers]),
            dispatched=_column(self.dispatched),
            token_ready=_column(self.token_ready),
            token_unit=_column(self.token_unit),
            asked=_column([accepted if asked < 0 else asked for asked, accepted in zip(self.asked, self.accepted)]),
            accepted=_column(self.accepted),
            started=_column(self.started),
            free=_column(self.free),
            landed=_column(self.landed),
            bursts=_column(self.bursts),
            port_bursts=(fetch, load, store),
            array=ArrayPhases(
                index=_column([phase.instruction for phase in phases]),
                load=_column([phase.load for phase in phases]),
                stream=_column([phase.stream for phase in phases]),
                count=_column([beat.parts for beat in beats]),
                period=_column([beat.period for beat in beats]),
                streaming=_column([beat.streaming for beat in beats]),
                loading=_column([beat.loading for beat in beats]),
            ),
        )


def _column(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)
