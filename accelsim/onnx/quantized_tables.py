"""Tables of integers: ``Cast`` and ``Gather`` as accelsim writes them, and clips that a layer's own limits do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accelsim.nn.graph import QAdd, QConv, QLut, QPool
from accelsim.onnx.context import Context, title
from accelsim.onnx.problems import Refusal
from accelsim.onnx.quantized import Limits, QuantizedContext
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node, Value
from accelsim.onnx.views import cast as cast_float

TABLES = Registry()
SIZE = 256


@dataclass(frozen=True, eq=False)
class Index:
    """An 8-bit activation as whole numbers that look something up."""

    value: Value


@TABLES("between floating-point types, dropped; of integers: for a Gather behind it", "Cast")
def cast(context: Context, node: Node) -> None:
    found = context.known(node.inputs[0])
    numbers = context.file.onnx.TensorProto
    whole = node.attributes.get("to") in (numbers.INT32, numbers.INT64)
    readers = {proto.op_type for proto in context.file.model.graph.node if node.outputs[0] in proto.input}
    if not isinstance(found, Value) or found.real or not whole or readers != {"Gather"}:
        cast_float(context, node)
        return
    context.give(node, Index(context.plain(node)))


@TABLES("of a constant with 256 entries, by a Cast of activations: a table", "Gather")
def gather(context: Context, node: Node) -> None:
    assert isinstance(context, QuantizedContext)
    index = context.known(node.inputs[1]) if node.given(1) else None
    if not isinstance(index, Index):
        raise Refusal("does not look up integer activations in a table", "only that can be run")
    entries = context.constant(node, 0, "table")
    if entries.shape != (SIZE,) or entries.dtype not in (np.int8, np.uint8) or node.attributes.get("axis", 0):
        raise Refusal(f"its table is {entries.dtype} {list(entries.shape)}, expected int8 or uint8 [{SIZE}]")
    table = entries if entries.dtype == np.int8 else (entries ^ np.uint8(128)).view(np.int8)
    source = context.quants.get(index.value.layer)
    if source is None:
        raise Refusal("reads an integer input that has no scale yet", "quantise the input first")
    if not source.shift:  # signed: negative numbers count from the end
        table = np.roll(table, SIZE // 2)
    name = context.name(title(node), node.label)
    layer = QLut(name=name, kind="lut", input=index.value.layer, output=name, table=np.ascontiguousarray(table))
    # What its integers stand for is said by whoever reads them.
    context.qlayers.append(layer)
    context.rows.append((name, "lut", name))
    stored = {index.value.layout.hwc: name}
    context.give(node, replace(index.value, layer=name, stored=stored, real=False, kind=entries.dtype.name))


def limited(context: QuantizedContext, node: Node, value: Value, limits: Limits) -> Value | None:
    """A clip of integers done by the layer before it, if nothing else reads that and it can; else None."""
    last: Any = context.qlayers[-1] if context.qlayers else None
    if not isinstance(last, QConv | QAdd | QPool) or last.name != value.layer or context.uses[node.inputs[0]] != 1:
        return None
    low, high = (int(np.clip(end, *limits)) for end in (last.lo, last.hi))
    context.qlayers[-1] = replace(last, lo=low, hi=high)
    context.rows.append((context.name(title(node), node.label), node.op.lower(), last.name))
    return value
