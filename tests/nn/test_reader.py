"""Workload files with sums, products, normalisation, several inputs and outputs; every mistake with its place."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.nn.graph import Norm
from accelsim.nn.loader import load_network
from accelsim.nn.shapes import UNREAD_HINT
from tests.nn.test_loader import HEAD, mistakes, write

TWO = "schema: 1\ninputs: [{name: a, shape: [4, 4, 2]}, {name: b, shape: [4, 4, 2]}]\n"
SUM = "  - {name: s, kind: add, inputs: [a, b]}\n"


def test_every_new_key_reaches_the_graph(tmp_path):
    path = write(tmp_path, """\
schema: 1
inputs: [{name: a, shape: [4, 6, 8]}, {name: b, shape: [4, 6, 8]}]
outputs: [pool, p]
layers:
  - {name: s, kind: add, inputs: [a, b], activation: relu6}
  - {name: n, kind: lrn, size: 4, alpha: 0.5, beta: 1, k: 2}
  - {name: n2, kind: lrn, size: 3}
  - {name: pool, kind: avgpool, kernel: global}
  - {name: best, kind: maxpool, kernel: global, stride: 1, input: n2}
  - {name: f, kind: fc, channels: 5, input: best}
  - {name: g, kind: gemm, m: 1, k: 5, n: 3, input: f, activation: relu}
  - {name: p, kind: gemm, m: 2, k: 3, n: 4}
  - {name: r, kind: relu6, input: g}
  - {name: prob, kind: softmax}
