"""How alive the values of a network are: how many are cut off at the ends of their range, and how many are zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import QGraph, QReshape, QSoftmax
from accelsim.numerics import INT8_MAX, INT8_MIN


def liveness(qgraph: QGraph, values: Mapping[str, NDArray[np.int8]]) -> dict[str, tuple[float, float]]:
    """(saturated, zero) shares of each row's output, by the row's name, of every tensor's ``values``.

    Saturated is what holds -128 or 127, unless that is the zero point: zero is what holds the zero point.
    """
    result: dict[str, tuple[float, float]] = {}
    row_of = qgraph.row_of
    for layer in qgraph.layers:
        if isinstance(layer, QReshape | QSoftmax):
            continue
        array, zero = values[layer.output], qgraph.tensors[layer.output].zero
        ends = sum(int(np.count_nonzero(array == end)) for end in (INT8_MIN, INT8_MAX) if end != zero)
        result[row_of[layer.name]] = ends / array.size, int(np.count_nonzero(array == zero)) / array.size
    return result
