"""The types that quantised models store activations in, and padding between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import accelsim
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


@pytest.mark.parametrize("build", [output_dtype, without_zero, padded_float, padded_again])
def test_float_input(build: Build, tmp_path: Path) -> None:
    b = Builder((1, 3, 7, 7), opset=21)
    check(b, build(b), np.random.default_rng(1).normal(size=(1, 3, 7, 7)).astype(np.float32), tmp_path)


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
