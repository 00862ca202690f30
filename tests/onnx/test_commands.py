"""ONNX models on the command line and in Python: as any workload, in their own layout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.errors import ConfigError
from accelsim.nn.loader import load_network
from tests import command_line
from tests.onnx.builders import Builder, Quantizer
from tests.onnx.running import session


def command(*arguments: str | Path) -> Any:
    return command_line.accelsim(*map(str, arguments))


def model(folder: Path) -> Path:
    b = Builder(("N", 3, 10, 8))
    x = b.node("Relu", b.conv("x", 8, 3, 3, 3, pads=[1, 1, 1, 1]))
    b.node("Transpose", b.conv(x, 5, 8, 3, 3, strides=[2, 2]), perm=[0, 2, 3, 1])
    return b.save(folder / "net.onnx", b.nodes[-1].output[0])


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 10, 8)).astype(np.float32)


def test_python_in_the_models_own_layout(tmp_path: Path) -> None:
    path = model(tmp_path)
    given = images(3)
    result = accelsim.run(path, calibrate=given, input=given)
    assert result.report["bit_exact"]
    (name,), (got,) = result.outputs.keys(), result.outputs.values()
    wanted = session(path).run(None, {"x": given})[0]
    assert name == "transpose3"
    assert got.shape == wanted.shape == (3, 4, 3, 5)
    graph = accelsim.load_network(path, calibrate=given).quantize()
    tensor = graph.tensors[graph.output]
    real = (got.astype(np.float32) - tensor.zero) * tensor.scale
    assert np.abs(real - wanted).max() < 4 * tensor.scale


def test_an_open_network_can_be_run_again(tmp_path: Path) -> None:
    network = accelsim.load_network(model(tmp_path), calibrate=images(4))
    first, second = (accelsim.run(network, arch=arch, timing_only=True) for arch in ("edge", "tiny"))
    assert first.report["totals"]["macs"] == second.report["totals"]["macs"]
    with pytest.raises(ConfigError, match="give both to load_network"):
        accelsim.run(network, calibrate=images(4))


def test_ranges_follow_from_the_images(tmp_path: Path) -> None:
    path = model(tmp_path)
    narrow, wide = (accelsim.load_network(path, calibrate=images(4) * size) for size in (np.float32(1), np.float32(9)))
    assert wide.quantize().tensors["x"].scale > 5 * narrow.quantize().tensors["x"].scale
    assert narrow.digest() != wide.digest()


def test_run_command(tmp_path: Path) -> None:
    path = model(tmp_path)
    np.save(tmp_path / "calibration.npy", images(8, 1))
    np.save(tmp_path / "images.npy", images(2))
    done = command("run", path, "--calibrate", tmp_path / "calibration.npy", "--input", tmp_path / "images.npy",
                   "--json", tmp_path / "report.json", "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "PASS" in done.stdout
    assert done.stderr == ""
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["bit_exact"] is True
    assert report["options"]["batch"] == 2
    with np.load(tmp_path / "out" / "outputs.npz") as saved:
        assert saved["transpose3"].shape == (2, 4, 3, 5)


def test_random_calibration_is_said_to_be_random(tmp_path: Path) -> None:
    done = command("run", model(tmp_path))
    assert done.exit_code == 0
    assert done.stderr.startswith("note: calibrated with random inputs")
    assert "PASS" in done.stdout
    assert command("run", tmp_path / "net.onnx", "--timing-only").stderr == ""


def test_compile_command(tmp_path: Path) -> None:
    path = model(tmp_path)
    np.save(tmp_path / "calibration.npy", images(8, 1))
    target = tmp_path / "net.npz"
    done = command("compile", path, "--calibrate", tmp_path / "calibration.npy", "-o", target)
    assert done.exit_code == 0, done.stderr
    done = command("check", target)
    assert "no faults" in done.stdout


def test_the_bundled_model(tmp_path: Path) -> None:
    own = load_network(Path("workloads/lenet.yaml")) if Path("workloads/lenet.yaml").is_file() else None
    done = command("run", "lenet.onnx", "--json", tmp_path / "a.json")
    assert done.exit_code == 0, done.stderr
    assert command("run", "lenet", "--json", tmp_path / "b.json").exit_code == 0
    totals = [json.loads((tmp_path / name).read_text(encoding="utf-8"))["totals"] for name in ("a.json", "b.json")]
    assert totals[0]["cycles"] == totals[1]["cycles"]
    assert own is None or own.graph is not None
    listed = command("list").stdout
    assert "lenet.onnx" in listed


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((4, 10, 8, 3), np.float32), "expected (batch, 3, 10, 8), got (4, 10, 8, 3)"),
        (np.zeros((0, 3, 10, 8), np.float32), "expected (batch, 3, 10, 8)"),
        (np.full((2, 3, 10, 8), np.nan, np.float32), "not finite"),
        (np.zeros((2, 3, 10, 8), np.complex64), "not a .npy file of numbers"),
    ],
)
def test_calibration_images_that_do_not_fit(array: np.ndarray, text: str, tmp_path: Path) -> None:
    path = model(tmp_path)
    np.save(tmp_path / "c.npy", array)
    done = command(
        "run", path, "--calibrate", tmp_path / "c.npy", "--json", tmp_path / "r.json", "--out", tmp_path / "o"
    )
    assert done.exit_code == 2
    assert done.stderr.startswith(f"--calibrate {tmp_path / 'c.npy'}: ")
    assert text in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.npy", "net.onnx"], "nothing half-written"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--dim", "height=8"], "--dim height: the model has no such dimension"),
        (["--dim", "N"], "expected NAME=SIZE"),
        (["--calibrate", "missing.npy"], "the file cannot be read"),
        (["--eval"], "no labelled images"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, tmp_path: Path) -> None:
    done = command("run", model(tmp_path), *arguments)
    assert done.exit_code == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_dimensions_of_workload_files_are_fixed() -> None:
    done = command("run", "lenet", "--dim", "N=1")
    assert done.exit_code == 2
    assert "only ONNX models have dimensions" in done.stderr


def test_images_with_a_free_size(tmp_path: Path) -> None:
    b = Builder(("N", 3, "h", "w"))
    path = b.save(tmp_path / "net.onnx", b.conv("x", 4, 3, 3, 3))
    done = command("run", path)
    assert done.exit_code == 2
    assert "--dim h=NUMBER" in done.stderr
    assert "--dim w=NUMBER" in done.stderr
    assert command("run", path, "--dim", "h=8", "--dim", "w=9", "--timing-only").exit_code == 0
    few, many = (accelsim.run(path, dims={"h": 8, "w": w}, timing_only=True) for w in (9, 30))
    assert few.report["totals"]["macs"] < many.report["totals"]["macs"], "not the program of the other size"


def test_models_with_scales_keep_them(tmp_path: Path) -> None:
    b = Quantizer(("N", 4, 9, 8))
    y = b.operator("QLinearConv", 0.05, -7, b.x, *b.scales[b.x], *b.integers(6, 4, 3, 3, channels=6), "y")
    path = b.save(tmp_path / "net.onnx", b.real(y))
    np.save(tmp_path / "c.npy", np.zeros((2, 4, 9, 8), np.float32))
    done = command("run", path, "--calibrate", tmp_path / "c.npy")
    assert done.exit_code == 2
    assert "is quantised already and keeps its own scales" in done.stderr
    result = accelsim.run(path)
    assert result.report["bit_exact"]
    (values,) = result.outputs.values()
    assert len(np.unique(values)) > 50, "random inputs fill the range of the input"


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_models_of_integers_take_integers(kind: str, tmp_path: Path) -> None:
    """The model's own input is int8 or uint8: so is the array given, and nothing is lost on the way."""
    q: Any = Quantizer(("N", 4, 9, 8), kind)
    w = q.integers(6, 4, 3, 3, channels=6)
    scale = q.scale(0.02, 3)
    q.nodes.clear()
    y = q.operator("QLinearConv", 0.05, -7, "x", *scale, *w, "y")
    q.inputs[0].type.tensor_type.elem_type = 3 if kind == "int8" else 2
    path = q.save(tmp_path / "net.onnx", y, kind=3 if kind == "int8" else 2)
    low = -128 if kind == "int8" else 0
    given = np.random.default_rng(0).integers(low, low + 256, (2, 4, 9, 8)).astype(kind)
    result = accelsim.run(path, input=given)
    wanted = session(path).run(None, {"x": given})[0]
    (got,) = result.outputs.values()
    assert np.array_equal(got, wanted.astype(np.int16) - (128 if kind == "uint8" else 0))


