"""The memories of a machine while a program runs on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.program import DramRegion, Program, constant_ranges
from accelsim.isa.protocol import Memory

POISON = 0xA5
"""The byte that ``poison=True`` fills every memory with, so that a read of unwritten bytes shows."""


class _Shared(NamedTuple):
    """Bytes ``low`` to before ``high`` of an image, which DRAM's own array does not hold yet."""

    image: NDArray[np.uint8]
    low: int
    high: int


class MachineState:
    """DRAM and scratchpads. Every typed array is a view of the flat bytes :meth:`bytes_of` gives, little-endian.

    ``dram`` uint8 (dram_bytes,), ``ub`` int8 (ub_bytes,), ``wgt`` int8 (wgt_rows, cols), ``acc`` int32
    (acc_rows, cols), ``param`` uint32 (param_rows, cols). Memories start as zeros, which costs nothing until a page
    is touched; with ``poison`` they start as :data:`POISON` bytes.

    A program's constants, most of DRAM, are read where the program has them until somebody needs all of DRAM in one
    array or writes among them.
    """

    __slots__ = ("_flat", "_shared", "acc", "arch", "param", "ub", "wgt")

    def __init__(self, arch: Arch, dram_bytes: int, *, poison: bool = False) -> None:
        cols = arch.array.cols
        sizes = memory_bytes(arch, dram_bytes)
        self.arch = arch
        self._flat: dict[Memory, NDArray[np.uint8]] = {
            memory: np.full(size, POISON, np.uint8) if poison else np.zeros(size, np.uint8)
            for memory, size in sizes.items()
        }
        self._shared: _Shared | None = None
        self.ub: NDArray[np.int8] = self._flat[Memory.UB].view(np.int8)
        self.wgt: NDArray[np.int8] = self._flat[Memory.WGT].view(np.int8).reshape(-1, cols)
        self.acc: NDArray[np.int32] = self._flat[Memory.ACC].view(np.dtype("<i4")).reshape(-1, cols)
        self.param: NDArray[np.uint32] = self._flat[Memory.PARAM].view(np.dtype("<u4")).reshape(-1, cols)

    @property
    def dram(self) -> NDArray[np.uint8]:
        """All of DRAM."""
        if self._shared is not None:
            image, low, high = self._shared
            self._flat[Memory.DRAM][low:high] = image[low:high]
            self._shared = None
        return self._flat[Memory.DRAM]

    def bytes_of(self, memory: Memory) -> NDArray[np.uint8]:
        """The flat bytes of a memory; writing to them writes the memory."""
        return self.dram if memory == Memory.DRAM else self._flat[memory]

    def load_program(self, program: Program) -> None:
        """Put the program's constants at the start of DRAM."""
        image, flat = program.image, self.dram
        if image.size > flat.size:
            raise ValueError(f"an image of {image.size} bytes in {flat.size} bytes of DRAM")
        spans = constant_ranges(program) if image.flags.c_contiguous else []
        low, high = max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
        flat[:low] = image[:low]
        flat[high : image.size] = image[high:]
        self._shared = _Shared(image, low, high)

    def dram_holding(self, start: int, stop: int) -> NDArray[np.uint8]:
        """An array that has DRAM's bytes ``start`` to before ``stop`` at their addresses, to be read."""
        if self._shared is not None and self._shared.low <= start and stop <= self._shared.high:
            return self._shared.image
        return self.dram_taking(start, stop)

    def dram_taking(self, start: int, stop: int) -> NDArray[np.uint8]:
        """An array that has DRAM's bytes ``start`` to before ``stop`` at their addresses, to be written."""
        if self._shared is None or stop <= self._shared.low or start >= self._shared.high:
            return self._flat[Memory.DRAM]
        return self.dram

    def write_region(self, region: DramRegion, array: NDArray[np.generic]) -> None:
        """Write an array of the region's shape and dtype into DRAM. Raises ValueError on another shape or dtype."""
        if array.shape != region.shape or array.dtype != np.dtype(region.dtype):
            raise ValueError(
                f"region {region.name} is {region.dtype} {list(region.shape)}, "
                f"the array {array.dtype} {list(array.shape)}"
            )
        data = np.ascontiguousarray(array.astype(_stored_dtype(region), copy=False)).view(np.uint8)
        stop = region.address + region.bytes
        self.dram_taking(region.address, stop)[region.address : stop] = data.reshape(-1)

    def read_region(self, region: DramRegion) -> NDArray[np.generic]:
        """A copy of a DRAM region in its shape and dtype."""
        stop = region.address + region.bytes
        data = self.dram_holding(region.address, stop)[region.address : stop].copy()
        return data.view(_stored_dtype(region)).reshape(region.shape).astype(region.dtype, copy=False)


def memory_bytes(arch: Arch, dram_bytes: int) -> dict[Memory, int]:
    """The addressable bytes of every memory: whole rows only, which can be less than the machine's sizes say."""
    cols = arch.array.cols
    return {
        Memory.UB: arch.ub_bytes,
        Memory.WGT: arch.wgt_rows * cols,
        Memory.ACC: arch.acc_rows * cols * 4,
        Memory.PARAM: arch.param_rows * cols * 4,
        Memory.DRAM: dram_bytes,
    }


def _stored_dtype(region: DramRegion) -> np.dtype[np.generic]:
    return np.dtype(region.dtype).newbyteorder("<")
