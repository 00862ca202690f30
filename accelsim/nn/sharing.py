"""Which tensors can take the quantisation of a concatenation without a loss.

A concatenation brings each input to the scale and zero point of its result. Where nothing else reads an input, it may
have them from the start: it is rounded once instead of twice, and the concatenation copies bytes. Where something else
reads it too, it keeps its own, finer scale. Max pooling and flatten pass a quantisation on, so what stands before them
takes it as well. Additions need no such thing: each summand has a factor of its own with 22 bits.
"""

from __future__ import annotations

from typing import TypeGuard

from accelsim.nn.graph import Graph, QLayer, QPool, QReshape

KEEPING = ("maxpool", "flatten")


def towards_concat(graph: Graph) -> frozenset[str]:
    """Names of the layers and inputs all of whose values go into one concatenation, directly or through ``KEEPING``,
    and nowhere else."""
    found: set[str] = set()
    for layer in reversed(graph.layers):
        if layer.kind != "concat" and not (layer.kind in KEEPING and layer.name in found):
            continue
        for name in layer.inputs:
            readers = {reader.name for reader in graph.layers if name in reader.inputs}
            if readers == {layer.name} and name not in graph.results:
                found.add(name)
    return frozenset(found)


def keeps_quantisation(layer: QLayer) -> TypeGuard[QPool | QReshape]:
    """Whether the output has the scale and zero point of the input by definition."""
    return layer.kind in KEEPING
