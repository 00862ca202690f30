"""Workload files: what they mean, and every mistake with its place."""
# ruff: noqa: E501 (full messages)

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.nn import golden
from accelsim.nn.loader import load_network
from accelsim.nn.scales import quantize_values

HEAD = "schema: 1\ninput: {shape: [8, 8, 2]}\n"
LAYERS = HEAD + """\
layers:
  - {name: c, kind: conv, channels: 3, kernel: [3, 2], padding: same, activation: relu}
  - {name: p, kind: maxpool, kernel: 2}
  - {name: f, kind: fc, channels: 4}
"""


def write(folder: Path, text: str, name: str = "net.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def arrays(**changes) -> dict[str, np.ndarray]:
    values = {
        "c.weight": np.ones((3, 3, 2, 2), np.float32), "c.bias": np.arange(3, dtype=np.float64),
        "f.weight": np.ones((4, 48), np.float16), "f.bias": np.zeros(4, np.float32),
    }  # fmt: skip
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


def mistakes(path: Path) -> list[str]:
    """One line per mistake, the folder left out."""
    with pytest.raises(ConfigErrors) as caught:
        load_network(path)
    return [str(error).splitlines()[0].replace(f"{path.parent}{os.sep}", "") for error in caught.value.errors]


def test_every_key_reaches_the_graph(tmp_path):
    path = write(tmp_path, """\
schema: 1
name: every
input: {name: image, shape: [12, 10, 4]}
seed: 3
classes: [a, b]
calibration: {method: percentile, images: 5}
layers:
  - {name: c1, kind: conv, channels: 6, kernel: [3, 2], stride: [2, 1], padding: [1, 0, 2, 1], dilation: [1, 2], groups: 2, activation: tanh}
  - {name: c2, kind: conv, channels: 6, kernel: 3, padding: [1, 2], groups: 6}
  - {name: r, kind: relu}
  - {name: p1, kind: avgpool, kernel: [2, 3], padding: 1, stride: 1, count_include_pad: true}
  - {name: p2, kind: maxpool, kernel: 2, input: p1}
  - {name: s, kind: sigmoid}
  - {name: fl, kind: flatten}
  - {name: fc, kind: fc, channels: 2}
  - {name: sm, kind: softmax}
""")  # fmt: skip
    network = load_network(path)
    c1, c2, _, p1, p2 = network.graph.layers[:5]
    assert (c1.kernel, c1.stride, c1.pads, c1.dilation, c1.groups) == ((3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 2)
    assert (c1.activation, c1.input, c2.pads) == ("tanh", "image", (1, 1, 2, 2))
    assert (p1.kernel, p1.stride, p1.pads, p1.count_include_pad) == ((2, 3), (1, 1), (1, 1, 1, 1), True)
    assert (p2.stride, p2.count_include_pad, p2.input) == ((2, 2), False, "p1")
    assert (network.name, network.method, network.classes, network.dataset) == ("every", "percentile", ("a", "b"), None)
    assert network.calibration["image"].shape == (5, 12, 10, 4)
    assert network.inputs(2).shape == (2, 12, 10, 4)
    np.testing.assert_array_equal(network.inputs(2)[:1], network.inputs(1))
    kinds = [kind for _, kind, _ in network.quantize().rows]
    assert kinds == ["conv", "depthwise", "relu", "avgpool", "maxpool", "sigmoid", "flatten", "fc", "softmax"]


def test_weights_come_from_the_file(tmp_path):
    path = write(tmp_path, "weights: w.npz\n" + LAYERS)
    np.savez(tmp_path / "w.npz", **arrays(**{"f.bias": None}))
    graph = load_network(path).graph
    assert graph.name == "net"
    conv, _, fc = graph.layers
    assert conv.weights is not None
    assert (conv.weights.dtype, conv.bias.tolist()) == (np.float32, [0, 1, 2])
    assert (fc.weights.dtype, fc.bias) == (np.float32, None)
    assert load_network(path, trained=False).graph.layers[0].weights is None


def test_without_weights_they_are_random_repeatable_and_alive(tmp_path):
    deep = "".join(
        f"  - {{name: c{i}, kind: conv, channels: 16, kernel: 3, padding: same, activation: relu}}\n" for i in range(12)
    )
    path = write(tmp_path, f"{HEAD}layers:\n{deep}  - {{name: f, kind: fc, channels: 10}}\n")
    network, again = load_network(path), load_network(path)
    q = network.quantize()
    for layer, other in zip(q.layers, again.quantize().layers):
        np.testing.assert_array_equal(layer.weights, other.weights)
    values = golden.run(q, quantize_values(network.inputs(2), q.tensors[q.input]))
    for name, tensor in q.tensors.items():
        dead = (values[name] == tensor.zero).mean()
        assert dead < 0.8, name
        assert len(np.unique(values[name])) > 10, name


def test_a_data_set_gives_inputs_and_calibration(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 9, (20, 3, 3), dtype=np.uint8)
    indices = {"train": np.arange(12), "val": np.arange(12, 15), "test": np.arange(19, 14, -1)}
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(20) % 10, **indices)
    text = HEAD.replace("[8, 8, 2]", "[8, 8, 1]") + "layers: [{name: f, kind: fc, channels: 10}]\n"
    path = write(tmp_path, text + "dataset: {file: d.npz, divide: 8, resize: 6, method: nearest, border: 1}\n")
    network = load_network(path)
    assert network.dataset is not None
    assert network.calibration["input"].shape == (12, 8, 8, 1)
    np.testing.assert_array_equal(network.dataset.labels("test"), [9, 8, 7, 6, 5])
    wanted = np.pad(np.kron(images[19] / np.float32(8), np.ones((2, 2), np.float32)), 1)
    np.testing.assert_array_equal(network.inputs(1)[0, :, :, 0], wanted)
    np.testing.assert_array_equal(network.inputs(7)[5:], network.inputs(2))


def test_calibration_from_a_file(tmp_path):
    values = np.random.default_rng(0).normal(0, 1, (6, 8, 8, 2))
    np.save(tmp_path / "x.npy", values)
    network = load_network(write(tmp_path, LAYERS + "calibration: {file: x.npy, images: 4}\n"))
    np.testing.assert_array_equal(network.calibration["input"], values[:4].astype(np.float32))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.zeros((2, 8, 8, 3)), "expected images of shape [8, 8, 2], got [2, 8, 8, 3]"),
        (np.zeros((0, 8, 8, 2)), "expected images of shape [8, 8, 2], got [0, 8, 8, 2]"),
        (np.zeros((2, 8, 8, 2), int), "expected floating-point values of shape (n, 8, 8, 2), got int64 [2, 8, 8, 2]"),
        (np.zeros((8, 8, 2)), "expected floating-point values of shape (n, 8, 8, 2), got float64 [8, 8, 2]"),
        (np.full((2, 8, 8, 2), np.inf), "holds values that are not finite"),
        (None, "no such file"),
    ],
)
def test_calibration_that_does_not_fit(tmp_path, values, problem):
    if values is not None:
        np.save(tmp_path / "x.npy", values)
    path = write(tmp_path, LAYERS + "calibration: {file: x.npy}\n")
    assert mistakes(path) == [f"net.yaml:7:21: calibration.file: x.npy: {problem}"]


