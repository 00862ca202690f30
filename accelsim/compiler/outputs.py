"""Where an operation leaves its results, and what becomes of them: homes, rings, strips, channels of a larger tensor,
their way to DRAM, and the note of where they were seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.home import Home, makers_of
from accelsim.compiler.ops import Op
from accelsim.compiler.stream import Tile, View


def output_view(s: Emitter, op: Op, tile: Tile, channels: int, key: object) -> View:
    """Where the tile leaves its output; a strip holds ``channels`` channels when it goes to DRAM.

    Equal ``key``s mean the same strip.
    """
    home = s.home_of(op.output)
    if home is None:
        base, _ = s.strip(op, "out", (tile, key))
        return View(base - (tile.row * tile.cols + tile.col) * channels, tile.cols * channels, channels)
    # A ring holds the operation's own channels, the home of a tensor all of them.
    first = s.lowered.lanes(op.output)[0] if s.in_home(op.output) else 0
    if op.batched:
        return View(home.base + first, 0, home.image_bytes)
    view = s.view(home, tile.image)
    view = replace(view, origin=view.origin + first)
    return replace(view, held=0, origin=view.at(0, 0)) if home.whole else view


def prepare_output(s: Emitter, op: Op, image: int) -> None:
    """Called before the first write of an operation's output for one image (or for the batch)."""
    home = s.home_of(op.output)
    if home is not None and makers_of(s.lowered, home.tensor)[0].name == op.name:
        s.fill_border(home, None if op.batched else image, op.output)


def finish_rows(s: Emitter, op: Op, image: int, row: int, rows: int) -> None:
    """Called when output rows ``row .. row + rows`` of one image are complete: what else must become of them."""
    home = s.home_of(op.output)
    if home is None or op.batched:
        return
    last, bottom = row + rows == home.height, home.border[1]
    if last and bottom and not home.whole:
        zero = s.lowered.tensors[op.output].zero
        for first, count in s.view(home, image).runs(home.height, bottom):
            s.stream.fill(home.pixel(image, first, -home.border[2]), count, home.pitch, zero)
    if home.tensor in s.rings and s.off_chip(op.output):
        _store_rows(s, op.output, home, image, row, rows)


def _store_rows(s: Emitter, tensor: str, home: Home, image: int, row: int, rows: int) -> None:
    """Rows of ``tensor``, which may be some channels of a larger one: ``home`` holds what is stored, and no more."""
    first, channels = s.lowered.lanes(tensor)
    size = home.width * channels
    for start, count in s.view(home, image).runs(row, rows):
        s.stream.store_rows(
            dram=s.dram_of(tensor) + (image * home.height + start) * size + first,
            local=home.pixel(image, start, 0),
            rows=count,
            cols=home.width,
            run=home.channels,
            dram_pitch=(size, channels),
            local_pitch=(home.pitch, home.channels),
        )


def store_output(s: Emitter, op: Op, image: int) -> None:
    """Bring a result of the network to DRAM when it was made in a home and is complete."""
    root = s.lowered.root[op.output]
    home = s.placement.homes.get(root)
    if root not in s.lowered.outputs or home is None or makers_of(s.lowered, root)[-1].name != op.name:
        return
    s.stream.tile = "output"
    if not op.batched:
        _store_rows(s, root, home, image, 0, home.height)
        return
    size = home.height * home.width * home.channels
    s.stream.store_rows(
        dram=s.dram_of(root),
        local=home.base,
        rows=s.lowered.batch,
        cols=1,
        run=size,
        dram_pitch=(size, size),
        local_pitch=(home.image_bytes, size),
    )


def store_tile(s: Emitter, op: Op, tile: Tile, view: View, first: int, channels: int) -> None:
    """Send a finished strip, ``channels`` channels from ``first`` on, to DRAM when the output passes in strips."""
    if s.home_of(op.output) is not None:
        return
    w = op.window
    start, pitch = s.lowered.lanes(op.output)
    pixel = (tile.image * w.out_h + tile.row) * w.out_w + tile.col
    s.stream.store_rows(
        dram=s.dram_of(op.output) + pixel * pitch + start + first,
        local=view.at(tile.row, tile.col),
        rows=tile.rows,
        cols=tile.cols,
        run=channels,
        dram_pitch=(w.out_w * pitch, pitch),
        local_pitch=(view.row_pitch, view.pixel_pitch),
    )


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that one instruction leaves in UB: ``count`` channels from ``first`` on of some pixels.

    The first pixel is number ``pixel`` of the tensor, at byte ``ub``. Loops are (count, UB step, pixels); ``packed``
    pixels are neighbours.
    """

    pixel: int
    first: int
    count: int
    ub: int
    inner: tuple[int, int, int]
    outer: tuple[int, int, int]
    packed: int = 1


def observe(s: Emitter, index: int, tensor: str, found: Written) -> None:
    """Note that instruction ``index`` leaves a piece of ``tensor`` in UB, and of all tensors it is a part of."""
    part, first = s.lowered.parts.get(tensor), found.first
    if part is None or part.observed:
        _probe(s, index, tensor, found, first, s.lowered.tensors[tensor].shape[2])
    while part is not None:
        tensor, first = part.whole, first + part.first
        _probe(s, index, tensor, found, first, s.lowered.tensors[tensor].shape[2])
        part = s.lowered.parts.get(tensor)


def _probe(s: Emitter, index: int, tensor: str, found: Written, first: int, channels: int) -> None:
    (n0, us0, pixels0), (n1, us1, pixels1) = found.inner, found.outer
    run, times = found.count, found.packed
    if run == channels:  # neighbours in UB are neighbours in the tensor: one run covers them
        run, times = run * times, 1
    for i in range(times):
        s.stream.probe(
            index, tensor, run, found.ub + i * run, (found.pixel + i) * channels + first, (n0, us0, pixels0 * channels),
            (n1, us1, pixels1 * channels),
        )  # fmt: skip
