"""A network as immutable values: the float :class:`Graph` of a file and the int8 :class:`QGraph` that runs.

Activations are (batch, height, width, channels); a flat vector is height 1, width 1. The dimension letters
are those of ``shapes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.functions import UNLIMITED, Function, Limits, Norm

Pads: TypeAlias = tuple[int, int, int, int]
"""Rows or columns added: (top, bottom, left, right)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Random weights that are made when they are needed; ``deviation`` is the root of their mean square."""

    seed: int
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One row of the network file, in float. Which fields matter depends on ``kind``."""

    name: str
    kind: str  # one of shapes.KINDS
    input: str  # name of the producing layer, or of a network input
    others: tuple[str, ...] = ()  # add, concat: names of the inputs behind the first
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    channels: int = 0  # output channels of conv, fc and gemm
    matrix: tuple[int, int] = (0, 0)  # gemm: rows and columns of its input, which is (1, *matrix)
    norm: Norm | None = None  # lrn
    count_include_pad: bool = False
    activation: str = ""  # conv, fc and gemm: "" or one of functions.POINTWISE; add: "" or one of functions.CLAMPS
    slope: float = 0.0  # leaky_relu, hard_sigmoid; see functions.Function
    limits: Limits = UNLIMITED  # clip: lowest and highest value
    weights: NDArray[np.float32] | None = None  # conv (k, r, s, c/groups); fc and gemm (k, c)
    bias: NDArray[np.float32] | None = None  # (k,)
    draw: Draw | None = None  # stands for weights and bias; see weights.parameters

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the layer reads, in order."""
        return (self.input, *self.others)

    @property
    def function(self) -> Function:
        """The pointwise function that the layer is, or that its ``activation`` names."""
        return Function(self.activation or self.kind, self.slope, self.limits)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A float network: layers in topological order; ``inputs`` are (name, (h, w, c)).

    ``outputs`` names the layers whose values the host reads, the last one if empty; see :attr:`results`.
    """

    name: str
    inputs: tuple[tuple[str, tuple[int, int, int]], ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[str, ...]:
        """The layers whose values leave the machine. A softmax runs on the host: its input leaves, and comes last."""
        last = self.layers[-1]
        if last.kind != "softmax":
            return self.outputs or (last.name,)
        others = [name for name in self.outputs if name not in (last.name, last.input)]
        return (*others, last.input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An int8 activation tensor: per-image shape (h, w, c); real value = scale * (q - zero)."""

    name: str
    shape: tuple[int, int, int]
    scale: np.float32
    zero: int

    @property
    def size(self) -> int:
        """Bytes of one image."""
        return self.shape[0] * self.shape[1] * self.shape[2]


@dataclass(frozen=True, kw_only=True)
class QConv:
    """Convolution, fully connected layer or matrix product, requantised: y = rq(sum((x - zx) * w) + bias).

    ``weights`` int8 (k, r, s, c/groups). An fc layer is the convolution whose kernel is its whole input; a gemm is
    the 1x1 convolution over an image of height 1 whose pixels are the rows of the matrix.
    ``bias`` int32 (k,) *without* the zero-point fold (the compiler folds -zx*sum(w)); ``scale`` float32 (k,).
    ``lo``/``hi`` clamp the output (ReLU is ``lo`` = output zero point).
    """

    name: str
    kind: str  # "conv" | "fc" | "depthwise" | "gemm"
    input: str
    output: str
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    stride: tuple[int, int]
    pads: Pads
    dilation: tuple[int, int]
    groups: int
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class QPool:
    """Max or average pooling.

    Average: rq(sum(x - zx) over real pixels), scale float32(sx / (sy * count)) per window, where ``count`` is
    the kernel size (``count_include_pad``) or the number of real pixels of that window. Max pooling ignores
    padding and keeps its input's quantisation. Every window holds a real pixel.
    """

    name: str
    kind: str  # "maxpool" | "avgpool"
    input: str
    output: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads
    count_include_pad: bool
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class QLut:
    """A pointwise function as a table: y = table[x + 128], int8 (256,)."""

    name: str
    kind: str  # one of functions.POINTWISE, or "lut"
    input: str
    output: str
    table: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class QAdd:
    """Sum of two tensors of one shape: ``t = a * factors[0] + b * factors[1]`` in int32, then rq.

    ``factors`` are ``rint(s / max(sa, sb) * 2**22)`` of each input's scale s, ``bias`` is
    ``-(za * factors[0] + zb * factors[1])`` and ``scale`` is ``float32(max(sa, sb) / 2**22 / sy)``; both hold for all
    channels.
    """

    name: str
    kind: str  # "add"
    inputs: tuple[str, str]
    output: str
    factors: tuple[int, int]
    bias: int
    scale: np.float32
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class QConcat:
    """Tensors of one height and width side by side in the channels of one, in the order of ``inputs``.

    Each value of input i becomes ``clamp(rint(float32(x - z_i) * scales[i]) + z_out, -128, 127)``, where ``scales[i]``
    is ``float32(s_i / s_out)``: a plain copy where scale and zero point are the output's.
    """

    name: str
    kind: str  # "concat"
    inputs: tuple[str, ...]
    output: str
    scales: tuple[np.float32, ...]


@dataclass(frozen=True, kw_only=True)
class QLrn:
    """Local response normalisation over ``size`` neighbouring channels, in integers:

    - ``s = square[x + 128]``, int8 >= 0,
    - ``S``, the int32 sum of s over channels ``c - size//2 .. c + (size - 1)//2`` that exist (see ``before``),
    - ``i = clamp(rint(float32(S) * index_scale) + index_zero, -128, 127)``,
    - ``f = factor[i + 128]``, int8 >= 0,
    - ``y = clamp(rint(float32((x - zx) * f) * scale) + zy, -128, 127)``; the scales are one float32 for all channels.
    """

    name: str
    kind: str  # "lrn"
    input: str
    output: str
    size: int
    square: NDArray[np.int8]
    index_scale: np.float32
    index_zero: int
    factor: NDArray[np.int8]
    scale: np.float32

    @property
    def before(self) -> int:
        """Channels of the window below its own; the others, ``size - 1 - before``, lie above."""
        return self.size // 2


@dataclass(frozen=True, kw_only=True)
class QReshape:
    """No work on the machine: the same bytes under another shape (flatten)."""

    name: str
    kind: str  # "flatten"
    input: str
    output: str


@dataclass(frozen=True, kw_only=True)
class QSoftmax:
    """Softmax of the dequantised logits, on the host; always last."""

    name: str
    kind: str  # "softmax"
    input: str


QLayer: TypeAlias = QConv | QPool | QLut | QAdd | QConcat | QLrn | QReshape | QSoftmax


def sources(layer: QLayer) -> tuple[str, ...]:
    """The tensors a layer reads, in order."""
    return layer.inputs if isinstance(layer, QAdd | QConcat) else (layer.input,)


@dataclass(frozen=True, kw_only=True)
class QGraph:
    """An int8 network: layers in topological order over named tensors.

    ``rows`` is one entry per layer of the network file, in file order: (layer name, kind, name of the QLayer
    that does its work). A fused layer (a ReLU inside ``rq``) names its host. A conv with a tanh activation
    becomes a QConv and a QLut; see :attr:`row_of`.
    """

    name: str
    inputs: tuple[str, ...]  # the tensors the host writes
    outputs: tuple[str, ...]  # the tensors the host reads; the last one is the logits of a classifier
    tensors: dict[str, Tensor]
    layers: tuple[QLayer, ...]
    rows: tuple[tuple[str, str, str], ...]

    @property
    def input(self) -> str:
        """The first input; most networks have one."""
        return self.inputs[0]

    @property
    def output(self) -> str:
        """The last output; most networks have one."""
        return self.outputs[-1]

    @property
    def roots(self) -> dict[str, str]:
        """The tensor that holds the bytes of each tensor, by name: a flatten has those of its input."""
        root = {name: name for name in self.tensors}
        for layer in self.layers:
            if isinstance(layer, QReshape):
                root[layer.output] = root[layer.input]
        return root

    @property
    def row_of(self) -> dict[str, str]:
        """Name of the file layer that each QLayer's time and traffic count to, by QLayer name.

        A QLayer with a row of its own counts there; one without (the table of ``activation: tanh``) counts to
        the row of the QLayer before it.
        """
        own = {host: name for name, _, host in reversed(self.rows)}  # of a fused pair, the first row counts
        result: dict[str, str] = {}
        current = ""
        for layer in self.layers:
            current = own.get(layer.name, current)
            result[layer.name] = current
        return result
