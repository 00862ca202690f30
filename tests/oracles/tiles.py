"""The ways to cut the first operation of a chain, one at a time: every tile, group of blocks and number of buffers.

Sizes are counted, not calculated: rows and columns under windows, pixels of tiles, blocks of groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.arch import Arch
from accelsim.compiler.bands import bands
from accelsim.compiler.chain import Chain, flow
from accelsim.compiler.ops import DepthwiseOp, Lowered, LrnOp, MatOp, Op, Window
from accelsim.compiler.packing import Packing
from accelsim.compiler.plan import Plan, Room, jobs_of
from tests.oracles.rows import rows_in_use

BUFFERS = [(2, 2), (2, 1), (1, 2), (1, 1)]


@dataclass(frozen=True)
class Setting:
    """What a cut may use: ACC rows, UB bytes; inputs that come from DRAM, whether the output goes there; how many
    images the operation walks through."""

    acc: int
    ub: int
    inputs: int
    output: bool
    images: int


def parts(extent: int, size: int) -> list[int]:
    """The sizes of the pieces of ``extent``, the last one ragged."""
    return [min(size, extent - first) for first in range(0, extent, size)]


def sizes(extent: int) -> list[int]:
    """Pieces worth trying: of all with equally many pieces, the smallest."""
    return sorted({evenly(extent, size) for size in range(1, extent + 1)})


def stream(packing: Packing, rows: int, cols: int) -> int:
    """ACC rows of a tile: groups of packed pixels in every row of it."""
    return rows * len(range(0, cols, packing.pixels))


def strip(window: Window, axis: int, count: int) -> int:
    """Pixels along one axis of a strip: those from the first to the last one under ``count`` windows."""
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    touched = {at * stride + tap * dilation for at in range(count) for tap in range(kernel)}
    if kernel == 1 and not any(window.pads[2 * axis : 2 * axis + 2]):
        return len(touched)  # pixels between the windows are not brought in
    return max(touched) - min(touched) + 1


def groups(packing: Packing, arch: Arch, rows: int, cols: int, acc: int) -> set[int]:
    """How many blocks of channels run over all tiles before the next ones do."""
    blocks = len(packing.blocks)
    if packing.parts > 1:
        most = max((n for n in range(1, blocks + 1) if n * stream(packing, rows, cols) <= acc), default=1)
        even = evenly(blocks, most)
        return {even, max(1, even // 2)}
    kept = max(n for n in range(arch.wgt_rows + 1) if n * packing.weight_rows <= arch.wgt_rows)
    found = {1, blocks, *(n for n in (kept, kept // 2) if 1 <= n < blocks)}
    return found | {evenly(blocks, size) for size in found}


def evenly(extent: int, size: int) -> int:
    """The smallest size that makes as many pieces."""
    return min(n for n in range(1, extent + 1) if len(parts(extent, n)) == len(parts(extent, size)))


def matrix_cuts(op: MatOp, packing: Packing, arch: Arch, setting: Setting) -> Iterator[Plan]:
    """Every cut of matrix work that fits, with the most buffers that do."""
    w = op.window
    inside = not setting.inputs and not setting.output
    for rows in sizes(w.out_h):
        for cols in sizes(w.out_w):
            if min(parts(w.out_w, cols)) < packing.pixels or stream(packing, rows, cols) > setting.acc:
                continue
            if inside and cols < w.out_w and stream(packing, 1, w.out_w) <= setting.acc:
                continue  # rows are cut only where they must be
            for group in groups(packing, arch, rows, cols, setting.acc):
                if packing.parts > 1 and group * stream(packing, rows, cols) > setting.acc:
                    continue
                for together in images(packing, setting, rows, cols):
                    plan = buffered(op, packing, setting, rows, cols, group, together)
                    if plan is not None:
                        yield plan


def images(packing: Packing, setting: Setting, rows: int, cols: int) -> set[int]:
    """How many images may share weights: one, or as many as ACC holds the sums of."""
    if setting.images == 1 or setting.inputs or packing.odd or packing.parts > 1:
        return {1}
    most = max(n for n in range(1, setting.images + 1) if n == 1 or n * stream(packing, rows, cols) <= setting.acc)
    return {1, evenly(setting.images, most)}


def buffered(
    op: MatOp, packing: Packing, setting: Setting, rows: int, cols: int, group: int, together: int
) -> Plan | None:
    """The cut with the most buffers that fit; None if it fits with none."""
    w, width = op.window, packing.blocks[0].count
    once = rows == w.out_h and cols == w.out_w and not op.batched and setting.images == 1
    tall, wide = strip(w, 0, rows), strip(w, 1, cols)
    held = packing.channels if packing.parts > 1 else w.in_c
    size_in = tall * wide * held if setting.inputs else 0
    plane = tall * (cols if packing.taps == 1 else wide) * packing.odd * len(packing.groups)
    for blocks in dict.fromkeys((group, 1)) if together == 1 else (1,):
        size_out = rows * cols * min(blocks * width, w.out_c) if setting.output else 0
        for inputs, outputs in BUFFERS:
            if once and packing.parts == 1:
                inputs = 1
            if once and blocks >= len(packing.blocks):
                outputs = 1
            planes = (1 if once else inputs) if plane else 0
            plan = Plan(
                rows=rows, cols=cols, packing=packing, group=group, channels=packing.channels, together=together,
                strips_in=inputs if size_in else 0, strips_out=outputs if size_out else 0, strip_in_bytes=size_in,
                strip_out_bytes=size_out, out_blocks=blocks if setting.output else 1, planes=planes, plane_bytes=plane,
            )  # fmt: skip
            if plan.bytes <= setting.ub:
                return plan
    return None


def vector_cuts(op: Op, arch: Arch, setting: Setting) -> Iterator[Plan]:
    """Every cut of vector work that fits, with the most buffers that do; with some channels of the input at a time only
    where nothing fits with all of them."""
    found = list(_vector_cuts(op, arch, setting, 0))
    if not found and setting.inputs:
        found = [cut for width in widths(op, arch) for cut in _vector_cuts(op, arch, setting, width)]
    yield from found


def widths(op: Op, arch: Arch) -> list[int]:
    """Channels of a window over several pixels: the eight widest pieces that fill the lanes or are narrower, and the
    narrowest; a depthwise convolution's taps lie in PARAM as wide as the lanes."""
    cols, whole = arch.array.cols, op.window.in_c
    if not isinstance(op, DepthwiseOp) and getattr(op, "kind", "") not in ("max", "avg"):
        return []
    narrow = not isinstance(op, DepthwiseOp)
    sized = {*sizes(whole), cols} if not narrow else set(sizes(whole))
    found = sorted((c for c in sized if c < whole and (c % cols == 0 or (narrow and c < cols))), reverse=True)
    return found if len(found) <= 8 else [*found[:8], found[-1]]


