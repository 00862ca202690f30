"""What each unit did when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from accelsim.isa.program import Program
from accelsim.isa.protocol import Unit
from accelsim.plots.style import GREY, axes_or_new, layer_colors
from accelsim.trace import Trace

RESOLUTION = 2000
"""Pieces shorter than the shown range over this are joined with their like."""

WAIT_COLORS = {"queue": "0.85", "port": "0.0", "token": "0.62", "drain": "0.42", "bank": "0.25"}
"""Greys, so that no reason is taken for a layer. What is over for good (``done``) is left white."""

DONE = "done"
_BUSY_HEIGHT, _WAIT_HEIGHT = 0.8, 0.25
_NAMED_LAYERS = 14


@dataclass(frozen=True, slots=True)
class Piece:
    """From cycle ``start`` to before ``stop``: ``name`` is a layer (``busy``) or a reason to wait."""

    name: str
    busy: bool
    start: int
    stop: int


def timeline(program: Program, trace: Trace, start: int = 0, stop: int | None = None, ax: Axes | None = None) -> Axes:
    """A row per unit over the cycles ``[start, stop)`` (all if not given): work in the colour of its layer, and lower
    down, in the colour of the reason, waiting. The first row tells which layer each cycle is charged to.

    Raises ValueError for an empty range.
    """
    end = trace.cycles if stop is None else min(stop, trace.cycles)
    if not 0 <= start < end:
        raise ValueError(f"there is no cycle from {start} to before {end} in a run of {trace.cycles}")
    axes = axes_or_new(ax, width=9.0, height=3.4)
    colors = layer_colors(program.layers)
    _layers(axes, program, trace, (start, end), colors)
    reasons: set[str] = set()
    for place, unit in enumerate(Unit, 1):
        found = joined(clipped(pieces(program, trace, unit), start, end), (end - start) / RESOLUTION)
        reasons |= {piece.name for piece in found if not piece.busy}
        for busy in (True, False):
            mine = [piece for piece in found if piece.busy == busy and piece.name != DONE]
            height = _BUSY_HEIGHT if busy else _WAIT_HEIGHT
            shades = [colors.get(piece.name, GREY) if busy else WAIT_COLORS[piece.name] for piece in mine]
            bars = [(piece.start, piece.stop - piece.start) for piece in mine]
            axes.broken_barh(bars, (place - 0.4, height), facecolors=shades)
    names = ["layer", *(unit.name.lower() for unit in Unit)]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(start, end)
    axes.set_xlabel("cycle")
    handles = [Patch(color=WAIT_COLORS[name], label=f"waits: {name}") for name in WAIT_COLORS if name in reasons]
    if len(colors) <= _NAMED_LAYERS:
        handles = [Patch(color=color, label=name) for name, color in colors.items()] + handles
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=8, fontsize=7, frameon=False)
    return axes


def _layers(axes: Axes, program: Program, trace: Trace, span: tuple[int, int], colors: dict[str, str]) -> None:
    begin = 0
    for name, end in zip(program.layers, trace.layer_ends(program.layer_of, len(program.layers)).tolist()):
        low, high = max(begin, span[0]), min(end, span[1])
        if high > low:
            axes.broken_barh([(low, high - low)], (-0.4, _BUSY_HEIGHT), facecolors=colors[name])
            if high - low > (span[1] - span[0]) / 30:
                axes.text((low + high) / 2, 0, name, ha="center", va="center", fontsize=7)
        begin = max(begin, end)


def pieces(program: Program, trace: Trace, unit: Unit) -> Iterator[Piece]:
    """The unit's whole timeline: its work by layer, its waiting by reason (``token`` whoever is to give it)."""
    known = len(program.layer_of) == len(program.instructions)
    for span in trace.spans(unit):
        if span.wait:
            yield Piece(span.wait.partition(":")[0], False, span.start, span.stop)
        else:
            layer = program.layer_of[span.index] if known else -1
            yield Piece(program.layers[layer] if layer >= 0 else "", True, span.start, span.stop)


def clipped(found: Iterable[Piece], start: int, stop: int) -> Iterator[Piece]:
    """The parts inside ``[start, stop)``."""
    for piece in found:
        low, high = max(piece.start, start), min(piece.stop, stop)
        if high > low:
            yield Piece(piece.name, piece.busy, low, high)


def joined(found: Iterable[Piece], least: float) -> list[Piece]:
    """Pieces that are alike joined over gaps shorter than ``least`` cycles, then those shorter than half of that left
    out: what a picture cannot show anyway.
    """
    result: list[Piece] = []
    last: dict[tuple[str, bool], int] = {}  # place in the result of the last piece of this sort
    for piece in found:
        sort = (piece.name, piece.busy)
        before = result[last[sort]] if sort in last else None
        if before is not None and piece.start - before.stop < max(least, 1):
            result[last[sort]] = Piece(piece.name, piece.busy, before.start, piece.stop)
            continue
        last[sort] = len(result)
        result.append(piece)
    return [piece for piece in result if piece.stop - piece.start >= least / 2]
