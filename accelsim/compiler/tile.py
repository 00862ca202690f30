"""Choosing how a chain is cut: every tile, packing, loop order and number of buffers that fits, ranked in closed form.

The tiles of level 0 are enumerated as arrays and pruned by exact capacity; what the operations behind it hold is found
by following the flow of rows. The rank is a closed form over the laws of ``accelsim.timing``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.chain import Chain, rows_held
from accelsim.compiler.ops import LrnOp, Lowered, MatOp, Op, bordered, needs_acc
from accelsim.compiler.packing import Packing, array_cycles, narrowed, packings, slab_rows
from accelsim.compiler.plan import ChainPlan, Plan, Room, distinct_parts, jobs_of, strip_shape
from accelsim.compiler.work import acc_rows_per_pixel, gemm_rows_per_pixel, steps_per_pixel

WORD_BYTES = 32
"""Fetching an instruction costs its bytes on the DRAM port."""

WORD_CYCLES = 4
"""What an instruction is taken to cost beside its bytes, so that of equals the shorter program is taken."""

MAX_CHANNEL_CUTS = 8
"""Widths of partial reductions that are tried."""

BUFFERS = ((2, 2), (2, 1), (1, 2), (1, 1))

Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the search knows of a chain beside level 0: where its tensors lie, and what the other levels cost.

    ``input_bytes``: whether the input (or one of several) comes from DRAM in strips. ``side_rows``: ACC rows that
    belong to the levels behind. ``vector_steps`` and ``gemm_rows`` are those levels' work in all, ``moved_bytes``
    what they move through the port.
    """

    leads: bool
    behind: bool
    inputs_off_chip: int
    output_off_chip: bool
    side_rows: int
    vector_steps: int
    gemm_rows: int
    moved_bytes: float


@dataclass(slots=True)
class Grid:
    """Candidates of one packing, one array entry each."""

    rows: Numbers
    cols: Numbers
    group: Numbers
    strips_in: Numbers
    strips_out: Numbers
    out_blocks: Numbers
    strip_in: Numbers
    strip_out: Numbers
    plane: Numbers
    planes: Numbers
    cost: Reals
    busy: Reals


def plan_chain(chain: Chain, lowered: Lowered, arch: Arch, room: Room, keep: int = 1) -> list[ChainPlan]:
    """The ``keep`` cheapest plans of a chain, best first; none if nothing fits."""
    search = _Search(chain, lowered, arch, room)
    found: list[ChainPlan] = []
    for plan, cost, busy in search.candidates():
        made = search.complete(plan, cost, busy)
        if made is not None and all(made.key() != other.key() for other in found):
            found.append(made)
            if len(found) >= keep:
                break
    return found


