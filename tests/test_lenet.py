"""LeNet-5 from its file to its classes: bit-exact everywhere, near its bound on edge, one read of every byte."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from accelsim import runner
from accelsim.isa.fields import WORD_BYTES
from accelsim.isa.instructions import Load
from accelsim.machine_file import load_arch
from accelsim.nn.facts import network_facts
from tests.command_line import accelsim

NETWORKS = ("lenet", "lenet_tanh")
MACHINES = ("tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1")


@cache
def run(network, machine="edge", batch=1):
    return runner.run(network, arch=machine, batch=batch)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", NETWORKS)
def test_bit_exact_on_every_machine_and_above_the_bound(network, machine):
    result = run(network, machine)
    report = result.report
    assert report["bit_exact"] is True
    assert result.mismatch is None
    totals = report["totals"]
    assert totals["cycles"] >= totals["bound_cycles"] > 0
    assert totals["macs"] == 416_520
    assert sum(row["cycles"] for row in result.rows) == totals["cycles"] == result.trace.cycles
    assert result.labels == [str(int(result.outputs["probabilities"][0].argmax()))]


@pytest.mark.parametrize("network", NETWORKS)
def test_edge_is_within_a_fifth_of_the_bound(network):
    totals = run(network).report["totals"]
    assert totals["bound_cycles"] == 7813  # (61,470 weights + 1,024 pixels + 10 logits) / 8, rounded up
    assert totals["cycles"] <= 1.20 * totals["bound_cycles"]


@pytest.mark.parametrize("network", NETWORKS)
def test_larger_batches_use_the_array_better(network):
    results = [run(network, batch=batch) for batch in (1, 16, 64)]
    assert all(result.report["bit_exact"] for result in results)
    used = [result.report["totals"]["utilization"] for result in results]
    assert used[0] < used[1] < used[2]
    for batch, result in zip((1, 16, 64), results):
        assert len(result.labels) == batch
        np.testing.assert_array_equal(result.outputs["fc3"][0], results[0].outputs["fc3"][0])


@pytest.mark.parametrize(("network", "machine", "batch"), [("lenet", "edge", 1), ("lenet_tanh", "gemmini", 2)])
def test_levels_agree(network, machine, batch):
    cycle = run(network, machine, batch)
    functional = runner.run(network, arch=machine, batch=batch, level="functional")
    timing = runner.run(network, arch=machine, batch=batch, timing_only=True)
    for name, values in cycle.outputs.items():
        np.testing.assert_array_equal(functional.outputs[name], values)
    assert functional.report["bit_exact"] is True
    assert functional.report["program_hash"] == cycle.report["program_hash"] == timing.report["program_hash"]
    for key in ("totals", "units"):
        assert timing.report[key] == cycle.report[key]
    no_values = {"saturated": None, "zeros": None}
    assert timing.rows == [row | no_values for row in cycle.rows]
    np.testing.assert_array_equal(timing.trace.landed, cycle.trace.landed)


def up(size, burst):
    return -(-size // burst) * burst


@pytest.mark.parametrize("network", NETWORKS)
def test_every_byte_is_read_once_on_edge(network):
    """Constants, pixels and words fill whole bursts; nothing that makes up the traffic is read a second time."""
    result, burst = run(network), load_arch("edge").dram.burst_bytes
    totals, program = result.report["totals"], result.program
    pixels = network_facts(runner.open_network(network).quantize(), 1).input_bytes
    assert pixels == 32 * 32
    words = WORD_BYTES * len(program.instructions)
    assert totals["dram_read_bytes"] <= up(program.image.size, burst) + up(pixels, burst) + up(words, burst)
    assert totals["dram_write_bytes"] == burst  # ten logits


@pytest.mark.parametrize("network", NETWORKS)
def test_the_image_holds_weights_once_and_little_else(network):
    """What the compiler adds in DRAM: zeros of packed columns, bias and scale rows, tables, alignment of each part."""
    result, arch = run(network), load_arch("edge")
    graph = runner.open_network(network).quantize()
    weights = network_facts(graph, 1).weight_bytes
    assert weights == 61_470
    pixels = {
        row["name"]: int(row["packing"].partition("column x")[2] or 1) for row in result.rows if row["packing"]
    }
    kernels = {"conv1": (5, 5, 1, 6), "conv2": (5, 5, 6, 16)}
    zeros = sum(
        r * (s + pixels[name] - 1) * c * k * pixels[name] - r * s * c * k for name, (r, s, c, k) in kernels.items()
    )
    channels = {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84, "fc3": 10}
    # A channel's bias and scale, for each packed pixel; average pooling has a row of each over its channels.
    params = sum(8 * up(count * pixels[name], arch.array.cols) for name, count in channels.items())
    averages, tables = (0, 0) if network == "lenet" else (8 * (6 + 16), 4 * 256)
    # Every part is loaded by one instruction, so there are no more parts than loads from the image.
    loads = sum(isinstance(word, Load) and not word.fill for word in result.program.instructions)
    extra = zeros + params + averages + tables
    assert weights < result.program.image.size <= weights + extra + 63 * loads
    assert extra < 0.06 * weights


@pytest.mark.parametrize("network", NETWORKS)
def test_a_rerun_from_the_dumped_machine_is_byte_equal(network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert accelsim("run", network, "--arch", "mid", "--out", "first", "--json", "first.json").exit_code == 0
    assert accelsim("run", network, "--arch", "first/machine.yaml", "--json", "second.json").exit_code == 0
    first, second = (Path(name).read_text(encoding="utf-8") for name in ("first.json", "second.json"))
    host = '\n  "host": '
    assert first.count(host) == second.count(host) == 1
    assert first.partition(host)[0] == second.partition(host)[0]
    assert first.partition(host)[2].partition("}")[2] == second.partition(host)[2].partition("}")[2]
    assert json.loads(first)["arch"] == load_arch("mid").to_dict()


@pytest.mark.parametrize("network", NETWORKS)
def test_accuracy_on_the_test_split(network):
    scores = runner.evaluate(network, arch="edge")
    assert scores["images"] == 360
    assert scores["bit_exact"] is True  # every value of every image
    assert scores["float_accuracy"] >= 0.985
    assert abs(scores["float_accuracy"] - scores["accelerator_accuracy"]) <= 0.005
    assert scores["accelerator_accuracy"] == scores["int8_accuracy"]
