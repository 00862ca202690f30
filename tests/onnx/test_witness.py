"""The golden model against ONNX Runtime on exported networks of one layer: an implementation that is not ours.

Convolutions, products, clips, tables and maxima are equal in every bit. Additions, averages and concatenations are
computed there in floating point: within one unit of the last place.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accelsim.nn import golden
from accelsim.nn.graph import QConv, QGraph, QLut
from tests.onnx import singles
from tests.onnx.witness import HAS_VNNI, PATHS, outputs

MANNERS = ("any", "biased", "extreme")


def both(graph: QGraph, feeds: dict[str, np.ndarray], path: str) -> tuple[np.ndarray, np.ndarray]:
    """Our and their values of the output."""
    ours, theirs = golden.run(graph, feeds)[graph.output], outputs(graph, feeds, path)[graph.output]
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    return ours, theirs


def feeds_of(graph: QGraph, rng: np.random.Generator, manner: str = "any") -> dict[str, np.ndarray]:
    return {name: singles.values(rng, graph.tensors[name].shape, manner) for name in graph.inputs}


def distances(cases: list[tuple[QGraph, dict[str, np.ndarray]]], path: str) -> Counter[int]:
    """How many values differ by how much, over all cases."""
    found: Counter[int] = Counter()
    for graph, feeds in cases:
        ours, theirs = both(graph, feeds, path)
        found += Counter(np.abs(ours.astype(int) - theirs).ravel().tolist())
    return found


def tell(what: str, found: Counter[int], path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the exact share, which may depend on the processor."""
    with capsys.disabled():
        print(f"\n{what} ({path}): {found[0]:,} of {found.total():,} values equal, others off by {set(found) - {0}}")


def test_the_path_that_runs_is_told(capsys):
    with capsys.disabled():
        print(f"\nONNX Runtime as witness: {', '.join(PATHS)} ({'with' if HAS_VNNI else 'without'} VNNI)")
    assert PATHS[0] == "s8s8"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("kind", ["conv", "fc"])
def test_convolutions_and_products_have_the_same_bits(kind, manner, path):
    inside, deep, seen = 0, 0, Counter()
    for seed in range(80 if kind == "conv" else 40):
        rng = np.random.default_rng([seed, 7])
        graph = getattr(singles, kind)(rng, manner)
        ours, theirs = both(graph, feeds_of(graph, rng, manner), path)
        assert np.array_equal(ours, theirs), f"seed {seed}"
        layer = graph.layers[0]
        assert isinstance(layer, QConv)
        inside += np.count_nonzero((ours > layer.lo) & (ours < layer.hi)) > 0
        deep += 127 * np.abs(layer.weights.astype(int)).reshape(len(layer.weights), -1).sum(axis=1).max() > 2**24
        seen.update(features(layer))
    assert inside >= 20  # networks whose results are not all at an end of their range
    assert deep >= 30 or manner == "any"  # networks whose sums can pass what float32 holds exactly
    wanted = ["clip"] if kind == "fc" else ["clip", "padded", "strided", "dilated", "grouped", "depthwise"]
    assert all(seen[feature] >= 5 for feature in wanted), seen


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("manner", ["any", "ties", "near"])
def test_sums_of_any_size_are_rescaled_to_the_same_bits(manner, path):
    """Half to even after one multiplication in float32: any other rule fails here, as the second half shows."""
    others: Counter[str] = Counter()
    for seed in range(10):
        graph = singles.rescaled(np.random.default_rng([seed, 14]), manner)
        ours, theirs = both(graph, {"x": np.zeros((1, 1, 1, 1), np.int8)}, path)
        assert np.array_equal(ours, theirs), f"seed {seed}"
        for rule, values in other_rules(graph).items():
            others[rule] += np.count_nonzero(values != theirs.ravel())
    expected = {"any": (), "ties": ("up",), "near": ("up", "float64")}[manner]
    assert {rule for rule, count in others.items() if count > 1000} == set(expected)


