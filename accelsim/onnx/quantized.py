"""What the operators of a quantised model see: int8 tensors with scales of their own, and layers made of them.

Everything is int8 here: uint8 values and zero points are brought down by 128, which changes nothing they stand for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import Layer, QGraph, QLayer, QLut, QReshape, QSoftmax, Tensor, sources
from accelsim.nn.layouts import Layout
from accelsim.nn.shapes import Shape, layer_shape
from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.onnx.context import Context, title
from accelsim.onnx.problems import Refusal, shown
from accelsim.onnx.values import Node, Value
from accelsim.onnx.windows import Window, check_channels

VALUES = np.arange(INT8_MIN, INT8_MAX + 1)
FREE = (-inf, inf)
ALL = (INT8_MIN, INT8_MAX)

Limits = tuple[int, int]
Table = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Quant:
    """Scale and zero point of a tensor in accelsim, and the type that the model gives it."""

    scale: np.float32
    zero: int
    kind: str = "int8"

    @property
    def shift(self) -> int:
        """What the model's integers are above accelsim's."""
        return 128 if self.kind == "uint8" else 0

    def limits(self, low: float, high: float) -> Limits:
        """The integers that a clamp to ``low`` .. ``high`` leaves."""
        found = []
        for number, end in ((low, INT8_MIN), (high, INT8_MAX)):
            wanted = end if np.isinf(number) else np.rint(number / np.float64(self.scale)) + self.zero
            found.append(int(np.clip(wanted, INT8_MIN, INT8_MAX)))
        return found[0], found[1]

    def padded(self, value: Value, real: bool) -> Value:
        """A value of this scale with the number that pads it, if any, as a real one or as the model's integer."""
        if value.frame is None or value.real == real:
            return replace(value, real=real)
        zero, fill = self.zero + self.shift, value.frame.fill
        if real:
            fill = (fill - zero) * float(self.scale)
        else:
            wanted = np.rint(fill / np.float64(self.scale)) + self.zero
            fill = float(np.clip(wanted, INT8_MIN, INT8_MAX)) + self.shift
        return replace(value, real=real, frame=replace(value.frame, fill=fill))


Emit = Callable[[Quant, Limits], Value]
"""Makes a layer whose result has this scale and is clamped to these integers."""


@dataclass(frozen=True, eq=False)
class Pending:
    """A float value of a QDQ model: a layer that waits for the QuantizeLinear which says how its result is stored.

    Behind a convolution or product, ``scaled(factor, offset)`` is the one that gives ``factor * y + offset``, both
    (channels,); in the model's tensor ``trailing`` dimensions stand behind that of the channels.
    """

    node: Node
    emit: Emit
    limits: tuple[float, float] = FREE
    clamps: tuple[Node, ...] = ()
    scaled: Callable[[NDArray[np.float64], NDArray[np.float64]], Pending] | None = None
    channels: int = 0
    trailing: int = 0

    def clamped(self, node: Node, low: float, high: float) -> Pending:
        """With a Relu or Clip behind it."""
        both = (float(np.clip(self.limits[0], low, high)), float(np.clip(self.limits[1], low, high)))
        return replace(self, limits=both, clamps=(*self.clamps, node))


