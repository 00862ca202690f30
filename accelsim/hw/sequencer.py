"""The controllers of the array: counters and bits that travel beside the data, one clock edge at a time.

A controller says in each cycle what enters at the edges of the array and which aligned row is read into ACC. It knows
counts, never values, and contains no law of time: when a gemm can be accepted and when it lands is seen by clocking.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

from accelsim.arch import ArrayArch
from accelsim.isa.protocol import ArrayWork


@dataclass(frozen=True, slots=True)
class Part:
    """A weight tile (ws) or row block (os): number ``number`` of gemm ``gemm``; ``last`` of it.

    ws: ``depth`` weight rows are shifted in, ``rows`` activation rows streamed. os: ``depth`` steps of the reduction
    are streamed, ``rows`` of the array's rows are used.
    """

    gemm: int
    number: int
    depth: int
    rows: int
    last: bool


class Place(NamedTuple):
    """Row or step ``at`` of a part."""

    part: Part
    at: int


class Edge(NamedTuple):
    """One cycle. ``shift``: weight row at the top edge, counted from the one that enters first (ws). ``stream``:
    activation row at the left edge (ws) or reduction step at both edges (os). ``drain``: step in which column 0
    drains (os). ``read``: the row of sums that is aligned, for which ACC is read.
    """

    shift: Place | None
    stream: Place | None
    drain: int
    read: Place | None


class Sequencer(ABC):
    """Accepts gemms and moves their parts through the array; call :meth:`clock` for each cycle, then perhaps
    :meth:`accept` for the same one. ``cycle`` is the cycle that was clocked last.
    """

    def __init__(self, arch: ArrayArch) -> None:
        self._rows = arch.rows
        self._shadow = arch.weights == "shadow"
        self._overlap = arch.overlap == "full"
        self.cycle = -1
        self.ready = True  # whether a gemm can be accepted in this cycle
        self.landed: int | None = None  # the gemm whose last row is written in this cycle
        self.unwritten = 0  # parts accepted and not written entirely
        self._waiting: deque[Part] = deque()  # accepted, not issued
        self._issued: deque[Part] = deque()  # may enter from the next cycle on
        self._step = 0
        self._streaming: Part | None = None
        self._row = 0
        self._tags: deque[Place | None] = deque()  # registers beside the sums of column 0
        self._writing: Place | None = None  # register: the row being added and written

    def fork(self) -> Sequencer:
        """An independent copy, to see what will happen if nothing else is accepted."""
        twin = copy(self)
        twin._waiting, twin._issued, twin._tags = deque(self._waiting), deque(self._issued), deque(self._tags)
        return twin

    def accept(self, gemm: int, work: ArrayWork) -> None:
        """Accept a gemm in this cycle. Raises ValueError when the array is not ready."""
        if not self.ready:
            raise ValueError(f"the array cannot accept gemm {gemm} in cycle {self.cycle}")
        self._waiting.extend(self._parts(gemm, work))
        self.unwritten += len(self._waiting)
        # A controller without overlap issues one part at a time, the first with its gemm.
        for _ in range(len(self._waiting) if self._overlap else 1):
            self._issued.append(self._waiting.popleft())
        self.ready = False

    def skip(self, cycle: int) -> None:
        """Pass over the cycles up to ``cycle``, in which nothing moves: every accepted row is written."""
        assert not self.unwritten, "rows are on their way"
        self.cycle = max(self.cycle, cycle)

    def clock(self) -> Edge:
        """One cycle: what the registers show, and the edge at its end."""
        self.cycle += 1
        edge = self._clock()
        if self._overlap:
            self.ready = not self._issued and self._last_entering()
        else:
            self.ready = not self.unwritten
            if self._waiting and self.unwritten == len(self._waiting):
                self._issued.append(self._waiting.popleft())
        written, self._writing = self._writing, edge.read
        self.landed = None
        if written is not None and self._completes(written):
            self.unwritten -= 1
            self.landed = written.part.gemm if written.part.last else None
        return edge

    def _delay(self, tag: Place | None) -> Place | None:
        self._tags.append(tag)
        return self._tags.popleft()

    @abstractmethod
    def _clock(self) -> Edge: ...

    @abstractmethod
    def _parts(self, gemm: int, work: ArrayWork) -> Iterable[Part]: ...

    @abstractmethod
    def _last_entering(self) -> bool:
        """Whether the part that shifts in or streams, if any, is in its last cycle of that."""

    @abstractmethod
    def _completes(self, place: Place) -> bool:
        """Whether this is the row of its part that is written last."""


class WeightSequencer(Sequencer):
    """ws: a shift counter and a row counter; one tile may be shifted in while another streams."""

    def __init__(self, arch: ArrayArch) -> None:
        super().__init__(arch)
        self._shifting: Part | None = None
        self._loaded: Part | None = None  # shifted in, no row has entered
        self._tags.extend([None] * (arch.rows + arch.cols))

    def _parts(self, gemm: int, work: ArrayWork) -> Iterable[Part]:
        # Without overlap all rows are shifted in, zeros where there are no weights.
        depth = work.k if self._overlap else self._rows
        return (Part(gemm, tile, depth, work.m, tile + 1 == work.tiles) for tile in range(work.tiles))

    def _clock(self) -> Edge:
        if self._streaming is None and self._loaded is not None:
            self._streaming, self._loaded, self._row = self._loaded, None, 0
        free = self._loaded is None and ((self._shadow and self._overlap) or self._streaming is None)
        if self._shifting is None and self._issued and free:
            self._shifting, self._step = self._issued.popleft(), 0
        shift = stream = None
        if self._shifting is not None:
            shift = Place(self._shifting, self._step)
        if self._streaming is not None:
            stream = Place(self._streaming, self._row)
        return Edge(shift, stream, 0, self._delay(stream))

    def clock(self) -> Edge:
        edge = super().clock()
        if edge.stream is not None:
            self._row += 1
            if self._row == edge.stream.part.rows:
                self._streaming = None
        if edge.shift is not None:
            self._step += 1
            if self._step == edge.shift.part.depth:
                self._shifting, self._loaded = None, edge.shift.part
        return edge

    def _last_entering(self) -> bool:
        return self._shifting is None or self._step + 1 == self._shifting.depth

    def _completes(self, place: Place) -> bool:
        return place.at + 1 == place.part.rows


class OutputSequencer(Sequencer):
    """os: a step counter for the block that streams, a counter for the drain, and bits that start it."""

    def __init__(self, arch: ArrayArch) -> None:
        super().__init__(arch)
        self._occupied = 0  # cycles for which the top row still holds the sum of the block before
        # The last bit passes a register per row and one into the drain register of the bottom row.
        self._ends: deque[Part | None] = deque([None] * (arch.rows + 1))
        self._draining: Part | None = None
        self._drain_step = 0
        self._tags.extend([None] * arch.cols)

    def fork(self) -> Sequencer:
        twin = super().fork()
        assert isinstance(twin, OutputSequencer)
        twin._ends = deque(self._ends)
        return twin

    def _parts(self, gemm: int, work: ArrayWork) -> Iterable[Part]:
        depth, rows = work.k * work.tiles, self._rows
        blocks = -(-work.m // rows)
        return (
            Part(gemm, block, depth, min(rows, work.m - block * rows), block + 1 == blocks) for block in range(blocks)
        )

    def _clock(self) -> Edge:
        # With drain registers the top row may be needed again when the next block has streamed, else at once.
        grace = self._issued[0].depth if self._issued and self._shadow else 0
        if self._streaming is None and self._issued and self._occupied <= grace:
            self._streaming, self._row = self._issued.popleft(), 0
        stream = Place(self._streaming, self._row) if self._streaming is not None else None
        drain, read = self._drain(stream is not None and self._last_entering())
        return Edge(None, stream, drain, read)

    def _drain(self, ends: bool) -> tuple[int, Place | None]:
        """The drain step of column 0 (rows: none) and the row that is aligned."""
        self._ends.append(self._streaming if ends else None)
        started = self._ends.popleft()
        if started is not None:
            self._draining, self._drain_step = started, 0
        step, tag = self._rows, None
        if self._draining is not None:
            step = self._drain_step
            row = self._rows - 1 - step
            tag = Place(self._draining, row) if row < self._draining.rows else None
            self._drain_step += 1
            if self._drain_step == self._rows:
                self._draining = None
        return step, self._delay(tag)

    def clock(self) -> Edge:
        edge = super().clock()
        self._occupied = max(0, self._occupied - 1)
        if edge.stream is not None:
            self._row += 1
            if self._row == edge.stream.part.depth:
                self._streaming, self._occupied = None, self._rows
        return edge

    def _last_entering(self) -> bool:
        return self._streaming is None or self._row + 1 == self._streaming.depth

    def _completes(self, place: Place) -> bool:
        return place.at == 0
