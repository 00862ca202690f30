"""How the arrays of a model in another format lie in accelsim's (n, h, w, c), and the way there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.shapes import Shape

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """One tensor as its model sees it: ``shape`` without the batch, over the (h, w, c) of accelsim.

    ``index`` has the shape ``shape`` and says where each element lies in the flat (h, w, c); None is the usual order
    of that rank: (c, h, w), (c, w) of an image of height 1, (c,) of one pixel. Every element lies somewhere once.
    """

    shape: tuple[int, ...]
    hwc: Shape
    index: Index | None = None

    @classmethod
    def channels_first(cls, hwc: Shape) -> Layout:
        """(c, h, w)."""
        h, w, c = hwc
        return cls(shape=(c, h, w), hwc=hwc)

    @classmethod
    def vector(cls, size: int) -> Layout:
        """(c,)."""
        return cls(shape=(size,), hwc=(1, 1, size))

    @property
    def places(self) -> Index:
        """``index``, also where the order is the usual one."""
        if self.index is not None:
            return self.index
        flat = np.arange(prod(self.hwc), dtype=np.intp).reshape(self.hwc)
        return flat.transpose(2, 0, 1).reshape(self.shape)

    def reshaped(self, shape: tuple[int, ...]) -> Layout:
        """The same elements in the same order under another shape of as many elements."""
        return self if shape == self.shape else self._with(self.places.reshape(shape))

    def transposed(self, axes: tuple[int, ...]) -> Layout:
        """Axes in another order, the batch not counted."""
        return self if axes == tuple(range(len(axes))) else self._with(self.places.transpose(axes))

    def flattened(self) -> Layout:
        """The same view of the same bytes, stored as one pixel of ``h * w * c`` channels."""
        return Layout(shape=self.shape, hwc=(1, 1, prod(self.hwc)), index=self.places)

    def _with(self, index: Index) -> Layout:
        return Layout(shape=index.shape, hwc=self.hwc, index=index)

    def lies(self, *order: int) -> bool:
        """Whether the axes of ``shape``, brought into ``order``, are the bytes of (h, w, c) as they lie."""
        places = self.places.transpose(order).reshape(-1)
        return bool((places == np.arange(len(places))).all())

    def same(self, other: Layout) -> bool:
        """Whether two tensors of one shape hold each element in the same place."""
        if self.shape != other.shape or self.hwc != other.hwc:
            return False
        return self.index is other.index or bool((self.places == other.places).all())

    def to_nhwc(self, array: NDArray[Any]) -> NDArray[Any]:
        """(n, *shape) -> (n, h, w, c)."""
        if self.index is None:
            h, w, c = self.hwc
            return np.ascontiguousarray(array.reshape(len(array), c, h, w).transpose(0, 2, 3, 1))
        flat = np.empty((len(array), prod(self.hwc)), array.dtype)
        flat[:, self.index.reshape(-1)] = array.reshape(len(array), -1)
        return flat.reshape(len(array), *self.hwc)

    def from_nhwc(self, array: NDArray[Any]) -> NDArray[Any]:
        """(n, h, w, c) -> (n, *shape)."""
        if self.index is None:
            moved = array.reshape(len(array), *self.hwc).transpose(0, 3, 1, 2)
            return np.ascontiguousarray(moved).reshape(len(array), *self.shape)
        return array.reshape(len(array), -1)[:, self.index.reshape(-1)].reshape(len(array), *self.shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class Port:
    """An input or output of a model in another format: its name and layout there.

    An input of integers has their ``scale`` and ``zero``: the real value is ``scale * (x - zero)``. ``also`` are other
    names under which a model gives the same output.
    """

    name: str
    layout: Layout
    scale: np.float32 | None = None
    zero: int = 0
    also: tuple[str, ...] = ()

    def real(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, *shape) as the model has it -> real values, (n, h, w, c)."""
        values = self.layout.to_nhwc(array)
        return values if self.scale is None else (values - np.float32(self.zero)) * self.scale


def own_shapes(
    inputs: Sequence[tuple[str, Shape]], ports: Mapping[str, Port]
) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape without the batch) of each input as its model has them."""
    return [(ports[name].name, ports[name].layout.shape) if name in ports else (name, hwc) for name, hwc in inputs]


def from_model(
    given: Mapping[str, NDArray[np.float32]], inputs: Sequence[tuple[str, Shape]], ports: Mapping[str, Port]
) -> dict[str, NDArray[np.float32]]:
    """Arrays by the names and in the layouts of a model, as accelsim's own."""
    found = {}
    for name, _ in inputs:
        port = ports.get(name)
        found[name] = given[name] if port is None else port.real(given[port.name])
    return found


def to_model(outputs: Mapping[str, NDArray[Any]], ports: Mapping[str, Port]) -> dict[str, NDArray[Any]]:
    """accelsim's outputs by the names and in the layouts of the model; others as they are."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in outputs.items():
        port = ports.get(name)
        own = port.layout.from_nhwc(array) if port else array
        found |= dict.fromkeys((port.name, *port.also) if port else (name,), own)
    return found
