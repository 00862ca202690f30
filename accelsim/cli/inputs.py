"""``exec --input``: the values of a program's input regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.base import read_numbers
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from accelsim.isa.program import Program


def read_inputs(program: Program, texts: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays by region of ``X.npy`` (the only input region) and ``NAME=X.npy``, and the option behind each."""
    names = [region.name for region in program.regions if region.role == "input"]
    arrays: dict[str, NDArray[Any]] = {}
    options: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals:
            name, path = (names[0] if len(names) == 1 else ""), text
        if not name:
            known = ", ".join(names) or "none"
            raise ConfigError(f"--input {text}", "", "which input region? write NAME=FILE", f"regions: {known}")
        if name in arrays:
            raise ConfigError(f"--input {text}", "", f"the region {name} is given twice")
        try:
            arrays[name] = read_numbers(path)
        except ConfigError as error:
            raise ConfigError(f"--input {text}", "", error.problem, error.hint) from None
        options[f"input {name}"] = f"--input {text}"
    return arrays, options


def note_zeros(program: Program, given: dict[str, Any]) -> None:
    """Say which input regions nobody filled; assembly states the data of its own, even if that is zeros."""
    for region in program.regions:
        stated = region.address + region.bytes <= program.image.size
        if region.role == "input" and region.name not in given and not stated:
            hint = f"--input {region.name}=X.npy fills it"
            click.echo(f"note: the input region {region.name} is left at zero; {hint}", err=True)
