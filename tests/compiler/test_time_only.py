"""A program made for its time alone takes the time of the whole one, and has no constants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim.execution import run_time
from accelsim.isa.effects import task, tasks
from accelsim.job import compile_for
from accelsim.machine_file import load_arch
from accelsim.runner import open_network


@pytest.mark.parametrize("machine", ["tiny", "edge"])
@pytest.mark.parametrize("objective", ["cycles", "edp"])
def test_the_same_instructions_without_constants(machine: str, objective: str) -> None:
    arch, graph = load_arch(machine), open_network("lenet").quantize()
    whole = compile_for(graph, arch, 1, objective, None)
    bare = compile_for(graph, arch, 1, objective, None, time_only=True)
    assert bare.program.instructions == whole.program.instructions
    assert (bare.program.layer_of, bare.program.regions) == (whole.program.layer_of, whole.program.regions)
    assert (bare.packing, bare.fused) == (whole.packing, whole.fused)
    assert len(bare.program.image) == 0
    assert run_time(bare.program, arch, "cycle").cycles == run_time(whole.program, arch, "cycle").cycles


@pytest.mark.parametrize("ports", ["private", "shared"])
def test_the_tasks_a_program_remembers_are_those_of_its_instructions(ports: str) -> None:
    arch, graph = load_arch("tiny", {"ub.ports": ports, "dram.latency": 50}), open_network("lenet").quantize()
    program = compile_for(graph, arch, 1, "cycles", None, time_only=True).program
    wanted = tuple(task(instr, arch) for instr in program.instructions)
    assert tasks(program, arch) is tasks(program, arch) != ()
    assert tasks(program, arch) == wanted
    other = load_arch("tiny", {"ub.ports": ports, "ub.banks": 2})
    assert tasks(program, other) == tuple(task(instr, other) for instr in program.instructions)
    assert replace(program, instructions=program.instructions[:3]).worked is None
