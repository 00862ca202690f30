"""Searches on a space of 2,000 points whose results are committed: as good as the whole grid, and repeatable."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from accelsim.dse.load import load_sweep
from accelsim.dse.pareto import hypervolume
from accelsim.dse.space import Choice, Strategy, Sweep
from accelsim.dse.strategies import Costs, strategy_of
from accelsim.dse.task import Task, perform
from tests.dse.cases import LENET
from tests.dse.test_run import run

SPACE = Path(__file__).parent / "space"
OBJECTIVES = ("cycles", "area_mm2", "energy_pj")
REFERENCE = (8_100.0, 7.0, 3_620_000.0)
"""Just beyond the worst that a point of the whole grid's front has of each."""
EVALUATIONS = 300
SEEDS = (1, 2, 3, 4, 5)


def table() -> list[dict[str, str]]:
    """What the product said of every point of ``space.yaml`` as a grid, in the order of the grid."""
    with (SPACE / "points.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def space() -> dict[Choice, Costs | None]:
    """The objectives of every point."""
    sweep = load_sweep(SPACE / "space.yaml")
    rows = table()
    assert len(rows) == sweep.size == 2000
    assert tuple(objective.name for objective in sweep.objectives) == OBJECTIVES
    return {sweep.choice(n): tuple(float(row[name]) for name in OBJECTIVES) for n, row in enumerate(rows)}


@pytest.mark.parametrize("number", [0, 383, 719, 1054, 1501, 1999])
def test_the_table_is_what_is_computed(number: int) -> None:
    """A handful of the points, anew. Where this fails because cycles have changed: run space.yaml as a grid and write
    its objectives to points.csv."""
    sweep = load_sweep(SPACE / "space.yaml")
    point = sweep.point(sweep.choice(number))
    row = table()[number]
    assert {key: str(value) for key, value in point.settings.items() if key in row}.items() <= row.items()
    assert point.arch is not None
    outcome = perform(
        Task(key="", workload=point.workload, arch=point.arch, batch=1, objective="cycles", verify=False, cache=False)
    )
    assert outcome.totals is not None
    assert outcome.totals["cycles"] == int(row["cycles"])
    for name in OBJECTIVES[1:]:
        assert outcome.totals[name] == pytest.approx(float(row[name]), rel=1e-12)


def sweep_with(kind: str, seed: int, points: int = EVALUATIONS) -> Sweep:
    plan: dict[str, Any] = vars(load_sweep(SPACE / "space.yaml"))
    return Sweep(**{**plan, "strategy": Strategy(kind=kind, points=points, seed=seed)})


def visited(kind: str, seed: int, space: dict[Choice, Costs | None]) -> list[Choice]:
    """The distinct points that a strategy looks at."""
    strategy = strategy_of(sweep_with(kind, seed))
    seen: dict[Choice, None] = {}
    while choices := strategy.ask():
        seen.update(dict.fromkeys(choices))
        strategy.tell([space[choice] for choice in choices])
    return list(seen)


def volume(choices: list[Choice], space: dict[Choice, Costs | None]) -> float:
    return hypervolume([cost for choice in choices if (cost := space[choice]) is not None], REFERENCE)


def test_nsga2_finds_nearly_all_and_more_than_chance(space) -> None:
    pytest.importorskip("optuna")
    whole = volume(list(space), space)
    found: dict[str, float] = {}
    for kind in ("nsga2", "random"):
        runs = [visited(kind, seed, space) for seed in SEEDS]
        assert all(len(choices) == EVALUATIONS for choices in runs)
        found[kind] = median(volume(choices, space) for choices in runs) / whole
    assert found["nsga2"] >= 0.98
    assert found["nsga2"] > found["random"]


@pytest.mark.parametrize("kind", ["nsga2", "tpe"])
def test_a_search_visits_the_same_points_on_any_number_of_workers(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    plan = {
        **LENET, "axes": {"array.rows": list(range(1, 17)), "dram.bytes_per_cycle": [1, 2, 3, 4]},
        "constraints": ["array.rows != 7"], "strategy": {"kind": kind, "points": 24, "seed": 3, "population": 6},
    }  # fmt: skip
    one = run(plan, tmp_path / "one.sqlite", workers=1)
    assert len(one.rows) == 24
    assert len({row["key"] for row in one.rows}) == 24

    def stop(state) -> None:
        if state.done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "two.sqlite", workers=2, listener=stop)
    assert run(plan, tmp_path / "two.sqlite", workers=2).rows == one.rows


def test_a_random_sample_is_without_repetition_and_follows_its_seed() -> None:
    samples = []
    for seed in (1, 1, 2):
        strategy = strategy_of(sweep_with("random", seed, 50))
        samples.append(strategy.ask())
        assert strategy.ask() == []
    assert samples[0] == samples[1] != samples[2]
    assert len(set(samples[0])) == 50
