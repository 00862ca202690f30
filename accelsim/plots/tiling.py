"""How a layer was cut, and in which order its pieces were done."""

from __future__ import annotations

import re
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from accelsim.isa.program import Program
from accelsim.plots.style import axes_or_new
from accelsim.trace import Trace

_LABEL = re.compile(r"rows (\d+)\+(\d+) cols (\d+)\+(\d+)(?: channels (\d+)\+(\d+))?")
_NUMBERED = 150
"""Of more pieces the numbers would be unreadable."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A piece of a layer's output: from ``row``, ``col``, ``channel``, so many of each; ``done`` is the cycle after its
    last instruction landed.
    """

    row: int
    rows: int
    col: int
    cols: int
    channel: int
    channels: int
    done: int


def tiles(program: Program, trace: Trace, layer: str) -> list[Tile]:
    """The pieces of ``layer`` that instructions complete, in order of completion. Raises ValueError for none."""
    if layer not in program.layers:
        raise ValueError(f"the program has no layer '{layer}': one of {', '.join(program.layers)}")
    number = program.layers.index(layer)
    done: dict[str, int] = {}
    for label, owner, landed in zip(program.tile_of, program.layer_of, trace.landed.tolist()):
        if owner == number:
            done[label] = max(done.get(label, 0), landed + 1)
    found = []
    for label, cycle in done.items():
        match = _LABEL.fullmatch(label)
        if match and match[5] is not None:
            row, rows, col, cols, channel, channels = map(int, match.groups())
            found.append(Tile(row, rows, col, cols, channel, channels, cycle))
    if not found:
        raise ValueError(f"no instruction of layer '{layer}' belongs to a tile")
    return sorted(found, key=lambda tile: (tile.done, tile))


def tiling(program: Program, trace: Trace, layer: str, ax: Axes | None = None) -> Axes:
    """The output of ``layer`` cut into its tiles, numbered and coloured in the order in which they were done.

    Height and width are those of the image; a layer of one pixel is drawn over its channels instead. Where a tile is
    done in several blocks of channels the last one counts. Raises ValueError for a layer without tiles.
    """
    found = tiles(program, trace, layer)
    axes = axes_or_new(ax, height=5.0)
    flat = max(tile.row + tile.rows for tile in found) == 1 and max(tile.col + tile.cols for tile in found) == 1
    spots: dict[tuple[int, int, int, int], int] = {}
    for tile in found:
        spot = (tile.channel, 0, tile.channels, 1) if flat else (tile.col, tile.row, tile.cols, tile.rows)
        spots[spot] = max(spots.get(spot, 0), tile.done)
    order = sorted(spots, key=lambda spot: (spots[spot], spot))
    shades = Normalize(min(spots.values()), max(max(spots.values()), min(spots.values()) + 1))
    colors = matplotlib.colormaps["cividis"]
    for number, spot in enumerate(order, 1):
        x, y, width, height = spot
        shade = shades(spots[spot])
        axes.add_patch(Rectangle((x, y), width, height, facecolor=colors(shade), edgecolor="white", linewidth=0.8))
        if len(order) <= _NUMBERED:
            ink = "white" if shade < 0.6 else "black"
            axes.text(x + width / 2, y + height / 2, str(number), ha="center", va="center", fontsize=7, color=ink)
    _frame(axes, layer, found, spots, flat)
    figure = axes.get_figure()
    if figure is not None:
        figure.colorbar(ScalarMappable(shades, colors), ax=axes, label="done in cycle")
    return axes


def _frame(
    axes: Axes, layer: str, found: list[Tile], spots: dict[tuple[int, int, int, int], int], flat: bool
) -> None:
    blocks = sorted({(tile.channel, tile.channels) for tile in found})
    axes.set_xlim(0, max(x + width for x, _, width, _ in spots))
    axes.set_ylim(max(y + height for _, y, _, height in spots), 0)
    if flat:
        axes.set_yticks([])
        axes.set_xlabel("output channel")
    else:
        axes.set_aspect("equal", adjustable="box")
        axes.set_xlabel("output column")
        axes.set_ylabel("output row")
    axes.set_title(
        f"{layer}: {len(spots)} tiles, {len(blocks)} blocks of up to {max(size for _, size in blocks)} channels",
        fontsize=9,
    )
