"""Accesses in program order: races between units, and reads of bytes nobody wrote.

For every byte, unit and kind of access what counts is the latest instruction (as 1 + its place in its unit) that made
such an access. A unit is in order, so when the latest one has landed before instruction j starts, all have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ProgramError, RaceError
from accelsim.isa.footprint import Footprint, footprint
from accelsim.isa.order import Order
from accelsim.isa.program import Program
from accelsim.isa.protocol import Effects, Memory, Unit
from accelsim.isa.rules import place_text
from accelsim.isa.shadows import Frame, Log, Spans, common_granule
from accelsim.isa.state import memory_bytes
from accelsim.isa.text import format_instruction

READ, WRITE = 0, 1
_VERBS = ("read", "written")


def check_accesses(
    program: Program, arch: Arch, known: Order, touched: Sequence[Effects], *, data: bool
) -> None:
    """Raise RaceError for the first unordered conflict in program order, ProgramError for a read of unwritten bytes.

    ``touched`` are the effects of all instructions. ``data=False`` skips the second.
    """
    accesses = [_Access(index, program.instructions[index].unit, found) for index, found in enumerate(touched)]
    frames = _frames(program, arch, accesses)
    races = _Races(program, arch, known, frames)
    written = _Written(program, arch, frames) if data else None
    for access in accesses:
        for region in access.reads:
            if written is not None:
                written.require(access.index, region)
            races.check(access, region, READ)
        for region in access.writes:
            races.check(access, region, WRITE)
        races.record(access)
        if written is not None:
            for region in access.writes:
                written.record(region)


class _Access:
    """Footprints of what one instruction reads and writes."""

    __slots__ = ("index", "reads", "unit", "writes")

    def __init__(self, index: int, unit: Unit, touched: Effects) -> None:
        self.index = index
        self.unit = unit
        self.reads = [footprint(region) for region in touched.reads]
        self.writes = [footprint(region) for region in touched.writes]


def _frames(program: Program, arch: Arch, accesses: list[_Access]) -> dict[Memory, Frame]:
    everything: dict[Memory, list[Footprint]] = {memory: [] for memory in Memory}
    for access in accesses:
        for region in access.reads:
            everything[region.memory].append(region)
        for region in access.writes:
            everything[region.memory].append(region)
    found: dict[Memory, Frame] = {}
    for memory, size in memory_bytes(arch, program.dram_bytes).items():
        if memory is Memory.DRAM:
            # Only stores write DRAM, so nothing outside the bytes they span can conflict.
            stored = [region for access in accesses for region in access.writes if region.memory is memory]
            base = min((region.start for region in stored), default=0)
            found[memory] = Frame(base, max((region.stop for region in stored), default=0) - base)
        else:
            granule = common_granule(everything[memory])
            found[memory] = Frame(0, -(-size // granule), granule)
    return found


class _Races:
    """What every unit has read and written so far, per memory."""

    def __init__(self, program: Program, arch: Arch, known: Order, frames: dict[Memory, Frame]) -> None:
        self._program, self._arch, self._known, self._frames = program, arch, known, frames
        self._logs: dict[Memory, dict[tuple[Unit, int], Log]] = {memory: {} for memory in Memory}

    def check(self, access: _Access, region: Footprint, kind: int) -> None:
        """Compare one access with all earlier ones of other units that conflict with it."""
        clock, frame = self._known.clock[access.index], self._frames[region.memory]
        for (unit, other_kind), log in self._logs[region.memory].items():
            landed = clock[unit]
            if log.newest <= landed or unit == access.unit or kind == other_kind == READ:
                continue
            if not log.latest(region, landed):
                continue
            for part in frame.clip(region):
                view = frame.view(log.shadow(), part)
                if int(view.max()) > landed:
                    raise self._race(access, part, kind, unit, other_kind, view)

    def record(self, access: _Access) -> None:
        """Remember what an instruction reads and writes."""
        place = self._known.position[access.index]
        for kind, regions in ((READ, access.reads), (WRITE, access.writes)):
            for region in regions:
                logs, frame = self._logs[region.memory], self._frames[region.memory]
                if region.memory is not Memory.DRAM or frame.meets(region):
                    if (access.unit, kind) not in logs:
                        logs[access.unit, kind] = Log(frame)
                    logs[access.unit, kind].add(place, region)

    def _race(
        self, access: _Access, region: Footprint, kind: int, unit: Unit, other_kind: int, view: NDArray[np.int32]
    ) -> RaceError:
        """``view`` holds the places of the other unit's accesses to ``region``."""
        frame, place = self._frames[region.memory], int(view.max())
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

    def __init__(self, program: Program, arch: Arch, frames: dict[Memory, Frame]) -> None:
        self._program, self._arch, self._frames = program, arch, frames
        self._initial = initial_dram(program)
        self._spans = {memory: Spans(self._initial if memory is Memory.DRAM else ()) for memory in Memory}
        self._whole: set[Footprint] = set()  # written, with gaps that may not be
        self._unpainted: dict[Memory, list[Footprint]] = {memory: [] for memory in Memory}
        self._shadows: dict[Memory, NDArray[np.bool_]] = {}

    def record(self, region: Footprint) -> None:
        """Every byte of the region is written from here on."""
        if self._holds(region):
            return
        self._unpainted[region.memory].append(region)
        self._remember(region)

    def require(self, index: int, region: Footprint) -> None:
        """Raise ProgramError unless every byte of the region has been written."""
        if self._holds(region):
            return
        frame, shadow = self._frames[region.memory], self._painted(region.memory)
        if region.memory is Memory.DRAM:
            frame, shadow = self._around(region, shadow)
        view = frame.view(shadow, region)
        if view.all():
            self._remember(region)
            return
        starts = np.argwhere(~view) @ [*(stride for _, stride in region.loops), frame.granule]
        first, last = region.start + int(starts.min()), region.start + int(starts.max())
        place = place_text(region.memory, first, last + frame.granule, self._arch)
        text = format_instruction(self._program.instructions[index])
        raise ProgramError(index, text, f"reads {place}, never written before", self._program.origin(index))

    def _holds(self, region: Footprint) -> bool:
        """Whether the region is known to be written."""
        return region in self._whole or self._spans[region.memory].cover(region.start, region.stop)

    def _remember(self, region: Footprint) -> None:
        if region.loops:
            self._whole.add(region)
        else:
            self._spans[region.memory].add(region.start, region.stop)

    def _painted(self, memory: Memory) -> NDArray[np.bool_]:
        """What instructions wrote so far, granule by granule of the frame."""
        frame = self._frames[memory]
        shadow = self._shadows.setdefault(memory, np.zeros(frame.size, np.bool_))
        for region in self._unpainted[memory]:
            frame.view(shadow, region)[...] = True
        self._unpainted[memory].clear()
        return shadow

    def _around(self, region: Footprint, stored: NDArray[np.bool_]) -> tuple[Frame, NDArray[np.bool_]]:
        """A frame over exactly the region's DRAM bytes, holding what the image, the host and stores wrote."""
        stored_frame = self._frames[Memory.DRAM]
        frame = Frame(region.start, region.stop - region.start)
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
    regions = [region for region in program.regions if region.role in ("input", "constant")]
    return list(Spans([(0, program.image.size), *((r.address, r.address + r.bytes) for r in regions)]))
