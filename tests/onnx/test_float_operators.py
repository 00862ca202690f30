"""Every operator of float models, in many variants, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import accelsim
from accelsim.errors import ConfigError, ConfigErrors
from tests.onnx.builders import Builder
from tests.onnx.running import check_float

IMAGE = ("N", 4, 9, 8)


def f32(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


def positive(b: Builder, count: int) -> str:
    return b.weight(b.rng.uniform(0.5, 2, count).astype(np.float32))


def batch_norm(b: Builder, x: str, c: int, **attributes: Any) -> str:
    return b.node("BatchNormalization", x, positive(b, c), b.normal(c), b.normal(c), positive(b, c), **attributes)


def window(op: str, *kernel: int, **attributes: Any) -> Callable[[Builder], str]:
    return lambda b: b.node(op, "x", kernel_shape=list(kernel), **attributes)


def conv(k: int, c: int, *kernel: int, **attributes: Any) -> Callable[[Builder], str]:
    return lambda b: b.conv("x", k, c, *kernel, **attributes)


def one(op: str, **attributes: Any) -> Callable[[Builder], str]:
    return lambda b: b.node(op, "x", **attributes)


def with_constant(op: str, shape: tuple[int, ...], *, first: bool = False) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        w = b.weight(b.rng.uniform(0.5, 2, shape).astype(np.float32))
        return b.node(op, w, "x") if first else b.node(op, "x", w)

    return build


def stored(b: Builder) -> str:
    """Weights behind a DequantizeLinear, in a model whose activations are float."""
    w = b.weight(b.rng.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8))
    scales, zeros = b.weight(b.rng.uniform(0.01, 0.02, 3).astype(np.float32)), b.weight(np.zeros(3, np.int8))
    return b.node("DequantizeLinear", w, scales, zeros, axis=0)


def shared(b: Builder) -> str:
    y = b.conv("x", 5, 4, 1, 1)
    return b.node("Add", batch_norm(b, y, 5), y)


CASES: dict[str, Callable[[Builder], str]] = {
    "conv": conv(6, 4, 3, 3),
    "conv without bias": conv(6, 4, 3, 2, bias=False),
    "conv strided": conv(5, 4, 3, 3, strides=[2, 3], pads=[1, 1, 1, 1]),
    "conv asymmetric pads": conv(5, 4, 3, 3, pads=[0, 1, 2, 0]),
    "conv dilated": conv(5, 4, 3, 2, dilations=[2, 3], pads=[2, 0, 1, 3]),
    "conv grouped": conv(6, 2, 3, 3, group=2),
    "conv depthwise": conv(4, 1, 3, 3, group=4, pads=[1, 1, 1, 1]),
    "conv depthwise multiplied": conv(8, 1, 3, 3, group=4),
    "conv same upper": conv(5, 4, 3, 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": conv(5, 4, 3, 2, auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv valid": conv(5, 4, 3, 3, auto_pad="VALID", kernel_shape=[3, 3]),
    "relu": one("Relu"),
    "sigmoid": one("Sigmoid"),
    "tanh": one("Tanh"),
    "leaky relu": one("LeakyRelu"),
    "leaky relu slope": one("LeakyRelu", alpha=0.3),
    "one slope": lambda b: b.node("PRelu", "x", b.weight(np.full((1, 1, 1), 0.3, np.float32))),
    "one negative slope": lambda b: b.node("PRelu", "x", b.weight(np.full(1, -0.3, np.float32))),
    "hard sigmoid": one("HardSigmoid"),
    "hard sigmoid slope": one("HardSigmoid", alpha=1 / 6),
    "hard swish": one("HardSwish"),
    "relu6": lambda b: b.node("Clip", "x", b.weight(np.float32(0)), b.weight(np.float32(6))),
    "clip low only": lambda b: b.node("Clip", "x", b.weight(np.float32(0))),
    "clip high only": lambda b: b.node("Clip", "x", "", b.weight(np.float32(0.5))),
    "clip both": lambda b: b.node("Clip", "x", b.weight(np.float32(-0.7)), b.weight(np.float32(0.5))),
    "clip nothing": lambda b: b.node("Clip", b.node("Tanh", "x")),
    "max pool": window("MaxPool", 3, 2, strides=[2, 1]),
    "max pool padded": window("MaxPool", 3, 3, pads=[1, 2, 0, 1], strides=[2, 2]),
    "max pool ceil": window("MaxPool", 3, 3, strides=[2, 2], ceil_mode=1),
    "max pool ceil padded": window("MaxPool", 2, 2, strides=[2, 3], pads=[1, 0, 0, 1], ceil_mode=1),
    "max pool same": window("MaxPool", 3, 3, strides=[2, 2], auto_pad="SAME_LOWER"),
    "average pool": window("AveragePool", 3, 2, strides=[2, 1]),
    "average pool padded": window("AveragePool", 3, 3, pads=[1, 2, 0, 1]),
    "average pool padding counts": window("AveragePool", 3, 3, pads=[1, 2, 0, 1], count_include_pad=1),
    "average pool ceil": window("AveragePool", 3, 3, strides=[2, 2], ceil_mode=1),
    "average pool same": window("AveragePool", 2, 3, strides=[2, 2], auto_pad="SAME_UPPER"),
    "global average": one("GlobalAveragePool"),
    "global max": one("GlobalMaxPool"),
    "reduce mean": one("ReduceMean", axes=[2, 3]),
    "reduce mean away": one("ReduceMean", axes=[-1, -2], keepdims=0),
    "reduce max": one("ReduceMax", axes=[2, 3], keepdims=0),
    "add itself": lambda b: b.node("Add", "x", b.node("Relu", "x")),
    "sum": lambda b: b.node("Sum", "x", b.node("Tanh", "x")),
    "concat": lambda b: b.node("Concat", "x", b.node("Tanh", "x"), b.conv("x", 3, 4, 1, 1), axis=1),
    "concat behind": lambda b: b.node("Concat", "x", b.node("Tanh", "x"), axis=-3),
    "concat of vectors": lambda b: b.node(
        "Concat", b.node("Flatten", "x"), b.node("Flatten", b.node("GlobalAveragePool", "x")), axis=1
    ),
    "add scalar": with_constant("Add", ()),
    "add per channel": with_constant("Add", (4, 1, 1)),
    "add per channel first": with_constant("Add", (1, 4, 1, 1), first=True),
    "subtract": with_constant("Sub", (1, 4, 1, 1)),
    "subtract from": with_constant("Sub", (1,), first=True),
    "multiply": with_constant("Mul", (4, 1, 1)),
    "divide": with_constant("Div", (4, 1, 1)),
    "normalise images": lambda b: b.node("Div", b.node("Sub", "x", b.normal(1, 4, 1, 1)), positive(b, 1)),
    "scaled conv": lambda b: b.node("Mul", b.conv("x", 5, 4, 3, 3), b.normal(5, 1, 1)),
    "batch normalisation alone": lambda b: batch_norm(b, "x", 4),
    "batch normalisation folded": lambda b: batch_norm(b, b.conv("x", 5, 4, 3, 3), 5, epsilon=0.1),
    "batch normalisation of a shared conv": shared,
    "lrn": one("LRN", size=3, alpha=0.5, beta=0.6, bias=2.0),
    "lrn defaults": one("LRN", size=5),
    "softmax": one("Softmax", axis=1),
    "pad conv": lambda b: b.conv(
        b.node("Pad", "x", b.weight(np.array([0, 0, 1, 2, 0, 0, 0, 1]))), 3, 4, 3, 3, pads=[1, 0, 0, 1]
    ),
    "pad max pool": lambda b: b.node(
        "MaxPool", b.node("Pad", b.node("Relu", "x"), b.weight(np.array([0, 0, 1, 1, 0, 0, 1, 1]))), kernel_shape=[3, 3]
    ),
    "pad average pool": lambda b: b.node(
        "AveragePool", b.node("Pad", "x", b.weight(np.array([0, 0, 1, 1, 0, 0, 1, 0]))), kernel_shape=[3, 3]
    ),
    "pad twice": lambda b: b.conv(
        b.node(
            "Pad",
            b.node("Pad", "x", b.weight(np.array([0, 0, 1, 0, 0, 0, 0, 0]))),
            b.weight(np.array([0, 0, 0, 1, 0, 0, 0, 1])),
        ),
        3,
        4,
        3,
        3,
    ),
    "flatten fc": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.normal(7, 288), b.normal(7), transB=1),
    "reshape fc": lambda b: b.node(
        "Gemm", b.node("Reshape", "x", b.weight(np.array([-1, 288]))), b.normal(288, 7), b.normal(7)
    ),
    "fc factors": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.normal(288, 7), b.normal(7), alpha=0.5, beta=2.0),
    "fc without bias": lambda b: b.node("Gemm", b.node("Flatten", "x"), b.normal(288, 7)),
    "matmul add": lambda b: b.node("Add", b.node("MatMul", b.node("Flatten", "x"), b.normal(288, 7)), b.normal(7)),
    "transposed weights": lambda b: b.node(
        "MatMul", b.node("Flatten", "x"), b.node("Transpose", b.normal(7, 288), perm=[1, 0])
    ),
    "flatten and back": lambda b: b.conv(
        b.node("Reshape", b.node("Flatten", "x"), b.weight(np.array([0, 4, 9, 8]))), 3, 4, 3, 3
    ),
    "squeeze": lambda b: b.node("Squeeze", b.node("GlobalAveragePool", "x"), b.weight(np.array([2, 3]))),
    "unsqueeze": lambda b: b.conv(
        b.node("Unsqueeze", b.node("ReduceMean", "x", axes=[2, 3], keepdims=0), b.weight(np.array([2, 3]))), 3, 4, 1, 1
    ),
    "to nhwc": lambda b: b.node("Transpose", b.conv("x", 5, 4, 3, 3), perm=[0, 2, 3, 1]),
    "nhwc dense": lambda b: b.node("MatMul", b.node("Transpose", "x", perm=[0, 2, 3, 1]), b.normal(4, 6)),
    "nhwc mean": lambda b: b.node(
        "ReduceMean", b.node("Transpose", b.conv("x", 5, 4, 3, 3), perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0
    ),
    "nhwc flatten fc": lambda b: b.node(
        "MatMul", b.node("Flatten", b.node("Transpose", b.node("Relu", "x"), perm=[0, 2, 3, 1])), b.normal(288, 3)
    ),
    "there and back": lambda b: b.conv(
        b.node("Transpose", b.node("Relu", b.node("Transpose", "x", perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]), 3, 4, 1, 1
    ),
    "dropout": lambda b: b.node("Identity", b.node("Dropout", b.node("Relu", "x"))),
    "cast": lambda b: b.node("Cast", b.node("Relu", "x"), to=1),
    "hard swish written out": lambda b: b.node("Mul", "x", b.node("HardSigmoid", "x", alpha=1 / 6)),
    "hard swish of relu6": lambda b: b.node(
        "Div",
        b.node(
            "Mul",
            b.node("Clip", b.node("Add", "x", b.weight(f32(3))), b.weight(np.float32(0)), b.weight(np.float32(6))),
            "x",
        ),
        b.weight(f32(6)),
    ),
    "hard swish of scaled relu6": lambda b: b.node(
        "Mul",
        "x",
        b.node(
            "Div",
            b.node("Clip", b.node("Add", "x", b.weight(f32(3))), b.weight(np.float32(0)), b.weight(np.float32(6))),
            b.weight(f32(6)),
        ),
    ),
    "computed shape": lambda b: b.node(
        "Reshape",
        "x",
        b.node(
            "Concat",
            b.node(
                "Unsqueeze",
                b.node("Gather", b.node("Shape", "x"), b.weight(np.array(0)), axis=0),
                b.weight(np.array([0])),
            ),
            b.weight(np.array([-1])),
            axis=0,
        ),
    ),
    "computed weights": lambda b: b.node("Mul", "x", b.node("Exp", b.normal(4, 1, 1))),
    "weights of half the size": lambda b: b.node(
        "Conv", "x", b.node("Cast", b.weight(b.rng.normal(size=(3, 4, 3, 3)).astype(np.float16)), to=1)
    ),
    "weights of double size": lambda b: b.node(
        "Conv", "x", b.node("Cast", b.weight(b.rng.normal(size=(3, 4, 3, 3))), to=1)
    ),
    "weights stored as integers": lambda b: b.node("Conv", "x", stored(b)),
    "constant of shape": lambda b: b.node(
        "Add", "x", b.node("Add", b.node("ConstantOfShape", b.weight(np.array([4, 1, 1]))), b.normal(4, 1, 1))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    b = Builder(IMAGE)
    check_float(b.save(tmp_path / "m.onnx", CASES[name](b)))


VECTORS: dict[str, Callable[[Builder], str]] = {
    "fc": lambda b: b.node("Gemm", "x", b.normal(7, 12), b.normal(7), transB=1),
    "perceptron": lambda b: b.node(
        "Softmax",
        b.node("Gemm", b.node("Relu", b.node("MatMul", "x", b.normal(12, 9))), b.normal(9, 4), b.normal(1, 4)),
    ),
    "channels": lambda b: b.node("Mul", b.node("Add", "x", b.normal(12)), b.normal(1, 12)),
    "to an image": lambda b: b.conv(b.node("Reshape", "x", b.weight(np.array([-1, 12, 1, 1]))), 5, 12, 1, 1),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str, tmp_path: Path) -> None:
    b = Builder(("batch", 12))
    check_float(b.save(tmp_path / "m.onnx", VECTORS[name](b)), batch=3)


SEQUENCES: dict[str, Callable[[Builder], str]] = {
    "conv": lambda b: b.conv("x", 5, 6, 3, pads=[2, 1], strides=[2]),
    "conv and pool": lambda b: b.node(
        "MaxPool", b.node("Relu", b.conv("x", 5, 6, 3, dilations=[2])), kernel_shape=[2], strides=[2]
    ),
    "average": lambda b: b.node("AveragePool", b.conv("x", 5, 6, 3), kernel_shape=[2], pads=[1, 0]),
    "global": lambda b: b.node("Flatten", b.node("GlobalAveragePool", b.conv("x", 5, 6, 3))),
    "matmul": lambda b: b.node("Add", b.node("MatMul", "x", b.normal(10, 5)), b.normal(5)),
    "two matmuls": lambda b: b.node("MatMul", b.node("Relu", b.node("MatMul", "x", b.normal(10, 5))), b.normal(5, 3)),
    "channels last conv": lambda b: b.conv(b.node("Transpose", "x", perm=[0, 2, 1]), 5, 10, 3),
    "flatten": lambda b: b.node("Gemm", b.node("Flatten", b.conv("x", 5, 6, 3)), b.normal(40, 4)),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name: str, tmp_path: Path) -> None:
    b = Builder(("batch", 6, 10))
    check_float(b.save(tmp_path / "m.onnx", SEQUENCES[name](b)), batch=3)


def test_channels_last_input(tmp_path: Path) -> None:
    """As TensorFlow's exporter writes it: the model's own images are (n, h, w, c)."""
    b = Builder((1, 9, 8, 3))
    x = b.node("Relu", b.conv(b.node("Transpose", "x", perm=[0, 3, 1, 2]), 4, 3, 3, 3, pads=[1, 1, 1, 1]))
    x = b.node("Transpose", x, perm=[0, 2, 3, 1])
    model = check_float(b.save(tmp_path / "m.onnx", b.node("Add", x, b.normal(4))), batch=1)
    assert model.shapes == (("x", (9, 8, 3)),)
    assert model.graph is not None
    assert [layer.kind for layer in model.graph.layers] == ["conv", "relu", "conv"]


@pytest.mark.parametrize("opset", range(11, 29))
def test_every_opset(opset: int, tmp_path: Path) -> None:
    """One network in the spelling of every version: axes and limits moved from attributes to inputs."""
    b = Builder((1, 3, 8, 8), opset=opset)
    x = b.node("Clip", b.conv("x", 4, 3, 3, 3), b.weight(np.float32(0)), b.weight(np.float32(6)))
    axes = [2, 3]
    if opset >= 18:
        x = b.node("ReduceMean", x, b.weight(np.array(axes)), keepdims=1)
    else:
        x = b.node("ReduceMean", x, axes=axes, keepdims=1)
    x = b.node("Squeeze", x, b.weight(np.array(axes))) if opset >= 13 else b.node("Squeeze", x, axes=axes)
    x = b.node("Softmax", b.node("Gemm", x, b.normal(4, 5)))
    model = b.model(x)
    path = b.save(tmp_path / "m.onnx", x)
    assert model.opset_import[0].version == opset
    try:
        check_float(path, batch=1)
    except Exception as error:
        if "opset" in str(error) and not isinstance(error, ConfigError | ConfigErrors):
            pytest.skip("newer than the installed ONNX Runtime")
        raise


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_window(data: st.DataObject, tmp_path: Path) -> None:
    """Convolutions and pooling with any window; what accelsim refuses has a padding without a real pixel."""
    op = data.draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    small = st.integers(1, 3)
    size, kernel = [
        data.draw(st.lists(st.integers(low, high), min_size=2, max_size=2)) for low, high in ((3, 9), (1, 4))
    ]
    keys: dict[str, Any] = {"strides": data.draw(st.lists(small, min_size=2, max_size=2))}
    if op == "Conv":
        keys["dilations"] = data.draw(st.lists(small, min_size=2, max_size=2))
    else:
        keys["ceil_mode"] = data.draw(st.integers(0, 1))
    mode = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if mode == "NOTSET":
        keys["pads"] = [data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    else:
        keys["auto_pad"] = mode
        keys.pop("ceil_mode", None)
    if op == "AveragePool":
        keys["count_include_pad"] = data.draw(st.integers(0, 1))
        assume(not (keys["count_include_pad"] and keys.get("ceil_mode")))
    if mode.startswith("SAME"):  # what ONNX Runtime cannot do
        assume(keys.get("dilations", [1, 1]) == [1, 1] and all(s <= k for s, k in zip(keys["strides"], kernel)))
    spans = [d * (k - 1) + 1 for d, k in zip(keys.get("dilations", (1, 1)), kernel)]
    padding = keys.get("pads", [0] * 4)
    assume(all(spans[i] <= size[i] + padding[i] + padding[i + 2] for i in range(2)) or mode.startswith("SAME"))
    b = Builder(("N", 2, *size), seed=data.draw(st.integers(0, 99)))
    if op == "Conv":
        y = b.conv("x", 3, 2, *kernel, **keys)
    else:
        y = b.node(op, "x", kernel_shape=kernel, **keys)
    try:
        check_float(b.save(tmp_path / "m.onnx", y))
    except ConfigErrors as error:
        assert "real pixel" in str(error) or "wider than the kernel" in str(error), str(error)


def test_several_outputs_and_inputs(tmp_path: Path) -> None:
    """A convolution that is an output itself keeps its values: what follows is not folded into it."""
    b = Builder(("N", 3, 6, 5))
    b.inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 6, 5]))
    y = b.conv("x", 4, 3, 3, 3, pads=[1, 1, 1, 1])
    norm = batch_norm(b, y, 4)
    one = b.node("Mul", norm, b.weight(np.ones((4, 1, 1), np.float32)))
    last = b.node("Flatten", b.node("Add", one, "z"))
    model = check_float(b.save(tmp_path / "m.onnx", y, norm, one, last))
    assert [name for name, _ in model.inputs] == ["x", "z"]
    assert [name for name, _ in model.outputs] == [y, norm, one, last]
    result = accelsim.run(tmp_path / "m.onnx", arch="tiny", batch=2)
    assert result.report["bit_exact"]
    assert set(result.outputs) == {y, norm, one, last}
    assert result.outputs[last].shape == (2, 120)
    assert result.outputs[y].shape == (2, 4, 6, 5)


def test_a_softmax_beside_another_output(tmp_path: Path) -> None:
    b = Builder(("N", 3, 6, 5))
    y = b.node("Relu", b.conv("x", 4, 3, 3, 3))
    p = b.node("Softmax", b.node("Gemm", b.node("Flatten", y), b.normal(48, 5, scale=0.2)))
    check_float(b.save(tmp_path / "m.onnx", p, y))
    result = accelsim.run(tmp_path / "m.onnx", arch="tiny")
    assert result.outputs["probabilities"].shape == (1, 5)
    assert result.outputs[y].shape == (1, 4, 4, 3)
