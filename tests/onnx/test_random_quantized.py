"""Random models that ONNX Runtime's tools quantised: read without a refusal, and near what it computes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from accelsim.onnx import load_onnx
from tests.onnx.running import integers, session
from tests.onnx.test_random_graphs import SETTINGS, Grower
from tests.onnx.test_static_quantization import Images


@pytest.mark.slow
@settings(max_examples=25, phases=[Phase.generate], **SETTINGS)
@given(data=st.data())
def test_random_models_quantized_elsewhere(data: st.DataObject, tmp_path: Path) -> None:
    """Roundings add up along a network, so outputs are compared as wholes: correlation and mean difference."""
    logging.disable(logging.WARNING)
    grower = Grower(data, (3, 6, 5))
    grower.b.opset = 13
    grower.steps = ("conv", "function", "pool", "join", "there_and_back")
    grower.functions = ("Relu", "Sigmoid", "LeakyRelu")
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    grower.b.save(source, grower.grow())
    images = np.random.default_rng(0).normal(size=(16, 3, 6, 5)).astype(np.float32)
    form = data.draw(st.sampled_from([QuantFormat.QOperator, QuantFormat.QDQ]))
    quantize_static(
        str(source), str(target), Images(images), quant_format=form, activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8, per_channel=data.draw(st.booleans()), extra_options={"WeightSymmetric": True},
    )  # fmt: skip
    model = load_onnx(target)
    assert model.qgraph is not None
    got, wanted = integers(model, {"x": images})[0], session(target).run(None, {"x": images})[0]
    step = float(model.qgraph.tensors[model.qgraph.output].scale)
    assert np.abs(got - wanted).mean() <= 1.5 * step
    assert np.quantile(np.abs(got - wanted), 0.99) <= 8 * step
