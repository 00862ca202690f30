"""The bundled LeNets: their data, their accuracy, and the script that trained them."""
# ruff: noqa: E501 (one layer a line)

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import subprocess
import sys

import numpy as np
import pytest

from accelsim.bundled import folder
from accelsim.nn import golden
from accelsim.nn.facts import network_facts
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.loader import load_network
from accelsim.nn.scales import dequantize, quantize_values

WORKLOADS = folder("workloads")
NAMES = ("lenet", "lenet_tanh")


def trainer():
    spec = importlib.util.spec_from_file_location("train_lenet", WORKLOADS / "train_lenet.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_lenet"] = module
    spec.loader.exec_module(module)
    return module


def test_the_digits_are_whole():
    with np.load(WORKLOADS / "digits" / "digits.npz") as digits:
        assert digits["images"].shape == (1797, 8, 8)
        assert (digits["images"].min(), digits["images"].max()) == (0, 16)
        assert int(digits["images"].sum()) == 561718
        assert np.bincount(digits["labels"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        split = [digits[name] for name in ("train", "val", "test")]
        assert [len(s) for s in split] == [1078, 359, 360]
        assert sorted(np.concatenate(split).tolist()) == list(range(1797))


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_on_the_test_split(name):
    network = load_network(WORKLOADS / f"{name}.yaml")
    assert network.dataset
    images, labels = network.dataset.images("test"), network.dataset.labels("test")
    real = (forward(network.graph, images)["fc3"].reshape(360, 10).argmax(axis=1) == labels).mean()
    q = network.quantize()
    logits = golden.run(q, quantize_values(images, q.tensors["image"]))[q.output]
    integer = (logits.reshape(360, 10).argmax(axis=1) == labels).mean()
    assert real >= 0.985
    assert abs(real - integer) <= 0.005
    probability = golden.softmax(dequantize(logits, q.tensors[q.output]))
    np.testing.assert_allclose(probability.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_32x32_form_of_lenet_5(name):
    q = load_network(WORKLOADS / f"{name}.yaml").quantize()
    facts = network_facts(q, 1)
    assert facts.macs == 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert facts.compulsory_bytes == 150 + 2400 + 48000 + 10080 + 840 + 1024 + 10
    assert (WORKLOADS / f"{name}.npz").stat().st_size < 1_000_000


@pytest.mark.parametrize(
    "layers",
    [
        [Layer(name="a", kind="conv", input="x", kernel=(3, 2), stride=(2, 1), pads=(1, 0, 1, 1), channels=3, activation="sigmoid"),
         Layer(name="p", kind="avgpool", input="a", kernel=(2, 3), stride=(1, 2), pads=(1, 0, 0, 1))],
        [Layer(name="a", kind="conv", input="x", kernel=(2, 2), channels=3, activation="tanh"),
         Layer(name="p", kind="maxpool", input="a", kernel=(3, 2), stride=(1, 2), pads=(1, 1, 0, 0))],
        [Layer(name="a", kind="conv", input="x", kernel=(2, 2), channels=4),
         Layer(name="t", kind="tanh", input="a"),
         Layer(name="p", kind="avgpool", input="t", kernel=(2, 2), stride=(2, 2), pads=(1, 1, 1, 1), count_include_pad=True),
         Layer(name="f", kind="flatten", input="p")],
    ],
)  # fmt: skip
def test_the_trainers_gradients_equal_difference_quotients(layers):
    script = trainer()
    fc = Layer(name="fc", kind="fc", input=layers[-1].name, channels=4)
    graph = Graph(name="g", inputs=(("x", (6, 5, 2)),), layers=(*layers, fc))
    rng = np.random.default_rng(3)
    parameters = script.initial(graph, rng)
    x, labels = rng.normal(0, 1, (5, 6, 5, 2)).astype(np.float32), rng.integers(0, 4, 5)
    _, slopes = script.gradients(script.with_parameters(graph, parameters), x, labels, 0.1)

    def loss(name: str, step: np.ndarray) -> float:
        moved = parameters | {name: (parameters[name] + step).astype(np.float32)}
        return script.gradients(script.with_parameters(graph, moved), x, labels, 0.1)[0]

    assert slopes.keys() == parameters.keys()
    for name, values in parameters.items():
        direction = rng.normal(0, 1, values.shape)
        direction *= 5e-3 / np.linalg.norm(direction)
        quotient = (loss(name, direction) - loss(name, -direction)) / 2
        np.testing.assert_allclose((slopes[name] * direction).sum(), quotient, rtol=0.02, atol=2e-6, err_msg=name)


def test_training_from_another_directory_learns_and_evaluates(tmp_path):
    work = tmp_path / "copy"
    shutil.copytree(WORKLOADS, work)
    (work / "lenet.npz").unlink()
    command = [sys.executable, "-W", "error", str(work / "train_lenet.py")]
    subprocess.run([*command, "--epochs", "2"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([*command, "--eval"], cwd=tmp_path, check=True, capture_output=True, text=True)
    header, *rows = [line.split() for line in done.stdout.splitlines()]
    assert header == ["split", "images", "float", "int8"]
    assert [row[:2] for row in rows] == [["train", "1078"], ["val", "359"], ["test", "360"]]
    assert all(float(value.rstrip("%")) > 80 for row in rows for value in row[2:])


def test_the_images_are_enlarged_and_framed():
    network = load_network(WORKLOADS / "lenet.yaml")
    data = network.dataset
    assert data
    image = data.images("test", 1)[0, :, :, 0]
    assert image.shape == (32, 32)
    assert not image[:2].any()
    assert not image[:, -2:].any()
    small = data.pixels[data.splits["test"][0], :, :, 0] / 16
    assert image.max() <= small.max()
    # Output pixel 5 of 28 has its centre at 5.5 * 8 / 28 - 0.5 = 1 + 1 / 14 of the small image.
    column = small[:, 1] * 13 / 14 + small[:, 2] / 14
    np.testing.assert_allclose(image[2 + 5, 2 + 5], column[1] * 13 / 14 + column[2] / 14, rtol=1e-5)
    plain = dataclasses.replace(data, size=(8, 8), border=0)
    np.testing.assert_array_equal(plain.images("test", 1)[0, :, :, 0], small.astype(np.float32))
