"""The static check every program passes before it runs: nothing it accepts can block, race or leave its memories."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.arch import Arch
from accelsim.errors import ConfigError, ProgramError
from accelsim.isa.effects import effects
from accelsim.isa.encoding import unencodable
from accelsim.isa.footprint import Footprint, footprint, iterations
from accelsim.isa.instructions import Halt, Store
from accelsim.isa.order import order
from accelsim.isa.program import Program, constant_ranges
from accelsim.isa.protocol import Effects, Memory
from accelsim.isa.races import check_accesses
from accelsim.isa.rules import Rules, place_text
from accelsim.isa.text import format_instruction


def check_program(program: Program, arch: Arch, *, data: bool = True) -> None:
    """Accept a program for a machine, or raise.

    ConfigError: compiled for a machine of another shape, or a DRAM region outside DRAM. ProgramError: a field out of
    range, an operand that has no meaning, an access outside a memory or into the constants, tokens that do not
    balance, block or overflow, a missing or early halt, a read of bytes never written (not with ``data=False``).
    RaceError: two units touch the same bytes, one of them writes, and no token orders them.
    """
    if program.shape_hash and program.shape_hash != arch.shape_hash:
        raise ConfigError(
            "program", "shape_hash", f"compiled for a machine of another shape than {arch.name}",
            f"program {program.shape_hash}, machine {arch.shape_hash}; compile it for {arch.name}",
        )  # fmt: skip
    _check_regions(program)
    touched = _check_instructions(program, arch)
    _check_constants(program, arch, touched)
    known = order(program)
    check_accesses(program, arch, known, touched, data=data)


def _check_regions(program: Program) -> None:
    for region in program.regions:
        if region.address < 0 or region.address + region.bytes > program.dram_bytes:
            last = region.address + region.bytes - 1
            problem = f"bytes {region.address}..{last} of {program.dram_bytes} bytes of DRAM"
            raise ConfigError("program", f"region {region.name}", problem)
    if program.image.size > program.dram_bytes:
        problem = f"has {program.image.size} bytes and DRAM {program.dram_bytes}"
        raise ConfigError("program", "image", problem)


def _check_instructions(program: Program, arch: Arch) -> list[Effects]:
    """The effects of all instructions, each good by itself."""
    rules = Rules(arch, program.dram_bytes)
    last = len(program.instructions) - 1
    bad = unencodable(program.instructions)
    found: list[Effects] = []
    for index, instr in enumerate(program.instructions):
        if index in bad:
            problem = rules.problem(instr)
        else:
            found.append(effects(instr, arch))
            problem = rules.encodable_problem(instr, found[-1])
        if not problem and isinstance(instr, Halt) and index != last:
            problem = "halt must be the last instruction, and the only one"
        if problem:
            raise ProgramError(index, format_instruction(instr), problem, program.origin(index))
    if last < 0 or not isinstance(program.instructions[last], Halt):
        text = format_instruction(program.instructions[last]) if last >= 0 else "(no instructions)"
        raise ProgramError(max(last, 0), text, "the program does not end with halt", hint="add `halt on=store`")
    return found


def _check_constants(program: Program, arch: Arch, touched: Sequence[Effects]) -> None:
    """Refuse stores into the image, except where a declared region says the bytes are not constant."""
    constants = constant_ranges(program)
    for index, instr in enumerate(program.instructions):
        if not isinstance(instr, Store):
            continue
        region = footprint(touched[index].writes[0])
        for low, high in constants:
            first = _first_inside(region, low, high)
            if first >= 0:
                place = place_text(Memory.DRAM, first, first + 1, arch)
                problem = f"stores to {place}, a constant of the program's image"
                raise ProgramError(index, format_instruction(instr), problem, program.origin(index))


def _first_inside(region: Footprint, low: int, high: int) -> int:
    """The lowest byte of a region in low..high-1, or -1."""
    if region.start >= high or region.stop <= low:
        return -1
    if not region.loops:
        return max(region.start, low)
    for inner in iterations(region):
        found = _first_inside(inner, low, high)
        if found >= 0:
            return found
    return -1
