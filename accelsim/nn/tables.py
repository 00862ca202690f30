"""The integer forms of what is not a sum of products: functions as tables, clamps, additions, concatenations,
normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.functions import Function, Limits, Norm, lrn_factor
from accelsim.nn.graph import QAdd, QConcat, QLrn, Tensor
from accelsim.nn.windows import band_sum
from accelsim.numerics import INT8_MAX, INT8_MIN

ADD_SCALE = 2.0**22  # of the larger factor: the sum of two products of int8 stays below 2**31

VALUES = np.arange(INT8_MIN, INT8_MAX + 1)


def table_for(function: Function, source: Tensor, result: Tensor) -> NDArray[np.int8]:
    """int8 (256,): entry x + 128 is the function of int8 value x, computed in float64 and rounded once."""
    real = (VALUES - source.zero) * np.float64(source.scale)
    wanted = np.rint(function(real) / np.float64(result.scale)) + result.zero
    return np.clip(wanted, INT8_MIN, INT8_MAX).astype(np.int8)


def clamp_limits(clamps: Sequence[Limits], result: Tensor) -> tuple[int, int]:
    """(lo, hi) of a requantisation to ``result`` that also cuts off at ``clamps``, one after the other.

    Rounding keeps order, so cutting off what was rounded gives the same as rounding what was cut off.
    """
    low, high = INT8_MIN, INT8_MAX
    for clamp in clamps:
        ends = np.rint(np.asarray(clamp) / np.float64(result.scale)) + result.zero
        low, high = (int(np.clip(end, *np.clip(ends, INT8_MIN, INT8_MAX))) for end in (low, high))
    return low, high


def add_layer(name: str, summands: tuple[Tensor, Tensor], result: Tensor, limits: tuple[int, int]) -> QAdd:
    """The sum of two tensors: both are brought to the larger of their scales, with 22 bits behind the point."""
    scales = [np.float64(tensor.scale) for tensor in summands]
    larger = max(scales)
    first, second = (int(np.rint(scale / larger * ADD_SCALE)) for scale in scales)
    return QAdd(
        name=name, kind="add", inputs=(summands[0].name, summands[1].name), output=result.name,
        factors=(first, second), bias=-(summands[0].zero * first + summands[1].zero * second),
        scale=np.float32(larger / ADD_SCALE / np.float64(result.scale)), lo=limits[0], hi=limits[1],
    )  # fmt: skip


def concat_layer(name: str, parts: Sequence[Tensor], result: Tensor) -> QConcat:
    """The channels of ``parts`` side by side, each brought to the scale and zero point of ``result``."""
    scales = [np.float32(np.float64(tensor.scale) / np.float64(result.scale)) for tensor in parts]
    names = tuple(tensor.name for tensor in parts)
    return QConcat(name=name, kind="concat", inputs=names, output=result.name, scales=tuple(scales))


def lrn_layer(name: str, norm: Norm, source: Tensor, result: Tensor, seen: NDArray[np.int8]) -> QLrn:
    """Local response normalisation of ``source``; ``seen`` are its values in calibration, int8 (n, h, w, c).

    The largest value seen has the square 127, the largest window sum seen the index 127, the largest factor is 127.
    """
    real = VALUES - source.zero
    largest = max(int(np.abs(seen.astype(np.int16) - source.zero).max()), 1)
    square = np.minimum(np.rint(real**2 * (INT8_MAX / largest**2)), INT8_MAX).astype(np.int8)
    sums = band_sum(square[seen.astype(np.int16) - INT8_MIN].astype(np.int32), norm.size)
    top = max(int(sums.max()), 1)
    index_scale = np.float32((INT8_MAX - INT8_MIN) / top)
    unit = (largest * np.float64(source.scale)) ** 2 / INT8_MAX  # what 1 in a window sum stands for
    factor = lrn_factor(norm, (VALUES - INT8_MIN) / np.float64(index_scale) * unit)
    step = factor.max() / INT8_MAX
    return QLrn(
        name=name, kind="lrn", input=source.name, output=result.name, size=norm.size, square=square,
        index_scale=index_scale, index_zero=INT8_MIN, factor=np.rint(factor / step).astype(np.int8),
        scale=np.float32(np.float64(source.scale) * step / np.float64(result.scale)),
    )  # fmt: skip
