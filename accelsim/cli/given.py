"""RESULT arguments: the folder of ``run --out``, or the file of ``run --json`` where a report is enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.cli.targets import Place
    from accelsim.result import Result

_HOW = "write one with `accelsim run WORKLOAD --out DIR`"


def load_report(path: str) -> dict[str, Any]:
    """The report of a result. Raises ConfigError."""
    from accelsim.report_reader import read_report
    from accelsim.result import REPORT

    _check_there(path)
    return read_report(Path(path) / REPORT if Path(path).is_dir() else Path(path))


def load_result(path: str) -> Result:
    """A whole result. Raises ConfigError."""
    from accelsim.result import Result

    _check_there(path)
    if not Path(path).is_dir():
        raise ConfigError(path, "", "needs the folder of a result, with its program", _HOW)
    return Result.load(path)


def result_places(argument: str, path: str) -> list[Place]:
    """What a result given as ``argument`` consists of, which may not be written over."""
    from accelsim.result import FILES

    return [(f"{argument} {path}", file) for file in (path, *(Path(path) / name for name in FILES))]


def _check_there(path: str) -> None:
    if not Path(path).exists():
        raise ConfigError(path, "", "there is no such result", _HOW)
