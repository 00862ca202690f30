"""``accelsim quantize`` and ``accelsim export``: files, reports, and every kind of wrong input."""
# ruff: noqa: E501 (full messages)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from accelsim.cli.networks import METHODS
from accelsim.networks import open_network
from accelsim.nn import golden, ranges
from accelsim.nn.forward import forward
from accelsim.nn.loader import load_network
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.runner import evaluate, run
from tests.command_line import accelsim, written
from tests.onnx.builders import Builder
from tests.onnx.witness import session

SMALL = """\
schema: 1
name: small
input: {shape: [6, 5, 3]}
layers:
  - {name: a, kind: conv, channels: 4, kernel: 3, padding: 1, activation: relu}
  - {name: b, kind: conv, channels: 5, kernel: 1}
  - {name: j, kind: concat, inputs: [a, b]}
  - {name: t, kind: tanh}
  - {name: p, kind: maxpool, kernel: 2}
  - {name: d, kind: fc, channels: 7}
seed: 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    return tmp_path


def model(path: str = "net.onnx") -> Builder:
    """A float model with a symbolic batch: a convolution, a rectifier, a product."""
    b = Builder(("N", 3, 6, 5))
    y = b.node("Flatten", b.node("Relu", b.conv("x", 4, 3, 3, 3, pads=[1, 1, 1, 1])))
    out = b.node("Gemm", y, b.normal(10, 120, scale=0.1), b.normal(10), transB=1)
    b.save(Path(path), out)
    return b


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(8).normal(0, 1, (count, 3, 6, 5)).astype(np.float32)


def report_of(*arguments: str) -> dict:
    found = accelsim("run", *arguments, "--json", "-")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    del report["host"], report["options"]
    return report


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_network_runs_as_its_source(method):
    Path("small.yaml").write_text(f"{SMALL}calibration: {{method: {method}}}\n", encoding="utf-8")
    found = accelsim("quantize", "small.yaml")
    assert found.exit_code == 0, found.output
    assert f"ranges by {method} over 2 images" in found.stdout
    assert {"small.q.yaml", "small.q.npz"} <= written(Path())
    assert report_of("small.q.yaml") == report_of("small.yaml")
    one, other = run("small.yaml"), run("small.q.yaml")
    assert one.outputs.keys() == other.outputs.keys()
    for name, values in one.outputs.items():
        np.testing.assert_array_equal(other.outputs[name], values)


def test_the_bundled_lenet_keeps_its_digits_and_classes():
    assert accelsim("quantize", "lenet", "-o", "n.q.yaml").exit_code == 0
    assert report_of("n.q.yaml", "--batch", "3") == report_of("lenet", "--batch", "3")
    found = accelsim("run", "n.q.yaml", "--eval")
    assert found.exit_code == 0
    assert [line.split() for line in found.stdout.splitlines()[1:3]] == [
        ["int8", "golden", "98.89", "%"], ["accelerator", "98.89", "%"]
    ]  # fmt: skip
    scores = json.loads(accelsim("run", "n.q.yaml", "--eval", "--json", "-").stdout)
    assert scores["float_accuracy"] is None
    assert (scores["images"], scores["bit_exact"]) == (360, True)


def test_digits_by_way_of_the_model_file():
    """LeNet's ONNX file, calibrated with the digits of the workload file: its accuracy, and that of the float model."""
    own = open_network("lenet")
    assert own.dataset is not None
    np.save("train.npy", own.dataset.images("train", 128).transpose(0, 3, 1, 2))
    found = accelsim("quantize", "lenet.onnx", "--calibrate", "train.npy", "-o", "model.q.yaml")
    assert found.exit_code == 0, found.output
    images, labels = own.dataset.images("test").transpose(0, 3, 1, 2), own.dataset.labels("test")
    result = run("model.q.yaml", input=images, level="functional")
    assert result.report["bit_exact"]
    guessed = result.outputs["probabilities"].argmax(axis=1)
    scores = evaluate("lenet")
    assert (guessed == labels).mean() == scores["accelerator_accuracy"] == pytest.approx(0.9889, abs=1e-4)
    assert own.graph is not None
    floats = forward(own.graph, own.dataset.images("test"))["fc3"].reshape(360, -1)
    assert (guessed == floats.argmax(axis=1)).mean() >= 0.99


def test_the_methods_are_those_of_the_quantiser():
    assert METHODS == ranges.METHODS


def test_the_report():
    found = accelsim("quantize", "lenet", "--method", "mse", "--json", "-")
    report = json.loads(found.stdout)
    assert {key: report[key] for key in ("schema", "workload", "method", "images", "agreement")} == {
        "schema": 1, "workload": "lenet", "method": "mse", "images": 128, "agreement": 1.0,
    }  # fmt: skip
    rows = {row["tensor"]: row for row in report["tensors"]}
    assert list(rows) == ["image", "conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"]
    tensors = load_network("lenet.q.yaml").quantize().tensors
    for name, row in rows.items():
        assert (row["scale"], row["zero"]) == (float(tensors[name].scale), tensors[name].zero)
        assert row["snr_db"] > 35
    accelsim("quantize", "lenet", "--json", "max.json", "-o", "max.q.yaml")
    other = {row["tensor"]: row for row in json.loads(Path("max.json").read_text(encoding="utf-8"))["tensors"]}
    assert rows["conv1"]["high"] < other["conv1"]["high"]


