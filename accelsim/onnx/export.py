"""A quantised network as an ONNX model in operator format: ``QLinearConv`` and its kin, NCHW, any batch.

Every node computes what the accelerator computes. Convolutions, products, clamps, tables and maxima have the same
bits in ONNX Runtime; its additions, averages and concatenations take other roads to the same real number and may
differ by one unit (see ``docs/quantize.md``).
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import QAdd, QConcat, QConv, QGraph, QLayer, QLrn, QLut, QPool, QReshape, QSoftmax, sources
from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.onnx.parts import Parts, weight_scales

FULL = (INT8_MIN, INT8_MAX)
SCALED = (QConv, QAdd, QConcat)
"""Layers whose operators say the scale of what they read."""


def to_operators(qgraph: QGraph, *, integers: bool = False, unsigned: bool = False) -> Any:
    """The network as an ``onnx.ModelProto`` of opset 17 with the operators of ``com.microsoft``.

    Inputs are float32 (N, c, h, w), quantised by the model, and outputs float32; with ``integers`` both are the int8
    tensors themselves. With ``unsigned`` activations are uint8, greater by 128 with their zero points, which is the
    same real number and runs faster on many processors. Raises GraphError, naming the layer, for what the format
    cannot say (local response normalisation), and MissingExtraError without the ``onnx`` package.
    """
    for layer in qgraph.layers:
        if isinstance(layer, QLrn):
            hint = "leave the layer out, or keep the network in accelsim's own format"
            raise GraphError(layer.name, "ONNX has no quantised local response normalisation", hint)
    exporter = _Exporter(qgraph, unsigned)
    exporter.inputs(integers)
    for layer in qgraph.layers:
        exporter.add(layer)
    exporter.outputs(integers)
    return exporter.parts.model(qgraph.name)


class _Exporter:
    """Writes the layers one after the other; ``value`` is the ONNX name of each tensor, ``flat`` those of rank 2."""

    def __init__(self, graph: QGraph, unsigned: bool) -> None:
        self.graph = graph
        self.parts = Parts(unsigned=unsigned)
        self.value: dict[str, str] = {}
        self.flat: set[str] = set()
        self.images: dict[str, tuple[int, int, int]] = {}  # vectors in channel, height, width order: what they were

    def inputs(self, integers: bool) -> None:
        for name in self.graph.inputs:
            h, w, c = self.graph.tensors[name].shape
            self.parts.input(name, ("N", c, h, w), integers)
            self.value[name] = name
            if not integers:
                self.value[name] = f"{name}.int8"
                self.parts.node("QuantizeLinear", [name, *self.scaled(name)], f"{name}.int8", f"{name}.quantize")

    def outputs(self, integers: bool) -> None:
        """What the host reads, and the softmax that it computes."""
        last = self.graph.layers[-1]
        for name in self.graph.outputs:
            value, (h, w, c) = self.value[name], self.graph.tensors[name].shape
            shape = ("N", h * w * c) if name in self.flat else ("N", c, h, w)
            if not integers:
                real = f"{name}.real"
                self.parts.node("DequantizeLinear", [value, *self.scaled(name)], real, f"{name}.dequantize")
                value = real
                if isinstance(last, QSoftmax) and name == self.graph.outputs[-1]:
                    self.parts.node("Softmax", [real], f"{last.name}.real", last.name, axis=1)
                    value = f"{last.name}.real"
            self.parts.output(value, shape, integers)

    def scaled(self, tensor: str) -> list[str]:
        """Names of the scale and the zero point of a tensor."""
        found = self.graph.tensors[tensor]
        return [
            self.parts.constant(f"{tensor}.scale", found.scale),
            self.parts.activations(f"{tensor}.zero", found.zero),
        ]

    def image(self, tensor: str) -> str:
        """The value of a tensor as (N, c, h, w)."""
        if tensor not in self.flat:
            return self.value[tensor]
        h, w, c = self.graph.tensors[tensor].shape
        shape = self.parts.constant(f"{tensor}.image.shape", np.array([-1, c, h, w], np.int64))
        return self.parts.once("Reshape", [self.value[tensor], shape], f"{tensor}.image")

    def vector(self, tensor: str) -> str:
        """The value of a tensor as (N, c * h * w)."""
        if tensor in self.flat:
            return self.value[tensor]
        return self.parts.once("Flatten", [self.value[tensor]], f"{tensor}.vector", axis=1)

    def together(self, layer: QAdd | QConcat) -> list[str]:
        """Value, scale and zero point of all inputs, which have one rank: that of a vector only if all are vectors."""
        flat = self.flat.issuperset(layer.inputs)
        if flat:
            self.flat.add(layer.output)
        form = self.vector if flat else self.image
        return [name for source in layer.inputs for name in (form(source), *self.scaled(source))]

    def add(self, layer: QLayer) -> None:
        match layer:
            case QConv(kind="fc"):
                self.add_fc(layer)
            case QConv():
                self.add_conv(layer)
            case QPool():
                self.add_pool(layer)
            case QAdd():
                names = [*self.together(layer), *self.scaled(layer.output)]
                self.clamped(layer, (layer.lo, layer.hi), "QLinearAdd", names)
            case QConcat():
                names = [*self.scaled(layer.output), *self.together(layer)]
                self.clamped(layer, FULL, "QLinearConcat", names, axis=1)
            case QLut():
                self.add_table(layer)
            case QReshape():
                self.add_flatten(layer)
            case QSoftmax():
                pass  # stands behind the outputs
            case QLrn():
                raise AssertionError("refused at the start")
            case _:
                assert_never(layer)

    def clamped(
        self, layer: Any, limits: tuple[int, int], kind: str, names: list[str], **attributes: Any
    ) -> None:
        """A node that makes the output of ``layer``, and the clip behind it if its limits are not those of int8."""
        self.value[layer.output] = layer.output
        if limits == FULL:
            self.parts.node(kind, names, layer.output, layer.name, **attributes)
            return
        raw = f"{layer.output}.raw"
        self.parts.node(kind, names, raw, layer.name, **attributes)
        ends = [self.parts.activations(f"{layer.name}.{end}", v) for end, v in zip(("lo", "hi"), limits)]
        self.parts.node("Clip", [raw, *ends], layer.output, f"{layer.name}.clip")

    def weighted(self, layer: QConv, weights: NDArray[np.int8]) -> tuple[list[str], list[str], str]:
        """Names of the weights with scale and zero point, of the output's scale and zero point, and of the bias."""
        source, result = self.graph.tensors[layer.input], self.graph.tensors[layer.output]
        scales = weight_scales(layer.name, layer.scale, source.scale, result.scale)
        constant = self.parts.constant
        names = [
            constant(f"{layer.name}.weight", weights),
            constant(f"{layer.name}.weight.scale", scales),
            constant(f"{layer.name}.weight.zero", np.zeros(len(scales), np.int8)),
        ]
        return names, self.scaled(layer.output), constant(f"{layer.name}.bias", layer.bias)

    def add_conv(self, layer: QConv) -> None:
        top, bottom, left, right = layer.pads
        weights, result, bias = self.weighted(layer, layer.weights.transpose(0, 3, 1, 2))
        names = [self.image(layer.input), *self.scaled(layer.input), *weights, *result, bias]
        self.clamped(
            layer, (layer.lo, layer.hi), "QLinearConv", names, kernel_shape=layer.weights.shape[1:3],
            strides=layer.stride, pads=(top, left, bottom, right), dilations=layer.dilation, group=layer.groups,
        )  # fmt: skip

    def add_fc(self, layer: QConv) -> None:
        """The product with a vector, whose order is that of the ONNX model: channel, height, width."""
        h, w, c = self.images.get(layer.input, self.graph.tensors[layer.input].shape)
        image = layer.weights.reshape(-1, h, w, c)
        weights, result, bias = self.weighted(layer, image.transpose(0, 3, 1, 2).reshape(len(image), -1))
        self.flat.add(layer.output)
        names = [self.vector(layer.input), *self.scaled(layer.input), *weights, bias, *result]
        self.clamped(layer, (layer.lo, layer.hi), "QGemm", names, transB=1)

    def add_pool(self, layer: QPool) -> None:
        top, bottom, left, right = layer.pads
        window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": (top, left, bottom, right)}
        limits, value = (layer.lo, layer.hi), self.image(layer.input)
        if layer.kind == "maxpool":
            self.clamped(layer, limits, "MaxPool", [value], **window)
            return
        names = [value, *self.scaled(layer.input), *self.scaled(layer.output)]
        if layer.kernel == self.graph.tensors[layer.input].shape[:2] and not any(layer.pads):
            self.clamped(layer, limits, "QLinearGlobalAveragePool", names)
        else:
            include = int(layer.count_include_pad)
            self.clamped(layer, limits, "QLinearAveragePool", names, **window, count_include_pad=include)

    def add_table(self, layer: QLut) -> None:
        """A look-up with the value itself as index: negative ones count from the end."""
        self.inherit(layer)
        entries = layer.table if self.parts.unsigned else np.roll(layer.table, INT8_MIN)
        table, index = self.parts.activations(f"{layer.name}.table", entries), f"{layer.name}.index"
        self.parts.node("Cast", [self.value[layer.input]], index, f"{layer.name}.cast", to=self.parts.int32)
        if any(isinstance(reader, SCALED) for reader in self.readers(layer.output)):
            self.clamped(layer, FULL, "Gather", [table, index], axis=0)
            return
        # Nothing behind a look-up tells what its integers stand for: a round trip through real numbers does.
        raw, real = (f"{layer.output}.{part}" for part in ("raw", "unscaled"))
        self.parts.node("Gather", [table, index], raw, layer.name, axis=0)
        self.parts.node("DequantizeLinear", [raw, *self.scaled(layer.output)], real, f"{layer.name}.dequantize")
        self.value[layer.output] = layer.output
        self.parts.node("QuantizeLinear", [real, *self.scaled(layer.output)], layer.output, f"{layer.name}.quantize")

    def readers(self, tensor: str) -> list[QLayer]:
        return [layer for layer in self.graph.layers if tensor in sources(layer)]

    def add_flatten(self, layer: QReshape) -> None:
        """The vector in the order of the ONNX model if only products read it, else pixel by pixel as in accelsim."""
        self.inherit(layer)
        value, (h, w, c) = self.value[layer.input], self.graph.tensors[layer.input].shape
        if layer.input not in self.flat and h * w > 1 and c > 1:
            if self.only_products_read(layer.output):
                self.images[layer.output] = (h, w, c)
            else:
                pixels, name = f"{layer.name}.pixels", f"{layer.name}.transpose"
                value = self.parts.node("Transpose", [value], pixels, name, perm=(0, 2, 3, 1))
        self.flat.add(layer.output)
        self.clamped(layer, FULL, "Flatten", [value], axis=1)

    def only_products_read(self, tensor: str) -> bool:
        """Whether the order of a vector's values is a matter of the weights of those that read it."""
        for layer in self.readers(tensor):
            if isinstance(layer, QConv) and layer.kind == "fc":
                continue
            if not isinstance(layer, QLut | QReshape) or not self.only_products_read(layer.output):
                return False
        return tensor not in self.graph.outputs

    def inherit(self, layer: QLut | QReshape) -> None:
        """The output has the rank and the order of the input."""
        if layer.input in self.flat:
            self.flat.add(layer.output)
        if layer.input in self.images:
            self.images[layer.output] = self.images[layer.input]
