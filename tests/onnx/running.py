"""The same model in accelsim's float network and in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.onnx import OnnxModel, load_onnx


def session(path: Path) -> Any:
    """One thread, no rewriting of the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_feeds(path: Path, batch: int, seed: int = 0, dims: dict[str, int] | None = None) -> dict[str, NDArray[Any]]:
    """Values of every input of a model, in its own shape; the batch is ``batch`` unless the model fixes it."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for given in session(path).get_inputs():
        shape = [size if isinstance(size, int) else (dims or {}).get(size, batch) for size in given.shape]
        feeds[given.name] = rng.normal(size=shape).astype(np.float32)
    return feeds


def ours(model: OnnxModel, feeds: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Every output of a float model, in its own shape."""
    assert model.graph is not None
    given = {name: model.layouts[name].to_nhwc(feeds[own]) for own, name in model.inputs}
    values = forward(model.graph, given)
    return [model.layouts[name].from_nhwc(values[name]) for _, name in model.outputs]


def check_float(
    path: Path, batch: int = 2, dims: dict[str, int] | None = None, tolerance: float = 2e-5, *, dead: bool = False
) -> OnnxModel:
    """accelsim's float network gives what ONNX Runtime gives, whatever the batch; zeros alone only if ``dead``."""
    model = load_onnx(path, dims)
    feeds = random_feeds(path, batch, dims=dims)
    wanted = session(path).run([name for name, _ in model.outputs], feeds)
    for got, expected in zip(ours(model, feeds), wanted):
        assert got.shape == expected.shape
        assert dead or np.abs(expected).max() > 0, "nothing to compare"
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * float(np.abs(expected).max()))
    return model


def integers(model: OnnxModel, feeds: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Every output of a quantised model as the golden model computes it, dequantised, in its own shape."""
    assert model.qgraph is not None
    graph = model.qgraph
    given = {
        name: quantize_values(model.layouts[name].to_nhwc(feeds[own]), graph.tensors[name])
        for own, name in model.inputs
    }
    values = golden.run(graph, given)
    return [model.layouts[name].from_nhwc(dequantize(values[name], graph.tensors[name])) for _, name in model.outputs]


def check_quantized(path: Path, steps: int = 0, batch: int = 2, spread: float = 1.5) -> OnnxModel:
    """The int8 network gives what ONNX Runtime gives, within ``steps`` units of the output."""
    model = load_onnx(path)
    assert model.qgraph is not None
    feeds = {name: values * np.float32(spread) for name, values in random_feeds(path, batch).items()}
    wanted = session(path).run([name for name, _ in model.outputs], feeds)
    for (_, name), got, expected in zip(model.outputs, integers(model, feeds), wanted):
        scale = model.qgraph.tensors[name].scale
        assert got.shape == expected.shape
        units = np.rint(np.abs(got - expected) / scale)
        assert len(np.unique(expected)) > 3, "nothing to compare"
        assert units.max() <= steps, f"{(units > steps).sum()} of {units.size} differ by up to {units.max()}"
    return model
