"""``accelsim sweep``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from accelsim.cli.base import check_target, write_text
from accelsim.cli.results import print_summary
from accelsim.cli.targets import check_apart, option

if TYPE_CHECKING:
    from accelsim.dse.explore import State

_MISMATCH = 1
_BAR = 30
_REDRAW_S = 0.1
_LINE_S = 10.0  # between two lines where no terminal is


@click.command()
@click.argument("file", metavar="FILE|NAME")
@click.option("-j", "workers", type=click.IntRange(min=1), metavar="N", help="Processes; default: one for each core.")
@click.option("--store", metavar="PATH", help="Where results are kept; FILE with .sqlite if not given.")
@click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed cluster, e.g. tcp://host:8786.")
@click.option("--retry-failed", is_flag=True, help="Try points that failed in an earlier run once more.")
@click.option("--resume/--restart", default=True, help="Use what the store holds (default), or start it anew.")
@click.option("--no-cache", "cache", flag_value=False, default=True, help="Neither use nor keep plans of other runs.")
@click.option("--json", "json_file", metavar="FILE", help="Write all points as JSON; - prints nothing else.")
def sweep(
    file: str,
    workers: int | None,
    store: str | None,
    scheduler: str | None,
    retry_failed: bool,
    resume: bool,
    cache: bool,
    json_file: str | None,
) -> None:
    """Explore the points of a sweep file; what was interrupted goes on where it was."""
    check_target(json_file, "--json")
    check_target(store, "--store")
    if scheduler is not None and workers is not None:
        raise click.UsageError("-j counts processes on this computer; with --scheduler the cluster says how many.")
    target = _target(file, store, json_file)
    from accelsim.dse.explore import sweep as explore
    from accelsim.dse.store import remove

    if not resume:
        remove(target)
    progress = Progress()
    try:
        result = explore(
            file, workers=workers, store=target, scheduler=scheduler, cache=cache, retry_failed=retry_failed,
            listener=progress.show,
        )  # fmt: skip
    except KeyboardInterrupt:
        progress.end()
        click.echo(f"{target} holds what was finished; the same command goes on from there", err=True)
        raise
    progress.end()
    if json_file is not None:
        write_text(json_file, result.to_json())
    if json_file != "-":
        print_summary(result, target)
    if any(row["bit_exact"] is False for row in result.rows):
        click.echo("bit-exact: FAIL at points whose bit_exact is false", err=True)
        click.get_current_context().exit(_MISMATCH)


def _target(file: str, store: str | None, json_file: str | None) -> str:
    """The store of a sweep; refuses to write over the sweep's file, and those of its networks and machine."""
    check_apart([("FILE", file)], [option("--json", json_file), option("--store", store)])
    from accelsim.dse.explore import default_store
    from accelsim.dse.load import load_sweep

    plan = load_sweep(file)
    target = store or default_store(plan)
    files = [(f"workloads: {workload.name}", path) for workload in plan.workloads for path in workload.files]
    check_apart([*files, ("arch", plan.arch_path)], [option("--json", json_file), option("--store", target)])
    return target


class Progress:
    """How far a sweep is: a bar on a terminal, else a line now and then, always on stderr."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._begin = time.monotonic()
        self._shown = 0.0
        self._width = 0

    def show(self, state: State) -> None:
        """Called after every point."""
        now = time.monotonic()
        if now - self._shown < (_REDRAW_S if self._watched else _LINE_S) and state.done < state.total:
            return
        text = self._text(state, now - self._begin)
        self._shown = now
        if self._watched:
            click.echo("\r" + text.ljust(self._width), err=True, nl=False)
            self._width = len(text)
        else:
            click.echo(text, err=True)

    def end(self) -> None:
        """Make room for what comes next."""
        if self._watched and self._width:
            click.echo("\r" + " " * self._width + "\r", err=True, nl=False)

    def _text(self, state: State, seconds: float) -> str:
        rate = state.computed / seconds if seconds > 0 else 0.0
        parts = [f"{state.done:,}/{state.total:,} points", f"{rate:.2f}/s"]
        if rate and state.done < state.total:
            left = round((state.total - state.done) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
        parts += [f"{count:,} {word}" for word in ("infeasible", "failed") if (count := getattr(state, word))]
        text = ", ".join(parts)
        if not self._watched:
            return text
        full = _BAR * state.done // max(1, state.total)
        return f"[{'#' * full}{'.' * (_BAR - full)}] {text}"
