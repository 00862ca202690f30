"""Opens a network of any kind: a workload file, a stored int8 network, or an ONNX model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.bundled import resolve
from accelsim.errors import ConfigError
from accelsim.nn.dataset import given_feeds
from accelsim.nn.graph import Graph, Layer, QGraph, QSoftmax
from accelsim.nn.layouts import Port, from_model, own_shapes
from accelsim.nn.loader import RANDOM_CALIBRATION_IMAGES, Network, load_network, random_values
from accelsim.onnx.model import OnnxModel, load_onnx

MODEL_SUFFIX = ".onnx"
MODEL_SEED = 0

NOTE = (
    "calibrated with random inputs: cycles and energy are right, values are not what the model would give; "
    "--calibrate images.npy takes yours"
)

Images = NDArray[Any] | Mapping[str, NDArray[Any]]


def is_model(path: str | Path) -> bool:
    """Whether a file is an ONNX model, by its name."""
    return Path(path).suffix.lower() == MODEL_SUFFIX


def open_network(
    workload: str | Path, *, calibrate: Images | None = None, dims: Mapping[str, int] | None = None
) -> Network:
    """Read a workload, stored network or ONNX model by path or bundled name.

    ``calibrate`` are the inputs from which ranges are taken, one array or several by name, as the model itself reads
    them (a workload file: (n, h, w, c)); ``dims`` gives values to the named dimensions of an ONNX model. Raises
    ConfigError or ConfigErrors, at ``calibrate`` for those.
    """
    path = resolve(workload, "workloads")
    if is_model(path):
        network = _network(load_onnx(path, dims), dims or {})
    elif dims:
        raise ConfigError("--dim", "", f"only ONNX models have dimensions to be given, {path.name} has fixed ones")
    else:
        network = load_network(path)
    network = replace(network, given=str(workload))
    return network if calibrate is None else _calibrated(network, calibrate)


def given_values(
    network: Network, given: Images, batch: int | None = None, where: str = "input"
) -> dict[str, NDArray[np.float32]]:
    """A caller's arrays, as the network's own model has them, as float32 (n, h, w, c) by accelsim's names.

    Raises ConfigError at ``where``.
    """
    arrays = given_feeds(given, own_shapes(network.shapes, network.ports), batch, where)
    return from_model(arrays, network.shapes, network.ports)


def _calibrated(network: Network, images: Images) -> Network:
    if network.graph is None:
        raise ConfigError("calibrate", "", f"{network.name} is quantised already and keeps its own scales")
    values = given_values(network, images, where="calibrate")
    total = hashlib.blake2b(network.variant.encode(), digest_size=20)
    for name, array in values.items():
        total.update(name.encode() + repr(array.shape).encode() + array.tobytes())
    return replace(network, calibration=values, variant=total.hexdigest(), note="")


def _network(model: OnnxModel, dims: Mapping[str, int]) -> Network:
    """An imported model; a float one is calibrated with seeded random inputs until better ones are given."""
    calibration = {}
    if model.graph is not None:
        calibration = random_values(model.shapes, RANDOM_CALIBRATION_IMAGES, MODEL_SEED + 2)
    return Network(
        name=model.name, path=str(model.path), graph=model.graph, qgraph=model.qgraph, calibration=calibration,
        method="max", classes=(), dataset=None, seed=MODEL_SEED, places=model.places, files=model.files,
        ports=_ports(model), variant=repr(sorted(dims.items())) if dims else "", note=NOTE if calibration else "",
        spread=model.graph is None,
    )  # fmt: skip


def _ports(model: OnnxModel) -> dict[str, Port]:
    """Inputs and outputs by the names of accelsim; the softmax of a model stands for what it reads."""
    ports = {}
    for own, name in model.inputs:
        scale, zero = model.integers.get(name, (None, 0))
        ports[name] = Port(name=own, layout=model.layouts[name], scale=scale, zero=zero)
    for own, name in model.outputs:
        first = ports.get(name)
        ports[name] = replace(first, also=(*first.also, own)) if first else Port(name=own, layout=model.layouts[name])
        logits = _softmax_input(model.graph or model.qgraph, name)
        if logits:
            ports.setdefault(logits, Port(name=logits, layout=model.layouts[name]))
    return ports


def _softmax_input(graph: Graph | QGraph | None, name: str) -> str:
    """What the softmax called ``name`` reads, or nothing if that is another layer."""
    for layer in graph.layers if graph else ():
        if layer.name == name and isinstance(layer, Layer | QSoftmax) and layer.kind == "softmax":
            return layer.input
    return ""
