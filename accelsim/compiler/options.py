"""Candidates for the operation that leads a chain, kept for all networks and machines on which they are the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from accelsim.arch import Arch
from accelsim.compiler.grid import Fitted, Surroundings, weight_of
from accelsim.compiler.matrixgrid import MatrixOptions, matrix_options
from accelsim.compiler.memo import Memo
from accelsim.compiler.ops import MatOp, Op
from accelsim.compiler.packing import Packing
from accelsim.compiler.shape import shape_of
from accelsim.compiler.vectorgrid import VectorOptions, vector_options

_KNOWN: Memo[Any] = Memo(96 << 20)
"""Candidates by what they depend on; the limit is in bytes."""


def fitting(
    head: Op, packings: Callable[[], Sequence[Packing]], arch: Arch, around: Surroundings, ub_bytes: int
) -> tuple[tuple[Packing, ...], Fitted]:
    """The packings of an operation, none for vector work, and its candidates that fit ``ub_bytes``.

    ``packings`` makes them; they must follow from the operation, the machine and the surroundings.
    """
    shape = shape_of(arch)
    key = _form(head), shape, around

    def make() -> MatrixOptions | VectorOptions:
        if isinstance(head, MatOp):
            return matrix_options(head, packings(), shape.arch, around)
        return vector_options(head, shape.arch, around)

    options: MatrixOptions | VectorOptions = _KNOWN.get(key, make, _bytes)
    known = options.packings if isinstance(options, MatrixOptions) else ()
    return known, _KNOWN.get((key, ub_bytes), lambda: options.fitted(ub_bytes), _bytes)


def _bytes(made: Any) -> int:
    """What candidates take in memory, about."""
    return 4096 + sum(weight_of(part) for part in (made.grid, getattr(made, "work", None)) if part is not None)


def _form(op: Op) -> Hashable:
    """Everything about an operation that its plans may depend on: no names, no weights."""
    names = ("name", "layer", "inputs", "output", "raw")
    values = [getattr(op, field.name) for field in fields(op) if field.name not in names]
    return type(op), *(value.shape if isinstance(value, np.ndarray) else value for value in values)
