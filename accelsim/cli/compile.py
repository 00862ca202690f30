"""``accelsim compile``."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.base import check_target, compile_options, load_machine, machine_options, progress
from accelsim.cli.networks import array_places, calibration_options, chosen
from accelsim.cli.programs import describe, save
from accelsim.cli.targets import check_apart, option, sources
from accelsim.errors import ConfigError


@click.command("compile")
@click.argument("workload")
@machine_options
@compile_options
@calibration_options
@click.option("-o", "--output", metavar="FILE.npz", help="The program; WORKLOAD.program.npz here if not given.")
@click.option("--dump", metavar="STAGE", help="Print what a stage of the compiler made; writes only to -o then.")
def compile_program(
    workload: str,
    arch: str,
    settings: tuple[str, ...],
    batch: int | None,
    objective: str,
    cache: bool,
    calibrate: tuple[str, ...],
    method: str | None,
    dims: tuple[str, ...],
    output: str | None,
    dump: str | None,
) -> None:
    """Compile WORKLOAD into a program file."""
    target = output or (f"{Path(workload).stem}.program.npz" if dump is None else None)
    check_target(target, "-o")
    written = [option("-o", target)]
    check_apart([*sources(workload, arch), *array_places("calibrate", calibrate)], written)
    machine = load_machine(arch, settings)
    network = chosen(workload, calibrate, method, dims, written)
    from accelsim import runner

    stages: dict[str, str] = {}
    with progress(f"compiling {workload} for {machine.name} ..."):
        program = runner.compile_file(
            network, arch=machine, batch=batch or 1, objective=objective, dump=stages.__setitem__, cache=cache
        )
    text = _stage(dump, stages) if dump is not None else None
    if target is not None:
        save(program, target)
    click.echo(text if text is not None else f"{target}: {describe(program)}")


def _stage(name: str, stages: dict[str, str]) -> str:
    from accelsim.spelling import suggest

    if name not in stages:
        raise ConfigError(f"--dump {name}", "", "no such stage", suggest(name, stages))
    return stages[name].rstrip("\n")
