"""Nodes of a model: their attributes, which of them matter, and those that are known before the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from accelsim.onnx.files import ModelFile
from accelsim.onnx.library import computed
from accelsim.onnx.problems import Refusal, shown
from accelsim.onnx.values import Node, Quantized


def read_nodes(file: ModelFile) -> list[Node]:
    """The nodes that outputs follow from, in the order of the file."""
    protos = list(file.model.graph.node)
    needed = {output.name for output in file.model.graph.output}
    live = []
    for number in reversed(range(len(protos))):
        proto = protos[number]
        if needed.intersection(name for name in proto.output if name):
            needed.update(name for name in proto.input if name)
            live.append(_node(file, proto))
    return live[::-1]


STANDARD_TOO = ("QuantizeLinear", "DequantizeLinear")
"""Operators of ONNX Runtime's own domain that are the standard ones of that name."""


def _node(file: ModelFile, proto: Any) -> Node:
    if proto.domain == "com.microsoft" and proto.op_type in STANDARD_TOO:
        own, proto = proto, file.onnx.NodeProto()
        proto.CopyFrom(own)
        proto.domain = ""
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    op = f"{domain}.{proto.op_type}" if domain else proto.op_type
    name = proto.name or next((name for name in proto.output if name), "")
    attributes = {attribute.name: _attribute(file, attribute) for attribute in proto.attribute}
    label = f"{shown(name)} ({shown(proto.op_type)})"
    return Node(label, op, tuple(proto.input), tuple(proto.output), attributes, proto)


def _attribute(file: ModelFile, attribute: Any) -> Any:
    value = file.onnx.helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


FEWEST_INPUTS = {"QGemm": 6, "QLinearAdd": 7, "QLinearMul": 7, "QLinearConcat": 5}
"""Of ONNX Runtime's own operators, which the library does not describe; the others need 4."""

FOREIGN_OPSET = 17  # whose attributes ONNX Runtime's own operators share

LIKE = {"QGemm": "Gemm", "QLinearConcat": "Concat", "QLinearSoftmax": "Softmax", "QLinearLeakyRelu": "LeakyRelu"}
"""Whose attributes they have; the others those of AveragePool."""


def check_node(file: ModelFile, node: Node) -> None:
    """Refuse a node without the inputs, or with other attributes, than its operator has."""
    proto, op, fewest = node.proto, node.proto.op_type, 0
    foreign = proto.domain == "com.microsoft" and op.startswith("Q")
    if foreign:
        op, fewest = LIKE.get(op, "AveragePool"), FEWEST_INPUTS.get(op, 4)
    elif not file.onnx.defs.has(op, proto.domain):
        return
    domain = "" if foreign else proto.domain
    try:
        schema = file.onnx.defs.get_schema(op, file.opset if not foreign else FOREIGN_OPSET, domain)
    except file.onnx.defs.SchemaError:
        raise Refusal(f"is no operator of opset {file.opset}", "a newer opset has it") from None
    fewest = fewest or schema.min_input
    if len(node.inputs) < fewest or not all(node.inputs[: min(fewest, schema.min_input)]):
        raise Refusal(f"has {sum(map(bool, node.inputs))} inputs, its operator needs {fewest}")
    types = {name: attribute.type.value for name, attribute in schema.attributes.items()}
    for attribute in proto.attribute:
        if types.get(attribute.name, attribute.type) != attribute.type:
            raise Refusal(f"its attribute {shown(attribute.name)!r} is of another type than its operator has")
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in node.attributes and not foreign:
            raise Refusal(f"has no attribute {name!r}, which its operator needs")


def count_uses(file: ModelFile, nodes: list[Node]) -> Counter[str]:
    """How often each value is read, by nodes or as an output."""
    uses = Counter(name for node in nodes for name in node.inputs if name)
    uses.update(output.name for output in file.model.graph.output)
    return uses


def constant_value(file: ModelFile, node: Node) -> Any:
    """What a Constant node holds. Raises Refusal."""
    kinds: Mapping[str, Any] = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
                                "value_ints": np.int64}  # fmt: skip
    for name, value in node.attributes.items():
        if name == "value":
            return file.array(value)
        if name in kinds:
            return np.array(value, kinds[name])
    raise Refusal("holds no numbers", "texts and sparse tensors cannot be used")


def stored_weights(node: Node, inputs: list[Any]) -> Quantized:
    """The constant behind a DequantizeLinear: integers, scale, and perhaps zero point. Raises Refusal."""
    values, scale = inputs[:2]
    zero = inputs[2] if len(inputs) > 2 else np.zeros((), values.dtype)
    axis = int(node.attributes.get("axis", 1))
    if scale.ndim > 1 or zero.size not in (1, scale.size) or node.attributes.get("block_size", 0):
        raise Refusal("has scales for blocks of weights", "one scale, or one for each output channel, can be run")
    if scale.size > 1 and not (-values.ndim <= axis < values.ndim and values.shape[axis] == scale.size):
        raise Refusal(f"has {scale.size} scales, which do not fit axis {axis} of {list(values.shape)}")
    scale, zero = (array.reshape(-1) if scale.size > 1 else array.reshape(-1)[0] for array in (scale, zero))
    return Quantized(values, scale, zero, axis % max(values.ndim, 1))


def folded(file: ModelFile, node: Node, inputs: list[Any]) -> list[Any]:
    """The outputs of a node on known arrays. Raises Refusal when the library cannot compute them."""
    if node.op == "Constant":
        return [constant_value(file, node)]
    if node.op == "DequantizeLinear" and not node.attributes.get("block_size", 0):
        return [stored_weights(node, inputs).real]
    try:
        found = computed(file.onnx, node.proto, inputs, file.opsets)
    except MemoryError:
        raise
    except Exception as error:
        text = str(error).partition("\n")[0]
        raise Refusal(f"cannot be computed from its constants: {text}") from None
    if not all(isinstance(array, np.ndarray | np.generic) for array in found):
        raise Refusal("gives no tensors", "sequences and optional values cannot be used")
    return [np.asarray(array) for array in found]
