"""Random small int8 networks and inputs for property tests.

``qgraphs()`` draws a :class:`QGraph`; ``network_cases()`` a pair of graph and int8 inputs. Structure is drawn
by hypothesis, so failures shrink; the numbers inside come from a seeded generator, in modes that include
extremes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.nn.graph import QGraph, Tensor, sources
from tests.drawn import Chain

INPUT_MODES = ("uniform", "near_zero", "high", "low", "zero_point", "ramp", "extremes")
BODY_KINDS = ("conv", "depthwise", "grouped", "maxpool", "avgpool", "lut")
ALL_KINDS = (*BODY_KINDS, "add", "lrn", "gemm", "concat")


@st.composite
def qgraphs(
    draw: st.DrawFn, max_layers: int = 4, max_hw: int = 12, max_c: int = 8, tail: bool = True
) -> QGraph:
    """A chain of 1 to ``max_layers`` conv, pooling and table layers, then (with ``tail``) perhaps an fc tail.

    Channels divide nothing in particular; strides, dilation and padding differ per side; groups include
    depthwise. Images are at most ``max_hw`` x ``max_hw`` x ``max_c``.
    """
    chain = Chain(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed")), max_c)
    chain.start((
        draw(st.integers(1, max_hw), label="h"), draw(st.integers(1, max_hw), label="w"),
        draw(st.integers(1, max_c), label="c"),
    ))  # fmt: skip
    kinds = draw(st.lists(st.sampled_from(BODY_KINDS), min_size=1, max_size=max_layers), label="kinds")
    for kind in kinds:
        chain.body(kind)
    if tail and draw(st.booleans(), label="fc"):
        chain.classifier()
    return chain.graph()


@st.composite
def network_cases(
    draw: st.DrawFn, max_batch: int = 2, max_layers: int = 4, max_hw: int = 12, max_c: int = 8
) -> tuple[QGraph, NDArray[np.int8]]:
    """A random network and int8 inputs (n, h, w, c), from plain to extreme."""
    graph = draw(qgraphs(max_layers=max_layers, max_hw=max_hw, max_c=max_c))
    batch = draw(st.integers(1, max_batch), label="batch")
    mode = draw(st.sampled_from(INPUT_MODES), label="inputs")
    return graph, inputs_for(graph, batch, mode, draw(st.integers(0, 2**32 - 1), label="input seed"))


@st.composite
def wide_cases(
    draw: st.DrawFn, max_batch: int = 2, max_layers: int = 4, max_hw: int = 8, max_c: int = 8, max_parts: int = 2,
    kinds: Sequence[str] = ALL_KINDS, min_layers: int = 1, min_hw: int = 1, max_dilation: int = 2,
    channels: Sequence[int] = (),
) -> tuple[QGraph, dict[str, NDArray[np.int8]]]:  # fmt: skip
    """A network of 1 to ``max_parts`` independent parts with every kind of layer, and int8 inputs by name.

    Additions and concatenations read earlier tensors or network inputs of their own; the kind "turn" goes back to an
    earlier tensor, from which the next layer branches off. Any layer may be an output, one that nobody reads is.
    ``channels`` are those of the images, any up to ``max_c`` if missing.
    """
    parts = []
    for index in range(draw(st.integers(1, max_parts), label="parts")):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
        chain = Chain(draw, rng, max_c, prefix=f"p{index}_", max_dilation=max_dilation)
        if draw(st.sampled_from([False, False, True]), label="one scale"):
            chain.level = np.float32(2.0**-4), draw(st.sampled_from([-128, 0, 7]), label="zero of all")
        some = draw(st.lists(st.sampled_from(kinds), min_size=min_layers, max_size=max_layers), label="kinds")
        h, w = (draw(st.integers(min_hw, max_hw), label="side") for _ in "hw")
        c = draw(st.sampled_from(channels) if channels else st.integers(1, max_c), label="c")
        chain.start((1 if some[0] == "gemm" else h, w, c))
        for kind in some:
            chain.body(kind)
        chain.at = ""
        if not chain.layers:
            chain.body("lut")
        if draw(st.sampled_from([False, False, True]), label="fc"):
            chain.classifier(softmax=False)
        parts.append(chain)
    graph = _merged(draw, parts)
    batch = draw(st.integers(1, max_batch), label="batch")
    mode = draw(st.sampled_from(INPUT_MODES), label="inputs")
    return graph, feeds_for(graph, batch, mode, draw(st.integers(0, 2**32 - 1), label="input seed"))


def _merged(draw: st.DrawFn, parts: list[Chain]) -> QGraph:
    """The parts as one network; each part's last tensor is an output, others may be."""
    outputs: list[str] = []
    for part in parts:
        others = [x.output for x in part.layers if x.kind != "flatten" and x.output != part.last.name]
        outputs += [name for name in others if draw(st.sampled_from([False] * 5 + [True]), label="output too")]
        read = {name for layer in part.layers for name in sources(layer)}
        outputs += [name for name in others if name not in {*read, *outputs, part.last.name}]
        outputs.append(part.last.name)
    layers = [layer for part in parts for layer in part.layers]
    return QGraph(
        name="wide", inputs=tuple(name for part in parts for name in part.inputs), outputs=tuple(outputs),
        tensors={name: tensor for part in parts for name, tensor in (part.tensors | part.extra).items()},
        layers=tuple(layers), rows=tuple((layer.name, layer.kind, layer.name) for layer in layers),
    )  # fmt: skip


def feeds_for(graph: QGraph, batch: int, mode: str = "uniform", seed: int = 0) -> dict[str, NDArray[np.int8]]:
    """int8 (batch, h, w, c) by name for every input of ``graph``, in one of ``INPUT_MODES``."""
    return {name: _values(graph.tensors[name], batch, mode, seed + i) for i, name in enumerate(graph.inputs)}


def inputs_for(graph: QGraph, batch: int, mode: str = "uniform", seed: int = 0) -> NDArray[np.int8]:
    """int8 (batch, h, w, c) for the first input of ``graph`` in one of ``INPUT_MODES``."""
    return _values(graph.tensors[graph.input], batch, mode, seed)


def _values(tensor: Tensor, batch: int, mode: str, seed: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    shape = (batch, *tensor.shape)
    makers: dict[str, Callable[[], NDArray]] = {
        "uniform": lambda: rng.integers(-128, 128, shape),
        "near_zero": lambda: np.clip(np.rint(rng.normal(tensor.zero, 8, shape)), -128, 127),
        "high": lambda: np.full(shape, 127),
        "low": lambda: np.full(shape, -128),
        "zero_point": lambda: np.full(shape, tensor.zero),
        "ramp": lambda: np.arange(batch * tensor.size).reshape(shape) % 256 - 128,
        "extremes": lambda: rng.choice([-128, 127], shape),
    }
    return makers[mode]().astype(np.int8)
