"""Candidates for the operation that leads a chain, as arrays, and what the search knows of its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.compiler.aim import Aim
from accelsim.compiler.packing import Packing
from accelsim.compiler.plan import Plan

WORD_BYTES = 32
"""Fetching an instruction costs its bytes on the DRAM port."""

BUFFERS = ((2, 2), (2, 1), (1, 2), (1, 1))
"""Strips of the input and of the output, the more the better."""

Numbers = NDArray[np.int64]
Reals = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Follower:
    """An operation behind the first: output rows, the most rows at a time, and what every time costs."""

    height: int
    most: int
    words: int
    vector_words: int
    parameter_bytes: int

    def rows_at_a_time(self, rows: Any, height: int) -> Any:
        """Rows that ``rows`` of the ``height`` rows of the first operation give."""
        return np.clip(-(-rows * self.height // height), 1, min(self.most, self.height))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the search knows of a chain beside its first operation.

    ``leads``: whether nothing runs before. ``images``: how many the first operation walks through at once.
    ``inputs_off_chip``: how many inputs come from DRAM in strips. ``side_rows``: ACC rows that belong to the operations
    behind. ``vector_steps`` and ``gemm_rows`` are their work in all, ``moved_bytes`` what they move through the port
    beside parameters. ``input_bytes`` are those of network inputs that lie whole in UB, but have to come there first.
    ``word_cycles`` is what an instruction is taken to cost beside its bytes.
    """

    leads: bool
    images: int
    behind: tuple[Follower, ...]
    inputs_off_chip: int
    output_off_chip: bool
    side_rows: int
    vector_steps: int
    gemm_rows: int
    moved_bytes: float
    input_bytes: int
    word_cycles: float
    aim: Aim


@dataclass(slots=True)
class Grid:
    """Candidates, one array entry each. ``fits`` says which can be; the others' cost is infinite."""

    rows: Numbers
    cols: Numbers
    group: Numbers
    strip_in: Numbers
    strip_out: Numbers
    plane: Numbers
    together: Numbers
    strips_in: Numbers = field(init=False)
    strips_out: Numbers = field(init=False)
    out_blocks: Numbers = field(init=False)
    planes: Numbers = field(init=False)
    fits: NDArray[np.bool_] = field(init=False)
    cycles: Reals = field(init=False)
    busy: Reals = field(init=False)
    words: Numbers = field(init=False)
    energy_pj: Reals = field(init=False)
    cost: Reals = field(init=False)

    def __post_init__(self) -> None:
        zeros = np.zeros_like(self.rows)
        self.strips_in, self.strips_out, self.out_blocks, self.planes = zeros, zeros.copy(), zeros + 1, zeros.copy()
        self.fits, self.words = zeros.astype(bool), zeros
        self.cycles = self.busy = self.energy_pj = self.cost = zeros + np.inf

    def rank(self, cycles: Reals, busy: Reals, words: Numbers, energy_pj: Reals, aim: Aim) -> None:
        """Fill in what the candidates that fit cost."""
        self.cycles, self.busy, self.words, self.energy_pj = cycles, busy, words, energy_pj
        self.cost = np.where(self.fits, aim.cost(cycles, energy_pj), np.inf)


def plan_at(packing: Packing | None, grid: Grid, at: int) -> Plan:
    """Candidate number ``at`` as a plan."""
    return Plan(
        rows=int(grid.rows[at]), cols=int(grid.cols[at]), packing=packing, group=int(grid.group[at]),
        channels=packing.channels if packing is not None else 0,
        strips_in=int(grid.strips_in[at]), strips_out=int(grid.strips_out[at]),
        strip_in_bytes=int(grid.strip_in[at]), strip_out_bytes=int(grid.strip_out[at]), together=int(grid.together[at]),
        out_blocks=int(grid.out_blocks[at]), planes=int(grid.planes[at]), plane_bytes=int(grid.plane[at]),
    )  # fmt: skip


def every_tile(heights: tuple[int, ...], widths: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Every height with every width."""
    rows, cols = np.meshgrid(np.array(heights), np.array(widths), indexing="ij")
    return rows.reshape(-1), cols.reshape(-1)


def followers(around: Surroundings, grid: Grid, height: int) -> tuple[Numbers, Numbers, Numbers]:
    """Instructions of the operations behind the first, those of them on the vector unit, and parameter bytes."""
    words, vector_words, parameters = np.zeros_like(grid.rows), np.zeros_like(grid.rows), np.zeros_like(grid.rows)
    for follower in around.behind:
        times = -(-follower.height // follower.rows_at_a_time(grid.rows, height))
        words += times * follower.words
        vector_words += times * follower.vector_words
        parameters += times * follower.parameter_bytes
    return words, vector_words, parameters
