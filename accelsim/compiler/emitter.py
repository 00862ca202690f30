"""Where tiles find their input and leave their output: views of homes, rings and strips, loads and stores.

``matrix.py``, ``vector.py`` and ``norm.py`` emit through an :class:`Emitter`; ``schedule.py`` decides in which order.
"""

from __future__ import annotations

from dataclasses import replace

from accelsim.arch import Arch
from accelsim.compiler.constants import Constants, ParamGroup
from accelsim.compiler.home import Home, home_of
from accelsim.compiler.ops import Lowered, Op
from accelsim.compiler.place import Placement
from accelsim.compiler.plan import ChainPlan, Plan, strip_shape
from accelsim.compiler.stream import Ring, Stream, Tile, View
from accelsim.compiler.strips import Strips
from accelsim.isa.protocol import Memory

INPUT_PARTS = 4
"""Loads that bring in an image that stays on chip, at most."""


class Emitter:
    """What the instructions of one network share: rings, homes, strip buffers, and the ``stream`` that grows."""

    def __init__(
        self,
        lowered: Lowered,
        placement: Placement,
        plans: tuple[ChainPlan, ...],
        constants: Constants,
        dram: dict[str, int],
        arch: Arch,
    ) -> None:
        self.lowered, self.placement, self.chain_plans, self.arch = lowered, placement, plans, arch
        self.constants, self.dram = constants, dram
        self.stream = Stream()
        self.plans: dict[str, Plan] = {name: plan for chain in plans for name, plan in chain.plans.items()}
        self.wgt, self.param = Ring(arch.wgt_rows), Ring(arch.param_rows)
        self.acc = self.side = Ring(arch.acc_rows)
        self._chain = 0
        self.rings: dict[str, Home] = {}
        self._strips = Strips()
        self._loaded: dict[tuple[str, int], int] = {}
        self._acc_parts = 0

        self._groups: dict[str, tuple[ParamGroup, ...]] = {}

    def groups_of(self, op: Op) -> tuple[ParamGroup, ...]:
        """How the bias and scale rows of an operation are loaded."""
        if op.name not in self._groups:
            self._groups[op.name] = self.constants.param_groups(op)
        return self._groups[op.name]

    # ------------------------------------------------------------------------------------------ chains

    def begin_chain(self, number: int) -> None:
        """Turn to a chain (again, for the next image): its rings, and its share of ACC."""
        plan, chain = self.chain_plans[number], self.placement.chains[number]
        if number != self._chain or not self.rings:
            self.rings = {
                tensor: home_of(
                    self.lowered, tensor, images=1, held=held, base=self.offset("ring", tensor, number),
                    dense=tensor in self.dram, part=self._part(chain.ops[-1], tensor),
                )
                for tensor, held in plan.held.items()
            }  # fmt: skip
        self._chain = number
        for tensor in self.rings:
            self._loaded = {key: rows for key, rows in self._loaded.items() if key[0] != tensor}
        if plan.side_rows != self._acc_parts:
            self._acc_parts = plan.side_rows
            main = self.arch.acc_rows - plan.side_rows
            self.acc = Ring(main)
            self.side = Ring(plan.side_rows, main) if plan.side_rows else self.acc

    def _part(self, last: Op, tensor: str) -> str:
        """The channels of ``tensor`` that the last operation of a chain writes, if not all."""
        return last.output if last.output in self.lowered.parts and self.lowered.root[last.output] == tensor else ""

    def offset(self, kind: str, name: str, number: int | None = None) -> int:
        """UB address of a part of the chain's workspace."""
        number = self._chain if number is None else number
        return self.placement.workspace[number] + self.chain_plans[number].places[kind, name]

    def home_of(self, tensor: str, reader: Op | None = None) -> Home | None:
        """Where a tensor lies in UB, whole or as a ring, or None when it passes in strips.

        The first operation of a chain has strips of its own, also of a tensor of which one behind it reads a ring.
        """
        root = self.lowered.root[tensor]
        ring = None if reader is self.placement.chains[self._chain].ops[0] else self.rings.get(root)
        return self.placement.homes.get(root) or ring

    def in_home(self, tensor: str) -> bool:
        """Whether a tensor lies whole in UB, by itself or as channels of a larger one."""
        return self.lowered.root[tensor] in self.placement.homes

    def off_chip(self, tensor: str) -> bool:
        """Whether a tensor lives in DRAM."""
        return self.lowered.root[tensor] in self.dram and not self.in_home(tensor)

    def dram_of(self, tensor: str) -> int:
        """DRAM address of image 0 of a tensor."""
        return self.dram[self.lowered.root[tensor]]

    # ------------------------------------------------------------------------------- rows that are held

    def ensure_rows(self, op: Op, tensor: str, image: int, rows: int) -> None:
        """Load an operation's input up to ``rows`` rows when it comes from DRAM into a home or a ring."""
        root, home = self.lowered.root[tensor], self.home_of(tensor, op)
        if home is None or root not in self.dram or (root in self.placement.homes and root not in self.lowered.inputs):
            return
        if op.batched:
            if not self._loaded.get((root, 0)):
                self._load_batch(home, tensor)
                self._loaded[root, 0] = 1
            return
        first = self._loaded.get((root, image), 0)
        if first == 0:
            self.fill_border(home, image, tensor)
        if rows <= first:
            return
        if home.whole:
            # A quarter of the image at least: fewer instructions, and the first rows still come early.
            rows = min(home.height, max(rows, first + -(-home.height // INPUT_PARTS)))
        size = home.width * home.channels
        for row, count in self.view(home, image).runs(first, rows - first):
            self.stream.load_rows(
                Memory.UB,
                dram=self.dram_of(tensor) + (image * home.height + row) * size,
                local=home.pixel(image, row, 0),
                rows=count,
                run=size,
                dram_pitch=size,
                local_pitch=home.pitch,
            )
        self._loaded[root, image] = rows

    def _load_batch(self, home: Home, tensor: str) -> None:
        size = home.height * home.width * home.channels
        self.stream.load_rows(
            Memory.UB, dram=self.dram_of(tensor), local=home.base, rows=self.lowered.batch, run=size, dram_pitch=size,
            local_pitch=home.image_bytes,
        )  # fmt: skip

    def fill_border(self, home: Home, image: int | None, tensor: str) -> None:
        """Give the border of one image (or all) the zero point, before anything else is written there."""
        if not any(home.border):
            return
        zero = self.lowered.tensors[tensor].zero
        first, count = (0, home.images) if image is None else (image % home.images, 1)
        self.stream.fill(home.base + first * home.image_bytes, count * home.held, home.pitch, zero)

    # ------------------------------------------------------------------------------------------- views

    def view(self, home: Home, image: int, stride: tuple[int, int] = (1, 1)) -> View:
        start = home.slot(image) + home.border[2] * home.channels
        return View(start, home.pitch, home.channels, stride, home.border[0], home.held)

    def input_view(self, op: Op, tile: Tile, number: int = 0, channel: int = 0) -> View:
        """Where the tile finds input ``number``; loads its strip when the tensor lives in DRAM.

        ``channel`` is the first channel of a strip that holds only some.
        """
        number = op.inputs.index(op.inputs[number])  # a tensor added to itself
        home = self.home_of(op.inputs[number], op)
        if home is None:
            return self._strip_in(op, tile, number, channel)
        if op.batched:
            return View(home.base, 0, home.image_bytes, op.window.stride)
        view = self.view(home, tile.image, op.window.stride)
        return replace(view, held=0, origin=view.at(0, 0)) if home.whole else view

    def strip(self, op: Op, side: str, key: object) -> tuple[int, bool]:
        """(address, whether it is new) of the strip or plane that holds ``key``."""
        offset, new = self._strips.get(op.name, self.plans[op.name], side, key)
        return self.offset("strips", op.name) + offset, new

    def plane(self, op: Op, tile: Tile) -> tuple[int, bool]:
        """(address, whether it is new) of the plane of a tile's odd bytes."""
        return self.strip(op, "plane", tile)

    def _strip_in(self, op: Op, tile: Tile, number: int, channel: int) -> View:
        w, plan = op.window, self.plans[op.name]
        narrow = plan.parts > 1 or plan.packing is None
        held = min(plan.channels or w.in_c, w.in_c) if narrow else w.in_c
        held = min(held, w.in_c - channel)
        base, new = self.strip(op, "in", (tile, channel)) if number == 0 else self._second_strip(op, tile)
        (tall, wide), stride = strip_shape(w, tile.rows, tile.cols)
        skip = (w.stride[0] // stride[0], w.stride[1] // stride[1])  # pixels of the tensor per pixel of the strip
        top, left = tile.row * stride[0] - w.pads[0], tile.col * stride[1] - w.pads[2]
        pitch = wide * held
        view = View(base - top * pitch - left * held, pitch, held, stride)
        if not new:
            return view
        height, width = -(-w.in_h // skip[0]), -(-w.in_w // skip[1])
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = max(y0, min(top + tall, height)), max(x0, min(left + wide, width))
        if (y1 - y0) * (x1 - x0) < tall * wide:
            self.stream.fill(base, tall, pitch, self.lowered.tensors[op.inputs[number]].zero)
        if y1 > y0 and x1 > x0:
            first = (tile.image * w.in_h + y0 * skip[0]) * w.in_w + x0 * skip[1]
            self.stream.load_block(
                Memory.UB,
                dram=self.dram_of(op.inputs[number]) + first * w.in_c + channel,
                local=view.at(y0, x0),
                rows=y1 - y0,
                cols=x1 - x0,
                run=held,
                dram_pitch=(skip[0] * w.in_w * w.in_c, skip[1] * w.in_c),
                local_pitch=(pitch, held),
            )
        return view

    def _second_strip(self, op: Op, tile: Tile) -> tuple[int, bool]:
        """The second input's half of a strip: it is loaded with the first one's, or alone when that is on chip."""
        half = self.plans[op.name].strip_in_bytes
        if self.home_of(op.inputs[0], op) is not None:
            return self.strip(op, "in", (tile, "second"))
        base, _ = self.strip(op, "in", (tile, 0))
        return base + half // 2, self._strips.first_time((op.name, tile), self.plans[op.name].strips_in)
