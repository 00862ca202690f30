"""Where results go: full disks, closed pipes, places that cannot be written, devices."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from accelsim import machine_file
from accelsim.cli import base, main
from accelsim.cli.tables import print_table
from tests.command_line import PROGRAM, accelsim, written

NETWORK = """\
schema: 1
input: {shape: [2, 2, 3]}
layers: [{name: fc, kind: fc, channels: 3}]
"""
COMMAND = (sys.executable, "-m", "accelsim")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, with a network that takes no time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(NETWORK, encoding="utf-8")
    return tmp_path


class Refusing:
    """A stdout that fails as the operating system does."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        self.encoding = "utf-8"

    def write(self, _: object) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def test_a_pipe_that_closes_under_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Refusing(BrokenPipeError(32, "Broken pipe")))
    with pytest.raises(BrokenPipeError):
        print_table(("a",), [("1",)])


@pytest.mark.parametrize("arguments", [["run", "net", "--arch", "tiny"], ["list"], ["--help"], ["run", "--help"],
                                       ["run", "net", "--arch", "tiny", "--json", "-"]], ids=" ".join)  # fmt: skip
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 2, "the output cannot be written: No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_a_stdout_that_fails(
    arguments: list[str], error: OSError, code: int, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdout", Refusing(error))
    with pytest.raises(SystemExit) as caught:
        main(arguments, prog_name="accelsim")
    assert caught.value.code == code
    assert capsys.readouterr().err == message


def test_a_reader_that_has_seen_enough() -> None:
    process = subprocess.Popen([*COMMAND, "schema", "machine"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # before the first byte
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, b"")


def test_a_full_disk_leaves_no_noise() -> None:
    full = Path("/dev/full")
    if not full.exists():
        full = Path("no-such-device")  # elsewhere the test above has to do
        full.touch()
    with full.open("wb") as target:
        done = subprocess.run([*COMMAND, "list"], stdout=target, stderr=subprocess.PIPE, timeout=60)
    wanted = (2, b"the output cannot be written: No space left on device\n") if full.is_char_device() else (0, b"")
    assert (done.returncode, done.stderr) == wanted


@pytest.mark.parametrize("option", ["--json", "--trace", "--out"])
def test_a_place_that_cannot_be_written_is_found_out_before_any_work(
    option: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tempfile.TemporaryDirectory

    def refuse(*, prefix: str, dir: Path) -> object:
        if dir.name == "locked":
            raise OSError(30, "Read-only file system")
        return real(prefix=prefix, dir=dir)

    monkeypatch.setattr(base.tempfile, "TemporaryDirectory", refuse)
    Path("locked").mkdir()
    before = written(folder)
    result = accelsim("run", "net", "--arch", "tiny", "--out", "good", option, "locked/x")
    what = "folder" if option == "--out" else "file"
    assert result.exit_code == 2
    assert result.stderr == f"{option} locked/x: the {what} cannot be written: Read-only file system\n"
    assert written(folder) == before


def test_devices_are_written_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("device").write_bytes(b"")
    monkeypatch.setattr(base, "_is_device", lambda path: path.name == "device")
    before = Path("device").stat().st_ino
    assert accelsim("run", "net", "--arch", "tiny", "--json", "device").exit_code == 0
    assert Path("device").stat().st_ino == before
    assert json.loads(Path("device").read_text(encoding="utf-8"))["bit_exact"] is True


def test_a_network_larger_than_the_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_arch(*_: object) -> object:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(machine_file, "load_arch", load_arch)
    result = accelsim("run", "net")
    assert result.exit_code == 2
    assert result.stderr == "too large for the memory of this computer: Unable to allocate 9 TiB\n"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("run net --trace x.json --json x.json", ("--trace x.json", "--json x.json")),
        ("run net --trace x.json --json sub/../x.json", ("--trace x.json", "--json sub/../x.json")),
        ("run net --trace o/report.json --out o", ("--trace o/report.json", "--out o")),
        ("run net --json net.yaml", ("--json net.yaml", "WORKLOAD net")),
        ("run net --arch m.yaml --trace m.yaml", ("--trace m.yaml", "--arch m.yaml")),
        ("run net --input x.npy --json x.npy", ("--json x.npy", "--input x.npy")),
        ("compile net -o net.yaml", ("-o net.yaml", "WORKLOAD net")),
        ("exec b.asm --trace b.asm", ("--trace b.asm", "PROGRAM b.asm")),
        ("exec b.asm --json b.asm", ("--json b.asm", "PROGRAM b.asm")),
        ("exec b.asm --json linked.asm", ("--json linked.asm", "PROGRAM b.asm")),
        ("exec b.asm --trace o/result.npy --out o", ("--trace o/result.npy", "--out o")),
        ("exec b.asm --input source=o/result.npy --out o", ("--input source=o/result.npy", "--out o")),
        ("asm b.asm -o b.asm", ("-o b.asm", "FILE.asm b.asm")),
        ("disasm b.asm -o b.asm", ("-o b.asm", "PROGRAM b.asm")),
    ],
)
def test_no_file_is_written_over_another_of_the_command(folder: Path, command: str, named: tuple[str, str]) -> None:
    (folder / "o").mkdir()
    (folder / "sub").mkdir()
    (folder / "b.asm").write_text(PROGRAM, encoding="utf-8")
    os.link(folder / "b.asm", folder / "linked.asm")
    (folder / "m.yaml").write_text("schema: 1\nextends: edge\n", encoding="utf-8")
    np.save(folder / "x.npy", np.zeros((1, 2, 2, 3), np.float32))
    np.save(folder / "o" / "result.npy", np.zeros(4, np.int8))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = accelsim(*command.split())
    assert result.exit_code == 2, result.output
    assert "would be written over" in result.output
    assert all(name in result.output for name in named), result.output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_one_device_may_be_named_twice() -> None:
    assert accelsim("run", "net", "--timing-only", "--json", os.devnull, "--trace", os.devnull).exit_code == 0
