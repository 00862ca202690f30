"""Where tiles find their input and leave their output: views of homes and strips, loads of images, final stores.

``matrix.py`` and ``vector.py`` emit through an :class:`Emitter`; ``schedule.py`` decides in which order.
"""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.arch import Arch
from accelsim.compiler.constants import param_groups, pixel_counts
from accelsim.compiler.layout import DramLayout
from accelsim.compiler.ops import Lowered, MatOp, Op
from accelsim.compiler.packing import slabs
from accelsim.compiler.place import Home, Placement
from accelsim.compiler.stream import Ring, Stream, Tile, View
from accelsim.compiler.tile import Plan
from accelsim.isa.protocol import Memory

INPUT_PARTS = 4
"""Loads that bring in an image that stays on chip, at most."""


class Emitter:
    """What the instructions of one network share: rings, homes, strip buffers, and the ``stream`` that grows."""

    def __init__(
        self,
        lowered: Lowered,
        placement: Placement,
        plans: Mapping[str, Plan],
        workspace: Mapping[str, int],
        layout: DramLayout,
        tensors_in_dram: Mapping[str, int],
        arch: Arch,
    ) -> None:
        self.lowered, self.placement, self.plans, self.arch = lowered, placement, plans, arch
        self.layout, self.dram, self.workspace = layout, tensors_in_dram, workspace
        self.stream = Stream()
        packed = {name: plan.packing for name, plan in plans.items() if plan.packing is not None}
        self.slabs = {name: slabs(packing, arch) for name, packing in packed.items()}
        self.groups = {
            op.name: param_groups(op, plans[op.name], arch)
            for op in lowered.ops
            if isinstance(op, MatOp) or pixel_counts(op)
        }
        self.wgt, self.acc, self.param = Ring(arch.wgt_rows), Ring(arch.acc_rows), Ring(arch.param_rows)
        self._strips: dict[tuple[str, str], list[object]] = {}
        self._loaded: dict[tuple[str, int], int] = {}

    def home_of(self, tensor: str) -> Home | None:
        """The on-chip home of a tensor, or None when it lives in DRAM."""
        return self.placement.homes.get(self.lowered.root[tensor])

    def dram_of(self, tensor: str) -> int:
        """DRAM address of image 0 of a tensor."""
        return self.dram[self.lowered.root[tensor]]

    def ensure_input(self, op: Op, image: int, rows: int) -> None:
        """Load the network's input up to ``rows`` rows when it is kept on chip."""
        root = self.lowered.root[op.input]
        home = self.home_of(op.input)
        if root != self.lowered.input or home is None:
            return
        first = self._loaded.get((root, image), 0)
        self.stream.tile = "input"
        if op.batched:
            if first == 0:
                self._fill(home, None, op.input)
                size = home.height * home.width * home.channels
                self.stream.load_rows(
                    Memory.UB,
                    dram=self.dram_of(op.input),
                    local=home.base,
                    rows=self.lowered.batch,
                    run=size,
                    dram_pitch=size,
                    local_pitch=home.image_bytes,
                )
                self._loaded[root, image] = 1
            return
        if first == 0:
            self._fill(home, image, op.input)
        if rows > first:
            # A quarter of the image at least: fewer instructions, and the first rows still come early.
            rows = min(home.height, max(rows, first + -(-home.height // INPUT_PARTS)))
            run = home.width * home.channels
            self.stream.load_rows(
                Memory.UB,
                dram=self.dram_of(op.input) + (image * home.height + first) * run,
                local=home.pixel(image, first, 0),
                rows=rows - first,
                run=run,
                dram_pitch=run,
                local_pitch=home.pitch,
            )
            self._loaded[root, image] = rows

    def _fill(self, home: Home, image: int | None, tensor: str) -> None:
        """Give the border of one image (or all) the zero point, before anything else is written there."""
        if not home.filled:
            return
        zero = self.lowered.tensors[tensor].zero
        first, count = (0, home.images) if image is None else (image % home.images, 1)
        rows = home.image_bytes // home.pitch
        self.stream.fill(home.base + first * home.image_bytes, count * rows, home.pitch, zero)

    def prepare_output(self, op: Op, image: int) -> None:
        """Called before the first write of an operation's output for one image (or for the batch)."""
        home = self.home_of(op.output)
        if home is not None:
            self._fill(home, None if op.batched else image, op.output)

    def store_output(self, op: Op, image: int) -> None:
        """Bring the network's result to DRAM when it was made on chip."""
        root = self.lowered.root[op.output]
        home = self.home_of(op.output)
        if root != self.lowered.root[self.lowered.output] or home is None:
            return
        self.stream.tile = "output"
        row = home.width * home.channels
        size = home.height * row
        if op.batched:
            self.stream.store_rows(
                dram=self.dram_of(op.output),
                local=home.base,
                rows=self.lowered.batch,
                cols=1,
                run=size,
                dram_pitch=(size, size),
                local_pitch=(home.image_bytes, size),
            )
        else:
            self.stream.store_rows(
                dram=self.dram_of(op.output) + image * size,
                local=home.pixel(image, 0, 0),
                rows=home.height,
                cols=1,
                run=row,
                dram_pitch=(row, row),
                local_pitch=(home.pitch, row),
            )

    def input_view(self, op: Op, tile: Tile) -> View:
        """Where the tile finds its input; loads the strip when the tensor lives in DRAM."""
        home = self.home_of(op.input)
        if home is None:
            return self._strip_in(op, tile)
        if op.batched:
            return View(home.base, 0, home.image_bytes)
        return View(home.pixel(tile.image, 0, 0), home.pitch, home.channels)

    def output_view(self, op: Op, tile: Tile, channels: int) -> View:
        """Where the tile leaves its output; a strip buffer holds ``channels`` channels when it goes to DRAM."""
        home = self.home_of(op.output)
        if home is None:
            base, _ = self._strip(op, "out", object())
            return View(base - (tile.row * tile.cols + tile.col) * channels, tile.cols * channels, channels)
        if op.batched:
            return View(home.base, 0, home.image_bytes)
        return View(home.pixel(tile.image, 0, 0), home.pitch, home.channels)

    def store_tile(self, op: Op, tile: Tile, view: View, first: int, channels: int) -> None:
        """Send a finished strip to DRAM when the output lives there."""
        if self.home_of(op.output) is not None:
            return
        w = op.window
        at = ((tile.image * w.out_h + tile.row) * w.out_w + tile.col) * w.out_c + first
        self.stream.store_rows(
            dram=self.dram_of(op.output) + at,
            local=view.at(tile.row, tile.col),
            rows=tile.rows,
            cols=tile.cols,
            run=channels,
            dram_pitch=(w.out_w * w.out_c, w.out_c),
            local_pitch=(view.row_pitch, view.pixel_pitch),
        )

    def _strip(self, op: Op, side: str, key: object) -> tuple[int, bool]:
        """(address, whether it is new) of the strip buffer that holds ``key``; buffers are used in turn."""
        plan = self.plans[op.name]
        count, size = (plan.strips_in, plan.strip_in_bytes) if side == "in" else (plan.strips_out, plan.strip_out_bytes)
        base = self.workspace[op.name] + (plan.strips_in * plan.strip_in_bytes if side == "out" else 0)
        used = self._strips.setdefault((op.name, side), [])
        recent = used[-count:]
        if key in recent:
            return base + (len(used) - len(recent) + recent.index(key)) % count * size, False
        used.append(key)
        return base + (len(used) - 1) % count * size, True

    def _strip_in(self, op: Op, tile: Tile) -> View:
        w = op.window
        top, left = tile.row * w.stride[0] - w.pads[0], tile.col * w.stride[1] - w.pads[2]
        rows, cols = w.rows_in(tile.rows), w.cols_in(tile.cols)
        base, new = self._strip(op, "in", tile)
        pitch = cols * w.in_c
        view = View(base - top * pitch - left * w.in_c, pitch, w.in_c)
        if not new:
            return view
        y0, y1 = max(top, 0), min(top + rows, w.in_h)
        x0, x1 = max(left, 0), min(left + cols, w.in_w)
        if (y1 - y0) * (x1 - x0) < rows * cols:
            self.stream.fill(base, rows, pitch, self.lowered.tensors[op.input].zero)
        if y1 > y0 and x1 > x0:
            self.stream.load_rows(
                Memory.UB,
                dram=self.dram_of(op.input) + ((tile.image * w.in_h + y0) * w.in_w + x0) * w.in_c,
                local=view.at(y0, x0),
                rows=y1 - y0,
                run=(x1 - x0) * w.in_c,
                dram_pitch=w.in_w * w.in_c,
                local_pitch=pitch,
            )
        return view
