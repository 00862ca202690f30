"""Output-stationary arrays, arrays without shadow registers or overlap: compiled, run and reported like the others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from accelsim import runner
from accelsim.arch import Arch
from accelsim.compiler.lower import lower
from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import Packing, array_cycles, packings
from accelsim.compiler.pipeline import compile_network
from accelsim.errors import CapacityError
from accelsim.execution import run_program
from accelsim.isa.instructions import Gemm
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from tests.compiler.machines import machines
from tests.strategies import network_cases

KINDS = [(d, w, o) for d in ("ws", "os") for w in ("shadow", "single") for o in ("full", "none")]
COLUMNS = (
    "dispatched", "token_ready", "token_unit", "accepted", "started", "free", "landed", "bursts", "requested", "arrived"
)  # fmt: skip
PE_CYCLES = 12_000  # longer runs are left to LeNet


def settings_of(kind: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("array.dataflow", "array.weights", "array.overlap"), kind))


@pytest.mark.parametrize("arch", ["tiny", "edge"])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_lenet_is_bit_exact_and_accounted_for(arch: str, kind: tuple[str, str, str]) -> None:
    result = runner.run("lenet", arch=arch, set=settings_of(kind))
    report = result.report
    assert report["bit_exact"] is True
    assert report["totals"]["cycles"] >= report["totals"]["bound_cycles"]
    assert sum(row["cycles"] for row in report["layers"]) == report["totals"]["cycles"]
    for row in report["layers"]:
        assert sum(row["cycle_split"].values()) == row["cycles"]
    if kind == ("os", "shadow", "full"):
        # The reduction of a row of sums is not cut: one gemm per tile of pixels, block of channels and slab.
        assert all(gemm.r0 * gemm.r1 * gemm.r2 * gemm.k > 16 for gemm in gemms(result))


def gemms(result: runner.Result) -> list[Gemm]:
    return [instr for instr in result.program.instructions if isinstance(instr, Gemm)]


@pytest.mark.parametrize("kind", [("ws", "shadow", "full"), ("os", "shadow", "full"), ("ws", "single", "none")])
def test_lenet_through_every_register(kind: tuple[str, str, str]) -> None:
    """`--level pe`: every tensor, every column of the trace, the whole report."""
    runs = {level: runner.run("lenet", arch="tiny", set=settings_of(kind), level=level) for level in ("cycle", "pe")}
    cycle, pe = runs["cycle"], runs["pe"]
    assert pe.report["bit_exact"] is True
    assert {**pe.report, "host": 0, "options": 0} == {**cycle.report, "host": 0, "options": 0}
    assert pe.report["options"]["level"] == "pe"
    assert cycle.trace is not None
    assert pe.trace is not None
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(pe.trace, column), getattr(cycle.trace, column), err_msg=column)
    for name, values in cycle.outputs.items():
        np.testing.assert_array_equal(pe.outputs[name], values)


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_random_networks_on_arrays_of_every_kind(dataflow: str) -> None:
    seen = Counter()

    @seed(0)
    @settings(deadline=None, max_examples=48, database=None, suppress_health_check=list(HealthCheck))
    @given(network_cases(max_batch=2), machines(), st.sampled_from(KINDS))
    def compare(case, arch, kind):
        graph, inputs = case
        array = dataclasses.replace(arch.array, dataflow=dataflow, weights=kind[1], overlap=kind[2])
        arch = dataclasses.replace(arch, array=array)
        try:
            program = compile_network(graph, arch, batch=len(inputs)).program
        except CapacityError:
            seen["refused"] += 1
            return
        wanted = golden.run(graph, inputs)
        traces = []
        for level in ("functional", "cycle", "pe"):
            if level == "pe" and traces[-1].cycles > PE_CYCLES:
                continue
            tensors, trace, _ = run_program(graph, program, arch, inputs, level)
            for name, values in tensors.items():
                np.testing.assert_array_equal(values, wanted[name], err_msg=f"{name} {level} {arch.array}")
            traces.append(trace)
            seen[level] += 1
            seen[kind[1:]] += 1
        for column in COLUMNS if len(traces) > 2 else ():
            np.testing.assert_array_equal(getattr(traces[1], column), getattr(traces[2], column), err_msg=column)

    compare()
    assert min(seen["cycle"], seen["pe"]) > 20, seen
    assert all(seen[kind[1:]] for kind in KINDS), seen


def lenet_packings(arch: Arch) -> list[Packing]:
    lowered = lower(runner.open_network("lenet").quantize(), 1)
    return [packing for op in lowered.ops if isinstance(op, MatOp) for packing in packings(op, arch)]


@pytest.mark.parametrize("arch", ["tiny", "edge", "gemmini"])
@pytest.mark.parametrize("stream", [1, 7, 64, 300])
def test_the_rank_of_a_shadowed_packing_is_a_sum_over_its_tiles(arch: str, stream: int) -> None:
    machine = load_arch(arch)
    for packing in lenet_packings(machine):
        depths = [packing.k] * packing.chunks + [packing.tail] * bool(packing.tail)
        depths *= packing.kernel_rows * packing.taps
        odd = packing.kernel_rows * packing.odd  # gathered bytes fill whole tiles, those of a tap together
        whole, rest = divmod(odd, machine.array.rows)
        depths += ([machine.array.rows] * whole + [rest] * bool(rest)) * packing.taps
        assert array_cycles(packing, stream, machine) == sum(max(depth, stream) for depth in depths if depth)


@pytest.mark.parametrize("arch", ["tiny", "edge"])
def test_an_output_stationary_reduction_is_cut_into_equal_pieces(arch: str) -> None:
    """A remainder would be a gemm of its own, and every gemm drains R rows per block."""
    machine = load_arch(arch, {"array.dataflow": "os"})
    found = lenet_packings(machine)
    assert found
    for packing in found:
        assert packing.tail == 0
        whole = packing.weight_rows
        if len(packing.gemms) == 1 and packing.gemms[0][0] == 1:
            blocks = Fraction(64, machine.array.rows)
            assert array_cycles(packing, 64, machine) == blocks * max(whole, machine.array.rows)
