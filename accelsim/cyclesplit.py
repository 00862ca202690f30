"""Splits time into what the machine was spending it on, with interval arithmetic.

Each cycle goes to the first category that applies: ``array`` (activation rows enter), ``weight_load`` (the array only
shifts weights in), ``alu``, ``dram`` (a load in flight, fills included), ``fill_drain`` (a gemm in flight whose rows
have all entered), ``store``, ``dispatch`` (nothing else). Pauses that the array itself makes between the tiles or
blocks of one gemm are ``weight_load`` or ``fill_drain`` whatever the other units do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Cycles = NDArray[np.int64]

CATEGORIES = ("array", "weight_load", "alu", "dram", "fill_drain", "store", "dispatch")
_ARRAY, _WEIGHTS, _FILL_DRAIN, _DISPATCH = (
    CATEGORIES.index(name) for name in ("array", "weight_load", "fill_drain", "dispatch")
)


class Phases(Protocol):
    """What is needed of ``accelsim.trace.ArrayPhases``."""

    @property
    def load(self) -> Cycles: ...
    @property
    def stream(self) -> Cycles: ...
    @property
    def count(self) -> Cycles: ...
    @property
    def period(self) -> Cycles: ...
    @property
    def streaming(self) -> Cycles: ...
    @property
    def loading(self) -> Cycles: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """Segment i lasts from ``bounds[i]`` to before ``bounds[i + 1]`` and is of ``category[i]``.

    Segments of category ``array`` lie in the stream of gemm ``gemm[i]`` and repeat by its rhythm.
    """

    bounds: Cycles
    category: Cycles
    gemm: Cycles
    phases: Phases

    def split(self, start: int, stop: int) -> dict[str, int]:
        """Cycles per category in ``[start, stop)``."""
        cut, category, gemm = self._inside(start, stop)
        lengths = np.diff(cut)
        totals = [int(lengths[category == place].sum()) for place in range(len(CATEGORIES))]
        rows, weights = (int(part.sum()) for part in self._streamed(cut, category, gemm))
        totals[_FILL_DRAIN] += totals[_ARRAY] - rows - weights
        totals[_WEIGHTS] += weights
        totals[_ARRAY] = rows
        return dict(zip(CATEGORIES, totals))

    def array_cycles(self, start: int, stop: int, chosen: NDArray[np.bool_]) -> int:
        """Cycles of ``array`` and ``weight_load`` in ``[start, stop)`` that are spent on the ``chosen`` gemms."""
        cut, category, gemm = self._inside(start, stop)
        rows, weights = self._streamed(cut, category, gemm)
        between = category == _WEIGHTS  # weights are those of the gemm that streams next
        stream = gemm[category == _ARRAY]
        streamed = (rows + weights)[chosen[stream]].sum()
        return int(streamed + np.diff(cut)[between][chosen[gemm[between] + 1]].sum())

    def _inside(self, start: int, stop: int) -> tuple[Cycles, Cycles, Cycles]:
        """The bounds of the segments in ``[start, stop)``, their categories and gemms."""
        first = max(0, int(np.searchsorted(self.bounds, start, side="right")) - 1)
        last = max(first, int(np.searchsorted(self.bounds, stop, side="left")))
        cut = np.clip(self.bounds[first : last + 1], start, stop)
        return cut, self.category[first:last], self.gemm[first:last]

    def _streamed(self, cut: Cycles, category: Cycles, gemm: Cycles) -> tuple[Cycles, Cycles]:
        """Streaming and weights-only cycles of each segment of category ``array``."""
        stream = np.flatnonzero(category == _ARRAY)
        begin = self._entered(gemm[stream], cut[stream])
        end = self._entered(gemm[stream], cut[stream + 1])
        return end[0] - begin[0], end[1] - begin[1]

    def _entered(self, gemm: Cycles, cycle: Cycles) -> tuple[Cycles, Cycles]:
        """Streaming and weights-only cycles of each gemm before ``cycle``."""
        phases = self.phases
        period, streaming, loading = phases.period[gemm], phases.streaming[gemm], phases.loading[gemm]
        whole, part = np.divmod(cycle - phases.stream[gemm], period)
        rows = whole * streaming + np.minimum(part, streaming)
        return rows, whole * loading + np.maximum(0, part - (period - loading))


def segments(phases: Phases, flights: Sequence[tuple[Cycles, Cycles]], cycles: int) -> Segments:
    """Cut ``[0, cycles)``. ``flights`` are starts and stops of what is in flight for ``alu`` to ``store``, each in
    order of start.
    """
    stream_stop = phases.stream + (phases.count - 1) * phases.period + phases.streaming
    before = np.concatenate([np.zeros(min(1, len(stream_stop)), dtype=np.int64), stream_stop[:-1]])
    weights = (np.maximum(phases.load, before), phases.stream)
    levels = [(phases.stream, stream_stop), weights, *flights]
    edges = [edge for level in levels for edge in level]
    bounds = distinct(np.clip(np.concatenate([*edges, np.array([0, cycles])]), 0, cycles))
    starts = bounds[:-1]
    category = np.full(len(starts), _DISPATCH, dtype=np.int64)
    for place in range(len(levels) - 1, -1, -1):
        category[_covered(starts, *levels[place])] = place
    gemm = np.searchsorted(phases.stream, starts, side="right").astype(np.int64) - 1
    return Segments(bounds=bounds, category=category, gemm=gemm, phases=phases)


def distinct(values: Cycles) -> Cycles:
    """The values in order, each once. Not ``numpy.unique``, which imports a library of its own."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] > ordered[:-1]])]


def _covered(points: Cycles, start: Cycles, stop: Cycles) -> NDArray[np.bool_]:
    """Whether each point lies in one of the intervals ``[start, stop)``."""
    used = stop > start
    opened = np.searchsorted(np.sort(start[used]), points, side="right")
    closed = np.searchsorted(np.sort(stop[used]), points, side="right")
    return opened > closed