def test_mistakes_in_values_are_all_reported_at_once(tmp_path):
    path = write(tmp_path, """\
schema: 1
input: {shape: [8, 8]}
sead: 4
layers:
  - {name: a, kind: convv, channels: 3, kernel: 3}
  - {name: b, kind: conv, channels: -3, kernel: 3, strid: 2}
  - {name: c, kind: maxpool, kernel: [2, 2, 2], padding: big}
  - {name: d, kind: fc, channels: 3, activation: rellu}
  - {name: e/f, kind: relu}
  - {kind: relu, name: no}
  - {name: g}
""")  # fmt: skip
    assert mistakes(path) == [
        "net.yaml:2:16: input.shape: must have at least 3 elements, got 2",
        "net.yaml:3:1: sead: unknown key (did you mean 'seed'? allowed: schema, name, input, inputs, layers, outputs, weights, dataset, calibration, classes, seed)",
        "net.yaml:5:21: layers[0].kind: 'convv' is not allowed (did you mean 'conv'? allowed: conv, fc, gemm, maxpool, avgpool, add, concat, lrn, relu, relu6, tanh, sigmoid, ...)",
        "net.yaml:6:37: layers[1].channels: must be at least 1, got -3",
        "net.yaml:6:52: layers[1].strid: unknown key (did you mean 'stride'? allowed: name, input, kind, channels, kernel, stride, padding, dilation, groups, activation)",
        "net.yaml:7:38: layers[2].kernel: expected a whole number from 1 to 65536, [height, width] or the word global, got [2, 2, 2]",
        "net.yaml:7:58: layers[2].padding: expected a whole number from 0 to 65536, [height, width], [top, bottom, left, right] or the word same, got big",
        "net.yaml:8:50: layers[3].activation: 'rellu' is not allowed (did you mean 'relu'? allowed: relu, relu6, tanh, sigmoid, hard_swish)",
        "net.yaml:9:12: layers[4].name: expected letters, digits, _ and -, got 'e/f'",
        "net.yaml:11:5: layers[6].kind: is missing",
    ]  # fmt: skip


