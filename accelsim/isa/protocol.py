"""What the simulator and the report may know of an instruction: its unit, its tokens, what it touches, what work it is.

Nothing here names an instruction class, so another instruction set can be timed by the same ``hw``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Unit(IntEnum):
    """The four in-order units; the value is the unit's bit in ``wait`` and ``signal`` masks."""

    LOAD = 0
    GEMM = 1
    ALU = 2
    STORE = 3


class Memory(IntEnum):
    """Where data lies. UB and DRAM are byte-addressed; effects give byte addresses in every memory."""

    UB = 0
    WGT = 1
    ACC = 2
    PARAM = 3
    DRAM = 4


class Arithmetic(IntEnum):
    """What the lanes of an alu do in a row step; adds, comparisons, shifts and moves count as one kind."""

    NONE = 0
    ADD = 1
    MULTIPLY = 2
    MAC = 3
    REQUANTIZE = 4
    LOOKUP = 5


class Region(NamedTuple):
    """Bytes ``start + i*stride_i + ... + [0, run)`` of one memory, for every loop index ``0 <= i < count``.

    ``loops`` are ``(count, stride_bytes)``, outermost first. Regions of one instruction may overlap themselves.
    """

    memory: Memory
    start: int
    run: int
    loops: tuple[tuple[int, int], ...] = ()

    @property
    def stop(self) -> int:
        """One past the highest byte touched (strides are never negative)."""
        stop = self.start + self.run
        for count, stride in self.loops:
            stop += (count - 1) * stride
        return stop


class Effects(NamedTuple):
    """Everything an instruction reads and writes, and the arithmetic it does."""

    reads: tuple[Region, ...] = ()
    writes: tuple[Region, ...] = ()
    macs: int = 0  # rows x k x n of a gemm, padding lanes included
    alu_ops: int = 0  # lanes x row steps of an alu
    arithmetic: Arithmetic = Arithmetic.NONE  # what kind those are


@dataclass(frozen=True, slots=True)
class ArrayWork:
    """``tiles`` weight tiles of ``k`` rows, ``m`` activation rows streamed through each (os: see ``timing``)."""

    tiles: int
    k: int
    m: int


@dataclass(frozen=True, slots=True)
class VectorWork:
    """``steps`` row steps (rows x reduction steps) of ``lanes`` elements; ``reads`` operands from one memory."""

    steps: int
    reads: int
    lanes: int


@dataclass(frozen=True, slots=True)
class TransferWork:
    """DRAM traffic: the DRAM-side region, in request order (loops outermost first), read or written."""

    region: Region
    write: bool


@dataclass(frozen=True, slots=True)
class FillWork:
    """``rows`` rows written on chip, one a cycle, without port traffic; in UB a contiguous run counts as a row."""

    rows: int


@dataclass(frozen=True, slots=True)
class SyncWork:
    """Tokens only; acts when all earlier instructions of its unit have landed."""


@dataclass(frozen=True, slots=True)
class HaltWork:
    """Ends the program once every unit has drained."""


Work: TypeAlias = ArrayWork | VectorWork | TransferWork | FillWork | SyncWork | HaltWork


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction as the timing simulator sees it. ``waits``/``signals`` name other units, each at most once.

    ``banks`` has a bit for every UB bank the instruction touches, if units share the banks' ports; else 0.
    """

    unit: Unit
    waits: tuple[Unit, ...]
    signals: tuple[Unit, ...]
    work: Work
    banks: int = 0


Landing: TypeAlias = Callable[[int], None]
"""Called with an instruction's index in the cycle in which its last effect lands, in time order."""

Tasks: TypeAlias = Sequence[Task]
Bytes: TypeAlias = NDArray[np.uint8]
