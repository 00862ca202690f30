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
    """(every tensor as completed, output regions, trace or None); ``how``: functional, cycle or random time.

    ``inputs`` are arrays by name, and then the outputs are too; or one array for one input and one output.
    """
    feeds = inputs if isinstance(inputs, dict) else {graph.input: inputs}
    state = MachineState(arch, program.dram_bytes, poison=True)
    state.load_program(program)
    for region in program.regions:
        if region.role == "input":
            state.write_region(region, feeds[region.name])
    batch = len(feeds[graph.input])
    shapes = {name: (batch, *tensor.shape) for name, tensor in graph.tensors.items()}
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
    outputs = {region.name: state.read_region(region) for region in program.regions if region.role == "output"}
    return recorder.tensors, outputs if isinstance(inputs, dict) else next(iter(outputs.values())), trace


def random_time(rng: np.random.Generator) -> dict:
    """Random service times (some very long) and random queue depths for ``simulate``."""

    def service(_index, task, accepted):
        if isinstance(task.work, FillWork | SyncWork | HaltWork):
            return None
        length = int(rng.integers(1, 40)) if rng.random() < 0.8 else int(rng.integers(200, 2000))
        return accepted + length, accepted + length + int(rng.integers(0, 60))

    return {"service": service, "queue_depths": [int(d) for d in rng.integers(1, 17, 4)]}
