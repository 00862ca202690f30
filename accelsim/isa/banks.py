"""Which banks of the unified buffer an instruction touches, for machines whose units share the banks' ports."""

from __future__ import annotations

from collections.abc import Iterable

from accelsim.isa.protocol import Memory, Region


def bank_mask(regions: Iterable[Region], bank_bytes: int) -> int:
    """Bit i is set if a byte of bank i, UB addresses ``i*bank_bytes`` and on, is in one of the regions."""
    mask = 0
    for region in regions:
        if region.memory is Memory.UB:
            mask |= _mask(region.start, region.run, [loop for loop in region.loops if loop[0] > 1], bank_bytes)
    return mask


def _mask(start: int, run: int, loops: list[tuple[int, int]], bank_bytes: int) -> int:
    """Without a stride longer than a bank, no bank between the first and the last byte is left out."""
    wide = next((loop for loop in loops if loop[1] > bank_bytes), None)
    if wide is None:
        last = start + run - 1 + sum((count - 1) * stride for count, stride in loops)
        low, high = start // bank_bytes, last // bank_bytes
        return (1 << high + 1) - (1 << low)
    inner = [loop for loop in loops if loop is not wide]
    mask = 0
    for step in range(wide[0]):
        mask |= _mask(start + step * wide[1], run, inner, bank_bytes)
    return mask
