"""Running a sweep: what is asked for is looked up, computed by workers, and committed point by point."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.bundled import available
from accelsim.cache import code_digest
from accelsim.dse.load import load_sweep
from accelsim.dse.measures import beforehand, measured
from accelsim.dse.pool import Pool, Workers
from accelsim.dse.result import SweepResult
from accelsim.dse.space import Choice, Point, Sweep
from accelsim.dse.store import Member, Origin, Store, settled
from accelsim.dse.strategies import Costs, strategy_of
from accelsim.dse.task import FAILED, INFEASIBLE, OK, Outcome, Task, Work, perform

MEMORY = ":memory:"
SUFFIX = ".sqlite"
DIED = "it killed its process twice (out of memory, a crash of a library, or kill -9)"
TRIES = 2
"""How often a point may kill a process in which it is alone."""

_AHEAD = 2  # points handed to a pool for each worker, so that none waits for the parent


@dataclass(slots=True)
class State:
    """How far a sweep is: points of this run by where they came from."""

    total: int
    computed: int = 0
    known: int = 0  # found in the store, or known to be infeasible without being run
    infeasible: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Points that are settled."""
        return self.computed + self.known


Listener = Callable[[State], None]


def sweep(
    file: str | Path | Mapping[str, Any],
    *,
    workers: int | None = None,
    store: str | Path | None = None,
    scheduler: str | None = None,
    cache: bool = True,
    retry_failed: bool = False,
    listener: Listener | None = None,
) -> SweepResult:
    """Explore the points of a sweep file (path, bundled name, or data in its layout) and return all of them.

    ``workers`` processes compute (as many as there are cores), or the dask cluster at ``scheduler``. Results are kept
    in ``store``: beside the file if not given, in memory for data. What a store already holds is not computed again,
    failed points only with ``retry_failed``. ``listener`` is called after every point. Raises ConfigErrors with every
    mistake before any work starts, ConfigError when the store cannot be written, MissingExtraError.
    """
    plan = load_sweep(file)
    strategy_of(plan)  # without its library nothing need be begun
    pool = Pool(workers, scheduler)
    target = store if store is not None else default_store(plan)
    with Store(target) as opened:
        _Run(plan, opened, pool, cache, retry_failed, listener or (lambda _: None)).run()
        return SweepResult.of(opened)


def default_store(plan: Sweep) -> str:
    """Beside the sweep file; in the current folder for a bundled one, in memory for data."""
    if not plan.path:
        return MEMORY
    path = Path(plan.path)
    bundled = path in available("sweeps").values()
    return str((Path() if bundled else path.parent) / (path.stem + SUFFIX))


def versions(plan: Sweep) -> dict[str, Any]:
    """What a point was computed with."""
    return {
        "accelsim": version("accelsim"), "code": code_digest()[:16], "python": platform.python_version(),
        "numpy": np.__version__, "seed": plan.strategy.seed,
    }  # fmt: skip


