"""What a page holds, without a browser: complete, self-contained, the same for the same run, and true."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import accelsim
from accelsim.errors import ConfigError
from accelsim.isa.instructions import members
from accelsim.isa.protocol import Unit
from accelsim.isa.text import format_instruction
from accelsim.page import Run, page, save_page
from accelsim.result import Result
from tests.command_line import accelsim as command
from tests.command_line import written
from tests.page.reading import Page, unpacked

LIMIT_BYTES = 3_000_000
FUSED = """\
schema: 1
name: small
input: {shape: [8, 8, 3]}
layers:
  - {name: conv, kind: conv, channels: 5, kernel: 3}
  - {name: act, kind: relu}
  - {name: pool, kind: maxpool, kernel: 2}
"""


def as_run(result: Result, source: str = "") -> Run:
    return Run(report=result.report, program=result.program, trace=result.timed, arch=result.arch, source=source)


@pytest.fixture(scope="module")
def lenet() -> Result:
    return accelsim.run("lenet", arch="tiny")


@pytest.fixture(scope="module")
def alexnet() -> Result:
    return accelsim.run("alexnet", timing_only=True)


@pytest.fixture(scope="module")
def folder(lenet: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three saved results: lenet on two machines, and a run without time."""
    place = tmp_path_factory.mktemp("results")
    lenet.save(place / "tiny")
    accelsim.run("lenet", arch="edge", batch=2).save(place / "edge")
    accelsim.run("lenet", arch="tiny", level="functional").save(place / "values")
    return place


@pytest.fixture(scope="module")
def lenet_page(lenet: Result) -> str:
    return page([as_run(lenet)])


@pytest.fixture(scope="module")
def alexnet_page(alexnet: Result) -> str:
    return page([as_run(alexnet)])


@pytest.fixture(scope="module")
def mixed_page(lenet: Result, alexnet: Result) -> str:
    return page([as_run(lenet), as_run(alexnet)])


@pytest.fixture(params=["lenet", "alexnet"])
def shown(request: pytest.FixtureRequest) -> tuple[Result, str]:
    """A result and its page."""
    return request.getfixturevalue(request.param), request.getfixturevalue(f"{request.param}_page")


# ------------------------------------------------------------------------------------------- self-contained


def check_alone(text: str) -> Page:
    """Nothing outside the file is named where a browser would look for it."""
    found = Page(text)
    for tag, target in found.references:
        inside = target.startswith("#") or (tag == "link" and target == "data:,")
        assert inside, f"{tag} refers to {target}"
        if target.startswith("#"):
            assert target[1:] in found.ids
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    for style in found.styles:
        assert not re.search(r"@import|url\((?!['\"]?#)", style), style
    assert not {"iframe", "object", "embed", "img", "audio", "video", "base"} & set(found.tags)
    assert re.findall(r"\b(?:https?|ftp|wss?|file):", text) == []
    assert "default-src 'none'" in text  # and a browser would refuse to fetch what is overlooked here
    return found


