"""The notebooks run in a fresh kernel from an empty folder, and their committed outputs are what they print.

Pictures are only counted: their bytes depend on the version of matplotlib. ``--update-golden`` writes the outputs anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LONG = {"02_alexnet_roofline", "03_design_space"}
LIMIT_BYTES = 400_000  # of one notebook with its pictures


def outputs(book: nbformat.NotebookNode) -> list[list[str]]:
    """Per code cell what it printed or showed, in words; adjacent pieces of one stream are one."""
    return [[_words(output) for output in _merged(cell.outputs)] for cell in book.cells if cell.cell_type == "code"]


def _merged(found: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    result: list[nbformat.NotebookNode] = []
    for output in found:
        same = result and output.output_type == result[-1].output_type == "stream" and output.name == result[-1].name
        if same:
            result[-1] = nbformat.from_dict({**result[-1], "text": result[-1].text + output.text})
        else:
            result.append(output)
    return result


def _words(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return f"{output.name}: {output.text}"
    assert output.output_type in ("execute_result", "display_data"), output
    if "image/png" in output.data:
        return "a picture"
    return str(output.data["text/plain"])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in NAMES])
def test_a_notebook_runs_and_its_outputs_are_fresh(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = FOLDER / f"{name}.ipynb"
    committed = nbformat.read(path, 4)
    book = nbformat.read(path, 4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    if request.config.getoption("--update-golden"):
        for cell in book.cells:
            cell.metadata = {}  # times of this computer
        nbformat.write(book, path)
        committed = book
    assert outputs(book) == outputs(committed)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_small_and_says_nothing_of_a_computer(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < LIMIT_BYTES
    book = nbformat.read(path, 4)
    text = "\n".join(piece for cell in outputs(book) for piece in cell)
    assert not re.search(r"/home/|/root/|/tmp/|Traceback", text)
    assert all(cell.metadata == {} for cell in book.cells)
    numbers = [cell.execution_count for cell in book.cells if cell.cell_type == "code"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_there_are_five() -> None:
    assert [name[:2] for name in NAMES] == ["01", "02", "03", "04", "05"]
