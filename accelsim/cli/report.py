"""``accelsim report``, and ``--html`` of ``run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from accelsim.cli.base import check_target, progress, write_file
from accelsim.cli.given import load_result, result_places
from accelsim.cli.targets import check_apart, option
from accelsim.errors import ConfigError

_F = TypeVar("_F", bound=Callable[..., Any])


def html_option(command: _F) -> _F:
    """``--html``; use :func:`check_html` on what it gives."""
    return click.option(
        "--html", "html_file", metavar="FILE", help="Write a page with tables, plots and an interactive timeline."
    )(command)


def check_html(path: str | None, level: str) -> None:
    """Refuse ``--html`` where no time is simulated or no file can be written."""
    if path is None:
        return
    if path == "-":
        raise click.UsageError("--html writes a file; give it a name.")
    if level == "functional":
        raise click.UsageError("--html shows the time that --level functional leaves out; choose one.")
    check_target(path, "--html")


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option("-o", "--output", required=True, metavar="FILE.html", help="Where to.")
def report(results: tuple[str, ...], output: str) -> None:
    """Show RESULT, a folder that `run --out` wrote, as one page that opens offline; several are compared.

    The page has a summary, tables that can be sorted, plots, and a timeline that zooms to single instructions.
    """
    if output == "-":
        raise click.UsageError("-o writes a file; give it a name.")
    check_target(output, "-o")
    check_apart([place for path in results for place in result_places("RESULT", path)], [option("-o", output)])
    from accelsim.page import Run, save_page

    with progress("reading ..."):
        runs = [_run(path, Run) for path in results]
    with progress("drawing ..."):
        write_file(output, lambda file: save_page(runs, file))


def _run(path: str, make: Callable[..., Any]) -> Any:
    result = load_result(path)
    if result.report["totals"]["cycles"] is None:
        raise ConfigError(path, "", "no time was simulated, so there is nothing to show", "use level cycle")
    name = Path(path).resolve().name
    return make(report=result.report, program=result.program, trace=result.timed, arch=result.arch, source=name)
