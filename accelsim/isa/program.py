"""A program: instructions, the DRAM image they start from, named regions, and where each instruction came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.instructions import Instr


@dataclass(frozen=True, slots=True, kw_only=True)
class DramRegion:
    """A named piece of DRAM. ``role``: input (host writes), output (host reads), constant (in the image), scratch.

    ``shape`` is in elements of ``dtype`` (int8, uint8, int32 or float32), batch first for activations.
    ``scale``/``zero`` give the quantisation of an int8 activation region, else None.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    address: int
    scale: float | None = None
    zero: int | None = None

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        size = np.dtype(self.dtype).itemsize
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """When instruction ``index`` has landed, ``count0 x count1`` pieces of ``run`` bytes of UB hold part of a tensor.

    Piece (i, j) lies at UB byte ``ub + i*us0 + j*us1`` and belongs at byte ``at + i*ts0 + j*ts1`` of the dense int8
    tensor ``tensor`` (batch, height, width, channels). Probes let every layer be compared with the golden model
    although its output never leaves the chip. They cost the machine nothing.
    """

    index: int
    tensor: str
    run: int
    ub: int
    at: int
    count0: int = 1
    us0: int = 0
    ts0: int = 0
    count1: int = 1
    us1: int = 0
    ts1: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """What ``compile`` makes and ``exec`` runs. Immutable; equality is by :attr:`program_hash`.

    ``image`` is the DRAM content at byte 0 .. len(image) (constants); ``dram_bytes`` the whole extent; instruction
    words are fetched from a memory range of their own. ``layers`` names the layers in order, ``layer_of[i]`` is the
    layer of instruction i (index into ``layers``, -1 for none) and ``tile_of[i]`` a short text.
    ``meta`` is plain JSON data (workload, batch, per-layer facts of the compiler).
    """

    instructions: tuple[Instr, ...]
    image: NDArray[np.uint8]
    dram_bytes: int
    regions: tuple[DramRegion, ...] = ()
    layers: tuple[str, ...] = ()
    layer_of: tuple[int, ...] = ()
    tile_of: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = ()
    shape_hash: str = ""
    full_hash: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
