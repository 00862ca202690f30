"""Whole runs on the command line, of a network that takes no time: the report, the verdict, programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim import runner
from accelsim.cli.base import progress
from accelsim.cli.tables import print_styled
from accelsim.errors import ConfigError
from accelsim.isa.program import load_program, program_hash
from accelsim.machine_file import load_arch
from accelsim.result import Result
from tests.command_line import PROGRAM, accelsim, written

WORKLOAD = """\
schema: 1
input: {shape: [6, 6, 3]}
layers:
  - {name: conv, kind: conv, channels: 5, kernel: 3, activation: relu}
  - {name: pool, kind: maxpool, kernel: 2}
  - {name: flat, kind: flatten}
  - {name: fc, kind: fc, channels: 4}
  - {name: classes, kind: softmax}
"""
TOTALS = {"cycles", "macs", "utilization", "bound_cycles", "instructions", "dram_read_bytes", "dram_write_bytes",
          "energy_pj", "time_us", "area_mm2"}  # fmt: skip
LAYER = {"name", "kind", "cycles", "macs", "utilization", "bound_cycles", "bound_by", "dram_read_bytes",
         "dram_write_bytes", "energy_pj", "packing", "cycle_split"}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def net(empty_folder: Path) -> str:
    (empty_folder / "net.yaml").write_text(WORKLOAD, encoding="utf-8")
    return "net"


def test_run_prints_a_table_and_a_verdict(net: str) -> None:
    result = accelsim("run", net, "--arch", "tiny")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "net on tiny (4x4 ws, 500 MHz), 1 image"
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert first_words[3:9] == ["conv", "pool", "flat", "fc", "classes", "total"]
    assert lines[-1] == "bit-exact: PASS (every value equals the golden model)"
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_json_on_stdout_is_all_there_is_and_keeps_the_contract(net: str) -> None:
    result = accelsim("run", net, "--arch", "tiny", "--batch", "3", "--json", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["schema"] == 1
    assert set(report["totals"]) >= TOTALS
    assert all(set(row) >= LAYER for row in report["layers"])
    assert set(report["units"]) == {"load", "gemm", "alu", "store"}
    assert set(report["host"]) == {"compile_s", "simulate_s", "golden_s", "total_s"}
    assert report["bit_exact"] is True
    cycles = report["totals"]["cycles"]
    assert sum(row["cycles"] for row in report["layers"]) == cycles >= report["totals"]["bound_cycles"]
    for row in report["layers"]:
        assert sum(row["cycle_split"].values()) == row["cycles"]
    for unit in report["units"].values():
        assert unit["busy_cycles"] + sum(unit["wait_cycles"].values()) == cycles


def test_a_rerun_from_the_dumped_machine_is_byte_equal(net: str, empty_folder: Path) -> None:
    options = ("--arch", "gemmini", "--set", "array.cols=8", "--set", "dram.bytes_per_cycle=7 GB/s")
    assert accelsim("run", net, *options, "--out", "first", "--json", "first.json").exit_code == 0
    assert accelsim("run", net, "--arch", "first/machine.yaml", "--json", "second.json").exit_code == 0
    texts = [Path(name).read_text(encoding="utf-8") for name in ("first.json", "second.json")]
    assert texts[0].partition('\n  "host": ')[0] == texts[1].partition('\n  "host": ')[0] != texts[0]
    assert json.loads(Path("first/report.json").read_text(encoding="utf-8"))["arch"]["array"]["cols"] == 8
    assert not [name for name in written(empty_folder) if ".accelsim-" in name or name.endswith(".part")]


def test_levels(net: str) -> None:
    functional = json.loads(accelsim("run", net, "--arch", "tiny", "--level", "functional", "--json", "-").stdout)
    assert functional["bit_exact"] is True
    assert functional["totals"]["cycles"] is None
    timing = accelsim("run", net, "--arch", "tiny", "--timing-only")
    assert timing.stdout.endswith("bit-exact: not checked, no values were simulated\n")
    timing_only = json.loads(accelsim("run", net, "--arch", "tiny", "--timing-only", "--json", "-").stdout)
    cycle = json.loads(accelsim("run", net, "--arch", "tiny", "--json", "-").stdout)
    assert timing_only["bit_exact"] is None
    no_values = {"saturated": None, "zeros": None}
    assert timing_only["layers"] == [row | no_values for row in cycle["layers"]]
    for key in no_values:
        assert [row[key] for row in functional["layers"]] == [row[key] for row in cycle["layers"]]


def test_input_images(net: str) -> None:
    np.save("two.npy", np.linspace(-1, 1, 2 * 6 * 6 * 3, dtype=np.float32).reshape(2, 6, 6, 3))
    result = accelsim("run", net, "--arch", "tiny", "--input", "two.npy")
    assert result.stdout.startswith("net on tiny (4x4 ws, 500 MHz), 2 images\n")
    np.save("wrong.npy", np.zeros((2, 6, 6, 4), np.float32))
    np.save("nan.npy", np.full((1, 6, 6, 3), np.nan))
    np.save("large.npy", np.full((1, 6, 6, 3), 1e300))
    for name, options, problem in (
        ("wrong.npy", (), "expected (batch, 6, 6, 3), got (2, 6, 6, 4)"),
        ("nan.npy", (), "holds values that are not finite"),
        ("large.npy", (), "holds values that are not finite"),
        ("two.npy", ("--batch", "1"), "holds 2 images and the batch is 1"),
    ):
        result = accelsim("run", net, "--arch", "tiny", "--input", name, *options)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"--input {name}: {problem}\n")


def test_a_failing_comparison_is_printed_and_exit_1(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runner.golden.run

    def wrong(*arguments: Any) -> dict[str, Any]:
        values = real(*arguments)
        values["conv"] = values["conv"].copy()
        values["conv"][0, 0, 0, 0] ^= 1
        return values

    monkeypatch.setattr(runner.golden, "run", wrong)
    result = accelsim("run", net, "--arch", "tiny")
    assert result.exit_code == 1
    assert "bit-exact: FAIL (some values differ from the golden model)\nconv: 1 of " in result.stdout
    assert json.loads(accelsim("run", net, "--arch", "tiny", "--json", "-").stdout)["bit_exact"] is False


def test_eval_needs_a_data_set(net: str) -> None:
    result = accelsim("run", net, "--eval")
    assert result.exit_code == 2
    assert "this workload has no labelled images to evaluate" in result.stderr


def test_compile_and_exec(net: str, empty_folder: Path) -> None:
    result = accelsim("compile", net, "--arch", "tiny")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("net.program.npz: ")
    assert written(empty_folder) == {"net.yaml", "net.program.npz"}  # net.npz may hold the network's weights
    ran = json.loads(accelsim("run", net, "--arch", "tiny", "--json", "-").stdout)
    executed = json.loads(accelsim("exec", "net.program.npz", "--arch", "tiny", "--json", "-").stdout)
    assert executed["program_hash"] == ran["program_hash"]
    assert executed["cycles"] == ran["totals"]["cycles"]
    assert len(executed["instructions"]) == ran["totals"]["instructions"]
    assert max(row["landed"] for row in executed["instructions"]) + 1 == executed["cycles"]
    assert list(executed["instructions"][0]) == ["index", "unit", "accepted", "start", "landed"]
    for options in ((), ("--json", "-")):  # notes go to stderr, whatever is on stdout
        command = ("exec", "net.program.npz", "--arch", "tiny", "--set", "dram.latency=50", "--timing-only", *options)
        result = accelsim(*command)
        assert result.exit_code == 0
        assert result.stderr == "note: compiled for other timing than tiny's; values are the same\n"


def test_exec_of_a_network_on_images(net: str) -> None:
    images = np.linspace(-1, 1, 108, dtype=np.float32).reshape(1, 6, 6, 3)
    np.save("images.npy", images)
    assert accelsim("run", net, "--arch", "tiny", "--input", "images.npy", "--out", "run").exit_code == 0
    with np.load("run/outputs.npz") as saved:
        wanted = saved["fc"]
    program = load_program("run/program.npz")
    region = next(region for region in program.regions if region.role == "input")
    int8 = np.clip(np.rint(images / np.float32(region.scale)) + region.zero, -128, 127).astype(np.int8)
    np.save("int8.npy", int8)
    np.save("float64.npy", images.astype(np.float64))
    for text in ("images.npy", "int8.npy", "input=images.npy", "float64.npy"):
        result = accelsim("exec", "run/program.npz", "--arch", "tiny", "--input", text, "--out", "exec")
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        np.testing.assert_array_equal(np.load("exec/fc.npy"), wanted)
    result = accelsim("exec", "run/program.npz", "--arch", "tiny", "--out", "zeros", "--json", "-")
    assert result.exit_code == 0
    assert result.stderr == "note: the input region input is left at zero; --input input=X.npy fills it\n"
    assert (np.load("zeros/fc.npy") != wanted).any()


def test_exec_inputs_that_do_not_fit(net: str) -> None:
    assert accelsim("compile", net, "--arch", "tiny").exit_code == 0
    np.save("shape.npy", np.zeros((6, 6, 3), np.float32))
    np.save("kind.npy", np.zeros((1, 6, 6, 3), np.int32))
    np.save("nan.npy", np.full((1, 6, 6, 3), np.nan, np.float32))
    Path("empty.npy").write_bytes(b"")
    for texts, message in (
        (("shape.npy",), "--input shape.npy: expected shape [1, 6, 6, 3], got [6, 6, 3]"),
        (("kind.npy",), "--input kind.npy: expected int8 values or floating-point values, which are quantised, "
         "got int32"),
        (("input=nan.npy",), "--input input=nan.npy: holds values that are not finite"),
        (("empty.npy",), "--input empty.npy: not a .npy file of numbers, or cut short"),
        (("inptu=nan.npy",), "--input inptu=nan.npy: the program has no such input region (did you mean 'input'? "
         "allowed: input)"),
        (("nan.npy", "input=nan.npy"), "--input input=nan.npy: the region input is given twice"),
    ):  # fmt: skip
        options = [part for text in texts for part in ("--input", text)]
        result = accelsim("exec", "net.program.npz", "--arch", "tiny", *options)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{message}\n")
    result = accelsim("exec", "net.program.npz", "--arch", "tiny", "--timing-only", "--input", "nan.npy")
    assert result.exit_code == 2
    with pytest.raises(ConfigError, match="inputs: timing_only leaves out the values"):
        runner.execute(
            load_program("net.program.npz"), arch=load_arch("tiny"), timing_only=True, inputs={"input": np.zeros(1)}
        )


def test_exec_with_several_input_regions() -> None:
    two = PROGRAM.replace(".region result", ".region other int8 [2] = zeros input\n.region result")
    Path("copy.asm").write_text(two, encoding="utf-8")
    np.save("a.npy", np.array([1, -2, 3, -4], np.int8))
    np.save("b.npy", np.array([5, 6], np.int8))
    command = ("exec", "copy.asm", "--arch", "tiny", "--out", "results")
    result = accelsim(*command, "--input", "source=a.npy", "--input", "other=b.npy")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert np.load("results/result.npy").tolist() == [1, -2, 3, -4]
    assert accelsim(*command).stderr == ""  # the assembly itself says zeros
    result = accelsim(*command, "--input", "a.npy")
    assert result.stderr == "--input a.npy: which input region? write NAME=FILE (regions: source, other)\n"
    np.save("float.npy", np.zeros(4, np.float32))
    result = accelsim(*command, "--input", "source=float.npy")
    assert result.stderr == "--input source=float.npy: expected int8 values, got float32\n"


def test_disassembly_assembles_into_the_same_words_and_constants(net: str) -> None:
    for command in (["compile", net], ["disasm", "net.program.npz", "-o", "net.asm"], ["asm", "net.asm"]):
        assert accelsim(*command, *(["--arch", "tiny"] if command[0] != "disasm" else [])).exit_code == 0
    first, second = load_program("net.program.npz"), load_program("net.npz")
    assert first.instructions == second.instructions
    constants = len(first.image)
    np.testing.assert_array_equal(first.image, second.image[:constants])
    assert not second.image[constants:].any()  # the input region, written out as zeros
    assert first.probes
    assert not second.probes  # assembly has no place for them, so the hashes differ
    assert program_hash(first) != program_hash(second)


def test_dump_of_a_stage_writes_nothing(net: str, empty_folder: Path) -> None:
    result = accelsim("compile", net, "--arch", "tiny", "--dump", "tile")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("conv + pool: ")
    assert written(empty_folder) == {"net.yaml"}
    result = accelsim("compile", net, "--arch", "tiny", "--dump", "tiel", "-o", "x.npz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("--dump tiel: no such stage (did you mean 'tile'? allowed: lower, place, tile")
    assert written(empty_folder) == {"net.yaml"}


def test_exec_of_assembly_moves_the_bytes() -> None:
    np.save("data.npy", np.array([1, -2, 3, -4], np.int8))
    Path("copy.asm").write_text(PROGRAM.replace("zeros input", "data.npy"), encoding="utf-8")
    result = accelsim("exec", "copy.asm", "--arch", "tiny", "--out", "results")
    assert result.exit_code == 0, result.output
    assert "output result: int8 [4]" in result.stdout
    assert np.load("results/result.npy").tolist() == [1, -2, 3, -4]
    result = accelsim("exec", "copy.asm", "--arch", "tiny", "--level", "functional", "--json", "-")
    assert json.loads(result.stdout)["instructions"][0] == {
        "index": 0, "unit": "load", "accepted": None, "start": None, "landed": None,
    }  # fmt: skip
    result = accelsim("exec", "copy.asm", "--arch", "tiny", "--timing-only", "--out", "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert not Path("none").exists()


def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_styled("a ", "PASS", "green", " b")
    assert "\x1b[32mPASS" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_styled("a ", "PASS", "green", " b")
    assert capsys.readouterr().out == "a PASS b\n"


def test_progress_is_for_people_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("working ..."):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("working ..."):
        pass
    assert capsys.readouterr().err == "working ...\r" + " " * 11 + "\r"


TWO_INPUTS = """\
schema: 1
inputs: [{name: a, shape: [4, 4, 3]}, {name: b, shape: [4, 4, 3]}]
layers: [{name: sum, kind: add, inputs: [a, b]}]
"""


def test_run_takes_an_array_for_each_of_several_inputs() -> None:
    Path("two.yaml").write_text(TWO_INPUTS, encoding="utf-8")
    values = np.random.default_rng(3).uniform(-1, 1, (2, 2, 4, 4, 3)).astype(np.float32)
    np.save("a.npy", values[0])
    np.save("b.npy", values[1])
    command = ("run", "two", "--arch", "tiny")
    given = accelsim(*command, "--input", "a=a.npy", "--input", "b=b.npy", "--out", "r")
    assert given.exit_code == 0, given.output
    wanted = runner.run("two.yaml", arch="tiny", input={"a": values[0], "b": values[1]})
    assert np.array_equal(Result.load("r").outputs["sum"], wanted.outputs["sum"])
    for inputs, problem in (
        (["a.npy"], "--input a.npy: the network has 2 inputs and needs an array for each"),
        (["a=a.npy"], "--input b: has no values"),
        (["a=a.npy", "a=b.npy"], "--input a=b.npy: images are given twice"),
        (["a=a.npy", "c=b.npy"], "--input c=b.npy: the network has no such input"),
        (["a=a.npy", "b.npy"], "--input a=a.npy: which input?"),
    ):
        refused = accelsim(*command, *(part for text in inputs for part in ("--input", text)))
        assert refused.exit_code == 2
        assert refused.stderr.startswith(problem), refused.stderr
