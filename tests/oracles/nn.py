"""Slow, obvious references for the network side: nested loops over single values, Python's unbounded integers.

Float32 steps are exact: a product or quotient is formed as a fraction and rounded once by ``to_float32``.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.graph import QAdd, QConcat, QConv, QGraph, QLrn, QLut, QPool, QReshape, QSoftmax, Tensor, sources


def wrap(value: int) -> int:
    """The low 32 bits as a signed integer."""
    return (value + 2**31) % 2**32 - 2**31


def to_float32(value: Fraction) -> Fraction:
    """The nearest float32, ties to even mantissa; no overflow handling, the tests stay below 2**127."""
    if value == 0:
        return Fraction(0)
    sign, size = (-1, -value) if value < 0 else (1, value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, -126) - 23)
    return sign * half_even(size / unit) * unit


def half_even(value: Fraction) -> int:
    """The nearest integer, ties to the even one."""
    low = math.floor(value)
    rest = value - low
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2):
        return low + 1
    return low


def requantize(acc: int, bias: int, scale: float, zero: int, low: int, high: int) -> int:
    """clamp(rint(float32(acc + bias) * scale) + zero), each float32 step rounded once."""
    total = to_float32(Fraction(wrap(acc + bias)))
    product = to_float32(total * Fraction(float(scale)))
    return min(max(half_even(product) + zero, low), high)


def run(graph: QGraph, inputs: NDArray[np.int8] | dict[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
    """Every tensor of the network, int8 (n, h, w, c)."""
    values = dict(inputs) if isinstance(inputs, dict) else {graph.input: inputs}
    for layer in graph.layers:
        if isinstance(layer, QSoftmax):
            continue
        tensors = [graph.tensors[name] for name in (*sources(layer), layer.output)]
        stacks = zip(*(values[name].tolist() for name in sources(layer)))
        outputs = [one_image(layer, *images, *tensors) for images in stacks]
        values[layer.output] = np.array(outputs, dtype=np.int8).reshape(len(outputs), *tensors[-1].shape)
    return values


def one_image(layer, image, *more):
    """Nested lists [h][w][c] to nested lists (or a flat list) of the layer's output.

    The inputs' values are followed by the inputs' tensors and the output's.
    """
    if isinstance(layer, QAdd):
        return add(layer, image, *more)
    if isinstance(layer, QConcat):
        return concat(image, *more)
    source, result = more
    if isinstance(layer, QLrn):
        return lrn(layer, image, source, result)
    if isinstance(layer, QConv):
        return conv(layer, image, source, result)
    if isinstance(layer, QPool):
        return pool(layer, image, source, result)
    if isinstance(layer, QLut):
        return [[[int(layer.table[v + 128]) for v in pixel] for pixel in row] for row in image]
    assert isinstance(layer, QReshape)
    return [v for row in image for pixel in row for v in pixel]


def conv(layer: QConv, image, source: Tensor, result: Tensor):
    h, w, _ = source.shape
    k, kh, kw, depth = layer.weights.shape
    weights, bias = layer.weights.tolist(), layer.bias.tolist()
    p, q, _ = result.shape
    out = [[[0] * k for _ in range(q)] for _ in range(p)]
    for y in range(p):
        for x in range(q):
            for o in range(k):
                first = o // (k // layer.groups) * depth
                acc = 0
                for i in range(kh):
                    for j in range(kw):
                        row = y * layer.stride[0] - layer.pads[0] + i * layer.dilation[0]
                        col = x * layer.stride[1] - layer.pads[2] + j * layer.dilation[1]
                        if not (0 <= row < h and 0 <= col < w):
                            continue  # a padded pixel is the zero point: it adds nothing
                        for d in range(depth):
                            acc += (image[row][col][first + d] - source.zero) * weights[o][i][j][d]
                scale = layer.scale[o]
                out[y][x][o] = requantize(acc, bias[o], scale, result.zero, layer.lo, layer.hi)
    return out


def pool(layer: QPool, image, source: Tensor, result: Tensor):
    h, w, c = source.shape
    p, q, _ = result.shape
    out = [[[0] * c for _ in range(q)] for _ in range(p)]
    for y in range(p):
        for x in range(q):
            top, left = y * layer.stride[0] - layer.pads[0], x * layer.stride[1] - layer.pads[2]
            real = [
                (row, col)
                for row in range(top, top + layer.kernel[0])
                for col in range(left, left + layer.kernel[1])
                if 0 <= row < h and 0 <= col < w
            ]
            for d in range(c):
                window = [image[row][col][d] for row, col in real]
                if layer.kind == "maxpool":
                    out[y][x][d] = min(max(max(window), layer.lo), layer.hi)
                    continue
                count = layer.kernel[0] * layer.kernel[1] if layer.count_include_pad else len(window)
                scale = np.float32(float(source.scale) / (float(result.scale) * count))
                acc = sum(v - source.zero for v in window)
                out[y][x][d] = requantize(acc, 0, scale, result.zero, layer.lo, layer.hi)
    return out


def add(layer: QAdd, first, second, a: Tensor, b: Tensor, result: Tensor):
    """The factors, bias and scale are worked out again from the tensors, as fractions."""
    larger = max(Fraction(float(a.scale)), Fraction(float(b.scale)))
    ma, mb = (half_even(Fraction(float(t.scale)) / larger * 2**22) for t in (a, b))
    scale = float(to_float32(larger / 2**22 / Fraction(float(result.scale))))
    return [
        [
            [
                requantize(wrap(x * ma + y * mb), -(a.zero * ma + b.zero * mb), scale, result.zero, layer.lo, layer.hi)
                for x, y in zip(pixel, other)
            ]
            for pixel, other in zip(row, others)
        ]
        for row, others in zip(first, second)
    ]


def concat(*images_and_tensors):
    """Images, one for each input, then the inputs' tensors and the output's; scales are worked out again."""
    *images, result = images_and_tensors
    images, tensors = images[: len(images) // 2], images[len(images) // 2 :]
    out = [[[] for _ in row] for row in images[0]]
    for image, tensor in zip(images, tensors):
        scale = float(to_float32(Fraction(float(tensor.scale)) / Fraction(float(result.scale))))
        for y, row in enumerate(image):
            for x, pixel in enumerate(row):
                out[y][x] += [requantize(v, -tensor.zero, scale, result.zero, -128, 127) for v in pixel]
    return out


def lrn(layer: QLrn, image, source: Tensor, result: Tensor):
    def one(pixel, channel: int) -> int:
        below, above = channel - layer.size // 2, channel + (layer.size - 1) // 2
        total = sum(int(layer.square[v + 128]) for d, v in enumerate(pixel) if below <= d <= above)
        index = requantize(total, 0, float(layer.index_scale), layer.index_zero, -128, 127)
        product = (pixel[channel] - source.zero) * int(layer.factor[index + 128])
        return requantize(product, 0, float(layer.scale), result.zero, -128, 127)

    return [[[one(pixel, channel) for channel in range(len(pixel))] for pixel in row] for row in image]


def touched_bytes(layer, source: Tensor, result: Tensor) -> int:
    """Input bytes of one image that some window reads."""
    if isinstance(layer, QConv):
        kernel, dilation = layer.weights.shape[1:3], layer.dilation
    elif isinstance(layer, QPool):
        kernel, dilation = layer.kernel, (1, 1)
    else:
        return source.size
    pixels = set()
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    row = y * layer.stride[0] - layer.pads[0] + i * dilation[0]
                    col = x * layer.stride[1] - layer.pads[2] + j * dilation[1]
                    if 0 <= row < source.shape[0] and 0 <= col < source.shape[1]:
                        pixels.add((row, col))
    return len(pixels) * source.shape[2]
