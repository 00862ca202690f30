"""``accelsim plot``."""

from __future__ import annotations

from typing import Any

import click

from accelsim.cli.base import check_target, write_file
from accelsim.cli.given import load_report, load_result
from accelsim.cli.targets import check_apart, option
from accelsim.errors import ConfigError

KINDS = ("roofline", "utilization", "energy", "timeline", "occupancy", "tiling", "pareto")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; .svg, .png or .pdf.")
@click.option("--layer", metavar="NAME", help="The layer whose tiling to draw.")
@click.option("--cycles", metavar="FROM:TO", help="The stretch of a timeline to draw, all if not given.")
@click.option("--objective", "objectives", multiple=True, metavar="TOTAL", help="Axes of a Pareto front; give two.")
def plot(
    kind: str,
    results: tuple[str, ...],
    output: str,
    layer: str | None,
    cycles: str | None,
    objectives: tuple[str, ...],
) -> None:
    """Draw RESULT, a folder that `run --out` wrote; a roofline takes several, and a report (`run --json`) will do for
    roofline, utilization and energy. For pareto it is the store of a sweep.
    """
    _check_options(kind, results, layer, cycles, objectives)
    check_target(output, "-o")
    check_apart([(f"RESULT {path}", path) for path in results], [option("-o", output)])
    from accelsim.plots.style import check_format, save

    check_format(output)
    try:
        axes = _draw(kind, results, layer, cycles, objectives)
    except ValueError as error:
        raise ConfigError(f"{kind} of {results[0]}", "", str(error)) from None
    write_file(output, lambda path: save(axes, path))


def _check_options(
    kind: str, results: tuple[str, ...], layer: str | None, cycles: str | None, objectives: tuple[str, ...]
) -> None:
    for name, value, fits in (
        ("--layer", layer, "tiling"), ("--cycles", cycles, "timeline"), ("--objective", objectives, "pareto")
    ):  # fmt: skip
        if value and kind != fits:
            raise click.UsageError(f"{name} goes with {fits}, not with {kind}.")
    if kind == "tiling" and layer is None:
        raise click.UsageError("tiling needs --layer NAME.")
    if len(results) > 1 and kind != "roofline":
        raise click.UsageError(f"{kind} draws one RESULT; only a roofline takes several.")
    if objectives and len(objectives) != 2:
        raise click.UsageError("a Pareto front has two axes: give --objective twice.")


def _draw(
    kind: str, results: tuple[str, ...], layer: str | None, cycles: str | None, objectives: tuple[str, ...]
) -> Any:
    from accelsim import plots

    if kind == "roofline":
        return plots.roofline([load_report(path) for path in results])
    if kind in ("utilization", "energy"):
        return getattr(plots, kind)(load_report(results[0]))
    if kind == "pareto":
        from accelsim.dse.result import SweepResult

        return SweepResult.load(results[0]).plot_pareto(None, objectives or None)
    result = load_result(results[0])
    if kind == "timeline":
        return result.timeline(None, *_range(cycles))
    if kind == "occupancy":
        return result.occupancy()
    return result.tiling(str(layer))


def _range(text: str | None) -> tuple[int, int | None]:
    """FROM:TO, either of which may be left out."""
    if text is None:
        return 0, None
    low, colon, high = text.replace("_", "").replace(",", "").partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (low, high)):
        raise click.UsageError(f"--cycles takes FROM:TO, for example 0:5000, not {text!r}.")
    return int(low or 0), int(high) if high else None
