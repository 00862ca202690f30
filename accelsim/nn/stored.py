"""An int8 network as two files: ``NAME.q.yaml`` for people and ``NAME.q.npz`` for its arrays.

Numbers are written so that the network read back is the same in every bit. What follows from scales and zero points
(the factors of additions and concatenations) is not written.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import QAdd, QConcat, QConv, QGraph, QLayer, QLrn, QLut, QPool, QReshape, QSoftmax, Tensor
from accelsim.nn.layouts import Port

FORM = "int8"
SUFFIX = ".q.yaml"


def arrays_name(target: Path) -> str:
    """The name of the file of arrays that belongs to ``target``."""
    return f"{target.name.removesuffix('.yaml').removesuffix('.yml')}.npz"


def stored_arrays(graph: QGraph) -> dict[str, NDArray[Any]]:
    """The arrays of a network by name: ``<layer>.weights`` and so on."""
    found: dict[str, NDArray[Any]] = {}
    for layer in graph.layers:
        match layer:
            case QConv():
                parts: tuple[str, ...] = ("weights", "bias", "scale")
            case QLut():
                parts = ("table",)
            case QLrn():
                parts = ("square", "factor")
            case _:
                parts = ()
        found |= {f"{layer.name}.{part}": getattr(layer, part) for part in parts}
    return found


def stored_ports(
    graph: QGraph, ports: Mapping[str, Port]
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """How inputs and outputs lie in the model that the network came from: entries, and arrays ``<tensor>.order``."""
    entries, arrays = [], {}
    for name in dict.fromkeys((*graph.inputs, *graph.outputs)):
        if name in ports:
            layout = ports[name].layout
            entries.append({"tensor": name, "name": ports[name].name, "shape": list(layout.shape)})
            if layout.index is not None:
                arrays[f"{name}.order"] = layout.index.astype(np.int64)
    return entries, arrays


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A hash of names, types, shapes and values."""
    total = hashlib.blake2b(digest_size=20)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        total.update(array.data if array.size else b"")
    return total.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An ``.npz`` file that is the same for the same arrays."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            # Not numpy.savez: it takes names as keyword arguments, and a layer may be called "file".
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def stored_text(
    graph: QGraph,
    arrays: tuple[str, str],
    made: Mapping[str, Any],
    *,
    classes: Sequence[str] = (),
    dataset: Mapping[str, Any] | None = None,
    ports: Sequence[Mapping[str, Any]] = (),
    seed: int = 0,
) -> str:
    """The YAML file; ``arrays`` are the name and the digest of the other one. Entries are JSON, which YAML includes.

    ``made`` says how, for people; ``dataset`` is the key of a workload file, its path relative to the new one;
    ``ports`` are the entries of :func:`stored_ports`.
    """
    head: dict[str, Any] = {"schema": 1, "form": FORM, "name": graph.name, "made": dict(made)}
    head |= {"arrays": {"file": arrays[0], "digest": arrays[1]}}
    head |= {"inputs": list(graph.inputs), "outputs": list(graph.outputs)}
    if classes:
        head["classes"] = list(classes)
    if dataset:
        head["dataset"] = dict(dataset)
    head["seed"] = seed
    lines = ["# An int8 network, written by `accelsim quantize`; see docs/quantize.md."]
    lines += [f"{key}: {_line(value)}" for key, value in head.items()]
    rows = [{"name": name, "kind": kind, "layer": host} for name, kind, host in graph.rows]
    groups = {"tensors": [tensor_entry(t) for t in graph.tensors.values()],
              "layers": [layer_entry(layer) for layer in graph.layers], "rows": rows}  # fmt: skip
    if ports:
        groups = {"ports": [dict(port) for port in ports], **groups}
    for key, entries in groups.items():
        lines += ["", f"{key}:", *(f"  - {_line(entry)}" for entry in entries)]
    return "\n".join(lines) + "\n"


def tensor_entry(tensor: Tensor) -> dict[str, Any]:
    scale, zero = float(tensor.scale), tensor.zero
    return {"name": tensor.name, "shape": list(tensor.shape), "scale": scale, "zero": zero}


def layer_entry(layer: QLayer) -> dict[str, Any]:
    """What the file says of a layer."""
    entry: dict[str, Any] = {"name": layer.name, "kind": "table" if isinstance(layer, QLut) else layer.kind}
    if isinstance(layer, QLut):
        entry["function"] = layer.kind
    if isinstance(layer, QAdd | QConcat):
        entry["inputs"] = list(layer.inputs)
    else:
        entry["input"] = layer.input
    if not isinstance(layer, QSoftmax):
        entry["output"] = layer.output
    return entry | _details(layer)


def _details(layer: QLayer) -> dict[str, Any]:
    match layer:
        case QConv():
            k, r, s, _ = layer.weights.shape
            entry: dict[str, Any] = {"channels": k}
            if layer.kind in ("conv", "depthwise"):
                entry |= {"kernel": [r, s], "stride": list(layer.stride), "padding": list(layer.pads)}
                entry |= {"dilation": list(layer.dilation), "groups": layer.groups}
            return entry | {"limits": [layer.lo, layer.hi]}
        case QPool():
            entry = {"kernel": list(layer.kernel), "stride": list(layer.stride), "padding": list(layer.pads)}
            if layer.kind == "avgpool":
                entry["count_include_pad"] = layer.count_include_pad
            return entry | {"limits": [layer.lo, layer.hi]}
        case QAdd():
            return {"limits": [layer.lo, layer.hi]}
        case QLrn():
            scales = {"index_scale": float(layer.index_scale), "index_zero": layer.index_zero}
            return {"size": layer.size, **scales, "scale": float(layer.scale)}
        case QConcat() | QLut() | QReshape() | QSoftmax():
            return {}
        case _:
            assert_never(layer)


def _line(value: Any) -> str:
    """One value on one line; blanks inside braces as in files that people write."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
