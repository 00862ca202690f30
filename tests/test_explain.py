"""``accelsim explain`` and ``accelsim diff``: what they say is what reports and repeated runs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import accelsim
from accelsim.advisor import explain
from accelsim.compare import COLUMNS, compare
from accelsim.errors import ConfigError
from accelsim.explain import Change, Explanation, standard_changes, try_changes
from accelsim.machine_file import load_arch
from tests.command_line import accelsim as command


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return accelsim.run("lenet", timing_only=True).report


@pytest.fixture(scope="module")
def explained(report: dict[str, Any]) -> Explanation:
    return explain(report, tries={"alu.latency": 40})


# --------------------------------------------------------------------------------------------- what is said


def test_every_effect_is_a_run_with_that_change(explained: Explanation) -> None:
    names = [effect.change.name for effect in explained.effects]
    assert names[0] == "2x DRAM bandwidth"
    assert names[-1] == "alu.latency=40"
    for effect in (explained.effects[0], explained.effects[-1]):
        again = accelsim.run("lenet", set=dict(effect.change.settings), timing_only=True).report
        assert effect.cycles == again["totals"]["cycles"]
        assert effect.layers == {row["name"]: row["cycles"] for row in again["layers"]}


def test_the_advice_saves_most(explained: Explanation, report: dict[str, Any]) -> None:
    rows = {row["name"]: row["cycles"] for row in report["layers"]}
    for layer in (None, *rows):
        before = report["totals"]["cycles"] if layer is None else rows[layer]
        after = [effect.cycles if layer is None else effect.layers[layer] for effect in explained.effects]
        saved = max(before - cycles for cycles in after if cycles is not None)
        found = explained.best(layer)
        if found is None:
            assert saved < max(1, before / 100)
        else:
            assert found[1] == saved
            assert saved >= before / 100


def test_the_text_says_what_the_report_says(explained: Explanation, report: dict[str, Any]) -> None:
    text = "\n".join(explained.lines())
    assert f"{report['totals']['cycles']:,} cycles" in text
    for row in report["layers"]:
        if row["cycles"]:
            assert f"{row['name']} ({row['kind']}): {row['cycles']:,} cycles" in text
            assert row["verdict"] in text
    assert "alu.latency=40" in text
    assert "follows conv1 strip by strip" in text  # pool1
    assert "packing row+column x2" in text  # conv1, as in the report


def test_one_layer_is_told_alone(explained: Explanation) -> None:
    text = "\n".join(explained.lines("fc1"))
    assert text.startswith("fc1 (fc): ")
    assert "bound by weight traffic" in text
    assert "changes tried, fc1:" in text
    assert "conv1" not in text
    data = explained.to_dict("fc1")
    assert [row["name"] for row in data["layers"]] == ["fc1"]
    assert data["layers"][0]["choices"]


def test_what_cannot_be_run_has_its_reason() -> None:
    arch = load_arch("tiny")

    def run(machine: Any) -> dict[str, Any]:
        return accelsim.run("lenet", arch=machine, timing_only=True).report

    changes = [Change(name="no UB", settings={"ub.size": 16}), Change(name="odd", settings={"wgt.size": 6})]
    effects = try_changes(arch, changes, run)
    assert [effect.cycles for effect in effects] == [None, None]
    assert "the machine has 16" in effects[0].reason
    assert "wgt.size" in effects[1].reason
    told = Explanation(report=run(arch), effects=effects, choices={})
    assert told.best() is None
    assert "cannot be run: " in "\n".join(told.lines())
    assert told.to_dict()["changes"][0]["cycles"] is None


def test_every_standard_change_doubles_what_it_names() -> None:
    for name in ("tiny", "edge", "vta_like", "gemmini"):  # tpu_v1 is as large as an array may be
        arch = load_arch(name)
        for change in standard_changes(arch):
            other = arch.replace(change.settings)
            sizes = {
                "UB": (arch.ub_bytes, other.ub_bytes), "WGT": (arch.wgt_bytes, other.wgt_bytes),
                "ACC": (arch.acc_bytes, other.acc_bytes), "PARAM": (arch.param_bytes, other.param_bytes),
                "rows": (arch.array.rows, other.array.rows), "columns": (arch.array.cols, other.array.cols),
                "bandwidth": (arch.dram_bytes_per_cycle, other.dram_bytes_per_cycle),
            }  # fmt: skip
            named = {word for word in sizes if word in change.name.split()}
            assert named
            for word, (before, after) in sizes.items():
                assert after == (2 * before if word in named else before), (name, change.name, word)


def test_a_slow_device_gets_twice_its_channels() -> None:
    arch = load_arch("edge", {"dram.kind": "banked", "dram.peak": 10**9})
    faster = arch.replace(standard_changes(arch)[0].settings)
    assert faster.dram_bytes_per_cycle == 2 * arch.dram_bytes_per_cycle


@pytest.mark.slow
def test_alexnet_is_explained_and_the_advice_confirmed() -> None:
    report = accelsim.run("alexnet", timing_only=True).report
    found = explain(report)
    assert "bound by weight traffic" in found.row("fc6")["verdict"]
    assert found.row("conv2")["verdict"].startswith("bound by the array")
    for layer, change in (("fc6", "2x DRAM bandwidth"), ("conv2", "2x rows and columns of the array")):
        best = found.best(layer)
        assert best is not None
        assert best[0].change.name.startswith(change)
        again = accelsim.run("alexnet", set=dict(best[0].change.settings), timing_only=True, cache=False)
        cycles = {row["name"]: row["cycles"] for row in again.rows}
        assert cycles[layer] == found.row(layer)["cycles"] - best[1] < found.row(layer)["cycles"]


# ------------------------------------------------------------------------------------------- command line


def test_the_command_explains_a_result_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("run", "lenet", "--arch", "tiny", "--timing-only", "--out", "r", "--json", "r.json").exit_code == 0
    texts = []
    for result in ("r", "r.json"):
        got = command("explain", result, "conv2", "--json", "e.json")
        assert got.exit_code == 0, got.output
        texts.append(got.output)
        data = json.loads(Path("e.json").read_text(encoding="utf-8"))
        assert data["layers"][0]["name"] == "conv2"
        assert len(data["changes"]) == 7
    assert texts[0] == texts[1]


@pytest.mark.parametrize("file", ["report.json", "machine.yaml", "program.npz", "outputs.npz"])
def test_no_file_of_a_result_is_written_over(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("run", "lenet", "--out", "r").exit_code == 0
    before = Path("r", file).read_bytes()
    for arguments in (["explain", "r"], ["diff", "r", "r"]):
        got = command(*arguments, "--json", f"r/{file}")
        assert (got.exit_code, f"{file} would be written over" in got.output) == (2, True), got.output
    assert Path("r", file).read_bytes() == before


def test_a_workload_is_run_first() -> None:
    got = command("explain", "lenet", "fc3", "--arch", "tiny", "--set", "dram.latency=3", "--try", "dram.latency=300")
    assert got.exit_code == 0, got.output
    assert got.output.startswith("fc3 (fc): ")
    assert "dram.latency=300" in got.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.json"], "there is no such result"),
        (["nothing"], "nothing"),
        (["r.json", "conv9"], "lenet has no such layer (did you mean"),
        (["r.json", "--arch", "tiny"], "--arch is for a workload"),
        (["r.json", "--set", "array.rows=8"], "--set is for a workload"),
        (["r.json", "--workload", "decode_gemv"], "is not the network of this result, lenet"),
        (["r.json", "--try", "array.rwos=8"], "array.rwos"),
        (["r.json", "--json", "r.json"], "would be written over"),
        (["lenet", "--workload", "lenet"], "--workload is for a RESULT"),
    ],
)
def test_wrong_input_is_refused(
    report: dict[str, Any], arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.json").write_text(json.dumps(report), encoding="utf-8")
    got = command("explain", *arguments)
    assert got.exit_code == 2, got.output
    assert text in got.output


def test_a_report_of_another_version_is_refused(report: dict[str, Any]) -> None:
    other = json.loads(json.dumps(report))
    other["totals"]["cycles"] += 1
    with pytest.raises(ConfigError, match=r"takes 8,926 cycles, not the 8,927 of this result"):
        explain(other)
    with pytest.raises(ConfigError, match="no time was simulated"):
        explain(accelsim.run("lenet", arch="tiny", level="functional").report)


# --------------------------------------------------------------------------------------------------- diff


def test_a_comparison_holds_both_sides_and_their_ratio(report: dict[str, Any]) -> None:
    other = accelsim.run("lenet", set={"dram.latency": 50}, timing_only=True).report
    found = compare(report, other)
    assert found["machine"] == {"dram.latency": [100, 50]}
    assert found["options"] == {}
    cycles = found["totals"]["cycles"]
    assert cycles == {
        "a": report["totals"]["cycles"], "b": other["totals"]["cycles"],
        "ratio": other["totals"]["cycles"] / report["totals"]["cycles"],
    }  # fmt: skip
    for one, two, both in zip(report["layers"], other["layers"], found["layers"], strict=True):
        assert both["name"] == one["name"]
        for column in COLUMNS:
            assert (both[column]["a"], both[column]["b"]) == (one[column], two[column])


def test_layers_of_either_side_are_there(report: dict[str, Any]) -> None:
    shorter = {**report, "layers": report["layers"][1:]}
    found = compare(report, shorter)
    assert found["layers"][0]["cycles"] == {"a": report["layers"][0]["cycles"], "b": None, "ratio": None}
    assert compare(shorter, report)["layers"][-1]["cycles"]["a"] is None
    same = compare(report, report)
    assert same["machine"] == {}
    assert {pair["ratio"] for name, pair in same["totals"].items() if pair["a"]} == {1.0}


def test_the_command_compares_two_results(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(report), encoding="utf-8")
    assert command("run", "lenet", "--arch", "tiny", "--timing-only", "--out", "b").exit_code == 0
    got = command("diff", "a.json", "b", "--json", "d.json")
    assert got.exit_code == 0, got.output
    assert "array.rows: 16 -> 4" in got.output
    assert "conv1" in got.output
    assert json.loads(Path("d.json").read_text(encoding="utf-8"))["b"] == "lenet on tiny"
    missing = command("diff", "a.json", "c")
    assert missing.exit_code == 2
    assert "there is no such result" in missing.output
