"""``accelsim list`` and ``accelsim schema``."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.base import json_text


@click.command("list")
def list_files() -> None:
    """List the bundled machines, energy tables, workloads and sweeps."""
    from accelsim.bundled import available, models

    groups = (
        ("Machines (--arch NAME)", available("configs")),
        ("Energy tables (--set energy.table=NAME)", available("energy")),
        ("Workloads (accelsim run NAME)", available("workloads") | models()),
        ("Sweeps (accelsim sweep NAME)", available("sweeps")),
    )
    width = max(len(name) for _, files in groups for name in files)
    for title, files in groups:
        click.echo(f"{title}:")
        for name, path in files.items():
            click.echo(f"  {name:<{width}}  {_summary(path)}".rstrip())


def _summary(path: Path) -> str:
    """The comment in the first line of a file; a model has none."""
    if path.suffix == ".onnx":
        return f"ONNX model; run {path.stem} is the same network from a workload file"
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


@click.command()
@click.argument("kind", type=click.Choice(["machine", "workload", "sweep"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of machine, workload or sweep files, for editors."""
    if kind == "machine":
        from accelsim.machine_schema import machine_json_schema

        click.echo(json_text(machine_json_schema()), nl=False)
    elif kind == "sweep":
        from accelsim.dse.schema import sweep_json_schema

        click.echo(json_text(sweep_json_schema()), nl=False)
    else:
        from accelsim.nn.schema import workload_json_schema

        click.echo(json_text(workload_json_schema()), nl=False)
