"""``docs/glossary.md`` spells every key that any command reports, and every wait, category, component and term."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from accelsim.cli import main
from accelsim.cyclesplit import CATEGORIES
from accelsim.dse.measures import BEFOREHAND, TOTALS
from accelsim.energy import COMPONENTS, terms_of
from accelsim.isa.protocol import Unit
from accelsim.machine_file import load_arch
from tests.command_line import PROGRAM, accelsim
from tests.docs.pages import DOCS, Page

TEXT = (DOCS / "glossary.md").read_text(encoding="utf-8")
SPELT = set(re.findall(r"`([^`\n]+)`", TEXT))
DATA = {"arch", "settings", "machine"}
"""Below these stand keys of machine files; ``docs/machines.md`` has them."""

NAMES = {"changes.layers"}
"""Below these stand names of layers."""


def keys(data: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every key of a report at any depth, but for machine keys and names of layers."""
    if isinstance(data, list):
        for entry in data:
            yield from keys(entry, path)
    if not isinstance(data, dict) or (path[-1:] and path[-1] in DATA) or ".".join(path[-2:]) in NAMES:
        return
    for key, value in data.items():
        yield key
        yield from keys(value, (*path, key))


def missing(data: Any) -> set[str]:
    """Keys that the glossary lacks; dotted ones are axes of a sweep."""
    return {key for key in keys(data) if key not in SPELT and "." not in key}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reported(*arguments: str) -> Any:
    """What a command writes as JSON."""
    result = accelsim(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--timing-only"],
        ["--batch", "2"],
        ["--level", "functional"],
        ["--arch", "tiny", "--level", "pe"],
        ["--set", "ub.ports=shared", "--set", "dram.preset=hbm2"],
        ["--set", "array.dataflow=os", "--set", "energy.table=eyeriss_normalized"],
    ],
    ids=" ".join,
)
def test_reports_of_runs(options: list[str], folder: Path) -> None:
    assert accelsim("run", "lenet", *options, "--json", "report.json").exit_code == 0
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    found = set(keys(report))
    assert {"cycles", "cycle_split", "wait_cycles", "edp_js", "mm2", "total_s"} <= found
    assert not missing(report)


def test_explanations_and_comparisons(folder: Path) -> None:
    for name, machine in (("a", "tiny"), ("b", "edge")):
        assert accelsim("run", "lenet", "--arch", machine, "--timing-only", "--out", name).exit_code == 0
    explained, compared = reported("explain", "a"), reported("diff", "a", "b")
    assert {"advice", "choices", "reason"} <= set(keys(explained))
    assert {"ratio", "machine"} <= set(keys(compared))
    assert not missing(explained) | missing(compared)


def test_accuracies(folder: Path) -> None:
    scores = reported("run", "lenet", "--eval", "--level", "functional")
    assert "int8_accuracy" in keys(scores)
    assert not missing(scores)


def test_quantisations(folder: Path) -> None:
    quality = reported("quantize", "lenet")
    assert {"agreement", "own_db"} <= set(keys(quality))
    assert not missing(quality)


def test_a_run_of_an_onnx_model(folder: Path) -> None:
    pytest.importorskip("onnx")
    assert accelsim("export", "lenet", "-o", "lenet.onnx").exit_code == 0
    assert not missing(reported("run", "lenet.onnx", "--timing-only"))


def test_no_command_writes_json_that_is_not_looked_at() -> None:
    with click.Context(main) as context:
        commands = [main.get_command(context, name) for name in main.list_commands(context)]
    writing = {command.name for command in commands if command and any("--json" in p.opts for p in command.params)}
    assert writing == {"run", "quantize", "exec", "explain", "diff", "sweep", "results"}


def test_executions(folder: Path) -> None:
    (folder / "p.asm").write_text(PROGRAM, encoding="utf-8")
    executed = reported("exec", "p.asm", "--arch", "tiny")
    assert {"index", "accepted", "start", "landed"} <= set(keys(executed))
    assert not missing(executed)


def test_sweeps(folder: Path) -> None:
    plan = "schema: 1\nworkloads: [lenet]\narch: tiny\naxes: {array.rows: [2, 4]}\nobjectives: [edp]\n"
    (folder / "s.yaml").write_text(plan, encoding="utf-8")
    points = reported("sweep", "s.yaml", "-j", "1")
    assert {"on_chip_bytes", "status", "counts"} <= set(keys(points))
    assert not missing(points)
    table = accelsim("results", "s.sqlite", "--csv", "-").stdout
    assert not missing(dict.fromkeys(next(csv.reader(table.splitlines()))))


def test_words_that_a_small_run_need_not_show() -> None:
    waits = {"port", "queue", "drain", "bank", "done", *(f"token:{unit.name.lower()}" for unit in Unit)}
    terms = {term.name for term in terms_of(load_arch("edge"))}
    for words in (CATEGORIES, COMPONENTS, TOTALS, BEFOREHAND, waits, terms):
        assert not set(words) - SPELT


def test_every_definition_has_its_unit_column() -> None:
    tables = re.findall(r"^\| key \| unit \| .*?(?=^$)", TEXT + "\n", re.DOTALL | re.MULTILINE)
    assert len(tables) > 8
    for line in "".join(tables).split("\n")[:-1]:
        assert line.count("|") == 4, line
        assert line.split("|")[3].strip() or "`ub`" in line, line


def test_words_are_in_order_and_there_once() -> None:
    words = re.findall(r"^\| ([^|]+?) \|", TEXT.partition("## Words")[2], re.MULTILINE)[2:]
    plain = [word.replace("`", "").lower() for word in words]
    assert len(plain) > 40
    assert plain == sorted(set(plain))


def test_the_report_page_names_every_key_of_a_report(folder: Path) -> None:
    """``docs/report.md`` shows the layout; energy terms and names of parts are left to the other pages."""
    page = set(Page(DOCS / "report.md").spans)
    report = reported("run", "lenet", "--arch", "tiny", "--set", "ub.ports=shared")
    terms = {term.name for term in terms_of(load_arch("edge"))}
    tokens = {f"token:{unit.name.lower()}" for unit in Unit}
    assert "token:UNIT" in page
    assert not set(keys(report)) - page - terms - tokens
