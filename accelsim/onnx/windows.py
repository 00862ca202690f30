"""Kernel, stride, padding and dilation of convolution and pooling nodes, as accelsim has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.nn.graph import Pads
from accelsim.nn.shapes import output_size, same_pads
from accelsim.onnx.problems import Refusal
from accelsim.onnx.values import Frame, Node

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """One node's window; ``extra`` rows and columns at the end exist only because of ``ceil_mode``."""

    kernel: Pair
    stride: Pair
    pads: Pads
    dilation: Pair
    extra: Pair = (0, 0)


def check_channels(each: int, groups: int, channels: int) -> None:
    """Refuse weights that take ``each`` channels in every group where the input has not as many."""
    if groups > 0 and channels % groups == 0 and each * groups != channels:
        among = f" in each of {groups} groups" if groups > 1 else ""
        raise Refusal(f"its weights take {each} channels{among} and its input has {channels}")


def window(node: Node, size: Pair, kernel: Sequence[int], frame: Frame | None = None) -> Window:
    """The window of a node over an image (h, w) = ``size``, which ``frame`` pads first. Raises Refusal."""
    attributes, rank = node.attributes, len(kernel)
    taps = _pair("kernel_shape", kernel)
    stride = _pair("strides", attributes.get("strides", (1,) * rank), rank)
    dilation = _pair("dilations", attributes.get("dilations", (1,) * rank), rank)
    if min(taps + stride + dilation) < 1:
        raise Refusal("kernel, strides and dilations must be at least 1")
    around = frame.pads if frame else (0, 0, 0, 0)
    whole = (size[0] + around[0] + around[1], size[1] + around[2] + around[3])
    pads = _pads(node, whole, taps, stride, dilation, rank)
    extra = (0, 0)
    if attributes.get("ceil_mode", 0):
        extra = _ceiling(whole, taps, stride, pads, dilation)
    top, bottom, left, right = (own + more for own, more in zip(pads, around))
    return Window(taps, stride, (top, bottom + extra[0], left, right + extra[1]), dilation, extra)


def _pair(what: str, numbers: Sequence[int], rank: int | None = None) -> Pair:
    numbers = tuple(int(number) for number in numbers)
    if len(numbers) not in (1, 2) or (rank is not None and len(numbers) != rank):
        if len(numbers) > 2:
            raise Refusal(f"has {len(numbers)} spatial dimensions", "accelsim runs one or two")
        raise Refusal(f"its {what} {list(numbers)} do not fit its {rank or 2} spatial dimensions")
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _pads(node: Node, size: Pair, kernel: Pair, stride: Pair, dilation: Pair, rank: int) -> Pads:
    """(top, bottom, left, right) from ``auto_pad`` and ``pads``."""
    match node.attributes.get("auto_pad", "NOTSET"):
        case "NOTSET":
            pads = [int(number) for number in node.attributes.get("pads", (0,) * 2 * rank)]
            if len(pads) != 2 * rank:
                raise Refusal(f"its pads {pads} do not fit its {rank} spatial dimensions")
            if min(pads) < 0:
                raise Refusal(f"its pads {pads} cut values away", "padding must be at least 0")
            first, last = [0] * (2 - rank) + pads[:rank], [0] * (2 - rank) + pads[rank:]
            return (first[0], last[0], first[1], last[1])
        case "VALID":
            return (0, 0, 0, 0)
        case "SAME_UPPER":
            return same_pads(size, kernel, stride, dilation)
        case "SAME_LOWER":
            top, bottom, left, right = same_pads(size, kernel, stride, dilation)
            return (bottom, top, right, left)
        case other:
            raise Refusal(f"auto_pad {other!r} is unknown", "one of NOTSET, SAME_UPPER, SAME_LOWER, VALID")


def _ceiling(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair) -> Pair:
    """Rows and columns behind the padding that the last windows of ``ceil_mode`` reach into.

    A window that would start behind the image and the padding before it does not exist.
    """
    extra = []
    for axis in range(2):
        before, after = pads[2 * axis : 2 * axis + 2]
        span = dilation[axis] * (kernel[axis] - 1) + 1
        windows = -(-(size[axis] + before + after - span) // stride[axis]) + 1
        if (windows - 1) * stride[axis] >= size[axis] + before:
            windows -= 1
        whole = output_size(size[axis], kernel[axis], stride[axis], before, after, dilation[axis])
        missing = (windows - 1) * stride[axis] + span - size[axis] - before - after
        extra.append(max(missing, 0) if windows > whole else 0)
    return (extra[0], extra[1])
