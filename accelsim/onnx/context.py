"""What the operators of a model see while it is read node by node."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn.graph import Layer
from accelsim.nn.layouts import Layout
from accelsim.nn.shapes import Shape, layer_shape
from accelsim.onnx.files import ModelFile
from accelsim.onnx.problems import Problems, Refusal, Skipped, shown
from accelsim.onnx.values import Node, Quantized, Value

NAME_LIMIT = 100


class Context:
    """Values by the names of the model, and the layers made of them.

    ``batch`` is the number of images that the model's own shapes are written for.
    """

    def __init__(self, file: ModelFile, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.opset = file.opset
        self.batch = 1
        self.values: dict[str, Any] = {}  # Value, Pending, Quantized or array; None where a node failed
        self.tensors: Mapping[str, Any] = {}  # initializers that were not asked for yet
        self.uses: Counter[str] = Counter()
        self.labels: dict[str, str] = {}  # of layers: what messages call their node
        self.layers: dict[str, Layer] = {}
        self.shapes: dict[str, Shape] = {}
        self.names: set[str] = set()
        self.affine: set[str] = set()  # 1x1 convolutions that are only a factor and an offset for each channel

    def start(self, name: str, layout: Layout, kind: str) -> Value:
        """An input of the model, ``kind`` its type."""
        if kind in ("uint8", "int8"):
            hint = "a float model reads float32; a quantised one has QuantizeLinear or QLinear operators"
            self.problems.add(self.labels[name], f"is {kind} and nothing in the model says what that stands for", hint)
        self.shapes[name] = layout.hwc
        return Value(layer=name, layout=layout, stored={layout.hwc: name}, kind=kind)

    def integers_taken(self) -> dict[str, tuple[np.float32, int]]:
        """Scale and zero point of each input that the model takes as integers."""
        return {}

    def output(self, name: str) -> Value:
        """What the model gives under a name. Raises Refusal, or Skipped after a failure."""
        found = self.known(name)
        if not isinstance(found, Value) or found.layer not in self.layers:
            raise Refusal("is an input or a constant", "nothing has to be computed for it; leave it out of the model")
        if found.frame is not None:
            raise Refusal("is what a Pad gives", "padding can be done by the Conv or pooling that follows it, only")
        return found

    def known(self, name: str) -> Any:
        """What a name stands for. Raises Refusal for a damaged weight or an unknown name, Skipped after a failure."""
        if name not in self.values:
            if name not in self.tensors:
                raise Refusal(f"its input {shown(name)!r} is made by no node before it", "nodes must be in order")
            self.values[name] = None
            self.values[name] = self.file.array(self.tensors[name])
        if self.values[name] is None:
            raise Skipped
        return self.values[name]

    def value(self, node: Node, index: int = 0) -> Value:
        """An activation that the node reads, its padding done or left to the caller."""
        if not node.given(index):
            raise Refusal(f"has no input {index + 1}")
        found = self.known(node.inputs[index])
        if isinstance(found, Value):
            if found.host:
                raise Refusal("reads what a softmax gives; softmax runs on the host and can only come last",
                              "cut the model behind the softmax")  # fmt: skip
            return found
        what = "a float value in a quantised model" if callable(getattr(found, "emit", None)) else "a constant"
        raise Refusal(f"its input {shown(node.inputs[index])!r} is {what}", _hint(what))

    def viewed(self, node: Node, index: int = 0) -> Value:
        """As :meth:`plain`, also behind a softmax."""
        found = self.known(node.inputs[index])
        if isinstance(found, Value) and found.host:
            return found
        return self.plain(node, index)

    def plain(self, node: Node, index: int = 0) -> Value:
        """An activation without padding that is still to be done."""
        value = self.value(node, index)
        if value.frame is not None:
            raise Refusal("reads what a Pad gives", "padding can be done by the Conv or pooling that follows it, only")
        return value

    def constant(self, node: Node, index: int, what: str) -> NDArray[Any]:
        """A known array that the node reads; dequantised if the model stores integers."""
        if not node.given(index):
            raise Refusal(f"has no {what}")
        found = self.known(node.inputs[index])
        if isinstance(found, Quantized):
            return found.real
        if not isinstance(found, np.ndarray):
            raise Refusal(f"its {what} must be constant, and {shown(node.inputs[index])!r} is computed")
        return found

    def numbers(self, node: Node, index: int, what: str) -> NDArray[np.float32]:
        """As :meth:`constant`, float32; no copy if that is what the file holds."""
        found = self.constant(node, index, what)
        if found.dtype.kind in "iub" or (found.dtype.kind not in "fV"):
            raise Refusal(f"its {what} {shown(node.inputs[index])!r} must be float32, got {found.dtype}",
                          "integers need scales: use QLinearConv, QGemm or DequantizeLinear")  # fmt: skip
        with np.errstate(over="ignore"):
            values = found.astype(np.float32, copy=False)
        if not finite(values):
            raise Refusal(f"its {what} {shown(node.inputs[index])!r} must be finite, and some values are not")
        return values

    def integers(self, node: Node, index: int, what: str) -> tuple[int, ...]:
        """A known list of whole numbers, or one."""
        found = self.constant(node, index, what)
        if found.dtype.kind not in "iu":
            raise Refusal(f"its {what} must be integers, got {found.dtype}")
        return tuple(int(number) for number in found.reshape(-1))

    def give(self, node: Node, value: Any, index: int = 0) -> None:
        """Set output ``index`` of the node."""
        if index < len(node.outputs) and node.outputs[index]:
            self.values[node.outputs[index]] = value

    def name(self, text: str, label: str) -> str:
        """A new layer name that files and assembly can carry, close to ``text``."""
        base = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:NAME_LIMIT] or "layer"
        name, number = base, 1
        while name in self.names:
            number += 1
            name = f"{base}_{number}"
        self.names.add(name)
        self.labels[name] = label
        return name

    def add(self, node: Node, kind: str, inputs: list[Value], layout: Layout | None = None, **keys: Any) -> Value:
        """A new layer of a float network; its output lies as usual unless ``layout`` says another way."""
        name = self.name(title(node), node.label)
        sources = [value.layer for value in inputs]
        layer = Layer(name=name, kind=kind, input=sources[0], others=tuple(sources[1:]), **keys)
        try:
            hwc = layer_shape(layer, *(value.layout.hwc for value in inputs))
        except GraphError as error:
            raise Refusal(error.problem, error.hint) from None
        self.layers[name], self.shapes[name] = layer, hwc
        return Value(layer=name, layout=layout or Layout.channels_first(hwc), stored={hwc: name})

    def flat(self, node: Node, value: Value) -> Value:
        """The same bytes as one pixel: a flatten, unless they are stored so already."""
        hwc = (1, 1, value.size)
        if value.layout.hwc == hwc:
            return value
        layout = value.layout.flattened()
        if hwc in value.stored:
            return replace(value, layer=value.stored[hwc], layout=layout)
        made = self.make_flat(node, value)
        return replace(value, layer=made, layout=layout, stored={**value.stored, hwc: made})

    def make_flat(self, node: Node, value: Value) -> str:
        """A new flatten layer."""
        return self.add(node, "flatten", [value]).layer

    def image(self, value: Value) -> Value:
        """The same tensor as an image: (c, h, w), or (c, w) of height 1, whose bytes lie as (h, w, c)."""
        shape = value.layout.shape
        if len(shape) not in (2, 3):
            raise Refusal(f"its input has {len(shape) + 1} dimensions, expected (n, c, h, w) or (n, c, w)")
        hwc = (shape[1] if len(shape) == 3 else 1, shape[-1], shape[0])
        order = (1, 2, 0) if len(shape) == 3 else (1, 0)
        return self.as_stored(value, hwc, order)

    def as_stored(self, value: Value, hwc: Shape, order: tuple[int, ...]) -> Value:
        """The tensor as a layer that holds it as ``hwc``, if its bytes lie in that ``order`` of its axes."""
        if value.layout.hwc == hwc and value.layout.index is None and order in ((1, 2, 0), (1, 0), (0,)):
            return value
        if value.layout.lies(*order) and hwc in value.stored:
            layout = Layout(shape=value.layout.shape, hwc=hwc, index=value.layout.places)
            return replace(value, layer=value.stored[hwc], layout=layout)
        raise Refusal("a Transpose or Reshape before it would have to move data",
                      "images are kept as (n, h, w, c); only orders that need no copy can be used")  # fmt: skip


def title(node: Node) -> str:
    """What a layer is called after: the node, or its output if the node has no name."""
    return node.proto.name or next((name for name in node.outputs if name), node.op)


def finite(values: NDArray[Any]) -> bool:
    """Whether all values are finite, block by block: a large weight needs no copy."""
    flat = values.reshape(-1) if values.flags.c_contiguous else values
    if flat.ndim == 1:
        return all(bool(np.isfinite(flat[i : i + (1 << 20)]).all()) for i in range(0, len(flat), 1 << 20))
    return bool(np.isfinite(flat).all())


def _hint(what: str) -> str:
    if what == "a constant":
        return "an operator on constants alone is computed when the model is read; this one needs an activation"
    return "a QuantizeLinear must stand between, so that the values have a scale"
