"""How many bytes of each on-chip memory hold something that is still to be read, cycle by cycle.

A byte is in use from the cycle after the landing of the instruction that wrote it to the landing of the last
instruction that reads it before it is written again. Bytes that nobody reads are never in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.effects import effects
from accelsim.isa.footprint import Footprint, footprint
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory, Region
from accelsim.trace import Trace

Integers = NDArray[np.int64]
Indices = NDArray[np.int32]
ON_CHIP = (Memory.UB, Memory.WGT, Memory.ACC, Memory.PARAM)


@dataclass(slots=True)
class _Accesses:
    """Reads and writes of one memory in program order; an instruction's reads stand before its writes."""

    numbers: dict[Region, int] = field(default_factory=dict)
    region: list[int] = field(default_factory=list)
    write: list[bool] = field(default_factory=list)
    index: list[int] = field(default_factory=list)

    def add(self, region: Region, write: bool, index: int) -> None:
        self.region.append(self.numbers.setdefault(region, len(self.numbers)))
        self.write.append(write)
        self.index.append(index)


def occupancy(program: Program, trace: Trace, arch: Arch) -> dict[Memory, tuple[Integers, Integers]]:
    """Per on-chip memory ``(cycle, used_bytes)``: the bytes in use from each cycle on, cycles ascending from 0."""
    accesses = {memory: _Accesses() for memory in ON_CHIP}
    for index, instr in enumerate(program.instructions):
        touched = effects(instr, arch)
        for regions, write in ((touched.reads, False), (touched.writes, True)):
            for region in regions:
                if region.memory is not Memory.DRAM:
                    accesses[region.memory].add(region, write, index)
    return {memory: _used(accesses[memory], trace.landed + 1) for memory in ON_CHIP}


def _used(accesses: _Accesses, visible: Integers) -> tuple[Integers, Integers]:
    """``visible[i]`` is the first cycle after the landing of instruction i."""
    if not accesses.region:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    sizes, parts = _atoms([footprint(region) for region in accesses.numbers])
    mine = [parts[number] for number in accesses.region]
    place = np.repeat(np.arange(len(mine), dtype=np.int32), [len(part) for part in mine])
    atom, place = _by_atom(np.concatenate(mine), place)
    write = np.array(accesses.write)[place]
    cycles, rank = np.unique(np.append(visible[np.array(accesses.index)], 0), return_inverse=True)
    cycle = rank.astype(np.int32)[place]  # by its rank among those that occur
    # A value lives from its write to the reads before the next write of the same bytes.
    begins = write.copy()
    begins[0] = True
    begins[1:] |= atom[1:] != atom[:-1]
    first = np.flatnonzero(begins)
    last = np.maximum.reduceat(cycle, first)
    alive = write[first] & (last > cycle[first])
    first, last = first[alive], last[alive]
    size, first = sizes[atom[first]], cycle[first]
    edges = np.bincount(first, minlength=len(cycles)) + np.bincount(last, minlength=len(cycles))
    edges[0] += 1
    # Sums of fewer than 2**53 bytes are exact in float64.
    steps = np.bincount(first, size, len(cycles)) - np.bincount(last, size, len(cycles))
    kept = edges > 0
    return cycles[kept], np.cumsum(steps[kept].astype(np.int64))


def _by_atom(atom: Indices, place: Indices) -> tuple[Indices, Indices]:
    """Both in the order of atoms; places, which ascend, stay in theirs. Of 16 bits numpy sorts in linear time."""
    for shift in (0, 16):
        if shift == 0 or atom.max() >> 16:
            order = np.argsort((atom >> shift).astype(np.uint16), kind="stable")
            atom, place = atom[order], place[order]
    return atom, place


def _atoms(regions: Sequence[Footprint]) -> tuple[Integers, list[Indices]]:
    """Split the bytes of all regions into atoms that no region splits: bytes per atom, and the atoms of each region.

    Every region adds its own random 64-bit number to its bytes by exclusive or; equal sums are one atom.
    """
    stop = max(region.stop for region in regions)
    sums = np.zeros(stop, np.uint64)
    marks = np.random.default_rng(0).integers(1, 2**63, len(regions), dtype=np.uint64)
    for region, mark in zip(regions, marks):
        if not region.loops:
            sums[region.start : region.stop] ^= mark
        else:
            touched = np.zeros(region.stop - region.start, np.bool_)
            _view(touched, region, region.start)[...] = True
            sums[region.start : region.stop][touched] ^= mark
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(sums[1:] != sums[:-1]) + 1])
    values, number = np.unique(sums[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, stop))
    sizes = np.zeros(len(values), np.int64)
    np.add.at(sizes, number, lengths)
    number = number.astype(np.int32)
    of_byte = np.repeat(number, lengths)
    parts = []
    for region in regions:
        if not region.loops:
            first, last = np.searchsorted(starts, (region.start, region.stop))
            parts.append(np.unique(number[first:last]))
        else:
            parts.append(np.flatnonzero(np.bincount(_view(of_byte, region).ravel())).astype(np.int32))
    return sizes, parts


def _view(values: NDArray, region: Footprint, first: int = 0) -> NDArray:
    """The region's bytes of ``values`` (one element per byte from byte ``first`` on), one axis per loop and the run."""
    width = values.itemsize
    shape = (*(count for count, _ in region.loops), region.run)
    strides = (*(stride * width for _, stride in region.loops), width)
    return np.ndarray(shape, values.dtype, values.data, (region.start - first) * width, strides)
