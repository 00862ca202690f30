"""Reports that somebody damaged or edited are refused at the key at fault, by every command that shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import accelsim
from accelsim.cli import main
from accelsim.errors import ConfigError
from accelsim.report_reader import read_report


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    return {level: accelsim.run("lenet", arch="edge", level=level).report for level in ("cycle", "functional")}


@pytest.mark.parametrize("level", ["cycle", "functional"])
def test_whole_reports(level: str, reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(reports[level]), encoding="utf-8")
    assert read_report(path) == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda r: r["totals"].pop("cycles"), "totals.cycles: is missing"),
        (lambda r: r["layers"][0].update(cycles="many"), "layers[0].cycles: expected a number or null, got 'many'"),
        (lambda r: r["layers"][1].update(name=7), "layers[1].name: expected text, got 7"),
        (lambda r: r["layers"][0]["cycle_split"].update(array=None), "layers[0].cycle_split.array: expected a number"),
        (lambda r: r.update(layers=["conv1"]), "layers[0]: expected keys, got 'conv1'"),
        (lambda r: r["layers"].clear(), "layers: is empty"),
        (lambda r: r.update(options=None), "options: expected keys, got None"),
        (lambda r: r.update(energy=[]), "energy: expected keys or null, got list"),
        (lambda r: r["energy"]["components"].update(dram=3), "energy.components.dram: expected keys, got 3"),
        (lambda r: r.update(units=3), "units: expected keys, got 3"),
        (lambda r: r["totals"].update(bound_cycles=True), "totals.bound_cycles: expected a number, got True"),
        (lambda r: r["totals"].update(cycles=float("nan")), "is not a complete report of accelsim"),
        (lambda r: r.pop("area"), "is not a complete report of accelsim"),
    ],
)
def test_damage(
    edit: Callable[[dict[str, Any]], object], expected: str, reports: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    report = json.loads(json.dumps(reports["cycle"]))
    edit(report)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_report(path)
    assert f"{path}: {expected}" in str(caught.value)
    for command in (
        ["diff", str(path), str(path)],
        ["explain", str(path)],
        ["plot", "energy", str(path), "-o", "x.svg"],
    ):
        ran = CliRunner().invoke(main, command)
        assert (ran.exit_code, expected in ran.output) == (2, True), ran.output
