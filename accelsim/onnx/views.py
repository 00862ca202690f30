"""Operators that move nothing: the same bytes under another shape or order, or padding left to what follows."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from accelsim.nn.layouts import Layout
from accelsim.onnx.context import Context
from accelsim.onnx.problems import Refusal
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Frame, Node, Value

VIEWS = Registry()


@VIEWS("dropped", "Identity", "Dropout")
def identity(context: Context, node: Node) -> None:
    """Dropout has no effect in inference."""
    if len(node.outputs) > 1 and context.uses[node.outputs[1]]:
        raise Refusal("its second output, the mask, is read", "export the model for inference")
    context.give(node, context.known(node.inputs[0]))


@VIEWS("to a floating-point type, of floating-point values: dropped", "Cast")
def cast(context: Context, node: Node) -> None:
    """Between floating-point types, which are all float32 here."""
    value = context.known(node.inputs[0])
    numbers = context.file.onnx.TensorProto
    kinds = (numbers.FLOAT, numbers.FLOAT16, numbers.DOUBLE, numbers.BFLOAT16)
    if node.attributes.get("to") not in kinds or not (isinstance(value, Value) and value.real):
        raise Refusal("changes the type of activations", "accelsim runs int8; scales come from quantisation, not casts")
    context.give(node, value)


@VIEWS("what stays in its image, in an order that needs no copy", "Reshape")
def reshape(context: Context, node: Node) -> None:
    value = context.viewed(node)
    wanted = list(context.integers(node, 1, "shape"))
    whole = (context.batch, *value.layout.shape)
    if not node.attributes.get("allowzero", 0):
        wanted = [whole[i] if size == 0 and i < len(whole) else size for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = prod(whole) // known if known else 0
    if prod(wanted) != prod(whole) or min(wanted, default=0) < 1:
        raise Refusal(f"cannot bring {list(whole)} into the shape {wanted}")
    if wanted[0] != context.batch:
        raise Refusal(f"brings {list(whole)} into the shape {wanted}: the first dimension must stay the batch",
                      "accelsim runs images one beside the other and never mixes them")  # fmt: skip
    give_view(context, node, value, value.layout.reshaped(tuple(wanted[1:])))


@VIEWS("axis 1", "Flatten")
def flatten(context: Context, node: Node) -> None:
    value = context.viewed(node)
    axis, rank = node.attributes.get("axis", 1), len(value.layout.shape) + 1
    if axis + (rank if axis < 0 else 0) != 1:
        raise Refusal(f"its axis is {axis}, expected 1", "the first dimension must stay the batch")
    give_view(context, node, value, value.layout.reshaped((value.size,)))


@VIEWS("where it folds away: into weights, or between (n, c, h, w) and (n, h, w, c)", "Transpose")
def transpose(context: Context, node: Node) -> None:
    value = context.viewed(node)
    rank = len(value.layout.shape) + 1
    axes = tuple(node.attributes.get("perm", reversed(range(rank))))
    if sorted(axes) != list(range(rank)):
        raise Refusal(f"its perm {list(axes)} does not order {rank} dimensions")
    if axes[0] != 0:
        raise Refusal("moves the batch away from the first dimension", "accelsim never mixes images")
    give_view(context, node, value, value.layout.transposed(tuple(axis - 1 for axis in axes[1:])))


def _axes(context: Context, node: Node, rank: int) -> list[int]:
    """Axes from the input (opset 13) or the attribute, counted from the front."""
    if node.given(1):
        axes = context.integers(node, 1, "axes")
    else:
        axes = tuple(node.attributes.get("axes", ()))
    found = [axis + rank if axis < 0 else axis for axis in axes]
    if any(not 0 <= axis < rank for axis in found) or len(set(found)) != len(found):
        raise Refusal(f"its axes {list(axes)} are not among {rank} dimensions")
    return found


@VIEWS("not of the batch", "Squeeze")
def squeeze(context: Context, node: Node) -> None:
    value = context.viewed(node)
    whole = (context.batch, *value.layout.shape)
    axes = _axes(context, node, len(whole)) or [i for i, size in enumerate(whole) if i and size == 1]
    if 0 in axes or any(whole[axis] != 1 for axis in axes):
        raise Refusal(f"its axes {axes} of {list(whole)} are not all 1 and behind the batch")
    shape = tuple(size for i, size in enumerate(whole) if i and i not in axes)
    give_view(context, node, value, value.layout.reshaped(shape))


@VIEWS("behind the batch", "Unsqueeze")
def unsqueeze(context: Context, node: Node) -> None:
    value = context.viewed(node)
    rest = list(value.layout.shape)
    given = context.integers(node, 1, "axes") if node.given(1) else tuple(node.attributes.get("axes", ()))
    axes = _axes(context, node, len(rest) + 1 + len(given))
    if 0 in axes:
        raise Refusal("puts a dimension before the batch")
    for axis in sorted(axes):
        rest.insert(axis - 1, 1)
    give_view(context, node, value, value.layout.reshaped(tuple(rest)))


def give_view(context: Context, node: Node, value: Value, layout: Layout) -> None:
    """The node's output: the same bytes. A vector made of an image is a flatten, with a row of its own."""
    seen = value.seen(layout)
    if len(layout.shape) == 1 and len(value.layout.shape) > 1 and not value.host:
        seen = context.flat(node, seen)
    context.give(node, seen)


@VIEWS("with a constant, done by the Conv or pooling that follows it", "Pad")
def pad(context: Context, node: Node) -> None:
    """Only recorded; see windows.window and those that call it."""
    value = context.value(node)
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        raise Refusal(f"pads in mode {mode!r}", "accelsim pads with a constant")
    rank = len(value.layout.shape) + 1
    numbers = context.integers(node, 1, "pads")
    axes = list(range(rank))
    if node.given(3):
        axes = [axis + rank if axis < 0 else axis for axis in context.integers(node, 3, "axes")]
    if len(numbers) != 2 * len(axes) or any(not 0 <= axis < rank for axis in axes):
        raise Refusal(f"its pads {list(numbers)} do not fit {rank} dimensions")
    around = np.zeros((2, rank), int)
    around[0, axes], around[1, axes] = numbers[: len(axes)], numbers[len(axes) :]
    fill = float(np.asarray(context.constant(node, 2, "value")).reshape(-1)[0]) if node.given(2) else 0.0
    if not around.any():
        context.give(node, value)
        return
    if rank not in (3, 4) or around[:, :2].any() or around.min() < 0:
        raise Refusal(f"its pads {list(numbers)} are not those of an image (n, c, h, w)",
                      "height and width can be padded, by 0 or more")  # fmt: skip
    old = value.frame or Frame((0, 0, 0, 0), fill)
    if old.fill != fill:
        raise Refusal(f"pads with {fill:g} what is already padded with {old.fill:g}")
    sides = np.concatenate([np.zeros((2, 4 - rank), int), around[:, 2:]], axis=1).T.reshape(-1)
    top, bottom, left, right = (int(a + b) for a, b in zip(sides, old.pads))
    context.give(node, replace(value, frame=Frame((top, bottom, left, right), fill)))
