"""The memories of a machine while a program runs on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Memory

POISON = 0xA5
"""The byte that ``poison=True`` fills every memory with, so that a read of unwritten bytes shows."""


class MachineState:
    """DRAM and scratchpads. Every typed array is a view of the flat bytes :meth:`bytes_of` gives, little-endian.

    ``dram`` uint8 (dram_bytes,), ``ub`` int8 (ub_bytes,), ``wgt`` int8 (wgt_rows, cols), ``acc`` int32
    (acc_rows, cols), ``param`` uint32 (param_rows, cols). Memories start as zeros, which costs nothing until a page
    is touched; with ``poison`` they start as :data:`POISON` bytes.
    """

    __slots__ = ("_flat", "acc", "arch", "dram", "param", "ub", "wgt")

    def __init__(self, arch: Arch, dram_bytes: int, *, poison: bool = False) -> None:
        cols = arch.array.cols
        sizes = memory_bytes(arch, dram_bytes)
        self.arch = arch
        self._flat: dict[Memory, NDArray[np.uint8]] = {
            memory: np.full(size, POISON, np.uint8) if poison else np.zeros(size, np.uint8)
            for memory, size in sizes.items()
        }
        self.dram: NDArray[np.uint8] = self._flat[Memory.DRAM]
        self.ub: NDArray[np.int8] = self._flat[Memory.UB].view(np.int8)
        self.wgt: NDArray[np.int8] = self._flat[Memory.WGT].view(np.int8).reshape(-1, cols)
        self.acc: NDArray[np.int32] = self._flat[Memory.ACC].view(np.dtype("<i4")).reshape(-1, cols)
        self.param: NDArray[np.uint32] = self._flat[Memory.PARAM].view(np.dtype("<u4")).reshape(-1, cols)

    def bytes_of(self, memory: Memory) -> NDArray[np.uint8]:
        """The flat bytes of a memory; writing to them writes the memory."""
        return self._flat[memory]

    def load_program(self, program: Program) -> None:
        """Copy the program's constants to the start of DRAM."""
        self.dram[: program.image.size] = program.image

    def write_region(self, region: DramRegion, array: NDArray[np.generic]) -> None:
        """Write an array of the region's shape and dtype into DRAM. Raises ValueError on another shape or dtype."""
        if array.shape != region.shape or array.dtype != np.dtype(region.dtype):
            raise ValueError(
                f"region {region.name} is {region.dtype} {list(region.shape)}, "
                f"the array {array.dtype} {list(array.shape)}"
            )
        data = np.ascontiguousarray(array.astype(_stored_dtype(region), copy=False)).view(np.uint8)
        self.dram[region.address : region.address + region.bytes] = data.reshape(-1)

    def read_region(self, region: DramRegion) -> NDArray[np.generic]:
        """A copy of a DRAM region in its shape and dtype."""
        data = self.dram[region.address : region.address + region.bytes].copy()
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
