"""Compiled bundled networks, each compiled once per test process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from accelsim.arch import Arch
from accelsim.compiler.pipeline import compile_network
from accelsim.hw.machine import simulate
from accelsim.isa.effects import tasks
from accelsim.isa.program import Program
from accelsim.isa.protocol import Task
from accelsim.machine_file import load_arch
from accelsim.nn.graph import QGraph
from accelsim.runner import open_network
from accelsim.trace import Trace

NAMES = ("tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1")
WORKLOADS = ("lenet", "lenet_tanh")
VARIANTS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("array.dataflow", "os"),),
    (("array.weights", "single"),),
    (("array.overlap", "none"),),
    (("array.dataflow", "os"), ("array.weights", "single")),
    (("array.dataflow", "os"), ("array.overlap", "none")),
)
"""Other arrays than the shipped machines', as settings."""

CASES = [
    *((workload, name, (), batch) for workload in WORKLOADS for name in NAMES for batch in (1, 4)),
    *(("lenet", name, variant, 1) for name in ("tiny", "edge") for variant in VARIANTS),
]
"""(workload, machine, settings, batch)."""


@dataclass(frozen=True)
class Case:
    """A network compiled for a machine, and its run in time."""

    graph: QGraph
    arch: Arch
    program: Program
    tasks: tuple[Task, ...]
    trace: Trace


@cache
def quantized(workload: str) -> QGraph:
    return open_network(workload).quantize()


@cache
def case(workload: str, name: str, settings: tuple[tuple[str, object], ...] = (), batch: int = 1) -> Case:
    graph, arch = quantized(workload), load_arch(name, dict(settings))

    def cycles(program: Program) -> int:
        return simulate(tasks(program, arch), arch).cycles

    program = compile_network(graph, arch, batch=batch, evaluate=cycles).program
    work = tasks(program, arch)
    return Case(graph, arch, program, work, simulate(work, arch))