def test_sweeps_take_models(tmp_path: Path) -> None:
    """The points of a sweep are those of single runs, for a bundled model and one of the user's."""
    path = model(tmp_path)
    plan = {"schema": 1, "workloads": ["lenet.onnx", str(path)], "arch": "tiny", "axes": {"array.rows": [4, 8]}}
    rows = accelsim.sweep(plan, workers=1).rows
    assert [row["status"] for row in rows] == ["ok"] * 4
    for workload in ("lenet.onnx", str(path)):
        single = accelsim.run(workload, arch="tiny", set={"array.rows": 8}, timing_only=True).report["totals"]["cycles"]
        name = Path(workload).stem
        found = [row["cycles"] for row in rows if row["workload"] == name and row["array.rows"] == 8]
        assert found == [single]


def test_explain_takes_models(tmp_path: Path) -> None:
    done = command("explain", model(tmp_path))
    assert done.exit_code == 0, done.output
    assert "conv0_Conv" in done.stdout


def test_help_and_list_do_without_the_library() -> None:
    """A fresh process: ``--help`` loads neither numpy nor onnx, a run of a workload file not onnx."""
    code = (
        "import sys; from accelsim.cli import main; main({!r}, standalone_mode=False); "
        "print(sorted({{'onnx', 'numpy', 'google.protobuf'}} & set(sys.modules)))"
    )
    for arguments, loaded in ((["list"], []), (["run", "lenet", "--timing-only"], ["numpy"])):
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == str(loaded)
