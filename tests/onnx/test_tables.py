"""Look-ups by integer activations, and clips of integers that the layer before them does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from accelsim.errors import ConfigErrors
from accelsim.nn import golden
from accelsim.nn.graph import QConv, QGraph, QLut
from accelsim.onnx.model import load_onnx
from tests.onnx.builders import Quantizer
from tests.onnx.witness import session


def pointwise(b: Quantizer, x: str) -> str:
    """A 1x1 convolution behind ``x``."""
    return b.operator("QLinearConv", 0.05, -7, x, *b.scales[x], *b.integers(4, 4, 1, 1), "y")


def lookup(b: Quantizer, x: str, table: np.ndarray, to: int = TensorProto.INT32, **keys: int) -> str:
    y = b.node("Gather", b.weight(table), b.node("Cast", x, to=to), **keys)
    b.scales[y] = b.scale(0.03, 5)
    return y


def read(b: Quantizer, folder: Path, y: str) -> QGraph:
    graph = load_onnx(b.save(folder / "m.onnx", b.real(y))).qgraph
    assert graph is not None
    return graph


def check(b: Quantizer, graph: QGraph, y: str) -> None:
    """accelsim's values are the witness's, on all inputs."""
    x = np.random.default_rng(1).integers(-128, 128, (2, 8, 8, 4), dtype=np.int8)
    tensor = graph.tensors[graph.input]
    real = (x.astype(np.float32) - tensor.zero) * tensor.scale
    [found] = session(b.model(b.real(y))).run(None, {"x": real.transpose(0, 3, 1, 2)})
    wanted, result = golden.run(graph, x)[graph.output], graph.tensors[graph.output]
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), (wanted.astype(np.float32) - result.zero) * result.scale)


@pytest.mark.parametrize("to", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_look_up_is_a_table(kind, to, tmp_path):
    b = Quantizer(("N", 4, 8, 8), kind)
    table = np.random.default_rng(3).integers(-128, 128, 256).astype(np.int8)
    stored = np.roll(table, -128) if kind == "int8" else (table.astype(int) + 128).astype(np.uint8)
    y = pointwise(b, lookup(b, pointwise(b, b.x), stored, to))
    graph = read(b, tmp_path, y)
    [found] = [layer for layer in graph.layers if isinstance(layer, QLut)]
    np.testing.assert_array_equal(found.table, table)
    assert (graph.tensors[found.output].scale, graph.tensors[found.output].zero) == (np.float32(0.03), 5)
    check(b, graph, y)


TABLE = np.zeros(256, np.int8)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda b: lookup(b, b.x, TABLE[:255]), "its table is int8 [255], expected int8 or uint8 [256]"),
        (lambda b: lookup(b, b.x, np.zeros(256, np.int16)), "its table is int16 [256], expected int8 or uint8 [256]"),
        (lambda b: lookup(b, b.x, TABLE.reshape(256, 1)), "its table is int8 [256, 1], expected int8 or uint8 [256]"),
        (lambda b: b.node("Gather", b.x, b.weight(np.array([0]))), "does not look up integer activations in a table"),
        (lambda b: b.node("Neg", b.node("Cast", b.x, to=TensorProto.INT32)), "changes the type of activations"),
        (lambda b: b.node("Gather", b.weight(TABLE), b.node("Cast", b.real(b.x), to=TensorProto.INT32)),
         "changes the type of activations"),
    ],
)  # fmt: skip
def test_other_look_ups_are_refused(build, expected, tmp_path):
    b = Quantizer(("N", 4, 8, 8))
    path = b.save(tmp_path / "m.onnx", build(b))
    with pytest.raises(ConfigErrors) as caught:
        load_onnx(path)
    assert expected in str(caught.value)


def clip(b: Quantizer, x: str, low: int, high: int) -> str:
    shift = 128 if b.kind == np.uint8 else 0
    return b.same("Clip", x, *(b.weight(np.array(end + shift, b.kind)) for end in (low, high)))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_clip_behind_a_convolution_is_its_limits(kind, tmp_path):
    b = Quantizer(("N", 4, 8, 8), kind)
    y = clip(b, clip(b, pointwise(b, b.x), -40, 90), -100, 20)
    graph = read(b, tmp_path, y)
    [layer] = graph.layers
    assert isinstance(layer, QConv)
    assert (layer.lo, layer.hi) == (-40, 20)
    assert [(kind, host) for _, kind, host in graph.rows] == [(k, layer.name) for k in ("conv", "clip", "clip")]
    check(b, graph, y)


def test_a_clip_of_what_others_read_is_a_table(tmp_path):
    b = Quantizer(("N", 4, 8, 8))
    first = pointwise(b, b.x)
    y = b.operator("QLinearAdd", 0.1, 0, clip(b, first, -10, 10), *b.scales[first], first, *b.scales[first], "y")
    graph = read(b, tmp_path, y)
    assert [type(layer).__name__ for layer in graph.layers] == ["QConv", "QLut", "QAdd"]
    check(b, graph, y)