class QuantizedContext(Context):
    """Collects the layers of an int8 network."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.quants: dict[str, Quant] = {}
        self.made: dict[str, Tensor] = {}
        self.qlayers: list[QLayer] = []
        self.rows: list[tuple[str, str, str]] = []
        self.integer_inputs: set[str] = set()
        self.settled: dict[tuple[Emit, Quant, Limits], Value] = {}
        self.clamps: set[tuple[Node, str]] = set()

    def start(self, name: str, layout: Layout, kind: str) -> Value:
        if kind in ("uint8", "int8"):
            self.integer_inputs.add(name)
        self.shapes[name] = layout.hwc
        return Value(
            layer=name, layout=layout, stored={layout.hwc: name}, kind=kind, real=name not in self.integer_inputs
        )

    def integers_taken(self) -> dict[str, tuple[np.float32, int]]:
        quants = {name: self.quants[name] for name in sorted(self.integer_inputs & set(self.quants))}
        return {name: (quant.scale, quant.zero + quant.shift) for name, quant in quants.items()}

    def output(self, name: str) -> Value:
        found = self.known(name)
        if isinstance(found, Pending):
            raise Refusal(
                f"is the float result of {found.node.label}", "a QuantizeLinear must follow, to give it a scale"
            )
        if not isinstance(found, Value) or found.layer in self.shapes:
            raise Refusal("is an input or a constant", "nothing has to be computed for it; leave it out of the model")
        if found.frame is not None:
            raise Refusal("is what a Pad gives", "padding can be done by the Conv or pooling that follows it, only")
        return found

    def quant(self, node: Node, scale: int, zero: int) -> Quant:
        """Scale and zero point of an activation, from two inputs of the node."""
        scales = self.constant(node, scale, "scale").reshape(-1)
        if node.given(zero):
            zeros = self.constant(node, zero, "zero point").reshape(-1)
            kind = zeros.dtype.name
        else:
            zeros, kind = np.zeros(1, np.int8), self._kind(node)
        if scales.size != 1 or zeros.size != 1:
            raise Refusal("has a scale for each channel of an activation", "one scale for a whole tensor can be run")
        if kind not in ("uint8", "int8"):
            raise Refusal(f"stores activations as {kind}", "int8 and uint8 can be run")
        number = np.float32(scales[0])
        if scales.dtype.kind not in "fV" or not np.isfinite(number) or number <= 0:
            raise Refusal(f"its scale is {number:g}", "a scale must be finite and above 0")
        return Quant(number, int(zeros[0]) - (128 if kind == "uint8" else 0), kind)

    def _kind(self, node: Node) -> str:
        """The type of what a node without zero points stores or reads, as ONNX has it."""
        if node.op == "QuantizeLinear":
            numbers = self.file.onnx.TensorProto
            wanted = node.attributes.get("output_dtype", 0) or numbers.UINT8
            return numbers.DataType.Name(wanted).lower() if wanted in numbers.DataType.values() else str(wanted)
        for value in (self.values.get(name) for name in node.inputs):
            if isinstance(value, Value):
                return self.quants[value.layer].kind if value.layer in self.quants else value.kind
        return "uint8"

    def integers_of(self, node: Node, index: int, quant: Quant) -> Value:
        """An int8 or uint8 activation that the node reads with the scale and zero point ``quant``."""
        value = self.value(node, index)
        if value.real:
            raise Refusal(f"its input {shown(node.inputs[index])!r} is float", "a QuantizeLinear must stand between")
        return self.as_quantized(value, quant)

    def as_quantized(self, value: Value, quant: Quant) -> Value:
        """The value, if it is stored with this scale; an integer input of the model learns it so."""
        known = self.quants.get(value.layer)
        if known is None:
            self.store(value.layer, value.layout.hwc, quant)
        elif (known.scale, known.zero) != (quant.scale, quant.zero):
            got, wanted = (f"{q.scale:g} and {q.zero + q.shift}" for q in (known, quant))
            raise Refusal(f"reads with scale and zero point {wanted} what was stored with {got}",
                          "a QuantizeLinear must stand between")  # fmt: skip
        return value

    def dequantized(self, node: Node, index: int = 0) -> tuple[Value, Quant]:
        """A real activation that is stored in integers, and how."""
        value = self.value(node, index)
        if not value.real or value.layer not in self.quants:
            what = "float" if value.real else "integer"
            raise Refusal(f"its input {shown(node.inputs[index])!r} is {what}",
                          "a float operator must stand between DequantizeLinear and QuantizeLinear")  # fmt: skip
        return value, self.quants[value.layer]

    def store(self, name: str, hwc: Shape, quant: Quant) -> Tensor:
        """A new tensor."""
        self.quants[name] = quant
        self.made[name] = Tensor(name=name, shape=hwc, scale=quant.scale, zero=quant.zero)
        return self.made[name]

    def push(self, layer: QLayer, hwc: Shape, quant: Quant, layout: Layout | None = None) -> Value:
        """A new layer and what it gives."""
        if not isinstance(layer, QSoftmax):
            self.store(layer.output, hwc, quant)
        self.qlayers.append(layer)
        self.rows.append((layer.name, layer.kind, layer.name))
        layout = layout or Layout.channels_first(hwc)
        return Value(layer=layer.name, layout=layout, stored={hwc: layer.name}, real=False)

    def checked(
        self, node: Node, kind: str, value: Value, weights: tuple[int, ...], found: Window, groups: int
    ) -> Shape:
        """The (h, w, c) that a windowed layer gives; ``weights`` is the shape of its weights (k, r, s, c / groups).

        Raises Refusal when it is impossible.
        """
        layer = Layer(
            name=node.label, kind="conv" if weights else kind, input=value.layer, kernel=found.kernel,
            stride=found.stride, pads=found.pads, dilation=found.dilation, groups=groups,
            channels=weights[0] if weights else 0,
        )  # fmt: skip
        try:
            hwc = layer_shape(layer, value.layout.hwc)
        except GraphError as error:
            raise Refusal(error.problem, error.hint) from None
        if weights:
            check_channels(weights[3], groups, value.layout.hwc[2])
        return hwc

    def make_flat(self, node: Node, value: Value) -> str:
        if value.layer not in self.quants:
            raise Refusal("flattens an input that has no scale yet", "quantise the input first")
        name = self.name(title(node), node.label)
        layer = QReshape(name=name, kind="flatten", input=value.layer, output=name)
        return self.push(layer, (1, 1, value.size), self.quants[value.layer]).layer

    def table(
        self, node: Node, value: Value, quant: Quant, function: Table, kind: str = "lut", limits: Limits = ALL
    ) -> Value:
        """A pointwise function of real numbers as a table, computed in float64, and a clamp behind it."""
        known = self.quants[value.layer]
        real = (VALUES - known.zero) * np.float64(known.scale)
        wanted = np.rint(function(real) / np.float64(quant.scale)) + quant.zero
        return self.mapped(node, value, quant, np.clip(wanted, *limits), kind)

    def mapped(self, node: Node, value: Value, quant: Quant, wanted: NDArray[Any], kind: str = "lut") -> Value:
        """A table of what each of -128 .. 127 becomes."""
        name = self.name(title(node), node.label)
        table = np.clip(wanted, INT8_MIN, INT8_MAX).astype(np.int8)
        layer = QLut(name=name, kind=kind, input=value.layer, output=name, table=table)
        return self.push(layer, value.layout.hwc, quant, value.layout)

    def settle(self, pending: Pending, quant: Quant, limits: Limits | None = None) -> Value:
        """Make the layer that was waiting, once for each scale and ``limits``, by default those behind it.

        A clamp behind it has a row of its own and no work.
        """
        limits = quant.limits(*pending.limits) if limits is None else limits
        key = (pending.emit, quant, limits)
        if key not in self.settled:
            try:
                self.settled[key] = pending.emit(quant, limits)
            except Refusal as refusal:
                raise Refusal(refusal.problem, refusal.hint, refusal.label or pending.node.label) from None
        value = self.settled[key]
        for node in pending.clamps:
            if (node, value.layer) not in self.clamps:
                self.clamps.add((node, value.layer))
                self.rows.append((self.name(title(node), node.label), node.op.lower(), value.layer))
        return value

    def network(self, name: str, inputs: list[Value], outputs: list[Value]) -> QGraph:
        """The int8 network. Raises GraphError when no layer does anything."""
        wanted = {value.layer for value in outputs}
        kept: list[QLayer] = []
        for layer in reversed(self.qlayers):
            if layer.name in wanted:
                wanted.update(sources(layer))
                kept.append(layer)
        kept.sort(key=lambda layer: isinstance(layer, QSoftmax))
        kept = [
            *reversed([q for q in kept if not isinstance(q, QSoftmax)]),
            *(q for q in kept if isinstance(q, QSoftmax)),
        ]
        if all(isinstance(layer, QReshape | QSoftmax) for layer in kept):
            raise GraphError(name, "no layer runs on the accelerator")
        softmax = {layer.name: layer.input for layer in kept if isinstance(layer, QSoftmax)}
        if len(softmax) > 1:
            raise GraphError(next(iter(softmax)), "only one softmax can run on the host")
        results = [value.layer for value in outputs if value.layer not in softmax]
        results = [result for result in results if result not in softmax.values()] + list(softmax.values())
        hosts = {layer.name for layer in kept}
        return QGraph(
            name=name, inputs=tuple(value.layer for value in inputs), outputs=tuple(dict.fromkeys(results)),
            tensors={t: tensor for t, tensor in self.made.items() if t in wanted}, layers=tuple(kept),
            rows=tuple(row for row in self.rows if row[2] in hosts),
        )  # fmt: skip


def plain(value: Value) -> Value:
    """The value, if no padding of it is still to be done."""
    if value.frame is not None:
        raise Refusal("reads what a Pad gives", "padding can be done by the Conv or pooling that follows it, only")
    return value
