"""Wrap, saturation and requantisation with Python's unbounded integers and exact fractions, one value at a time."""

from __future__ import annotations

import struct
from fractions import Fraction


def wrap32(value: int) -> int:
    """The signed number in the low 32 bits."""
    low = value % 2**32
    return low - 2**32 if low >= 2**31 else low


def saturate8(value: int) -> int:
    """The nearest of -128..127."""
    return max(-128, min(127, value))


def half_even(value: Fraction) -> int:
    """The nearest integer, the even one when two are equally near."""
    whole = value.numerator // value.denominator
    rest = value - whole
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1):
        return whole + 1
    return whole


def to_float32(value: Fraction) -> Fraction | None:
    """The nearest float32, ties to even; None when that is infinite."""
    if value == 0:
        return value
    size = abs(value)
    exponent = 0  # 2**exponent <= size < 2**(exponent + 1)
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while size < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)  # the spacing of float32 there, subnormal at the bottom
    rounded = half_even(size / unit) * unit
    if rounded >= Fraction(2) ** 128:
        return None
    return rounded if value > 0 else -rounded


def requantize(acc: int, bias: int, scale_bits: int, zero: int, low: int, high: int) -> int:
    """One value of the ``rq`` rule; ``scale_bits`` is the pattern of the float32 scale."""
    total = to_float32(Fraction(wrap32(acc + bias)))
    assert total is not None
    exponent = scale_bits >> 23 & 0xFF
    negative = bool(scale_bits >> 31)
    if exponent == 0xFF:
        if scale_bits & 0x7FFFFF or total == 0:
            return max(low, min(high, zero))  # not a number counts as 0
        return low if negative != (total < 0) else high
    scale = Fraction(struct.unpack("<f", struct.pack("<I", scale_bits))[0])
    scaled = to_float32(total * scale)
    if scaled is None:
        return low if negative != (total < 0) else high
    return max(low, min(high, half_even(scaled) + zero))
