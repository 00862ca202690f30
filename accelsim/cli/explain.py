"""``accelsim explain`` and ``accelsim diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accelsim.cli.base import check_target, json_text, load_machine, machine_options, progress, write_text
from accelsim.cli.given import load_report, result_places
from accelsim.cli.networks import opened
from accelsim.cli.targets import Place, check_apart, option


@click.command()
@click.argument("result")
@click.argument("layer", required=False)
@click.option("--workload", metavar="FILE|NAME", help="The network of RESULT, if it is not where it was.")
@click.option("--try", "tries", multiple=True, metavar="KEY=VALUE", help="Also try this change of the machine.")
@click.option("--no-cache", "cache", flag_value=False, default=True, help="Neither use nor keep plans of other runs.")
@click.option("--json", "json_file", metavar="FILE", help="Write the explanation as JSON; - prints nothing else.")
@machine_options
def explain(
    result: str,
    layer: str | None,
    workload: str | None,
    tries: tuple[str, ...],
    cache: bool,
    json_file: str | None,
    arch: str,
    settings: tuple[str, ...],
) -> None:
    """Say what bounds the run RESULT, or its LAYER, and which change of the machine would help most.

    RESULT is a folder of `run --out`, a report of `run --json`, or a workload, which is then run on --arch. The
    changes are twice the bandwidth, the array or a buffer, and those of --try: each is run, nothing is guessed.
    """
    check_target(json_file, "--json")
    written = [option("--json", json_file)]
    check_apart(result_places("RESULT", result), written)
    from accelsim.advisor import explain as explain_report
    from accelsim.machine_file import parse_settings

    report = _report(result, arch, settings, workload, cache, written)
    with progress(f"explaining {report['workload']} ..."):
        found = explain_report(report, workload=workload, tries=parse_settings(tries), cache=cache)
    if layer is not None:
        found.row(layer)
    if json_file is not None:
        write_text(json_file, json_text(found.to_dict(layer)))
    if json_file != "-":
        for line in found.lines(layer):
            click.echo(line)


def _report(
    result: str, arch: str, settings: tuple[str, ...], workload: str | None, cache: bool, written: list[Place]
) -> dict[str, Any]:
    """The report of a result; a workload is run first. Refuses a network of which a file is to be ``written``."""
    if Path(result).is_dir() or Path(result).suffix == ".json":
        context = click.get_current_context()
        for name, text in (("arch", "--arch"), ("settings", "--set")):
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{text} is for a workload; a result has its machine. Use --try for changes.")
        report = load_report(result)
        opened(workload or report["options"].get("workload") or report["workload"], (), (), written)
        return report
    if workload is not None:
        raise click.UsageError("--workload is for a RESULT that was saved; give one of the two.")
    from accelsim import runner

    machine = load_machine(arch, settings)
    network = opened(result, (), (), written)
    with progress(f"running {result} on {machine.name} ..."):
        return runner.run(network, arch=machine, timing_only=True, cache=cache).report


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--json", "json_file", metavar="FILE", help="Write the comparison as JSON; - prints nothing else.")
def diff(a: str, b: str, json_file: str | None) -> None:
    """Compare two results, A and B: machines, totals, layers.

    Each is a folder of `run --out` or a report of `run --json`.
    """
    check_target(json_file, "--json")
    check_apart([*result_places("A", a), *result_places("B", b)], [option("--json", json_file)])
    from accelsim.compare import compare

    found = compare(load_report(a), load_report(b))
    if json_file is not None:
        write_text(json_file, json_text(found))
    if json_file != "-":
        _print_comparison(found)


def _print_comparison(found: dict[str, Any]) -> None:
    from accelsim.cli.tables import print_table

    click.echo(f"A: {found['a']}\nB: {found['b']}")
    for group in ("machine", "options"):
        for key, (before, after) in found[group].items():
            click.echo(f"  {key}: {before} -> {after}")
    rows = [(name, _text(pair["a"]), _text(pair["b"]), _ratio(pair)) for name, pair in found["totals"].items()]
    print_table(("total", "A", "B", "B / A"), rows, left=("total",))
    rows = [
        (
            row["name"], _text(row["cycles"]["a"]), _text(row["cycles"]["b"]), _ratio(row["cycles"]),
            *(_ratio(row[name]) for name in ("dram_read_bytes", "energy_pj")), _change(row["packing"]),
        )
        for row in found["layers"]
    ]  # fmt: skip
    header = ("layer", "cycles A", "cycles B", "B / A", "DRAM read B / A", "energy B / A", "packing")
    print_table(header, rows, left=("layer", "packing"))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def _ratio(pair: dict[str, Any]) -> str:
    return "-" if pair["ratio"] is None else f"{pair['ratio']:.3f}"


def _change(pair: list[str | None]) -> str:
    before, after = (text or "-" for text in pair)
    return before if before == after else f"{before} -> {after}"
