"""Running a compiled program on int8 inputs in every way there is, for comparison with the golden model."""

from __future__ import annotations

import numpy as np

from accelsim.arch import Arch
from accelsim.hw.machine import simulate
from accelsim.isa import functional
from accelsim.isa.effects import tasks
from accelsim.isa.probes import Recorder
from accelsim.isa.program import Program
from accelsim.isa.protocol import FillWork, HaltWork, SyncWork
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState
from accelsim.nn.graph import QGraph


def values_of(program: Program, arch: Arch, graph: QGraph, inputs, how: str, seed: int = 0):
    """(every tensor as completed, output region, trace or None); ``how``: functional, cycle or random time."""
    state = MachineState(arch, program.dram_bytes, poison=True)
    state.load_program(program)
    regions = {region.role: region for region in program.regions}
    state.write_region(regions["input"], inputs)
    shapes = {name: (len(inputs), *tensor.shape) for name, tensor in graph.tensors.items()}
    recorder = Recorder(program, state, shapes)
    trace = None
    if how == "functional":
        functional.run(program, state, recorder.land)
    else:
        def land(index):
            execute(program.instructions[index], state)
            recorder.land(index)

        extra = random_time(np.random.default_rng(seed)) if how == "random" else {}
        trace = simulate(tasks(program, arch), arch, on_land=land, **extra)
    return recorder.tensors, state.read_region(regions["output"]), trace


def random_time(rng: np.random.Generator) -> dict:
    """Random service times (some very long) and random queue depths for ``simulate``."""

    def service(_index, task, accepted):
        if isinstance(task.work, FillWork | SyncWork | HaltWork):
            return None
        length = int(rng.integers(1, 40)) if rng.random() < 0.8 else int(rng.integers(200, 2000))
        return accepted + length, accepted + length + int(rng.integers(0, 60))

    return {"service": service, "queue_depths": [int(d) for d in rng.integers(1, 17, 4)]}