def test_a_float_model_and_the_images_it_reads():
    model()
    np.save("x.npy", images())
    found = accelsim("quantize", "net.onnx", "--calibrate", "x.npy", "-o", "net.q.yaml")
    assert found.exit_code == 0, found.output
    assert "over 5 images" in found.stdout
    stored = run("net.q.yaml", input=images())
    source = run("net.onnx", input=images(), calibrate=images())
    assert stored.report["bit_exact"]
    assert list(stored.outputs) == list(source.outputs) != []
    for name, values in source.outputs.items():
        np.testing.assert_array_equal(stored.outputs[name], values)


def test_a_stored_model_lies_as_the_model():
    """Pixels last in the model, and an output whose axes are in another order: as in the source, default inputs too."""
    b = Builder(("N", 6, 5, 3))
    y = b.conv(b.node("Transpose", "x", perm=[0, 3, 1, 2]), 4, 3, 3, 3)
    b.save(Path("net.onnx"), b.node("Transpose", y, perm=[0, 2, 1, 3]))
    assert accelsim("quantize", "net.onnx").exit_code == 0
    stored, source = run("net.q.yaml", batch=2), run("net.onnx", batch=2)
    [(name, values)] = source.outputs.items()
    assert values.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(stored.outputs[name], values)
    text = Path("net.q.yaml").read_text(encoding="utf-8")
    for old, new, expected in [
        ('"shape": [6, 5, 3]}', '"shape": [6, 5, 4]}', "ports[0].shape: [6, 5, 4] does not hold the 90 elements of the tensor"),
        ('"shape": [6, 5, 3]}', '"shape": [90]}', "net.q.npz array 'x.order': expected int64 [90], got int64 [6, 5, 3]"),
        ('{"tensor": "x"', '{"tensor": "y"', "ports[0].tensor: 'y' is no input or output (allowed: x, "),
    ]:
        assert old in text
        Path("net.q.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
        found = accelsim("run", "net.q.yaml")
        assert found.exit_code == 2
        assert expected in found.stderr


WRONG = {
    "shape": (np.zeros((5, 6, 5, 3), np.float32), "--calibrate x.npy: expected (batch, 3, 6, 5), got (5, 6, 5, 3)"),
    "number": (np.full((2, 3, 6, 5), np.nan, np.float32), "--calibrate x.npy: holds values that are not finite"),
    "words": (np.array(["a"]), "--calibrate x.npy: not a .npy file of numbers (save one array with numpy.save)"),
    "none": (np.zeros((0, 3, 6, 5), np.float32), "--calibrate x.npy: expected (batch, 3, 6, 5), got (0, 3, 6, 5)"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", ["quantize", "export"])
def test_wrong_images_leave_nothing_behind(command, case):
    model()
    array, expected = WRONG[case]
    np.save("x.npy", array)
    before = written(Path())
    found = accelsim(command, "net.onnx", "--calibrate", "x.npy")
    assert (found.exit_code, found.stderr.strip()) == (2, expected)
    assert written(Path()) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["net.onnx", "--calibrate", "none.npy"], "--calibrate none.npy: the file cannot be read: No such file or directory"),
        (["net.onnx", "--calibrate", "cut.npy"], "--calibrate cut.npy: not a .npy file of numbers, or cut short"),
        (["net.onnx", "--calibrate", "y=x.npy"], "the network has no such input (it has: x)"),
        (["net.onnx", "--calibrate", "x.npy", "--calibrate", "x.npy"], "--calibrate x.npy: images are given twice (NAME=X.npy says for which input)"),
        (["net.onnx", "--calibrate", "x=x.npy", "--calibrate", "x.npy"], "--calibrate x=x.npy: which input? (NAME=X.npy for each of several inputs)"),
        (["net.onnx", "--dim", "N"], "--dim N: expected NAME=SIZE with a whole number of at least 1"),
        (["net.onnx", "--dim", "N=0"], "--dim N=0: expected NAME=SIZE with a whole number of at least 1"),
        (["net.onnx", "-o", "q.npz"], "-o q.npz: expected a name that ends in .yaml (such as model.q.yaml)"),
        (["net.onnx", "-o", "none/q.yaml"], "-o none/q.yaml: the folder 'none' does not exist"),
        (["net.onnx", "-o", "q.yaml", "--json", "q.npz"], "q.npz would be written over"),
        (["small.yaml", "-o", "small.yaml"], "small.yaml would be written over"),
        (["lenet.q.yaml"], "lenet.q.yaml: is quantised already and keeps its own scales (run it as it is)"),
        (["nothing"], "nothing: no such workload"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments, expected):
    model()
    np.save("x.npy", images())
    Path("cut.npy").write_bytes(b"\x93NUMPY\x01")
    Path("small.yaml").write_text(SMALL, encoding="utf-8")
    accelsim("quantize", "lenet", "-o", "lenet.q.yaml")
    before = written(Path())
    found = accelsim("quantize", *arguments)
    assert found.exit_code == 2
    assert expected in found.stderr
    assert written(Path()) == before


def test_a_network_that_overflows_is_refused_in_its_file():
    Path("small.yaml").write_text(SMALL, encoding="utf-8")
    np.save("x.npy", np.full((1, 6, 5, 3), 3e38, np.float32))
    found = accelsim("quantize", "small.yaml", "--calibrate", "x.npy")
    assert found.exit_code == 2
    assert found.stderr.strip() == "small.yaml:5:5: a: calibration gives values that are not finite"


@pytest.mark.parametrize("options", [[], ["--uint8"]])
def test_an_exported_model_computes_the_same(options):
    Path("small.yaml").write_text(SMALL, encoding="utf-8")
    found = accelsim("export", "small.yaml", *options)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("small.int8.onnx: 6 layers, ")
    network = load_network("small.yaml")
    graph, x = network.quantize(), network.feeds(4)["input"]
    values = golden.run(graph, quantize_values(x, graph.tensors["input"]))[graph.output]
    if options:  # ONNX Runtime's kernels for it need VNNI to be exact
        back = open_network("small.int8.onnx").quantize()
        again = golden.run(back, quantize_values(x, back.tensors[back.input]))[back.output]
        np.testing.assert_array_equal(again, values)
        return
    [theirs] = session(onnx.load("small.int8.onnx")).run(None, {"input": x.transpose(0, 3, 1, 2)})
    np.testing.assert_array_equal(theirs, dequantize(values, graph.tensors[graph.output]).reshape(4, -1))


def test_a_stored_network_is_exported_and_an_exported_one_runs():
    Path("small.yaml").write_text(SMALL, encoding="utf-8")
    accelsim("quantize", "small.yaml")
    assert accelsim("export", "small.q.yaml", "-o", "one.onnx").exit_code == 0
    assert accelsim("export", "small.yaml", "-o", "two.onnx").exit_code == 0
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()
    assert report_of("one.onnx")["bit_exact"]
    found = accelsim("export", "small.q.yaml", "--method", "mse")
    assert (found.exit_code, found.stderr.strip()) == (2, "method: small is quantised already and keeps its own scales")


def test_what_onnx_cannot_say_is_located():
    text = SMALL.replace("  - {name: t, kind: tanh}\n", "  - {name: t, kind: lrn, size: 3}\n")
    Path("norm.yaml").write_text(text, encoding="utf-8")
    found = accelsim("export", "norm.yaml")
    assert found.exit_code == 2
    assert found.stderr.startswith("norm.yaml:8:5: t: ONNX has no quantised local response normalisation (")
    assert written(Path()) == {"norm.yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "n.q.yaml", "--timing-only", "--json", "n.q.npz"],
        ["run", "outside.onnx", "--timing-only", "--json", "outside.bin"],
        ["compile", "outside.onnx", "-o", "outside.bin"],
        ["export", "outside.onnx", "-o", "outside.bin"],
        ["quantize", "outside.onnx", "-o", "o.q.yaml", "--json", "outside.bin"],
        ["run", "outside.onnx", "--eval", "--json", "outside.bin"],
        ["explain", "outside.onnx", "--json", "outside.bin"],
        ["explain", "r.json", "--json", "outside.bin"],
        ["explain", "r.json", "--workload", "n.q.yaml", "--json", "n.q.npz"],
        ["sweep", "s.yaml", "--json", "outside.bin"],
        ["sweep", "s.yaml", "--store", "n.q.npz", "--restart"],
    ],
)
def test_weights_beside_a_network_are_not_written_over(arguments):
    model()
    onnx.save(onnx.load("net.onnx"), "outside.onnx", save_as_external_data=True, location="outside.bin", size_threshold=0)
    assert accelsim("quantize", "outside.onnx", "-o", "n.q.yaml").exit_code == 0
    if "r.json" in arguments:
        assert accelsim("run", "outside.onnx", "--timing-only", "--json", "r.json").exit_code == 0
    sweep = "schema: 1\nworkloads: [outside.onnx, n.q.yaml]\narch: tiny\nstrategy: grid\naxes: {array.rows: [4, 8]}\n"
    Path("s.yaml").write_text(sweep, encoding="utf-8")
    before = written(Path())
    found = accelsim(*arguments)
    assert (found.exit_code, "would be written over" in found.stderr) == (2, True), found.output
    assert written(Path()) == before
