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
from tests.dse.cases import LENET
from tests.dse.test_run import run

SPACE = Path(__file__).parent / "space"
REFERENCE = (40_000.0, 40.0)
"""Cycles and mm2 that every sensible machine beats."""
EVALUATIONS = 300
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def space() -> dict[Choice, Costs | None]:
    """Cycles and mm2 of every point, None where the network does not fit."""
    sweep = load_sweep(SPACE / "space.yaml")
    if not (SPACE / "points.csv").is_file():
        pytest.skip("points.csv is not there: run space.yaml as a grid, write cycles and area_mm2 of every point")
    with (SPACE / "points.csv").open(encoding="utf-8") as file:
        rows = [
            (float(row["cycles"]), float(row["area_mm2"])) if row["cycles"] else None for row in csv.DictReader(file)
        ]
    assert len(rows) == sweep.size == 2000
    return {sweep.choice(number): row for number, row in enumerate(rows)}


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


@pytest.mark.slow
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
