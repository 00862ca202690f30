"""Models that ONNX Runtime's own tools quantised, in both formats: accelsim keeps their scales and their values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from accelsim.onnx import load_onnx
from tests.onnx.builders import Builder
from tests.onnx.running import integers, session


class Images(CalibrationDataReader):
    def __init__(self, images: NDArray[np.float32]) -> None:
        self.rest: Iterator[dict[str, Any]] = iter([{"x": image[None]} for image in images])

    def get_next(self) -> dict[str, Any] | None:  # type: ignore[override]
        return next(self.rest, None)


def network() -> Builder:
    """A little of everything that can be quantised."""
    b = Builder(("N", 3, 16, 16), opset=13)
    x = b.node("Relu", b.conv("x", 8, 3, 3, 3, pads=[1, 0, 2, 1]))
    x = b.node("Add", x, b.conv(x, 8, 1, 3, 3, group=8, pads=[1, 1, 1, 1]))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    x = b.node("Concat", x, b.node("Sigmoid", b.conv(x, 4, 8, 1, 1)), b.node("LeakyRelu", x, alpha=0.2), axis=1)
    x = b.node("AveragePool", x, kernel_shape=[2, 2])
    x = b.node("Clip", b.conv(x, 6, 20, 3, 3), b.weight(np.float32(0)), b.weight(np.float32(1.5)))
    b.node("Gemm", b.node("Flatten", x), b.normal(10, 120, scale=0.1), b.normal(10), transB=1)
    return b


@pytest.mark.parametrize("channels", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8], ids=["s8", "u8"])
@pytest.mark.parametrize("form", [QuantFormat.QOperator, QuantFormat.QDQ], ids=["operator", "qdq"])
def test_models_quantized_elsewhere(form: Any, activations: Any, channels: bool, tmp_path: Path) -> None:
    logging.disable(logging.WARNING)
    b = network()
    b.save(tmp_path / "float.onnx", b.nodes[-1].output[0])
    images = np.random.default_rng(0).normal(size=(16, 3, 16, 16)).astype(np.float32)
    target = tmp_path / "int8.onnx"
    quantize_static(
        str(tmp_path / "float.onnx"), str(target), Images(images), quant_format=form, activation_type=activations,
        weight_type=QuantType.QInt8, per_channel=channels, reduce_range=activations == QuantType.QUInt8,
        extra_options={"WeightSymmetric": True},
    )  # fmt: skip
    model = load_onnx(target)
    assert model.qgraph is not None
    got = integers(model, {"x": images})[0]
    wanted = session(target).run(None, {"x": images})[0]
    step = model.qgraph.tensors[model.qgraph.output].scale
    assert np.abs(got - wanted).max() <= 3.5 * step, "more than a unit here and there along the way"
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.9