def other_rules(graph: QGraph) -> dict[str, np.ndarray]:
    """The output of a convolution without weights, half rounded up, and multiplied in float64."""
    [layer] = graph.layers
    assert isinstance(layer, QConv)
    zero = graph.tensors["y"].zero
    single = layer.bias.astype(np.float32) * layer.scale
    double = layer.bias.astype(np.float64) * layer.scale
    results = {"up": np.floor(single + np.float32(0.5)), "float64": np.rint(double)}
    return {rule: np.clip(values + zero, -128, 127).astype(np.int8) for rule, values in results.items()}


def features(layer: QConv) -> list[str]:
    """What is unusual about a convolution."""
    found = {
        "clip": (layer.lo, layer.hi) != (-128, 127), "padded": any(layer.pads), "strided": max(layer.stride) > 1,
        "dilated": max(layer.dilation) > 1, "grouped": layer.groups > 1, "depthwise": layer.kind == "depthwise",
    }  # fmt: skip
    return [name for name, there in found.items() if there]


@pytest.mark.parametrize("path", PATHS)
def test_maxima_have_the_same_bits(path):
    clipped = 0
    for seed in range(60):
        rng = np.random.default_rng([seed, 8])
        graph = singles.pool(rng, "maxpool")
        ours, theirs = both(graph, feeds_of(graph, rng), path)
        assert np.array_equal(ours, theirs), f"seed {seed}"
        clipped += (ours.min(), ours.max()) in [(layer.lo, layer.hi) for layer in graph.layers]
    assert clipped >= 5


@pytest.mark.parametrize("path", PATHS)
def test_tables_have_the_same_bits(path):
    rng = np.random.default_rng(9)
    every = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16, 1)
    for _ in range(5):
        x, y = (singles.tensor(rng, name, (16, 16, 1)) for name in "xy")
        table = rng.integers(-128, 128, 256, dtype=np.int8)
        graph = singles.single(QLut(name="t", kind="lut", input="x", output="y", table=table), x, y)
        ours, theirs = both(graph, {"x": every}, path)
        assert np.array_equal(ours, theirs)
        assert np.array_equal(ours.ravel(), table)


@pytest.mark.parametrize("path", PATHS)
def test_additions_of_every_pair_of_values(path, capsys):
    """28 networks of 65,536 pairs each: the share that is equal, and nothing further off than one unit."""
    pairs = np.broadcast_to(np.arange(-128, 128, dtype=np.int8)[:, None, None], (1, 256, 256, 1))
    feeds = {"a": pairs.transpose(0, 2, 1, 3).copy(), "b": pairs.copy()}
    assert len(np.unique(feeds["a"].astype(int) * 256 + feeds["b"])) == 65536
    found = distances([(singles.add(np.random.default_rng([seed, 10])), feeds) for seed in range(28)], path)
    tell("additions", found, path, capsys)
    assert set(found) <= {0, 1}
    assert found[0] / found.total() >= 0.9999


@pytest.mark.parametrize("path", PATHS)
def test_averages(path, capsys):
    cases = []
    for seed in range(150):
        rng = np.random.default_rng([seed, 11])
        graph = singles.pool(rng, "avgpool")
        cases.append((graph, feeds_of(graph, rng)))
    found = distances(cases, path)
    tell("averages", found, path, capsys)
    assert set(found) <= {0, 1}
    assert found[0] / found.total() >= 0.9999


@pytest.mark.parametrize("path", PATHS)
def test_concatenations(path, capsys):
    cases = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 12])
        graph = singles.concat(rng)
        cases.append((graph, feeds_of(graph, rng)))
    found = distances(cases, path)
    tell("concatenations", found, path, capsys)
    assert set(found) <= {0, 1}
    assert found[0] / found.total() >= 0.9999


def test_unsigned_activations_are_the_same_network():
    """Small weights: sums of two products fit 16 bits, so every processor's kernel for them is exact."""
    for seed in range(60):
        rng = np.random.default_rng([seed, 13])
        graph = singles.conv(rng, "any") if seed % 2 else singles.fc(rng, "any")
        if seed % 3 == 0:
            graph = singles.pool(rng, "maxpool")
        for layer in graph.layers:
            if isinstance(layer, QConv):
                layer.weights[...] //= 2
        ours, theirs = both(graph, feeds_of(graph, rng), "u8s8")
        assert np.array_equal(ours, theirs), f"seed {seed}"
