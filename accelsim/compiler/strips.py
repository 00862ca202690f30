"""Strips and planes of an operation: buffers used in turn, that remember what they hold."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from accelsim.compiler.plan import Plan


@dataclass(slots=True)
class Strips:
    """Every use by (operation, side), in order."""

    _used: dict[tuple[str, str], list[object]] = field(default_factory=dict)
    _seen: dict[str, list[Hashable]] = field(default_factory=dict)

    def get(self, name: str, plan: Plan, side: str, key: object) -> tuple[int, bool]:
        """(offset, whether it is new) of the buffer of a side ("in", "out" or "plane") that holds ``key``."""
        start, count, size = 0, plan.strips_in, plan.strip_in_bytes
        if side != "in":
            start, count, size = count * size, plan.strips_out, plan.strip_out_bytes
        if side == "plane":
            start, count, size = start + count * size, plan.planes, plan.plane_bytes
        used = self._used.setdefault((name, side), [])
        recent = used[-count:]
        if key in recent:
            return start + (len(used) - len(recent) + recent.index(key)) % count * size, False
        used.append(key)
        return start + (len(used) - 1) % count * size, True

    def first_time(self, key: tuple[str, Hashable], count: int) -> bool:
        """Whether the second half of a strip is asked for the first time among the last ``count``."""
        seen = self._seen.setdefault(key[0], [])
        if key in seen[-count:]:
            return False
        seen.append(key)
        return True
