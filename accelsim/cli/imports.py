"""``accelsim import``: workload and machine files from other tools' files."""

from __future__ import annotations

from pathlib import Path

import click

from accelsim.cli.base import check_target, write_text
from accelsim.cli.cacti import cacti
from accelsim.cli.targets import check_apart, option
from accelsim.errors import ConfigError


@click.group("import")
def import_files() -> None:
    """Make a file of accelsim from a file of another tool."""


import_files.add_command(cacti)


@import_files.command()
@click.argument("topology", metavar="FILE.csv")
@click.option("-o", "--output", metavar="FILE.yaml", help="The workload; FILE.yaml here if not given; - is stdout.")
def scalesim(topology: str, output: str | None) -> None:
    """Make a workload of independent layers from a SCALE-Sim topology.

    Both forms are read: convolutions (eight columns) and matrix products (Layer, M, N, K). Layers get random weights
    and an input and output each; their multiply-accumulates are those that SCALE-Sim counts.
    """
    target = output or f"{Path(topology).stem}.yaml"
    check_target(target, "-o")
    check_apart([("FILE.csv " + topology, topology)], [option("-o", target)])
    if output is None and Path(target).exists():
        raise ConfigError(target, "", "the file exists already", "-o FILE.yaml names another, or this one")
    from accelsim.nn.scalesim import read_topology, workload_text

    rows = read_topology(topology)
    write_text(target, workload_text(rows, Path(topology).name))
    if target != "-":
        layers = "1 layer" if len(rows) == 1 else f"{len(rows)} layers"
        click.echo(f"{target}: {layers}, {sum(row.macs for row in rows):,} MACs")
