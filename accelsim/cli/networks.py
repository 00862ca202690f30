"""The network that a command works on: ``--calibrate``, ``--method`` and ``--dim``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from accelsim.cli.base import read_numbers, relocated
from accelsim.cli.targets import Place, check_apart
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.nn.loader import Network

_F = TypeVar("_F", bound=Callable[..., Any])
METHODS = ("max", "percentile", "mse")


def calibration_options(command: _F) -> _F:
    """``--calibrate``, ``--method`` and ``--dim``; :func:`opened` reads them."""
    command = click.option(
        "--dim", "dims", multiple=True, metavar="NAME=SIZE", help="Size of a named dimension of an ONNX model."
    )(command)
    command = click.option(
        "--method", type=click.Choice(METHODS), help="How ranges follow from the images; the workload's own, or max."
    )(command)
    return click.option(
        "--calibrate",
        multiple=True,
        metavar="[NAME=]X.npy",
        help="Images that ranges are taken from, as the network reads them; else the workload's own.",
    )(command)


def chosen(
    workload: str,
    calibrate: tuple[str, ...],
    method: str | None,
    dims: tuple[str, ...],
    written: list[Place],
    *,
    values: bool = True,
) -> Network:
    """The network that the options of :func:`calibration_options` mean, ready to run. Raises as :func:`opened`.

    What a user should know about its ``values``, if they matter, is said on stderr.
    """
    from accelsim import quantizer

    network = quantizer.by_method(opened(workload, calibrate, dims, written), method)
    if values and network.note:
        click.echo(f"note: {network.note}", err=True)
    return network


def opened(workload: str, calibrate: tuple[str, ...], dims: tuple[str, ...], written: list[Place]) -> Network:
    """The network that the options of :func:`calibration_options` mean.

    Raises ConfigError, also where one of its files, such as weights beside a model, is to be ``written``.
    """
    images, places = named_arrays("calibrate", calibrate)
    from accelsim.networks import open_network

    with relocated(places):
        network = open_network(workload, calibrate=images, dims=_sizes(dims))
    check_apart([(f"WORKLOAD {workload}", path) for path in network.files], written)
    return network


def named_arrays(option: str, texts: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
    """What ``--option [NAME=]X.npy`` names: None, an array, or arrays by input; and which option text is behind what
    messages call ``option`` or ``option NAME``. Raises ConfigError.
    """
    arrays: dict[str, Any] = {}
    places: dict[str, str] = {}
    for text in texts:
        name, path = _split(text)
        if name in arrays:
            raise ConfigError(f"--{option} {text}", "", "images are given twice", "NAME=X.npy says for which input")
        arrays[name] = read_numbers(path, f"--{option}")
        places[f"{option} {name}".strip()] = f"--{option} {text}"
    if len(arrays) > 1 and "" in arrays:
        raise ConfigError(f"--{option} {texts[0]}", "", "which input?", "NAME=X.npy for each of several inputs")
    places.setdefault(option, f"--{option} {', '.join(texts)}")
    return (arrays.get("", arrays) if arrays else None), places


def _split(text: str) -> tuple[str, str]:
    """NAME and file of ``[NAME=]FILE``; a file may have ``=`` in its name."""
    name, equals, path = text.partition("=")
    return (name, path) if equals and not Path(text).exists() else ("", text)


def array_places(option: str, texts: tuple[str, ...]) -> list[Place]:
    """The files behind ``--option [NAME=]X.npy``."""
    return [(f"--{option} {text}", _split(text)[1]) for text in texts]


def _sizes(dims: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in dims:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or not int(size):
            raise ConfigError(f"--dim {text}", "", "expected NAME=SIZE with a whole number of at least 1")
        sizes[name] = int(size)
    return sizes

