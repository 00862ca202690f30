"""Tier 4, whole networks: what the compiler reaches of the physical bound. Every figure is of a compiled program.

The bounds are those of the report: the array's peak or the compulsory traffic of a layer alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim import runner
from accelsim.compiler.pipeline import compile_network
from accelsim.hw.machine import simulate
from accelsim.isa.effects import tasks
from accelsim.machine_file import load_arch
from accelsim.nn.graph import QConv, QGraph, Tensor

pytestmark = pytest.mark.slow

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FULLY_CONNECTED = ("fc6", "fc7", "fc8")


@cache
def report(workload: str, arch: str, batch: int = 1, objective: str = "cycles") -> dict[str, Any]:
    return runner.run(workload, arch=arch, batch=batch, objective=objective, timing_only=True).report


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found["layers"]}


def through(found: dict[str, Any], last: str) -> int:
    """Cycles of all rows up to ``last``."""
    names = [row["name"] for row in found["layers"]]
    return sum(row["cycles"] for row in found["layers"][: names.index(last) + 1])


def bounds(found: dict[str, Any], names: tuple[str, ...]) -> int:
    return sum(rows(found)[name]["bound_cycles"] for name in names)


def test_alexnet_on_edge_layer_by_layer() -> None:
    found = rows(report("alexnet", "edge"))
    for name in CONVOLUTIONS:
        allowed = 1.10 if name == "conv1" else 1.05
        assert found[name]["cycles"] <= allowed * found[name]["bound_cycles"], name
    for name in FULLY_CONNECTED:
        assert found[name]["cycles"] <= 1.01 * found[name]["bound_cycles"], name


def test_alexnet_on_edge_with_normalisation_and_pooling_under_the_array() -> None:
    found = report("alexnet", "edge")
    assert bounds(found, CONVOLUTIONS) == 2_600_723
    assert through(found, "pool5") <= 1.05 * bounds(found, CONVOLUTIONS)
    assert found["totals"]["cycles"] <= 1.03 * bounds(found, CONVOLUTIONS + FULLY_CONNECTED)


def test_alexnet_in_a_batch_uses_the_array() -> None:
    assert report("alexnet", "edge", batch=16)["totals"]["utilization"] >= 0.88


def test_images_of_a_batch_share_weights() -> None:
    """16 convolutions of 8 M weights, more than the port can bring again for every image in the time of its work."""
    workload = str(Path(__file__).parent / "data" / "tpu_cnn0.yaml")
    one, eight = (report(workload, "tpu_v1", batch=batch)["totals"] for batch in (1, 8))
    assert eight["dram_read_bytes"] <= 1.2 * one["dram_read_bytes"]
    assert eight["utilization"] >= 0.85
    assert one["utilization"] <= 0.3


def test_alexnet_on_mid() -> None:
    plain = report("alexnet_without_lrn", "mid")
    assert sum(rows(plain)[name]["cycles"] for name in CONVOLUTIONS) <= 1.08 * bounds(plain, CONVOLUTIONS)
    found = report("alexnet", "mid")
    assert through(found, "pool5") <= 1.15 * bounds(found, CONVOLUTIONS)


RESNET = (  # size, channels, filters, kernel, stride, how often in ResNet-18
    (56, 64, 64, 3, 1, 4), (56, 64, 128, 3, 2, 1), (56, 64, 128, 1, 2, 1), (28, 128, 128, 3, 1, 3),
    (28, 128, 256, 3, 2, 1), (28, 128, 256, 1, 2, 1), (14, 256, 256, 3, 1, 3), (14, 256, 512, 3, 2, 1),
    (14, 256, 512, 1, 2, 1), (7, 512, 512, 3, 1, 3),
)  # fmt: skip


def convolution(size: int, channels: int, filters: int, kernel: int, stride: int) -> QGraph:
    """A network of one convolution, its input and output in DRAM."""
    rng, pad = np.random.default_rng(0), kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    shapes = {"x": (size, size, channels), "y": (out, out, filters)}
    layer = QConv(
        name="conv", kind="conv", input="x", output="y", stride=(stride, stride), pads=(pad,) * 4, dilation=(1, 1),
        weights=rng.integers(-127, 128, (filters, kernel, kernel, channels)).astype(np.int8), groups=1, lo=-128,
        bias=np.zeros(filters, np.int32), scale=np.full(filters, 1e-4, np.float32), hi=127,
    )  # fmt: skip
    tensors = {name: Tensor(name=name, shape=shape, scale=np.float32(1), zero=0) for name, shape in shapes.items()}
    return QGraph(
        name="conv", inputs=("x",), outputs=("y",), tensors=tensors, layers=(layer,), rows=(("conv", "conv", "conv"),)
    )


def test_resnet_convolutions_on_a_machine_like_vta() -> None:
    """Its own compiler reaches 85.7 %, its hardware with a plain double-buffered tiling 92.1 % of the same work."""
    arch = load_arch("vta_like")
    spent = work = 0
    for *shape, count in RESNET:
        graph = convolution(*shape)
        program = compile_network(
            graph, arch, evaluate=lambda program: simulate(tasks(program, arch), arch).cycles
        ).program
        spent += count * simulate(tasks(program, arch), arch).cycles
        work += count * graph.tensors["y"].size * graph.layers[0].weights[0].size  # type: ignore[union-attr]
    assert work / (arch.array.rows * arch.array.cols) / spent >= 0.98


def test_residual_and_depthwise_networks_on_edge() -> None:
    resnet = report("resnet18", "edge")
    assert resnet["totals"]["cycles"] <= 1.10 * sum(row["bound_cycles"] for row in resnet["layers"])
    assert report("mobilenet_v2", "edge")["totals"]["utilization"] >= 0.40


def test_a_whole_residual_network_on_a_machine_like_vta() -> None:
    """Small buffers: chains are parted where holding their rows would cost more than it saves."""
    assert report("resnet18", "vta_like")["totals"]["utilization"] >= 0.94


@pytest.mark.parametrize("arch", ["edge", "mid"])
@pytest.mark.parametrize(
    "workload", ["alexnet", "alexnet_nolrn", "resnet18", "mobilenet_v2", "vgg16", "transformer_block", "decode_gemv"]
)
def test_every_bundled_network_is_bit_exact(workload: str, arch: str) -> None:
    result = runner.run(workload, arch=arch)
    assert result.mismatch is None
    assert result.report["bit_exact"] is True
    totals = result.report["totals"]
    assert totals["cycles"] >= totals["bound_cycles"] > 0
    assert sum(row["cycles"] for row in result.rows) == totals["cycles"]


@pytest.mark.parametrize(("workload", "arch"), [("resnet18", "edge"), ("lenet", "tiny"), ("alexnet", "mid")])
def test_a_plan_for_energy_costs_no_more_energy(workload: str, arch: str) -> None:
    found = {objective: report(workload, arch, objective=objective)["totals"] for objective in ("cycles", "energy")}
    assert found["energy"]["energy_pj"] <= found["cycles"]["energy_pj"]
    if workload == "resnet18":
        assert found["energy"]["energy_pj"] < 0.95 * found["cycles"]["energy_pj"]
        assert found["energy"]["cycles"] > found["cycles"]["cycles"]


def test_the_cheapest_plan_of_a_layer_is_no_dearer_than_the_fastest() -> None:
    found = {objective: rows(report("alexnet", "mid", objective=objective)) for objective in ("cycles", "energy")}
    assert found["energy"]["conv3"]["energy_pj"] <= found["cycles"]["conv3"]["energy_pj"]
