"""Networks with several inputs and outputs, from the file to the result: values by name, every output compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim import runner
from accelsim.errors import ConfigError
from accelsim.isa.state import MachineState
from accelsim.result import Result
from tests.command_line import accelsim

WIDE = """\
schema: 1
inputs:
  - {name: a, shape: [6, 6, 3]}
  - {name: b, shape: [6, 6, 4]}
outputs: [conv, sum, product]
layers:
  - {name: conv, kind: conv, channels: 4, kernel: 3, padding: 1, input: a}
  - {name: sum, kind: add, inputs: [conv, b], activation: relu}
  - {name: product, kind: gemm, m: 3, k: 5, n: 4}
"""
SHAPES = {"a": (6, 6, 3), "b": (6, 6, 4), "product.in": (1, 3, 5)}


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(WIDE, encoding="utf-8")
    return "net"


def feeds(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {name: rng.uniform(-1, 1, (count, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("level", ["cycle", "functional"])
@pytest.mark.parametrize("machine", ["tiny", "edge"])
def test_every_output_is_there_and_exact(net: str, machine: str, level: str) -> None:
    result = runner.run(net, arch=machine, batch=2, level=level)
    assert result.report["bit_exact"] is True
    shapes = {name: values.shape for name, values in result.outputs.items()}
    assert shapes == {"conv": (2, 6, 6, 4), "sum": (2, 6, 6, 4), "product": (2, 1, 3, 4)}
    assert [row["kind"] for row in result.rows] == ["conv", "add", "gemm"]
    assert [row["macs"] for row in result.rows] == [2 * 36 * 4 * 27, 0, 2 * 3 * 5 * 4]
    for row in result.rows:
        assert 0 <= row["saturated"] < 0.2
        assert 0 <= row["zeros"] < 0.8
    result.save("out")
    loaded = Result.load("out").outputs
    assert loaded.keys() == result.outputs.keys()
    for name, values in loaded.items():
        np.testing.assert_array_equal(values, result.outputs[name])


def test_inputs_are_given_by_name(net: str) -> None:
    given = feeds(2)
    first = runner.run(net, arch="tiny", input=given)
    again = runner.run(net, arch="tiny", input=dict(reversed(given.items())))
    for name, values in first.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], values)
    other = runner.run(net, arch="tiny", input=given | {"b": np.zeros((2, *SHAPES["b"]), np.float32)})
    np.testing.assert_array_equal(other.outputs["conv"], first.outputs["conv"])
    assert not np.array_equal(other.outputs["sum"], first.outputs["sum"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"c": np.zeros(3)}, "input c: the network has no such input (it has: a, b, product.in)"),
        ({"b": None}, "input b: has no values (every input needs an array)"),
        ({"b": np.zeros((2, 6, 6, 3))}, "input b: expected (batch, 6, 6, 4), got (2, 6, 6, 3)"),
        ({"b": np.zeros((3, 6, 6, 4))}, "input b: holds 3 images and the batch is 2"),
        ({"b": np.full((2, 6, 6, 4), np.inf)}, "input b: holds values that are not finite"),
    ],
)
def test_wrong_inputs_are_named(net: str, change: dict, text: str) -> None:
    given = {name: values for name, values in (feeds(2) | change).items() if values is not None}
    with pytest.raises(ConfigError) as caught:
        runner.run(net, arch="tiny", input=given)
    assert str(caught.value) == text


def test_one_array_is_not_enough(net: str) -> None:
    hint = "NAME=X.npy; in Python, a dictionary by name: a, b, product.in"
    text = f"the network has 3 inputs and needs an array for each ({hint})"
    with pytest.raises(ConfigError) as caught:
        runner.run(net, arch="tiny", input=feeds(1)["a"])
    assert str(caught.value) == f"input: {text}"
    np.save("x.npy", feeds(1)["a"])
    result = accelsim("run", net, "--arch", "tiny", "--input", "x.npy")
    assert (result.exit_code, result.stderr) == (2, f"--input x.npy: {text}\n")


def test_one_input_may_be_given_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "schema: 1\ninput: {name: a, shape: [1, 1, 3]}\nlayers: [{name: f, kind: fc, channels: 2}]\n"
    Path("one.yaml").write_text(text, encoding="utf-8")
    x = np.ones((1, 1, 1, 3), np.float32)
    results = [runner.run("one", arch="tiny", input=given).outputs["f"] for given in (x, {"a": x})]
    np.testing.assert_array_equal(*results)


def test_one_array_of_a_bundled_list_of_products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 1, 1, 2048), np.float32))
    result = accelsim("run", "decode_gemv", "--input", "x.npy")
    assert result.exit_code == 2
    assert result.stderr.startswith("--input x.npy: the network has 7 inputs and needs an array for each")


@pytest.mark.parametrize("name", ["conv", "sum", "product"])
def test_a_difference_in_any_output_region_is_found(net: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MachineState.read_region

    def spoilt(state, region):
        values = real(state, region).copy()
        if region.role == "output" and region.name == name:
            values.reshape(-1)[-1] ^= 1
        return values

    monkeypatch.setattr(MachineState, "read_region", spoilt)
    result = runner.run(net, arch="tiny")
    assert result.report["bit_exact"] is False
    assert result.mismatch is not None
    assert (result.mismatch.layer, result.mismatch.differ) == (f"{name} in DRAM", 1)


def test_a_saved_program_takes_its_inputs_by_name(net: str) -> None:
    assert accelsim("compile", net, "--arch", "tiny", "-o", "p.npz").exit_code == 0
    given = feeds(1)
    for name, values in given.items():
        np.save(f"{name}.npy", values)
    options = [text for name in given for text in ("--input", f"{name}={name}.npy")]
    result = accelsim("exec", "p.npz", "--arch", "tiny", *options, "--out", "values")
    assert (result.exit_code, result.stderr) == (0, "")
    expected = runner.run(net, arch="tiny", input=given).outputs
    for name, values in expected.items():
        np.testing.assert_array_equal(np.load(f"values/{name}.npy"), values)


BRANCHES = """\
schema: 1
input: {name: image, shape: [8, 8, 4]}
outputs: [join, twice, fc]
layers:
  - {name: left, kind: conv, channels: 6, kernel: 1, activation: relu, input: image}
  - {name: reduce, kind: conv, channels: 3, kernel: 1, activation: relu6, input: image}
  - {name: right, kind: conv, channels: 5, kernel: 3, padding: 1, activation: hard_swish, input: reduce}
  - {name: join, kind: concat, inputs: [left, right]}
  - {name: grouped, kind: conv, channels: 22, kernel: 3, padding: 1, groups: 11, input: join}
  - {name: twice, kind: concat, inputs: [grouped, image, grouped]}
  - {name: pool, kind: maxpool, kernel: 3, stride: 2, padding: [0, 1, 1, 0], input: join}
  - {name: vector, kind: flatten, input: pool}
  - {name: fc, kind: fc, channels: 10}
"""


@pytest.mark.parametrize("machine", ["tiny", "edge"])
def test_branches_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """A concatenation that is made where it lies has no cycles and names its host; one with copies has its own."""
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(BRANCHES, encoding="utf-8")
    result = runner.run("net.yaml", arch=machine, batch=2)
    assert result.report["bit_exact"] is True
    rows = {row["name"]: row for row in result.rows}
    assert {name: values.shape for name, values in result.outputs.items()} == {
        "join": (2, 8, 8, 11), "twice": (2, 8, 8, 48), "fc": (2, 1, 1, 10),
    }  # fmt: skip
    assert (rows["join"]["host"], rows["join"]["cycles"], rows["join"]["bound_cycles"]) == ("right", 0, 0)
    assert rows["twice"]["host"] is None
    assert rows["twice"]["cycles"] > 0
    assert rows["twice"]["bound_cycles"] == -(-2 * 64 * (22 + 4 + 48) // {"tiny": 4, "edge": 8}[machine])
