"""Which points are looked at, and in which order: the whole grid, a sample of it, or a search.

A strategy is asked for choices and told what came of them, generation by generation. It sees no clock and no
process, so that any number of workers gives the same points; started again, it asks for the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, Protocol

from accelsim.dse.space import Choice, Sweep
from accelsim.errors import MissingExtraError

CHUNK = 1000
"""Points of a grid asked for at a time."""

POPULATION = {"nsga2": 20, "tpe": 8}
STARTUP_TRIALS = 24
MOST_ASKED = 40
"""A search ends when it has asked this many times for every point it may look at: it only repeats itself."""

Costs = tuple[float, ...]
"""What is minimised, one number per objective."""


class Strategy(Protocol):
    """Ask, compute, tell, until nothing is asked for."""

    def ask(self) -> list[Choice]:
        """The next choices; empty at the end. A choice may come again."""
        ...

    def tell(self, costs: Sequence[Costs | None]) -> None:
        """What came of the choices asked for last, in their order; None for one that cannot be compared."""
        ...

    @property
    def total(self) -> int:
        """Distinct points that will be looked at, at most."""
        ...


def strategy_of(sweep: Sweep) -> Strategy:
    """The strategy of a sweep. Raises MissingExtraError for a search without the extra ``dse``."""
    match sweep.strategy.kind:
        case "random":
            return Listed(sweep, _sample(sweep))
        case "nsga2" | "tpe":
            return Search(sweep)
    return Listed(sweep, range(sweep.size))


def _sample(sweep: Sweep) -> list[int]:
    """Distinct points in random order."""
    wanted = min(sweep.strategy.points or sweep.size, sweep.size)
    return random.Random(sweep.strategy.seed).sample(range(sweep.size), wanted)


class Listed:
    """Points that are known beforehand, by number."""

    def __init__(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        self._sweep, self._count = sweep, len(numbers)
        self._numbers: Iterator[int] = iter(numbers)

    def ask(self) -> list[Choice]:
        return [self._sweep.choice(number) for number in islice(self._numbers, CHUNK)]

    def tell(self, costs: Sequence[Costs | None]) -> None:
        pass

    @property
    def total(self) -> int:
        return self._count


class Search:
    """Optuna's NSGA-II or TPE by ask and tell, in generations of a fixed size.

    Points it asks for again cost nothing, so only distinct ones count. An axis of numbers is searched by position, an
    axis of words or linked keys by value.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._optuna = optuna()
        self._sweep = sweep
        own = sweep.strategy
        self._size = own.population or POPULATION[own.kind]
        self._points = min(own.points or sweep.size, sweep.size)
        self._study = self._optuna.create_study(
            directions=["minimize"] * len(sweep.objectives), sampler=self._sampler(own.kind, own.seed)
        )
        self._seen: set[Choice] = set()
        self._asked: list[tuple[Any, Choice]] = []
        self._rounds = 0

    def _sampler(self, kind: str, seed: int) -> Any:
        samplers = self._optuna.samplers
        if kind == "nsga2":
            return samplers.NSGAIISampler(population_size=self._size, seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)

    @property
    def total(self) -> int:
        return self._points

    def ask(self) -> list[Choice]:
        self._rounds += 1
        if len(self._seen) >= self._points or self._rounds * self._size > MOST_ASKED * self._points:
            return []
        self._asked = []
        for _ in range(self._size):
            trial = self._study.ask()
            choice = self._choice(trial)
            if choice not in self._seen and len(self._seen) >= self._points:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                continue
            self._seen.add(choice)
            self._asked.append((trial, choice))
        return [choice for _, choice in self._asked]

    def _choice(self, trial: Any) -> Choice:
        sweep = self._sweep
        places = [trial.suggest_int("workload", 0, len(sweep.workloads) - 1)]
        for axis in sweep.axes:
            count = len(axis.values)
            if axis.ordered and len(axis.keys) == 1:
                places.append(trial.suggest_int(axis.name, 0, count - 1))
            else:
                places.append(trial.suggest_categorical(axis.name, list(range(count))))
        return tuple(places)

    def tell(self, costs: Sequence[Costs | None]) -> None:
        for (trial, _), cost in zip(self._asked, costs, strict=True):
            if cost is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, list(cost))


def optuna() -> Any:
    """The library, quiet. Raises MissingExtraError."""
    try:
        library = import_module("optuna")
    except ImportError:
        raise MissingExtraError("this strategy", "dse") from None
    library.logging.set_verbosity(library.logging.ERROR)
    return library
