"""Every command and every program of the pages runs, and prints what stands behind it (``--update-golden`` renews it).

The commands of a page run in order and in one folder, as a reader would type them, beside the reader's own files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import Result

from accelsim.cli import main
from tests.command_line import accelsim
from tests.docs.pages import DOCS, PAGES, ROOT, Block, Page

CLUSTER = "tcp://host:8786"
"""Stands for an address; those commands run in a test of their own."""

FILES = {
    "my_net.yaml": "schema: 1\ninput: {shape: [6, 6, 3]}\nlayers: [{name: conv, kind: conv, channels: 5, kernel: 3}]\n",
    "my_machine.yaml": "schema: 1\nextends: tiny\n",
    "my_sweep.yaml": "schema: 1\nworkloads: [lenet]\narch: tiny\naxes: {array.rows: [2, 4]}\n",
    "topology.csv": "Layer,M,N,K,\nproduct,4,6,5,\n",
}


def page_id(path: Path) -> str:
    return path.stem


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages take for granted, and the parts of a checkout that they name."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    np.save(tmp_path / "image.npy", np.zeros((1, 32, 32, 1), np.float32))
    for memory in ("ub", "acc"):
        table = (ROOT / "tests" / "golden" / "cacti" / "cache.cfg.out").read_text(encoding="utf-8")
        (tmp_path / f"{memory}.cfg.out").write_text(table, encoding="utf-8")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(block: Block) -> Iterator[tuple[list[str], Result]]:
    """The block's ``accelsim`` commands; a ``cd`` holds to the end of the block."""
    home = Path.cwd()
    try:
        for words in block.commands:
            if words[0] == "cd":
                os.chdir(words[1])
            elif CLUSTER not in words:
                yield words, accelsim(*words[1:])
    finally:
        os.chdir(home)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_command_succeeds_and_prints_what_is_shown(
    path: Path, reader: Path, request: pytest.FixtureRequest
) -> None:
    page = Page(path)
    shown = {before.start: after for before, after in page.shown}
    renewed: list[tuple[Block, str]] = []
    for block in page.blocks:
        printed = ""
        for words, result in run_block(block):
            assert result.exit_code == 0, (" ".join(words), result.output)
            printed = cleaned(result.stdout)
        if block.start in shown and request.config.getoption("--update-golden"):
            renewed.append((shown[block.start], printed))
        elif block.start in shown:
            assert shown[block.start].text == printed, block.text
    text = page.text
    for block, printed in reversed(renewed):
        text = text[: block.start] + printed + text[block.start + len(block.text) :]
    if renewed:
        path.write_text(text, encoding="utf-8", newline="\n")


def cleaned(output: str) -> str:
    """Printed text as pages show it: no blank ends, and not what differs between computers."""
    lines = [line.rstrip() for line in output.splitlines() if not line.startswith("on this computer")]
    return "\n".join(lines).strip("\n") + "\n"


def test_the_first_page_speaks_of_what_it_shows() -> None:
    """Ratios in its sentences stand in what the commands print."""
    page = Page(DOCS / "index.md")
    told = set(re.findall(r"\b0\.\d+x?", page.prose))
    assert len(told) > 1
    shown = "".join(after.text for _, after in page.shown)
    assert all(figure in shown for figure in told)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the cluster's own
def test_commands_for_a_cluster_succeed_on_one(reader: Path) -> None:
    distributed = pytest.importorskip("distributed")
    blocks = [block for path in PAGES for block in Page(path).blocks]
    found = [words for block in blocks for words in block.commands if CLUSTER in words]
    assert found
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        for words in found:
            result = accelsim(*(cluster.scheduler_address if word == CLUSTER else word for word in words[1:]))
            assert result.exit_code == 0, (" ".join(words), result.output)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_commands_within_sentences_exist(path: Path) -> None:
    """Their words stand for themselves or for a reader's (FILE, ...), so only command and options can be looked at."""
    for span in Page(path).spans:
        words = re.sub(r"[\[\]|]", " ", span).split()
        if words[0] != "accelsim" or len(words) == 1:
            continue
        command: click.Command = main
        with click.Context(main) as context:
            rest = words[1:]
            while isinstance(command, click.Group) and rest and not rest[0].startswith("-") and rest[0] != "...":
                found = command.get_command(context, rest[0])
                assert found is not None, f"{path.name}: `{span}`: no command {rest[0]}"
                command, rest = found, rest[1:]
            known = {name for option in command.get_params(context) for name in option.opts + option.secondary_opts}
        unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
        assert not unknown, f"{path.name}: `{span}`: {unknown}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_python_program_runs(path: Path, reader: Path) -> None:
    """Those of a page as one, since later ones build on earlier ones."""
    program = "\n\n".join(block.text for block in Page(path).blocks if block.language == "python")
    if not program:
        return
    file = reader / "program.py"
    file.write_text(program, encoding="utf-8")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


def test_something_is_tested() -> None:
    pages = [Page(path) for path in PAGES]
    counts = [sum(len(block.commands) for block in page.blocks) for page in pages]
    assert counts[0] > 10
    assert sum(counts) > counts[0] + 15
    assert sum(1 for page in pages for span in page.spans if span.startswith("accelsim ")) > 20
    assert sum(block.language == "python" for page in pages for block in page.blocks) > 2
