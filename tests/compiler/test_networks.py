"""Random networks on random machines: golden model = functional run = run in time = run in random time, bit for bit.

Half of the networks are compiled with any plans instead of the best ones: what is rarely the best must be right too.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from accelsim.compiler.pipeline import compile_network
from accelsim.errors import CapacityError
from accelsim.nn import golden
from tests.compiler.features import watched
from tests.compiler.machines import machines
from tests.compiler.running import values_of
from tests.strategies import wide_cases

LONG = 3000  # instructions; longer programs run in program order only
RUNS, CASES = 5, 12
UB = (256, 512, 1024, 2048, 8192)
QUICK = settings(
    deadline=None, max_examples=CASES, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


@dataclasses.dataclass(frozen=True)
class Theme:
    """Networks of one sort, and what must be seen in them."""

    seed: int
    options: dict
    wanted: tuple[str, ...]
    ub: tuple[int, ...] = UB
    best: int = 3  # of how many networks one gets the best plans


THEMES = {
    "anything": Theme(
        1, {"max_hw": 8, "max_c": 10},
        (
            "conv", "depthwise", "maxpool", "avgpool", "lut", "add", "lrn", "gemm", "fc", "flatten", "several inputs",
            "several outputs", "spilled", "strips in", "strips out", "columns cut", "lrn leads", "add leads",
            "image layer over the batch", "convolution with unequal padding", "pooling with unequal padding",
            "convolution that skips pixels", "pooling that skips pixels", "padding counted", "padding not counted",
            "dilation",
        ),
    ),
    "convolutions": Theme(
        2, {"kinds": ("conv", "grouped"), "max_parts": 1, "max_layers": 2, "min_hw": 4, "max_hw": 8,
            "max_c": 12, "channels": (1, 4, 6, 8, 9, 12), "max_dilation": 1},
        (
            "gathered, groups", "gathered, no groups", "groups side by side", "packed columns", "slabs",
            "weights stay", "equal channel parts", "channel parts, last one narrower", "columns cut",
            "channel parts, groups of blocks", "strips of one block", "strips out",
            "images share weights",
        ),
        ub=UB[:3], best=8,
    ),
    "chains": Theme(
        3, {"kinds": ("conv", "depthwise", "maxpool", "avgpool", "lrn", "lut"), "max_parts": 1, "min_layers": 3,
            "max_layers": 5, "min_hw": 6, "max_hw": 11, "max_c": 5},
        (
            "ring", "window cut by a ring", "lrn behind", "depthwise behind", "depthwise leads", "taps in parts",
            "all taps at once", "columns cut",
        ),
    ),
    "additions": Theme(
        4, {"kinds": ("conv", "add", "add", "depthwise", "lrn"), "max_parts": 1, "min_layers": 2, "max_layers": 5,
            "min_hw": 4, "max_hw": 9, "max_c": 6},
        (
            "add behind", "add leads", "added to itself", "two addends", "addend in UB",
            "several inputs", "ring",
        ),
        ub=UB[:3],
    ),
    "joins": Theme(
        5, {"kinds": ("inception", "inception", "concat", "turn", "conv", "maxpool", "avgpool", "add"), "max_parts": 1,
            "min_layers": 1, "max_layers": 4, "min_hw": 3, "max_hw": 7, "max_c": 6},
        (
            "concat", "joined in UB", "joined in DRAM", "joined by a copy", "joined by a copy through a table",
            "joined as it is made", "joined by a table behind", "joined twice", "joined through a ring",
            "several inputs", "add", "strips out",
        ),
        ub=UB[1:], best=2,
    ),
    "narrow": Theme(
        6, {"kinds": ("maxpool", "avgpool", "depthwise", "inception"), "max_parts": 1, "max_layers": 2, "min_hw": 3,
            "max_hw": 8, "max_c": 24, "channels": (5, 16, 17, 24)},
        (
            "pooling over parts of the channels", "depthwise over parts of the channels", "last part narrower",
            "equal parts", "joined in DRAM",
        ),
        ub=(80, 96, 128, 192), best=2,
    ),
}  # fmt: skip
EVERYWHERE = ("batch 1", "batch 2", "batch 3", "ws", "os", "any plan", "best plan", "in time")


@st.composite
def arches(draw, ub):
    """A random machine of either dataflow."""
    arch, dataflow = draw(machines()), draw(st.sampled_from(["ws", "ws", "os"]))
    array = dataclasses.replace(arch.array, dataflow=dataflow)
    return dataclasses.replace(arch, array=array, ub_bytes=draw(st.sampled_from(ub)))


def compare(graph, feeds, arch, time_seed, watch):
    """Compile, and compare runs in program order and, unless it would take long, in time; how many there were."""
    batch, wanted = len(feeds[graph.input]), golden.run(graph, feeds)
    program = compile_network(graph, arch, batch=batch).program
    computed = {layer.output for layer in graph.layers if layer.kind not in ("flatten", "softmax")}
    ways = ("functional", "cycle", "random")[: 1 if len(program.instructions) > LONG else 3]
    for how in ways:
        tensors, outputs, trace = values_of(program, arch, graph, feeds, how, time_seed)
        assert set(tensors) == computed
        for name, values in tensors.items():
            np.testing.assert_array_equal(values, wanted[name], err_msg=f"{name} {how}")
        assert set(outputs) == set(watch.lowered.outputs)
        for name, values in outputs.items():
            np.testing.assert_array_equal(values.reshape(wanted[name].shape), wanted[name], err_msg=name)
        if how == "cycle":
            moved = sum(trace.port_bursts) * arch.dram.burst_bytes
            assert trace.cycles >= moved / arch.dram.bytes_per_cycle
    return program, len(ways)


@pytest.mark.parametrize("name", THEMES)
def test_golden_equals_every_run(name):
    theme, seen = THEMES[name], Counter()

    def check(case, arch, time_seed):
        graph, feeds = case
        best = time_seed % theme.best == 0
        with watched(None if best else time_seed) as watch:
            try:
                program, ways = compare(graph, feeds, arch, time_seed, watch)
            except CapacityError as error:
                seen["too small"] += error.demand_bytes > error.limit_bytes
                seen["refused"] += 1
                return
        watch.note(graph, arch, len(feeds[graph.input]))
        seen.update(watch.seen)
        spilled = any(region.role == "scratch" for region in program.regions)
        seen.update({"ran": 1, "in time": ways > 1, "spilled": spilled, "best plan" if best else "any plan": 1})

    for number in range(RUNS):  # examples of one run are alike
        drawn = given(wide_cases(max_batch=3, **theme.options), arches(theme.ub), st.integers(0, 2**32 - 1))
        seed(10 * theme.seed + number)(QUICK(drawn(lambda case, arch, time_seed: check(case, arch, time_seed))))()
    assert seen["too small"] == seen["refused"]
    assert seen["ran"] >= 49, seen  # six themes: at least 290 networks are compared
    missing = [kind for kind in (*EVERYWHERE, *theme.wanted) if not seen[kind]]
    assert not missing, seen
