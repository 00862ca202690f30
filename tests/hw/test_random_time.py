"""Values do not depend on time: programs under random service times and queue depths give the same bits, always end,
and a program that could overrun a token counter never starts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.compiler.pipeline import compile_network
from accelsim.errors import CapacityError
from accelsim.hw.machine import simulate
from accelsim.isa.effects import tasks
from accelsim.isa.order import MAX_TOKENS
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from accelsim.nn.graph import QGraph
from accelsim.nn.quantize import quantize_values
from accelsim.runner import open_network
from tests.command_line import accelsim
from tests.compiler.machines import machines
from tests.compiler.running import random_time, values_of
from tests.strategies import network_cases

RUNS = 30
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
MACHINES = [("lenet", "edge", {}), ("lenet", "tiny", {}), ("lenet_tanh", "edge", {"array.dataflow": "os"})]


@pytest.mark.parametrize(("workload", "name", "changes"), MACHINES, ids=lambda value: str(value))
def test_lenet_gives_the_same_bits_at_any_time(workload: str, name: str, changes: dict[str, str]) -> None:
    network, arch = open_network(workload), load_arch(name, changes)
    graph = network.quantize()
    program = compile_network(graph, arch).program
    inputs = quantize_values(network.inputs(1), graph.tensors[graph.input])
    wanted = golden.run(graph, inputs)
    ends = set()
    for seed in range(RUNS):
        tensors, output, trace = values_of(program, arch, graph, inputs, "random", seed)
        assert tensors
        assert trace is not None
        for tensor, values in tensors.items():
            np.testing.assert_array_equal(values, wanted[tensor], err_msg=f"{tensor}, seed {seed}")
        np.testing.assert_array_equal(output.reshape(-1), wanted[graph.output].reshape(-1))
        ends.add(trace.cycles)
    assert len(ends) == RUNS, "every run took another time"


def test_random_networks_give_the_same_bits_at_any_time() -> None:
    runs = 0

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=SLOW)
    @given(network_cases(max_layers=3, max_hw=8), machines())
    def compare(case: tuple[QGraph, NDArray[np.int8]], arch: Arch) -> None:
        nonlocal runs
        graph, inputs = case
        try:
            program = compile_network(graph, arch, batch=len(inputs)).program
        except CapacityError:
            return
        wanted = golden.run(graph, inputs)
        for seed in range(5):
            tensors, output, _ = values_of(program, arch, graph, inputs, "random", seed)
            for tensor, values in tensors.items():
                np.testing.assert_array_equal(values, wanted[tensor], err_msg=f"{tensor}, seed {seed}")
            np.testing.assert_array_equal(output.reshape(-1), wanted[graph.output].reshape(-1))
            runs += 1

    compare()
    assert runs >= 100


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_time_alone_ends_with_queues_of_any_depth(seed: int, depth: int) -> None:
    """The compiled program on every queue depth, also 1 everywhere, where a unit must wait for its neighbours most."""
    network, arch = open_network("lenet"), load_arch("edge")
    work = tasks(compile_network(network.quantize(), arch).program, arch)
    extra = {**random_time(np.random.default_rng(seed)), "queue_depths": [depth] * 4}
    assert (simulate(work, arch, **extra).landed >= 0).all()


# ------------------------------------------------------------------------------------------ token counters


def ahead(count: int, back: int = 0) -> str:
    """Load gives gemm ``count`` tokens, taken at once in program order, so that never more than one is out there.

    With ``back``, load waits for a token of gemm before every ``back``-th of its own.
    """
    lines = []
    for number in range(1, count + 1):
        held = back and number % back == 0
        lines += ["sync on=gemm signal=load"] if held else []
        lines += [f"sync on=load signal=gemm{' wait=gemm' if held else ''}", "sync on=gemm wait=load"]
    return "\n".join([*lines, "halt on=store"]) + "\n"


@pytest.mark.parametrize("command", ["check", "exec", "exec --timing-only", "exec --level functional"])
@pytest.mark.parametrize("interleaved", [True, False])
def test_more_tokens_than_a_counter_holds_are_refused(tmp_path: Path, command: str, interleaved: bool) -> None:
    """Under a slow gemm unit load runs ahead: the refusal looks at every timing, not at one."""
    lines = ["sync on=load signal=gemm"] * 256 + ["sync on=gemm wait=load"] * 256 + ["halt on=store"]
    program = tmp_path / "ahead.asm"
    program.write_text(ahead(256) if interleaved else "\n".join(lines), encoding="utf-8")
    name, *options = command.split()
    result = accelsim(name, str(program), *options)
    assert result.exit_code == 2
    assert f"tokens from load to gemm can reach 256, and a counter holds {MAX_TOKENS}" in result.stderr
    assert "sync on=load signal=gemm" in result.stderr
    assert "load must wait for gemm now and then" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("text", [ahead(255), ahead(600, back=100)], ids=["a full counter", "held back"])
def test_as_many_tokens_as_a_counter_holds_are_fine(tmp_path: Path, text: str) -> None:
    program = tmp_path / "ahead.asm"
    program.write_text(text, encoding="utf-8")
    for command in ("check", "exec"):
        result = accelsim(command, str(program))
        assert (result.exit_code, result.stderr) == (0, "")
