"""Post-training quantisation: float :class:`Graph` and calibration inputs to an int8 :class:`QGraph`.

Activations get one scale and zero point per tensor, weights one symmetric scale per output channel; see
``docs/workloads.md`` for the rules in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.forward import forward, parameters, pointwise, pre_name
from accelsim.nn.graph import Graph, Layer, QConv, QGraph, QLayer, QLut, QPool, QReshape, QSoftmax, Tensor
from accelsim.nn.shapes import Shape, infer_shapes
from accelsim.numerics import INT8_MAX, INT8_MIN

METHODS = ("max", "percentile")
TAIL_PERCENT = 0.01  # `percentile` cuts this share off each end
TINY = 2.0**-64  # ranges and steps below this count as zero: their quotients could leave float32
BIAS_LIMIT = 2.0**30  # |bias| at scale sx * sw stays below, so that int32 leaves room for the sum

FIXED_RANGES = {"tanh": (np.float32(1 / 127), 0), "sigmoid": (np.float32(1 / 255), INT8_MIN)}
"""(scale, zero) of the functions whose range is known."""


def quantize(graph: Graph, calibration: NDArray[Any], method: str = "max") -> QGraph:
    """Quantise ``graph`` with ranges observed on ``calibration``, float32 (n, h, w, c).

    ``method`` is ``max`` (the observed extremes) or ``percentile`` (0.01 % cut off each end). Raises
    GraphError for an impossible graph, missing or non-finite weights, or calibration inputs that do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"unknown calibration method '{method}': one of {', '.join(METHODS)}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below, by name
        values = forward(graph, calibration)
    builder = _Builder(graph, infer_shapes(graph), values, method)
    for index, layer in enumerate(graph.layers):
        if layer.name not in builder.produced:
            builder.add(layer, _fused_relu(graph, index))
    return builder.finish()


