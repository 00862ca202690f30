"""Choosing the tile of every operation: rows x columns of output, packing, loop order and buffers.

Exhaustive over distinct tile heights and widths, packings and loop orders, pruned by exact capacity and ranked by a
closed form over the laws of ``accelsim.timing``. What no tile fits is a CapacityError that says what would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from accelsim.arch import Arch
from accelsim.compiler.ops import MatOp, Op, VecOp, Window
from accelsim.compiler.packing import Packing, array_cycles, packings
from accelsim.errors import CapacityError

INSTRUCTION_BYTES = 32
"""Fetching a word costs its bytes on the DRAM port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What an operation may use: where its tensors live, and the UB bytes left for strips."""

    input_on_chip: bool
    output_on_chip: bool
    ub_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an operation is cut. ``rows`` x ``cols`` output pixels a tile; strips in UB when a tensor is in DRAM."""

    rows: int
    cols: int
    packing: Packing | None = None
    weights_outer: bool = False  # all tiles for one block of channels before the next block
    strips_in: int = 0  # strip buffers for the input, 0 when it is on chip
    strips_out: int = 0
    strip_in_bytes: int = 0
    strip_out_bytes: int = 0
    cost_cycles: float = 0.0

    def text(self) -> str:
        """One line for ``--dump tile``."""
        order = "weights outer" if self.weights_outer else "pixels outer"
        packed = ""
        if self.packing is not None:
            p = self.packing
            packed = f" k={p.k} chunks={p.chunks} tail={p.tail} blocks={len(p.blocks)} pixels={p.pixels} {order}"
        strips = f" strips in={self.strips_in} out={self.strips_out}" if self.strips_in or self.strips_out else ""
        return f"{self.rows}x{self.cols}{packed}{strips} ~{self.cost_cycles:.0f} cycles"


def least_strip_bytes(op: Op, *, input_on_chip: bool, output_on_chip: bool) -> int:
    """UB bytes of the smallest possible strips of ``op``: one output pixel, single-buffered."""
    size = 0
    if not input_on_chip:
        size += strip_bytes(op.window, 1, 1)
    if not output_on_chip:
        size += op.window.out_c
    return size


def strip_bytes(window: Window, rows: int, cols: int) -> int:
    """UB bytes of the input under ``rows`` x ``cols`` output pixels, padding included."""
    return window.rows_in(rows) * window.cols_in(cols) * window.in_c