""")  # fmt: skip
    network = load_network(path)
    graph = network.graph
    layers = {layer.name: layer for layer in graph.layers}
    assert graph.inputs == (("a", (4, 6, 8)), ("b", (4, 6, 8)), ("p.in", (1, 2, 3)))
    assert graph.results == ("pool", "p", "r")
    assert (layers["s"].inputs, layers["s"].activation) == (("a", "b"), "relu6")
    assert layers["n"].norm == Norm(size=4, alpha=0.5, beta=1, k=2)
    assert layers["n2"].norm == Norm(size=3, alpha=1e-4, beta=0.75, k=1)
    assert (layers["pool"].kernel, layers["pool"].stride) == ((4, 6), (4, 6))
    assert (layers["best"].kernel, layers["best"].stride) == ((4, 6), (1, 1))
    assert (layers["g"].matrix, layers["g"].channels, layers["g"].input) == ((1, 5), 3, "f")
    assert (layers["p"].matrix, layers["p"].input) == ((2, 3), "p.in")
    assert {name: values.shape for name, values in network.feeds(2).items()} == {
        "a": (2, 4, 6, 8), "b": (2, 4, 6, 8), "p.in": (2, 1, 2, 3),
    }  # fmt: skip
    assert network.inputs(2).shape == (2, 4, 6, 8)
    q = network.quantize()
    assert q.outputs == ("pool", "p", "r")
    assert [kind for _, kind, _ in q.rows] == [
        "add", "lrn", "lrn", "avgpool", "maxpool", "fc", "gemm", "gemm", "relu6", "softmax",
    ]  # fmt: skip


def test_products_without_inputs_need_nothing_else(tmp_path):
    rows = "".join(f"  - {{name: g{i}, kind: gemm, m: 2, k: 3, n: 4}}\n" for i in range(3))
    graph = load_network(write(tmp_path, f"schema: 1\nlayers:\n{rows}")).graph
    assert [name for name, _ in graph.inputs] == ["g0.in", "g1.in", "g2.in"]
    assert graph.results == ("g0", "g1", "g2")
    chained = f"schema: 1\nlayers:\n{rows}  - {{name: f, kind: fc, channels: 2, input: g0}}\n"
    assert load_network(write(tmp_path, chained)).graph.results == ("g1", "g2", "f")


def test_weights_of_a_product_come_from_the_file(tmp_path):
    path = write(tmp_path, "schema: 1\nweights: w.npz\nlayers: [{name: g, kind: gemm, m: 2, k: 3, n: 4}]\n")
    np.savez(tmp_path / "w.npz", **{"g.weight": np.ones((4, 3), np.float32), "g.bias": np.zeros(4)})
    layer = load_network(path).graph.layers[0]
    assert layer.weights is not None
    assert layer.weights.shape == (4, 3)
    np.savez(tmp_path / "w.npz", **{"g.weight": np.ones((3, 4), np.float32)})
    place = "net.yaml:3:17: layers[0].name"
    assert mistakes(path) == [f"{place}: w.npz array 'g.weight': expected shape [4, 3], got [3, 4]"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            TWO + "input: {shape: [4, 4, 2]}\nlayers:\n" + SUM,
            ["2:9: inputs: stands beside `input` (use one of the two)"],
        ),
        (TWO.replace("b,", "a,") + "layers:\n" + SUM.replace("b]", "a]"), [
            "2:46: inputs[1].name: the name 'a' is taken (each name may stand once)",
        ]),
        (TWO.replace("name: b, ", "") + "layers:\n" + SUM.replace("b]", "a]"), [
            "2:39: inputs[1].name: is missing",
        ]),
        (TWO + "layers:\n  - {name: r, kind: relu}\n", [
            "4:5: layers[0]: which input does the first layer read? (a, b)",
        ]),
        ("schema: 1\nlayers:\n  - {name: r, kind: relu}\n", [
            "3:5: layers[0]: the file has no `input` for it to read",
        ]),
        (TWO + "layers:\n  - {name: r, kind: relu, input: a}\n", ["2:39: inputs[1]: no layer reads 'b'"]),
        (TWO + "layers:\n" + SUM.replace("b]", "c]"), ["4:38: layers[0].inputs[1]: no layer 'c' (earlier: a, b)"]),
        (TWO + "layers:\n" + SUM.replace("b]", "s]"), ["4:38: layers[0].inputs[1]: 's' reads itself"]),
        (TWO + "layers:\n" + SUM.replace("b]", "t]") + "  - {name: t, kind: relu}\n", [
            "4:38: layers[0].inputs[1]: the layers form a cycle: s -> t -> s",
        ]),
        (TWO + "layers:\n" + SUM.replace("b]", "t]") + "  - {name: t, kind: relu, input: b}\n", [
            "4:38: layers[0].inputs[1]: 't' comes later (list layers in the order of computation)",
        ]),
        (TWO.replace("4, 2]}]", "4, 3]}]") + "layers:\n" + SUM, [
            "4:34: layers[0].inputs: both inputs must have one shape ('a' is [4, 4, 2] and 'b' is [4, 4, 3])",
        ]),
        (TWO + "layers:\n" + SUM.replace("b]", "b, a]"), [
            "4:34: layers[0].inputs: must have at most 2 elements, got 3",
        ]),
        (TWO + "layers:\n" + SUM.replace("]}", "], activation: tanh}"), [
            "4:54: layers[0].activation: 'tanh' is not allowed (allowed: relu, relu6)",
        ]),
        (TWO + "outputs: [t, s, s]\nlayers:\n" + SUM, [
            "3:11: outputs[0]: no layer 't' (allowed: s)", "3:17: outputs[2]: 's' is given twice",
        ]),
        (TWO + "outputs: [s]\nlayers:\n" + SUM + "  - {name: t, kind: relu}\n", [
            f"6:12: layers[1].name: no layer reads 't' ({UNREAD_HINT})",
        ]),
        (HEAD + "outputs: [f, r]\nlayers:\n  - {name: f, kind: flatten}\n  - {name: r, kind: relu}\n", [
            "5:12: layers[0].name: the output 'f' holds the input unchanged",
        ]),
        (HEAD + "layers:\n  - {name: g, kind: gemm, m: 8, k: 16, n: 3, input: input}\n", [
            "4:5: layers[0]: m = 8 and k = 16 need an input of shape [1, 8, 16] (it is [8, 8, 2])",
        ]),
        (HEAD + "layers:\n  - {name: n, kind: lrn, size: 0, alpha: -1, k: 0, beta: .inf}\n", [
            "4:32: layers[0].size: must be at least 1, got 0",
            "4:42: layers[0].alpha: must be at least 0.0, got -1",
            "4:49: layers[0].k: must be greater than 0.0, got 0",
            "4:58: layers[0].beta: expected a finite number, got .inf",
        ]),
        (HEAD + "layers:\n  - {name: p, kind: maxpool, kernel: all}\n", [
            "4:38: layers[0].kernel: expected a whole number from 1 to 65536, [height, width] or the word global, "
            "got all",
        ]),
        (HEAD + "layers:\n  - {name: c, kind: conv, channels: 3, kernel: global}\n", [
            "4:48: layers[0].kernel: expected a whole number from 1 to 65536 or [height, width], got global",
        ]),
        (TWO + "layers:\n" + SUM + "dataset: {file: d.npz}\n", [
            "5:10: dataset: only a network with one input can read images from a file (a, b)",
        ]),
        (TWO + "layers:\n" + SUM + "calibration: {file: x.npy}\n", [
            "5:21: calibration.file: only a network with one input can read images from a file (a, b)",
        ]),
        (TWO + "layers:\n" + SUM + "classes: [x]\n", ["5:10: classes: 1 names for 2 outputs"]),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(tmp_path, text, found):
    path = write(tmp_path, text)
    assert sorted(mistakes(path)) == sorted(f"net.yaml:{line}" for line in found)
