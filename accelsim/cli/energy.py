"""``accelsim energy``: the numbers that a machine's energy and area come from, each with its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from accelsim.cli.base import load_machine, machine_options

if TYPE_CHECKING:
    from accelsim.arch import Arch
    from accelsim.energy_table import Table

_UNUSED = "not used"


@click.command("energy")
@machine_options
def energy(arch: str, settings: tuple[str, ...]) -> None:
    """Show what a machine's energy and area are made of: every number, where it comes from, how far to trust it."""
    from accelsim.energy_arch import ENTRIES, PICOJOULE
    from accelsim.energy_report import LEFT_OUT, TRUST, area_section

    machine = load_machine(arch, settings)
    numbers = machine.energy
    unit = "" if numbers.unit == PICOJOULE else f"; pj stands for the energy of a {numbers.unit}"
    click.echo(f"{machine.name}: table {numbers.name}, {numbers.node_nm} nm{unit}")
    table = _bundled_table(numbers.name)
    width = max(len(entry.key) for entry in ENTRIES)
    for entry in ENTRIES:
        value = numbers.get(entry.name)
        if value is not None:
            trust, origin = _origin(machine, table, entry.name, entry.key)
            click.echo(f"  {entry.key:<{width}}  {value:<9.6g} {trust:>6}  {origin}")
    click.echo("Area:")
    parts = area_section(machine)
    for name, part in parts.items():
        click.echo(f"  {name:<8} {part['mm2']:10.4f} mm2 {part['percent']:6.1f} %")
    click.echo(f"  {'total':<8} {sum(part['mm2'] for part in parts.values()):10.4f} mm2")
    click.echo(f"Trust: {TRUST}.")
    click.echo("Left out:")
    for text in LEFT_OUT:
        click.echo(f"  {text}")


def _bundled_table(name: str) -> Table | None:
    """The bundled table that a machine's numbers are named after."""
    from accelsim.bundled import available
    from accelsim.energy_table import read_table

    return read_table(name) if name in available("energy") else None


def _origin(machine: Arch, table: Table | None, name: str, key: str) -> tuple[str, str]:
    """How far to trust a number, and where it comes from."""
    idle = machine.energy.idle_because(key)
    row = table.rows.get(name) if table else None
    if row is None or row.value != machine.energy.get(name):
        of_table = f", {row.value:g} in the table" if row else ""
        return "", f"the machine's own{of_table}"
    trust = f"x{row.trust:g}" if row.trust is not None else ""
    return trust, f"{row.origin}{f' [{_UNUSED}: {idle}]' if idle else ''}"
