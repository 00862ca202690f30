"""kill -9 of the parent, and a real limit on file sizes: the store stays whole, and a second run completes it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import accelsim
from accelsim.dse.result import SweepResult
from accelsim.yamlio import dump_yaml
from tests.dse.cases import LENET
from tests.dse.test_run import alive, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
]
PLAN = {**LENET, "axes": {"array.rows": [4, 6, 8], "dram.bytes_per_cycle": [2, 4, 8]}}
COUNT = 9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(PLAN), encoding="utf-8")
    return path


def command(file: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "accelsim", "sweep", str(file), "-j", "2", "--no-cache", *options]


def committed(store: Path) -> int:
    if not store.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM points").fetchone()[0]
    except sqlite3.Error:
        return 0


def children(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return found


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[str, Any]]:
    """The rows of a sweep to which nothing happens."""
    return accelsim.sweep(PLAN, workers=2).rows


def complete(file: Path, store: Path, undisturbed: list[dict[str, Any]]) -> SweepResult:
    """Run again: the outcome is that of an undisturbed sweep."""
    done = subprocess.run(command(file), capture_output=True, text=True, check=True)
    assert f"{COUNT} points, {COUNT} ok" in done.stdout
    result = SweepResult.load(store)
    assert [{**row, "key": ""} for row in result.rows] == [{**row, "key": ""} for row in undisturbed]
    assert committed(store) == COUNT
    return result


def test_the_parent_is_killed(file: Path, undisturbed) -> None:
    store = file.with_suffix(".sqlite")
    process = subprocess.Popen(command(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: committed(store) >= 2)
    below = children(process.pid)
    assert below
    process.send_signal(signal.SIGKILL)
    process.wait()
    known = committed(store)
    assert 2 <= known < COUNT
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = {row["key"]: row for row in SweepResult.load(store).rows}
    wait_until(lambda: not any(alive(pid) for pid in below))  # no process is left behind
    result = complete(file, store, undisturbed)
    assert all(before[row["key"]] == row for row in result.rows if row["key"] in before)


def test_a_worker_is_killed(file: Path, undisturbed) -> None:
    store = file.with_suffix(".sqlite")
    process = subprocess.Popen(command(file, "--json", "-"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_until(lambda: committed(store) >= 1)
    workers = [pid for pid in children(process.pid) if not children(pid) and _works(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(output)["counts"] == {"ok": COUNT, "infeasible": 0, "failed": 0}
    complete(file, store, undisturbed)


def _works(pid: int) -> bool:
    """Not the tracker of shared resources."""
    try:
        return "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_limit_on_file_sizes(file: Path, undisturbed) -> None:
    store = file.with_suffix(".sqlite")
    limited = f"ulimit -f 160 && exec {' '.join(command(file))}"  # in units of 512 or 1024 bytes
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{store}: the store cannot be written: " in done.stderr
    assert "what was committed is safe; run the same sweep again to go on" in done.stderr
    assert "Traceback" not in done.stderr
    known = committed(store)
    assert 0 <= known < COUNT
    complete(file, store, undisturbed)
