"""Calibration: the range of real numbers that an int8 tensor covers, from the values it was seen to hold."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.scales import TINY
from accelsim.numerics import INT8_MAX, INT8_MIN

Range: TypeAlias = tuple[float, float]

METHODS = ("max", "percentile", "mse")
TAIL_PERCENT = 0.01  # `percentile` cuts this share off each end

FRACTIONS = np.arange(64, 0, -1) / 64
"""What `mse` tries for an end of the range, as parts of the extreme there."""
ROUNDS = 8  # of `mse`: each end once a round; two or three settle
SINGLE = 1024  # values at each end that `mse` looks at one by one; saturation is about them
GROUPS = 4096  # of equal size, of all others: each stands for its mean


def find_range(name: str, values: NDArray[np.float32], method: str) -> Range:
    """(low, high) of a tensor that calibration saw hold ``values``, by one of ``METHODS``.

    - ``max``: the extremes;
    - ``percentile``: all but ``TAIL_PERCENT`` at each end;
    - ``mse``: the range, among those searched, with the least mean square error between the values and their int8
      form: from the extremes on, one end after the other takes the best of 64 equal parts of its extreme, until none
      moves. Never worse than ``max``.

    Raises GraphError, naming the tensor, when a value is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise GraphError(name, "calibration gives values that are not finite")
    match method:
        case "percentile":
            low, high = (float(v) for v in np.percentile(values, [TAIL_PERCENT, 100 - TAIL_PERCENT]))
        case "mse":
            low, high = _least_error(values, min(low, 0.0), max(high, 0.0))
    return low, high


def square_error(
    values: NDArray[np.floating], lows: NDArray[np.float64], highs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(m, n): squares of the errors that (n,) ``values`` have in the int8 form of each of m ranges that hold 0."""
    scale = np.maximum(highs - lows, TINY)[:, None] / 255
    zero = np.clip(np.rint(INT8_MIN - lows[:, None] / scale), INT8_MIN, INT8_MAX)
    whole = np.clip(np.rint(values / scale), INT8_MIN - zero, INT8_MAX - zero)
    return np.square(whole * scale - values)


def _least_error(values: NDArray[np.float32], low: float, high: float) -> Range:
    if high - low < TINY:
        return low, high
    points, counts = _summary(values)
    best = (low, high)
    for _ in range(ROUNDS):
        before = best
        best = _better(points, counts, low * FRACTIONS, np.full(len(FRACTIONS), best[1]), best)
        best = _better(points, counts, np.full(len(FRACTIONS), best[0]), high * FRACTIONS, best)
        if best == before:
            break
    return best if _mean_error(values, best) < _mean_error(values, (low, high)) else (low, high)


def _better(
    points: NDArray[np.float64],
    counts: NDArray[np.int64],
    lows: NDArray[np.float64],
    highs: NDArray[np.float64],
    best: Range,
) -> Range:
    """The range with the least error; of equal ones the widest, which stands first.

    Summed by numpy, not by a BLAS library: the choice may not depend on threads or processors.
    """
    wide = highs - lows >= TINY
    if not wide.any():
        return best
    lows, highs = lows[wide], highs[wide]
    index = int((square_error(points, lows, highs) * counts).sum(axis=1).argmin())
    return float(lows[index]), float(highs[index])


def _summary(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(points, counts): some numbers in place of many. Zeros are left out, since every range holds them exactly."""
    ordered = np.sort(values[values != 0], axis=None).astype(np.float64)
    if len(ordered) <= 2 * SINGLE + GROUPS:
        return ordered, np.ones(len(ordered), np.int64)
    middle = ordered[SINGLE:-SINGLE]
    starts = np.linspace(0, len(middle), GROUPS, endpoint=False).astype(np.int64)
    counts = np.diff(starts, append=len(middle))
    means = np.add.reduceat(middle, starts) / counts
    ones = np.ones(SINGLE, np.int64)
    return np.concatenate([ordered[:SINGLE], means, ordered[-SINGLE:]]), np.concatenate([ones, counts, ones])


def _mean_error(values: NDArray[np.float32], ends: Range) -> float:
    low, high = (np.array([end]) for end in ends)
    flat = values.reshape(-1)
    block = 1 << 20  # values at a time
    return sum(float(square_error(flat[i : i + block], low, high).sum()) for i in range(0, len(flat), block))
