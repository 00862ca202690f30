"""Candidates for the operation that leads a chain, as arrays, and what the search knows of its surroundings.

What a candidate asks of the units does not depend on the speed of the DRAM port, nor on the prices plans are ranked by.
So candidates are sized once and ranked as often as needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.aim import Aim
from accelsim.compiler.packing import Packing
from accelsim.compiler.plan import Plan

WORD_BYTES = 32
"""Fetching an instruction costs its bytes on the DRAM port."""

BUFFERS = ((2, 2), (2, 1), (1, 2), (1, 1))
"""Strips of the input and of the output, the more the better."""

Numbers = NDArray[np.int64]
Reals = NDArray[Any]
Table = TypeVar("Table")


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
    ``part``: whether the first operation writes some channels of a larger tensor.
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
    part: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """What the rank of a candidate depends on beside its work: the port's bytes a cycle and latency, what an
    instruction is taken to cost beside its bytes, and what is aimed at."""

    rate: float
    latency: int
    word_cycles: float
    aim: Aim


class Ranks(NamedTuple):
    """Of every candidate: its rank (less is better), cycles in closed form, those of its busiest unit, and the energy
    that depends on the plan."""

    cost: Reals
    cycles: Reals
    busy: Reals
    energy_pj: Reals


@dataclass(frozen=True, slots=True)
class Grid:
    """Candidates, one array entry each; ``packing`` is the number of its packing. Bytes are those of one strip or
    plane. The last five say how it is buffered."""

    packing: Numbers
    rows: Numbers
    cols: Numbers
    group: Numbers  # blocks of channels; of vector work, channels of the input at a time, 0 for all
    strip_in: Numbers
    plane: Numbers
    together: Numbers
    strips_in: Numbers
    strips_out: Numbers
    planes: Numbers
    strip_out: Numbers
    out_blocks: Numbers


class Fitted(Protocol):
    """The candidates that fit, with their work."""

    grid: Grid
    words: Numbers

    def rank(self, pace: Pace) -> Ranks:
        """What each of them costs."""
        ...


def grid_of(packing: int, cut: Sequence[Numbers]) -> Grid:
    """Candidates of one packing that are not buffered yet: rows, cols, group, strip_in, plane, together."""
    none = np.zeros_like(cut[0])
    return Grid(none + packing, *cut, strips_in=none, strips_out=none, planes=none, strip_out=none, out_blocks=none + 1)


def joined(tables: Sequence[Table]) -> Table:
    """Dataclasses of arrays, one behind the other."""
    names = [field.name for field in fields(tables[0])]  # type: ignore[arg-type]
    return type(tables[0])(*(np.concatenate([getattr(table, name) for table in tables]) for name in names))


def chosen(table: Table, where: NDArray[Any]) -> Table:
    """The entries of a dataclass of arrays at ``where``."""
    return type(table)(*(getattr(table, field.name)[where] for field in fields(table)))  # type: ignore[arg-type]


def weight_of(*tables: Any) -> int:
    """Bytes of dataclasses of arrays."""
    return sum(getattr(table, field.name).nbytes for table in tables for field in fields(table))


def buffered(
    grid: Grid, sizes: Sequence[Sequence[Reals]], single: Reals, ub_bytes: int | Numbers
) -> tuple[Grid, NDArray[np.intp] | None]:
    """The candidates that fit, each with the first of the ways to buffer it that does, and their numbers if these are
    not all.

    ``sizes`` holds, in order, (bytes of an output strip, blocks in it, whether a lone input strip is enough, whether a
    lone output strip is); ``single`` says where one plane is enough.
    """
    fits = np.zeros(len(grid.rows), bool)
    columns = [np.zeros_like(grid.rows) for _ in range(5)]
    for size, out_blocks, alone_in, alone_out in sizes:
        for inputs, outputs in BUFFERS:
            count_in = np.where(grid.strip_in > 0, np.where(alone_in, 1, inputs), 0)
            count_out = np.where(size > 0, np.where(alone_out, 1, outputs), 0)
            planes = np.where(grid.plane > 0, np.where(single, 1, inputs), 0)
            used = count_in * grid.strip_in + count_out * size + planes * grid.plane
            new = ~fits & (used <= ub_bytes)
            for column, values in zip(columns, (count_in, count_out, planes, size, out_blocks)):
                np.copyto(column, values, where=new)
            fits |= new
            if fits.all():
                break
    strips_in, strips_out, planes, strip_out, blocks = columns
    made = replace(
        grid, strips_in=strips_in, strips_out=strips_out, planes=planes, strip_out=strip_out, out_blocks=blocks
    )
    if fits.all():
        return made, None
    kept = np.flatnonzero(fits)
    return chosen(made, kept), kept


def plan_at(packings: Sequence[Packing], grid: Grid, at: int) -> Plan:
    """Candidate number ``at`` as a plan."""
    packing = packings[int(grid.packing[at])] if packings else None
    return Plan(
        rows=int(grid.rows[at]), cols=int(grid.cols[at]), packing=packing,
        group=int(grid.group[at]) if packing is not None else 1,
        channels=packing.channels if packing is not None else int(grid.group[at]),
        strips_in=int(grid.strips_in[at]), strips_out=int(grid.strips_out[at]),
        strip_in_bytes=int(grid.strip_in[at]), strip_out_bytes=int(grid.strip_out[at]), together=int(grid.together[at]),
        out_blocks=int(grid.out_blocks[at]), planes=int(grid.planes[at]), plane_bytes=int(grid.plane[at]),
    )  # fmt: skip


def every_tile(heights: tuple[int, ...], widths: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Every height with every width."""
    rows, cols = np.meshgrid(np.array(heights), np.array(widths), indexing="ij")
    return rows.reshape(-1), cols.reshape(-1)


def followers(around: Surroundings, rows: Numbers, height: int) -> tuple[Numbers, Numbers, Numbers]:
    """Instructions of the operations behind the first, those of them on the vector unit, and parameter bytes."""
    words, vector_words, parameters = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    for follower in around.behind:
        times = -(-follower.height // follower.rows_at_a_time(rows, height))
        words += times * follower.words
        vector_words += times * follower.vector_words
        parameters += times * follower.parameter_bytes
    return words, vector_words, parameters


def pace_of(arch: Arch, word_cycles: float, aim: Aim) -> Pace:
    """The pace of a machine."""
    return Pace(float(arch.dram.bytes_per_cycle), arch.dram.latency, word_cycles, aim)
