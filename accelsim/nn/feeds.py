"""The inputs of a network, given as one array (when it has one input) or by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.shapes import Shape

Feeds: TypeAlias = NDArray[Any] | Mapping[str, NDArray[Any]]


def by_name(feeds: Feeds, inputs: Sequence[tuple[str, Shape]], dtype: str = "") -> dict[str, NDArray[Any]]:
    """Every input's array (n, h, w, c) by name, in the order of ``inputs`` (name, (h, w, c)).

    Raises GraphError when one is missing or unknown, has another shape or number of images, or is not a ``dtype``.
    """
    names = [name for name, _ in inputs]
    if not isinstance(feeds, Mapping):
        if len(names) != 1:
            raise GraphError(names[0], "several inputs need an array each, by name", ", ".join(names))
        feeds = {names[0]: feeds}
    for name in feeds:
        if name not in names:
            raise GraphError(name, "the network has no such input", ", ".join(names))
    found: dict[str, NDArray[Any]] = {}
    for name, shape in inputs:
        if name not in feeds:
            raise GraphError(name, "has no values")
        found[name] = _checked(name, np.asarray(feeds[name]), shape, dtype)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise GraphError(names[0], f"every input needs the same number of images, got {listed}")
    return found


def _checked(name: str, array: NDArray[Any], shape: Shape, dtype: str) -> NDArray[Any]:
    fits = array.ndim == 4 and array.shape[1:] == shape and len(array) > 0
    if not fits or (dtype and array.dtype != dtype):
        kind, got = (f"{dtype} ", f"{array.dtype} ") if dtype else ("", "")
        expected = ", ".join(map(str, shape))
        raise GraphError(name, f"expected {kind}inputs of shape [N, {expected}], got {got}{list(array.shape)}")
    return array