def test_mistakes_between_layers_are_all_reported_at_once(tmp_path):
    path = write(tmp_path, HEAD + """\
layers:
  - {name: a, kind: conv, channels: 4, kernel: 9}
  - {name: b, kind: conv, channels: 4, kernel: 1, groups: 3, input: input}
  - {name: b, kind: relu, input: a}
  - {name: c, kind: relu, input: z1}
  - {name: d, kind: relu, input: d}
  - {name: e, kind: relu, input: g}
  - {name: f, kind: relu}
  - {name: g, kind: relu}
  - {name: h, kind: relu, input: i}
  - {name: i, kind: maxpool, kernel: 2, padding: 2, input: input}
  - {name: s, kind: softmax}
  - {name: z, kind: relu, input: i}
  - {name: y, kind: relu, input: z}
""")  # fmt: skip
    assert mistakes(path) == [
        "net.yaml:4:48: layers[0].kernel: kernel height spans 9 and the padded input has only 8 (input 8, padding 0 + 0)",
        "net.yaml:5:59: layers[1].groups: groups 3 must divide the 2 input and 4 output channels",
        "net.yaml:6:12: layers[2].name: the name 'b' is taken (each name may stand once)",
        "net.yaml:7:34: layers[3].input: no layer 'z1' (earlier: input, a, b)",
        "net.yaml:8:34: layers[4].input: 'd' reads itself",
        "net.yaml:9:34: layers[5].input: the layers form a cycle: e -> g -> f -> e",
        "net.yaml:12:34: layers[8].input: 'i' comes later (list layers in the order of computation)",
        "net.yaml:13:50: layers[9].padding: padding [2, 2, 2, 2] leaves a window without any real pixel (keep each padding below the kernel [2, 2])",
        "net.yaml:14:21: layers[10].kind: softmax runs on the host and can only be the last layer",
    ]  # fmt: skip


def test_a_layer_that_nobody_reads(tmp_path):
    layers = "layers: [{name: a, kind: relu}, {name: b, kind: relu, input: input}]\n"
    assert mistakes(write(tmp_path, HEAD + layers)) == [
        "net.yaml:3:17: layers[0].name: no layer reads 'a' (only the last layer is an output, unless `outputs` names others)"
    ]


@pytest.mark.parametrize("layers", ["{name: a, kind: flatten}", "{name: a, kind: flatten}, {name: b, kind: softmax}"])
def test_a_network_without_any_work(tmp_path, layers):
    assert mistakes(write(tmp_path, HEAD + f"layers: [{layers}]\n")) == [
        "net.yaml:3:9: layers: no layer does any work on the machine (add a layer that computes values)"
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("kernel: 2, padding: 5000", "padding 5000 is wider than the kernel height, which spans 2"),
        ("kernel: [5, 2], dilation: [1, 3], padding: [4, 4, 0, 5]", "padding 5 is wider than the kernel width, which spans 4"),
    ],
)
def test_padding_as_wide_as_the_kernel(tmp_path, keys, problem):
    text = HEAD + f"layers:\n  - {{name: a, kind: conv, channels: 2, {keys}}}\n"
    found = mistakes(write(tmp_path, text))
    column = text.splitlines()[3].index("padding: ") + len("padding: ") + 1
    assert found == [f"net.yaml:4:{column}: layers[0].padding: {problem} (such windows hold no real pixel)"]


def test_padding_one_less_than_the_kernel_is_fine(tmp_path):
    text = HEAD + "layers: [{name: a, kind: conv, channels: 2, kernel: [2, 3], dilation: [3, 1], padding: [3, 2]}]\n"
    assert load_network(write(tmp_path, text)).graph.layers[0].pads == (3, 3, 2, 2)


def test_every_layer_has_a_place(tmp_path):
    path = write(tmp_path, LAYERS)
    assert load_network(path).places == {"c": f"{path}:4:5", "p": f"{path}:5:5", "f": f"{path}:6:5"}


