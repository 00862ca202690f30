"""The Python interface: wrong input, what a result offers, and how a difference from the golden model is reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from accelsim import job, runner
from accelsim.errors import CapacityError, ConfigError, ConfigErrors, GraphError, MissingExtraError
from accelsim.isa.program import load_program, program_hash
from accelsim.machine_file import load_arch
from accelsim.result import Result
from tests.command_line import accelsim
from tests.test_cli_run import WORKLOAD

SHAPE = (6, 6, 3)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small network in the current, otherwise empty folder."""
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(WORKLOAD, encoding="utf-8")
    return "net"


def images(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count * 108, dtype=np.float32).reshape(count, *SHAPE)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"level": "rtl"}, "level: expected cycle or functional or pe, got 'rtl'"),
        ({"objective": "speed"}, "objective: expected cycles, energy or edp, got 'speed'"),
        (
            {"level": "functional", "timing_only": True},
            "level: functional leaves out the time and timing_only the values",
        ),
        ({"batch": 0}, "batch: expected a whole number of at least 1, got 0"),
        ({"batch": -3}, "batch: expected a whole number of at least 1, got -3"),
        ({"batch": 1.5}, "batch: expected a whole number of at least 1, got 1.5"),
        ({"batch": True}, "batch: expected a whole number of at least 1, got True"),
        ({"input": images(2)[..., :2]}, "input: expected (batch, 6, 6, 3), got (2, 6, 6, 2)"),
        ({"input": images(1)[0, 0]}, "input: expected (batch, 6, 6, 3), got (6, 3)"),
        ({"input": images(2)[:0]}, "input: expected (batch, 6, 6, 3), got (0, 6, 6, 3)"),
        ({"input": 7}, "input: expected (batch, 6, 6, 3), got ()"),
        ({"input": "picture.png"}, "input: expected an array of numbers"),
        ({"input": images(2), "batch": 3}, "input: holds 2 images and the batch is 3"),
        ({"input": images(3), "batch": 1}, "input: holds 3 images and the batch is 1"),
        ({"input": images(1), "batch": 2}, "input: holds 1 image and the batch is 2"),
        ({"input": np.full((1, *SHAPE), np.nan)}, "input: holds values that are not finite"),
        ({"input": np.full((1, *SHAPE), 1e300)}, "input: holds values that are not finite"),
        ({"input": images(1) * 1j}, "input: expected an array of numbers"),
    ],
)
def test_wrong_options(net: str, options: dict, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        runner.run(net, arch="tiny", **options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: runner.compile_file("net", batch=0), "batch: expected a whole number of at least 1, got 0"),
        (lambda: runner.compile_file("net", objective="area"), "objective: expected cycles, energy or edp, got 'area'"),
        (lambda: runner.evaluate("net", batch=0), "batch: expected a whole number of at least 1, got 0"),
        (lambda: runner.evaluate("net"), "net.yaml: dataset: this workload has no labelled images to evaluate"),
        (lambda: runner.run("nets"), "nets: no such workload: neither a file 'nets' nor a bundled name"),
        (lambda: runner.run("net", arch="edgy"), "edgy: no such machine: neither a file 'edgy' nor a bundled name"),
        (lambda: runner.run("net", set={"array.row": 8}), "--set array.row=8: array.row: unknown key"),
    ],
)
def test_wrong_calls(net: str, call, text: str) -> None:
    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        call()
    assert str(caught.value).startswith(text)


PIXELS = """\
schema: 1
input: {shape: [6, 6, 3]}
layers:
  - {name: conv, kind: conv, channels: 4, kernel: 3}
  - {name: classes, kind: softmax}
classes: [a, b, c, d]
"""


