"""The network that a command works on: ``--calibrate``, ``--method`` and ``--dim``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from accelsim.cli.base import read_numbers, relocated
from accelsim.cli.targets import Place
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
    workload: str, calibrate: tuple[str, ...], method: str | None, dims: tuple[str, ...], *, values: bool = True
) -> Network:
    """The network that the options of :func:`calibration_options` mean, ready to run. Raises ConfigError.

    What a user should know about its ``values``, if they matter, is said on stderr.
    """
    from accelsim import quantizer

    network = quantizer.by_method(opened(workload, calibrate, dims), method)
    if values and network.note:
        click.echo(f"note: {network.note}", err=True)
    return network


def opened(workload: str, calibrate: tuple[str, ...], dims: tuple[str, ...]) -> Network:
    """The network that the options of :func:`calibration_options` mean. Raises ConfigError."""
    arrays: dict[str, Any] = {}
    places: dict[str, str] = {}
    for text in calibrate:
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals and not Path(text).exists() else ("", text)
        if name in arrays:
            raise ConfigError(f"--calibrate {text}", "", "images are given twice", "NAME=X.npy says for which input")
        arrays[name] = read_numbers(path, "--calibrate")
        places[f"calibrate {name}".strip()] = f"--calibrate {text}"
    if len(arrays) > 1 and "" in arrays:
        raise ConfigError(f"--calibrate {calibrate[0]}", "", "which input?", "NAME=X.npy for each of several inputs")
    images = arrays.get("", arrays) if arrays else None
    places.setdefault("calibrate", f"--calibrate {', '.join(calibrate)}")
    from accelsim.networks import open_network

    with relocated(places):
        return open_network(workload, calibrate=images, dims=_sizes(dims))


def _sizes(dims: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in dims:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or not int(size):
            raise ConfigError(f"--dim {text}", "", "expected NAME=SIZE with a whole number of at least 1")
        sizes[name] = int(size)
    return sizes


def calibration_places(calibrate: tuple[str, ...]) -> list[Place]:
    """The files behind ``--calibrate``."""
    return [(f"--calibrate {text}", text if Path(text).exists() else text.partition("=")[2]) for text in calibrate]
