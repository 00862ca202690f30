"""Ranges, saturation and signal-to-noise ratios of int8 networks against float."""

from __future__ import annotations

from math import inf, isnan, log10

import numpy as np
import pytest

from accelsim.nn import golden, quality
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.quality import measure, plain
from accelsim.nn.quantize import quantize
from accelsim.nn.scales import dequantize, quantize_values
from tests.nn.networks import every_kind, matrices


def ratio(real: np.ndarray, got: np.ndarray) -> float:
    """Value by value, in Python's floats."""
    pairs = [(float(y), float(z)) for y, z in zip(real.ravel(), got.ravel())]
    return 10 * log10(sum(y * y for y, _ in pairs) / sum((y - z) ** 2 for y, z in pairs))


@pytest.mark.parametrize("make", [every_kind, matrices])
def test_ratios_and_shares_are_those_of_all_values(make):
    graph, q, feeds = make()
    found = measure(graph, q, feeds)
    wanted = forward(graph, feeds)
    inputs = {name: quantize_values(x, q.tensors[name]) for name, x in feeds.items()}
    values = golden.run(q, inputs)
    assert found.images == 3
    computed = [name for name in q.tensors if name not in ("fl", "sm")]
    assert sorted(row.tensor for row in found.rows) == sorted(computed)
    for row in found.rows:
        tensor, got = q.tensors[row.tensor], values[row.tensor]
        assert row.snr_db == pytest.approx(ratio(wanted[row.tensor], dequantize(got, tensor)), abs=1e-4)
        ends = sum(np.count_nonzero(got == end) for end in (-128, 127) if end != tensor.zero)
        assert row.saturated == ends / got.size
        assert (row.scale, row.zero) == (float(tensor.scale), tensor.zero)
        assert row.low == pytest.approx(float(dequantize(np.int8([-128]), tensor)[0]))
        assert row.high == pytest.approx(float(dequantize(np.int8([127]), tensor)[0]))
        if row.kind == "input":
            assert row.own_db == row.snr_db


def test_a_layer_alone_has_no_errors_of_others():
    """The second of two equal convolutions: its own ratio is that of a network which reads its exact input."""
    rng = np.random.default_rng(2)
    first, second = (
        Layer(name=name, kind="conv", input=source, channels=3, weights=rng.normal(0, 1, (3, 1, 1, 3)).astype("f4"))
        for name, source in (("a", "x"), ("b", "a"))
    )
    graph = Graph(name="g", inputs=(("x", (8, 8, 3)),), layers=(first, second))
    x = rng.normal(0, 1, (2, 8, 8, 3)).astype(np.float32)
    rows = {row.name: row for row in measure(graph, quantize(graph, x), x).rows}
    a = forward(graph, x)["a"]
    alone = Graph(name="h", inputs=(("a", (8, 8, 3)),), layers=(second,))
    other = {row.name: row for row in measure(alone, quantize(alone, a), a).rows}
    assert rows["b"].own_db == pytest.approx(other["b"].snr_db, abs=1e-6)
    assert rows["b"].own_db > rows["b"].snr_db + 0.1


def test_blocks_of_images_change_nothing(monkeypatch):
    graph, q, feeds = every_kind()
    whole = plain(measure(graph, q, feeds))
    monkeypatch.setattr(quality, "BLOCK", 1)
    one = plain(measure(graph, q, feeds))
    assert one["agreement"] == whole["agreement"]
    for a, b in zip(one["tensors"], whole["tensors"]):
        assert a == {**b, "snr_db": pytest.approx(b["snr_db"]), "own_db": pytest.approx(b["own_db"])}


def test_exact_and_silent_tensors_have_no_ratio():
    layer = Layer(name="p", kind="maxpool", input="x", kernel=(2, 2), stride=(2, 2))
    end = Layer(name="r", kind="relu", input="p")
    graph = Graph(name="g", inputs=(("x", (4, 4, 1)),), layers=(layer, end))
    exact = np.tile(np.linspace(-128, 127, 256, dtype=np.float32).reshape(-1, 4, 4, 1), (1, 1, 1, 1))
    rows = measure(graph, quantize(graph, exact), exact).rows
    assert [row.snr_db for row in rows][:2] == [inf, inf]
    silent = measure(graph, quantize(graph, exact), np.zeros((1, 4, 4, 1), np.float32))
    assert all(isnan(row.snr_db) for row in silent.rows)
    assert silent.agreement is None
    assert {row["snr_db"] for row in plain(silent)["tensors"]} == {None}
