"""What each layer of a network costs on any machine: MACs and the bytes that must move at least once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import QConv, QGraph, QLayer, QPool, QReshape, QSoftmax, sources
from accelsim.nn.shapes import tap_hits


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One row of the network file. Bytes are int8; a fused row has none of its own: its host counts them."""

    name: str
    kind: str
    host: str  # name of the QLayer that does the work
    macs: int
    weight_bytes: int
    input_bytes: int  # of the layer's inputs, what some window touches
    output_bytes: int

    @property
    def compulsory_bytes(self) -> int:
        """DRAM bytes that this layer alone cannot avoid."""
        return self.weight_bytes + self.input_bytes + self.output_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """The whole network; intermediate activations need not leave the chip."""

    macs: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int

    @property
    def compulsory_bytes(self) -> int:
        """DRAM bytes that no run of the network can avoid."""
        return self.weight_bytes + self.input_bytes + self.output_bytes


def layer_facts(qgraph: QGraph, batch: int) -> tuple[LayerFacts, ...]:
    """One entry per ``qgraph.rows`` entry; ``batch`` multiplies MACs, inputs and outputs, never weights."""
    by_row: dict[str, list[QLayer]] = {}
    for layer in qgraph.layers:
        by_row.setdefault(qgraph.row_of[layer.name], []).append(layer)
    facts = []
    for name, kind, host in qgraph.rows:
        work = [layer for layer in by_row.get(name, []) if not isinstance(layer, QReshape | QSoftmax)]
        inputs = outputs = 0
        if work:
            inputs = batch * sum(
                int(touched(qgraph, work[0]).sum()) * qgraph.tensors[source].shape[2]
                for source in dict.fromkeys(sources(work[0]))
            )
            outputs = batch * qgraph.tensors[work[-1].output].size
        facts.append(
            LayerFacts(
                name=name, kind=kind, host=host,
                macs=batch * sum(image_macs(qgraph, layer) for layer in work),
                weight_bytes=sum(_weight_bytes(layer) for layer in work),
                input_bytes=inputs, output_bytes=outputs,
            )
        )  # fmt: skip
    return tuple(facts)


def network_facts(qgraph: QGraph, batch: int) -> NetworkFacts:
    """MACs and compulsory bytes of the whole network for ``batch`` images."""
    root = qgraph.roots
    return NetworkFacts(
        macs=batch * sum(image_macs(qgraph, layer) for layer in qgraph.layers),
        weight_bytes=sum(_weight_bytes(layer) for layer in qgraph.layers),
        input_bytes=batch * sum(_touched_bytes(qgraph, name, root) for name in qgraph.inputs),
        output_bytes=batch * sum(qgraph.tensors[name].size for name in {root[name] for name in qgraph.outputs}),
    )


def _touched_bytes(qgraph: QGraph, name: str, root: dict[str, str]) -> int:
    """Bytes of one image of the network input ``name`` that some layer reads, itself or behind a flatten."""
    tensor = qgraph.tensors[name]
    mask = np.zeros(tensor.shape[:2], dtype=np.bool_)
    for layer in qgraph.layers:
        if isinstance(layer, QReshape | QSoftmax):
            continue
        if name in sources(layer):
            mask |= touched(qgraph, layer)
        elif any(root[source] == name for source in sources(layer)):
            mask[:] = True  # behind a flatten every value is its own channel
    return int(mask.sum()) * tensor.shape[2]


def image_macs(qgraph: QGraph, layer: QLayer) -> int:
    """Multiply-accumulates of one image: every tap of every output, padding included; 0 if not a QConv."""
    if not isinstance(layer, QConv):
        return 0
    return qgraph.tensors[layer.output].size * layer.weights[0].size


def touched(qgraph: QGraph, layer: QLayer) -> NDArray[np.bool_]:
    """(h, w): the pixels of each of its inputs that some window of ``layer`` reads."""
    h, w, _ = qgraph.tensors[sources(layer)[0]].shape
    match layer:
        case QConv():
            kernel, dilation = layer.weights.shape[1:3], layer.dilation
        case QPool():
            kernel, dilation = layer.kernel, (1, 1)
        case _:
            return np.ones((h, w), dtype=np.bool_)
    p, q, _ = qgraph.tensors[layer.output].shape
    rows = tap_hits(h, kernel[0], layer.stride[0], layer.pads[0], p, dilation[0]).any(axis=0)
    cols = tap_hits(w, kernel[1], layer.stride[1], layer.pads[2], q, dilation[1]).any(axis=0)
    return np.logical_and.outer(rows, cols)


def _weight_bytes(layer: QLayer) -> int:
    return layer.weights.size if isinstance(layer, QConv) else 0
