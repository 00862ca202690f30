"""The types that quantised models store activations in, and padding between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import accelsim
from accelsim.errors import ConfigErrors
from accelsim.onnx import load_onnx
from tests.onnx.builders import Builder
from tests.onnx.running import session

Build = Callable[[Builder], str]


def numbers(b: Builder, scale: float, zero: int | None = None, kind: str = "int8") -> list[str]:
    """A scale, and a zero point unless it is left out."""
    names = [b.weight(np.array(scale, np.float32))]
    return names if zero is None else [*names, b.weight(np.array(zero, kind))]


def conv(b: Builder, x: str, *result: str, **keys: Any) -> str:
    """A convolution of real values, stored with the scale ``result``."""
    w = b.weight(b.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    taps = b.node("DequantizeLinear", w, *numbers(b, 0.01))
    return b.node("QuantizeLinear", b.node("Conv", x, taps), *result, **keys)


def output_dtype(b: Builder) -> str:
    """No zero points: int8 because QuantizeLinear says so."""
    scale = numbers(b, 0.03)
    stored = b.node("QuantizeLinear", "x", *scale, output_dtype=TensorProto.INT8)
    return conv(b, b.node("DequantizeLinear", stored, *scale), *numbers(b, 0.1), output_dtype=TensorProto.INT8)


def without_zero(b: Builder) -> str:
    """DequantizeLinear without a zero point: of the type it reads."""
    scale = numbers(b, 0.03, 0)
    stored = b.node("QuantizeLinear", "x", *scale)
    return conv(b, b.node("DequantizeLinear", stored, scale[0]), *numbers(b, 0.1, 0))


def contributed(b: Builder) -> str:
    """The same operators in ONNX Runtime's own domain, which its quantiser can be asked for."""
    scale, keys = numbers(b, 0.03, -5), {"domain": "com.microsoft"}
    w = b.weight(b.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    taps = b.node("DequantizeLinear", w, *numbers(b, 0.01, 0), **keys)
    real = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *scale, **keys), *scale, **keys)
    return b.node("QuantizeLinear", b.node("Conv", real, taps), *numbers(b, 0.1, 0), **keys)


def small_steps(b: Builder) -> str:
    """An int32 bias with another scale than that of the sums, both far below 1e-8."""
    scale = numbers(b, 3e-7, 0)
    w = b.weight(b.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    bias = b.weight(b.rng.integers(-9000, 9000, 4).astype(np.int32))
    parts = [b.node("DequantizeLinear", w, *numbers(b, 1e-4)), b.node("DequantizeLinear", bias, *numbers(b, 7e-10))]
    real = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *scale), *scale)
    return b.node("QuantizeLinear", b.node("Conv", real, *parts), *numbers(b, 1e-8, 0))


def padded_float(b: Builder) -> str:
    """Real zeros around the image, quantised with it."""
    scale = numbers(b, 0.03, -20)
    padded = b.node("Pad", "x", b.weight(np.array([0, 0, 1, 2, 0, 0, 0, 1])))
    stored = b.node("QuantizeLinear", padded, *scale)
    return conv(b, b.node("DequantizeLinear", stored, *scale), *numbers(b, 0.1, 0))


def padded_again(b: Builder) -> str:
    """A Pad between DequantizeLinear and QuantizeLinear, as ONNX Runtime's quantiser leaves it."""
    scale = numbers(b, 0.03, -20)
    real = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *scale), *scale)
    padded = b.node("Pad", real, b.weight(np.array([0, 0, 1, 2, 0, 0, 0, 1])))
    stored = b.node("QuantizeLinear", padded, *scale)
    return conv(b, b.node("DequantizeLinear", stored, *scale), *numbers(b, 0.1, 0))


@pytest.mark.parametrize("build", [output_dtype, without_zero, contributed, padded_float, padded_again])
def test_float_input(build: Build, tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7), opset=21)
    check(b, build(b), np.random.default_rng(1).normal(size=(1, 3, 7, 7)).astype(np.float32), tmp_path)


def test_a_bias_with_a_small_scale(tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7))
    image = np.random.default_rng(1).normal(size=(1, 3, 7, 7)) * 1e-5
    check(b, small_steps(b), image.astype(np.float32), tmp_path)