@dataclass(slots=True)
class _Run:
    """One run of a sweep over its store."""

    plan: Sweep
    store: Store
    pool: Pool
    cache: bool
    retry_failed: bool
    listener: Listener
    work: Work = perform
    state: State = field(default_factory=lambda: State(0))
    _numbers: dict[Choice, int] = field(default_factory=dict)
    _costs: dict[Choice, Costs | None] = field(default_factory=dict)
    _verified: int = 0
    _versions: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Ask and tell until the strategy has seen enough."""
        plan, strategy = self.plan, strategy_of(self.plan)
        self.state = State(strategy.total)
        about = {
            "axes": [axis.keys for axis in plan.axes], "derived": [key for key, _ in plan.derived],
            "objectives": [f"{o.word} {o.name}" for o in plan.objectives],
        }  # fmt: skip
        self.store.begin(plan.digest, plan.name, plan.text, about)
        self._versions = versions(plan)
        with _Crew(self.pool, self.work) as crew:
            while choices := strategy.ask():
                fresh = [choice for choice in dict.fromkeys(choices) if choice not in self._costs]
                self._generation(fresh, crew)
                strategy.tell([self._costs[choice] for choice in choices])

    def _generation(self, choices: Sequence[Choice], crew: _Crew) -> None:
        """Settle some points: from the store, by their constraints, or by workers."""
        tasks: dict[str, tuple[Task, list[Point]]] = {}
        for choice in choices:
            self._numbers[choice] = len(self._numbers)
            point = self.plan.point(choice)
            verify = self._verifies(point)
            outcome = None if point.reason else self.store.outcome(point.key)
            if point.key in tasks:
                tasks[point.key][1].append(point)
            elif point.reason or settled(outcome, verify=verify, retry_failed=self.retry_failed):
                self._settle([point], outcome, None)
            else:
                assert point.arch is not None, "a point without a machine has a reason"
                tasks[point.key] = (
                    Task(
                        key=point.key, workload=point.workload, arch=point.arch, batch=point.batch,
                        objective=point.objective, verify=verify, cache=self.cache,
                    ),
                    [point],
                )  # fmt: skip

        def arrived(outcome: Outcome) -> None:
            task, points = tasks[outcome.key]
            self._settle(points, outcome, self._origin(task))

        crew.compute(_neighbours(task for task, _ in tasks.values()), arrived)

    def _verifies(self, point: Point) -> bool:
        """Points spread evenly over those that can be run: whenever fewer were chosen than are due by now."""
        wanted, number = self.plan.verify, self._numbers[point.choice]
        due = -(-(number + 1) * wanted // self.state.total)
        if point.reason or self._verified >= min(wanted, due):
            return False
        self._verified += 1
        return True

    def _origin(self, task: Task) -> Origin:
        return Origin(
            workload=task.workload.name, digest=task.workload.digest, batch=task.batch, objective=task.objective,
            arch=task.arch.to_dict(), arch_hash=task.arch.full_hash, versions=self._versions,
        )  # fmt: skip

    def _settle(self, points: Sequence[Point], outcome: Outcome | None, origin: Origin | None) -> None:
        """Commit points that share an outcome."""
        members = [self._member(point, outcome) for point in points]
        self.store.put(members, self.plan.digest, outcome, origin)
        for point, member in zip(points, members):
            row = {**member.known, **measured((outcome.totals if outcome else None) or {})}
            costs = [objective.cost(row) for objective in self.plan.objectives]
            whole = tuple(cost for cost in costs if cost is not None)
            self._costs[point.choice] = whole if member.status == OK and len(whole) == len(costs) else None
            state = self.state
            state.computed += origin is not None
            state.known += origin is None
            state.infeasible += member.status == INFEASIBLE
            state.failed += member.status == FAILED
        self.listener(self.state)

    def _member(self, point: Point, outcome: Outcome | None) -> Member:
        known = beforehand(point.arch) if point.arch is not None else {}
        status, reason = INFEASIBLE, point.reason
        if outcome is not None and not reason:
            status, reason = outcome.status, outcome.reason
            if status == OK and point.arch is not None:
                reason = self.plan.broken({**known, **measured(outcome.totals or {})}, point.arch, point.settings)
                status = INFEASIBLE if reason else OK
        return Member(
            number=self._numbers[point.choice], key=point.key, workload=point.workload.name, batch=point.batch,
            objective=point.objective, settings=point.settings, status=status, reason=reason, known=known,
        )  # fmt: skip


def _neighbours(tasks: Iterable[Task]) -> list[Task]:
    """The tasks with those together that share most: one network on machines of one shape, in the order of the first.
    """
    groups: dict[object, list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.workload, task.batch, task.objective, task.arch.shape_hash), []).append(task)
    return list(chain.from_iterable(groups.values()))


class _Crew:
    """Workers that are opened when first needed, and anew when one has died."""

    def __init__(self, pool: Pool, work: Work) -> None:
        self._pool, self._work = pool, work
        self._stack = ExitStack()
        self._workers: Workers | None = None

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def compute(self, tasks: Sequence[Task], arrived: Callable[[Outcome], None]) -> None:
        """Every task's outcome, as they come. When a process dies, what it may have worked on is tried again, one at
        a time, so that only a point that kills its own process is given up.
        """
        waiting = deque(tasks)
        while waiting:
            suspects = self._together(waiting, arrived)
            for task in suspects:
                arrived(self._alone(task))

    def _together(self, waiting: deque[Task], arrived: Callable[[Outcome], None]) -> list[Task]:
        """Work until nothing waits; returns the tasks that were under way when a process died."""
        running: dict[Future[Outcome], Task] = {}
        while waiting or running:
            workers = self._open()
            try:
                while waiting and len(running) < _AHEAD * workers.count:
                    running[workers.executor.submit(self._work, waiting[0])] = waiting[0]
                    waiting.popleft()
            except (BrokenProcessPool, OSError):  # a pool that is breaking may have closed its pipes already
                return self._survived(running, arrived)
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenProcessPool) for future in finished):
                return self._survived(running, arrived)
            for future in finished:
                arrived(_outcome(running.pop(future), future))
        return []

    def _survived(self, running: dict[Future[Outcome], Task], arrived: Callable[[Outcome], None]) -> list[Task]:
        """Take what was finished before the pool broke; returns the rest."""
        self._close()
        wait(running)
        suspects = []
        for future, task in running.items():
            if isinstance(future.exception(), BrokenProcessPool):
                suspects.append(task)
            else:
                arrived(_outcome(task, future))
        return suspects

    def _alone(self, task: Task) -> Outcome:
        """A task that may have killed its process, with nothing beside it: retried once if it does."""
        for _ in range(TRIES):
            try:
                return _outcome(task, self._open().executor.submit(self._work, task))
            except (BrokenProcessPool, OSError):
                self._close()
        return Outcome(key=task.key, status=FAILED, reason=DIED)

    def _open(self) -> Workers:
        if self._workers is None:
            self._workers = self._stack.enter_context(self._pool.open())
        return self._workers

    def _close(self) -> None:
        self._stack.close()
        self._stack, self._workers = ExitStack(), None


def _outcome(task: Task, future: Future[Outcome]) -> Outcome:
    """What a worker returned; what an executor raised instead (a cluster that lost its worker) is a reason."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]
        return Outcome(key=task.key, status=FAILED, reason=f"{type(error).__name__}: {first}")
