"""Files that a command would write over each other, or over what it reads: refused before any work."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.bundled import Kind

Place = tuple[str, str | Path | None]
"""An option or argument as typed, and the file it means; None or ``-`` if it means none."""


def check_apart(read: list[Place], written: list[Place]) -> None:
    """Refuse two places in ``written`` that are one file, or one that is also ``read``. Raises ConfigError.

    Paths are compared resolved; devices may be named twice.
    """
    seen = _files(read)
    for option, path in _files(written):
        for other, taken in seen:
            if path == taken or (path.exists() and taken.exists() and path.samefile(taken)):
                raise ConfigError(option, "", f"{path.name} would be written over: it is also meant by {other}")
        seen.append((option, path))


def _files(places: list[Place]) -> list[tuple[str, Path]]:
    found = [(option, Path(path).resolve()) for option, path in places if path is not None and str(path) != "-"]
    return [(option, path) for option, path in found if path.is_file() or not path.exists()]


def option(name: str, path: str | None) -> Place:
    """A file given as an option."""
    return f"{name} {path}", path


def sources(workload: str | None, arch: str, inputs: tuple[str, ...] = ()) -> list[Place]:
    """The files behind WORKLOAD, ``--arch`` and ``--input [NAME=]FILE``."""
    given: list[Place] = [(f"--input {text}", text.partition("=")[2] or text) for text in inputs]
    kinds: list[tuple[str, str | None, Kind]] = [("WORKLOAD", workload, "workloads"), ("--arch", arch, "configs")]
    for label, name, kind in kinds:
        if name is not None:
            given.append((f"{label} {name}", _resolved(name, kind)))
    return given


def inside(folder: str | None, names: list[str]) -> list[Place]:
    """The files that ``--out`` writes."""
    return [(f"--out {folder}", Path(folder) / name) for name in names] if folder is not None else []


def _resolved(name: str, kind: Kind) -> Path | None:
    from accelsim.bundled import resolve

    with suppress(ConfigError):  # whoever reads the file says what is wrong with its name
        return resolve(name, kind)
    return None