def test_softmax_of_an_image_is_over_the_channels_of_each_pixel(net: str) -> None:
    Path("pixels.yaml").write_text(PIXELS, encoding="utf-8")
    result = runner.run("pixels", arch="tiny", batch=2)
    assert result.labels is None
    assert result.outputs["probabilities"].shape == (2, 4, 4, 4)
    np.testing.assert_allclose(result.outputs["probabilities"].sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(
        result.outputs["probabilities"].argmax(axis=-1)[0, 0, 0], result.outputs["conv"].argmax(axis=-1)[0, 0, 0]
    )
    assert accelsim("run", "pixels", "--arch", "tiny").exit_code == 0


def test_softmax_of_a_flattened_image_is_over_all_of_it(net: str) -> None:
    Path("flat.yaml").write_text(
        PIXELS.replace("  - {name: classes", "  - {name: flat, kind: flatten}\n  - {name: classes").replace(
            "[a, b, c, d]", str([f"n{i}" for i in range(64)])
        ),
        encoding="utf-8",
    )
    result = runner.run("flat", arch="tiny", batch=2)
    assert result.outputs["probabilities"].shape == (2, 64)
    np.testing.assert_allclose(result.outputs["probabilities"].sum(axis=-1), 1, rtol=1e-5)
    values = result.outputs["flat"].reshape(2, -1)
    assert result.labels == [f"n{i}" for i in values.argmax(axis=1)]


def test_a_layer_that_does_not_fit_is_named_with_its_place(net: str) -> None:
    with pytest.raises(CapacityError) as caught:
        runner.run(net, arch="tiny", set={"param.size": 16})
    assert str(caught.value).startswith("net.yaml:4:5: conv: needs 32 bytes of PARAM and the machine has 16")
    assert accelsim("compile", net, "--arch", "tiny", "--set", "param.size=16").stderr.startswith("net.yaml:4:5: ")


def test_a_layer_whose_values_overflow_is_named_with_its_place(net: str) -> None:
    text = "schema: 1\ninput: {shape: [1, 1, 2]}\nweights: w.npz\nlayers:\n"
    text += "".join(f"  - {{name: {name}, kind: fc, channels: 2}}\n" for name in "ab")
    Path("large.yaml").write_text(text, encoding="utf-8")
    np.savez("w.npz", **{f"{name}.weight": np.full((2, 2), 1e38, np.float32) for name in "ab"})
    with pytest.raises(GraphError) as caught:
        runner.run("large", arch="tiny")
    assert str(caught.value) == "large.yaml:6:5: b: calibration gives values that are not finite"


@pytest.fixture
def digits(net: str) -> str:
    """A data set of six images beside a network of four classes."""
    rng = np.random.default_rng(1)
    index = np.arange(6)
    np.savez("d.npz", images=rng.random((6, *SHAPE)), labels=index % 4, train=index, val=index, test=index)
    text = WORKLOAD + "dataset: {file: d.npz}\n"
    Path("digits.yaml").write_text(text, encoding="utf-8")
    return "digits"


def test_evaluation_runs_in_the_batches_and_at_the_level_asked_for(
    digits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = runner.run_program, []

    def spy(graph, program, machine, feeds, level):
        seen.append((len(feeds[graph.input]), level))
        return real(graph, program, machine, feeds, level)

    monkeypatch.setattr(runner, "run_program", spy)
    for options, wanted in (
        ({}, [(6, "functional")]),
        ({"batch": 1}, [(1, "functional")] * 6),
        ({"batch": 4, "level": "cycle"}, [(4, "cycle"), (2, "cycle")]),
        ({"level": "pe"}, [(6, "pe")]),
    ):
        seen.clear()
        assert runner.evaluate(digits, arch="tiny", **options)["bit_exact"] is True
        assert seen == wanted
        seen.clear()
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        assert accelsim("run", digits, "--arch", "tiny", "--eval", *arguments).exit_code == 0
        assert seen == wanted
    with pytest.raises(ConfigError, match="level: expected cycle or functional or pe, got 'rtl'"):
        runner.evaluate(digits, level="rtl")


def test_evaluation_needs_one_vector_per_image(digits: str) -> None:
    Path("pixels.yaml").write_text(PIXELS + "dataset: {file: d.npz}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        runner.evaluate("pixels", arch="tiny")
    assert str(caught.value) == (
        "pixels.yaml: layers: accuracy needs one vector of outputs per image, the last layer gives [4, 4, 4]"
    )


def test_a_program_for_another_machine(net: str) -> None:
    program = runner.compile_file(net, arch="tiny")
    with pytest.raises(ConfigError) as caught:
        runner.execute(program, arch=load_arch("edge"))
    assert str(caught.value) == (
        "--arch: the program was compiled for another machine than edge "
        "(sizes and dataflow must be those it was compiled for; timing may differ)"
    )
    slower = load_arch("tiny").replace({"dram.latency": 500})
    assert runner.execute(program, arch=slower)[0].cycles > runner.execute(program, arch=load_arch("tiny"))[0].cycles


def test_images_of_ones_own(net: str) -> None:
    result = runner.run(net, arch="tiny", input=images(3))
    assert result.report["options"]["batch"] == 3
    assert result.outputs["fc"].shape == (3, 1, 1, 4)
    np.testing.assert_allclose(result.outputs["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert result.labels == [str(int(row.argmax())) for row in result.outputs["probabilities"]]
    alone = runner.run(net, arch="tiny", input=images(3)[1])
    np.testing.assert_array_equal(alone.outputs["fc"][0], result.outputs["fc"][1])


def test_levels_of_one_network_agree(net: str) -> None:
    cycle, functional, timing = (
        runner.run(net, arch="tiny", **options) for options in ({}, {"level": "functional"}, {"timing_only": True})
    )
    np.testing.assert_array_equal(cycle.outputs["fc"], functional.outputs["fc"])
    assert cycle.report["totals"] == timing.report["totals"]
    assert (functional.trace, functional.report["totals"]["cycles"]) == (None, None)
    assert (timing.outputs, timing.labels, timing.report["bit_exact"]) == ({}, None, None)
    assert cycle.mismatch is functional.mismatch is timing.mismatch is None


def test_a_result_in_all_its_forms(net: str) -> None:
    result = runner.run(net, arch="tiny", set={"alu.latency": 7})
    assert result.rows is result.report["layers"]
    frame = result.layers
    assert frame["name"].tolist() == ["conv", "pool", "flat", "fc", "classes"]
    assert int(frame["cycles"].sum()) == result.report["totals"]["cycles"] == result.trace.cycles
    page = result._repr_html_()
    assert page.startswith("<table><thead><tr><th>layer</th>")
    assert page.count("<tr>") == 7  # a head, five layers, the total
    assert "<td>conv</td>" in page

    result.save("out/of/runs")
    folder = Path("out/of/runs")
    assert {path.name for path in folder.iterdir()} == {
        "report.json", "machine.yaml", "program.npz", "outputs.npz"
    }  # fmt: skip
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(result.report))
    assert load_arch(folder / "machine.yaml") == result.arch
    assert program_hash(load_program(folder / "program.npz")) == result.report["program_hash"]
    with np.load(folder / "outputs.npz") as saved:
        np.testing.assert_array_equal(saved["fc"], result.outputs["fc"])


def test_saving_where_nothing_can_be_saved(net: str) -> None:
    result = runner.run(net, arch="tiny", timing_only=True)
    Path("taken").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match="taken: cannot be written"):
        result.save("taken")
    assert Path("taken").read_text(encoding="utf-8") == "a file"


def test_saving_is_all_or_nothing(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = runner.run(net, arch="tiny")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("accelsim.result.save_program", full)  # after two files
        with pytest.raises(ConfigError, match="new/folder: cannot be written: No space left on device"):
            result.save("new/folder")
        assert not Path("new").exists()
        Path("old").mkdir()
        Path("old/report.json").write_text("kept", encoding="utf-8")
        with pytest.raises(ConfigError, match="old: cannot be written"):
            result.save("old")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in Path("old").iterdir()] == [
        ("report.json", "kept")
    ]
    Path("old/program.npz").mkdir()
    with pytest.raises(ConfigError, match=r"old: cannot be written: program\.npz is a directory"):
        result.save("old")
    assert Path("old/report.json").read_text(encoding="utf-8") == "kept"


def test_a_saved_result_is_loaded(net: str) -> None:
    result = runner.run(net, arch="tiny", batch=2)
    result.save("run")
    again = Result.load("run")
    assert again.report == json.loads(json.dumps(result.report))
    assert again.arch == result.arch
    assert program_hash(again.program) == program_hash(result.program)
    assert list(again.outputs) == list(result.outputs) == ["fc", "probabilities"]
    for name, values in result.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], values)
    assert (again.trace, again.labels, again.mismatch) == (None, None, None)
    assert again._repr_html_() == result._repr_html_()
    runner.run(net, arch="tiny", timing_only=True).save("run")  # no values: the old ones must not stay
    assert not Path("run/outputs.npz").exists()
    assert Result.load("run").outputs == {}


@pytest.mark.parametrize("name", ["report.json", "machine.yaml", "program.npz", "outputs.npz"])
def test_a_saved_result_that_is_damaged(net: str, name: str) -> None:
    runner.run(net, arch="tiny").save("run")
    runner.run(net, arch="tiny", set={"array.rows": 8}).save("other")
    path = Path("run") / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises((ConfigError, ConfigErrors), match=name):
        Result.load("run")
    path.unlink()
    with pytest.raises(ConfigError, match=name):
        Result.load("run")
    if name in ("machine.yaml", "program.npz"):
        path.write_bytes((Path("other") / name).read_bytes())
        with pytest.raises(ConfigError, match=f"{name}: does not belong to report.json"):
            Result.load("run")


def test_an_output_may_be_called_file(net: str) -> None:
    Path("net.yaml").write_text(
        "schema: 1\ninput: {shape: [2, 2, 3]}\nlayers: [{name: file, kind: fc, channels: 3}]\n", encoding="utf-8"
    )
    result = runner.run(net, arch="tiny")
    result.save("run")
    with np.load("run/outputs.npz") as saved:
        np.testing.assert_array_equal(saved["file"], result.outputs["file"])


def test_without_pandas_the_error_names_the_extra(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = runner.run(net, arch="tiny", timing_only=True)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError) as caught:
        _ = result.layers
    assert str(caught.value) == "Result.layers needs the extra 'data': pip install 'accelsim[data]'"
    assert result.rows[0]["name"] == "conv"


@pytest.fixture
def wrong_golden(monkeypatch: pytest.MonkeyPatch):
    """Makes the golden model differ in one value of a tensor."""
    real = runner.golden.run

    def spoil(tensor: str, *index: int) -> None:
        def run(*arguments):
            values = dict(real(*arguments))
            values[tensor] = values[tensor].copy()
            values[tensor][index] ^= 1
            return values

        monkeypatch.setattr(runner.golden, "run", run)

    return spoil


@pytest.mark.parametrize("level", ["cycle", "functional"])
@pytest.mark.parametrize(
    ("tensor", "index", "layer", "total"),
    [("conv", (0, 3, 1, 4), "conv", 160), ("pool", (1, 1, 0, 2), "pool", 40), ("fc", (1, 0, 0, 3), "fc", 8)],
)
def test_a_difference_names_layer_and_index(net, wrong_golden, level, tensor, index, layer, total) -> None:
    right = runner.run(net, arch="tiny", batch=2, level=level)
    assert right.report["bit_exact"] is True
    wrong_golden(tensor, *index)
    result = runner.run(net, arch="tiny", batch=2, level=level)
    assert result.report["bit_exact"] is False
    found = result.mismatch
    assert (found.layer, found.index, found.differ, found.total) == (layer, index, 1, total)
    assert found.expected == found.got ^ 1
    assert str(found) == (
        f"{layer}: 1 of {total} values differ from the golden model; first at {list(index)}: "
        f"expected {found.expected}, got {found.got}"
    )
    np.testing.assert_array_equal(result.outputs["fc"], right.outputs["fc"])  # what the accelerator made


def test_a_difference_is_exit_code_1(net: str, wrong_golden) -> None:
    assert accelsim("run", net, "--arch", "tiny").exit_code == 0
    wrong_golden("pool", 0, 1, 1, 0)
    result = accelsim("run", net, "--arch", "tiny")
    assert result.exit_code == 1
    assert "bit-exact: FAIL" in result.stdout
    assert "pool: 1 of 20 values differ from the golden model; first at [0, 1, 1, 0]: expected " in result.stdout


def test_a_difference_in_the_test_split_is_reported(monkeypatch: pytest.MonkeyPatch, wrong_golden) -> None:
    wrong_golden("pool1", 3, 7, 7, 5)
    scores = runner.evaluate("lenet", arch="edge", batch=120)
    assert scores["bit_exact"] is False
    assert scores["accelerator_accuracy"] == scores["int8_accuracy"]  # that value decides no class
    result = accelsim("run", "lenet", "--eval", "--batch", "120")
    assert result.exit_code == 1
    assert "bit-exact: FAIL" in result.stdout


def test_a_layer_nobody_observes_is_a_bug_and_not_a_pass(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = job.run_program

    def forgetful(*arguments):
        values, trace, state = real(*arguments)
        del values["conv"]
        return values, trace, state

    monkeypatch.setattr(job, "run_program", forgetful)
    with pytest.raises(RuntimeError, match="no instruction completes conv"):
        runner.run(net, arch="tiny")
