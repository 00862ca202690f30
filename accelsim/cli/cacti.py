"""``accelsim import cacti``."""

from __future__ import annotations

import click

from accelsim.cli.base import check_target, write_text
from accelsim.cli.targets import check_apart, option
from accelsim.errors import ConfigError


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="MEMORY=FILE...")
@click.option("-o", "--output", default="-", metavar="FILE.yaml", help="Where to; stdout if not given.")
def cacti(results: tuple[str, ...], output: str) -> None:
    """Make the energy group of a machine file from results of CACTI 7, one for each memory: ub, wgt, acc or param.

    FILE is CACTI's table (*.out), of which the last line counts, or what it printed.
    """
    check_target(output, "-o")
    given = [_split(text) for text in results]
    check_apart([(f"{memory}={file}", file) for memory, file in given], [option("-o", output)])
    from accelsim.cacti import check_memory, read_results

    lines, seen = ["energy:"], set[str]()
    for memory, file in given:
        check_memory(memory)
        if memory in seen:
            raise ConfigError(f"{memory}={file}", "", "this memory is given twice")
        seen.add(memory)
        found = read_results(file)
        lines.append(f"  # CACTI: {found[-1].describe()}")
        lines += [f"  {key}: {value:g}" for key, value in found[-1].settings(memory).items()]
        if len(found) > 1:
            click.echo(f"{file}: the last of {len(found)} runs is taken", err=True)
    write_text(output, "\n".join(lines) + "\n")


def _split(text: str) -> tuple[str, str]:
    memory, equals, file = text.partition("=")
    if not equals or not file:
        raise ConfigError(text, "", "expected MEMORY=FILE", "for example ub=cache.cfg.out")
    return memory.strip(), file
