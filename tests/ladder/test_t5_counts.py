"""Tier 5: what the instructions of each layer compute and move, against what the layer needs."""

from __future__ import annotations

from collections import Counter
from math import ceil

import numpy as np
import pytest

from accelsim.isa.effects import effects
from accelsim.isa.protocol import Memory, Region, Unit
from accelsim.nn.facts import layer_facts, network_facts
from tests.ladder.networks import NAMES, Case, case

RUNS = [
    *((name, (), 1) for name in NAMES),
    ("edge", (), 4),
    ("edge", (("array.dataflow", "os"),), 1),
    ("tiny", (("ub.size", 4096), ("wgt.size", 1024)), 1),
]


@pytest.fixture(params=RUNS, ids=lambda run: f"{run[0]}{'-'.join(str(v) for _, v in run[1])} x{run[2]}")
def run(request: pytest.FixtureRequest) -> tuple[Case, int]:
    name, settings, batch = request.param
    return case("lenet", name, settings, batch), batch


def bytes_of(region: Region) -> np.ndarray:
    """The address of every byte of a region, by its loops."""
    starts = np.array([region.start])
    for count, stride in region.loops:
        starts = (starts[:, None] + stride * np.arange(count)).reshape(-1)
    return (starts[:, None] + np.arange(region.run)).reshape(-1)


def by_layer(compiled: Case, what) -> Counter[str]:
    """The sum of ``what(effects, unit)`` over the instructions of each layer."""
    total: Counter[str] = Counter()
    program = compiled.program
    for instr, layer in zip(program.instructions, program.layer_of):
        total[program.layers[layer]] += what(effects(instr, compiled.arch), instr.unit)
    return total


def test_the_array_does_every_multiplication(run: tuple[Case, int]) -> None:
    compiled, batch = run
    done = by_layer(compiled, lambda touched, _: touched.macs)
    facts = layer_facts(compiled.graph, batch)
    assert sum(layer.macs for layer in facts) == network_facts(compiled.graph, batch).macs
    for layer in facts:
        if layer.macs:
            assert done[layer.name] >= layer.macs, layer.name
        else:
            assert layer.host != layer.name or done[layer.name] == 0, layer.name


def test_every_output_passes_the_vector_unit(run: tuple[Case, int]) -> None:
    compiled, batch = run
    done = by_layer(compiled, lambda touched, _: touched.alu_ops)
    own = [f for f in layer_facts(compiled.graph, batch) if f.kind in ("conv", "fc", "maxpool", "avgpool")]
    assert len(own) == 7
    for layer in own:
        assert done[layer.host] >= layer.output_bytes, layer.name


def test_every_compulsory_byte_crosses_the_port(run: tuple[Case, int]) -> None:
    compiled, batch = run
    burst = compiled.arch.dram.burst_bytes
    program, trace = compiled.program, compiled.trace
    moved: Counter[tuple[str, int]] = Counter()
    for index, layer in enumerate(program.layer_of):
        moved[program.layers[layer], program.instructions[index].unit] += int(trace.bursts[index]) * burst
    for layer in layer_facts(compiled.graph, batch):
        assert moved[layer.name, Unit.LOAD] >= layer.weight_bytes, layer.name
    first, last = program.layers[0], program.layers[-1]
    facts = {layer.name: layer for layer in layer_facts(compiled.graph, batch)}
    assert moved[first, Unit.LOAD] >= facts[first].weight_bytes + facts[first].input_bytes
    assert moved[last, Unit.STORE] >= facts[last].output_bytes
    fetch, loads, stores = (count * burst for count in trace.port_bursts)
    assert fetch == ceil(32 * len(program.instructions) / burst) * burst
    assert loads == sum(count for (_, unit), count in moved.items() if unit == Unit.LOAD)
    assert stores == sum(count for (_, unit), count in moved.items() if unit == Unit.STORE)
    assert loads + stores >= network_facts(compiled.graph, batch).compulsory_bytes


def read_counts(compiled: Case, memory: Memory) -> np.ndarray:
    """How often each DRAM byte is loaded into a memory."""
    counts = np.zeros(compiled.program.dram_bytes, np.int64)
    for instr in compiled.program.instructions:
        touched = effects(instr, compiled.arch)
        if instr.unit == Unit.LOAD and touched.reads and touched.writes[0].memory is memory:
            np.add.at(counts, bytes_of(touched.reads[0]), 1)
    return counts


@pytest.mark.parametrize("workload", ["lenet", "lenet_tanh"])
@pytest.mark.parametrize("name", ["edge", "mid", "tpu_v1"])
def test_roomy_machines_load_every_weight_once(workload: str, name: str) -> None:
    compiled = case(workload, name)
    counts = read_counts(compiled, Memory.WGT)
    assert counts.max() == 1
    assert counts.sum() >= sum(layer.weight_bytes for layer in layer_facts(compiled.graph, 1))
    assert counts.sum() <= compiled.program.image.size, "weights are constants of the program"


@pytest.mark.parametrize("name", ["edge", "mid"])
def test_a_resident_network_reads_its_input_once_and_writes_only_its_output(name: str) -> None:
    compiled = case("lenet", name)
    (image,) = [region for region in compiled.program.regions if region.role == "input"]
    (output,) = [region for region in compiled.program.regions if region.role == "output"]
    counts = read_counts(compiled, Memory.UB)
    assert (counts[image.address : image.address + image.bytes] == 1).all()
    assert counts.sum() == image.bytes
    stored = np.zeros(compiled.program.dram_bytes, np.int64)
    for instr in compiled.program.instructions:
        for region in effects(instr, compiled.arch).writes:
            if region.memory is Memory.DRAM:
                np.add.at(stored, bytes_of(region), 1)
    assert (stored[output.address : output.address + output.bytes] == 1).all()
    assert stored.sum() == output.bytes