def _vector_cuts(op: Op, arch: Arch, setting: Setting, width: int) -> Iterator[Plan]:
    w, per_pixel = op.window, acc_rows(op, arch)
    inside = not setting.inputs and not setting.output
    for rows in sizes(w.out_h):
        for cols in sizes(w.out_w):
            if rows * cols * per_pixel > setting.acc and rows * cols > 1:
                continue
            if inside and cols < w.out_w and w.out_w * per_pixel <= setting.acc:
                continue
            once = rows == w.out_h and cols == w.out_w and not op.batched and setting.images == 1
            size_in = strip(w, 0, rows) * strip(w, 1, cols) * (width or w.in_c) * setting.inputs
            size_out = rows * cols * w.out_c if setting.output else 0
            for inputs, outputs in BUFFERS:
                inputs, outputs = 1 if once and not width else inputs, 1 if once else outputs
                plan = Plan(
                    rows=rows, cols=cols, strips_in=inputs if size_in else 0, strips_out=outputs if size_out else 0,
                    strip_in_bytes=size_in, strip_out_bytes=size_out, out_blocks=1,
                    channels=width,
                )  # fmt: skip
                factors = rows * cols * w.out_c if isinstance(op, LrnOp) else 0  # a byte per output, beside the strips
                if plan.bytes + factors <= setting.ub:
                    yield plan
                    break


def acc_rows(op: Op, arch: Arch) -> int:
    """ACC rows per pixel of work that is no matrix work."""
    if isinstance(op, LrnOp):
        return len(bands(op, arch))
    return 0 if getattr(op, "kind", "") in ("max", "lut", "mov") else 1


# ------------------------------------------------------------------------------------------ whole chains


def rows_at_a_time(chain: Chain, rows: int, arch: Arch, side: int) -> list[int]:
    """Of every operation, what a tile of the first one gives, as far as its share of ACC goes."""
    found = [rows]
    for op in chain.ops[1:]:
        w, per_row = op.window, acc_rows(op, arch) * op.window.out_w
        cap = next(n for n in range(1, w.out_h + 1) if n == w.out_h or n * chain.ops[0].window.out_h >= rows * w.out_h)
        while per_row and cap > 1 and cap * per_row > side:
            cap -= 1
        found.append(cap)
    return found


def bytes_behind(chain: Chain, lowered: Lowered, room: Room, plan: Plan, caps: list[int]) -> dict[tuple[str, str], int]:
    """UB bytes of what the operations behind the first hold, by what it is."""
    made = {lowered.root[op.output]: level for level, op in enumerate(chain.ops)}
    jobs = jobs_of(chain.ops[0], plan)
    found: dict[tuple[str, str], int] = {}
    for level, rows in rows_in_use(chain, jobs, list(flow(chain, jobs, caps))).items():
        w, name = chain.ops[level].window, chain.ops[level].output
        pads = [
            chain.ops[reader].window.pads
            for reader, feeds in enumerate(chain.feeds)
            if level in feeds and isinstance(chain.ops[reader], DepthwiseOp)
        ]
        above, below, left, right = (max((p[side] for p in pads), default=0) for side in range(4))
        if name not in room.on_chip:
            found["ring", name] = min(rows, above + w.out_h + below) * (left + w.out_w + right) * w.out_c
    for level, op in enumerate(chain.ops):
        w = op.window
        for name in op.inputs if level else ():
            if name not in made and name not in room.on_chip:
                found["ring", name] = max(min(w.in_h, 2 * caps[level]) * w.in_w * w.in_c, found.get(("ring", name), 0))
        if isinstance(op, LrnOp):
            found["temp", op.name] = (caps[level] * w.out_w if level else plan.rows * plan.cols) * w.out_c
    last = chain.ops[-1]
    if len(chain.ops) > 1 and last.output not in room.on_chip:
        w = last.window
        found["ring", last.output] = min(w.out_h, 2 * caps[-1]) * w.out_w * w.out_c
    return found
