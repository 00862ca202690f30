"""A program: instructions, the DRAM image they start from, named regions, and where each instruction came from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ConfigError, ProgramError
from accelsim.isa.encoding import decode_all, encode_all
from accelsim.isa.fields import WORD_BYTES
from accelsim.isa.instructions import Instr
from accelsim.isa.protocol import Task

FORMAT = "accelsim-program"
VERSION = 1
DTYPES = ("int8", "uint8", "int32", "float32")
ROLES = ("input", "output", "constant", "scratch")


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
    """What ``compile`` makes and ``exec`` runs. Immutable; two programs are the same when :func:`program_hash` says so.

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
    worked: tuple[Arch, tuple[Task, ...]] | None = field(default=None, init=False, repr=False)
    """The tasks of the instructions on a machine, where the compiler has worked them out already."""

    def with_tasks(self, arch: Arch, tasks: tuple[Task, ...]) -> Program:
        """This program, which remembers its tasks on a machine; copies with other contents do not."""
        object.__setattr__(self, "worked", (arch, tasks))
        return self

    def origin(self, index: int) -> str:
        """``layer tile`` of an instruction, as far as known; empty otherwise."""
        layer = self.layer_of[index] if index < len(self.layer_of) else -1
        name = self.layers[layer] if 0 <= layer < len(self.layers) else ""
        tile = self.tile_of[index] if index < len(self.tile_of) else ""
        return f"{name} {tile}".strip()


def constant_ranges(program: Program) -> list[tuple[int, int]]:
    """The bytes of the image that no program may write: all but the regions declared as something else."""
    ranges = [(0, program.image.size)]
    for region in program.regions:
        if region.role == "constant":
            continue
        start, stop = region.address, region.address + region.bytes
        ranges = [
            piece
            for low, high in ranges
            for piece in ((low, min(high, start)), (max(low, stop), high))
            if piece[0] < piece[1]
        ]
    return ranges


def program_hash(program: Program) -> str:
    """A short hash of what the program is: words, image, regions, layers, probes, meta; not of file bytes.

    ``full_hash`` is left out: it says which machine's timing the program was made for, not what it does.
    """
    text = _plain(program)
    del text["full_hash"]
    digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode())
    digest.update(encode_all(program.instructions).data)
    digest.update(np.ascontiguousarray(program.image).data)
    return digest.hexdigest()[:16]


def save_program(program: Program, path: str | Path) -> None:
    """Write a program file (.npz without pickle). Raises EncodingError, or ConfigError when it cannot be written.

    The image is stored as it is: weights hardly get smaller, and unpacking them would take longer than simulating.
    """
    try:
        with Path(path).open("wb") as file:
            write_program(program, file)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be written: {error.strerror}") from None


def write_program(program: Program, file: IO[bytes]) -> None:
    """:func:`save_program` into an open file. Raises EncodingError or OSError."""
    text = {"format": FORMAT, "version": VERSION, **_plain(program)}
    arrays = {
        "words": encode_all(program.instructions),
        "image": program.image,
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_STORED if name == "image" else zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load_program(path: str | Path) -> Program:
    """Read a program file. Raises ConfigError for one that is missing, truncated, foreign or inconsistent."""
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            return read_program(file, where)
    except OSError as error:
        raise ConfigError(where, "", f"cannot be read: {error.strerror}") from None


def read_program(file: IO[bytes], where: str) -> Program:
    """:func:`load_program` from an open file; ``where`` names it in errors. Raises ConfigError."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            words, image, text = arrays["words"], arrays["image"], arrays["text"]
        return _program(words, image, json.loads(text.tobytes()))
    except ProgramError as error:
        raise ConfigError(where, f"instruction {error.index}", f"{error.problem}: {error.text}") from None
    except _Foreign as error:
        raise ConfigError(where, error.key, error.problem) from None
    except Exception:  # whatever zipfile, zlib, numpy or json make of foreign bytes is one finding for the user
        raise ConfigError(
            where, "", "is not a complete accelsim program file", "programs are written by `accelsim compile`"
        ) from None


class _Foreign(Exception):
    """A program file that can be read and says something impossible."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key, self.problem = key, problem


def _plain(program: Program) -> dict[str, Any]:
    """Everything but words and image as JSON data."""
    return {
        "dram_bytes": program.dram_bytes,
        "regions": [_values(region) for region in program.regions],
        "layers": list(program.layers),
        "layer_of": list(program.layer_of),
        "tile_of": list(program.tile_of),
        "probes": [_values(probe) for probe in program.probes],
        "shape_hash": program.shape_hash,
        "full_hash": program.full_hash,
        "meta": program.meta,
    }


def _values(item: DramRegion | Probe) -> dict[str, Any]:
    return {name: getattr(item, name) for name, _, _ in _FIELDS[type(item)]}


_T = TypeVar("_T", DramRegion, Probe)
_TYPES = {
    "int": (int,), "str": (str,), "tuple[int, ...]": (tuple,), "float | None": (float, type(None)),
    "int | None": (int, type(None)),
}  # fmt: skip
_FIELDS = {
    cls: tuple((spec.name, _TYPES[str(spec.type)], str(spec.type)) for spec in dataclasses.fields(cls))
    for cls in (DramRegion, Probe)
}
"""Name, allowed types and their text of every field."""


def _typed(cls: type[_T], item: dict[str, Any]) -> _T:
    """A DramRegion or Probe from JSON data whose values have the declared types."""
    for name, types, text in _FIELDS[cls]:
        if name in item and not isinstance(item[name], types):
            raise _Foreign(f"{cls.__name__}.{name}", f"is {item[name]!r}, expected {text}")
    value = cls(**item)
    if isinstance(value, DramRegion):
        if value.dtype not in DTYPES:
            raise _Foreign("DramRegion.dtype", f"is {value.dtype!r}, expected one of {', '.join(DTYPES)}")
        if not all(isinstance(extent, int) and extent >= 0 for extent in value.shape):
            raise _Foreign("DramRegion.shape", f"is {list(value.shape)}")
    return value


def _program(words: NDArray[Any], image: NDArray[Any], text: dict[str, Any]) -> Program:
    if text["format"] != FORMAT:
        raise _Foreign("format", f"is {text['format']!r}, expected {FORMAT!r}")
    if text["version"] != VERSION:
        raise _Foreign("version", f"is {text['version']!r}, this accelsim reads version {VERSION}")
    if words.dtype != np.uint8 or words.ndim != 2 or words.shape[1] != WORD_BYTES:
        raise _Foreign("words", f"are {words.dtype} {list(words.shape)}, expected uint8 [n, {WORD_BYTES}]")
    if image.dtype != np.uint8 or image.ndim != 1 or image.size > int(text["dram_bytes"]):
        raise _Foreign("image", f"is {image.dtype} {list(image.shape)} in {text['dram_bytes']} bytes of DRAM")
    for key in ("layer_of", "tile_of"):
        if len(text[key]) not in (0, len(words)):
            raise _Foreign(key, f"has {len(text[key])} entries for {len(words)} instructions")
    return Program(
        instructions=decode_all(words),
        image=image,
        dram_bytes=int(text["dram_bytes"]),
        regions=tuple(_typed(DramRegion, {**item, "shape": tuple(item["shape"])}) for item in text["regions"]),
        layers=tuple(text["layers"]),
        layer_of=tuple(text["layer_of"]),
        tile_of=tuple(text["tile_of"]),
        probes=tuple(_typed(Probe, item) for item in text["probes"]),
        shape_hash=text["shape_hash"],
        full_hash=text["full_hash"],
        meta=text["meta"],
    )
