"""What the search for tiles decides about an operation and about a chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from accelsim.compiler.chain import Job
from accelsim.compiler.ops import Op, Window
from accelsim.compiler.packing import Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a chain may use: the tensors that lie whole in UB, and the UB bytes left for everything else."""

    on_chip: frozenset[str]
    ub_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an operation is cut: ``rows`` x ``cols`` output pixels a tile.

    Matrix work: ``group`` blocks of channels run over all tiles before the next group; the input is taken ``channels``
    of its channels at a time (fewer than it has: the sums of the whole group wait in ACC). ``together`` images of a
    batch share the weights of a block while they are in WGT: their sums wait in ACC. Strips lie in UB when a
    tensor is in DRAM: those of the output hold ``out_blocks`` blocks. Sizes in bytes, of one strip or plane.
    """

    rows: int
    cols: int
    packing: Packing | None = None
    group: int = 1
    channels: int = 0
    together: int = 1
    strips_in: int = 0
    strips_out: int = 0
    strip_in_bytes: int = 0
    strip_out_bytes: int = 0
    out_blocks: int = 0
    planes: int = 0
    plane_bytes: int = 0

    @property
    def bytes(self) -> int:
        """UB bytes of all strips and planes."""
        strips = self.strips_in * self.strip_in_bytes + self.strips_out * self.strip_out_bytes
        return strips + self.planes * self.plane_bytes

    @property
    def parts(self) -> int:
        """How often the reduction is interrupted: runs of input channels."""
        return 1 if self.packing is None else self.packing.parts

    def text(self) -> str:
        """One line for ``--dump tile``."""
        packed = ""
        if self.packing is not None:
            p = self.packing
            packed = f" k={p.k} chunks={p.chunks} tail={p.tail} odd={p.odd} pixels={p.pixels}"
            packed += f" blocks={len(p.blocks)} in groups of {self.group}, channels {p.channels} at a time"
        strips = f" strips in={self.strips_in} out={self.strips_out}" if self.strips_in or self.strips_out else ""
        planes = f" planes={self.planes}" if self.planes else ""
        images = f" {self.together} images" if self.together > 1 else ""
        return f"{self.rows}x{self.cols}{images}{packed}{strips}{planes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlan:
    """The plans of a chain by operation, and what else it holds in UB.

    ``held`` are the rows of every tensor that stays within the chain or passes through UB on its way to or from DRAM.
    ``places`` are offsets in the workspace, by ("strips" | "ring" | "temp", operation or tensor); ``side_rows`` ACC
    rows are set apart for the operations behind the first. ``cost`` ranks plans; ``cycles`` is the closed form,
    ``busy`` the cycles of the busiest unit in it, ``words`` the instructions,
    roughly, ``energy_pj`` the part of the energy that depends on the plan.
    """

    plans: dict[str, Plan]
    held: dict[str, int] = field(default_factory=dict)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    bytes: int = 0
    side_rows: int = 0
    cycles: float = 0.0
    busy: float = 0.0
    words: int = 0
    energy_pj: float = 0.0
    cost: float = 0.0

    def key(self) -> object:
        """What tells two plans apart."""
        return tuple(self.plans.items()), self.side_rows, tuple(self.held.items())


@lru_cache(maxsize=4096)
def distinct_parts(extent: int) -> tuple[int, ...]:
    """The distinct values of ceil(extent / n), largest first: every tile size worth trying, ragged ones included."""
    return tuple(sorted({-(-extent // n) for n in range(1, extent + 1)}, reverse=True))


def strip_shape(window: Window, rows: Any, cols: Any) -> tuple[tuple[Any, Any], tuple[int, int]]:
    """Rows and columns of a strip of the input under ``rows`` x ``cols`` output pixels, and the window's stride in it.

    Padding included. Along an axis on which the kernel is one pixel, only the pixels under windows are there.
    """
    size, stride = [], []
    for axis, count in enumerate((rows, cols)):
        alone = window.kernel[axis] == 1 and window.pads[2 * axis] == window.pads[2 * axis + 1] == 0
        size.append(count if alone else (count - 1) * window.stride[axis] + window.span[axis])
        stride.append(1 if alone else window.stride[axis])
    return (size[0], size[1]), (stride[0], stride[1])


def strip_bytes(window: Window, rows: int, cols: int, channels: int) -> int:
    """UB bytes of ``channels`` channels of such a strip."""
    (tall, wide), _ = strip_shape(window, rows, cols)
    return tall * wide * channels


def jobs_of(op: Op, plan: Plan, images: int = 1) -> list[Job]:
    """The jobs of level 0: group by group of channels, image by image (more than one only where nothing follows), tile
    by tile, block by block unless reductions are cut."""
    w, made = op.window, []
    blocks = len(plan.packing.blocks) if plan.packing is not None else 1
    groups = -(-blocks // max(1, plan.group))
    last = blocks - (groups - 1) * plan.group
    for number in range(groups):
        cut = 1 if plan.parts > 1 else last if number == groups - 1 else plan.group
        for row in [*range(0, w.out_h, plan.rows)] * -(-images // plan.together):
            rows = min(plan.rows, w.out_h - row)
            for col in range(0, w.out_w, plan.cols):
                for part in range(cut):
                    ends = number == groups - 1 and part == cut - 1 and col + plan.cols >= w.out_w
                    given = row + rows if ends else row if number == groups - 1 else 0
                    made.append(Job(row, rows, given))
    return made
