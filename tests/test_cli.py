"""The command line: start-up, exit codes, messages, and files that appear only after success."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accelsim import machine_file
from accelsim.bundled import available
from accelsim.cli import main
from accelsim.errors import MismatchError
from tests.command_line import PROGRAM, accelsim, written

CORPUS = Path(__file__).parent / "golden" / "errors" / "machine"
CASES = sorted(path.stem for path in CORPUS.glob("*.yaml") if path.stem != "cycle2")
COMMANDS = sorted(main.commands)
HEAVY = ("numpy", "pydantic", "yaml", "matplotlib", "simpy", "rich")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


HELP = [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"]]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom accelsim.cli import main\n"
        f"main({arguments!r}, prog_name='accelsim', standalone_mode=False)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith("accelsim 0." if arguments == ["--version"] else "Usage: accelsim")


def test_commands_of_this_version() -> None:
    assert COMMANDS == [
        "asm", "cache", "check", "compile", "diff", "disasm", "energy", "exec", "explain", "export", "import", "list",
        "plot", "quantize", "report", "results", "run", "schema", "sweep",
    ]  # fmt: skip


def test_python_m_accelsim() -> None:
    done = subprocess.run([sys.executable, "-m", "accelsim", "list"], capture_output=True, text=True, check=True)
    assert done.stdout == accelsim("list").stdout


def test_list_names_every_bundled_file() -> None:
    result = accelsim("list")
    assert result.exit_code == 0
    for name in (*available("configs"), *available("workloads")):
        assert f"  {name} " in result.stdout


@pytest.mark.parametrize("kind", ["machine", "workload"])
def test_schema_is_json(kind: str) -> None:
    result = accelsim("schema", kind)
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert schema["title"] == f"accelsim {kind} file"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "Error: No such command 'rum'. Did you mean 'run'?\n"),
        (["run"], "Error: Missing argument 'WORKLOAD'.\n"),
        (["run", "lenet", "--level", "rtl"], "'rtl' is not one of 'cycle', 'functional', 'pe'.\n"),
        (["run", "lenet", "--batch", "0"], "0 is not in the range x>=1.\n"),
        (["run", "lenet", "--timing-only", "--level", "functional"],
         "Error: --timing-only leaves out the values and --level functional the time; choose one.\n"),
        (["run", "lenet", "--eval", "--input", "x.npy"],
         "Error: --eval runs the workload's own test images; it does not go with --input.\n"),
        (["schema", "report"], "'report' is not one of 'machine', 'workload', 'sweep'.\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    result = accelsim(*arguments)
    assert result.exit_code == 2
    assert result.stderr.endswith(message)
    assert result.stdout == ""


def test_a_misspelt_option_gets_a_suggestion() -> None:
    result = accelsim("run", "lenet", "--arhc", "edge")
    assert result.exit_code == 2
    assert "No such option '--arhc'" in result.stderr
    assert "'--arch'" in result.stderr


@pytest.mark.parametrize("case", CASES)
def test_mistakes_in_a_machine_file(case: str, empty_folder: Path) -> None:
    for path in CORPUS.glob("*.yaml"):
        shutil.copy(path, empty_folder)
    before = written(empty_folder)
    result = accelsim("run", "lenet", "--arch", f"{case}.yaml", "--json", "out.json", "--out", "results")
    assert result.exit_code == 2
    assert result.stderr == (CORPUS / f"{case}.txt").read_text(encoding="utf-8")
    assert result.stdout == ""
    assert written(empty_folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "lenet", "--arch", "egde"], "egde: no such machine: neither a file 'egde' nor a bundled name "
         "(did you mean 'edge'? `accelsim list` shows the bundled ones)\n"),
        (["run", "lenet", "--set", "array.rows"],
         "--set array.rows: expected key=value (for example --set array.rows=32)\n1 mistake found\n"),
        (["run", "lenet", "--set", "array.rows=abc", "--set", "alu.lane=4"],
         "--set alu.lane=4: alu.lane: unknown key (did you mean 'alu.lanes'? allowed: name, clock, array.rows, "
         "array.cols, array.dataflow, array.weights, array.overlap, alu.lanes, alu.latency, ub.size, ub.ports, "
         "ub.banks, ...)\n--set array.rows=abc: array.rows: expected a whole number, got 'abc'\n2 mistakes found\n"),
        (["run", "lenet", "--json", "no/such/file.json"],
         "--json no/such/file.json: the folder 'no/such' does not exist\n"),
        (["run", "lenet", "--json", "."], "--json .: this is a directory, not a file\n"),
        (["exec", "absent.asm"], "absent.asm: the file cannot be read: No such file or directory\n"),
        (["check", "absent.npz"], "absent.npz: cannot be read: No such file or directory\n"),
        (["asm", "absent.asm"], "absent.asm: the file cannot be read: No such file or directory\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_input(arguments: list[str], message: str, empty_folder: Path) -> None:
    result = accelsim(*arguments)
    assert result.exit_code == 2
    assert result.stderr == message
    assert result.stdout == ""
    assert written(empty_folder) == set()


def test_inputs_that_are_no_arrays(empty_folder: Path) -> None:
    np.save("text.npy", np.array(["a"]))
    Path("broken.npy").write_bytes(b"\x93NUMPY, almost")
    Path("plain.npy").write_text("1 2 3", encoding="utf-8")
    np.savez("several.npz", a=np.zeros(1))
    Path("empty.npy").write_bytes(b"")
    for name in ("text.npy", "broken.npy", "plain.npy", "several.npz", "empty.npy"):
        result = accelsim("run", "lenet", "--input", name)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"--input {name}: not a .npy file of numbers")
    result = accelsim("run", "lenet", "--input", "absent.npy")
    assert result.stderr == "--input absent.npy: the file cannot be read: No such file or directory\n"


def failing(error: Exception) -> Callable[..., object]:
    def load_arch(*_: object) -> object:
        raise error

    return load_arch


def test_a_mismatch_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    error = MismatchError(layer="conv1", index=(0, 1), expected=3, got=4, differ=1, total=9)
    monkeypatch.setattr(machine_file, "load_arch", failing(error))
    result = accelsim("run", "lenet")
    assert result.exit_code == 1
    assert result.stderr == f"{error}\n"


def test_our_bug_is_exit_3_without_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_file, "load_arch", failing(RuntimeError("boom\nsecond line")))
    result = accelsim("run", "lenet")
    assert result.exit_code == 3
    assert result.stderr == (
        "accelsim has a bug: RuntimeError: boom\n"
        "Please report it, with the command and its files; `accelsim --debug ...` shows the traceback.\n"
    )
    assert "Traceback (most recent call last)" in accelsim("--debug", "run", "lenet").stderr


def test_interrupt_is_exit_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_arch(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine_file, "load_arch", load_arch)
    result = accelsim("run", "lenet")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_assemble_check_and_disassemble(empty_folder: Path) -> None:
    Path("copy.asm").write_text(PROGRAM, encoding="utf-8")
    result = accelsim("asm", "copy.asm", "--arch", "tiny")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("copy.npz: 3 instructions, program ")
    assert written(empty_folder) == {"copy.asm", "copy.npz"}
    for name in ("copy.asm", "copy.npz"):
        result = accelsim("check", name, "--arch", "tiny")
        assert (result.exit_code, result.stdout.split(", ")[-1]) == (0, "no faults on tiny\n")
    text = accelsim("disasm", "copy.npz").stdout
    assert "store memory=ub" in text
    assert accelsim("disasm", "copy.npz", "-o", "again.asm").exit_code == 0
    assert accelsim("asm", "again.asm", "--arch", "tiny", "-o", "again.npz").exit_code == 0
    assert instructions(accelsim("disasm", "again.npz").stdout) == instructions(text) != []


def instructions(text: str) -> list[str]:
    return [line for line in text.splitlines() if line[:1].isalpha()]


def test_a_race_is_refused_with_both_instructions() -> None:
    Path("race.asm").write_text(PROGRAM.replace(" signal=store", "").replace(" wait=load", ""), encoding="utf-8")
    result = accelsim("check", "race.asm", "--arch", "tiny")
    assert result.exit_code == 2
    assert result.stderr.startswith("race: instructions 0 and 1 both touch UB")
    assert "    0: load memory=ub" in result.stderr


def test_mistakes_in_assembly_are_located() -> None:
    Path("bad.asm").write_text("load memory=ub run=4 sgnal=store\nhalt on=stor\n", encoding="utf-8")
    result = accelsim("asm", "bad.asm")
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines() if line.startswith("bad")] == [
        "bad.asm:1:22",
        "bad.asm:2:9",
    ]
    assert not Path("bad.npz").exists()


def test_a_program_for_another_shape_or_a_broken_file_is_refused() -> None:
    Path("copy.asm").write_text(PROGRAM, encoding="utf-8")
    accelsim("asm", "copy.asm", "--arch", "tiny")
    result = accelsim("check", "copy.npz", "--arch", "mid")
    assert result.exit_code == 2
    assert "compiled for a machine of another shape than mid" in result.stderr
    Path("cut.npz").write_bytes(Path("copy.npz").read_bytes()[:-100])
    result = accelsim("check", "cut.npz", "--arch", "tiny")
    assert result.exit_code == 2
    assert result.stderr.startswith("cut.npz: is not a complete accelsim program file")
