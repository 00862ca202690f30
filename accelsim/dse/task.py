"""One point in a worker process: compiled and timed, on request also run with values; never an exception."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from accelsim.arch import Arch
from accelsim.cache import Cache
from accelsim.dse.space import Workload
from accelsim.errors import AccelsimError, CapacityError, ConfigError, GraphError
from accelsim.execution import run_time
from accelsim.job import Clock, Job, compile_for
from accelsim.networks import open_network
from accelsim.nn.facts import LayerFacts, NetworkFacts, layer_facts, network_facts
from accelsim.nn.graph import QGraph
from accelsim.nn.loader import Network
from accelsim.prepared import Prepared

OK, INFEASIBLE, FAILED = "ok", "infeasible", "failed"

_LAYER_KEYS = (
    "name", "kind", "host", "cycles", "macs", "utilization", "bound_cycles", "bound_by", "dram_read_bytes",
    "dram_write_bytes", "energy_pj", "packing", "cycle_split", "verdict",
)  # fmt: skip
_reading = threading.Lock()  # a cluster's worker may be several threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker gets: everything it needs but the workload's files. ``verify``: also values and golden model."""

    key: str
    workload: Workload
    arch: Arch
    batch: int
    objective: str
    verify: bool
    cache: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a point: a status, with a reason unless it is ``ok``; ``seconds`` is the processor time it took."""

    key: str
    status: str
    reason: str = ""
    totals: dict[str, Any] | None = None
    layers: list[dict[str, Any]] | None = None
    bit_exact: bool | None = None
    program_hash: str | None = None
    seconds: float = 0.0


def perform(task: Task) -> Outcome:
    """The outcome of a point. Whatever goes wrong becomes a reason, so that a sweep goes on."""
    start = time.thread_time()
    try:
        report = _report(task)
    except (CapacityError, GraphError) as error:
        return Outcome(key=task.key, status=INFEASIBLE, reason=str(error), seconds=time.thread_time() - start)
    except AccelsimError as error:
        return Outcome(key=task.key, status=FAILED, reason=str(error), seconds=time.thread_time() - start)
    except MemoryError:
        reason = "too large for the memory of this computer"
        return Outcome(key=task.key, status=FAILED, reason=reason, seconds=time.thread_time() - start)
    except Exception as error:  # a bug of ours at one point must not cost the others
        reason = f"accelsim has a bug: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Outcome(key=task.key, status=FAILED, reason=reason, seconds=time.thread_time() - start)
    layers = [{name: row[name] for name in _LAYER_KEYS} for row in report["layers"]]
    return Outcome(
        key=task.key, status=OK, totals=report["totals"], layers=layers, bit_exact=report["bit_exact"],
        program_hash=report["program_hash"], seconds=time.thread_time() - start,
    )  # fmt: skip


def _report(task: Task) -> dict[str, Any]:
    network, graph = _network(task.workload)
    cache = Cache() if task.cache else None
    job = Job(network, task.workload.name, task.arch, task.batch, task.objective, cache, Clock())
    if task.verify:
        return job.values(network.feeds(task.batch), "cycle").report
    compiled = compile_for(graph, task.arch, task.batch, task.objective, job.cache, time_only=True)
    layers, whole = _facts(task.workload, task.batch)
    prepared = Prepared(
        program=compiled.program, program_hash="", packing=compiled.packing, fused=compiled.fused, facts=layers,
        network=whole, constants=False,
    )  # fmt: skip
    trace = run_time(compiled.program, task.arch, "cycle")
    return job.report(prepared, trace, "cycle", timing_only=True)


def _network(workload: Workload) -> tuple[Network, QGraph]:
    """A network and its int8 form, read once in a process."""
    with _reading:
        return _read(workload)


@lru_cache(maxsize=8)
def _read(workload: Workload) -> tuple[Network, QGraph]:
    network = open_network(workload.path)
    if network.digest() != workload.digest:
        raise ConfigError(workload.path, "", "the workload is not the one that the sweep began with")
    return network, network.quantize()


@lru_cache(maxsize=64)
def _facts(workload: Workload, batch: int) -> tuple[tuple[LayerFacts, ...], NetworkFacts]:
    graph = _network(workload)[1]
    return layer_facts(graph, batch), network_facts(graph, batch)


Work = Callable[[Task], Outcome]
