"""Random networks of one layer, with extreme zero points, scales and values, made without the quantiser."""

from __future__ import annotations

import numpy as np

from accelsim.nn.graph import QAdd, QConcat, QConv, QGraph, QLayer, QPool, Tensor, sources
from accelsim.nn.shapes import Shape, output_hw, window_counts

ZEROS = (-128, -127, -1, 0, 1, 126, 127)
FULL = (-128, 127)


def zero_point(rng: np.random.Generator) -> int:
    return int(rng.choice(ZEROS)) if rng.random() < 0.6 else int(rng.integers(-128, 128))


def scale(rng: np.random.Generator, about: float = 0.02) -> np.float32:
    return np.float32(about * 2.0 ** rng.uniform(-3, 3))


def tensor(rng: np.random.Generator, name: str, shape: Shape, about: float = 0.02) -> Tensor:
    return Tensor(name=name, shape=shape, scale=scale(rng, about), zero=zero_point(rng))


def single(layer: QLayer, *tensors: Tensor) -> QGraph:
    """The network of one layer; the last tensor is its output."""
    return QGraph(
        name="single", inputs=tuple(dict.fromkeys(sources(layer))), outputs=(tensors[-1].name,),
        tensors={t.name: t for t in tensors}, layers=(layer,), rows=((layer.name, layer.kind, layer.name),),
    )  # fmt: skip


def values(rng: np.random.Generator, shape: Shape, manner: str, images: int = 2) -> np.ndarray:
    """int8 (images, h, w, c): any, near the top, or at the ends."""
    size = (images, *shape)
    match manner:
        case "biased":
            return rng.integers(90, 128, size, dtype=np.int8)
        case "extreme":
            return rng.choice(np.array([-128, 127], np.int8), size, p=[0.1, 0.9])
        case _:
            return rng.integers(-128, 128, size, dtype=np.int8)


def limits(rng: np.random.Generator, zero: int) -> tuple[int, int]:
    """None, those of a rectifier, or a clip anywhere."""
    match rng.integers(6):
        case 0 | 1 | 2 | 3:
            return FULL
        case 4:
            return zero, 127
        case _:
            low, high = sorted(int(v) for v in rng.integers(-128, 128, 2))
            return low, high


def weights(rng: np.random.Generator, shape: tuple[int, ...], manner: str) -> np.ndarray:
    match manner:
        case "biased":
            return rng.integers(60, 128, shape, dtype=np.int8)
        case "extreme":
            return rng.choice(np.array([-127, 127], np.int8), shape, p=[0.05, 0.95])
        case _:
            return rng.integers(-127, 128, shape, dtype=np.int8)


MEANS = {"any": (-0.5, 74.0), "biased": (108.5, 11.0), "extreme": (101.5, 76.5)}
"""Mean and deviation of :func:`values`."""


def products(
    rng: np.random.Generator, layer: dict, source: Tensor, out: Shape, shape: tuple[int, ...], manner: str
) -> QGraph:
    """A convolution or product with weights of ``shape`` (k, r, s, c/groups).

    The bias brings most sums of a whole window near 0, so that the results show their last bit instead of an end of
    the range; a few are anywhere.
    """
    w = weights(rng, shape, manner)
    sw = np.float32(0.01) * np.exp2(rng.uniform(-1, 1, shape[0])).astype(np.float32)
    rows = w.reshape(len(w), -1).astype(np.float64)
    mean, deviation = MEANS[manner]
    spread = np.sqrt((rows**2).sum(axis=1)) * deviation
    bias = np.rint(rng.normal(0, spread) - rows.sum(axis=1) * (mean - source.zero))
    if rng.random() < 0.1:
        bias = rng.integers(-(2**30), 2**30, len(w))
    result = Tensor(
        name="y", shape=out, zero=zero_point(rng),
        scale=np.float32(float(source.scale) * 0.01 * float(spread.mean()) / 60 * 2.0 ** rng.uniform(-1, 1)),
    )  # fmt: skip
    lo, hi = limits(rng, result.zero)
    made = QConv(
        **layer, input="x", output="y", weights=w, bias=bias.astype(np.int32),
        scale=(source.scale * sw).astype(np.float32) / result.scale, lo=lo, hi=hi,
    )  # fmt: skip
    return single(made, source, result)


