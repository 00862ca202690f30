"""The inputs of a model: their dimensions, the batch, and how accelsim holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim.nn.layouts import Layout
from accelsim.onnx.files import ModelFile
from accelsim.onnx.problems import Problems, shown
from accelsim.onnx.values import Node
from accelsim.spelling import suggest

FLOATS = ("float32", "float16", "float64", "bfloat16")
BYTES = ("uint8", "int8")
CONVOLUTIONS = ("Conv", "QLinearConv", "MaxPool", "AveragePool", "com.microsoft.QLinearAveragePool")
VALUEWISE = ("QuantizeLinear", "DequantizeLinear", "Identity", "Dropout", "Relu", "Cast", "Clip", "Pad", "Add", "Sub",
             "Mul", "Div", "BatchNormalization")  # fmt: skip
LARGEST = 1 << 28  # elements of one image


@dataclass(frozen=True)
class Input:
    """One input: its name in the model, dimensions with the batch first, and type."""

    name: str
    shape: tuple[int, ...]
    kind: str


def read_inputs(file: ModelFile, dims: Mapping[str, int], problems: Problems) -> list[Input]:
    """Inputs without the weights that old files list among them; every dimension has a value, the batch 1 if none.

    What is wrong, or has no value, goes to ``problems``.
    """
    weights = {tensor.name for tensor in file.model.graph.initializer}
    found, names = [], set()
    for proto in file.model.graph.input:
        if proto.name in weights:
            continue
        kind, shape = _declared(file, proto, problems)
        names.update(name for name, _ in shape)
        sizes = tuple(_size(proto.name, axis, size, dims, problems) for axis, size in enumerate(shape))
        if 0 not in sizes and sizes:
            found.append(Input(proto.name, sizes, kind))
    for name in dims:
        if name not in names:
            problems.add(f"--dim {name}", "the model has no such dimension", suggest(name, sorted(names - {""})))
    return found


def _declared(file: ModelFile, proto: Any, problems: Problems) -> tuple[str, list[tuple[str, int]]]:
    """(type, [(name, size or 0)]); no dimensions when the input cannot be used."""
    label, tensor = f"input {shown(proto.name)}", proto.type.tensor_type
    types = file.onnx.helper.get_all_tensor_dtypes()
    if not proto.type.HasField("tensor_type") or tensor.elem_type not in types:
        problems.add(label, "is not a tensor")
        return "", []
    kind = np.dtype(file.onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    if kind not in (*FLOATS, *BYTES):
        problems.add(label, f"is {kind}, expected float32", "uint8 and int8 can be read by quantised models")
        return "", []
    if not tensor.HasField("shape") or not 2 <= len(tensor.shape.dim) <= 4:
        got = f"{len(tensor.shape.dim)} dimensions" if tensor.HasField("shape") else "no shape"
        problems.add(label, f"has {got}", "two to four can be used, the batch first: (n, c), (n, w, c), (n, c, h, w)")
        return "", []
    shape = [(dim.dim_param, dim.dim_value if dim.HasField("dim_value") else 0) for dim in tensor.shape.dim]
    return kind, [
        (name or ("" if size > 0 else f"{proto.name}.{axis}"), size) for axis, (name, size) in enumerate(shape)
    ]


def _size(input_name: str, axis: int, dim: tuple[str, int], dims: Mapping[str, int], problems: Problems) -> int:
    name, size = dim
    if size > 0:
        return size
    if name in dims:
        if not 1 <= dims[name] <= LARGEST:
            problems.add(f"--dim {name}", f"expected a whole number of at least 1, got {dims[name]}")
            return 0
        return dims[name]
    if axis == 0:
        return 1
    problem = f"dimension {axis} is {shown(name)!r}, which has no value"
    problems.add(f"input {shown(input_name)}", problem, f"give it one: --dim {shown(name)}=NUMBER")
    return 0


def input_layout(given: Input, nodes: list[Node]) -> Layout:
    """How accelsim holds an input: as the first operator that looks at more than single values would have it."""
    shape = given.shape[1:]
    user = _first_user(given.name, nodes)
    order = tuple(user.attributes.get("perm", ())) if user and user.op == "Transpose" else ()
    if len(shape) == 1:
        return Layout.vector(shape[0])
    if len(shape) == 2:
        if (user and user.op in CONVOLUTIONS) or (order == (0, 2, 1) and _convolves(user, nodes) is False):
            return Layout(shape=shape, hwc=(1, shape[1], shape[0]))
        return _as_written(shape, (1, *shape))
    if order == (0, 3, 1, 2) or (user and user.op in ("MatMul", "Gemm")):
        return _as_written(shape, (shape[0], shape[1], shape[2]))
    return Layout.channels_first((shape[1], shape[2], shape[0]))


def _as_written(shape: tuple[int, ...], hwc: tuple[int, int, int]) -> Layout:
    index = np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    return Layout(shape=shape, hwc=hwc, index=index)


def _first_user(name: str, nodes: list[Node]) -> Node | None:
    names = {name}
    for node in nodes:
        if names.intersection(node.inputs):
            if node.op not in VALUEWISE:
                return node
            names.update(node.outputs)
    return None


def _convolves(transpose: Node | None, nodes: list[Node]) -> bool:
    """Whether a convolution follows a Transpose."""
    user = _first_user(transpose.outputs[0], nodes) if transpose else None
    return user is not None and user.op in CONVOLUTIONS
