"""Random networks on random machines: golden model = functional run = run in time = run in random time, bit for bit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from accelsim.compiler.pipeline import compile_network
from accelsim.errors import CapacityError
from accelsim.nn import golden
from tests.compiler.machines import machines
from tests.compiler.running import values_of
from tests.strategies import network_cases

SHARDS, CASES = 4, 60


@pytest.mark.parametrize("shard", range(SHARDS))
def test_golden_equals_every_run(shard):
    seen = Counter()

    @seed(shard)
    @settings(deadline=None, max_examples=CASES, database=None, suppress_health_check=list(HealthCheck))
    @given(network_cases(max_batch=3), machines(), st.integers(0, 2**32 - 1))
    def compare(case, arch, time_seed):
        graph, inputs = case
        try:
            program = compile_network(graph, arch, batch=len(inputs)).program
        except CapacityError as error:
            seen["too small"] += error.demand_bytes > error.limit_bytes
            seen["refused"] += 1
            return
        wanted = golden.run(graph, inputs)
        computed = {layer.output for layer in graph.layers if layer.kind not in ("flatten", "softmax")}
        for how in ("functional", "cycle", "random"):
            tensors, output, trace = values_of(program, arch, graph, inputs, how, time_seed)
            assert set(tensors) == computed
            for name, values in tensors.items():
                np.testing.assert_array_equal(values, wanted[name], err_msg=f"{name} {how}")
            np.testing.assert_array_equal(output.reshape(-1), wanted[graph.output].reshape(-1))
            if how == "cycle":
                moved = sum(trace.port_bursts) * arch.dram.burst_bytes
                assert trace.cycles >= moved / arch.dram.bytes_per_cycle
        seen["ran"] += 1
        seen["spilled"] += any(region.role == "scratch" for region in program.regions)

    compare()
    assert seen["too small"] == seen["refused"]
    assert seen["ran"] >= 50, seen  # four shards: at least 200 networks are compared
