"""From a float network of any origin to an int8 one, with its cost, and to the files that hold it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelsim.errors import ConfigError
from accelsim.job import placed
from accelsim.nn.graph import QGraph
from accelsim.nn.loader import Network
from accelsim.nn.quality import Fidelity, measure, plain
from accelsim.nn.ranges import METHODS
from accelsim.nn.stored import arrays_name, digest, stored_arrays, stored_ports, stored_text, write_arrays
from accelsim.onnx.export import to_operators
from accelsim.yamlio import read_document

Writer = Callable[[Path, Callable[[Path], None]], None]
"""Makes a file by a function of its path, whole or not at all."""


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """An int8 network, the float one it was made from, and how it follows that on the calibration images."""

    network: Network
    graph: QGraph
    fidelity: Fidelity

    def report(self) -> dict[str, Any]:
        """As JSON data."""
        head = {"schema": 1, "accelsim": version("accelsim"), "workload": self.network.name}
        return {**head, "method": self.network.method, **plain(self.fidelity)}

    def store(self, target: Path, write: Writer) -> None:
        """Write ``target`` and the arrays beside it. A file that does not belong to the other is refused when read."""
        ports, orders = stored_ports(self.graph, self.network.ports)
        arrays = stored_arrays(self.graph) | orders
        name = arrays_name(target)
        made = {"from": Path(self.network.path).name, "method": self.network.method}
        made |= {"images": self.fidelity.images, "accelsim": version("accelsim")}
        text = stored_text(
            self.graph, (name, digest(arrays)), made, classes=self.network.classes,
            dataset=_dataset(self.network, target.parent), ports=ports, seed=self.network.seed,
        )  # fmt: skip
        write(target.with_name(name), lambda file: write_arrays(file, arrays))
        write(target, lambda file: _write_text(file, text))


def quantize(network: Network, method: str | None = None) -> Quantized:
    """Quantise a float network by one of ``METHODS``, its own if none is given, and compare the two.

    Raises ConfigError for a network that is int8 already, GraphError for one that cannot be quantised.
    """
    if network.graph is None:
        raise ConfigError(network.path, "", "is quantised already and keeps its own scales", "run it as it is")
    chosen = by_method(network, method)
    graph = int8(chosen)
    with placed(chosen):
        fidelity = measure(network.graph, graph, chosen.calibration)
    return Quantized(network=chosen, graph=graph, fidelity=fidelity)


def int8(network: Network, method: str | None = None) -> QGraph:
    """The int8 network, by ``method`` unless it is int8 already. Raises as :func:`quantize`."""
    chosen = by_method(network, method)
    with placed(chosen):
        return chosen.quantize()


def model_bytes(network: Network, graph: QGraph, *, unsigned: bool = False) -> bytes:
    """The int8 ``graph`` of ``network`` as the content of an ONNX file; see :func:`to_operators`."""
    with placed(network):
        return to_operators(graph, unsigned=unsigned).SerializeToString()


def by_method(network: Network, method: str | None) -> Network:
    """The network with another calibration method, if one is given. Raises ConfigError."""
    if method is None:
        return network
    if method not in METHODS:
        raise ConfigError("method", "", f"{method!r} is no calibration method", f"one of {', '.join(METHODS)}")
    if network.graph is None:
        raise ConfigError("method", "", f"{network.name} is quantised already and keeps its own scales")
    return replace(network, method=method)


def _dataset(network: Network, folder: Path) -> Mapping[str, Any] | None:
    """The data set of a workload file, for a file in another folder."""
    if network.dataset is None:
        return None
    keys = dict(read_document(network.path).data["dataset"])
    path = Path(network.path).parent / keys["file"]
    return keys | {"file": Path(os.path.relpath(path, folder)).as_posix()}


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
