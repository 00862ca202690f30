"""What earlier runs found out, kept in files: plans of the compiler, and programs for their time alone.

An entry is found by a key that covers everything it depends on, accelsim's own code included. It is written whole or
not at all, carries a digest of itself, and is ignored when that does not fit: a cache may be lost at any moment.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

VARIABLE = "ACCELSIM_CACHE"
SUFFIX = ".entry"
LIMIT_BYTES = 512 << 20
"""Beyond this the oldest entries are removed, down to half of it."""

PRUNE_EVERY = 64  # entries written between two looks at the size


def directory() -> Path:
    """``$ACCELSIM_CACHE``, else ``accelsim`` in the user's cache directory."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "accelsim"


@cache
def code_digest() -> str:
    """A hash of accelsim's own source: any change of it makes every entry a stranger."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(kind: str, parts: Iterable[str]) -> str:
    """The name of an entry of one kind."""
    digest = hashlib.sha256(code_digest().encode())
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return f"{kind}-{digest.hexdigest()[:40]}"


class Cache:
    """Entries in a directory. Nothing here raises: what cannot be read is not there, what cannot be written is lost."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else directory()
        self._written = 0

    def read(self, key: str) -> bytes | None:
        """The content of an entry, or None when it is missing or damaged."""
        try:
            data = (self.folder / (key + SUFFIX)).read_bytes()
        except OSError:
            return None
        digest, content = data[:32], data[32:]
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, key: str, content: bytes) -> None:
        """Store an entry, replacing one of the same name in a single step."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(content).digest())
                    file.write(content)
                os.replace(name, self.folder / (key + SUFFIX))
            except OSError:
                with suppress(OSError):
                    os.unlink(name)
                raise
            if self._written % PRUNE_EVERY == 0:
                self._prune()
            self._written += 1

    def clear(self) -> tuple[int, int]:
        """Remove all entries; returns how many there were and their bytes. Other files are left alone."""
        count = size = 0
        for path, length in self._entries():
            with suppress(OSError):
                path.unlink()
                count, size = count + 1, size + length
        with suppress(OSError):
            self.folder.rmdir()
        return count, size

    def _entries(self) -> list[tuple[Path, int]]:
        """Entries and what interrupted writes have left behind, oldest first."""
        found: list[tuple[float, Path, int]] = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                if path.suffix == SUFFIX or path.name.startswith(".new-"):
                    with suppress(OSError):
                        status = path.stat()
                        found.append((status.st_mtime, path, status.st_size))
        return [(path, size) for _, path, size in sorted(found)]

    def _prune(self) -> None:
        entries = self._entries()
        total = sum(size for _, size in entries)
        if total <= LIMIT_BYTES:
            return
        for path, size in entries:
            if total <= LIMIT_BYTES // 2:
                return
            with suppress(OSError):
                path.unlink()
            total -= size