class _Search:
    def __init__(self, chain: Chain, lowered: Lowered, arch: Arch, room: Room) -> None:
        self.chain, self.lowered, self.arch, self.room = chain, lowered, arch, room
        self.head = chain.ops[0]
        behind = chain.ops[1:]
        side = _side_rows(behind, arch)
        pixels = [op.window.out_h * op.window.out_w for op in behind]
        moved = sum(
            lowered.tensors[t].size for op in behind for t in op.inputs if self.off_chip(t) and not self.inside(t)
        )
        last = chain.ops[-1]
        if behind and self.off_chip(last.output):
            moved += lowered.tensors[last.output].size
        self.around = Surroundings(
            leads=self.head is lowered.ops[0],
            behind=bool(behind),
            inputs_off_chip=sum(self.off_chip(t) for t in dict.fromkeys(self.head.inputs)),
            output_off_chip=not behind and self.off_chip(self.head.output),
            side_rows=side,
            vector_steps=sum(n * steps_per_pixel(op, arch) for op, n in zip(behind, pixels)),
            gemm_rows=sum(n * gemm_rows_per_pixel(op, arch) for op, n in zip(behind, pixels)),
            moved_bytes=moved,
        )
        self._extras: dict[tuple[int, bool], tuple[dict[int, int], tuple[int, ...]]] = {}

    def off_chip(self, tensor: str) -> bool:
        return self.lowered.root[tensor] not in self.room.on_chip

    def inside(self, tensor: str) -> bool:
        root = self.lowered.root[tensor]
        return any(self.lowered.root[op.output] == root for op in self.chain.ops)

    def candidates(self) -> Iterator[tuple[Plan, float, float]]:
        """All plans of level 0 that fit by themselves, cheapest first."""
        head, arch = self.head, self.arch
        grids: list[tuple[Packing | None, Grid]] = []
        if isinstance(head, MatOp):
            for packing in self._packings(head):
                grids.append((packing, matrix_grid(head, packing, arch, self.around, self.room.ub_bytes)))
        else:
            grids.append((None, vector_grid(head, arch, self.around, self.room.ub_bytes)))
        costs = np.concatenate([grid.cost for _, grid in grids])
        owners = np.concatenate([np.full(len(grid.cost), i) for i, (_, grid) in enumerate(grids)])
        starts = np.cumsum([0, *(len(grid.cost) for _, grid in grids)])
        for at in np.argsort(costs, kind="stable"):
            if not np.isfinite(costs[at]):
                return
            packing, grid = grids[owners[at]]
            own = int(at - starts[owners[at]])
            yield _plan_at(packing, grid, own), float(costs[at]), float(grid.busy[own])

    def _packings(self, head: MatOp) -> list[Packing]:
        made = list(packings(head, self.arch))
        if not self.around.inputs_off_chip or head.groups > 1:
            return made
        rows, whole = self.arch.array.rows, head.window.in_c
        widths = [c for c in distinct_parts(whole) if c < whole and (c % rows == 0 or c < rows)]
        return [*made, *(narrowed(head, self.arch, c) for c in widths[:MAX_CHANNEL_CUTS]), *self._narrowest(widths)]

    def _narrowest(self, widths: list[int]) -> list[Packing]:
        """One channel at a time: the smallest strip there is."""
        assert isinstance(self.head, MatOp)
        return [narrowed(self.head, self.arch, 1)] if len(widths) > MAX_CHANNEL_CUTS else []

    # --------------------------------------------------------------------------------- the other levels

    def complete(self, plan: Plan, cost: float, busy: float) -> ChainPlan | None:
        """The plan of the chain with this level 0, or None when the other levels do not fit beside it."""
        chain, lowered = self.chain, self.lowered
        places: dict[tuple[str, str], int] = {}
        size = 0

        def take(kind: str, name: str, count: int) -> None:
            nonlocal size
            if count:
                places[kind, name] = size
                size += count

        take("strips", self.head.name, plan.bytes)
        held: dict[str, int] = {}
        rows, caps = self._behind(plan) if len(chain.ops) > 1 else ({}, (plan.rows,))
        for level, count in rows.items():
            tensor = lowered.root[chain.ops[level].output]
            if tensor in self.room.on_chip:
                continue
            held[tensor] = min(count, _padded_height(chain, level))
            take("ring", tensor, held[tensor] * _pitch(chain, level))
        for level, op in enumerate(chain.ops[1:], 1):
            for tensor in dict.fromkeys(lowered.root[t] for t in op.inputs):
                if self.off_chip(tensor) and not self.inside(tensor) and tensor not in held:
                    held[tensor] = min(op.window.in_h, 2 * caps[level])
                    take("ring", tensor, held[tensor] * op.window.in_w * op.window.in_c)
            if isinstance(op, LrnOp):
                take("temp", op.name, min(caps[level], op.window.out_h) * op.window.out_w * op.window.out_c)
        last = chain.ops[-1]
        if len(chain.ops) > 1 and self.off_chip(last.output):
            tensor = lowered.root[last.output]
            held[tensor] = min(last.window.out_h, 2 * caps[-1])
            take("ring", tensor, held[tensor] * last.window.out_w * last.window.out_c)
        if isinstance(self.head, LrnOp):
            take("temp", self.head.name, plan.rows * plan.cols * self.head.window.out_c)
        if size > self.room.ub_bytes:
            return None
        plans = {self.head.name: plan}
        for op, cap in zip(chain.ops[1:], caps[1:]):
            plans[op.name] = Plan(rows=cap, cols=op.window.out_w)
        return ChainPlan(
            plans=plans, held=held, places=places, bytes=size, side_rows=self.around.side_rows, cycles=cost, busy=busy,
            cost=cost,
        )

    def _behind(self, plan: Plan) -> tuple[dict[int, int], tuple[int, ...]]:
        """Rows held of what stays within the chain, and rows at a time of every level."""
        blocks = len(plan.packing.blocks) if plan.packing is not None else 1
        key = (plan.rows, plan.group >= blocks and plan.parts == 1 and blocks > 1)
        if key[1] is False and plan.group < blocks:
            key = (-plan.rows, False)
        if key not in self._extras:
            caps = self._caps(plan)
            self._extras[key] = rows_held(self.chain, jobs_of(self.head, replace(plan, cols=self.head.window.out_w)), caps), caps
        return self._extras[key]

    def _caps(self, plan: Plan) -> tuple[int, ...]:
        """Rows at a time: what a tile of level 0 gives, as far as ACC goes."""
        caps = [plan.rows]
        for op in self.chain.ops[1:]:
            w = op.window
            rows = max(1, -(-plan.rows * w.out_h // self.head.window.out_h))
            if needs_acc(op):
                rows = min(rows, max(1, self.around.side_rows // (acc_rows_per_pixel(op, self.arch) * w.out_w)))
            caps.append(min(rows, w.out_h))
        return tuple(caps)


def _side_rows(behind: tuple[Op, ...], arch: Arch) -> int:
    """ACC rows for the operations behind the first: a row of their pixels where that leaves a quarter of ACC."""
    wanted = [acc_rows_per_pixel(op, arch) * op.window.out_w for op in behind if needs_acc(op)]
    if not wanted:
        return 0
    return max(1, min(max(max(wanted), arch.acc_rows // 4), arch.acc_rows * 3 // 4))


def _border(chain: Chain, level: int) -> tuple[int, int, int, int]:
    """The padding that the readers of a level's output see around it."""
    pads = [chain.ops[reader].window.pads for reader in chain.inner[level] if bordered(chain.ops[reader])]
    return tuple(max((p[i] for p in pads), default=0) for i in range(4))  # type: ignore[return-value]


def _padded_height(chain: Chain, level: int) -> int:
    top, bottom, _, _ = _border(chain, level)
    return chain.ops[level].window.out_h + top + bottom


def _pitch(chain: Chain, level: int) -> int:
    _, _, left, right = _border(chain, level)
    w = chain.ops[level].window
    return (w.out_w + left + right) * w.out_c


def _plan_at(packing: Packing | None, grid: Grid, at: int) -> Plan:
    def value(column: Numbers) -> int:
        return int(column[at])

    return Plan(
        rows=value(grid.rows), cols=value(grid.cols), packing=packing, group=value(grid.group),
        channels=packing.channels if packing is not None else 0,
        strips_in=value(grid.strips_in), strips_out=value(grid.strips_out), strip_in_bytes=value(grid.strip_in),
        strip_out_bytes=value(grid.strip_out), out_blocks=value(grid.out_blocks), planes=value(grid.planes),
        plane_bytes=value(grid.plane),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ matrix work


def matrix_grid(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, ub_bytes: int) -> Grid:
    """Every tile of matrix work with one packing; those that do not fit cost infinity."""
    w, blocks = op.window, len(packing.blocks)
    whole_rows = not around.inputs_off_chip and not around.output_off_chip
    acc = arch.acc_rows - around.side_rows
    widths = distinct_parts(w.out_w)
    if whole_rows and -(-w.out_w // packing.pixels) <= acc:
        widths = (w.out_w,)
    cut = packing.channels < w.in_c // op.groups
    rows, cols = (a.reshape(-1) for a in np.meshgrid(np.array(distinct_parts(w.out_h)), np.array(widths), indexing="ij"))
    stream = rows * -(-cols // packing.pixels)
    keep = (stream <= acc) & (np.minimum(cols, np.where(w.out_w % cols, w.out_w % cols, cols)) >= packing.pixels)
    rows, cols, stream = rows[keep], cols[keep], stream[keep]
    shape = len(rows)
    groups = _group_sizes(op, packing, arch, stream, acc, cut)
    rows, cols, stream = (np.concatenate([a] * len(groups)) for a in (rows, cols, stream))
    group = np.concatenate([np.broadcast_to(g, shape) for g in groups]).astype(np.int64)
    if cut:
        fits = group * stream <= acc
        rows, cols, stream, group = rows[fits], cols[fits], stream[fits], group[fits]
    grid = _strips(op, packing, around, rows, cols, group, ub_bytes)
    if len(grid.rows):
        grid.cost = _matrix_cost(op, packing, arch, around, grid)
    return grid


def _group_sizes(op: MatOp, packing: Packing, arch: Arch, stream: Numbers, acc: int, cut: bool) -> list[Numbers]:
    """Blocks in a group: all, as many as stay in WGT (with and without room to load ahead), one; if the reduction is
    cut, as many as ACC holds, evenly."""
    blocks = len(packing.blocks)
    if cut:
        most = np.minimum(blocks, acc // np.maximum(1, stream))
        even = -(-blocks // np.maximum(1, -(-blocks // np.maximum(1, most))))
        return [np.maximum(1, even), np.maximum(1, even // 2)]
    fit = arch.wgt_rows // packing.weight_rows
    sizes = {blocks, 1, *(size for size in (fit, fit // 2) if 1 <= size < blocks)}
    sizes |= {-(-blocks // -(-blocks // size)) for size in sizes}
    return [np.array(size) for size in sorted(sizes, reverse=True)]


def _strips(
    op: MatOp, packing: Packing, around: Surroundings, rows: Numbers, cols: Numbers, group: Numbers, ub_bytes: int
) -> Grid:
    """The most buffering that fits each tile."""
    w = op.window
    (tall, wide), _ = strip_shape(w, rows, cols)
    held = packing.channels if len(packing.groups) == 1 else w.in_c
    strip_in = tall * wide * held if around.inputs_off_chip else np.zeros_like(rows)
    columns = cols if packing.taps == 1 else wide
    plane = columns * tall * packing.odd * len(packing.groups)
    single = (rows >= w.out_h) & (cols >= w.out_w) & (not op.batched)
    once = single & (packing.channels >= w.in_c // len(packing.groups))
    lanes = packing.lanes // packing.pixels
    grid = Grid(
        rows, cols, group, np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows), strip_in,
        np.zeros_like(rows), plane, np.zeros_like(rows), np.full(len(rows), np.inf), np.zeros(len(rows)),
    )  # fmt: skip
    fitted = np.zeros(len(rows), bool)
    for whole in (True, False):
        out_blocks = group if whole else np.ones_like(group)
        out_c = np.minimum(out_blocks * lanes, w.out_c)
        strip_out = rows * cols * out_c if around.output_off_chip else np.zeros_like(rows)
        for inputs, outputs in BUFFERS:
            count_in = np.where(strip_in > 0, np.where(once, 1, inputs), 0)
            count_out = np.where(strip_out > 0, np.where(single & (out_blocks >= len(packing.blocks)), 1, outputs), 0)
            planes = np.where(plane > 0, np.where(single, 1, inputs), 0)
            fits = ~fitted & (count_in * strip_in + count_out * strip_out + planes * plane <= ub_bytes)
            for column, value in (
                (grid.strips_in, count_in), (grid.strips_out, count_out), (grid.strip_out, strip_out),
                (grid.out_blocks, out_blocks), (grid.planes, planes),
            ):  # fmt: skip
                column[fits] = value[fits]
            fitted |= fits
    grid.cost[fitted] = 0
    return grid


def _matrix_cost(op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid) -> Reals:
    """Cycles: the busiest of array, vector unit and port, what is exposed at both ends, and stalls of single buffers."""
    w, rate, latency = op.window, float(arch.dram.bytes_per_cycle), arch.dram.latency
    rows, cols, group = grid.rows, grid.cols, grid.group
    blocks, parts = len(packing.blocks), packing.parts
    down, across = -(-w.out_h // rows), -(-w.out_w // cols)
    tiles, passes = down * across, -(-blocks // group)
    stream = rows * -(-cols // packing.pixels)
    gemm = _ragged(rows, cols, w.out_h, w.out_w, packing, arch) * blocks * parts
    pieces = len(packing.slabs)
    acc_rows = w.out_h * (across * -(-cols // packing.pixels))
    per_row = max(1, -(-packing.lanes // arch.alu.lanes)) * (2 if op.table is not None else 1)
    vector = acc_rows * blocks * per_row + around.vector_steps + tiles * blocks * (arch.alu.latency + 1)
    if packing.odd:
        vector = vector + passes * tiles * grid.plane // max(1, packing.odd)
    gemm = gemm + around.gemm_rows
    weights = sum(packing.weight_rows * packing.pixels * b.count for b in packing.blocks) * parts
    resident = packing.weight_rows * parts * group <= arch.wgt_rows
    port = np.where(resident, weights, weights * tiles) + around.moved_bytes
    words = tiles * blocks * (1 + 2 * pieces * parts) + np.where(resident, blocks * pieces * parts, 0)
    load_bytes, loads = _input_traffic(op, packing, arch, around, grid, tiles * passes)
    port = port + load_bytes
    store_run = np.where((cols >= w.out_w) & (grid.out_blocks >= blocks), rows * cols * w.out_c, 0)
    short = np.maximum(1, grid.out_blocks) * (packing.lanes // packing.pixels)
    whole = w.out_h * w.out_w * w.out_c if around.output_off_chip else 0
    burst = arch.dram.burst_bytes
    stored = np.where(store_run > 0, whole, whole * (1 + np.where(short % burst, 0.75 * burst / short, 0)))
    port = (port + stored + (words + loads) * WORD_BYTES) / rate
    first_slab = slab_rows(packing.slabs[0])
    # Behind another chain, the first weights are loaded while that one ends.
    start = (latency + first_slab * packing.lanes / rate) * around.leads + np.where(grid.strip_in > 0, grid.strip_in / rate, 0)
    start = start + np.where(packing.odd > 0, grid.plane / max(1, packing.odd), 0)
    behind = around.vector_steps / np.maximum(1, tiles)
    end = stream * per_row + behind + arch.array.rows + arch.array.cols
    end = end + np.where(grid.strip_out > 0, grid.strip_out / rate + latency, 0)
    stall = np.where(
        (2 * stream > arch.acc_rows - around.side_rows) & (tiles * blocks > 1) & (parts == 1),
        tiles * blocks * (stream * per_row + arch.array.rows + arch.array.cols), 0,
    )  # fmt: skip
    if parts > 1:
        stall = stall + tiles * passes * np.where(2 * group * stream > arch.acc_rows, stream * per_row, 0)
    waits = (grid.strips_in == 1) & (tiles * parts > 1)
    stall = stall + np.where(waits, tiles * passes * parts * (grid.strip_in / rate + latency), 0)
    waits = (grid.strips_out == 1) & (tiles * passes > 1)
    stall = stall + np.where(waits, tiles * (grid.strip_out / rate + latency), 0)
    grid.busy = np.maximum(np.maximum(gemm, vector), port)
    cost = grid.busy + start + end + stall + WORD_CYCLES * words
    if around.behind:  # the operations behind go row by row: they come late when a row is made piece by piece
        cost = np.where(cols < w.out_w, 1.03 * cost, cost)
    return np.where(np.isfinite(grid.cost), cost, np.inf)


def _ragged(rows: Numbers, cols: Numbers, height: int, width: int, packing: Packing, arch: Arch) -> Reals:
    """Array cycles of one block over all tiles, the smaller ones at the edges included."""
    total = np.zeros(len(rows))
    known: dict[int, int] = {}
    for tall, downs in ((rows, height // rows), (height % rows, (height % rows > 0).astype(np.int64))):
        for wide, acrosses in ((cols, width // cols), (width % cols, (width % cols > 0).astype(np.int64))):
            stream = tall * -(-wide // packing.pixels)
            values, where = np.unique(stream, return_inverse=True)
            for value in values.tolist():
                if value not in known:
                    known[value] = array_cycles(packing, value, arch) if value else 0
            total += downs * acrosses * np.array([known[v] for v in values.tolist()])[where]
    return total


def _input_traffic(
    op: MatOp, packing: Packing, arch: Arch, around: Surroundings, grid: Grid, visits: Numbers
) -> tuple[Reals, Numbers]:
    """Bytes of port time and instructions for the input strips."""
    if not around.inputs_off_chip:
        return np.zeros(len(grid.rows)), np.zeros_like(grid.rows)
    w, burst = op.window, arch.dram.burst_bytes
    parts = packing.parts
    dense = packing.channels == w.in_c or len(packing.groups) > 1
    if not dense:
        extra = 0 if packing.channels % burst == 0 else 0.75 * burst / packing.channels
        return visits * parts * grid.strip_in * (1.0 + extra), 2 * visits * parts
    full = (grid.cols >= w.out_w) & (w.pads[2] == w.pads[3] == 0)
    run = np.maximum(1, strip_shape(w, grid.rows, grid.cols)[0][1] * w.in_c)
    extra = np.where(full | (run % burst == 0), 0, 0.75 * burst / run)
    return visits * grid.strip_in * (1.0 + extra), 2 * visits


# ------------------------------------------------------------------------------------------ vector work


def vector_grid(op: Op, arch: Arch, around: Surroundings, ub_bytes: int) -> Grid:
    """Every tile of vector work that leads a chain."""
    w = op.window
    acc = (arch.acc_rows - around.side_rows) if needs_acc(op) else 1 << 30
    on_chip = not around.inputs_off_chip and not around.output_off_chip
    per_pixel = acc_rows_per_pixel(op, arch) if needs_acc(op) else 0
    widths = (w.out_w,) if on_chip and w.out_w * per_pixel <= acc else distinct_parts(w.out_w)
    rows, cols = (a.reshape(-1) for a in np.meshgrid(np.array(distinct_parts(w.out_h)), np.array(widths), indexing="ij"))
    keep = (rows * cols * per_pixel <= acc) | ((rows == 1) & (cols == 1))
    rows, cols = rows[keep], cols[keep]
    (tall, wide), _ = strip_shape(w, rows, cols)
    zero = np.zeros_like(rows)
    strip_in = tall * wide * w.in_c * around.inputs_off_chip
    strip_out = rows * cols * w.out_c if around.output_off_chip else zero
    single = (rows >= w.out_h) & (cols >= w.out_w) & (not op.batched)
    grid = Grid(rows, cols, zero + 1, zero.copy(), zero.copy(), zero, strip_in, strip_out, zero, zero, zero + np.inf, zero + 0.0)
    fitted = np.zeros(len(rows), bool)
    for inputs, outputs in BUFFERS:
        count_in = np.where(strip_in > 0, np.where(single, 1, inputs), 0)
        count_out = np.where(strip_out > 0, np.where(single, 1, outputs), 0)
        fits = ~fitted & (count_in * strip_in + count_out * strip_out <= ub_bytes)
        grid.strips_in[fits], grid.strips_out[fits] = count_in[fits], count_out[fits]
        fitted |= fits
    rate = float(arch.dram.bytes_per_cycle)
    tiles, blocks = -(-w.out_h // rows) * -(-w.out_w // cols), -(-w.out_c // arch.array.cols)
    vector = w.out_h * w.out_w * steps_per_pixel(op, arch) + around.vector_steps
    words = tiles * (blocks * (2 if needs_acc(op) else 1) + 3)
    port = (tiles * strip_in + tiles * strip_out + words * WORD_BYTES + around.moved_bytes) / rate
    ends = (vector + port) / tiles + arch.dram.latency * ((strip_in > 0).astype(int) + (strip_out > 0))
    single_in = np.where((grid.strips_in == 1) & (tiles > 1), tiles * (strip_in / rate + arch.dram.latency), 0)
    grid.busy = np.maximum(vector, port)
    cost = np.maximum(vector + words * (arch.alu.latency + 1), port) + ends + single_in + WORD_CYCLES * words
    grid.cost[fitted] = cost[fitted]
    return grid
