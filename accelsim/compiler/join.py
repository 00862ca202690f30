"""Concatenations: every input goes straight to its channels of the result where it can, else by a copy or a table.

An input that nobody else reads and that is made by one operation needs no bytes of its own. With the scale and zero
point of the result it is a part of it, without any instruction; with others, a table follows right behind the operation
that makes it. Any other input is copied by the vector unit, through a table if its scale or zero point differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.compiler.ops import LrnOp, Op
from accelsim.nn.graph import QConcat, QGraph, Tensor, sources
from accelsim.numerics import INT8_MAX, INT8_MIN, requantize


def only_read_by(layer: QConcat, name: str, graph: QGraph) -> bool:
    """Whether nothing needs the tensor ``name`` but one place of one concatenation."""
    readers = [reader.name for reader in graph.layers for source in sources(reader) if source == name]
    return readers == [layer.name] and name not in graph.outputs


def maker_of(name: str, ops: Sequence[Op]) -> int:
    """Number of the operation that makes the tensor ``name``; -1 if it is an input or another shape of a tensor."""
    return next((number for number, op in enumerate(ops) if op.output == name), -1)


def takes_a_table(op: Op) -> bool:
    """Whether a table can follow an operation in place."""
    return op.table is None and not isinstance(op, LrnOp)


def rescaling(scale: np.float32, source: Tensor, target: Tensor) -> NDArray[np.int8]:
    """int8 (256,): entry x + 128 is what an input's value x becomes in the result."""
    every = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.int32)
    bias, factor = np.array([-source.zero], np.int32), np.array([scale], np.float32)
    return requantize(every[:, None], bias, factor, target.zero, INT8_MIN, INT8_MAX)[:, 0]


def is_copy(scale: np.float32, source: Tensor, target: Tensor) -> bool:
    """Whether an input's values stay as they are."""
    return scale == 1 and source.zero == target.zero
