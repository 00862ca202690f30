"""The compiler's view of a layer: matrix work on the array, window work on the vector unit, and tensor views.

``lower.py`` makes these from a quantised network. Tensors are named; every operation writes one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import Pads, Tensor

ONE = np.float32(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The geometry of a sliding window over one image, or over a row of ``batch`` pixels."""

    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns of input under one window."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation))  # type: ignore[return-value]

    def rows_in(self, count: int) -> int:
        """Input rows (padding included) under ``count`` output rows."""
        return (count - 1) * self.stride[0] + self.span[0]

    def cols_in(self, count: int) -> int:
        """Input columns (padding included) under ``count`` output columns."""
        return (count - 1) * self.stride[1] + self.span[1]

    def first_row(self, row: int) -> int:
        """The first input row under output row ``row``; negative in the padding."""
        return row * self.stride[0] - self.pads[0]

    def last_row(self, stop: int) -> int:
        """One past the last real input row that output rows below ``stop`` touch."""
        return min(self.in_h, (stop - 1) * self.stride[0] - self.pads[0] + self.span[0])

    def rows_ready(self, given: int) -> int:
        """Output rows that can be computed from the first ``given`` input rows; none before there is one."""
        if given >= self.in_h:
            return self.out_h
        if given <= 0:
            return 0
        return min(self.out_h, max(0, (given + self.pads[0] - self.span[0]) // self.stride[0] + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """What all operations share. ``batched``: the window slides over the images of the batch, not over an image.

    ``raw`` is the tensor before the table and equals ``output`` without one. A tensor that is not one of the
    network's is not observed (``observed`` is False).
    """

    name: str
    layer: str
    inputs: tuple[str, ...]
    output: str
    raw: str
    window: Window
    batched: bool
    table: NDArray[np.int8] | None = None
    observed: bool = True

    @property
    def input(self) -> str:
        """The tensor the window slides over."""
        return self.inputs[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatOp(Op):
    """``rq(x * weights + bias)``: weights int8 (k, r, s, c/groups), ``bias`` before the zero point is folded in."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    groups: int
    zero_in: int
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VecOp(Op):
    """Work of the vector unit: ``max`` over a window, ``avg`` (sum, then rq), ``lut`` (a table) or ``mov`` (a copy).

    The last two have 1x1 windows.
    """

    kind: str
    zero_in: int = 0
    scale_in: np.float32 = ONE
    zero: int = 0
    scale: np.float32 = ONE
    include_pad: bool = False
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseOp(Op):
    """A convolution of every channel with its own kernel, on the vector unit: weights int8 (c, r, s)."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    zero_in: int
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOp(Op):
    """``rq(a * factors[0] + b * factors[1] + bias)``, one scale for all channels."""

    factors: tuple[int, int]
    bias: int
    scale: np.float32
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LrnOp(Op):
    """Normalisation of ``inputs[0]`` by its squares ``inputs[1]``; see ``nn.graph.QLrn`` for the integer rules."""

    size: int
    before: int
    index_scale: np.float32
    index_zero: int
    factor: NDArray[np.int8]
    scale: np.float32
    zero_in: int
    zero: int


@dataclass(frozen=True, slots=True)
class Part:
    """Channels from ``first`` on of the tensor ``whole``; ``observed`` if they are a tensor of the network, too."""

    whole: str
    first: int
    observed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """Operations in order. ``root[t]`` is the stored tensor behind a (reshaped) tensor; ``tensors[t]`` its form.

    ``readers`` and ``makers`` are the operations that read and write a stored tensor, of the whole network. A tensor
    in ``parts`` lies in some channels of a larger one and nowhere else.
    """

    ops: tuple[Op, ...]
    readers: dict[str, tuple[Op, ...]]
    makers: dict[str, tuple[Op, ...]]
    tensors: dict[str, Tensor]
    root: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # stored tensors
    batch: int
    layers: tuple[str, ...]
    fused: dict[str, str]  # row of the network file -> row whose instructions do its work
    parts: dict[str, Part] = field(default_factory=dict)

    def lanes(self, tensor: str) -> tuple[int, int]:
        """(first channel, channels of a pixel) of the stored tensor that holds the pixels of ``tensor``."""
        first = 0
        while tensor in self.parts:
            first, tensor = first + self.parts[tensor].first, self.parts[tensor].whole
        return first, self.tensors[tensor].shape[2]


def folded_bias(op: MatOp | DepthwiseOp) -> NDArray[np.int32]:
    """``bias - zero_in * sum(weights)``, modulo 2**32: with it gemm and mac multiply raw bytes."""
    total = op.weights.reshape(len(op.weights), -1).sum(axis=1, dtype=np.int64)
    return (op.bias.astype(np.int64) - op.zero_in * total).astype(np.uint32).view(np.int32)


def bordered(op: Op) -> bool:
    """Whether the operation reads the padding of its input as bytes that hold the zero point."""
    return isinstance(op, MatOp | DepthwiseOp)


def needs_acc(op: Op) -> bool:
    """Whether an operation keeps int32 sums."""
    return not isinstance(op, VecOp) or op.kind == "avg"
