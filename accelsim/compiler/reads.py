"""The addresses of a gemm: runs where they lie, or odd bytes in the plane of a tile."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Block, Packing, Piece
from accelsim.compiler.stream import Tile, View


@dataclass(frozen=True, slots=True)
class Part:
    """Pixels of a tile computed by equal ACC rows: ``groups`` groups of ``pixels`` pixels a row, from ``col`` on."""

    col: int
    groups: int
    pixels: int
    acc: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where gemms find their rows: the windows of output pixel (0, 0), and what a step in each direction adds."""

    view: View
    plane: int = 0  # first byte of the tile's plane of odd bytes
    plane_pitch: int = 0  # bytes from one column of the plane to the next


def view_reads(
    op: MatOp, packing: Packing, block: Block, piece: Piece, tile: Tile, part: Part, source: Source
) -> dict[str, int]:
    """The address fields of a gemm that reads runs where they lie."""
    w, view = op.window, source.view
    tap_step, row_step = w.dilation[1] * view.pixel_pitch, w.dilation[0] * view.row_pitch
    x = view.at(tile.row * view.stride[0] - w.pads[0], part.col * view.stride[1] - w.pads[2])
    x += block.channel if len(packing.groups) > 1 else 0
    x += piece.rows[0] * row_step + piece.taps[0] * tap_step + piece.at
    taps, rows = piece.taps[1] - piece.taps[0], piece.rows[1] - piece.rows[0]
    return {
        "x": x,
        "r0": piece.count,
        "xr0": piece.k if piece.count > 1 else 0,
        "r1": taps,
        "xr1": tap_step if taps > 1 else 0,
        "r2": rows,
        "xr2": row_step if rows > 1 else 0,
        "xm0": part.pixels * view.stride[1] * view.pixel_pitch if part.groups > 1 else 0,
        "xm1": view.stride[0] * view.row_pitch if tile.rows > 1 else 0,
    }


def plane_reads(
    op: MatOp, packing: Packing, block: Block, piece: Piece, tile: Tile, part: Part, source: Source
) -> dict[str, int]:
    """The address fields of a gemm that reads the odd bytes of all kernel rows from the tile's plane."""
    w, odd = op.window, packing.odd
    joined = packing.taps == 1
    columns = tile.cols if joined else w.cols_in(tile.cols)
    step = source.plane_pitch if joined else w.stride[1] * source.plane_pitch
    plane = source.plane + packing.groups.index(block.channel) * columns * source.plane_pitch
    taps = piece.taps[1] - piece.taps[0]
    return {
        "x": plane + (part.col - tile.col) * step + piece.taps[0] * w.dilation[1] * source.plane_pitch + piece.at,
        "r0": piece.count,
        "xr0": piece.k if piece.count > 1 else 0,
        "r1": taps,
        "xr1": w.dilation[1] * source.plane_pitch if taps > 1 else 0,
        "r2": 1,
        "xr2": 0,
        "xm0": step if part.groups > 1 else 0,
        "xm1": w.stride[0] * odd if tile.rows > 1 else 0,
    }
