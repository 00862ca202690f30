"""The README tells the truth: its table is what its first command prints (``--update-golden`` renews it).

``tests/docs`` runs its commands, with those of the other pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.command_line import accelsim

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_starts_with_the_two_commands() -> None:
    assert BLOCKS[0] == ("sh", "make run\nmake test\n")


def test_the_table_is_what_the_first_command_prints(request: pytest.FixtureRequest) -> None:
    shown = next(block for language, block in BLOCKS if "bit-exact: PASS" in block)
    lines = [line.rstrip() for line in accelsim("run", "lenet.yaml").stdout.splitlines()]
    printed = "\n".join(line for line in lines if not line.startswith("on this computer")) + "\n"
    if request.config.getoption("--update-golden"):
        README.write_text(TEXT.replace(shown, printed), encoding="utf-8", newline="\n")
        shown = printed
    assert shown == printed


def test_the_error_is_what_a_misspelt_key_gives(folder: Path) -> None:
    (folder / "my_machine.yaml").write_text("schema: 1\narray:\n  rows: 8\n  colums: 8\n", encoding="utf-8")
    shown = next(block for language, block in BLOCKS if "unknown key" in block)
    assert accelsim("run", "lenet", "--arch", "my_machine").stderr == shown + "1 mistake found\n"


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(block for language, block in BLOCKS if language == "python")
    exec(compile(code, "README", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(" True")
    assert printed[1].startswith("conv1 ")
    assert printed[-1] == "(1, 1, 1, 10)"