def window(rng: np.random.Generator, *, dilated: bool, padded: bool = True) -> tuple[Shape, dict]:
    """An image (without its channels) and a window that fits into it.

    Sums of biased data differ so much at a border that a result which shows those inside cuts them off.
    """
    while True:
        kernel = tuple(int(v) for v in rng.integers(1, 6, 2))
        dilation = tuple(int(v) for v in rng.integers(1, 4, 2)) if dilated else (1, 1)
        stride = tuple(int(v) for v in rng.integers(1, 5, 2))
        span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        pads = tuple(int(rng.integers(0, span[axis // 2])) if padded else 0 for axis in range(4))
        size = tuple(int(v) for v in rng.integers(1, 14, 2))
        out = output_hw(size, kernel, stride, pads, dilation)
        if min(out) >= 1 and (dilated or window_counts(size, kernel, stride, pads).all()):
            return (*size, 0), {"kernel": kernel, "stride": stride, "pads": pads, "dilation": dilation, "out": out}


def conv(rng: np.random.Generator, manner: str) -> QGraph:
    (h, w, _), keys = window(rng, dilated=True, padded=manner == "any" or rng.random() < 0.4)
    groups = int(rng.choice([1, 1, 2, 3, 4]))
    per_group, width = int(rng.integers(1, 9)), int(rng.integers(1, 7))
    if rng.random() < 0.25:
        groups, per_group, width = int(rng.integers(2, 20)), 1, 1
    if manner != "any":  # deep enough for sums beyond 2**24, which float32 does not hold exactly
        per_group = -(-2000 // (keys["kernel"][0] * keys["kernel"][1])) if groups < 5 else 1
    source = tensor(rng, "x", (h, w, groups * per_group))
    depthwise = 1 < groups == groups * width == groups * per_group
    layer = {key: keys[key] for key in ("stride", "pads", "dilation")}
    layer |= {"name": "conv", "kind": "depthwise" if depthwise else "conv", "groups": groups}
    shape = (groups * width, *keys["kernel"], per_group)
    return products(rng, layer, source, (*keys["out"], groups * width), shape, manner)


def fc(rng: np.random.Generator, manner: str) -> QGraph:
    shape = (1, 1, int(rng.integers(1, 600)))
    if rng.random() < 0.5:
        shape = tuple(int(v) for v in rng.integers(1, 9, 3))
    if manner != "any":
        shape = (4, 5, int(rng.integers(80, 120)))
    layer = {
        "name": "fc", "kind": "fc", "stride": (1, 1), "pads": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1
    }  # fmt: skip
    k = int(rng.integers(1, 40))
    return products(rng, layer, tensor(rng, "x", shape), (1, 1, k), (k, *shape), manner)


def pool(rng: np.random.Generator, kind: str) -> QGraph:
    (h, w, _), keys = window(rng, dilated=False)
    c = int(rng.integers(1, 20))
    source = tensor(rng, "x", (h, w, c))
    if kind == "avgpool" and rng.random() < 0.3:
        keys |= {"kernel": (h, w), "pads": (0, 0, 0, 0), "stride": (1, 1), "out": (1, 1)}
    result = Tensor(name="y", shape=(*keys["out"], c), scale=source.scale, zero=source.zero)
    lo, hi = FULL
    if kind == "avgpool":
        result = tensor(rng, "y", result.shape, float(source.scale))
    else:
        lo, hi = limits(rng, result.zero)
    layer = QPool(
        name="pool", kind=kind, input="x", output="y", kernel=keys["kernel"], stride=keys["stride"],
        pads=keys["pads"], count_include_pad=bool(rng.integers(2)), lo=lo, hi=hi,
    )  # fmt: skip
    return single(layer, source, result)


def add(rng: np.random.Generator) -> QGraph:
    """Over every pair of int8 values, one in each of the 65,536 pixels."""
    shape = (256, 256, 1)
    a, b = tensor(rng, "a", shape), tensor(rng, "b", shape)
    y = tensor(rng, "y", shape, 2 * float(max(a.scale, b.scale)))
    larger = max(float(a.scale), float(b.scale))
    ma, mb = (int(np.rint(float(t.scale) / larger * 2**22)) for t in (a, b))
    lo, hi = limits(rng, y.zero)
    layer = QAdd(
        name="add", kind="add", inputs=("a", "b"), output="y", factors=(ma, mb), bias=-(a.zero * ma + b.zero * mb),
        scale=np.float32(larger / 2**22 / float(y.scale)), lo=lo, hi=hi,
    )  # fmt: skip
    return single(layer, a, b, y)


def concat(rng: np.random.Generator) -> QGraph:
    """Inputs of 256 pixels each, so that every value can stand in each; some share the output's quantisation."""
    y_scale, zero = scale(rng), zero_point(rng)
    names = [f"x{i}" for i in range(int(rng.integers(2, 5)))]
    parts = []
    for name in names:
        part = tensor(rng, name, (16, 16, int(rng.integers(1, 9))))
        if rng.random() < 0.3:
            part = Tensor(name=name, shape=part.shape, scale=y_scale, zero=zero)
        parts.append(part)
    y = Tensor(name="y", shape=(16, 16, sum(part.shape[2] for part in parts)), scale=y_scale, zero=zero)
    scales = tuple(np.float32(float(part.scale) / float(y_scale)) for part in parts)
    layer = QConcat(name="concat", kind="concat", inputs=tuple(names), output="y", scales=scales)
    return single(layer, *parts, y)


def rescaled(rng: np.random.Generator, manner: str, channels: int = 4096) -> QGraph:
    """A convolution without weights: each channel's bias is the sum, so that its rescaling alone is seen.

    ``manner``: results anywhere; exactly between two integers (scales are powers of two); or as near to that as
    float32 tells, where rounding twice, or in float64, gives another integer.
    """
    sx, zero = np.float32(2.0**-6), zero_point(rng)
    sy = np.float32(2.0**-5) if manner == "ties" else scale(rng)
    sw = (2.0 ** rng.uniform(-26, 2, channels)).astype(np.float32)
    wanted = rng.integers(-140 - zero, 140 - zero, channels) + 0.5  # what the sum times its scale should be
    if manner == "ties":
        sw = np.exp2(rng.integers(-18, -2, channels)).astype(np.float32)
    if manner == "any":
        wanted += rng.uniform(-0.5, 0.5, channels)
    factor = (sx * sw).astype(np.float32) / sy
    bias = np.clip(np.rint(wanted / factor.astype(np.float64)), -(2**31) + 1, 2**31 - 1)
    layer = QConv(
        name="conv", kind="conv", input="x", output="y", weights=np.zeros((channels, 1, 1, 1), np.int8),
        bias=bias.astype(np.int32), scale=factor, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1,
        lo=-128, hi=127,
    )  # fmt: skip
    source = Tensor(name="x", shape=(1, 1, 1), scale=sx, zero=0)
    return single(layer, source, Tensor(name="y", shape=(1, 1, channels), scale=sy, zero=zero))