def test_wrong_weights_are_all_reported_at_the_layers(tmp_path):
    path = write(tmp_path, "weights: w.npz\n" + LAYERS)
    bad = arrays(**{
        "c.weight": np.ones((3, 2, 3, 2), np.float32), "c.bias": np.zeros(3, np.int32), "f.weight": None,
        "f.wieght": np.ones((4, 48)), "f.bias": np.full(4, 1e300),
    })  # fmt: skip
    np.savez(tmp_path / "w.npz", **bad)
    assert mistakes(path) == [
        "net.yaml:1:10: weights: w.npz array 'f.wieght' belongs to no layer (did you mean 'f.weight'? allowed: c.weight, c.bias, f.weight, f.bias)",
        "net.yaml:5:12: layers[0].name: w.npz array 'c.weight': expected shape [3, 3, 2, 2], got [3, 2, 3, 2]",
        "net.yaml:5:12: layers[0].name: w.npz array 'c.bias': expected floating-point values, got int32",
        "net.yaml:7:12: layers[2].name: w.npz has no array 'f.weight' (did you mean 'f.wieght'? in the file: c.weight, c.bias, f.bias, f.wieght)",
        "net.yaml:7:12: layers[2].name: w.npz array 'f.bias': holds values that are not finite",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file"),
        (b"hello", "not an .npz file, or cut short"),
        (b"", "not an .npz file, or cut short"),
        ("cut", "not an .npz file, or cut short"),
        ("single", "not an .npz file, or cut short"),
        ("objects", "not an .npz file, or cut short"),
        ("directory", "this is a directory, not a file"),
    ],
)
def test_weights_files_that_cannot_be_read(tmp_path, content, problem):
    target = tmp_path / "w.npz"
    match content:
        case bytes():
            target.write_bytes(content)
        case "cut":
            np.savez(target, **arrays())
            target.write_bytes(target.read_bytes()[:700])
        case "single":
            with target.open("wb") as file:
                np.save(file, np.zeros(3))
        case "objects":
            np.savez(target, x=np.array([{}], dtype=object))
        case "directory":
            target.mkdir()
    path = write(tmp_path, "weights: w.npz\n" + LAYERS)
    assert mistakes(path) == [f"net.yaml:1:10: weights: w.npz: {problem}"]


DATASET = "dataset: {file: d.npz}\n"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": None}, "dataset.file: d.npz: has no array 'labels'"),
        ({"images": np.zeros((4, 8))}, "dataset.file: d.npz: images must be numbers of shape (n, h, w) or (n, h, w, c), got float64 [4, 8]"),
        ({"labels": np.zeros(3, int)}, "dataset.file: d.npz: labels must be 4 integers, got int64 [3]"),
        ({"val": np.zeros(0, int)}, "dataset.file: d.npz: val must be a list of integers, got int64 [0]"),
        ({"test": np.array([0, 4])}, "dataset.file: d.npz: test holds an index outside 0..3"),
        ({"labels": np.array([0, 3, 4, 1])}, "dataset.file: d.npz: the label 4 is outside 0..3 (the network has 4 outputs)"),
        ({"labels": np.array([0, -1, 3, 1])}, "dataset.file: d.npz: the label -1 is outside 0..3 (the network has 4 outputs)"),
        ({"images": np.full((4, 8, 8, 2), 1e300)}, "dataset.file: d.npz: images divided by 1 hold values that are not finite"),
        ({"images": np.zeros((4, 8, 8))}, "dataset: gives images of shape [8, 8, 1], the input is [8, 8, 2]"),
    ],
)  # fmt: skip
def test_data_sets_that_do_not_fit(tmp_path, changes, problem):
    values = {"images": np.zeros((4, 8, 8, 2)), "labels": np.zeros(4, int)}
    values |= {name: np.arange(4) for name in ("train", "val", "test")} | changes
    np.savez(tmp_path / "d.npz", **{name: v for name, v in values.items() if v is not None})
    path = write(tmp_path, LAYERS + DATASET)
    column = 10 if "gives" in problem else 17
    assert mistakes(path) == [f"net.yaml:7:{column}: {problem}"]


def test_mistakes_in_all_named_files_are_reported_together(tmp_path):
    text = LAYERS + DATASET + "weights: w.npz\ncalibration: {file: x.npy}\nclasses: [a, b]\n"
    assert mistakes(write(tmp_path, text)) == [
        "net.yaml:7:17: dataset.file: d.npz: no such file",
        "net.yaml:8:10: weights: w.npz: no such file",
        "net.yaml:9:21: calibration.file: x.npy: no such file",
        "net.yaml:10:10: classes: 2 names for 4 outputs",
    ]


def test_a_missing_workload_file(tmp_path):
    with pytest.raises(ConfigError, match="the file does not exist"):
        load_network(tmp_path / "none.yaml")


def test_the_text_shows_the_line_and_a_caret(tmp_path):
    path = write(tmp_path, HEAD + "layers:\n  - {name: a, kind: conv, channels: 4, kernel: 9}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_network(path)
    assert str(caught.value).splitlines()[1:] == [
        "      - {name: a, kind: conv, channels: 4, kernel: 9}",
        "                                                   ^",
        "1 mistake found",
    ]
