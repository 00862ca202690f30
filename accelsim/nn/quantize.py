"""Post-training quantisation: float :class:`Graph` and calibration inputs to an int8 :class:`QGraph`.

Activations get one scale and zero point per tensor, weights one symmetric scale per output channel; see
``docs/workloads.md`` for the rules in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.forward import evaluate, pre_name
from accelsim.nn.functions import CLAMPS, POINTWISE, Function
from accelsim.nn.graph import Graph, Layer, QConv, QGraph, QLayer, QLut, QPool, QReshape, QSoftmax, Tensor
from accelsim.nn.scales import FIXED_RANGES, QuantizedWeights, quantize_values, quantize_weights, tensor_for
from accelsim.nn.shapes import WEIGHTED, Shape, infer_shapes, parameter_shapes
from accelsim.nn.tables import add_layer, clamp_limits, concat_layer, lrn_layer, table_for
from accelsim.nn.weights import parameter_blocks
from accelsim.numerics import INT8_MAX, INT8_MIN

METHODS = ("max", "percentile")
TAIL_PERCENT = 0.01  # `percentile` cuts this share off each end


def quantize(graph: Graph, calibration: Feeds, method: str = "max") -> QGraph:
    """Quantise ``graph`` with ranges observed on ``calibration``: float32 (n, h, w, c), or such arrays by input name.

    ``method`` is ``max`` (the observed extremes) or ``percentile`` (0.01 % cut off each end). Layers are computed and
    quantised one after the other, and neither float weights nor values are kept longer than needed. Raises
    GraphError for an impossible graph, missing or non-finite weights, or calibration inputs that do not fit.
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

    def __post_init__(self) -> None:
        self.done = _last_readers(self.graph)

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
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise GraphError(name, "calibration gives values that are not finite")
        if self.method == "percentile":
            low, high = np.percentile(values, [TAIL_PERCENT, 100 - TAIL_PERCENT])
        return self.put(tensor_for(name, values.shape[1:], low, high))

    def put(self, tensor: Tensor) -> Tensor:
        self.tensors[tensor.name] = tensor
        return tensor

    def keep(self, layer: Layer, source: Tensor) -> Tensor:
        """The tensor of a layer that does not change its input's quantisation."""
        shape = self.shapes[layer.name]
        return self.put(Tensor(name=layer.name, shape=shape, scale=source.scale, zero=source.zero))

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
                value, result, limits = self.clamped(layer, value, clamp)
                a, b = self.sources(layer)
                self.layers.append(add_layer(layer.name, (a, b), result, limits))
            case "concat":
                self.layers.append(concat_layer(layer.name, self.sources(layer), self.joined(layer, value)))
            case "lrn":
                self.add_lrn(layer, source, value)
            case "maxpool" | "avgpool":
                self.add_pool(layer, source, value)
            case kind if kind in POINTWISE:
                self.add_table(layer.name, layer.function, source, layer.name, value)
            case "flatten":
                self.keep(layer, source)
                self.layers.append(
                    QReshape(name=layer.name, kind="flatten", input=source.name, output=layer.name)
                )
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

    def joined(self, layer: Layer, value: NDArray[np.float32]) -> Tensor:
        """The tensor of a concatenation, of float ``value``."""
        return self.calibrated(layer.name, value)

    def clamped(
        self, layer: Layer, value: NDArray[np.float32], clamp: Layer | None
    ) -> tuple[NDArray[np.float32], Tensor, tuple[int, int]]:
        """The value behind the clamps that requantisation does, its tensor, and the limits (lo, hi) that do them."""
        limits = [host.function.clamp for host in (layer, clamp) if host]
        clamps = [ends for ends in limits if ends]
        for ends in clamps:
            value = np.clip(value, *ends)
        result = self.calibrated(self.produced[layer.name], value)
        return value, result, clamp_limits(clamps, result)

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
        if table:
            result, limits = self.calibrated(pre_name(layer.name), value), (INT8_MIN, INT8_MAX)
        else:
            value, result, limits = self.clamped(layer, value, clamp)
        quantized, int_bias, sw = weights
        kernel = source.shape if layer.kind == "fc" else (1, 1, source.shape[2])
        if layer.kind != "conv":
            quantized = quantized.reshape(layer.channels, *kernel)
        depthwise = 1 < layer.groups == layer.channels == source.shape[2]
        kind = "depthwise" if depthwise else layer.kind
        self.rows[layer.name] = (kind, layer.name)
        self.layers.append(
            QConv(
                name=layer.name, kind=kind, input=source.name, output=result.name, weights=quantized,
                bias=int_bias, scale=(source.scale * sw).astype(np.float32) / result.scale,
                stride=layer.stride, pads=layer.pads, dilation=layer.dilation, groups=layer.groups,
                lo=limits[0], hi=limits[1],
            )
        )  # fmt: skip
        if table:
            value = layer.function(value)
            self.add_table(f"{layer.name}.{table}", layer.function, result, layer.name, value)
        return value

    def add_lrn(self, layer: Layer, source: Tensor, value: NDArray[np.float32]) -> None:
        assert layer.norm is not None
        x = quantize_values(self.values[layer.input], source)
        result = self.calibrated(layer.name, value)
        self.layers.append(lrn_layer(layer.name, layer.norm, source, result, x))

    def add_pool(self, layer: Layer, source: Tensor, value: NDArray[np.float32]) -> None:
        if layer.kind == "maxpool":
            self.keep(layer, source)
        else:
            self.calibrated(layer.name, value)
        self.layers.append(
            QPool(
                name=layer.name, kind=layer.kind, input=source.name, output=layer.name, kernel=layer.kernel,
                stride=layer.stride, pads=layer.pads, count_include_pad=layer.count_include_pad,
                lo=INT8_MIN, hi=INT8_MAX,
            )
        )  # fmt: skip

    def add_table(
        self, name: str, function: Function, source: Tensor, output: str, value: NDArray[np.float32]
    ) -> None:
        if function.kind in FIXED_RANGES:
            scale, zero = FIXED_RANGES[function.kind]
            result = self.put(Tensor(name=output, shape=source.shape, scale=scale, zero=zero))
        else:
            result = self.calibrated(output, value)
        table = table_for(function, source, result)
        self.layers.append(QLut(name=name, kind=function.kind, input=source.name, output=output, table=table))

    def finish(self) -> QGraph:
        if all(isinstance(layer, QReshape | QSoftmax) for layer in self.layers):
            raise GraphError(self.graph.name, "no layer runs on the accelerator")
        rows = tuple((layer.name, *self.rows[layer.name]) for layer in self.graph.layers)
        return QGraph(
            name=self.graph.name, inputs=tuple(name for name, _ in self.graph.inputs),
            outputs=tuple(self.produced[name] for name in self.graph.results), tensors=self.tensors,
            layers=tuple(self.layers), rows=rows,
        )  # fmt: skip
