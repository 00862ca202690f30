"""A piece of vector work, and the address fields of its instructions."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.compiler.ops import Op
from accelsim.compiler.stream import View
from accelsim.isa.protocol import Memory


@dataclass(frozen=True, slots=True)
class Area:
    """Output pixels whose windows are clipped alike, and the part of the window that is real."""

    row: int
    rows: int
    col: int
    cols: int
    window_row: int  # first real row of the window
    window_rows: int
    window_col: int
    window_cols: int


@dataclass(frozen=True, slots=True)
class Lanes:
    """One area and block of channels of an operation in hand; its strips begin with channel ``base``."""

    op: Op
    area: Area
    sources: tuple[View, ...]
    target: View
    first: int
    count: int
    acc: int = 0
    base: int = 0

    def source_fields(self, number: int = 0) -> dict[str, int]:
        """src and its row strides, of one pixel per output pixel."""
        view, area, w = self.sources[number], self.area, self.op.window
        col = area.col * view.stride[1] - w.pads[2] + area.window_col
        row = area.row * view.stride[0] - w.pads[0] + area.window_row * w.dilation[0]
        return {
            "src_mem": Memory.UB,
            "src": view.at(row, col) + self.first - self.base,
            "m0": area.cols,
            "sm0": view.stride[1] * view.pixel_pitch if area.cols > 1 else 0,
            "m1": area.rows,
            "sm1": view.stride[0] * view.row_pitch if area.rows > 1 else 0,
            "n": self.count,
        }

    def window_fields(self) -> dict[str, int]:
        """The window's loops over kernel columns and rows."""
        view, area, w = self.sources[0], self.area, self.op.window
        return {
            "r0": area.window_cols,
            "sr0": w.dilation[1] * view.pixel_pitch if area.window_cols > 1 else 0,
            "r1": area.window_rows,
            "sr1": w.dilation[0] * view.row_pitch if area.window_rows > 1 else 0,
        }

    def target_fields(self) -> dict[str, int]:
        """dst in UB, a pixel per output pixel."""
        area = self.area
        return {
            "dst_mem": Memory.UB,
            "dst": self.at,
            "dm0": self.target.pixel_pitch if area.cols > 1 else 0,
            "dm1": self.target.row_pitch if area.rows > 1 else 0,
        }

    def sums(self, side: str) -> dict[str, int]:
        """``src`` or ``dst`` in ACC, a row per output pixel."""
        area, letter = self.area, side[0]
        return {
            f"{side}_mem": Memory.ACC,
            side: self.acc,
            f"{letter}m0": 1 if area.cols > 1 else 0,
            f"{letter}m1": area.cols if area.rows > 1 else 0,
        }

    @property
    def at(self) -> int:
        """Where the first output pixel lies in UB."""
        return self.target.at(self.area.row, self.area.col) + self.first
