"""What all plots share: colours, a fresh Axes, and files whose bytes depend on the data alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from accelsim.cyclesplit import CATEGORIES
from accelsim.errors import ConfigError

# The palette of Okabe and Ito, "Color Universal Design" (2008): told apart with every common colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = PALETTE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#BBBBBB"

CATEGORY_STYLE: dict[str, tuple[str, str]] = dict(
    zip(
        CATEGORIES,
        ((BLUE, ""), (SKY, "///"), (ORANGE, ""), (VERMILION, "\\\\\\"), (PURPLE, "xx"), (GREEN, ".."), (GREY, "")),
        strict=True,
    )
)
"""Colour and hatching of each part of a cycle split; the hatching tells them apart without colours."""

FORMATS = ("svg", "png", "pdf")
_NO_DATES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}
}  # fmt: skip
# Ids in SVG files come from this word and the content instead of at random; text stays text.
_REPRODUCIBLE: Any = {"svg.hashsalt": "accelsim", "svg.fonttype": "none"}


def axes_or_new(ax: Axes | None, width: float = 7.2, height: float = 4.4) -> Axes:
    """``ax``, or the Axes of a new figure of ``width`` x ``height`` inches that no window will show."""
    return ax if ax is not None else Figure(figsize=(width, height), layout="constrained").subplots()


def layer_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, in turns."""
    colors = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW)
    return {name: colors[place % len(colors)] for place, name in enumerate(names)}


def quantity(value: float) -> str:
    """A number with a prefix of thousands and three digits: 12.3 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def hex_color(color: str) -> str:
    """A colour that matplotlib knows, as ``#rrggbb``."""
    return to_hex(color)


def check_format(path: str | Path) -> str:
    """The format that a file's name asks for. Raises ConfigError."""
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        names = ", ".join(f".{name}" for name in FORMATS)
        raise ConfigError(str(path), "", f"cannot draw a file ending in '.{ending}'", f"one of {names}")
    return ending


def save(ax: Axes, path: str | Path, dpi: int = 150) -> None:
    """Write the figure of ``ax``: SVG, PNG or PDF by the ending of ``path``; equal data gives equal bytes.

    Raises ConfigError for another ending, or when the file cannot be written.
    """
    ending = check_format(path)
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ConfigError(str(path), "", "the axes belong to no figure")
    with matplotlib.rc_context(_REPRODUCIBLE):
        try:
            figure.savefig(path, format=ending, metadata=_NO_DATES[ending], dpi=dpi)
        except OSError as error:
            raise ConfigError(str(path), "", f"the file cannot be written: {error.strerror or error}") from None


def svg(ax: Axes) -> str:
    """The figure of ``ax`` as :func:`save` writes it to an SVG file. Raises ValueError for axes without a figure."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    buffer = io.StringIO()
    with matplotlib.rc_context(_REPRODUCIBLE):
        figure.savefig(buffer, format="svg", metadata=_NO_DATES["svg"])
    return buffer.getvalue()
