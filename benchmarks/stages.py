"""CPU seconds of every stage of one run, in a process of its own: ``python stages.py WORKLOAD ARCH`` prints JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def profile(workload: str, arch: str) -> dict[str, float]:
    """Seconds by stage; ``compile`` includes its static check, which ``check`` tells once more by itself."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.process_time()
        value = work()
        seconds[name] = time.process_time() - begin
        return value

    timed("import", _import)
    from accelsim import runner
    from accelsim.execution import run_program
    from accelsim.hw.machine import simulate
    from accelsim.isa.check import check_program
    from accelsim.isa.effects import tasks
    from accelsim.job import Clock, Job, compile_for, quantized
    from accelsim.machine_file import load_arch
    from accelsim.nn import golden
    from accelsim.prepared import Prepared

    machine, network = timed("load", lambda: (load_arch(arch), runner.open_network(workload)))
    graph = timed("quantise", network.quantize)
    compiled = timed("compile", lambda: compile_for(graph, machine, 1, "cycles", None))
    program = compiled.program
    timed("check", lambda: check_program(program, machine))
    trace = timed("timing", lambda: simulate(tasks(program, machine), machine))
    feeds = quantized(graph, network.feeds(1))
    timed("functional", lambda: run_program(graph, program, machine, feeds, "functional"))
    timed("golden", lambda: golden.run(graph, feeds))
    job = Job(network, network.name, machine, 1, "cycles", None, Clock())
    timed("report", lambda: job.report(Prepared.of(compiled, graph, 1), trace, "cycle"))
    return seconds


def _import() -> None:
    import accelsim.result
    import accelsim.runner  # noqa: F401


if __name__ == "__main__":
    print(json.dumps(profile(*sys.argv[1:3])))
