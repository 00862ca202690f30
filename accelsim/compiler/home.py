"""Where a tensor lies in UB: whole, or as a ring of its rows."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.compiler.ops import Lowered, Op, bordered
from accelsim.nn.graph import Pads

NO_BORDER: Pads = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """``base`` is the byte of image 0's first stored pixel, border included; ``held`` rows lie there.

    A tensor that is held whole has as many as its height and border; a ring has fewer, and row r of an image lies where
    row ``r - held`` did. ``images`` slots are used in turn, ``image_bytes`` apart; ``border`` rows and columns around
    each image hold the zero point.
    """

    tensor: str
    base: int
    height: int
    width: int
    channels: int
    border: Pads
    held: int
    images: int

    @property
    def pitch(self) -> int:
        """Bytes from one row of pixels to the next."""
        return (self.width + self.border[2] + self.border[3]) * self.channels

    @property
    def image_bytes(self) -> int:
        """Bytes of one slot."""
        return self.held * self.pitch

    @property
    def bytes(self) -> int:
        """Bytes of all slots."""
        return self.images * self.image_bytes

    @property
    def whole(self) -> bool:
        """Whether all rows are held."""
        return self.held >= self.height + self.border[0] + self.border[1]

    def slot(self, image: int) -> int:
        """First byte of an image."""
        return self.base + image % self.images * self.image_bytes

    def pixel(self, image: int, row: int, col: int) -> int:
        """Address of a pixel; rows and columns may reach into the border."""
        line = (row + self.border[0]) % self.held
        return self.slot(image) + line * self.pitch + (col + self.border[2]) * self.channels


def readers_of(lowered: Lowered, tensor: str) -> tuple[Op, ...]:
    """The operations that read a stored tensor."""
    return lowered.readers.get(tensor, ())


def makers_of(lowered: Lowered, tensor: str) -> tuple[Op, ...]:
    """The operations that write a stored tensor."""
    return lowered.makers.get(tensor, ())


def border_of(lowered: Lowered, tensor: str) -> Pads:
    """The widest padding that a reader of a tensor sees as bytes."""
    pads = [op.window.pads for op in readers_of(lowered, tensor) if bordered(op)]
    return tuple(max((p[i] for p in pads), default=0) for i in range(4))  # type: ignore[return-value]


def home_of(
    lowered: Lowered, tensor: str, *, images: int, held: int = 0, base: int = 0, dense: bool = False, part: str = ""
) -> Home:
    """The home of a stored tensor: all of its rows, or ``held`` of them; ``dense``: without a border; or of ``part``,
    which is some of its channels."""
    border = NO_BORDER if dense else border_of(lowered, tensor)
    height, width, channels = lowered.tensors[part or tensor].shape
    whole = height + border[0] + border[1]
    return Home(
        tensor=tensor, base=base, height=height, width=width, channels=channels, border=border, held=held or whole,
        images=images,
    )  # fmt: skip


def torn(lowered: Lowered) -> set[str]:
    """Tensors that one operation pads while another sees them dense, as a vector or as a row of the batch.

    A border would tear the dense view apart, so these go through DRAM, where tensors are always dense.
    """
    found: set[str] = set()
    for root in set(lowered.root.values()):
        users = [*readers_of(lowered, root), *makers_of(lowered, root)]
        names = {name for op in users for name in (*op.inputs, op.output) if lowered.root[name] == root}
        names -= set(lowered.parts)  # some of the channels, of the same pixels
        shapes = {lowered.tensors[name].shape for name in names} | {lowered.tensors[root].shape}
        if any(border_of(lowered, root)) and (len(shapes) > 1 or any(op.batched for op in users)):
            found.add(root)
    return found
