"""``accelsim results``, and what a sweep prints at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.base import check_target, write_text
from accelsim.cli.targets import check_apart, option

if TYPE_CHECKING:
    from accelsim.dse.result import SweepResult

_SHOWN = 20
_REASONS = 5


@click.command()
@click.argument("store")
@click.option("--pareto", is_flag=True, help="Only points that no other one beats.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the best N by the first objective.")
@click.option("--objective", "objectives", multiple=True, metavar="TOTAL", help="Compare by this instead; repeatable.")
@click.option("--sensitivity", is_flag=True, help="Show what each axis does to each objective.")
@click.option("--failures", is_flag=True, help="Show points that are infeasible or failed, with their reasons.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the points as CSV; - prints nothing else.")
@click.option("--json", "json_file", metavar="FILE", help="Write the points as JSON; - prints nothing else.")
def results(
    store: str,
    pareto: bool,
    top: int | None,
    objectives: tuple[str, ...],
    sensitivity: bool,
    failures: bool,
    csv_file: str | None,
    json_file: str | None,
) -> None:
    """Show the sweep that was last run into STORE."""
    if pareto and top is not None:
        raise click.UsageError("--pareto and --top choose points in different ways; choose one.")
    if sensitivity and failures:
        raise click.UsageError("--sensitivity and --failures show different things; choose one.")
    if csv_file == json_file == "-":
        raise click.UsageError("--csv - and --json - both print to stdout; give one of them a name.")
    check_target(csv_file, "--csv")
    check_target(json_file, "--json")
    check_apart([("STORE", store)], [option("--csv", csv_file), option("--json", json_file)])
    from accelsim.dse.result import SweepResult

    result = SweepResult.load(store)
    rows = _chosen(result, pareto, top, objectives)
    if csv_file is not None:
        write_text(csv_file, result.to_csv(rows))
    if json_file is not None:
        write_text(json_file, result.to_json(rows))
    if "-" in (csv_file, json_file):
        return
    if sensitivity:
        print_sensitivity(result, objectives)
    elif failures:
        print_failures(result)
    elif rows is not None:
        print_rows(result, rows, objectives)
    elif csv_file is None and json_file is None:
        print_summary(result, store, objectives)


def _chosen(
    result: SweepResult, pareto: bool, top: int | None, objectives: Sequence[str]
) -> list[dict[str, Any]] | None:
    """The points that --pareto or --top choose, if one is given."""
    if pareto:
        return result.pareto(objectives or None)
    return None if top is None else result.top(top, objectives[0] if objectives else None)


def print_summary(result: SweepResult, store: str, objectives: Sequence[str] = ()) -> None:
    """How many points there are, and the front."""
    front = result.pareto(objectives or None)
    counts = ", ".join(f"{result.count(status):,} {status}" for status in ("ok", "infeasible", "failed"))
    click.echo(f"{result.name}: {len(result.rows):,} points, {counts}; {store}")
    if front:
        by = " and ".join(objectives or (f"{objective.word} {objective.name}" for objective in result.objectives))
        click.echo(f"best by {by}: {len(front):,} points no other one beats")
        print_rows(result, front[:_SHOWN], objectives)
        if len(front) > _SHOWN:
            click.echo(f"{len(front) - _SHOWN:,} more: accelsim results {store} --pareto")
    wrong = [row for row in result.rows if row["status"] == "failed"]
    for row in wrong[:_REASONS]:
        click.echo(f"failed: point {row['number']}: {row['reason']}")


def print_rows(result: SweepResult, rows: Sequence[dict[str, Any]], objectives: Sequence[str]) -> None:
    """A table of points: their axes, and what they are compared by."""
    from accelsim.cli.tables import print_table

    several = len({row["workload"] for row in result.rows}) > 1
    keys = dict.fromkeys(("number", *(["workload"] if several else []), *result.keys))
    names = dict.fromkeys(text.split()[-1] for text in objectives or [o.name for o in result.objectives])
    header = [*keys, *(name for name in names if name not in keys)]
    print_table(header, [[_text(row.get(name)) for name in header] for row in rows], left=("workload",))


def print_sensitivity(result: SweepResult, objectives: Sequence[str]) -> None:
    """A table of axes: what they explain, and how far they move an objective."""
    from accelsim.cli.tables import print_table

    found = result.sensitivity(objectives or None)
    header = ("axis", "objective", "share %", "largest/smallest", "groups", "best")
    rows = [
        (
            row["axis"], row["objective"], f"{100 * row['share']:.1f}",
            "-" if row["ratio"] is None else f"{row['ratio']:.3f}", f"{row['groups']:,}", _text(row["best"]),
        )
        for row in found
    ]  # fmt: skip
    print_table(header, rows, left=("axis", "objective"))


def print_failures(result: SweepResult) -> None:
    """Points without numbers, one line each, or that there are none."""
    wrong = [row for row in result.rows if row["status"] != "ok"]
    for row in wrong:
        settings = ", ".join(f"{key}={_text(row[key])}" for key in result.keys)
        click.echo(f"{row['number']} {row['workload']} {settings}: {row['status']}: {row['reason']}")
    if not wrong:
        click.echo(f"none of {len(result.rows):,} points is infeasible or failed")


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.6g}"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value))
    return str(value)
