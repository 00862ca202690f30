"""Finds machine and workload files: a path first, then a bundled name, from any directory.

An installed wheel carries the files inside the package (``accelsim/_bundled``), a checkout beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from accelsim.errors import ConfigError
from accelsim.spelling import closest

Kind: TypeAlias = Literal["configs", "workloads", "energy", "sweeps"]

SUFFIX = ".yaml"
_WORD = {"configs": "machine", "workloads": "workload", "energy": "energy table", "sweeps": "sweep"}
_PACKAGE = Path(__file__).resolve().parent


def folder(kind: Kind) -> Path:
    """The directory of the bundled files of one kind."""
    if kind == "energy":
        return folder("configs") / kind
    packed = _PACKAGE / "_bundled" / kind
    # A checkout is told by its pyproject.toml: another "configs" beside an installed package is not ours.
    if not packed.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return _PACKAGE.parent / kind
    return packed


def available(kind: Kind) -> dict[str, Path]:
    """Bundled files by name, in alphabetical order."""
    return {path.stem: path for path in sorted(folder(kind).glob(f"*{SUFFIX}"))}


def models() -> dict[str, Path]:
    """Bundled ONNX models by name, suffix included: a workload file may have the same name without."""
    return {path.name: path for path in sorted(folder("workloads").glob("*.onnx"))}


def presets() -> dict[str, Path]:
    """Bundled DRAM devices by name, for ``dram.preset``."""
    return {path.stem: path for path in sorted((folder("configs") / "dram").glob(f"*{SUFFIX}"))}


def resolve(name_or_path: str | Path, kind: Kind, *, beside: Path | None = None) -> Path:
    """The file meant: an existing path, with or without ``.yaml``, else a bundled name.

    ``beside`` is a file that mentions the name: relative paths start at its folder and never mean that file
    itself, so a file ``edge.yaml`` may extend the bundled ``edge``. Raises :class:`ConfigError`.
    """
    name = str(name_or_path)
    start = beside.parent if beside else Path()
    path = start / Path(name)
    if not name.strip():
        raise ConfigError(repr(name), "", f"an empty {_WORD[kind]} name", "`accelsim list` shows the bundled ones")
    for candidate in (path, path.with_name(path.name + SUFFIX) if path.name else path):
        if candidate.is_file() and not (beside and candidate.resolve() == beside.resolve()):
            return candidate
    bundled = available(kind)
    stem = name.removesuffix(SUFFIX)
    if kind == "workloads" and name in models():
        return models()[name]
    if stem in bundled:
        return bundled[stem]
    raise _missing(name, stem, path, kind, bundled)


def _missing(name: str, stem: str, path: Path, kind: Kind, bundled: dict[str, Path]) -> ConfigError:
    word = _WORD[kind]
    if path.is_dir():
        problem = f"this is a directory, not a {word} file"
    else:
        problem = f"no such {word}: neither a file {str(path)!r} nor a bundled name"
    best = closest(Path(stem).stem, bundled)
    hint = (f"did you mean {best!r}? " if best else "") + "`accelsim list` shows the bundled ones"
    return ConfigError(name, "", problem, hint)
