"""Post-training quantisation: float :class:`Graph` and calibration inputs to an int8 :class:`QGraph`.

Activations get one scale and zero point per tensor, weights one symmetric scale per output channel; see
``docs/workloads.md`` for the rules in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.forward import evaluate, pre_name
from accelsim.nn.functions import CLAMPS, POINTWISE, Function, Limits
from accelsim.nn.graph import Graph, Layer, QConcat, QConv, QGraph, QLayer, QLut, QPool, QReshape, QSoftmax, Tensor
from accelsim.nn.ranges import METHODS, find_range
from accelsim.nn.scales import FIXED_RANGES, QuantizedWeights, quantize_values, quantize_weights, tensor_for
from accelsim.nn.shapes import WEIGHTED, Shape, infer_shapes, parameter_shapes
from accelsim.nn.sharing import keeps_quantisation, towards_concat
from accelsim.nn.tables import add_layer, clamp_limits, concat_layer, lrn_layer, table_for
from accelsim.nn.weights import parameter_blocks
from accelsim.numerics import INT8_MAX, INT8_MIN

Maker: TypeAlias = Callable[[Tensor], QLayer]
"""Makes a layer for the tensor that it computes."""


def quantize(graph: Graph, calibration: Feeds, method: str = "max") -> QGraph:
    """Quantise ``graph`` with ranges observed on ``calibration``: float32 (n, h, w, c), or such arrays by input name.

    ``method`` is one of ``ranges.METHODS``. Layers are computed and quantised one after the other, and neither float
    weights nor values are kept longer than needed. What only a concatenation reads takes the quantisation of its
    result. Raises GraphError for an impossible graph, missing or non-finite weights, or calibration inputs that do not
    fit.
    """
    if method not in METHODS:
        raise ValueError(f"unknown calibration method '{method}': one of {', '.join(METHODS)}")
    builder = _Builder(graph, infer_shapes(graph), method)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name
        for name, values in by_name(calibration, graph.inputs).items():
            builder.start(name, values.astype(np.float32, copy=False))
        for index, layer in enumerate(graph.layers):
            if layer.name not in builder.produced:
                builder.add(layer, _fused_clamp(graph, index))
            builder.forget(index)
    return builder.finish()


def _fused_clamp(graph: Graph, index: int) -> Layer | None:
    """The relu or relu6 that is all that reads layer ``index``, if both can be done by one requantisation."""
    host = graph.layers[index]
    if host.kind not in (*WEIGHTED, "add") or host.activation not in ("", *CLAMPS) or host.name in graph.results:
        return None
    users = [layer for layer in graph.layers if host.name in layer.inputs]
    return users[0] if len(users) == 1 and users[0].kind in CLAMPS else None


def _last_readers(graph: Graph) -> list[list[str]]:
    """For each layer, the values that no later layer reads."""
    last: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        last |= dict.fromkeys(layer.inputs, index)
    done: list[list[str]] = [[] for _ in graph.layers]
    for name, index in last.items():
        done[index].append(name)
    return done


@dataclass
class _Builder:
    """Collects the quantised layers in file order."""

    graph: Graph
    shapes: dict[str, Shape]
    method: str
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # float, of what is still to be read
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[QLayer] = field(default_factory=list)
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    produced: dict[str, str] = field(default_factory=dict)  # file layer or input -> tensor
    makers: dict[str, tuple[int, Maker]] = field(default_factory=dict)  # of tensors that may yet change; see adopt

    def __post_init__(self) -> None:
        self.done = _last_readers(self.graph)
        self.flexible = towards_concat(self.graph)

    def start(self, name: str, values: NDArray[np.float32]) -> None:
        """A network input."""
        self.values[name] = values
        self.calibrated(name, values)
        self.produced[name] = name

    def forget(self, index: int) -> None:
        """Drop the float values that layer ``index`` was the last to read."""
        for name in self.done[index]:
            self.values.pop(name, None)

    def calibrated(self, name: str, values: NDArray[np.float32]) -> Tensor:
        """A tensor with the range of float ``values``, which the calibration saw."""
        return self.put(tensor_for(name, values.shape[1:], *find_range(name, values, self.method)))

    def put(self, tensor: Tensor) -> Tensor:
        self.tensors[tensor.name] = tensor
        return tensor

    def keep(self, layer: Layer, source: Tensor) -> Tensor:
        """The tensor of a layer that does not change its input's quantisation."""
        return self.put(replace(source, name=layer.name, shape=self.shapes[layer.name]))

    def make(self, result: Tensor, maker: Maker) -> None:
        """Add the layer that computes ``result``."""
        if result.name in self.flexible:
            self.makers[result.name] = len(self.layers), maker
        self.layers.append(maker(result))

    def adopt(self, name: str, model: Tensor) -> None:
        """Give a tensor the quantisation of ``model``, which is all that becomes of it; see ``sharing``."""
        if name not in self.flexible:
            return
        index, maker = self.makers.get(name, (-1, None))
        layer = self.layers[index] if maker else None
        if layer and keeps_quantisation(layer):
            self.adopt(layer.input, model)
            source = self.tensors[layer.input]
            if (source.scale, source.zero) != (model.scale, model.zero):
                return  # others read what it reads
        changed = self.put(replace(self.tensors[name], scale=model.scale, zero=model.zero))
        if isinstance(layer, QConcat):
            for part in layer.inputs:
                self.adopt(part, model)
        if maker:
            self.layers[index] = maker(changed)

    def add(self, layer: Layer, clamp: Layer | None) -> None:
        """Quantise ``layer``, and ``clamp``, the relu or relu6 that is done with it."""
        source = self.tensors[self.produced[layer.input]]
        weights = None
        if layer.kind in WEIGHTED:
            value, weights = self.weigh(layer, source.scale)
        else:
            value = evaluate(layer, [self.values[name] for name in layer.inputs], None)
        self.rows[layer.name] = (layer.kind, layer.name)
        self.produced[layer.name] = layer.name
        if clamp:
            self.rows[clamp.name] = (clamp.kind, layer.name)
            self.produced[layer.name] = self.produced[clamp.name] = clamp.name
        match layer.kind:
            case "conv" | "fc" | "gemm":
                assert weights is not None
                value = self.add_conv(layer, source, weights, value, clamp)
            case "add":
                value = self.add_sum(layer, value, clamp)
            case "concat":
                self.add_concat(layer, value)
            case "lrn":
                self.add_lrn(layer, source, value)
            case "maxpool" | "avgpool":
                self.add_pool(layer, source, value)
            case kind if kind in POINTWISE:
                self.add_table(layer.name, layer.function, source, layer.name, value)
            case "flatten":
                flatten = QReshape(name=layer.name, kind="flatten", input=source.name, output=layer.name)
                self.make(self.keep(layer, source), lambda _: flatten)
            case _:
                self.layers.append(QSoftmax(name=layer.name, kind="softmax", input=source.name))
        self.values[clamp.name if clamp else layer.name] = value

    def weigh(self, layer: Layer, sx: np.float32) -> tuple[NDArray[np.float32], QuantizedWeights]:
        """The float value of a conv, fc or gemm, and its integer weights, block by block."""
        shape, x = self.shapes[layer.input], self.values[layer.input]
        values: list[NDArray[np.float32]] = []
        weights = np.empty(parameter_shapes(layer, shape)[0], np.int8)
        bias, sw = np.empty(layer.channels, np.int32), np.empty(layer.channels, np.float32)
        for channels, part, offset in parameter_blocks(layer, shape):
            values.append(evaluate(layer, [x], (part, offset)))
            weights[channels], bias[channels], sw[channels] = quantize_weights(part, offset, sx)
        return np.concatenate(values, axis=3) if len(values) > 1 else values[0], (weights, bias, sw)

    def sources(self, layer: Layer) -> tuple[Tensor, ...]:
        return tuple(self.tensors[self.produced[name]] for name in layer.inputs)

    def clamped(
        self, layer: Layer, value: NDArray[np.float32], clamp: Layer | None
    ) -> tuple[NDArray[np.float32], Tensor, list[Limits]]:
        """The value behind the clamps that requantisation does, its tensor, and those clamps."""
        limits = [host.function.clamp for host in (layer, clamp) if host]
        clamps = [ends for ends in limits if ends]
        for ends in clamps:
            value = np.clip(value, *ends)
        return value, self.calibrated(self.produced[layer.name], value), clamps

    def add_sum(
        self, layer: Layer, value: NDArray[np.float32], clamp: Layer | None
    ) -> NDArray[np.float32]:
        value, tensor, clamps = self.clamped(layer, value, clamp)
        a, b = self.sources(layer)
        self.make(tensor, lambda result: add_layer(layer.name, (a, b), result, clamp_limits(clamps, result)))
        return value

    def add_concat(self, layer: Layer, value: NDArray[np.float32]) -> None:
        tensor = self.calibrated(layer.name, value)
        for part in self.sources(layer):
            self.adopt(part.name, tensor)
        self.make(tensor, lambda result: concat_layer(layer.name, self.sources(layer), result))

    def add_conv(
        self,
        layer: Layer,
        source: Tensor,
        weights: QuantizedWeights,
        value: NDArray[np.float32],
        clamp: Layer | None,
    ) -> NDArray[np.float32]:
        """The weighted layer and its table, if it has one; returns the float value behind them."""
        table = layer.activation if layer.activation not in ("", *CLAMPS) else ""
        clamps: list[Limits] = []
        if table:
            tensor = self.calibrated(pre_name(layer.name), value)
        else:
            value, tensor, clamps = self.clamped(layer, value, clamp)
        quantized, int_bias, sw = weights
        kernel = source.shape if layer.kind == "fc" else (1, 1, source.shape[2])
        if layer.kind != "conv":
            quantized = quantized.reshape(layer.channels, *kernel)
        depthwise = 1 < layer.groups == layer.channels == source.shape[2]
        kind = "depthwise" if depthwise else layer.kind
        self.rows[layer.name] = (kind, layer.name)

        def maker(result: Tensor) -> QConv:
            lo, hi = clamp_limits(clamps, result)
            return QConv(
                name=layer.name, kind=kind, input=source.name, output=result.name, weights=quantized, bias=int_bias,
                scale=(source.scale * sw).astype(np.float32) / result.scale, stride=layer.stride, pads=layer.pads,
                dilation=layer.dilation, groups=layer.groups, lo=lo, hi=hi,
            )  # fmt: skip

        self.make(tensor, maker)
        if table:
            value = layer.function(value)
            self.add_table(f"{layer.name}.{table}", layer.function, tensor, layer.name, value)
        return value

    def add_lrn(self, layer: Layer, source: Tensor, value: NDArray[np.float32]) -> None:
        assert layer.norm is not None
        norm, x = layer.norm, quantize_values(self.values[layer.input], source)
        tensor = self.calibrated(layer.name, value)
        self.make(tensor, lambda result: lrn_layer(layer.name, norm, source, result, x))

    def add_pool(self, layer: Layer, source: Tensor, value: NDArray[np.float32]) -> None:
        tensor = self.keep(layer, source) if layer.kind == "maxpool" else self.calibrated(layer.name, value)
        pool = QPool(
            name=layer.name, kind=layer.kind, input=source.name, output=layer.name, kernel=layer.kernel,
            stride=layer.stride, pads=layer.pads, count_include_pad=layer.count_include_pad,
            lo=INT8_MIN, hi=INT8_MAX,
        )  # fmt: skip
        self.make(tensor, lambda _: pool)

    def add_table(
        self, name: str, function: Function, source: Tensor, output: str, value: NDArray[np.float32]
    ) -> None:
        if function.kind in FIXED_RANGES:
            scale, zero = FIXED_RANGES[function.kind]
            tensor = self.put(Tensor(name=output, shape=source.shape, scale=scale, zero=zero))
        else:
            tensor = self.calibrated(output, value)

        def maker(result: Tensor) -> QLut:
            table = table_for(function, source, result)
            return QLut(name=name, kind=function.kind, input=source.name, output=output, table=table)

        self.make(tensor, maker)

    def finish(self) -> QGraph:
        if all(isinstance(layer, QReshape | QSoftmax) for layer in self.layers):
            raise GraphError(self.graph.name, "no layer runs on the accelerator")
        rows = tuple((layer.name, *self.rows[layer.name]) for layer in self.graph.layers)
        return QGraph(
            name=self.graph.name, inputs=tuple(name for name, _ in self.graph.inputs),
            outputs=tuple(self.produced[name] for name in self.graph.results), tensors=self.tensors,
            layers=tuple(self.layers), rows=rows,
        )  # fmt: skip