def test_a_page_stands_alone(shown: tuple[Result, str]) -> None:
    found = check_alone(shown[1])
    assert found.tags.count("svg") == 4
    assert [kind for kind, _ in found.scripts] == ["application/json", None]
    program = found.scripts[1][1]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\s*\(|\beval\b", program)


def test_alexnet_is_small(alexnet: Result, alexnet_page: str) -> None:
    assert len(alexnet.program.instructions) > 4000
    assert len(alexnet_page.encode()) < LIMIT_BYTES
    (run,) = Page(alexnet_page).data
    assert len(run["columns"]) < 10 * len(alexnet.program.instructions)


def test_the_same_run_gives_the_same_bytes(lenet: Result, lenet_page: str, tmp_path: Path) -> None:
    again = accelsim.run("lenet", arch="tiny")
    assert again.report["host"] != lenet.report["host"]
    again.html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == lenet_page.encode()


# ------------------------------------------------------------------------------------------------- timeline


def givers(result: Result) -> Iterator[int | None]:
    """Who gave each instruction the token that came last: the n-th of a pair goes to the n-th that waits for it."""
    given: defaultdict[tuple[Unit, Unit], deque[int]] = defaultdict(deque)
    for index, instr in enumerate(result.program.instructions):
        met = {giver: given[giver, instr.unit].popleft() for giver in members(instr.wait)}
        yield max(met.values(), key=lambda source: result.timed.landed[source]) if met else None
        for taker in members(instr.signal):
            given[instr.unit, taker].append(index)


def test_the_timeline_is_the_trace(shown: tuple[Result, str]) -> None:
    result, text = shown
    program, trace = result.program, result.timed
    (run,) = Page(text).data
    found = unpacked(run)
    assert found.asm == [format_instruction(instr) for instr in program.instructions]
    assert found.tile == list(program.tile_of)
    assert found.layer == [program.layers[number] if number >= 0 else "" for number in program.layer_of]
    assert found.accepted == trace.accepted.tolist()
    assert found.landed == trace.landed.tolist()
    assert found.spans == [
        (unit.name.lower(), span.index, span.start, span.stop, span.wait) for unit in Unit for span in trace.spans(unit)
    ]
    assert run["ends"] == trace.layer_ends(program.layer_of, len(program.layers)).tolist()
    for index, (told, wanted) in enumerate(zip(found.giver, givers(result), strict=True)):
        if told != wanted:  # two tokens that came in one cycle
            assert told is not None
            assert wanted is not None
            assert trace.landed[told] == trace.landed[wanted], index


# --------------------------------------------------------------------------------------------------- tables


def test_a_layer_has_its_row(shown: tuple[Result, str]) -> None:
    result, text = shown
    table = Page(text).table("Layers")
    place = {name: number for number, name in enumerate(table.head)}
    assert [row[place["layer"]] for row in table.body] == [row["name"] for row in result.rows]
    for cells, keys, row in zip(table.body, table.keys, result.rows):
        assert cells[place["kind"]] == row["kind"]
        for head, key in (("cycles", "cycles"), ("MACs", "macs"), ("bound", "bound_cycles"),
                          ("read B", "dram_read_bytes"), ("written B", "dram_write_bytes")):  # fmt: skip
            assert cells[place[head]] == f"{row[key]:,}"
            assert keys[place[head]] == str(row[key])
        assert cells[place["util %"]] == f"{100 * row['utilization']:.1f}"
        assert cells[place["verdict"]] == (row["verdict"] or "-")
        assert cells[place["packing"]] == (row["packing"] or "-")
        assert keys[place["% energy"]] == str(row["energy_percent"])
    assert table.foot[0][place["cycles"]] == f"{result.report['totals']['cycles']:,}"


def test_the_summary_says_what_the_report_says(lenet: Result, lenet_page: str) -> None:
    text = " ".join(Page(lenet_page).texts)
    totals = lenet.report["totals"]
    for part in (
        "lenet, 1 image", "tiny: 4x4 ws, 500 MHz", f"{totals['cycles']:,} = ",
        f"{totals['cycles'] / totals['bound_cycles']:.2f}x the bound of {totals['bound_cycles']:,} cycles",
        f"{100 * totals['utilization']:.1f} % of the array's peak", "PASS: every value equals the golden model",
        lenet.report["arch_hash"], lenet.report["program_hash"], lenet.report["accelsim"],
        "accelsim run lenet --arch machine.yaml (", "bytes_per_cycle: 4",
    ):  # fmt: skip
        assert part in text


def test_units_tell_their_waits(lenet: Result, lenet_page: str) -> None:
    table = Page(lenet_page).table("Units: cycles busy, and waiting by reason")
    for cells in table.body:
        unit = lenet.report["units"][cells[0]]
        told = dict(zip(table.head[3:], (int(cell.replace(",", "")) for cell in cells[3:]), strict=True))
        assert {name: cycles for name, cycles in told.items() if cycles} == unit["wait_cycles"]
        assert cells[1] == f"{unit['busy_cycles']:,}"


def test_a_fused_layer_names_its_host(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FUSED, encoding="utf-8")
    result = accelsim.run(tmp_path / "small.yaml", arch="tiny")
    assert [row["host"] for row in result.rows] == [None, "conv", None]
    table = Page(page([as_run(result)])).table("Layers")
    assert [row[1] for row in table.body] == ["conv", "act in conv", "pool"]
    assert table.body[1][-1] == "done in conv"


def test_a_run_that_failed_says_so(lenet: Result) -> None:
    wrong = dataclasses.replace(as_run(lenet), report={**lenet.report, "bit_exact": False})
    assert "FAIL: some values differ from the golden model" in page([wrong])


def test_names_cannot_break_out(lenet: Result, lenet_page: str) -> None:
    """Names come from files; whatever they hold, it stays text."""
    evil = "</script><!--<b \"'>&lt;"
    report: dict[str, Any] = copy.deepcopy(lenet.report)
    report["workload"] = report["arch"]["name"] = evil
    for number, row in enumerate(report["layers"]):
        row["name"] = row["packing"] = row["verdict"] = f"{evil}{number}"
    program = dataclasses.replace(lenet.program, layers=(evil,) * len(lenet.program.layers))
    run = Run(report=report, program=program, trace=lenet.timed, arch=lenet.arch, source="")
    assert Page(page([run])).outside == Page(lenet_page).outside
    hostile = Page(page([run, dataclasses.replace(run, source=evil)]))
    assert hostile.data[0]["layers"][0] == evil
    assert [row[-1] for row in hostile.table("Runs").body] == ["-", evil]
    assert hostile.table("Cycles of each layer").body[0][1] == f"{evil}0"


# ----------------------------------------------------------------------------------------------- comparison


def test_runs_are_compared_with_the_first(folder: Path, tmp_path: Path) -> None:
    done = command("report", str(folder / "tiny"), str(folder / "edge"), "-o", str(tmp_path / "both.html"))
    assert done.exit_code == 0, done.output
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    found = check_alone(text)
    first, second = (Result.load(folder / name) for name in ("tiny", "edge"))
    table = found.table("Cycles of each layer")
    assert table.head == ["#", "layer", "A", "B", "B/A"]
    for cells, one, other in zip(table.body, first.rows, second.rows, strict=True):
        ratio = f"{other['cycles'] / one['cycles']:.3f}" if one["cycles"] else "-"
        assert cells[1:] == [one["name"], f"{one['cycles']:,}", f"{other['cycles']:,}", ratio]
    totals = {row[0]: row[1:] for row in found.table("Totals").body}
    a, b = (result.report["totals"] for result in (first, second))
    assert totals["cycles"] == [f"{a['cycles']:,}", f"{b['cycles']:,}", f"{b['cycles'] / a['cycles']:.3f}"]
    assert set(totals) >= {"bound, cycles", "energy, pJ", "area, mm2", "utilisation, %", "cycles / bound"}
    differing = {row[0]: row[1:] for row in found.table("Where machines and options differ").body}
    assert differing["array.rows"] == ["4", "16"]
    assert differing["option batch"] == ["1", "2"]
    assert "array.dataflow" not in differing
    assert [row[-1] for row in found.table("Runs").body] == ["tiny", "edge"]
    assert found.tags.count("svg") == 9  # four of each run, and the rooflines of both
    assert "lenet on tiny: 4x4" in text
    assert "lenet on edge: 16x16" in text
    for run, result in zip(found.data, (first, second), strict=True):
        assert unpacked(run).landed == result.timed.landed.tolist()


def test_networks_that_differ_are_compared_where_they_meet(mixed_page: str) -> None:
    table = Page(mixed_page).table("Cycles of each layer")
    rows = {row[1]: row[2:] for row in table.body}
    assert rows["fc1"][1:] == ["-", "-"]
    assert rows["fc8"][0] == rows["fc8"][2] == "-"
    assert "-" not in rows["conv1"]


# -------------------------------------------------------------------------------------------- command line


def test_run_writes_the_page_that_report_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("run", "lenet", "--arch", "tiny", "--html", "run.html", "--out", "lenet")
    assert done.exit_code == 0, done.output
    assert command("report", "lenet", "-o", "report.html").exit_code == 0
    told = Path("report.html").read_text(encoding="utf-8")
    source = '<tr><th scope="row">result</th><td data-key="lenet">lenet</td></tr>'
    assert told.count(source) == 1
    assert told.replace(source, "") == Path("run.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["report", "nothing", "-o", "x.html"], "nothing: there is no such result"),
        (["report", "{folder}/tiny/report.json", "-o", "x.html"], "needs the folder of a result"),
        (["report", "{folder}/values", "-o", "x.html"], "no time was simulated"),
        (["report", "{folder}/tiny", "-o", "-"], "-o writes a file"),
        (["report", "{folder}/tiny"], "Missing option '-o'"),
        (["report", "-o", "x.html"], "Missing argument 'RESULT...'"),
        (["report", "{folder}/tiny", "-o", "no/x.html"], "the folder 'no' does not exist"),
        (["report", "{folder}/tiny", "-o", "{folder}/tiny/report.json"], "would be written over"),
        (["run", "lenet", "--html", "-"], "--html writes a file"),
        (["run", "lenet", "--html", "no/x.html"], "the folder 'no' does not exist"),
        (["run", "lenet", "--html", "x.html", "--level", "functional"], "leaves out; choose one"),
        (["run", "lenet", "--html", "x", "--json", "x"], "would be written over"),
        (["run", "lenet", "--html", "x.html", "--eval"], "it does not go with --html"),
    ],
)
def test_wrong_input_is_refused(
    folder: Path, arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = written(folder)
    result = command(*(argument.format(folder=folder) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert text in result.output
    assert written(tmp_path) == set()
    assert written(folder) == before


def test_a_page_appears_whole_or_not_at_all(lenet: Result, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        save_page([as_run(lenet)], tmp_path / "taken")
    with pytest.raises(ConfigError, match="cannot be written"):
        lenet.html(tmp_path / "no" / "x.html")
    assert written(tmp_path) == {"taken"}
    with pytest.raises(ValueError, match="needs a run"):
        page([])


def test_a_damaged_result_leaves_no_page(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "program.npz").write_bytes(b"PK")
    done = command("report", str(tmp_path / "tiny"), "-o", str(tmp_path / "x.html"))
    assert done.exit_code == 2
    assert "is not a complete accelsim program file" in done.output
    assert not (tmp_path / "x.html").exists()