@lru_cache(maxsize=4096)
def distinct_parts(extent: int) -> tuple[int, ...]:
    """The distinct values of ceil(extent / n), largest first: every tile size worth trying, ragged ones included."""
    return tuple(sorted({-(-extent // n) for n in range(1, extent + 1)}, reverse=True))


def plan_op(op: Op, arch: Arch, room: Room, grain: float) -> Plan:
    """The cheapest plan of one operation.

    ``grain`` weighs the cycles exposed at the ends of an operation (a finer cut hides more of them but costs
    instructions); the pipeline tries several and keeps what runs fastest. Raises CapacityError.
    """
    best = min(_candidates(op, arch, room, grain), key=lambda p: p.cost_cycles, default=None)
    if best is None:
        raise _too_small(op, arch, room)
    return best


def _candidates(op: Op, arch: Arch, room: Room, grain: float) -> Iterator[Plan]:
    choices: tuple[Packing | None, ...] = packings(op, arch) if isinstance(op, MatOp) else (None,)
    for packing in choices:
        for cols in _widths(op, arch, room, packing):
            for rows in distinct_parts(op.window.out_h):
                plan = _fit(op, arch, room, packing, rows, cols)
                if plan is not None:
                    yield from _priced(op, arch, room, grain, plan)


def _widths(op: Op, arch: Arch, room: Room, packing: Packing | None) -> tuple[int, ...]:
    """Tile widths to try: the whole row, unless strips or ACC ask for less."""
    whole = op.window.out_w
    on_chip = room.input_on_chip and room.output_on_chip
    row_fits = not needs_acc(op) or acc_rows(packing, 1, whole) <= arch.acc_rows
    return (whole,) if on_chip and row_fits else distinct_parts(whole)


def needs_acc(op: Op) -> bool:
    """Whether an operation keeps int32 sums."""
    return isinstance(op, MatOp) or (isinstance(op, VecOp) and op.kind == "avg")


def acc_rows(packing: Packing | None, rows: int, cols: int) -> int:
    """ACC rows of one tile of one block: one per group of packed pixels, the ragged group included."""
    pixels = packing.pixels if packing is not None else 1
    return rows * -(-cols // pixels)


def _fit(op: Op, arch: Arch, room: Room, packing: Packing | None, rows: int, cols: int) -> Plan | None:
    """The plan with the most buffering that fits, or None."""
    if needs_acc(op) and acc_rows(packing, rows, cols) > arch.acc_rows:
        return None
    if packing is not None and min(cols, op.window.out_w % cols or cols) < packing.pixels:
        return None
    strip_in = 0 if room.input_on_chip else strip_bytes(op.window, rows, cols)
    strip_out = 0 if room.output_on_chip else rows * cols * op.window.out_c
    single = rows >= op.window.out_h and cols >= op.window.out_w
    for buffers_in, buffers_out in ((2, 2), (2, 1), (1, 2), (1, 1)):
        if single and not op.batched:
            buffers_in = buffers_out = 1
        if buffers_in * strip_in + buffers_out * strip_out <= room.ub_bytes:
            return Plan(
                rows=rows,
                cols=cols,
                packing=packing,
                strips_in=buffers_in if strip_in else 0,
                strips_out=buffers_out if strip_out else 0,
                strip_in_bytes=strip_in,
                strip_out_bytes=strip_out,
            )
    return None


def _priced(op: Op, arch: Arch, room: Room, grain: float, plan: Plan) -> Iterator[Plan]:
    if plan.packing is None:
        yield replace(plan, cost_cycles=_vector_cost(op, arch, room, grain, plan))
        return
    for outer in (False, True):
        yield replace(plan, weights_outer=outer, cost_cycles=_matrix_cost(op, arch, room, grain, plan, outer))


def _matrix_cost(op: Op, arch: Arch, room: Room, grain: float, plan: Plan, outer: bool) -> float:
    packing, window, rate = plan.packing, op.window, float(arch.dram.bytes_per_cycle)
    assert packing is not None
    down, across = -(-window.out_h // plan.rows), -(-window.out_w // plan.cols)
    tiles, blocks = down * across, len(packing.blocks)
    stream = acc_rows(packing, plan.rows, plan.cols)
    gemm = tiles * blocks * array_cycles(packing, stream, arch)
    vectors = tiles * blocks * stream * (2 if op.table is not None else 1)
    fits = packing.weight_rows * blocks <= arch.wgt_rows
    weights = sum(packing.weight_rows * packing.pixels * b.count for b in packing.blocks)
    pieces = -(-2 * packing.weight_rows // arch.wgt_rows) if packing.weight_rows * 2 > arch.wgt_rows else 1
    passes = 1 if fits or (outer and pieces == 1) else tiles
    load = weights * passes
    instructions = tiles * blocks * (1 + pieces) + blocks * passes
    if not room.input_on_chip:
        repeat = blocks if outer else 1
        load += repeat * tiles * strip_bytes(window, plan.rows, plan.cols)
        instructions += 2 * repeat * tiles
    store = 0.0
    if not room.output_on_chip:
        runs = window.out_h * window.out_w * blocks if outer else 0
        store = window.out_h * window.out_w * window.out_c + runs * arch.dram.burst_bytes / 2
        instructions += tiles * (blocks if outer else 1)
    load += instructions * INSTRUCTION_BYTES
    ends = (gemm + vectors + (load + store) / rate) / tiles
    penalty = 1.25 if 2 * stream > arch.acc_rows and tiles * blocks > 1 else 1.0
    penalty *= 1.3 if plan.strips_in == 1 and tiles > 1 else 1.0
    return max(gemm, vectors, (load + store) / rate) * penalty + grain * ends + 2 * instructions


def _vector_cost(op: Op, arch: Arch, room: Room, grain: float, plan: Plan) -> float:
    window, rate = op.window, float(arch.dram.bytes_per_cycle)
    down, across = -(-window.out_h // plan.rows), -(-window.out_w // plan.cols)
    tiles, blocks = down * across, -(-window.out_c // arch.array.cols)
    steps = window.kernel[0] * window.kernel[1]
    vectors = window.out_h * window.out_w * blocks * steps
    bytes_moved = 0
    if not room.input_on_chip:
        bytes_moved += tiles * strip_bytes(window, plan.rows, plan.cols)
    if not room.output_on_chip:
        bytes_moved += window.out_h * window.out_w * window.out_c
    instructions = tiles * (blocks + 3)
    bytes_moved += instructions * INSTRUCTION_BYTES
    return max(vectors, bytes_moved / rate) + grain * (vectors + bytes_moved / rate) / tiles + 2 * instructions


def _too_small(op: Op, arch: Arch, room: Room) -> CapacityError:
    """Names the resource that no tile fits, by how much, and the smallest change that helps."""
    window = op.window
    need = least_strip_bytes(op, input_on_chip=room.input_on_chip, output_on_chip=room.output_on_chip)
    if need > room.ub_bytes:
        held = arch.ub_bytes - room.ub_bytes
        terms = [("input under one output pixel", need - (0 if room.output_on_chip else window.out_c))]
        if not room.output_on_chip:
            terms.append(("one output pixel", window.out_c))
        if held:
            terms.append(("tensors that stay on chip", held))
        return CapacityError(
            where=op.layer,
            resource="UB",
            demand_bytes=need + held,
            limit_bytes=arch.ub_bytes,
            terms=tuple(terms),
            levers=(f"ub.size of at least {need + held} bytes fits",),
        )
    row = 4 * arch.array.cols
    return CapacityError(
        where=op.layer,
        resource="ACC",
        demand_bytes=row,
        limit_bytes=arch.acc_bytes,
        terms=(("one accumulator row", row),),
        levers=(f"acc.size of at least {row} bytes fits",),
    )