def tensor_for(name: str, shape: Shape, low: float, high: float) -> Tensor:
    """The int8 tensor whose range covers ``low`` .. ``high`` and always 0; 0 is represented exactly."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < TINY:
        return Tensor(name=name, shape=shape, scale=np.float32(1), zero=0)
    scale = np.float32((high - low) / 255)
    zero = int(np.clip(np.rint(INT8_MIN - low / float(scale)), INT8_MIN, INT8_MAX))
    return Tensor(name=name, shape=shape, scale=scale, zero=zero)


def quantize_values(values: NDArray[Any], tensor: Tensor) -> NDArray[np.int8]:
    """float -> int8 of the same shape: ``clamp(rint(x / scale) + zero)``, in float32.

    Raises GraphError when a value is not finite.
    """
    if not np.isfinite(values).all():
        raise GraphError(tensor.name, "holds values that are not finite")
    with np.errstate(over="ignore"):
        scaled = np.rint(values.astype(np.float32, copy=False) / tensor.scale)
    return np.clip(scaled.astype(np.float64) + tensor.zero, INT8_MIN, INT8_MAX).astype(np.int8)


def dequantize(values: NDArray[np.int8], tensor: Tensor) -> NDArray[np.float32]:
    """int8 -> float32 of the same shape: ``scale * (q - zero)``."""
    return (values.astype(np.int32) - tensor.zero).astype(np.float32) * tensor.scale


def table_for(kind: str, source: Tensor, result: Tensor) -> NDArray[np.int8]:
    """int8 (256,): entry x + 128 is the function of int8 value x, computed in float64 and rounded once."""
    real = (np.arange(INT8_MIN, INT8_MAX + 1) - source.zero) * np.float64(source.scale)
    wanted = np.rint(pointwise(kind, real) / np.float64(result.scale)) + result.zero
    return np.clip(wanted, INT8_MIN, INT8_MAX).astype(np.int8)


def quantize_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], sx: np.float32
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """(int8 weights in -127..127, int32 bias at scale sx * sw, float32 sw): one scale per output channel.

    A channel's scale is its largest weight / 127, or more if its bias would not fit int32 otherwise.
    """
    flat = np.abs(weights.reshape(len(weights), -1).astype(np.float64)).max(axis=1)
    sw = np.maximum(flat / 127, np.abs(bias.astype(np.float64)) / (float(sx) * BIAS_LIMIT))
    sw = np.where((sw * float(sx) < TINY) | (sw < TINY), 1.0, sw).astype(np.float32)
    per_channel = sw.reshape(-1, *[1] * (weights.ndim - 1))
    quantized = np.clip(np.rint(weights / per_channel), -127, 127).astype(np.int8)
    step = (sx * sw).astype(np.float64)
    return quantized, np.rint(bias / step).astype(np.int32), sw


def _fused_relu(graph: Graph, index: int) -> Layer | None:
    """The relu that is the only consumer of conv or fc ``index``, unless that has another activation."""
    host = graph.layers[index]
    if host.kind not in ("conv", "fc") or host.activation not in ("", "relu"):
        return None
    users = [layer for layer in graph.layers if layer.input == host.name]
    return users[0] if len(users) == 1 and users[0].kind == "relu" else None


@dataclass
class _Builder:
    """Collects the quantised layers in file order."""

    graph: Graph
    shapes: dict[str, Shape]
    values: dict[str, NDArray[np.float32]]
    method: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[QLayer] = field(default_factory=list)
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    produced: dict[str, str] = field(default_factory=dict)  # file layer or input -> tensor

    def __post_init__(self) -> None:
        self.calibrated(self.graph.input, self.shapes[self.graph.input])
        self.produced[self.graph.input] = self.graph.input

    def calibrated(self, name: str, shape: Shape) -> Tensor:
        """A tensor with the range that the calibration saw."""
        values = self.values[name]
        if not np.isfinite(values).all():
            raise GraphError(name, "calibration gives values that are not finite")
        if self.method == "max":
            low, high = values.min(), values.max()
        else:
            low, high = np.percentile(values, [TAIL_PERCENT, 100 - TAIL_PERCENT])
        return self.put(tensor_for(name, shape, low, high))

    def put(self, tensor: Tensor) -> Tensor:
        self.tensors[tensor.name] = tensor
        return tensor

    def keep(self, layer: Layer, source: Tensor) -> Tensor:
        """The tensor of a layer that does not change its input's quantisation."""
        shape = self.shapes[layer.name]
        return self.put(Tensor(name=layer.name, shape=shape, scale=source.scale, zero=source.zero))

    def add(self, layer: Layer, relu: Layer | None) -> None:
        source = self.tensors[self.produced[layer.input]]
        self.rows[layer.name] = (layer.kind, layer.name)
        self.produced[layer.name] = layer.name
        match layer.kind:
            case "conv" | "fc":
                self.add_conv(layer, source, relu)
            case "maxpool" | "avgpool":
                self.add_pool(layer, source)
            case "relu" | "tanh" | "sigmoid":
                self.add_table(layer.name, layer.kind, source, layer.name)
            case "flatten":
                self.keep(layer, source)
                self.layers.append(
                    QReshape(name=layer.name, kind="flatten", input=source.name, output=layer.name)
                )
            case _:
                self.layers.append(QSoftmax(name=layer.name, kind="softmax", input=source.name))

    def add_conv(self, layer: Layer, source: Tensor, relu: Layer | None) -> None:
        shape = self.shapes[layer.name]
        table = layer.activation if layer.activation in FIXED_RANGES else ""
        if relu:
            self.rows[relu.name] = ("relu", layer.name)
            self.produced[layer.name] = self.produced[relu.name] = relu.name
        output = pre_name(layer.name) if table else self.produced[layer.name]
        result = self.calibrated(output, shape)
        weights, bias = parameters(layer)
        if layer.kind == "fc":
            weights = weights.reshape(layer.channels, *source.shape)
        quantized, int_bias, sw = quantize_weights(weights, bias, source.scale)
        depthwise = 1 < layer.groups == layer.channels == source.shape[2]
        kind = "depthwise" if depthwise else layer.kind
        self.rows[layer.name] = (kind, layer.name)
        self.layers.append(
            QConv(
                name=layer.name, kind=kind, input=source.name, output=output, weights=quantized,
                bias=int_bias, scale=(source.scale * sw).astype(np.float32) / result.scale,
                stride=layer.stride, pads=layer.pads, dilation=layer.dilation, groups=layer.groups,
                lo=result.zero if relu or layer.activation == "relu" else INT8_MIN, hi=INT8_MAX,
            )
        )  # fmt: skip
        if table:
            self.add_table(f"{layer.name}.{table}", table, result, layer.name)

    def add_pool(self, layer: Layer, source: Tensor) -> None:
        if layer.kind == "maxpool":
            self.keep(layer, source)
        else:
            self.calibrated(layer.name, self.shapes[layer.name])
        self.layers.append(
            QPool(
                name=layer.name, kind=layer.kind, input=source.name, output=layer.name, kernel=layer.kernel,
                stride=layer.stride, pads=layer.pads, count_include_pad=layer.count_include_pad,
                lo=INT8_MIN, hi=INT8_MAX,
            )
        )  # fmt: skip

    def add_table(self, name: str, kind: str, source: Tensor, output: str) -> None:
        if kind in FIXED_RANGES:
            scale, zero = FIXED_RANGES[kind]
            result = self.put(Tensor(name=output, shape=source.shape, scale=scale, zero=zero))
        else:
            result = self.calibrated(output, source.shape)
        table = table_for(kind, source, result)
        self.layers.append(QLut(name=name, kind=kind, input=source.name, output=output, table=table))

    def finish(self) -> QGraph:
        outputs = [layer.output for layer in self.layers if not isinstance(layer, QSoftmax)]
        if not outputs:
            raise GraphError(self.graph.name, "no layer runs on the accelerator")
        rows = tuple((layer.name, *self.rows[layer.name]) for layer in self.graph.layers)
        return QGraph(
            name=self.graph.name, inputs=(self.graph.input,), outputs=(outputs[-1],), tensors=self.tensors,
            layers=tuple(self.layers), rows=rows,
        )  # fmt: skip
