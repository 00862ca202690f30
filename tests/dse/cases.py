"""Sweeps for tests, and workers that misbehave. Functions here are found by name in worker processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from accelsim.dse.task import OK, Outcome, Task, perform

LENET: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "workloads": ["lenet"],
    "arch": "tiny",
    "axes": {"array.rows": [4, 8], "dram.bytes_per_cycle": [2, 4, 8]},
    "objectives": ["cycles", "energy_pj"],
}
"""Six quick points."""

CRASHES = "ACCELSIM_TEST_CRASHES"
"""Names a folder; see :func:`crashing`."""


def cheap(task: Task) -> Outcome:
    """No simulation: numbers made up from the machine."""
    rows, rate = task.arch.array.rows, task.arch.dram.bytes_per_cycle
    totals = {"cycles": int(1000 // rows + 100 // rate), "energy_pj": float(rows * rate), "utilization": 0.5}
    return Outcome(key=task.key, status=OK, totals=totals, layers=[])


def crashing(task: Task) -> Outcome:
    """Like :func:`cheap`, but with 8 rows it dies of kill -9: always, or only once if the folder has a file ``once``.

    Every attempt leaves a file in the folder.
    """
    folder = Path(os.environ[CRASHES])
    before = len(list(folder.glob(f"{task.key}-*")))
    (folder / f"{task.key}-{before}").touch()
    if task.arch.array.rows == 8 and not (before and (folder / "once").exists()):
        os.kill(os.getpid(), signal.SIGKILL)
    return cheap(task)


def slow(task: Task) -> Outcome:
    """The real thing, one at a time visible: leaves a file when it is done."""
    outcome = perform(task)
    (Path(os.environ[CRASHES]) / task.key).touch()
    return outcome
