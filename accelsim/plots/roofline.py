"""The roofline: what each layer reached, and which of the machine's two limits lies above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from accelsim.arch import Arch
from accelsim.plots.style import PALETTE, axes_or_new, quantity

_MARKERS = {"array": "o", "dram": "s"}
_NEAR, _LEVEL = 2.2, 1.35
"""Marks less than this factor apart, sideways and in height, are labelled together."""

_LINES = 6
"""Of a label at most."""

_SIZE, _WIDTH, _HEIGHT, _APART = 7, 4.4, 8.4, 5
"""Points: of the letters of labels, across one letter, of a line, and between a mark and its label."""

_COLORS = (PALETTE[5], PALETTE[6], PALETTE[3], PALETTE[7], PALETTE[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """Peak in MAC/s, bandwidth in B/s; the roof at intensity x (MAC/B) is ``min(peak, x * bandwidth)``."""

    macs_per_s: float
    bytes_per_s: float

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Roof:
        """The roof of a report's machine."""
        arch = Arch.from_dict(report["arch"])
        clock = float(arch.clock_hz)
        return cls(
            macs_per_s=arch.array.rows * arch.array.cols * clock, bytes_per_s=float(arch.dram_bytes_per_cycle) * clock
        )

    @property
    def ridge(self) -> float:
        """The intensity in MAC/B above which the array is the limit."""
        return self.macs_per_s / self.bytes_per_s

    def at(self, intensity: float) -> float:
        """MAC/s at most."""
        return min(self.macs_per_s, intensity * self.bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One layer: MAC per byte of DRAM traffic, MAC/s, and the share of the roof that is."""

    name: str
    bound_by: str
    intensity: float
    macs_per_s: float
    share: float


def marks(report: Mapping[str, Any]) -> Iterator[Mark]:
    """The layers that multiply and took time. Layers without traffic of their own lie at the whole run's ridge x 16."""
    roof = Roof.of(report)
    clock = float(Arch.from_dict(report["arch"]).clock_hz)
    for row in report["layers"]:
        if not row["macs"] or not row["cycles"]:
            continue
        moved = row["dram_read_bytes"] + row["dram_write_bytes"]
        intensity = row["macs"] / moved if moved else 16 * roof.ridge
        reached = row["macs"] * clock / row["cycles"]
        yield Mark(
            name=row["name"], bound_by=row["bound_by"], intensity=intensity, macs_per_s=reached,
            share=reached / roof.at(intensity),
        )  # fmt: skip


def roofline(reports: Mapping[str, Any] | Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Giga-MAC/s over MACs per byte of DRAM traffic, both logarithmic: the roof and a labelled mark per layer.

    A circle is a layer whose bound is the array, a square one whose bound is DRAM; a line leads from each mark up to
    its roof. Several reports draw several machines. A mark may lie above the sloping roof where its bytes were moved
    in the time of another layer. Raises ValueError for reports without time.
    """
    runs = [reports] if isinstance(reports, Mapping) else list(reports)
    if not runs or any(run["totals"]["cycles"] is None for run in runs):
        raise ValueError("a roofline needs reports of runs with time")
    axes = axes_or_new(ax)
    axes.set_xscale("log")
    axes.set_yscale("log")
    drawn = [(run, Roof.of(run), list(marks(run))) for run in runs]
    spots = [mark.intensity for _, _, found in drawn for mark in found]
    ridges = [roof.ridge for _, roof, _ in drawn]
    low, high = min([*spots, *ridges]) / 3, max([*spots, *ridges]) * 3
    for place, (run, roof, found) in enumerate(drawn):
        color = _COLORS[place % len(_COLORS)]
        _roof(axes, run, roof, (low, high), color)
        for mark in found:
            _mark(axes, mark, roof, color)
    axes.set_xlim(low, high)
    _label(axes, [(group, _COLORS[i % len(_COLORS)]) for i, part in enumerate(drawn) for group in _groups(part[2])])
    axes.set_xlabel("MACs per byte of DRAM traffic")
    axes.set_ylabel("GMAC/s")
    axes.grid(True, which="major", color="0.9", linewidth=0.6)
    for bound, marker in _MARKERS.items():
        axes.plot([], [], marker, color="0.4", label=f"bound by {'the array' if bound == 'array' else 'DRAM'}")
    axes.legend(loc="lower right")
    return axes


def _roof(axes: Axes, run: Mapping[str, Any], roof: Roof, span: tuple[float, float], color: str) -> None:
    array = run["arch"]["array"]
    peak = roof.macs_per_s / 1e9
    label = f"{run['workload']} on {run['arch']['name']}: {array['rows']}x{array['cols']}, {quantity(peak)} GMAC/s, "
    label += f"{quantity(roof.bytes_per_s / 1e9)} GB/s"
    corners = [span[0], roof.ridge, span[1]]
    axes.plot(corners, [roof.at(x) / 1e9 for x in corners], "-", color=color, linewidth=1.6, label=label)


def _mark(axes: Axes, mark: Mark, roof: Roof, color: str) -> None:
    top, here = roof.at(mark.intensity) / 1e9, mark.macs_per_s / 1e9
    axes.plot([mark.intensity, mark.intensity], [here, top], ":", color=color, linewidth=0.9)
    axes.plot([mark.intensity], [here], _MARKERS[mark.bound_by], color=color, markersize=6, gid=f"layer {mark.name}")


def _groups(found: Sequence[Mark]) -> list[list[Mark]]:
    """Marks that lie close together share a block of lines."""
    groups: list[list[Mark]] = []
    for mark in found:
        group = next((g for g in groups if _close(g[0], mark)), None)
        if group is None:
            groups.append([mark])
        else:
            group.append(mark)
    return groups


def _label(axes: Axes, groups: Sequence[tuple[list[Mark], str]]) -> None:
    """Names and shares of the roof; a block that would cover one to its left goes below it."""
    axes.autoscale_view(scalex=False)
    taken: list[tuple[float, float, float, float]] = []  # left, right, bottom, top of blocks, in points
    for group, color in sorted(groups, key=lambda entry: entry[0][0].intensity):
        lines = block(group)
        spot = (group[0].intensity, min(mark.macs_per_s for mark in group) / 1e9)
        x, y = axes.transData.transform(spot) * 72 / axes.figure.dpi
        width, height = _WIDTH * max(map(len, lines)), _HEIGHT * len(lines)
        left, top = x + _APART, y - _APART
        for other in sorted(taken, key=lambda entry: -entry[3]):
            if left < other[1] and other[0] < left + width and top > other[2] and other[3] > top - height:
                top = other[2] - 1
        taken.append((left, left + width, top - height, top))
        axes.annotate(
            "\n".join(lines), spot, xytext=(_APART, top - y), textcoords="offset points", va="top", fontsize=_SIZE,
            color=color, linespacing=0.95,
        )  # fmt: skip


def block(group: Sequence[Mark]) -> list[str]:
    """The lines of a label; those of many marks end with how many more there are, and their shares."""
    shown = group if len(group) <= _LINES else group[: _LINES - 1]
    lines = [f"{mark.name} {100 * mark.share:.0f} %" for mark in shown]
    if rest := [round(100 * mark.share) for mark in group[len(shown) :]]:
        ends = f"{min(rest)}" if min(rest) == max(rest) else f"{min(rest)}-{max(rest)}"
        lines.append(f"and {len(rest)} more {ends} %")
    return lines


def _close(one: Mark, other: Mark) -> bool:
    """Whether two marks share a label."""
    apart = (one.intensity / other.intensity, one.macs_per_s / other.macs_per_s)
    return all(1 / near < ratio < near for ratio, near in zip(apart, (_NEAR, _LEVEL)))
