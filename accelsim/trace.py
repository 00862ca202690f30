"""What happened when: the cycles of every instruction, and what follows from them.

A :class:`Trace` holds facts only; spans, layer ends and cycle splits are computed from them on demand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accelsim.cyclesplit import Segments, segments
from accelsim.isa.protocol import Unit

Cycles = NDArray[np.int64]


class Requester(IntEnum):
    """Who asks the DRAM port for bursts, in the order of ties."""

    FETCH = 0
    LOAD = 1
    STORE = 2


class Kind(IntEnum):
    """What sort of work an instruction is."""

    ARRAY = 0
    VECTOR = 1
    TRANSFER = 2
    FILL = 3
    SYNC = 4
    HALT = 5


@dataclass(frozen=True, slots=True)
class Span:
    """``unit`` from cycle ``start`` to before ``stop``: busy with instruction ``index`` if ``wait`` is empty, else
    waiting to accept it. ``wait`` is ``queue``, ``port``, ``token:<unit>``, ``drain``, ``bank`` or
    ``done`` (index -1).
    """

    unit: Unit
    index: int
    start: int
    stop: int
    wait: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayPhases:
    """The gemms in program order, by ``index``: first cycle in which weights are shifted in (``load``), in which
    activation rows enter (``stream``), and ``count`` tiles or row blocks that stream for ``streaming`` cycles every
    ``period`` cycles, of which the last ``loading`` are for weights alone.
    """

    index: Cycles
    load: Cycles
    stream: Cycles
    count: Cycles
    period: Cycles
    streaming: Cycles
    loading: Cycles


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One run. Arrays are int64, one entry per instruction in program order; cycles count from 0.

    ``requested``/``arrived``: the fetch burst with the word's last byte is visible to the port / has landed.
    ``dispatched``: the word enters its unit's queue. ``accepted``: tokens are taken. ``started``: first cycle of work
    (gemm: weights or rows enter; load, store: first burst granted; alu, fill: accepted + 1; sync, halt: accepted).
    ``free``: earliest cycle in which the unit could accept its next instruction. ``landed``: the last effect.
    ``token_ready``: first cycle in which all tokens were there (-1 without waits), ``token_unit`` who was last.
    ``asked``: from when on nothing but UB banks was missing (``accepted`` if banks do not matter).
    ``bursts``: DRAM bursts of the instruction; ``port_bursts``: of each :class:`Requester`.
    """

    unit: Cycles
    kind: Cycles
    requested: Cycles
    arrived: Cycles
    dispatched: Cycles
    token_ready: Cycles
    token_unit: Cycles
    asked: Cycles
    accepted: Cycles
    started: Cycles
    free: Cycles
    landed: Cycles
    bursts: Cycles
    port_bursts: tuple[int, int, int]
    array: ArrayPhases

    @cached_property
    def cycles(self) -> int:
        """Length of the run: one more than the last landing (0 without instructions)."""
        return int(self.landed.max()) + 1 if len(self.landed) else 0

    def landings(self) -> list[int]:
        """The instructions in the order in which they land; ties by unit, then in program order."""
        return np.lexsort((self.unit, self.landed)).tolist()

    def spans(self, unit: Unit) -> list[Span]:
        """The unit's timeline: spans in order that tile ``[0, cycles)`` without gap or overlap."""
        return list(self._spans(unit))

    def busy_cycles(self, unit: Unit) -> int:
        """Cycles in which the unit is busy with some instruction."""
        _, bounds = self._bounds(unit)
        return int((bounds[:, -1] - bounds[:, -2]).sum())

    def wait_cycles(self, unit: Unit) -> dict[str, int]:
        """Cycles per named wait; with :meth:`busy_cycles` they sum to :attr:`cycles`. Waits of 0 are left out."""
        index, bounds = self._bounds(unit)
        lengths = np.diff(bounds, axis=1)
        waits = {name: int(lengths[:, place].sum()) for name, place in (("port", 1), ("drain", 4), ("bank", 5))}
        waits["queue"] = int(lengths[:, (0, 2)].sum())
        for giver in Unit:
            token = lengths[:, 3][self.token_unit[index] == giver]
            waits[f"token:{giver.name.lower()}"] = int(token.sum())
        waits["done"] = self.cycles - int(bounds[-1, -1]) if len(index) else self.cycles
        return {name: waits[name] for name in sorted(waits) if waits[name]}

    def layer_ends(self, layer_of: Sequence[int], count: int) -> Cycles:
        """End cycle of each of ``count`` layers, never before its predecessor's; the last ends with the run.

        ``layer_of`` gives each instruction's layer, -1 for none.
        """
        last = np.zeros(count, dtype=np.int64)
        layers = np.asarray(layer_of, dtype=np.int64)
        mine = layers >= 0
        np.maximum.at(last, layers[mine], self.landed[mine] + 1)
        ends = np.maximum.accumulate(last)
        if count:
            ends[-1] = self.cycles
        return ends

    def cycle_split(self, start: int, stop: int) -> dict[str, int]:
        """What the cycles from ``start`` to before ``stop`` were spent on; the values sum to ``stop - start``."""
        return self._segments.split(start, stop)

    def array_cycles(self, start: int, stop: int, chosen: NDArray[np.bool_]) -> int:
        """Of ``array`` and ``weight_load`` of :meth:`cycle_split`, spent on ``chosen`` instructions (a mask)."""
        return self._segments.array_cycles(start, stop, chosen[self.array.index])

    def bank_waits(self, unit: Unit) -> tuple[Cycles, Cycles, Cycles]:
        """The waits ``bank`` of a unit: instructions in order, first cycles, cycles of acceptance."""
        index, bounds = self._bounds(unit)
        return index, bounds[:, 5], bounds[:, 6]

    @cached_property
    def _segments(self) -> Segments:
        live = self.landed + 1
        flights = [
            (self.accepted[mask], live[mask])
            for mask in (
                self.kind == Kind.VECTOR,
                ((self.kind == Kind.TRANSFER) & (self.unit == Unit.LOAD)) | (self.kind == Kind.FILL),
                self.kind == Kind.ARRAY,
                (self.kind == Kind.TRANSFER) & (self.unit == Unit.STORE),
            )
        ]
        return segments(self.array, flights, self.cycles)

    def _bounds(self, unit: Unit) -> tuple[Cycles, Cycles]:
        """Indices of the unit's instructions and, per instruction, eight ascending cycles that cut its time into
        queue, port, queue, token, drain, bank and busy.
        """
        index = np.flatnonzero(self.unit == unit).astype(np.int64)
        accepted, live = self.accepted[index], self.landed[index] + 1
        stop = live.copy()
        stop[:-1] = np.minimum(live[:-1], accepted[1:])
        gap = np.zeros_like(stop)
        gap[1:] = stop[:-1]
        cuts = (self.requested, self.arrived + 1, self.dispatched + 1, self.token_ready, self.asked)
        columns = [gap, *(np.minimum(cut[index], accepted) for cut in cuts), accepted, stop]
        return index, np.maximum.accumulate(np.stack(columns, axis=1), axis=1)

    def _spans(self, unit: Unit) -> Iterator[Span]:
        index, bounds = self._bounds(unit)
        at = 0
        names = ["queue", "port", "queue", "", "drain", "bank", ""]
        givers = [f"token:{giver.name.lower()}" for giver in Unit]
        for i, giver, row in zip(index.tolist(), self.token_unit[index].tolist(), bounds.tolist()):
            names[3] = givers[giver]
            for wait, start, stop in zip(names, row, row[1:]):
                if stop > start:
                    yield Span(unit, i, start, stop, wait)
                    at = stop
        if at < self.cycles:
            yield Span(unit, -1, at, self.cycles, "done")
