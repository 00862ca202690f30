"""What operations cost the units, whatever their tiles: vector steps, band gemms, instructions, parameters."""

from __future__ import annotations

from accelsim.arch import Arch
from accelsim.compiler.bands import VECTOR_STEPS, bands, tiles
from accelsim.compiler.ops import AddOp, DepthwiseOp, LrnOp, MatOp, Op

ADD_STEPS = 3  # product, product and sum, rq

UNEVEN = 0.75
"""Of a burst, what a run that does not start on one costs on average beside its bytes."""


def vectors(channels: int, arch: Arch) -> int:
    """Vector unit cycles of one step over ``channels`` lanes, cut as instructions cut them."""
    whole, rest = divmod(channels, arch.array.cols)
    return whole * -(-arch.array.cols // arch.alu.lanes) + -(-rest // arch.alu.lanes)


def port_bytes(op: Op, part: bool, arch: Arch) -> float:
    """Bytes on the port per byte of a result: if it is a ``part`` of a larger tensor, every pixel is a run of its own,
    and one that does not fill bursts touches one more."""
    channels, burst = op.window.out_c, arch.dram.burst_bytes
    return 1 + UNEVEN * burst / channels if part and channels % burst else 1


def steps_per_pixel(op: Op, arch: Arch) -> int:
    """Vector unit cycles per output pixel of an operation that does not begin with gemms of its own choice."""
    w = op.window
    taps = w.kernel[0] * w.kernel[1]
    if isinstance(op, LrnOp):
        return VECTOR_STEPS * sum(vectors(band.count, arch) for band in bands(op, arch))
    if isinstance(op, AddOp):
        taps = ADD_STEPS
    elif isinstance(op, DepthwiseOp):
        taps += 1
    after = (0 if getattr(op, "kind", "") == "lut" else 1) if op.table is not None else 0
    if getattr(op, "kind", "") == "avg":
        taps += 1
    return (taps + after) * vectors(w.out_c, arch)


def gemm_rows_per_pixel(op: Op, arch: Arch) -> int:
    """Array rows streamed per output pixel by the bands of a normalisation."""
    if not isinstance(op, LrnOp):
        return 0
    return sum(count for band in bands(op, arch) for _, count in tiles(band, arch))


def acc_rows_per_pixel(op: Op, arch: Arch) -> int:
    """ACC rows an operation behind the first needs per output pixel it works on at a time."""
    if isinstance(op, LrnOp):
        return len(bands(op, arch))
    assert not isinstance(op, MatOp), "matrix work leads a chain"
    return 1


def words_per_tile(op: Op, arch: Arch) -> tuple[int, int]:
    """Instructions that an operation which is not matrix work needs for a tile, and how many of them are vector work.

    The pieces that padding and rings cut off come on top.
    """
    blocks = -(-op.window.out_c // arch.array.cols)
    if isinstance(op, LrnOp):
        found = bands(op, arch)
        after = VECTOR_STEPS * len({band.count for band in found})
        return sum(len(tiles(band, arch)) for band in found) + after, after
    if isinstance(op, AddOp):
        return ADD_STEPS * blocks, ADD_STEPS * blocks
    if isinstance(op, DepthwiseOp):
        return 4 * blocks, 2 * blocks  # its taps, bias and scale are loaded too
    steps = 2 if getattr(op, "kind", "") == "avg" else 1
    return steps * blocks, steps * blocks


def parameter_bytes(op: Op, arch: Arch) -> int:
    """Bytes of PARAM that are loaded again for every tile because they do not fit it together."""
    if not isinstance(op, DepthwiseOp):
        return 0
    rows = (op.window.kernel[0] * op.window.kernel[1] + 2) * -(-op.window.out_c // arch.array.cols)
    return 4 * op.window.out_c * (op.window.kernel[0] * op.window.kernel[1] + 2) if rows > arch.param_rows else 0
