"""What a child process cost: CPU seconds of its own and peak memory. Shared by the benchmarks of this folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

# One core: threads of a matrix library would be counted as CPU seconds and would not help narrow products.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
MIB = 1 << 20
UNIT = 1024 if platform.system() == "Linux" else 1  # of ru_maxrss, bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """One run of a command. ``cpu_s`` is user time: what the system adds depends on the computer, not on the work."""

    cpu_s: float
    system_s: float
    peak_bytes: int
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> Usage:
    """Run a command (in a folder) and wait for it. Raises RuntimeError, with what it said, when it fails."""
    with subprocess.Popen(
        list(command), env=dict(environment), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {process.returncode}:\n{output}")
    return Usage(usage.ru_utime, usage.ru_stime, usage.ru_maxrss * UNIT, output)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment for a child: one thread, caches of Python and accelsim in ``folder``."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        **ONE_THREAD,
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "ACCELSIM_CACHE": str(folder / "plans"),
    }


def summary(runs: Sequence[Usage]) -> dict[str, float]:
    """Median and least CPU seconds, and the largest peak, of several runs of one command."""
    return {
        "cpu_s": median(run.cpu_s for run in runs),
        "least_cpu_s": min(run.cpu_s for run in runs),
        "system_s": median(run.system_s for run in runs),
        "peak_bytes": max(run.peak_bytes for run in runs),
    }


def computer() -> dict[str, Any]:
    """What the figures were measured on, as far as it can be told."""
    return {"python": platform.python_version(), "machine": platform.machine(), "processors": os.cpu_count()}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths)) for line in lines)
    ]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def write_json(path: str | None, data: Mapping[str, Any]) -> None:
    """Write the figures, if a file is named; ``-`` is the standard output."""
    if path is None:
        return
    text = json.dumps(data, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")
