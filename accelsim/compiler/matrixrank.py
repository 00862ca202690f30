"""What tiles of matrix work ask of the units, and what they cost: a closed form over the laws of ``timing``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.grid import WORD_BYTES, Grid, Numbers, Pace, Ranks, Reals, Surroundings, followers
from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Packing, array_cycles, slab_rows
from accelsim.compiler.plan import strip_shape
from accelsim.compiler.work import UNEVEN

FOLLOWING = 1.5
"""Tiles that pass before an operation behind the first has what it needs, on average."""

PIECEMEAL = 1.1
"""What it costs when operations that follow row by row are fed by tiles narrower than a row."""


@dataclass(frozen=True, slots=True)
class MatrixWork:
    """What tiles ask of the units, one array entry each; cycles unless said otherwise.

    ``busy``: of array or vector unit, whichever has more to do; ``alone``: while one of them waits for the other.
    ``fixed``, ``read`` and ``loaded``: bytes that pass the port however the output is buffered, those of input strips,
    those of weights. ``copied``: before the array has its first odd bytes; ``seen``: rows of an input of the network
    before it has its first operands; ``first``: bytes of its first weights; ``end``: after its last operands.
    ``stall``: waiting for ACC. ``visits`` and ``tiles``: how often the array waits for an input strip, or the vector
    unit for an output strip, if there is but one. ``sums``: ACC rows that gemms update; ``lanes`` and ``depth``: bytes
    of ACC and of UB for each. ``blocks`` and ``width``: of output channels, and channels of a block.
    """

    busy: Reals
    alone: Reals
    fixed: Reals
    read: Reals
    loaded: Numbers
    words: Numbers
    copied: Numbers
    seen: Reals
    first: Numbers
    end: Numbers
    stall: Numbers
    visits: Numbers
    tiles: Numbers
    sums: Numbers
    lanes: Numbers
    depth: Numbers
    blocks: Numbers
    width: Numbers


def work_of(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid) -> MatrixWork:
    """The work of candidates with one packing."""
    w, blocks, parts = op.window, len(packing.blocks), packing.parts
    down, across = -(-w.out_h // grid.rows), -(-w.out_w // grid.cols)
    tiles, passes = -(-around.images // grid.together) * down * across, -(-blocks // grid.group)
    sums = around.images * w.out_h * across * -(-grid.cols // packing.pixels)  # ACC rows of a block over all tiles
    per_row = max(1, -(-packing.lanes // arch.alu.lanes)) * (2 if op.table is not None else 1)
    gemm = _ragged(grid, w.out_h, w.out_w, packing, arch) * around.images * blocks * parts + around.gemm_rows
    copied = grid.plane // max(1, packing.odd)
    vector = sums * blocks * per_row + around.vector_steps + tiles * blocks * (arch.alu.latency + 1)
    vector = vector + passes * tiles * copied
    weights = sum(packing.weight_rows * packing.pixels * block.count for block in packing.blocks) * parts
    resident = packing.weight_rows * parts * grid.group <= arch.wgt_rows
    loaded = np.where(resident, weights, weights * tiles)
    visits = tiles * passes
    words = tiles * blocks * (1 + 2 * len(packing.slabs) * parts)
    words = words + np.where(resident, blocks * len(packing.slabs) * parts, 0)
    words = words + np.where(grid.strip_in > 0, 2 * visits * parts, 0)
    more, vector_words, parameters = followers(around, grid.rows, w.out_h)
    vector = vector + vector_words * (arch.alu.latency + 1)
    stream = grid.together * grid.rows * -(-grid.cols // packing.pixels)
    end = stream * per_row + arch.array.rows + arch.array.cols
    # One unit works alone on the first tiles, the other on the last.
    alone = np.minimum(1, FOLLOWING / down) * np.minimum(gemm, vector) if around.behind else np.zeros(len(down))
    same = np.ones_like(tiles)
    return MatrixWork(
        busy=np.maximum(gemm, vector), alone=alone,
        fixed=loaded + around.moved_bytes + around.input_bytes + parameters,
        read=_input_bytes(op, packing, arch, grid, visits), loaded=loaded, words=words + more, copied=copied,
        seen=np.clip((grid.rows - 1) * w.stride[0] + w.span[0] - w.pads[0], w.in_h / 4, w.in_h),
        first=same * slab_rows(packing.slabs[0]) * packing.lanes, end=end,
        stall=_stalls(packing, arch.acc_rows - around.side_rows, grid, tiles, stream, end),
        visits=np.where(tiles * parts > 1, visits * parts, 0), tiles=np.where(visits > 1, tiles, 0),
        sums=sums * blocks * parts,
        lanes=same * 8 * sum(count * tiles for count, tiles, _ in packing.gemms) * packing.lanes,
        depth=same * packing.weight_rows, blocks=same * blocks, width=same * (packing.lanes // packing.pixels),
    )  # fmt: skip


def _ragged(grid: Grid, height: int, width: int, packing: Packing, arch: Arch) -> Reals:
    """Array cycles of one block over all tiles, the smaller ones at the edges included."""
    total = np.zeros(len(grid.rows))
    rows, cols = grid.rows, grid.cols
    for tall, downs in ((rows, height // rows), (height % rows, (height % rows > 0).astype(np.int64))):
        for wide, acrosses in ((cols, width // cols), (width % cols, (width % cols > 0).astype(np.int64))):
            if not (acrosses.any() and downs.any()):
                continue
            values, where = np.unique(tall * -(-wide // packing.pixels), return_inverse=True)
            known = [array_cycles(packing, value, arch) if value else 0 for value in values.tolist()]
            total += downs * acrosses * np.array(known)[where]
    return total


def _input_bytes(op: MatOp, packing: Packing, arch: Arch, grid: Grid, visits: Numbers) -> Reals:
    """Port bytes of the input strips, uneven ends of runs included."""
    w, burst = op.window, arch.dram.burst_bytes
    if packing.parts > 1:
        run: Any = packing.channels
        even: Any = False
    else:
        run = np.maximum(1, strip_shape(w, grid.rows, grid.cols)[0][1] * w.in_c)
        even = (grid.cols >= w.out_w) & (w.pads[2] == w.pads[3] == 0)
    extra = np.where(even | (run % burst == 0), 0, UNEVEN * burst / run)
    return visits * packing.parts * grid.strip_in * (1 + extra)


def _stalls(packing: Packing, acc: int, grid: Grid, tiles: Numbers, stream: Numbers, drain: Numbers) -> Numbers:
    """Cycles in which the array waits until sums have left ACC, where two tiles of them do not fit."""
    blocks = len(packing.blocks)
    if packing.parts > 1:
        return np.where(2 * grid.group * stream > acc, tiles * -(-blocks // grid.group) * drain, 0)
    return np.where((2 * stream > acc) & (tiles * blocks > 1), tiles * blocks * drain, 0)


@dataclass(frozen=True, slots=True)
class MatrixFit:
    """The tiles that fit, with their work. ``moved``: bytes through the port."""

    around: Surroundings
    grid: Grid
    work: MatrixWork
    moved: Reals
    narrow: Reals
    """Where tiles are narrower than the output."""
    height: int
    """Rows of the input."""

    @property
    def words(self) -> Numbers:
        """Instructions, roughly."""
        return self.work.words

    def rank(self, pace: Pace) -> Ranks:
        """The busiest of array, vector unit and port, what both ends expose, and the stalls of single buffers."""
        work, around, rate = self.work, self.around, pace.rate
        busy = np.maximum(work.busy, self.moved / rate)
        brought, taken = self.grid.strip_in / rate, self.grid.strip_out / rate + pace.latency
        cycles = busy + self._ends(pace, brought, taken) + pace.word_cycles * work.words
        if around.behind:
            cycles = cycles + work.alone
        waits = self.grid.strips_in == 1
        stall = work.stall + np.where(waits, work.visits * (brought + pace.latency), 0)
        cycles = cycles + (stall + np.where(self.grid.strips_out == 1, work.tiles * taken, 0))
        if around.behind:
            cycles = np.where(self.narrow, PIECEMEAL * cycles, cycles)
        energy = self._energy_pj(pace, cycles)
        return Ranks(pace.aim.cost(cycles, energy), cycles, busy, energy)

    def _ends(self, pace: Pace, brought: Reals, taken: Reals) -> Reals:
        """Cycles before the array has its first operands and after it has given its last sums."""
        work, around, rate = self.work, self.around, pace.rate
        start = brought + work.copied
        if around.input_bytes:
            start = start + around.input_bytes / rate * work.seen / self.height
        if around.leads:  # behind another chain, the first weights are loaded while that one ends
            start = start + pace.latency + work.first / rate
        return start + work.end + np.where(self.grid.strip_out > 0, taken, 0)

    def _energy_pj(self, pace: Pace, cycles: Reals) -> Reals:
        """What depends on the plan: bytes moved and loaded, bytes that gemms read and sums they update, and time."""
        prices, work = pace.aim.prices, self.work
        if prices is None:
            return np.zeros(len(cycles))
        return (
            prices.dram_byte_pj * self.moved
            + prices.wgt_byte_pj * work.loaded
            + prices.ub_byte_pj * (self.moved + work.sums * work.depth)
            + prices.acc_byte_pj * work.sums * work.lanes
            + prices.cycle_pj * cycles
        )


def fit_of(op: MatOp, arch: Arch, around: Surroundings, grid: Grid, work: MatrixWork) -> MatrixFit:
    """Candidates of which it is known how they are buffered."""
    w, burst = op.window, arch.dram.burst_bytes
    stored: Any = np.zeros(len(grid.rows))
    if around.output_off_chip:  # runs are short where a strip holds only some channels
        run = grid.out_blocks * work.width
        whole = (grid.cols >= w.out_w) & (grid.out_blocks >= work.blocks)
        if around.part:  # then every pixel is a run
            run, whole = np.minimum(run, w.out_c), np.zeros_like(whole)
        even = whole | (run % burst == 0)
        stored = around.images * w.out_h * w.out_w * w.out_c * (1 + np.where(even, 0, UNEVEN * burst / run))
    moved = work.fixed + work.read + stored + work.words * WORD_BYTES
    return MatrixFit(around, grid, work, moved, grid.cols < w.out_w, w.in_h)
