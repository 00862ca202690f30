"""The compiler's view of a layer: matrix work on the array, window work on the vector unit, and tensor views.

``lower`` folds zero points into biases, turns fully connected layers into 1x1 convolutions over a row of ``batch``
pixels, and attaches a pointwise table to the operation that feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import Pads, QConv, QGraph, QLut, QPool, QReshape, QSoftmax, Tensor

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

    def last_row(self, stop: int) -> int:
        """One past the last real input row that output rows below ``stop`` touch."""
        return min(self.in_h, (stop - 1) * self.stride[0] - self.pads[0] + self.span[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """What all operations share. ``batched``: the window slides over the images of the batch, not over an image.

    ``raw`` is the tensor before the table and equals ``output`` without one.
    """

    name: str
    layer: str
    input: str
    output: str
    raw: str
    window: Window
    batched: bool
    table: NDArray[np.int8] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatOp(Op):
    """``rq(x * weights + bias)``: weights int8 (k, r, s, c/groups), zero point of x folded into ``bias``."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    scale: NDArray[np.float32]
    groups: int
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VecOp(Op):
    """Work of the vector unit: ``max`` over a window, ``avg`` (sum, then rq), or ``lut`` (a table, 1x1 window)."""

    kind: str
    zero_in: int = 0
    scale_in: np.float32 = ONE
    zero: int = 0
    scale: np.float32 = ONE
    include_pad: bool = False
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """Operations in order. ``root[t]`` is the stored tensor behind a (reshaped) tensor; ``zero`` its zero point."""

    ops: tuple[Op, ...]
    tensors: dict[str, Tensor]
    root: dict[str, str]
    input: str
    output: str
    batch: int
    layers: tuple[str, ...]
    fused: dict[str, str]  # row of the network file -> row whose instructions do its work


def lower(graph: QGraph, batch: int) -> Lowered:
    """Turn a quantised network into operations. Raises GraphError for a layer the machine cannot do."""
    root = {name: name for name in graph.tensors}
    ops: list[Op] = []
    fused: dict[str, str] = {}
    row_of = graph.row_of
    for layer in graph.layers:
        if isinstance(layer, QSoftmax):
            continue
        if isinstance(layer, QReshape):
            root[layer.output] = root[layer.input]
            continue
        if isinstance(layer, QLut) and ops and _attachable(graph, ops[-1], layer):
            ops[-1] = replace(ops[-1], output=layer.output, table=layer.table)
            if row_of[layer.name] != ops[-1].layer:
                fused[row_of[layer.name]] = ops[-1].layer
            continue
        ops.append(_lower_layer(graph, layer, row_of[layer.name], batch))
    return Lowered(
        ops=tuple(ops),
        tensors=dict(graph.tensors),
        root=root,
        input=graph.input,
        output=graph.output,
        batch=batch,
        layers=tuple(dict.fromkeys(op.layer for op in ops)),
        fused=fused,
    )


def _attachable(graph: QGraph, producer: Op, layer: QLut) -> bool:
    """Whether ``layer`` can be done in place right after ``producer``: it is the only reader of its result."""
    readers = [x for x in graph.layers if getattr(x, "input", None) == layer.input]
    return producer.output == layer.input and producer.table is None and len(readers) == 1


def _lower_layer(graph: QGraph, layer: QConv | QPool | QLut, row: str, batch: int) -> Op:
    source, target = graph.tensors[layer.input], graph.tensors[layer.output]
    match layer:
        case QConv():
            return _lower_conv(layer, row, source, target, batch)
        case QPool():
            window = _window(source, target, kernel=layer.kernel, stride=layer.stride, pads=layer.pads)
            return VecOp(
                name=layer.name,
                layer=row,
                input=layer.input,
                output=layer.output,
                raw=layer.output,
                window=window,
                batched=False,
                kind="max" if layer.kind == "maxpool" else "avg",
                zero_in=source.zero,
                scale_in=source.scale,
                zero=target.zero,
                scale=target.scale,
                include_pad=layer.count_include_pad,
                lo=layer.lo,
                hi=layer.hi,
            )
        case QLut():
            flat = source.shape[:2] == (1, 1)
            window = _batch_window(source.size, target.size, batch) if flat else _window(source, target)
            return VecOp(
                name=layer.name,
                layer=row,
                input=layer.input,
                output=layer.output,
                raw=layer.output,
                window=window,
                batched=flat,
                kind="lut",
                table=layer.table,
            )


def _lower_conv(layer: QConv, row: str, source: Tensor, target: Tensor, batch: int) -> MatOp:
    weights, kernel = layer.weights, (layer.weights.shape[1], layer.weights.shape[2])
    whole = layer.groups == 1 and kernel == source.shape[:2] and layer.pads == (0, 0, 0, 0)
    whole = whole and target.shape[:2] == (1, 1) and layer.dilation == (1, 1)
    if layer.kind == "fc" and not whole and source.shape[:2] != (1, 1):
        raise GraphError(layer=layer.name, problem="a fully connected layer must cover its whole input")
    batched = layer.kind == "fc" or whole
    if batched:
        weights = np.ascontiguousarray(weights.reshape(weights.shape[0], 1, 1, -1))
        window = _batch_window(source.size, target.size, batch)
    else:
        window = _window(source, target, kernel=kernel, stride=layer.stride, pads=layer.pads, dilation=layer.dilation)
    total = weights.astype(np.int64).sum(axis=(1, 2, 3))
    bias = (layer.bias.astype(np.int64) - source.zero * total).astype(np.uint32).view(np.int32)
    return MatOp(
        name=layer.name,
        layer=row,
        input=layer.input,
        output=layer.output,
        raw=layer.output,
        window=window,
        batched=batched,
        weights=weights,
        bias=bias,
        scale=layer.scale,
        groups=layer.groups,
        zero=target.zero,
        lo=layer.lo,
        hi=layer.hi,
    )


def _window(
    source: Tensor,
    target: Tensor,
    *,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    return Window(
        in_h=source.shape[0],
        in_w=source.shape[1],
        in_c=source.shape[2],
        out_h=target.shape[0],
        out_w=target.shape[1],
        out_c=target.shape[2],
        kernel=kernel,
        stride=stride,
        pads=pads,
        dilation=dilation,
    )


def _batch_window(in_c: int, out_c: int, batch: int) -> Window:
    return Window(in_h=1, in_w=batch, in_c=in_c, out_h=1, out_w=batch, out_c=out_c)
