"""Assembly: a program as text. One instruction or directive per line, ``#`` starts a comment.

Directives::

    .region NAME dtype [shape] = file.npy|zeros [role] [@ address]
    .layer NAME            instructions from here on belong to this layer (without a name: to none)
    .dram BYTES            extent of DRAM; by default it ends with the last region, rounded up to 64 bytes

Regions are laid out in the order of their lines, each at the next multiple of 64 bytes after everything before it,
unless an address is given. ``role`` is input, output, constant or scratch; without it a file is constant and zeros
are output. Files, and zeros of constants and inputs, are the program's image: in DRAM from the start. Zeros of
outputs and scratch only reserve space. A region may lie over another (one names a part of the other), but not two
with files. A region's name, or ``NAME+offset``, is its address in number fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import AsmError, AsmErrors
from accelsim.isa.instructions import Instr
from accelsim.isa.program import DTYPES, ROLES, DramRegion, Program
from accelsim.isa.text import Fault, Token, format_instruction, parse_instruction
from accelsim.spelling import suggest

__all__ = ["format_instruction", "format_program", "parse_program"]

ALIGNMENT_BYTES = 64
MAX_DRAM_BYTES = 1 << 32
DIRECTIVES = (".region", ".layer", ".dram")
_REGION = re.compile(
    r"\.region\s+(?P<name>[A-Za-z_][\w./:-]*)\s+(?P<dtype>\w+)\s*\[(?P<shape>[^\]]*)\]\s*=\s*(?P<source>\S+)"
    r"(?:\s+(?P<role>[A-Za-z]\w*))?(?:\s*@\s*(?P<address>\w+))?\s*$"
)


def format_program(program: Program, *, image_file: str = "") -> str:
    """The program as assembly; parsing it gives the same words, regions and layers.

    The constants are one region ``constants``, read from ``image_file`` (a .npy of ``program.image``) if that is given
    and zeros otherwise; the program's own regions are names that lie over it.
    """
    lines = [f"# {len(program.instructions)} instructions", f".dram {program.dram_bytes}"]
    if program.image.size:
        name = "constants"
        while any(_word(region.name) == name for region in program.regions):
            name += "_"
        lines.append(f".region {name} uint8 [{program.image.size}] = {image_file or 'zeros'} constant @ 0")
    for region in program.regions:
        shape = ", ".join(str(extent) for extent in region.shape)
        lines.append(
            f".region {_word(region.name)} {region.dtype} [{shape}] = zeros {region.role} @ {region.address:#x}"
        )
    layer = -1
    for index, instr in enumerate(program.instructions):
        here = program.layer_of[index] if program.layer_of else -1
        if here != layer:
            layer = here
            lines.append(f".layer {_word(program.layers[here])}" if here >= 0 else ".layer")
        lines.append(format_instruction(instr))
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    """A name with every character that assembly cannot hold replaced."""
    return re.sub(r"[^\w./:-]", "_", name if name[:1].isalpha() or name[:1] == "_" else f"_{name}")


def parse_program(text: str, arch: Arch, *, where: str = "<asm>", base_dir: Path | None = None) -> Program:
    """The program of a text of assembly, for a machine; ``base_dir`` is where its .npy files are looked up.

    Raises AsmErrors with every mistake of the text, each at ``where:line:column``.
    """
    reader = _Reader(where, base_dir or Path())
    lines = [(number, line, _tokens(line)) for number, line in enumerate(text.splitlines(), 1)]
    # Regions first, so that an instruction may name one declared below it.
    for number, line, tokens in lines:
        if tokens and tokens[0].text.startswith("."):
            reader.directive(number, line, tokens)
    for number, line, tokens in lines:
        if tokens and tokens[0].text == ".layer":
            reader.set_layer(tokens)
        elif tokens and not tokens[0].text.startswith("."):
            reader.instruction(number, line, tokens)
    if reader.errors:
        raise AsmErrors(tuple(error for _, error in sorted(reader.errors, key=lambda item: item[0])))
    return reader.program(arch)


def _tokens(line: str) -> list[Token]:
    code = line.partition("#")[0]
    return [Token(match.group(), match.start()) for match in re.finditer(r"\S+", code)]


@dataclass
class _Reader:
    """What has been read of one text, and every mistake with its line number."""

    where: str
    base_dir: Path
    errors: list[tuple[int, AsmError]] = field(default_factory=list)
    instructions: list[Instr] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    layer_of: list[int] = field(default_factory=list)
    regions: list[DramRegion] = field(default_factory=list)
    contents: list[NDArray[Any] | None] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    next_free: int = 0
    dram_bytes: int = -1
    layer: int = -1

    def fault(self, number: int, line: str, fault: Fault) -> None:
        below = "".join("\t" if char == "\t" else " " for char in line[: fault.column])
        source = f"    {line.rstrip()}\n    {below}^"
        place = f"{self.where}:{number}:{fault.column + 1}"
        self.errors.append((number, AsmError(place, fault.problem, fault.hint, source)))

    def directive(self, number: int, line: str, tokens: list[Token]) -> None:
        """Read a directive; ``.layer`` takes effect later, among the instructions."""
        name = tokens[0].text
        faults: list[Fault] = []
        if name == ".region":
            faults = self._region(line)
        elif name == ".dram":
            faults = self._dram(tokens)
        elif name == ".layer":
            if len(tokens) > 2:
                faults = [Fault(tokens[2].column, "a layer has one name, without spaces")]
        else:
            faults = [Fault(tokens[0].column, f"unknown directive {name!r}", suggest(name, DIRECTIVES))]
        for fault in faults:
            self.fault(number, line, fault)

    def set_layer(self, tokens: list[Token]) -> None:
        if len(tokens) == 1:
            self.layer = -1
            return
        name = tokens[1].text
        if name not in self.layers:
            self.layers.append(name)
        self.layer = self.layers.index(name)

    def instruction(self, number: int, line: str, tokens: list[Token]) -> None:
        instr, faults = parse_instruction(tokens, self.symbols)
        for fault in faults:
            self.fault(number, line, fault)
        if instr is not None:
            self.instructions.append(instr)
            self.layer_of.append(self.layer)

    def program(self, arch: Arch) -> Program:
        """The finished program; only after a text without mistakes."""
        backed = [
            (region, data) for region, data in zip(self.regions, self.contents)
            if data is not None or region.role in ("constant", "input")
        ]  # fmt: skip
        image = np.zeros(max((region.address + region.bytes for region, _ in backed), default=0), np.uint8)
        for region, data in backed:
            if data is not None:
                stored = np.ascontiguousarray(data, dtype=np.dtype(region.dtype).newbyteorder("<"))
                image[region.address : region.address + region.bytes] = np.frombuffer(stored.tobytes(), np.uint8)
        end = max((region.address + region.bytes for region in self.regions), default=0)
        return Program(
            instructions=tuple(self.instructions),
            image=image,
            dram_bytes=self.dram_bytes if self.dram_bytes >= 0 else _aligned(end),
            regions=tuple(self.regions),
            layers=tuple(self.layers),
            layer_of=tuple(self.layer_of),
            shape_hash=arch.shape_hash,
            full_hash=arch.full_hash,
        )

    def _dram(self, tokens: list[Token]) -> list[Fault]:
        size = _integer(tokens[1].text) if len(tokens) == 2 else None
        if size is None or not 0 <= size <= MAX_DRAM_BYTES:
            return [Fault(tokens[0].column, f"expected .dram BYTES, 0 to {MAX_DRAM_BYTES}")]
        if self.dram_bytes >= 0:
            return [Fault(tokens[0].column, ".dram is given twice")]
        self.dram_bytes = size
        return []

    def _region(self, line: str) -> list[Fault]:
        code = line.partition("#")[0]
        start = len(code) - len(code.lstrip())
        match = _REGION.match(code.strip())
        if match is None:
            form = ".region NAME dtype [shape] = file.npy|zeros [role] [@ address]"
            return [Fault(start, "the region cannot be read", f"write {form}")]
        parts = match.groupdict()
        faults = list(self._region_faults(match, start))
        shape = _shape(parts["shape"])
        address = self.next_free if parts["address"] is None else _integer(parts["address"])
        if faults or shape is None or address is None:
            return faults
        role = parts["role"] or ("output" if parts["source"] == "zeros" else "constant")
        region = DramRegion(name=parts["name"], role=role, dtype=parts["dtype"], shape=shape, address=address)
        column = start + match.start("name")
        data = None
        if parts["source"] != "zeros":
            data, problem = _array(self.base_dir / parts["source"], region)
            if problem:
                faults.append(Fault(start + match.start("source"), f"{parts['source']} {problem}"))
            for other, content in zip(self.regions, self.contents):
                apart = address >= other.address + other.bytes or other.address >= address + region.bytes
                if content is not None and not apart:
                    faults.append(Fault(column, f"region {region.name} overlaps the data of region {other.name}"))
        self.regions.append(region)
        self.contents.append(data)
        self.symbols[region.name] = address
        self.next_free = max(self.next_free, _aligned(address + region.bytes))
        return faults

    def _region_faults(self, match: re.Match[str], start: int) -> Iterator[Fault]:
        parts = match.groupdict()
        if parts["name"] in self.symbols:
            yield Fault(start + match.start("name"), f"region {parts['name']} is declared twice")
        if parts["dtype"] not in DTYPES:
            yield Fault(
                start + match.start("dtype"), f"unknown dtype {parts['dtype']!r}", suggest(parts["dtype"], DTYPES)
            )
        if _shape(parts["shape"]) is None:
            yield Fault(start + match.start("shape"), f"[{parts['shape']}] is not a shape", "write [1, 28, 28, 1]")
        if parts["role"] is not None and parts["role"] not in ROLES:
            yield Fault(
                start + match.start("role"), f"unknown role {parts['role']!r}", suggest(parts["role"], ROLES)
            )
        if parts["address"] is not None and _integer(parts["address"]) is None:
            yield Fault(start + match.start("address"), f"{parts['address']!r} is not an address")


def _aligned(address: int) -> int:
    return -(-address // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _integer(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _shape(text: str) -> tuple[int, ...] | None:
    extents = [_integer(part.strip()) for part in text.split(",")] if text.strip() else []
    if any(extent is None or extent < 1 for extent in extents):
        return None
    return tuple(extent for extent in extents if extent is not None)


def _array(path: Path, region: DramRegion) -> tuple[NDArray[Any] | None, str]:
    """The content of a region's file, or what is wrong with it."""
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    except Exception:  # whatever numpy makes of foreign bytes is one finding for the user
        return None, "is not a .npy file of numbers"
    if not isinstance(array, np.ndarray):
        return None, "holds several arrays, expected one (.npy)"
    if array.shape != region.shape or array.dtype != np.dtype(region.dtype):
        return None, f"holds {array.dtype} {list(array.shape)}, expected {region.dtype} {list(region.shape)}"
    return array, ""
