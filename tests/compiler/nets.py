"""Small networks by hand, for where tensors lie and what does not fit."""

from __future__ import annotations

import dataclasses

import numpy as np

from accelsim import runner
from accelsim.machine_file import load_arch
from accelsim.nn.graph import QAdd, QConv, QGraph, QLut, QPool, Tensor


def tiny(ub_bytes):
    """The smallest shipped machine with another UB."""
    return load_arch("tiny").replace({"ub.size": ub_bytes})


def lenet():
    return runner.open_network("lenet").quantize()


def tensors(shapes, zero=5):
    return {n: Tensor(name=n, shape=s, scale=np.float32(0.1), zero=zero) for n, s in shapes.items()}


def conv(name, source, target, shape, stride=(1, 1), pads=(0, 0, 0, 0)):
    rng = np.random.default_rng(1)
    return QConv(
        name=name, kind="conv", input=source, output=target, weights=rng.integers(-50, 50, shape).astype(np.int8),
        bias=np.zeros(shape[0], np.int32), scale=np.full(shape[0], 0.01, np.float32), stride=stride, pads=pads,
        dilation=(1, 1), groups=1, lo=-128, hi=127,
    )  # fmt: skip


def padded_network():
    """A large image, a pooled convolution, and a convolution with much padding: every mix of places occurs."""
    pool = QPool(
        name="pool", kind="maxpool", input="a", output="p", kernel=(2, 2), stride=(1, 1), pads=(0, 0, 0, 0),
        count_include_pad=False, lo=-128, hi=127,
    )  # fmt: skip
    return QGraph(
        name="padded", inputs=("x",), outputs=("z",),
        tensors=tensors({"x": (20, 20, 1), "a": (4, 4, 4), "p": (3, 3, 4), "z": (2, 2, 2)}),
        layers=(
            conv("c1", "x", "a", (4, 5, 5, 1), stride=(4, 4)), pool,
            conv("c2", "p", "z", (2, 3, 3, 4), stride=(4, 4), pads=(3, 3, 3, 3)),
        ),
        rows=(("c1", "conv", "c1"), ("pool", "maxpool", "pool"), ("c2", "conv", "c2")),
    )  # fmt: skip


def padded_network_with_table():
    """The same with a table behind it."""
    graph = padded_network()
    table = QLut(name="tanh", kind="tanh", input="z", output="t", table=np.arange(-128, 128).astype(np.int8))
    return dataclasses.replace(
        graph, outputs=("t",), tensors={**graph.tensors, **tensors({"t": (2, 2, 2)})},
        layers=(*graph.layers, table), rows=(*graph.rows, ("tanh", "tanh", "tanh")),
    )  # fmt: skip


def sums_network():
    """Three sums of tensors in DRAM: of one with itself, twice, and of two."""

    def add(name, first, second):
        return QAdd(
            name=name, kind="add", inputs=(first, second), output=name, factors=(1 << 22, 1 << 21),
            bias=-5 * (3 << 21), scale=np.float32(2**-22), lo=-128, hi=127,
        )  # fmt: skip

    return QGraph(
        name="sums", inputs=("x", "y"), outputs=("c", "a", "b"),
        tensors=tensors(dict.fromkeys("xycab", (4, 4, 4))),
        layers=(add("c", "y", "y"), add("a", "x", "x"), add("b", "x", "y")),
        rows=tuple((name, "add", name) for name in "cab"),
    )  # fmt: skip
