"""The store of a sweep: one SQLite file, which only the parent process writes.

``points`` holds what was simulated, by the content of what was simulated, so that any sweep may use it again;
``members`` says which points a sweep consists of, and what its own constraints say of them. Every commit is on the
disk when it returns (WAL, ``synchronous=FULL``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.dse.task import FAILED, OK, Outcome
from accelsim.errors import ConfigError

VERSION = 1
APPLICATION = 0x61636373  # "accs": what `file` and we tell our stores by
_WAIT_S = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS sweeps (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, description TEXT NOT NULL, opened INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS points (
    key TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT NOT NULL, workload TEXT NOT NULL, digest TEXT NOT NULL,
    batch INTEGER NOT NULL, objective TEXT NOT NULL, arch TEXT NOT NULL, arch_hash TEXT NOT NULL, program_hash TEXT,
    bit_exact INTEGER, totals TEXT, layers TEXT, versions TEXT NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    sweep TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, workload TEXT NOT NULL, batch INTEGER NOT NULL,
    objective TEXT NOT NULL, settings TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, known TEXT NOT NULL,
    PRIMARY KEY (sweep, number)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A point's place in a sweep; ``known`` are the measures known without running it."""

    number: int
    key: str
    workload: str
    batch: int
    objective: str
    settings: dict[str, Any]
    status: str
    reason: str
    known: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a simulated point was made from."""

    workload: str
    digest: str
    batch: int
    objective: str
    arch: dict[str, Any]
    arch_hash: str
    versions: dict[str, Any]


class Store:
    """An open store. Raises ConfigError, which names the file, when it cannot be read or written."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        """Open or make a store; ``:memory:`` is one that is forgotten."""
        self.path = str(path)
        if not create and not Path(path).is_file():
            raise ConfigError(self.path, "", "no such store", "`accelsim sweep FILE` makes one")
        with self._told("opened"):
            self._db = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            try:
                self._open(create)
            except BaseException:
                self._db.close()
                raise

    def _open(self, create: bool) -> None:
        db = self._db
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        pragmas = ("application_id", "user_version")
        application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
        if tables and application != APPLICATION:
            raise ConfigError(self.path, "", "this is a database, but no store of a sweep")
        if tables and version != VERSION:
            raise ConfigError(self.path, "", f"the store has layout {version}, this accelsim reads {VERSION}")
        if not create:
            return
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if not tables:
            frame = f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION};"
            db.executescript(f"BEGIN; {frame} {_TABLES} COMMIT;")

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with suppress(sqlite3.Error):
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            hint = "what was committed is safe; run the same sweep again to go on" if what == "written" else ""
            raise ConfigError(self.path, "", f"the store cannot be {what}: {error}", hint) from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._told("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    def begin(self, digest: str, name: str, text: str, description: Mapping[str, Any]) -> None:
        """Make a sweep the one that :meth:`latest` names."""
        with self._writing() as db:
            (last,) = db.execute("SELECT coalesce(max(opened), 0) FROM sweeps").fetchone()
            db.execute(
                "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?, ?, ?)",
                (digest, name, text, json.dumps(description), last + 1),
            )

    def latest(self) -> tuple[str, dict[str, Any]]:
        """Digest and description of the sweep that was run last. Raises ConfigError for an empty store."""
        with self._told("read"):
            row = self._db.execute(
                "SELECT digest, name, description FROM sweeps ORDER BY opened DESC LIMIT 1"
            ).fetchone()
        if row is None:
            raise ConfigError(self.path, "", "the store is empty")
        return row[0], {"name": row[1], **json.loads(row[2])}

    def outcome(self, key: str) -> Outcome | None:
        """What is known of a point."""
        with self._told("read"):
            row = self._db.execute(
                "SELECT status, reason, totals, layers, bit_exact, program_hash, seconds FROM points WHERE key = ?",
                (key,),
            ).fetchone()
        return None if row is None else _outcome(key, *row)

    def put(self, members: Iterable[Member], sweep: str, outcome: Outcome | None, origin: Origin | None) -> None:
        """Commit members of a sweep and, in the same transaction, what was simulated for them."""
        with self._writing() as db:
            if outcome is not None and origin is not None:
                db.execute(f"INSERT OR REPLACE INTO points VALUES ({', '.join('?' * 15)})", _point(outcome, origin))
            db.executemany(
                f"INSERT OR REPLACE INTO members VALUES ({', '.join('?' * 10)})",
                [
                    (sweep, m.number, m.key, m.workload, m.batch, m.objective, json.dumps(m.settings), m.status,
                     m.reason, json.dumps(m.known))
                    for m in members
                ],
            )  # fmt: skip

    def members(self, sweep: str) -> list[tuple[Member, Outcome | None]]:
        """The points of a sweep by number, with what was simulated."""
        with self._told("read"):
            rows = self._db.execute(
                "SELECT number, m.key, m.workload, m.batch, m.objective, settings, m.status, m.reason, known,"
                " p.status, p.reason, totals, layers, bit_exact, program_hash, seconds"
                " FROM members m LEFT JOIN points p ON p.key = m.key WHERE sweep = ? ORDER BY number",
                (sweep,),
            ).fetchall()
        found = []
        for number, key, workload, batch, objective, settings, status, reason, known, *rest in rows:
            member = Member(
                number=number, key=key, workload=workload, batch=batch, objective=objective,
                settings=json.loads(settings), status=status, reason=reason, known=json.loads(known),
            )  # fmt: skip
            found.append((member, _outcome(key, *rest) if rest[0] is not None else None))
        return found

    def machine(self, key: str) -> dict[str, Any]:
        """The effective machine of a simulated point, in the layout of a machine file."""
        with self._told("read"):
            return json.loads(self._db.execute("SELECT arch FROM points WHERE key = ?", (key,)).fetchone()[0])


def _point(outcome: Outcome, origin: Origin) -> tuple[Any, ...]:
    return (
        outcome.key, outcome.status, outcome.reason, origin.workload, origin.digest, origin.batch, origin.objective,
        json.dumps(origin.arch), origin.arch_hash, outcome.program_hash, outcome.bit_exact,
        None if outcome.totals is None else json.dumps(outcome.totals),
        None if outcome.layers is None else json.dumps(outcome.layers),
        json.dumps(origin.versions), outcome.seconds,
    )  # fmt: skip


def _outcome(
    key: str, status: str, reason: str, totals: str | None, layers: str | None, exact: int | None,
    program_hash: str | None, seconds: float,
) -> Outcome:  # fmt: skip
    return Outcome(
        key=key, status=status, reason=reason, totals=json.loads(totals) if totals else None,
        layers=json.loads(layers) if layers else None, bit_exact=None if exact is None else bool(exact),
        program_hash=program_hash, seconds=seconds,
    )  # fmt: skip


def settled(outcome: Outcome | None, *, verify: bool, retry_failed: bool) -> bool:
    """Whether a point need not be run (again)."""
    if outcome is None or (retry_failed and outcome.status == FAILED):
        return False
    return outcome.status != OK or not verify or outcome.bit_exact is not None


def remove(path: str | Path) -> None:
    """Remove a store with its journal. Raises ConfigError for a file that is none."""
    if not Path(path).exists():
        return
    Store(path, create=False).close()
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{end}").unlink()