@pytest.mark.parametrize(
    ("values", "text"),
    [([np.nan, 1, 2, 3], "its bias must be finite"), ([1e9, 1, 2, 3], "its bias does not fit int32")],
)
def test_a_product_is_refused_by_its_own_name(values: list[float], text: str, tmp_path: Path) -> None:
    """Although it is made when the QuantizeLinear behind it is read."""
    b = Builder((1, 3, 7, 7))
    scale = numbers(b, 0.03, 0)
    real = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *scale), *scale)
    w = b.node("DequantizeLinear", b.weight(b.rng.integers(-9, 9, (4, 3, 1, 1)).astype(np.int8)), *numbers(b, 0.01))
    product = b.node("Conv", real, w, b.weight(np.array(values, np.float32)))
    path = b.save(tmp_path / "m.onnx", b.node("QuantizeLinear", product, *scale))
    with pytest.raises(ConfigErrors, match=f"/{product}/Conv .Conv.: {text}"):
        load_onnx(path)


def test_a_bias_of_another_size_than_its_scales(tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7))
    scale = numbers(b, 0.03, 0)
    real = b.node("DequantizeLinear", b.node("QuantizeLinear", "x", *scale), *scale)
    w = b.node("DequantizeLinear", b.weight(b.rng.integers(-9, 9, (4, 3, 1, 1)).astype(np.int8)), *numbers(b, 0.01))
    step = b.weight(np.full(3, 3e-4, np.float32))
    bias = b.node("DequantizeLinear", b.weight(np.arange(3, dtype=np.int32)), step, axis=0)
    path = b.save(tmp_path / "m.onnx", b.node("QuantizeLinear", b.node("Conv", real, w, bias), *scale))
    with pytest.raises(ConfigErrors, match=r"its bias is float32 \[3\], expected 4 numbers"):
        load_onnx(path)


def test_one_name_for_two_values(tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7))
    y = b.node("Relu", "x")
    b.nodes.append(helper.make_node("Tanh", ["x"], [y], name="again"))
    with pytest.raises(ConfigErrors, match=f"again .Tanh.: its output '{y}' is made elsewhere"):
        load_onnx(b.save(tmp_path / "m.onnx", y))


def retyped(b: Builder) -> str:
    """uint8 made int8, by 128 less."""
    real = b.node("DequantizeLinear", "x", *numbers(b, 0.03, 128, "uint8"))
    scale = numbers(b, 0.03, 0)
    stored = b.node("QuantizeLinear", real, *scale)
    return conv(b, b.node("DequantizeLinear", stored, *scale), *numbers(b, 0.1, 0))


def read_as_both(b: Builder) -> str:
    """The uint8 input is clipped, in its own integers, after it was made int8."""
    unsigned = numbers(b, 0.03, 128, "uint8")
    first = retyped(b)
    clipped = b.node("Clip", "x", b.weight(np.array(100, np.uint8)), b.weight(np.array(150, np.uint8)))
    scale = numbers(b, 0.1, 0)
    second = conv(b, b.node("DequantizeLinear", clipped, *unsigned), *scale)
    both = [b.node("DequantizeLinear", stored, *scale) for stored in (first, second)]
    return b.node("QuantizeLinear", b.node("Add", *both), *scale)


@pytest.mark.parametrize("build", [retyped, read_as_both])
def test_unsigned_input(build: Build, tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7), kind=TensorProto.UINT8)
    check(b, build(b), np.random.default_rng(1).integers(0, 256, (1, 3, 7, 7)).astype(np.uint8), tmp_path)


def check(b: Builder, output: str, image: np.ndarray, folder: Path) -> None:
    """Within one of ONNX Runtime's integers: it computes float operators of such models in float32."""
    path = b.save(folder / "m.onnx", output, kind=TensorProto.INT8)
    (wanted,) = session(path).run(None, {"x": image})
    result = accelsim.run(path, arch="tiny", input=image)
    (got,) = result.outputs.values()
    assert result.report["bit_exact"]
    assert len(np.unique(wanted)) > 20, "nothing to compare"
    assert np.abs(got.astype(int) - wanted).max() <= 1
