"""Whole models: the float network against ONNX Runtime, then quantised, compiled and run bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.bundled import models, resolve
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.loader import load_network
from accelsim.nn.quantize import quantize
from accelsim.nn.scales import quantize_values
from accelsim.onnx import load_onnx
from tests.onnx.models import NETWORKS, Net, save
from tests.onnx.running import check_float, ours, session

SMALL = {"alexnet": 64, "alexnet_grouped": 67, "resnet18": 32, "squeezenet": 48, "mobilenet_v2": 32, "inception": 12}
ALEXNETS = ("alexnet", "alexnet_grouped")


def small(name: str) -> Net:
    keys = {"width": 128} if name in ALEXNETS else {}
    return NETWORKS[name](size=SMALL[name], **keys)


@pytest.mark.parametrize("name", NETWORKS)
def test_float_network(name: str, tmp_path: Path) -> None:
    model = check_float(save(small(name), tmp_path / f"{name}.onnx"), tolerance=1e-4)
    assert model.graph is not None
    kinds = [layer.kind for layer in model.graph.layers]
    assert "softmax" not in kinds[:-1]
    if name in ("resnet18", "mobilenet_v2"):  # every normalisation is folded
        ones = [layer for layer in model.graph.layers if layer.kind == "conv" and layer.kernel == (1, 1)]
        assert all(layer.groups == 1 for layer in ones)


def images(net: Net, count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, net_size(net), net_size(net))).astype(np.float32)


def net_size(net: Net) -> int:
    return net.inputs[0].type.tensor_type.shape.dim[2].dim_value


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["edge", "mid"])
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks_run_bit_for_bit(name: str, machine: str, tmp_path: Path) -> None:
    net = small(name)
    path = save(net, tmp_path / f"{name}.onnx")
    result = accelsim.run(path, arch=machine, calibrate=images(net, 2), input=images(net, 2, 5))
    assert result.report["bit_exact"]
    check_values_follow_float(path, result, images(net, 2, 5))


def check_values_follow_float(path: Path, result: accelsim.Result, given: np.ndarray) -> None:
    """The int8 output is near the float one of ONNX Runtime: not one layer was left out or wired wrongly."""
    wanted = session(path).run(None, {"x": given})[0].reshape(len(given), -1)
    if "probabilities" in result.outputs:
        got = result.outputs["probabilities"].reshape(len(given), -1)
        assert np.abs(got - wanted).max() < 0.1
        return
    (got,) = result.outputs.values()
    for a, b in zip(got.reshape(len(given), -1), wanted):
        assert np.corrcoef(a, b)[0, 1] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["edge", "mid"])
@pytest.mark.parametrize("name", ["alexnet", "resnet18", "squeezenet", "mobilenet_v2", "inception"])
def test_networks_of_full_size_run_bit_for_bit(name: str, machine: str, tmp_path: Path) -> None:
    net = NETWORKS[name]()
    path = save(net, tmp_path / f"{name}.onnx", external=True)
    result = accelsim.run(path, arch=machine, calibrate=images(net, 2), input=images(net, 1, 5))
    assert result.report["bit_exact"]


def test_lenet_is_the_network_of_the_workload_file() -> None:
    """The bundled model and the workload file: the same weights, and so the same int8 network in every bit."""
    own = load_network(resolve("lenet", "workloads"))
    model = load_onnx(models()["lenet.onnx"])
    assert own.graph is not None
    assert model.graph is not None
    assert own.dataset is not None
    training = own.dataset.images("train", 128)
    mine, theirs = quantize(model.graph, training), own.quantize()
    assert len(mine.layers) == len(theirs.layers)
    for a, b in zip(mine.layers, theirs.layers):
        for key in ("weights", "bias", "scale", "lo", "hi"):
            assert np.array_equal(getattr(a, key, None), getattr(b, key, None)), (a.name, key)
    test = own.dataset.images("test")
    (name,) = mine.inputs
    got = golden.run(mine, quantize_values(test, mine.tensors[name]))[mine.output]
    wanted = golden.run(theirs, quantize_values(test, theirs.tensors[theirs.input]))[theirs.output]
    assert np.array_equal(got, wanted)
    labels = own.dataset.labels("test")
    assert (got.reshape(len(test), -1).argmax(axis=1) == labels).mean() > 0.97
    floats = forward(own.graph, test)[own.graph.results[-1]].reshape(len(test), -1)
    assert (got.reshape(len(test), -1).argmax(axis=1) == floats.argmax(axis=1)).mean() >= 0.99


def test_lenet_float_against_onnx_runtime() -> None:
    path = models()["lenet.onnx"]
    own = load_network(resolve("lenet", "workloads"))
    assert own.dataset is not None
    digits = own.dataset.images("test", 40).transpose(0, 3, 1, 2)
    wanted = session(path).run(None, {"image": digits})[0]
    assert np.abs(ours(load_onnx(path), {"image": digits})[0] - wanted).max() < 1e-5
