"""Mean square error of an int8 form, value by value, and the best range of a grid by trying all."""

from __future__ import annotations

from collections.abc import Iterable


def error(values: Iterable[float], low: float, high: float) -> float:
    """Sum of squares between real values and what their int8 form stands for; the range holds 0."""
    scale = (high - low) / 255
    zero = min(max(round(-128 - low / scale), -128), 127)
    total = 0.0
    for value in values:
        whole = min(max(round(value / scale) + zero, -128), 127)
        total += ((whole - zero) * scale - value) ** 2
    return total


def best(values: list[float], parts: int = 64) -> float:
    """The least error of all ranges whose ends are parts of the extremes."""
    low, high = min(*values, 0.0), max(*values, 0.0)
    lows = [low * i / parts for i in range(parts + 1)] if low else [0.0]
    highs = [high * i / parts for i in range(parts + 1)] if high else [0.0]
    return min(error(values, a, b) for a in lows for b in highs if b - a > 0)
