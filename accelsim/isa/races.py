"""Accesses in program order against shadow memories: races between units, and reads of bytes nobody wrote.

For every byte, unit and kind of access a shadow holds the latest instruction (as 1 + its place in its unit) that made
such an access. A unit is in order, so when the latest one has landed before instruction j starts, all have. The
``written`` shadows tell bytes that were written at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ProgramError, RaceError
from accelsim.isa.effects import effects
from accelsim.isa.footprint import footprint
from accelsim.isa.order import Order
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory, Region, Unit
from accelsim.isa.rules import place_text
from accelsim.isa.state import memory_bytes
from accelsim.isa.text import format_instruction

READ, WRITE = 0, 1
_VERBS = ("read", "written")


def check_accesses(program: Program, arch: Arch, known: Order, *, data: bool) -> None:
    """Raise RaceError for the first unordered conflict in program order, ProgramError for a read of unwritten bytes.

    ``data=False`` skips the second.
    """
    accesses = [_Access(program, arch, index) for index in range(len(program.instructions))]
    frames = _frames(program, arch, accesses)
    shadows = _Shadows(program, arch, known, frames)
    written = _Written(program, arch, frames) if data else None
    for access in accesses:
        for region in access.reads:
            if written is not None:
                written.require(access.index, region)
            shadows.check(access, region, READ)
        for region in access.writes:
            shadows.check(access, region, WRITE)
        for region in access.reads:
            shadows.record(access, region, READ)
        for region in access.writes:
            shadows.record(access, region, WRITE)
            if written is not None:
                written.record(region)


class _Access:
    """Footprints of what one instruction reads and writes."""

    __slots__ = ("index", "reads", "unit", "writes")

    def __init__(self, program: Program, arch: Arch, index: int) -> None:
        instr = program.instructions[index]
        touched = effects(instr, arch)
        self.index = index
        self.unit = instr.unit
        self.reads = tuple(footprint(region) for region in touched.reads)
        self.writes = tuple(footprint(region) for region in touched.writes)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The part of a memory that shadows cover: ``size`` granules from byte ``base``.

    A granule is the largest number of bytes that all accesses to the memory are multiples of.
    """

    base: int
    size: int
    granule: int = 1

    def view(self, shadow: NDArray[Any], region: Region) -> NDArray[Any]:
        """The granules of a region that lies within the frame, shape (counts..., run)."""
        unit, item = self.granule, shadow.itemsize
        shape = (*(count for count, _ in region.loops), region.run // unit)
        strides = (*(stride // unit * item for _, stride in region.loops), item)
        return np.ndarray(shape, shadow.dtype, shadow, (region.start - self.base) // unit * item, strides)

    def clip(self, region: Region) -> Iterator[Region]:
        """Regions that together are the part of a region within the frame."""
        low, high = self.base, self.base + self.size * self.granule
        if region.start >= low and region.stop <= high:
            yield region
        elif region.start >= high or region.stop <= low:
            return
        elif not region.loops:
            start = max(region.start, low)
            yield Region(region.memory, start, min(region.stop, high) - start)
        else:
            (count, stride), *rest = region.loops
            for step in range(count):
                yield from self.clip(Region(region.memory, region.start + step * stride, region.run, tuple(rest)))


def _frames(program: Program, arch: Arch, accesses: list[_Access]) -> dict[Memory, _Frame]:
    found: dict[Memory, _Frame] = {}
    for memory, size in memory_bytes(arch, program.dram_bytes).items():
        if memory is Memory.DRAM:
            # Only stores write DRAM, so nothing outside the bytes they span can conflict.
            stored = [region for access in accesses for region in access.writes if region.memory is memory]
            base = min((region.start for region in stored), default=0)
            found[memory] = _Frame(base, max((region.stop for region in stored), default=0) - base)
            continue
        granule = gcd(*(
            number
            for access in accesses
            for region in access.reads + access.writes
            if region.memory is memory
            for number in (region.start, region.run, *(stride for _, stride in region.loops))
        )) or 1  # fmt: skip
        found[memory] = _Frame(0, -(-size // granule), granule)
    return found


class _Shadows:
    """The latest access per memory, unit, kind and granule."""

    def __init__(self, program: Program, arch: Arch, known: Order, frames: dict[Memory, _Frame]) -> None:
        self._program, self._arch, self._known, self._frames = program, arch, known, frames
        self._latest: dict[tuple[Memory, Unit, int], NDArray[np.int32]] = {}
        self._newest: dict[tuple[Memory, Unit, int], int] = {}  # the largest entry of each shadow

    def check(self, access: _Access, region: Region, kind: int) -> None:
        """Compare one access with all earlier ones of other units that conflict with it."""
        clock = self._known.clock[access.index]
        for (memory, unit, other_kind), newest in self._newest.items():
            if memory is not region.memory or unit is access.unit or newest <= clock[unit]:
                continue
            if kind == READ and other_kind == READ:
                continue
            frame, shadow = self._frames[memory], self._latest[memory, unit, other_kind]
            for part in frame.clip(region):
                if int(frame.view(shadow, part).max()) > clock[unit]:
                    raise self._race(access, part, kind, unit, other_kind)

    def record(self, access: _Access, region: Region, kind: int) -> None:
        """Remember an access."""
        frame = self._frames[region.memory]
        key = (region.memory, access.unit, kind)
        if key not in self._latest:
            if frame.size == 0:
                return
            self._latest[key] = np.zeros(frame.size, np.int32)
        place = self._known.position[access.index]
        for part in frame.clip(region):
            frame.view(self._latest[key], part)[...] = place
            self._newest[key] = place

    def _race(self, access: _Access, region: Region, kind: int, unit: Unit, other_kind: int) -> RaceError:
        frame = self._frames[region.memory]
        view = frame.view(self._latest[region.memory, unit, other_kind], region)
        place = int(view.max())
        starts = np.argwhere(view == place) @ [*(stride for _, stride in region.loops), frame.granule]
        first, last = region.start + int(starts.min()), region.start + int(starts.max())
        other = self._known.of_unit[unit][place - 1]
        giver, taker = unit.name.lower(), access.unit.name.lower()
        program = self._program
        return RaceError(
            access.index,
            format_instruction(program.instructions[access.index]),
            f"{_VERBS[other_kind]} by {giver}, then {_VERBS[kind]} by {taker}, and nothing orders the two",
            program.origin(access.index),
            f"{taker} needs wait={giver} here or before, matching signal={taker} at {other} or a later {giver}",
            other,
            format_instruction(program.instructions[other]),
            place_text(region.memory, first, last + frame.granule, self._arch),
            program.origin(other),
        )


class _Written:
    """Which bytes have been written: on chip by instructions, in DRAM also by the image and the host."""

    def __init__(self, program: Program, arch: Arch, frames: dict[Memory, _Frame]) -> None:
        self._program, self._arch, self._frames = program, arch, frames
        self._initial = initial_dram(program)
        self._shadows = {memory: np.zeros(frame.size, np.bool_) for memory, frame in frames.items()}

    def record(self, region: Region) -> None:
        """Every byte of the region is written from here on."""
        self._frames[region.memory].view(self._shadows[region.memory], region)[...] = True

    def require(self, index: int, region: Region) -> None:
        """Raise ProgramError unless every byte of the region has been written."""
        frame, shadow = self._frames[region.memory], self._shadows[region.memory]
        if region.memory is Memory.DRAM:
            if any(low <= region.start and region.stop <= high for low, high in self._initial):
                return
            frame, shadow = self._around(region)
        view = frame.view(shadow, region)
        if view.all():
            return
        starts = np.argwhere(~view) @ [*(stride for _, stride in region.loops), frame.granule]
        first, last = region.start + int(starts.min()), region.start + int(starts.max())
        place = place_text(region.memory, first, last + frame.granule, self._arch)
        text = format_instruction(self._program.instructions[index])
        raise ProgramError(index, text, f"reads {place}, never written before", self._program.origin(index))

    def _around(self, region: Region) -> tuple[_Frame, NDArray[np.bool_]]:
        """A frame over exactly the region's DRAM bytes, holding what the image, the host and stores wrote."""
        stored_frame, stored = self._frames[Memory.DRAM], self._shadows[Memory.DRAM]
        frame = _Frame(region.start, region.stop - region.start)
        shadow = np.zeros(frame.size, np.bool_)
        for low, high in self._initial:
            shadow[max(low - frame.base, 0) : max(high - frame.base, 0)] = True
        low = max(frame.base, stored_frame.base)
        high = min(region.stop, stored_frame.base + stored_frame.size)
        if low < high:
            shadow[low - frame.base : high - frame.base] |= stored[low - stored_frame.base : high - stored_frame.base]
        return frame, shadow


def initial_dram(program: Program) -> list[tuple[int, int]]:
    """Byte ranges of DRAM that hold data before the program starts, merged: the image, inputs and constants."""
    ranges = [(0, program.image.size)]
    ranges += [
        (region.address, region.address + region.bytes)
        for region in program.regions
        if region.role in ("input", "constant")
    ]
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged
