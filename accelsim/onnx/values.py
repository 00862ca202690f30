"""What flows between the nodes of a model: activations as accelsim holds them, and arrays that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from accelsim.nn.graph import Pads, Tensor
from accelsim.nn.layouts import Layout
from accelsim.nn.shapes import Shape


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the model: its operator (with its domain unless that is the standard one) and what it says."""

    label: str  # for messages
    op: str
    inputs: tuple[str, ...]  # an empty name is an input left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: Any

    def given(self, index: int) -> bool:
        """Whether input ``index`` is there."""
        return index < len(self.inputs) and bool(self.inputs[index])


@dataclass(frozen=True, slots=True)
class Frame:
    """Padding that was asked for and is left to the next convolution or pooling."""

    pads: Pads
    fill: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Value:
    """An activation: the layer that makes it and how it lies there.

    ``stored`` names every layer that holds the same bytes, by its (h, w, c): a flatten and what it flattens. In a
    quantised model ``tensor`` has scale and zero point, and ``real`` says that the model sees it dequantised.
    ``host`` is behind the softmax, where nothing is computed any more.
    """

    layer: str
    layout: Layout
    stored: Mapping[Shape, str] = field(default_factory=dict)
    frame: Frame | None = None
    tensor: Tensor | None = None
    real: bool = True
    host: bool = False
    kind: str = "float32"  # the model's own type, where it is an input

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions as the model sees them, without the batch."""
        if self.frame is None:
            return self.layout.shape
        top, bottom, left, right = self.frame.pads
        sides = [top + bottom, left + right][2 - (len(self.layout.shape) - 1) :]
        return (self.layout.shape[0], *(a + b for a, b in zip(self.layout.shape[1:], sides)))

    @property
    def size(self) -> int:
        """Elements of one image."""
        return prod(self.layout.shape)

    def seen(self, layout: Layout) -> Value:
        """The same bytes, seen in another way."""
        return replace(self, layout=layout)


@dataclass(frozen=True, eq=False)
class Quantized:
    """Weights behind a DequantizeLinear: integers, scale and zero point as they are in the file."""

    values: Any
    scale: Any
    zero: Any
    axis: int

    @property
    def real(self) -> Any:
        """float32 of the shape of ``values``."""
        scale, zero = np.asarray(self.scale, np.float32), np.asarray(self.zero).astype(np.int32)
        if scale.ndim:
            sides = [1] * self.values.ndim
            sides[self.axis] = -1
            scale = scale.reshape(sides)
            zero = zero.reshape(sides) if zero.ndim else zero
        return (self.values.astype(np.int32) - zero).astype(np.float32) * scale
