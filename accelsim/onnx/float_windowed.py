"""Operators of float models that look at windows or at several channels: pooling, normalisation, concatenation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelsim.nn.graph import Norm
from accelsim.nn.layouts import Layout
from accelsim.onnx.context import Context
from accelsim.onnx.problems import Refusal
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node, Value
from accelsim.onnx.windows import Window, window

WINDOWED_OPERATORS = Registry()

NONNEGATIVE = ("relu", "relu6", "sigmoid", "hard_sigmoid")


def pool_window(node: Node, value: Value) -> Window:
    """The window of a pooling node; ``value`` is an image."""
    kernel = node.attributes.get("kernel_shape")
    if not kernel or len(kernel) != len(value.layout.shape) - 1:
        rank = len(value.layout.shape) + 1
        raise Refusal(f"its kernel_shape {list(kernel or [])} does not fit an input of {rank} dimensions")
    if node.attributes.get("storage_order", 0):
        raise Refusal("has storage_order 1", "0 can be run")
    found = window(node, value.layout.hwc[:2], kernel, value.frame)
    if found.dilation != (1, 1):
        raise Refusal(f"its dilations are {list(found.dilation)}", "pooling can be run without dilation")
    return found


@WINDOWED_OPERATORS("without dilation and indices; ceil_mode as padding", "MaxPool")
def maxpool(context: Context, node: Node) -> None:
    if len(node.outputs) > 1 and context.uses[node.outputs[1]]:
        raise Refusal("its second output, the indices, is read", "accelsim keeps the largest values only")
    value = context.image(context.value(node))
    if value.frame and value.frame.fill > -1e30:
        maker = context.layers.get(value.layer)
        if value.frame.fill != 0 or maker is None or maker.kind not in NONNEGATIVE:
            raise Refusal(f"its input is padded with {value.frame.fill:g}, which could be the largest value",
                          "padding with 0 can be used behind a Relu, or with the lowest value")  # fmt: skip
    found = pool_window(node, value)
    context.give(node, pooled(context, node, "maxpool", value, found))


def pooled(context: Context, node: Node, kind: str, value: Value, found: Window, include: bool = False) -> Value:
    """A pooling layer; its output has as many dimensions as its input."""
    result = context.add(
        node, kind, [value], kernel=found.kernel, stride=found.stride, pads=found.pads, count_include_pad=include
    )
    layout = result.layout
    if len(value.layout.shape) == 2:
        layout = Layout(shape=(layout.shape[0], layout.shape[2]), hwc=layout.hwc)
    return result.seen(layout)


def counts_padding(node: Node, value: Value, found: Window, fill: float = 0.0) -> bool:
    """Whether an average counts its padding. Raises Refusal for what accelsim has no form of."""
    include = bool(node.attributes.get("count_include_pad", 0))
    if value.frame is None:
        if include and any(found.extra):
            raise Refusal("ceil_mode with count_include_pad counts padding in some windows and not in others",
                          "ceil_mode with count_include_pad = 0 can be run")  # fmt: skip
        return include
    own = tuple(a - b for a, b in zip(found.pads, value.frame.pads))
    if value.frame.fill != fill or (any(own) and not include) or any(found.extra):
        raise Refusal("its input is padded in a way that its average does not count", "a Pad with 0 alone can be used")
    return True


@WINDOWED_OPERATORS("count_include_pad 0 and 1; ceil_mode with 0", "AveragePool")
def avgpool(context: Context, node: Node) -> None:
    value = context.image(context.value(node))
    found = pool_window(node, value)
    include = counts_padding(node, value, found)
    context.give(node, pooled(context, node, "avgpool", value, found, include))


def whole(value: Value) -> Window:
    """The window that is the whole image."""
    size = value.layout.hwc[:2]
    return Window(size, (1, 1), (0, 0, 0, 0), (1, 1))


@WINDOWED_OPERATORS("", "GlobalAveragePool", "GlobalMaxPool")
def global_pool(context: Context, node: Node) -> None:
    value = context.image(context.plain(node))
    kind = "maxpool" if node.op == "GlobalMaxPool" else "avgpool"
    context.give(node, pooled(context, node, kind, value, whole(value)))


@WINDOWED_OPERATORS("over height and width, of (n, c, h, w) or (n, h, w, c)", "ReduceMean", "ReduceMax")
def reduce(context: Context, node: Node) -> None:
    value = context.plain(node)
    shape = value.layout.shape
    stored, axes = reduced(context, node, value)
    result = pooled(context, node, "maxpool" if node.op == "ReduceMax" else "avgpool", stored, whole(stored))
    context.give(node, result.seen(left(shape, axes, bool(node.attributes.get("keepdims", 1)), result)))


def reduced(context: Context, node: Node, value: Value) -> tuple[Value, list[int]]:
    """The image that a ReduceMean over its height and width reads, and the reduced axes behind the batch."""
    rank = len(value.layout.shape) + 1
    given = context.integers(node, 1, "axes") if node.given(1) else tuple(node.attributes.get("axes", ()))
    axes = sorted(axis + rank if axis < 0 else axis for axis in given)
    if rank not in (3, 4) or axes not in ([2, 3], [1, 2], [2], [1]) or len(axes) != rank - 2:
        raise Refusal(
            f"reduces the axes {list(given)} of {rank} dimensions", "height and width together can be reduced"
        )
    axes = [axis - 1 for axis in axes]
    kept = next(axis for axis in range(rank - 1) if axis not in axes)
    order = (*axes, kept)
    sides = tuple(value.layout.shape[axis] for axis in order)
    stored = context.as_stored(value, (1, *sides) if rank == 3 else sides, order)  # type: ignore[arg-type]
    return stored, axes


def left(shape: tuple[int, ...], axes: list[int], keep: bool, result: Value) -> Layout:
    """The layout of what is left of ``shape``: only channels."""
    sides = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)
    return Layout.vector(result.size).reshaped(sides)


@WINDOWED_OPERATORS("odd size", "LRN")
def lrn(context: Context, node: Node) -> None:
    attributes = node.attributes
    size = int(attributes.get("size", 0))
    if size < 1 or size % 2 == 0:
        raise Refusal(f"its size is {size}", "an odd number of channels around each can be run")
    norm = Norm(size=size, alpha=float(attributes.get("alpha", 1e-4)), beta=float(attributes.get("beta", 0.75)),
                k=float(attributes.get("bias", 1.0)))  # fmt: skip
    value = context.image(context.plain(node))
    context.give(node, context.add(node, "lrn", [value], value.layout, norm=norm))


@WINDOWED_OPERATORS("of channels, or of vectors", "Concat")
def concat(context: Context, node: Node) -> None:
    values = [context.plain(node, index) for index in range(len(node.inputs))]
    if len(values) == 1:
        context.give(node, values[0])
        return
    values, layout = joined(context, node, values)
    context.give(node, context.add(node, "concat", values, layout))


def joined(context: Context, node: Node, values: list[Value]) -> tuple[list[Value], Layout]:
    """The inputs as they can stand side by side in the channels of one tensor, and how that one lies."""
    rank = len(values[0].layout.shape) + 1
    axis = int(node.attributes.get("axis", 1))
    axis = axis + rank if axis < 0 else axis
    shapes = [value.layout.shape for value in values]
    others = {shape[: axis - 1] + shape[axis:] for shape in shapes}
    if not 1 <= axis < rank or len(others) > 1 or len({len(shape) for shape in shapes}) > 1:
        texts = [list(shape) for shape in shapes]
        raise Refusal(f"its inputs have the shapes {texts} behind the batch and its axis is {axis}")
    if len({value.layout.hwc[:2] for value in values}) > 1:
        values = [context.flat(node, value) for value in values]
    total, offset, parts = sum(value.layout.hwc[2] for value in values), 0, []
    for value in values:
        c, places = value.layout.hwc[2], value.layout.places
        parts.append(places // c * total + offset + places % c)
        offset += c
    index = np.concatenate(parts, axis=axis - 1)
    h, w = values[0].layout.hwc[:2]
    layout = Layout(shape=index.shape, hwc=(h, w, total), index=index)
    usual = Layout.channels_first((h, w, total))
    return values, usual if usual.same(layout) else layout


@WINDOWED_OPERATORS("over channels, as the last operator: on the host", "Softmax")
def softmax(context: Context, node: Node) -> None:
    value = context.plain(node)
    check_softmax(context, node, value)
    result = context.add(node, "softmax", [value], value.layout)
    context.give(node, replace(result, host=True))


def check_softmax(context: Context, node: Node, value: Value) -> None:
    """Refuse a softmax over anything but the channels of each pixel."""
    shape = value.layout.shape
    axis = int(node.attributes.get("axis", -1 if context.opset >= 13 else 1))
    axis = axis + len(shape) + 1 if axis < 0 else axis
    c = value.layout.hwc[2]
    good = 1 <= axis <= len(shape) and shape[axis - 1] == c
    if good and context.opset < 13:  # then it ran over that axis and all behind it
        good = all(size == 1 for size in shape[axis:])
    if good:
        rows = np.moveaxis(value.layout.places, axis - 1, -1).reshape(-1, c) // c
        good = bool((rows == rows[:, :1]).all())
    if not good:
        raise Refusal(f"runs over axis {axis} of {[context.batch, *shape]}", "softmax over the channels can be run")
