"""Every operator of quantised models, as QOperator and as QDQ, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.errors import ConfigErrors
from accelsim.nn import golden
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.onnx import load_onnx
from tests.onnx.builders import Quantizer
from tests.onnx.running import check_quantized, random_feeds, session

IMAGE = ("N", 4, 9, 8)
Build = Callable[[Quantizer], str]


def conv(
    k: int, c: int, *kernel: int, channels: bool = True, bias: bool = True, unsigned: bool = False, **keys: Any
) -> Build:
    def build(b: Quantizer) -> str:
        w = b.integers(k, c, *kernel, channels=k if channels else 0, unsigned=unsigned)
        more = [b.bias(k)] if bias else []
        return b.operator("QLinearConv", 0.05, -7, b.x, *b.scales[b.x], *w, "y", *more, **keys)

    return build


def flat(b: Quantizer) -> str:
    return b.same("Flatten", b.x)


def qgemm(b: Quantizer) -> str:
    x = flat(b)
    return b.operator("QGemm", 0.2, 4, x, *b.scales[x], *b.integers(5, 288, channels=5), b.bias(5), "y", transB=1)


def qgemm_turned(b: Quantizer) -> str:
    x = flat(b)
    return b.operator("QGemm", 0.2, 4, x, *b.scales[x], *b.integers(288, 5), b.bias(5), "y", alpha=0.5)


def qlinear_matmul(b: Quantizer) -> str:
    x = flat(b)
    return b.operator("QLinearMatMul", 0.2, 4, x, *b.scales[x], *b.integers(288, 5, channels=5), "y")


EXACT: dict[str, Build] = {
    "conv": conv(6, 4, 3, 3),
    "conv one scale": conv(6, 4, 3, 2, channels=False),
    "conv without bias": conv(6, 4, 3, 3, bias=False),
    "conv strided, padded": conv(5, 4, 3, 3, strides=[2, 3], pads=[0, 1, 2, 1]),
    "conv dilated": conv(5, 4, 3, 2, dilations=[2, 3]),
    "conv grouped": conv(6, 2, 3, 3, group=2),
    "conv depthwise": conv(4, 1, 3, 3, group=4, pads=[1, 1, 1, 1]),
    "conv same": conv(5, 4, 3, 2, auto_pad="SAME_LOWER", strides=[2, 2]),
    "gemm": qgemm,
    "gemm turned, alpha": qgemm_turned,
    "matmul": qlinear_matmul,
    "max pool": lambda b: b.same("MaxPool", b.x, kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 2]),
    "clip of integers": lambda b: b.same(
        "Clip", b.x, *(b.weight(np.array(n + (128 if b.kind == np.uint8 else 0), b.kind)) for n in (-50, 60))
    ),
    "concat of integers": lambda b: b.same("Concat", b.x, b.same("MaxPool", b.x, kernel_shape=[1, 1]), axis=1),
    "whole max": lambda b: b.same("MaxPool", conv_after(b), kernel_shape=[6, 6]),
    "weights quantised by the model": lambda b: b.quantize(
        b.node(
            "Conv",
            b.real(b.x),
            b.node(
                "DequantizeLinear",
                b.node(
                    "QuantizeLinear",
                    b.normal(3, 4, 3, 3, scale=0.2),
                    *(w := (b.weight(np.float32(0.01)), b.weight(np.int8(0)))),
                ),
                *w,
            ),
        ),
        0.05,
        3,
    ),
    "flatten": lambda b: b.same("Flatten", conv_after(b)),
    "reshape": lambda b: b.same("Reshape", conv_after(b), b.weight(np.array([0, -1]))),
    "transpose": lambda b: b.same("Transpose", conv_after(b), perm=[0, 2, 3, 1]),
}


def conv_after(b: Quantizer) -> str:
    return conv(6, 4, 3, 3)(b)


def two(b: Quantizer) -> tuple[str, str]:
    """Two tensors of the shape of the input, of different scales."""
    return b.x, b.operator("QLinearConv", 0.11, 9, b.x, *b.scales[b.x], *b.integers(4, 4, 1, 1, channels=4), "y")


def qlinear_add(b: Quantizer) -> str:
    a, c = two(b)
    return b.operator("QLinearAdd", 0.13, -3, a, *b.scales[a], c, *b.scales[c], "y")


def qlinear_concat(b: Quantizer) -> str:
    a, c = two(b)
    return b.operator("QLinearConcat", 0.1, -3, "y", a, *b.scales[a], c, *b.scales[c], axis=1)


def qlinear_mul(b: Quantizer) -> str:
    scale, zero = b.scale(0.1, 5)
    number = b.weight(np.array(77 if b.kind == np.int8 else 177, b.kind))
    return b.operator("QLinearMul", 0.13, -3, b.x, *b.scales[b.x], number, scale, zero, "y")


def pool(op: str, **keys: Any) -> Build:
    return lambda b: b.operator(op, 0.015, -5, b.x, *b.scales[b.x], "y", **keys)


def with_channels(op: str) -> Build:
    def build(b: Quantizer) -> str:
        scale, zero = b.scale(0.013, 5)
        numbers = b.rng.integers(-128, 128, (1, 4, 1, 1)) + (0 if b.kind == np.int8 else 128)
        return b.operator(op, 0.04, -3, b.x, *b.scales[b.x], b.weight(numbers.astype(b.kind)), scale, zero, "y")

    return build


NEAR: dict[str, Build] = {
    "add channels": with_channels("QLinearAdd"),
    "multiply channels": with_channels("QLinearMul"),
    "add": qlinear_add,
    "concat": qlinear_concat,
    "multiply": qlinear_mul,
    "average pool": pool("QLinearAveragePool", kernel_shape=[3, 2], strides=[2, 1]),
    "average pool padded": pool("QLinearAveragePool", kernel_shape=[3, 3], pads=[1, 1, 0, 1]),
    "average pool, padding counts": pool(
        "QLinearAveragePool", kernel_shape=[3, 3], pads=[1, 1, 0, 1], count_include_pad=1
    ),
    "global average": pool("QLinearGlobalAveragePool"),
    "leaky relu": pool("QLinearLeakyRelu", alpha=0.2),
    "sigmoid": pool("QLinearSigmoid"),
}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("spelling", ["operator", "qdq"])
def test_softmax_leaves_its_input_as_the_output(spelling: str, kind: str, tmp_path: Path) -> None:
    """It runs on the host, from the logits that the accelerator gives."""
    b = Quantizer(IMAGE, kind)
    y = qgemm(b)
    if spelling == "operator":
        y = b.real(b.operator("QLinearSoftmax", 1 / 256, -128, y, *b.scales[y], "y", opset=17, axis=1))
    else:
        y = b.real(b.quantize(b.node("Softmax", b.real(y), axis=1), 1 / 256, -128))
    path = b.save(tmp_path / "m.onnx", y)
    model = load_onnx(path)
    assert model.qgraph is not None
    given = random_feeds(path, 3)
    tensor = model.qgraph.tensors[model.qgraph.output]
    x = quantize_values(model.layouts["x"].to_nhwc(given["x"]), model.qgraph.tensors["x"])
    logits = dequantize(golden.run(model.qgraph, x)[tensor.name], tensor)
    wanted = session(path).run(None, given)[0]
    assert np.abs(golden.softmax(logits).reshape(3, -1) - wanted).max() <= 1.1 / 256


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("name", EXACT)
def test_the_same_bits(name: str, kind: str, tmp_path: Path) -> None:
    b = Quantizer(IMAGE, kind)
    check_quantized(b.save(tmp_path / "m.onnx", b.real(EXACT[name](b))))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("name", NEAR)
def test_within_one_unit(name: str, kind: str, tmp_path: Path) -> None:
    b = Quantizer(IMAGE, kind)
    check_quantized(b.save(tmp_path / "m.onnx", b.real(NEAR[name](b))), steps=1)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_padding_of_integers(kind: str, tmp_path: Path) -> None:
    """A Pad with the zero point is padding with 0."""
    b = Quantizer(IMAGE, kind)
    x = b.same("Pad", b.x, b.weight(np.array([0, 0, 1, 0, 0, 0, 2, 1])), b.scales[b.x][1])
    y = b.operator(
        "QLinearConv", 0.05, -7, x, *b.scales[x], *b.integers(6, 4, 3, 3, channels=6), "y", pads=[0, 1, 0, 0]
    )
    check_quantized(b.save(tmp_path / "m.onnx", b.real(y)))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_sequences(kind: str, tmp_path: Path) -> None:
    """1-D convolution and pooling, (n, c, w); products of the rows of (n, m, c)."""
    b = Quantizer(("N", 4, 9), kind)
    y = b.operator("QLinearConv", 0.05, -7, b.x, *b.scales[b.x], *b.integers(6, 4, 3), "y", b.bias(6), pads=[1, 0])
    y = b.same("MaxPool", y, kernel_shape=[2], strides=[2])
    y = b.operator("QLinearMatMul", 0.1, 3, y, *b.scales[y], *b.integers(4, 5), "y")
    with pytest.raises(ConfigErrors, match="would have to move data"):
        load_onnx(b.save(tmp_path / "m.onnx", b.real(y)))
    b = Quantizer(("N", 4, 9), kind)
    y = b.operator("QLinearMatMul", 0.1, 3, b.x, *b.scales[b.x], *b.integers(9, 5, channels=5), "y")
    check_quantized(b.save(tmp_path / "m.onnx", b.real(y)))
    b = Quantizer(("N", 4, 9), kind)
    y = b.operator("QLinearConv", 0.05, -7, b.x, *b.scales[b.x], *b.integers(6, 4, 3), "y", b.bias(6), pads=[1, 0])
    check_quantized(b.save(tmp_path / "m.onnx", b.real(b.same("MaxPool", y, kernel_shape=[2], strides=[2]))))


def test_unsigned_weights_with_the_middle_as_zero(tmp_path: Path) -> None:
    b = Quantizer(IMAGE, "uint8")
    check_quantized(b.save(tmp_path / "m.onnx", b.real(conv(6, 4, 3, 3, channels=False, unsigned=True)(b))))


def dq_conv(b: Quantizer, x: str, k: int, c: int, *kernel: int, **keys: Any) -> str:
    """A float Conv of dequantised weights and bias."""
    w, s, z = b.integers(k, c, *kernel, channels=k)
    bias = b.weight((b.rng.normal(size=k) * 0.3).astype(np.float32))
    return b.node("Conv", x, b.node("DequantizeLinear", w, s, z, axis=0), bias, **keys)


def dq_gemm(b: Quantizer) -> str:
    w, s, z = b.integers(5, 288, channels=5)
    return b.node("Gemm", b.node("Flatten", b.real(b.x)), b.node("DequantizeLinear", w, s, z, axis=0), transB=1)


def dq_matmul(b: Quantizer) -> str:
    w, s, z = b.integers(288, 5)
    return b.node("MatMul", b.node("Flatten", b.real(b.x)), b.node("DequantizeLinear", w, s, z))


def limit(b: Quantizer, x: str, low: float, high: float) -> str:
    return b.node("Clip", x, b.weight(np.float32(low)), b.weight(np.float32(high)))


def dq_residual(b: Quantizer) -> str:
    y = b.real(b.quantize(b.node("Relu", dq_conv(b, b.real(b.x), 4, 4, 3, 3, pads=[1, 1, 1, 1])), 0.03, -20))
    return b.node("Relu", b.node("Add", y, b.real(b.x)))


def dq_of(op: str, *more: Any, **keys: Any) -> Build:
    return lambda b: b.node(op, b.real(b.x), *(b.weight(np.asarray(array)) for array in more), **keys)


def dq_norm(b: Quantizer) -> str:
    x = dq_conv(b, b.real(b.x), 6, 4, 3, 3)
    factors = [b.weight(b.rng.uniform(0.5, 1.5, 6).astype(np.float32)) for _ in range(4)]
    return b.node("Relu", b.node("BatchNormalization", x, *factors))


def dq_bias(b: Quantizer) -> str:
    bias = b.weight(b.rng.integers(-90, 90, 5).astype(np.int8))
    return b.node("Add", dq_matmul(b), b.node("DequantizeLinear", bias, b.weight(np.float32(0.03))))


def factors(b: Quantizer, *shape: int) -> str:
    return b.weight((b.rng.uniform(0.3, 1.5, shape) * b.rng.choice([-1, 1], shape)).astype(np.float32))


def dq_pooled(b: Quantizer) -> str:
    """As other tools write it: the scale comes behind the pooling."""
    x = b.node("Relu", dq_conv(b, b.real(b.x), 6, 4, 3, 3))
    return b.node("Flatten", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))


QDQ: dict[str, Build] = {
    "conv normalised": dq_norm,
    "matmul and bias": dq_bias,
    "conv scaled": lambda b: b.node("Mul", dq_conv(b, b.real(b.x), 6, 4, 3, 3), factors(b, 1, 6, 1, 1)),
    "conv divided by one": lambda b: b.node("Div", dq_conv(b, b.real(b.x), 6, 4, 3, 3), b.weight(np.float32(-1.3))),
    "normalised": lambda b: b.node(
        "BatchNormalization", b.real(b.x), *[b.weight(b.rng.uniform(0.5, 1.5, 4).astype(np.float32)) for _ in range(4)]
    ),
    "channels scaled": lambda b: b.node("Mul", b.real(b.x), factors(b, 4, 1, 1)),
    "channels moved": lambda b: b.node("Relu", b.node("Sub", factors(b, 4, 1, 1), b.real(b.x))),
    "scaled, clipped": lambda b: limit(b, b.node("Mul", b.real(b.x), b.weight(np.float32(-0.7))), -0.2, 0.9),
    "pooled before its scale": dq_pooled,
    "conv": lambda b: dq_conv(b, b.real(b.x), 6, 4, 3, 3, pads=[1, 0, 0, 1]),
    "conv relu": lambda b: b.node("Relu", dq_conv(b, b.real(b.x), 6, 4, 3, 3)),
    "conv clip": lambda b: limit(b, dq_conv(b, b.real(b.x), 6, 4, 3, 3, strides=[2, 2]), -0.3, 1.1),
    "conv depthwise": lambda b: dq_conv(b, b.real(b.x), 4, 1, 3, 3, group=4),
    "padded conv": lambda b: dq_conv(
        b, b.node("Pad", b.real(b.x), b.weight(np.array([0, 0, 1, 0, 0, 0, 0, 1]))), 6, 4, 3, 3
    ),
    "gemm": dq_gemm,
    "matmul": dq_matmul,
    "residual": dq_residual,
    "relu": dq_of("Relu"),
    "sigmoid": dq_of("Sigmoid"),
    "tanh": dq_of("Tanh"),
    "hard swish": dq_of("HardSwish"),
    "hard sigmoid": dq_of("HardSigmoid"),
    "leaky relu": dq_of("LeakyRelu", alpha=0.1),
    "one slope": dq_of("PRelu", np.full((1, 1, 1), 0.1, np.float32)),
    "scaled": dq_of("Mul", np.float32(0.7)),
    "moved": dq_of("Sub", np.float32(0.7)),
    "divided": dq_of("Div", np.float32(0.7)),
    "max pool": dq_of("MaxPool", kernel_shape=[2, 2]),
    "global max": dq_of("GlobalMaxPool"),
    "average": dq_of("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "global average": dq_of("GlobalAveragePool"),
    "mean": dq_of("ReduceMean", axes=[2, 3], keepdims=0),
    "concat": lambda b: b.node(
        "Concat", b.real(b.x), b.real(b.quantize(dq_conv(b, b.real(b.x), 3, 4, 1, 1), 0.07, 5)), axis=1
    ),
    "rescaled": lambda b: b.node("Identity", b.real(b.x)),
    "transposed": lambda b: b.node("Transpose", b.real(b.x), perm=[0, 2, 3, 1]),
}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("name", QDQ)
def test_float_operators_between_scales(name: str, kind: str, tmp_path: Path) -> None:
    """ONNX Runtime computes these in float; the last bit of a sum can fall to the other side."""
    b = Quantizer(IMAGE, kind)
    wide = name in ("gemm", "matmul")
    y = b.real(b.quantize(QDQ[name](b), 0.3 if wide else 0.021, -11))
    check_quantized(b.save(tmp_path / "m.onnx", y), steps=1, spread=0.5 if name == "global max" else 1.5)


@pytest.mark.parametrize("between", [(), ("Relu",)])
def test_a_float_result_read_at_two_places_is_computed_once(between: tuple[str, ...], tmp_path: Path) -> None:
    """By pooling and by a QuantizeLinear of its own: with one scale they share the convolution."""
    b = Quantizer(IMAGE)
    y = dq_conv(b, b.real(b.x), 6, 4, 3, 3)
    for op in between:
        y = b.node(op, y)
    pooled = b.node("MaxPool", y, kernel_shape=[2, 2])
    outputs = [b.real(b.quantize(value, 0.021, -11)) for value in (y, pooled)]
    model = check_quantized(b.save(tmp_path / "m.onnx", *outputs), steps=1)
    assert model.qgraph is not None
    kinds = ["conv", *(op.lower() for op in between), "maxpool"]
    assert [layer.kind for layer in model.qgraph.layers] == [kinds[0], kinds[-1]]
    assert [kind for _, kind, _ in model.qgraph.rows] == kinds


def test_a_pooled_float_result_is_quantised_twice(tmp_path: Path) -> None:
    """Each time from the float result, not from what the other scale left of it."""
    b = Quantizer(IMAGE)
    pooled = b.node("MaxPool", dq_conv(b, b.real(b.x), 6, 4, 3, 3), kernel_shape=[2, 2])
    outputs = [b.real(b.quantize(pooled, scale, zero)) for scale, zero in ((0.3, 5), (0.021, -11))]
    check_quantized(b.save(tmp_path / "m.onnx", *outputs), steps=1)
