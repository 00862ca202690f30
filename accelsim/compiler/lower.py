"""A quantised network to operations: zero points noted for folding, fully connected layers as 1x1 convolutions over a
row of ``batch`` pixels, normalisation in two steps, a pointwise table attached to the operation that feeds it, inputs
of a concatenation made where it holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from accelsim.compiler.join import is_copy, maker_of, only_read_by, rescaling, takes_a_table
from accelsim.compiler.ops import AddOp, DepthwiseOp, Lowered, LrnOp, MatOp, Op, Part, VecOp, Window
from accelsim.errors import GraphError
from accelsim.nn.graph import (
    Pads,
    QAdd,
    QConcat,
    QConv,
    QGraph,
    QLayer,
    QLrn,
    QLut,
    QPool,
    QReshape,
    QSoftmax,
    Tensor,
    sources,
)


def lower(graph: QGraph, batch: int) -> Lowered:
    """Turn a quantised network into operations. Raises GraphError for a layer the machine cannot do."""
    lowering = _Lowering(graph, batch)
    for layer in graph.layers:
        lowering.add(layer)
    root, ops = {name: lowering.whole(name) for name in lowering.root}, tuple(lowering.ops)
    readers: dict[str, tuple[Op, ...]] = {}
    makers: dict[str, tuple[Op, ...]] = {}
    for op in ops:
        makers[root[op.output]] = (*makers.get(root[op.output], ()), op)
        for tensor in dict.fromkeys(root[name] for name in op.inputs):
            readers[tensor] = (*readers.get(tensor, ()), op)
    return Lowered(
        ops=ops,
        readers=readers,
        makers=makers,
        tensors=lowering.tensors,
        root=root,
        inputs=graph.inputs,
        outputs=tuple(dict.fromkeys(root[name] for name in graph.outputs)),
        batch=batch,
        layers=tuple(dict.fromkeys(op.layer for op in ops)),
        fused=lowering.fused,
        parts=lowering.parts,
    )


@dataclass(slots=True)
class _Lowering:
    graph: QGraph
    batch: int
    root: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    fused: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = {name: name for name in self.graph.tensors}
        self.tensors = dict(self.graph.tensors)

    def add(self, layer: QLayer) -> None:
        """Append what does the work of one layer, if there is any."""
        if isinstance(layer, QSoftmax):
            return
        if isinstance(layer, QReshape):
            self.root[layer.output] = self.root[layer.input]
            return
        row = self.graph.row_of[layer.name]
        if isinstance(layer, QLut) and self._attachable(layer):
            self.ops[-1] = replace(self.ops[-1], output=layer.output, table=layer.table)
            if row != self.ops[-1].layer:
                self.fused[row] = self.ops[-1].layer
            return
        source, target = self.graph.tensors[sources(layer)[0]], self.graph.tensors[layer.output]
        match layer:
            case QConv():
                self.ops.append(_convolution(layer, row, source, target, self.batch))
            case QPool():
                self.ops.append(_pooling(layer, row, source, target))
            case QLut():
                self.ops.append(self._table(layer, row, source, target))
            case QAdd():
                self.ops.append(self._addition(layer, row, source, target))
            case QConcat():
                self._join(layer, row)
            case QLrn():
                self.ops += self._normalisation(layer, row, source, target)

    def _attachable(self, layer: QLut) -> bool:
        """Whether ``layer`` can be done in place right after its producer: it is the only reader of its result."""
        if not self.ops or isinstance(self.ops[-1], LrnOp) or layer.input in self.graph.outputs:
            return False
        readers = [x for x in self.graph.layers if layer.input in sources(x)]
        return self.ops[-1].output == layer.input and self.ops[-1].table is None and len(readers) == 1

    def _pointwise(self, source: Tensor, target: Tensor) -> tuple[Window, bool]:
        """The 1x1 window of an operation on every value, and whether it runs over the batch."""
        flat = source.shape[:2] == (1, 1)
        return (_batch_window(source.size, target.size, self.batch) if flat else _window(source, target)), flat

    def _table(self, layer: QLut, row: str, source: Tensor, target: Tensor) -> Op:
        window, flat = self._pointwise(source, target)
        return VecOp(
            name=layer.name, layer=row, inputs=(layer.input,), output=layer.output, raw=layer.output, window=window,
            batched=flat, kind="lut", table=layer.table,
        )  # fmt: skip

    def _addition(self, layer: QAdd, row: str, source: Tensor, target: Tensor) -> Op:
        window, flat = self._pointwise(source, target)
        return AddOp(
            name=layer.name, layer=row, inputs=layer.inputs, output=layer.output, raw=layer.output, window=window,
            batched=flat, factors=layer.factors, bias=layer.bias, scale=layer.scale, zero=target.zero, lo=layer.lo,
            hi=layer.hi,
        )  # fmt: skip

    def _join(self, layer: QConcat, row: str) -> None:
        """Every input to its channels of the result; see ``join.py``."""
        target, first, before = self.graph.tensors[layer.output], 0, len(self.ops)
        for number, (name, scale) in enumerate(zip(layer.inputs, layer.scales)):
            source = self.graph.tensors[name]
            copied, alone = is_copy(scale, source, target), only_read_by(layer, name, self.graph)
            own = copied and alone and self.root[name] == name and name not in self.graph.inputs
            part = name if own else f"{layer.name}.{number}"
            self.parts[part] = Part(layer.output, first, observed=own)
            first += source.shape[2]
            if not own:
                self.root[part] = part
                self.tensors[part] = replace(target, name=part, shape=source.shape)
                self._bring(name, part, row, None if copied else rescaling(scale, source, target), alone)
        if len(self.ops) == before:
            makers = [op for op in self.ops if self.whole(op.output) == self.whole(layer.output)]
            self.fused[row] = makers[-1].layer

    def _bring(self, name: str, part: str, row: str, table: NDArray[np.int8] | None, alone: bool) -> None:
        """The values of a tensor as a part of another, which ``alone`` reads it."""
        at = maker_of(name, self.ops)
        if table is not None and alone and at >= 0 and takes_a_table(self.ops[at]):
            self.ops[at] = replace(self.ops[at], output=part, table=table)
            return
        window, flat = self._pointwise(self.graph.tensors[name], self.tensors[part])
        self.ops.append(
            VecOp(
                name=part, layer=row, inputs=(name,), output=part, raw=part, window=window, batched=flat,
                kind="mov" if table is None else "lut", table=table,
            )
        )  # fmt: skip

    def whole(self, name: str) -> str:
        """The tensor that holds the bytes of ``name``: a part lies in a larger one."""
        while name in self.parts:
            name = self.parts[name].whole
        return self.root[name]

    def _normalisation(self, layer: QLrn, row: str, source: Tensor, target: Tensor) -> tuple[Op, Op]:
        squares = f"{layer.name}.squares"
        self.root[squares] = squares
        self.tensors[squares] = Tensor(name=squares, shape=source.shape, scale=np.float32(1), zero=0)
        window, flat = self._pointwise(source, target)
        square = VecOp(
            name=squares, layer=row, inputs=(layer.input,), output=squares, raw=squares, window=window, batched=flat,
            kind="lut", table=layer.square, observed=False,
        )  # fmt: skip
        normalise = LrnOp(
            name=layer.name, layer=row, inputs=(layer.input, squares), output=layer.output, raw=layer.output,
            window=window, batched=flat, size=layer.size, before=layer.before, index_scale=layer.index_scale,
            index_zero=layer.index_zero, factor=layer.factor, scale=layer.scale, zero_in=source.zero,
            zero=target.zero,
        )  # fmt: skip
        return square, normalise


def _pooling(layer: QPool, row: str, source: Tensor, target: Tensor) -> VecOp:
    return VecOp(
        name=layer.name, layer=row, inputs=(layer.input,), output=layer.output, raw=layer.output,
        window=_window(source, target, kernel=layer.kernel, stride=layer.stride, pads=layer.pads), batched=False,
        kind="max" if layer.kind == "maxpool" else "avg", zero_in=source.zero, scale_in=source.scale,
        zero=target.zero, scale=target.scale, include_pad=layer.count_include_pad, lo=layer.lo, hi=layer.hi,
    )  # fmt: skip


def _convolution(layer: QConv, row: str, source: Tensor, target: Tensor, batch: int) -> Op:
    weights, kernel = layer.weights, (layer.weights.shape[1], layer.weights.shape[2])
    whole = layer.groups == 1 and kernel == source.shape[:2] and layer.pads == (0, 0, 0, 0)
    whole = whole and target.shape[:2] == (1, 1) and layer.dilation == (1, 1)
    if layer.kind == "fc" and not whole and source.shape[:2] != (1, 1):
        raise GraphError(layer=layer.name, problem="a fully connected layer must cover its whole input")
    batched = layer.kind == "fc" or whole
    if batched:
        weights = weights.reshape(weights.shape[0], 1, 1, -1)
        window = _batch_window(source.size, target.size, batch)
    else:
        window = _window(source, target, kernel=kernel, stride=layer.stride, pads=layer.pads, dilation=layer.dilation)
    shared = {
        "name": layer.name, "layer": row, "inputs": (layer.input,), "output": layer.output, "raw": layer.output,
        "window": window, "batched": batched, "bias": layer.bias, "scale": layer.scale, "zero_in": source.zero,
        "zero": target.zero, "lo": layer.lo, "hi": layer.hi,
    }  # fmt: skip
    if 1 < layer.groups == window.in_c == window.out_c and not batched:
        return DepthwiseOp(weights=weights[..., 0], **shared)
    return MatOp(weights=weights, groups=layer.groups, **shared)


def _window(
    source: Tensor,
    target: Tensor,
    *,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    (in_h, in_w, in_c), (out_h, out_w, out_c) = source.shape, target.shape
    return Window(
        in_h=in_h, in_w=in_w, in_c=in_c, out_h=out_h, out_w=out_w, out_c=out_c, kernel=kernel, stride=stride, pads=pads,
        dilation=dilation,
    )  # fmt: skip


def _batch_window(in_c: int, out_c: int, batch: int) -> Window:
    return Window(in_h=1, in_w=batch, in_c=in_c, out_h=1, out_w=batch, out_c=out_c)
