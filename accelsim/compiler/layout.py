"""The DRAM image: constants packed at compile time, then input, output and spilled tensors, dense NHWC."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class DramLayout:
    """Hands out burst-aligned DRAM addresses; constants first, so the image is a prefix of DRAM."""

    align: int
    size: int = 0
    _parts: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)
    _known: dict[Hashable, int] = field(default_factory=dict)

    def constant(self, key: Hashable, data: NDArray[np.generic]) -> int:
        """Address of ``data``, stored once per key."""
        if key not in self._known:
            raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
            self._known[key] = self.reserve(raw.size)
            self._parts.append((self._known[key], raw))
        return self._known[key]

    def known(self, key: Hashable) -> int | None:
        """Address of a constant stored before, or None."""
        return self._known.get(key)

    def reserve(self, size: int) -> int:
        """Address of ``size`` fresh bytes."""
        self.size = -(-self.size // self.align) * self.align
        address = self.size
        self.size += size
        return address

    def image(self) -> NDArray[np.uint8]:
        """All constants as they lie from byte 0."""
        end = max((at + part.size for at, part in self._parts), default=0)
        image = np.zeros(end, np.uint8)
        for at, part in self._parts:
            image[at : at + part.size] = part
        return image
