"""The pieces of an ONNX model under construction, and the scales its operators want."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.onnx.library import library

OPSET = 17
IR_VERSION = 8  # of the first release with that opset; a newer number would only keep older readers away
MICROSOFT = "com.microsoft"
FOREIGN = frozenset(
    ("QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat")
)
"""Operators that only ONNX Runtime's own domain has."""

NEIGHBOURS = 8  # float32 values looked at on either side of a quotient: two roundings move it by less


class Parts:
    """Nodes and constants in the order they are made; a constant or a ``once`` node of one name is made once.

    Activations are int8, or with ``unsigned`` uint8 that are greater by 128. Raises MissingExtraError.
    """

    def __init__(self, *, unsigned: bool = False) -> None:
        self.unsigned = unsigned
        self.onnx = library("writing ONNX models")
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.made: set[str] = set()
        self.ends: tuple[list[Any], list[Any]] = ([], [])

    @property
    def int32(self) -> int:
        """ONNX's number of the type."""
        return self.onnx.TensorProto.INT32

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """An initialiser; its name."""
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def activations(self, name: str, value: NDArray[np.int8] | int) -> str:
        """An initialiser that holds int8 activations, in the type of this model's; its name."""
        shifted = np.asarray(value, np.int16) + (128 if self.unsigned else 0)
        return self.constant(name, shifted.astype(np.uint8 if self.unsigned else np.int8))

    def node(self, kind: str, inputs: Sequence[str], output: str, name: str, **attributes: Any) -> str:
        """A node with one output; its output."""
        domain = MICROSOFT if kind in FOREIGN else ""
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in attributes.items()}
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=name, domain=domain, **plain))
        return output

    def once(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node named as its output, unless it is there already; its output."""
        if output not in self.made:
            self.made.add(output)
            self.node(kind, inputs, output, output, **attributes)
        return output

    def input(self, name: str, shape: Sequence[int | str], integers: bool) -> None:
        self.ends[0].append(self.end(name, shape, integers))

    def output(self, name: str, shape: Sequence[int | str], integers: bool) -> None:
        self.ends[1].append(self.end(name, shape, integers))

    def end(self, name: str, shape: Sequence[int | str], integers: bool) -> Any:
        """What a graph says of an input or output: activations or float32 of ``shape``."""
        types = self.onnx.TensorProto
        whole = types.UINT8 if self.unsigned else types.INT8
        return self.onnx.helper.make_tensor_value_info(name, whole if integers else types.FLOAT, shape)

    def model(self, name: str) -> Any:
        """The ``onnx.ModelProto``."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, name, *self.ends, list(self.constants.values()))
        versions = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=versions, producer_name="accelsim", ir_version=IR_VERSION)


def weight_scales(
    layer: str, scale: NDArray[np.float32], source: np.float32, result: np.float32
) -> NDArray[np.float32]:
    """The float32 ``sw`` (k,) for which ``float32(float32(source * sw) / result)`` is exactly ``scale`` (k,).

    An operator gets the three scales and multiplies them itself. Raises GraphError when there is none: a scale that
    does not come from three.
    """
    about = (scale.astype(np.float64) * np.float64(result) / np.float64(source)).astype(np.float32)
    steps = sorted(range(-NEIGHBOURS, NEIGHBOURS + 1), key=abs)
    found, done = about.copy(), np.zeros(len(scale), bool)
    for step in steps:
        candidate = (about.view(np.int32) + np.int32(step)).view(np.float32)  # the float32 that many further
        hit = ~done & ((source * candidate).astype(np.float32) / result == scale)
        found[hit] = candidate[hit]
        done |= hit
    if not done.all():
        channel = int(np.flatnonzero(~done)[0])
        raise GraphError(layer, f"the scale {scale[channel]!s} of channel {channel} is no product of float32 scales")
    return found
