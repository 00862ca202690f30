"""What comes of results: fronts, hypervolumes, sensitivity, tables, files and a plot."""

from __future__ import annotations

import csv
import io
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dse.measures import Objective
from accelsim.dse.pareto import front, hypervolume, sensitivity
from accelsim.dse.result import SweepResult
from accelsim.errors import ConfigError
from tests.command_line import accelsim
from tests.dse.cases import LENET
from tests.dse.test_run import run

points = st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=12)


@given(points)
def test_the_front_is_what_nothing_beats(costs: list[tuple[int, ...]]) -> None:
    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(x <= y for x, y in zip(a, b))

    assert front(costs) == [i for i, c in enumerate(costs) if not any(beats(o, c) for o in costs)]


@given(points, st.tuples(*[st.integers(1, 7)] * 3))
def test_the_hypervolume_counts_unit_cubes(costs: list[tuple[int, ...]], reference: tuple[int, ...]) -> None:
    cubes = product(*(range(limit) for limit in reference))
    counted = sum(any(all(a <= b for a, b in zip(cost, cube)) for cost in costs) for cube in cubes)
    assert hypervolume(costs, reference) == counted


def test_sensitivity_of_a_product_of_powers() -> None:
    """y = a * b^2, whatever c: shares are 1 : 4 : 0, ratios those of the axes alone."""
    rows = [
        {"a": a, "b": b, "c": c, "l": c, "cycles": a * b**2} for a, b, c in product((1, 2, 4), (1, 2, 4), (1, 2))
    ]
    found = {row["axis"]: row for row in sensitivity(rows, [("a",), ("b",), ("c", "l")], [Objective.parse("cycles")])}
    assert [found[axis]["share"] for axis in ("a", "b", "c+l")] == pytest.approx([0.2, 0.8, 0])
    assert [found[axis]["ratio"] for axis in ("a", "b", "c+l")] == pytest.approx([4, 16, 1])
    assert [found[axis]["groups"] for axis in ("a", "b", "c+l")] == [6, 6, 9]
    assert [found[axis]["best"] for axis in ("a", "b")] == [1, 1]
    most = sensitivity(rows, [("a",)], [Objective.parse("max cycles")])
    assert most[0]["best"] == 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up numbers of six points, one of which is infeasible."""
    path = tmp_path_factory.mktemp("results") / "s.sqlite"
    run({**LENET, "constraints": ["array.rows * dram.bytes_per_cycle < 64"]}, path)
    return path


def test_fronts_and_the_best(store: Path) -> None:
    result = SweepResult.load(store)
    assert (len(result.rows), result.count("ok"), result.count("infeasible")) == (6, 5, 1)
    front = result.pareto()
    assert [row["cycles"] for row in front] == sorted(row["cycles"] for row in front)
    assert [row["cycles"] for row in result.top(2)] == sorted(row["cycles"] for row in result.feasible)[:2]
    assert result.top(1, "max cycles")[0]["cycles"] == max(row["cycles"] for row in result.feasible)
    assert len(result.pareto(["cycles"])) == 1
    assert result.hypervolume([1000, 100.0]) > result.hypervolume([1000, 50.0]) > 0
    with pytest.raises(ConfigError, match="did you mean 'cycles'"):
        result.pareto(["cycels"])


def test_data_frames(store: Path) -> None:
    pytest.importorskip("pandas")
    result = SweepResult.load(store)
    assert list(result.points["array.rows"]) == [4, 4, 4, 8, 8, 8]
    assert len(result.layers) == 0


def test_a_plot_is_drawn_where_it_is_told(store: Path) -> None:
    from matplotlib.figure import Figure

    result, axes = SweepResult.load(store), Figure().subplots()
    assert result.plot_pareto(axes) is axes
    line, dots = axes.lines[0], axes.collections[0]
    front = result.pareto()
    assert list(line.get_xdata()) == [row["cycles"] for row in front]
    assert list(line.get_ydata()) == [row["energy_pj"] for row in front]
    assert len(dots.get_offsets()) == 5
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("cycles", "energy_pj")
    assert result.plot_pareto(objectives=["energy_pj", "cycles"]).get_xlabel() == "energy_pj"
    with pytest.raises(ConfigError, match="two objectives"):
        result.plot_pareto(objectives=["cycles"])


def table(store: Path, *options: str) -> Any:
    result = accelsim("results", str(store), *options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_commands(store: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(table(store, "--csv", "-"))))
    assert [row["status"] for row in rows].count("ok") == 5
    best = json.loads(table(store, "--top", "2", "--json", "-"))
    assert [p["cycles"] for p in best["points"]] == [row["cycles"] for row in SweepResult.load(store).top(2)]
    assert best["counts"] == {"ok": 5, "infeasible": 1, "failed": 0}
    assert "5 ok, 1 infeasible, 0 failed" in table(store)
    assert "energy_pj" in table(store, "--pareto")
    other = table(store, "--objective", "max cycles")  # also of the summary
    assert ("best by max cycles: 1 points" in other, "energy_pj" in other) == (True, False)
    unknown = accelsim("results", str(store), "--objective", "cycels")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "share %" in table(store, "--sensitivity")
    assert table(store, "--failures").count("infeasible: array.rows * dram.bytes_per_cycle < 64") == 1
    assert accelsim("results", str(store), "--pareto", "--top", "1").exit_code == 2
    assert accelsim("results", str(store), "--csv", str(store)).exit_code == 2
    assert accelsim("results", str(tmp_path / "none")).exit_code == 2
    assert not math.isnan(best["points"][0]["cycles"])


def test_the_command_runs_goes_on_and_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from accelsim.yamlio import dump_yaml

    Path("plan.yaml").write_text(dump_yaml({**LENET, "axes": {"array.rows": [4, 8]}}), encoding="utf-8")
    first = accelsim("sweep", "plan.yaml", "-j", "1")
    assert (first.exit_code, "2 points, 2 ok" in first.stdout) == (0, True)
    assert Path("plan.sqlite").is_file()
    again = accelsim("sweep", "plan", "--json", "-")
    assert json.loads(again.stdout)["counts"]["ok"] == 2
    assert "0.00/s" in again.stderr  # nothing was computed
    anew = accelsim("sweep", "plan", "--restart", "--json", "-", "-j", "1")
    assert json.loads(anew.stdout) == json.loads(again.stdout)
    assert "0.00/s" not in anew.stderr
    assert accelsim("sweep", "plan", "-j", "2", "--scheduler", "tcp://x:1").exit_code == 2


def test_failures_are_asked_for_alone_and_may_be_none(store: Path, tmp_path: Path) -> None:
    found = accelsim("results", str(store), "--failures", "--sensitivity")
    assert (found.exit_code, "--sensitivity and --failures" in found.stderr) == (2, True)
    run(LENET, tmp_path / "good.sqlite")
    assert table(tmp_path / "good.sqlite", "--failures") == "none of 6 points is infeasible or failed\n"
