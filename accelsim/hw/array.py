"""The systolic array register by register, cycle by cycle, with values: what ``--level pe`` runs.

Nothing here knows a law of time. A controller (``sequencer``) decides from its own counters what enters the array and
when a gemm is accepted; the processing elements (``pe``) compute; a gemm lands in the cycle in which its last row is
seen being written to ACC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import ArrayArch
from accelsim.hw.pe import Accumulators, OutputStationary, Update, WeightStationary
from accelsim.hw.sequencer import Edge, OutputSequencer, Place, Sequencer, WeightSequencer
from accelsim.isa.protocol import ArrayWork


@dataclass(frozen=True, slots=True)
class Operands:
    """What a gemm works on: activations ``x`` int8 (m, tiles, k), weights ``w`` int8 (tiles, k, n), the ACC row of
    each of the m rows. ``overwrite`` puts the first sums into ACC instead of adding them.
    """

    x: NDArray[np.int8]
    w: NDArray[np.int8]
    rows: NDArray[np.intp]
    overwrite: bool

    @property
    def work(self) -> ArrayWork:
        tiles, k, _ = self.w.shape
        return ArrayWork(tiles, k, len(self.x))


@dataclass(frozen=True, slots=True)
class Times:
    """Cycles of one gemm: first weight row (ws) or step (os) at the edge, first activation row at the edge, earliest
    acceptance of the next gemm, last write to ACC. ``streams`` has the first activation of every tile or block;
    activations enter in ``streamed`` cycles, and weights alone in ``loaded`` cycles between the first and last tile.
    """

    load: int
    streams: tuple[int, ...]
    free: int
    landed: int
    streamed: int
    loaded: int


@dataclass(frozen=True, slots=True)
class _Ordered(Operands):
    """``puts``: the rows (m,) that overwrite ACC, where not all of them do."""

    puts: NDArray[np.bool_]


def _ordered(operands: Operands, block: int) -> Operands:
    """The sums that an overwriting gemm means, though os blocks drain bottom row first and whole.

    The first tile overwrites at each visit of an ACC row, so of it only the last visit in row order counts: the lanes
    of the others are closed while it enters. Of the visits, the one that drains first overwrites.
    """
    place = np.arange(len(operands.rows))
    drained = place // block * block + (block - 1 - place % block)
    _, row = np.unique(operands.rows, return_inverse=True)
    last, first = np.zeros_like(drained), np.full_like(drained, drained.max())
    np.maximum.at(last, row, place)
    np.minimum.at(first, row, drained)
    x = operands.x.copy()
    x[place != last[row], 0] = 0
    return _Ordered(x=x, w=operands.w, rows=operands.rows, overwrite=True, puts=drained == first[row])


class RegisterArray:
    """The array of one machine over the ACC memory ``acc`` int32 (rows, cols), which it writes row by row.

    :meth:`accept` gemms in the order of their cycles; the registers are clocked up to there. :meth:`run` clocks on,
    so that everything written up to a cycle is in ``acc``.
    """

    def __init__(self, arch: ArrayArch, acc: NDArray[np.int32]) -> None:
        self._arch = arch
        output = arch.dataflow == "os"
        self._sequencer: Sequencer = OutputSequencer(arch) if output else WeightSequencer(arch)
        shadow = arch.weights == "shadow"
        self._pes = (OutputStationary if output else WeightStationary)(arch.rows, arch.cols, shadow=shadow)
        self._accumulators = Accumulators(acc)
        self._gemms: dict[int, Operands] = {}
        self._announced: dict[int, int] = {}
        self._x = np.zeros(arch.rows, np.int32)
        self._w = np.zeros(arch.cols, np.int32)
        self._none_x = np.zeros(arch.rows, np.int32)
        self._none_w = np.zeros(arch.cols, np.int32)
        self._row = np.arange(arch.rows)
        self._no_capture = np.zeros(arch.rows, np.bool_)

    def accept(self, gemm: int, operands: Operands, cycle: int) -> Times:
        """Take gemm ``gemm`` (any number not in flight) in cycle ``cycle``.

        ``operands`` may be views of memories that do not change until the gemm lands. Raises ValueError when the
        array cannot accept a gemm in that cycle.
        """
        self.run(cycle)
        self._sequencer.accept(gemm, operands.work)
        block = self._arch.rows if self._arch.dataflow == "os" else 0
        self._gemms[gemm] = _ordered(operands, block) if block and operands.overwrite else operands
        times = self._foresee(gemm)
        self._announced[gemm] = times.landed
        return times

    def run(self, cycle: int) -> None:
        """Clock every register up to and including ``cycle``."""
        sequencer = self._sequencer
        while sequencer.cycle < cycle:
            if not sequencer.unwritten:
                sequencer.skip(cycle - 1)  # nothing moves until then
            self._clock(sequencer.clock())
            if sequencer.landed is not None:
                assert self._announced.pop(sequencer.landed) == sequencer.cycle, "the controller forked wrongly"
                del self._gemms[sequencer.landed]

    def _foresee(self, gemm: int) -> Times:
        """Clock a copy of the controller until ``gemm`` has landed. Gemms accepted later cannot delay it."""
        twin = self._sequencer.fork()
        load, streams, free, streamed, loaded = -1, list[int](), -1, 0, 0
        while twin.landed != gemm:
            edge = twin.clock()
            entering = edge.shift or edge.stream
            if load < 0 and entering is not None and entering.part.gemm == gemm:
                load = twin.cycle
            if edge.stream is not None and edge.stream.part.gemm == gemm:
                streamed += 1
                if not edge.stream.at:
                    streams.append(twin.cycle)
            elif streams and edge.stream is None and edge.shift is not None and edge.shift.part.gemm == gemm:
                loaded += 1
            if free < 0 and twin.ready:
                free = twin.cycle
        landed = twin.cycle
        while free < 0:
            twin.clock()
            free = twin.cycle if twin.ready else free
        return Times(load, tuple(streams), free, landed, streamed, loaded)

    def _clock(self, edge: Edge) -> None:
        bottom = self._weight_cycle(edge) if isinstance(self._pes, WeightStationary) else self._output_cycle(edge)
        self._accumulators.clock(bottom, self._update(edge.read) if edge.read is not None else None)

    def _weight_cycle(self, edge: Edge) -> NDArray[np.int32]:
        assert isinstance(self._pes, WeightStationary)
        x, w, capture = self._none_x, self._none_w, self._no_capture
        if edge.stream is not None:
            part, row = edge.stream
            values = self._gemms[part.gemm].x[row, part.number]
            x = _widened(values, self._x)
        if edge.shift is not None:
            part, step = edge.shift
            weights = self._gemms[part.gemm].w[part.number]
            row = part.depth - 1 - step  # the last row comes first
            capture = self._row <= step
            if row < len(weights):
                w = _widened(weights[row], self._w)
        return self._pes.clock(x, edge.stream is not None and not edge.stream.at, w, capture)

    def _output_cycle(self, edge: Edge) -> NDArray[np.int32]:
        assert isinstance(self._pes, OutputStationary)
        if edge.stream is None:
            return self._pes.clock(self._none_x, False, False, self._none_w, edge.drain)
        part, step = edge.stream
        gemm = self._gemms[part.gemm]
        tile, depth = divmod(step, gemm.w.shape[1])
        first = part.number * self._arch.rows
        x = _widened(gemm.x[first : first + part.rows, tile, depth], self._x)
        w = _widened(gemm.w[tile, depth], self._w)
        return self._pes.clock(x, not step, step + 1 == part.depth, w, edge.drain)

    def _update(self, place: Place) -> Update:
        """What the aligned row is for: in ws every tile adds, in os the whole reduction is in it."""
        part, row = place
        gemm = self._gemms[part.gemm]
        lanes = gemm.w.shape[-1]
        if self._arch.dataflow == "os":
            row += part.number * self._arch.rows
            return Update(int(gemm.rows[row]), lanes, bool(gemm.puts[row]) if isinstance(gemm, _Ordered) else False)
        return Update(int(gemm.rows[row]), lanes, gemm.overwrite and not part.number)


def _widened(values: NDArray[np.int8], lanes: NDArray[np.int32]) -> NDArray[np.int32]:
    """``values`` in the first lanes, zeros in the others."""
    lanes[: len(values)] = values
    lanes[len(values) :] = 0
    return lanes
