"""How well an int8 network follows its float original, tensor by tensor, on some images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, log10, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn import golden
from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, QGraph, QLayer, QReshape, QSoftmax, Tensor, sources
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.numerics import INT8_MAX, INT8_MIN

BLOCK = 1 << 24  # float values of all tensors at a time

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One tensor: its range and what int8 made of it.

    ``saturated`` is the share of int8 values at an end of the range, unless that is the zero point. A ratio is
    ``10 * log10(sum(y**2) / sum((y - y8)**2))`` of float values y and what their int8 stand for, in dB: infinite
    without an error, not a number where y is always 0. ``snr_db`` is that of the whole network up to here, ``own_db``
    that of the layer alone, which reads float values that were quantised without any other error.
    """

    name: str  # of the row of the network file, or of a network input
    kind: str  # of the layer, or "input"
    tensor: str
    scale: float
    zero: int
    saturated: float
    snr_db: float
    own_db: float

    @property
    def low(self) -> float:
        """The smallest value that the tensor can hold."""
        return self.scale * (INT8_MIN - self.zero)

    @property
    def high(self) -> float:
        """The largest value that the tensor can hold."""
        return self.scale * (INT8_MAX - self.zero)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """The tensors in order of computation; ``agreement`` is the share of images with the largest output at the same
    place as in float, None where the last output is not one vector per image."""

    images: int
    rows: tuple[Quality, ...]
    agreement: float | None


def measure(graph: Graph, qgraph: QGraph, feeds: Feeds) -> Fidelity:
    """Compare ``qgraph`` with the float ``graph`` it was made from, on float32 images (n, h, w, c), by input name.

    Raises GraphError as :func:`forward` does.
    """
    given = by_name(feeds, graph.inputs)
    images = len(next(iter(given.values())))
    size = sum(tensor.size for tensor in qgraph.tensors.values())
    step = max(1, BLOCK // size)
    sums = {name: _Sums() for name in qgraph.tensors}
    agreed = 0
    for first in range(0, images, step):
        block = {name: values[first : first + step] for name, values in given.items()}
        wanted = forward(graph, block)
        whole = {name: quantize_values(block[name], qgraph.tensors[name]) for name in qgraph.inputs}
        values = golden.run(qgraph, whole)
        for name, single in _alone(qgraph, wanted):
            sums[name].add(qgraph.tensors[name], wanted[name], values[name], single)
        agreed += int(np.count_nonzero(_places(wanted[qgraph.output]) == _places(values[qgraph.output])))
    classified = qgraph.tensors[qgraph.output].shape[:2] == (1, 1)
    rows = tuple(_row(qgraph, layer, sums) for layer in _measured(qgraph))
    return Fidelity(images=images, rows=rows, agreement=agreed / images if classified else None)


def plain(fidelity: Fidelity) -> dict[str, Any]:
    """As JSON data: ratios that are no number, because nothing differs or all is 0, are None."""
    rows = []
    for row in fidelity.rows:
        entry = {"name": row.name, "kind": row.kind, "tensor": row.tensor, "low": row.low, "high": row.high}
        entry |= {"scale": row.scale, "zero": row.zero, "saturated": row.saturated}
        rows.append(entry | {key: _finite(getattr(row, key)) for key in ("snr_db", "own_db")})
    return {"images": fidelity.images, "agreement": fidelity.agreement, "tensors": rows}


@dataclass(slots=True)
class _Sums:
    """Of one tensor over all blocks: sums of squares in float64, and counts."""

    signal: float = 0.0
    noise: float = 0.0
    own: float = 0.0
    ends: int = 0
    count: int = field(default=0)

    def add(
        self, tensor: Tensor, wanted: NDArray[np.float32], got: NDArray[np.int8], single: NDArray[np.int8]
    ) -> None:
        real = wanted.astype(np.float64)
        self.signal += float(np.square(real).sum())
        self.noise += float(np.square(dequantize(got, tensor) - real).sum())
        self.own += float(np.square(dequantize(single, tensor) - real).sum())
        self.ends += sum(int(np.count_nonzero(got == end)) for end in (INT8_MIN, INT8_MAX) if end != tensor.zero)
        self.count += got.size


def _measured(qgraph: QGraph) -> Iterator[QLayer | str]:
    """What has a row: the network inputs, and the layers that compute."""
    yield from qgraph.inputs
    yield from (layer for layer in qgraph.layers if not isinstance(layer, QReshape | QSoftmax))


def _alone(qgraph: QGraph, wanted: Values) -> Iterator[tuple[str, NDArray[np.int8]]]:
    """Each tensor as its layer computes it from float inputs that are quantised here."""
    for layer in _measured(qgraph):
        if isinstance(layer, str):
            yield layer, quantize_values(wanted[layer], qgraph.tensors[layer])
            continue
        assert not isinstance(layer, QReshape | QSoftmax)
        names = tuple(dict.fromkeys(sources(layer)))
        shown = {name: wanted[name].reshape(-1, *qgraph.tensors[name].shape) for name in names}
        single = QGraph(
            name=layer.name, inputs=names, outputs=(layer.output,), tensors=qgraph.tensors, layers=(layer,), rows=()
        )  # fmt: skip
        inputs = {name: quantize_values(shown[name], qgraph.tensors[name]) for name in names}
        yield layer.output, golden.run(single, inputs)[layer.output]


def _row(qgraph: QGraph, layer: QLayer | str, sums: Mapping[str, _Sums]) -> Quality:
    if isinstance(layer, str):
        name, kind, output = layer, "input", layer
    else:
        assert not isinstance(layer, QSoftmax)
        name, kind, output = qgraph.row_of[layer.name], layer.kind, layer.output
    tensor, total = qgraph.tensors[output], sums[output]
    return Quality(
        name=name, kind=kind, tensor=output, scale=float(tensor.scale), zero=tensor.zero,
        saturated=total.ends / total.count, snr_db=_decibel(total.signal, total.noise),
        own_db=_decibel(total.signal, total.own),
    )  # fmt: skip


def _decibel(signal: float, noise: float) -> float:
    if not signal:
        return nan
    return 10 * log10(signal / noise) if noise else inf


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _places(values: NDArray[Any]) -> NDArray[np.int64]:
    return values.reshape(len(values), -1).argmax(axis=1)
