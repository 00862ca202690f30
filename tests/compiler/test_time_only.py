"""A program made for its time alone takes the time of the whole one, and has no constants."""

from __future__ import annotations

import pytest

from accelsim.execution import run_time
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
