"""``accelsim run``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.base import (
    check_folder,
    check_level,
    check_target,
    check_trace,
    compile_options,
    given,
    json_text,
    level_options,
    load_machine,
    machine_options,
    progress,
    relocated,
    trace_option,
    write_file,
    write_text,
)
from accelsim.cli.networks import array_places, calibration_options, chosen, named_arrays, opened
from accelsim.cli.report import check_html, html_option
from accelsim.cli.targets import Place, check_apart, inside, option, sources

if TYPE_CHECKING:
    from accelsim.arch import Arch
    from accelsim.result import Result

_MISMATCH = 1
_SHOWN_LABELS = 16


@dataclass(frozen=True, slots=True)
class _Targets:
    """The files of a run, as the options named them."""

    out: str | None
    json: str | None
    trace: str | None
    html: str | None

    def check(self, level: str, read: list[Place]) -> None:
        """Refuse what cannot be written, before any work, or would be written over one another or over ``read``."""
        check_target(self.json, "--json")
        check_folder(self.out, "--out")
        check_trace(self.trace, level)
        check_html(self.html, level)
        check_apart(read, self.places)

    @property
    def places(self) -> list[Place]:
        """All that is written."""
        from accelsim.result import FILES

        single = [option("--json", self.json), option("--trace", self.trace), option("--html", self.html)]
        return [*single, *inside(self.out, list(FILES))]

    def save(self, result: Result) -> None:
        if self.out is not None:
            result.save(self.out)
        if self.trace is not None:
            write_file(self.trace, result.save_trace)
        if self.html is not None:
            write_file(self.html, result.html)
        if self.json is not None:
            write_text(self.json, json_text(result.report))


@click.command()
@click.argument("workload")
@machine_options
@compile_options
@level_options
@calibration_options
@click.option(
    "--input", "inputs", multiple=True, metavar="[NAME=]X.npy",
    help="Images, float32 NHWC, of an ONNX model as it has them; else those of the workload.",
)
@click.option("--out", metavar="DIR", help="Save outputs, report and the effective machine there.")
@click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON; - prints nothing else.")
@trace_option
@html_option
@click.option("--eval", "evaluate", is_flag=True, help="Run the whole test split and compare accuracies.")
def run(
    workload: str,
    arch: str,
    settings: tuple[str, ...],
    batch: int | None,
    objective: str,
    cache: bool,
    level: str,
    timing_only: bool,
    calibrate: tuple[str, ...],
    method: str | None,
    dims: tuple[str, ...],
    inputs: tuple[str, ...],
    out: str | None,
    json_file: str | None,
    trace_file: str | None,
    html_file: str | None,
    evaluate: bool,
) -> None:
    """Compile WORKLOAD, simulate it, and check every layer bit for bit."""
    check_level(level, timing_only)
    targets = _Targets(out, json_file, trace_file, html_file)
    read = [*array_places("calibrate", calibrate), *array_places("input", inputs)]
    targets.check(level, [*sources(workload, arch), *read])
    machine = load_machine(arch, settings)
    if evaluate:
        others = {"--input": inputs, "--timing-only": timing_only, "--out": out, "--trace": trace_file}
        _refuse_with_eval({**others, "--html": html_file, "--calibrate": calibrate, "--method": method, "--dim": dims})
        _evaluate(workload, machine, targets, batch, level if given("level") else "functional")
        return
    from accelsim import runner

    images, places = named_arrays("input", inputs)
    network = chosen(workload, calibrate, method, dims, targets.places, values=not timing_only)
    with progress(f"running {workload} on {machine.name} ..."), relocated(places):
        result = runner.run(
            network, arch=machine, batch=batch, objective=objective, level=level,
            timing_only=timing_only, input=images, cache=cache,
        )  # fmt: skip
    _finish(result, machine, targets)


def _finish(result: Result, machine: Arch, targets: _Targets) -> None:
    """Save and print a result; the exit code says whether its values are right."""
    targets.save(result)
    if targets.json != "-":
        _print_report(result, machine)
    if result.report["bit_exact"] is False:
        click.get_current_context().exit(_MISMATCH)


def _refuse_with_eval(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise click.UsageError(f"--eval runs the workload's own test images; it does not go with {given[0]}.")


def _evaluate(workload: str, machine: Arch, targets: _Targets, batch: int | None, level: str) -> None:
    """Accuracy on the test split: float, int8 golden model, accelerator."""
    network, json_file = opened(workload, (), (), targets.places), targets.json
    from accelsim import runner

    with progress(f"evaluating {workload} on {machine.name} ..."):
        scores = runner.evaluate(network, arch=machine, batch=batch or runner.EVALUATION_BATCH, level=level)
    if json_file is not None:
        write_text(json_file, json_text(scores))
    if json_file != "-":
        name = Path(workload).stem
        click.echo(f"{name} on {machine.name}: {scores['images']} test images, share classified right")
        if scores["float_accuracy"] is not None:  # of a stored int8 network nobody knows it
            click.echo(f"  float        {100 * scores['float_accuracy']:6.2f} %")
        click.echo(f"  int8 golden  {100 * scores['int8_accuracy']:6.2f} %")
        click.echo(f"  accelerator  {100 * scores['accelerator_accuracy']:6.2f} %")
        _print_verdict(scores["bit_exact"])
    if not scores["bit_exact"]:
        click.get_current_context().exit(_MISMATCH)


def _print_report(result: Result, machine: Arch) -> None:
    from accelsim.cli.tables import print_table, print_verdicts
    from accelsim.energy_report import energy_line
    from accelsim.report import TABLE_HEADER, table

    report, labels = result.report, result.labels
    totals, array, batch = report["totals"], machine.array, report["options"]["batch"]
    clock = f"{float(machine.clock_hz / 10**6):g} MHz"
    images = "1 image" if batch == 1 else f"{batch} images"
    click.echo(
        f"{report['workload']} on {machine.name} ({array.rows}x{array.cols} {array.dataflow}, {clock}), {images}"
    )
    print_table(TABLE_HEADER, table(report), left=("layer", "kind", "bound by", "packing"), total=True)
    print_verdicts(report["layers"])
    if totals["cycles"] is not None:
        ratio = totals["cycles"] / totals["bound_cycles"]
        click.echo(
            f"{totals['cycles']:,} cycles = {totals['time_us']:,.2f} us, {ratio:.2f}x the bound of "
            f"{totals['bound_cycles']:,}; {totals['instructions']:,} instructions"
        )
    if report["energy"] is not None:
        click.echo(energy_line(report))
    times = ", ".join(f"{key.removesuffix('_s')} {seconds:.2f} s" for key, seconds in report["host"].items())
    click.echo(f"on this computer: {times}")
    if labels:
        shown = ", ".join(str(label) for label in labels[:_SHOWN_LABELS])
        click.echo(f"predicted: {shown}{', ...' if len(labels) > _SHOWN_LABELS else ''}")
    _print_verdict(report["bit_exact"])
    if result.mismatch is not None:
        click.echo(str(result.mismatch))


def _print_verdict(bit_exact: bool | None) -> None:
    from accelsim.cli.tables import print_styled

    if bit_exact is None:
        click.echo("bit-exact: not checked, no values were simulated")
    elif bit_exact:
        print_styled("bit-exact: ", "PASS", "bold green", " (every value equals the golden model)")
    else:
        print_styled("bit-exact: ", "FAIL", "bold red", " (some values differ from the golden model)")
