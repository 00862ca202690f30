"""The DRAM image: constants packed at compile time, then input, output and spilled tensors, dense NHWC."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class DramLayout:
    """Hands out burst-aligned DRAM addresses; constants first, so the image is a prefix of DRAM.

    Constants are made when the image is: a program whose values nobody wants needs none.
    """

    align: int
    size: int = 0
    _parts: list[tuple[int, int, Callable[[], NDArray[Any]]]] = field(default_factory=list)
    _known: dict[Hashable, int] = field(default_factory=dict)

    def constant(self, key: Hashable, size: int, make: Callable[[], NDArray[Any]]) -> int:
        """Address of ``size`` bytes that ``make`` gives, stored once per key."""
        if key not in self._known:
            self._known[key] = self.reserve(size)
            self._parts.append((self._known[key], size, make))
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
        image = np.zeros(max((at + size for at, size, _ in self._parts), default=0), np.uint8)
        for at, size, make in self._parts:
            data = make()
            assert data.nbytes == size, "a constant has the size it was announced with"
            image[at : at + size].view(data.dtype).reshape(data.shape)[...] = data
        return image
