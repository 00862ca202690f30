"""Cases that random networks meet rarely, with every plan there is: each was wrong once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accelsim.compiler import search as searching
from accelsim.compiler.pipeline import compile_network
from accelsim.compiler.tile import plan_chain
from accelsim.machine_file import load_arch
from accelsim.nn import golden
from accelsim.nn.graph import QAdd, QConv, QGraph, QLrn
from tests.compiler.nets import tensors
from tests.compiler.running import values_of
from tests.strategies import feeds_for

EVERY = 30  # plans of a network that are tried, evenly over all there are


def network(layers, shapes, inputs=("x",)):
    """Layers one after the other; what the last one makes is the output."""
    return QGraph(
        name="corner", inputs=inputs, outputs=(layers[-1].output,), tensors=tensors(shapes), layers=tuple(layers),
        rows=tuple((layer.name, layer.kind, layer.name) for layer in layers),
    )  # fmt: skip


def convolution(size, channels, out, *, kernel=(1, 1), stride=(1, 1), pads=(0, 0, 0, 0), groups=1):
    rng = np.random.default_rng(3)
    layer = QConv(
        name="conv", kind="conv", input="x", output="y", stride=stride, pads=pads, dilation=(1, 1), groups=groups,
        weights=rng.integers(-127, 128, (out, *kernel, channels // groups)).astype(np.int8),
        bias=np.zeros(out, np.int32), scale=np.full(out, 0.003, np.float32), lo=-128, hi=127,
    )  # fmt: skip
    sides = zip(size, kernel, stride, (pads[:2], pads[2:]))
    made = tuple((length + sum(pad) - k) // step + 1 for length, k, step, pad in sides)
    return network([layer], {"x": (*size, channels), "y": (*made, out)})


def normalisation(shape, size):
    rng = np.random.default_rng(4)
    square, factor = (rng.integers(0, 128, 256).astype(np.int8) for _ in range(2))
    layer = QLrn(
        name="norm", kind="lrn", input="x", output="y", size=size, square=square, index_scale=np.float32(0.3),
        index_zero=-128, factor=factor, scale=np.float32(0.01),
    )  # fmt: skip
    return network([layer], {"x": shape, "y": shape})


def sums(size, channels):
    """A convolution, and two sums behind it that read the same input of the network."""
    def add(name, first, second):
        return QAdd(
            name=name, kind="add", inputs=(first, second), output=name, factors=(1 << 22, 1 << 21),
            bias=-5 * (3 << 21), scale=np.float32(2**-22), lo=-128, hi=127,
        )  # fmt: skip

    conv = convolution(size, channels, channels).layers[0]
    layers = [dataclasses.replace(conv, output="c"), add("a", "c", "z"), add("y", "a", "z")]
    return network(layers, dict.fromkeys("xzcay", (*size, channels)), inputs=("x", "z"))


BY_ROWS = {"a normalisation whose input comes by rows": "x", "a tensor that comes by rows for two sums": "z"}
CORNERS = {
    "a band deeper than WGT": (normalisation((3, 2, 12), 7), {"wgt_bytes": 4 * 5}),
    "a normalisation whose input comes by rows": (normalisation((20, 2, 4), 5), {"ub_bytes": 300}),
    "a tensor that comes by rows for two sums": (sums((9, 3), 8), {"ub_bytes": 440}),
    "a normalisation that just fits": (normalisation((2, 3, 10), 3), {"ub_bytes": 40}),
    "strips in a corner of the padding": (
        convolution((1, 1), 3, 5, stride=(3, 2), pads=(2, 3, 2, 3)), {"ub_bytes": 40},
    ),
    "strips that skip pixels": (convolution((3, 9), 6, 2, stride=(1, 2)), {"ub_bytes": 120}),
    "odd bytes of strips that skip pixels": (
        convolution((7, 13), 5, 4, kernel=(3, 1), stride=(1, 2), pads=(1, 1, 0, 0)), {"ub_bytes": 300},
    ),
    "odd bytes of groups": (
        convolution((6, 7), 6, 8, kernel=(3, 2), pads=(1, 0, 1, 1), groups=2), {"ub_bytes": 700},
    ),
    "sums of partial reductions that would wrap in ACC": (
        convolution((7, 3), 9, 20), {"ub_bytes": 150, "acc_bytes": 64 * 16},
    ),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CORNERS)
def test_every_plan_is_right(monkeypatch, name, batch):
    graph, change = CORNERS[name]
    arch = dataclasses.replace(load_arch("tiny"), **change)
    feeds = feeds_for(graph, batch)
    wanted = golden.run(graph, feeds)
    which, most, held = 0, 1, set()

    def nth(*args, keep=1, **options):
        nonlocal most
        found = plan_chain(*args, keep=200, **options)
        most = max(most, len(found))
        held.update(*(plan.held for plan in found))
        return found[which : which + 1] or found[-1:]

    monkeypatch.setattr(searching, "plan_chain", nth)
    while which < most:
        program = compile_network(graph, arch, batch=batch).program
        found, _, _ = values_of(program, arch, graph, feeds, "functional")
        for tensor, values in found.items():
            np.testing.assert_array_equal(values, wanted[tensor], err_msg=f"{tensor} with plan {which}")
        which += max(1, most // EVERY)
    assert which > 1 or "just fits" in name
    assert BY_ROWS.get(name, "") in {"", *held}
