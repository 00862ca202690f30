"""Exported models: their form, what cannot be said, and that reading one back gives the network it was made from."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import onnx
import pytest

from accelsim.bundled import resolve
from accelsim.errors import GraphError, MissingExtraError
from accelsim.nn import golden
from accelsim.nn.graph import Graph, Layer, Norm, QGraph, QLut, QReshape, QSoftmax, sources
from accelsim.nn.loader import load_network, random_feeds
from accelsim.nn.quantize import quantize
from accelsim.nn.weights import random_weights
from accelsim.onnx.export import to_operators
from accelsim.onnx.model import OnnxModel, load_onnx
from accelsim.onnx.parts import weight_scales
from tests.nn.networks import every_kind, matrices
from tests.onnx import singles
from tests.onnx.witness import outputs


def made(*layers: Layer, shape=(8, 8, 4), outputs=()) -> tuple[Graph, QGraph, dict[str, np.ndarray]]:
    graph = random_weights(Graph(name="g", inputs=(("x", shape),), layers=layers, outputs=outputs), 5)
    feeds = random_feeds(graph, 3, 1)
    return graph, quantize(graph, feeds), feeds


def conv(name: str, source: str, **keys) -> Layer:
    return Layer(name=name, kind="conv", input=source, **({"channels": 4} | keys))


def without_lrn() -> QGraph:
    """The network of every kind, its normalisation left out."""
    graph, _, feeds = every_kind()
    layers = tuple(dataclasses.replace(layer, input="gr") if layer.input == "n" else layer
                   for layer in graph.layers if layer.kind != "lrn")  # fmt: skip
    return quantize(dataclasses.replace(graph, layers=layers), feeds)


def branches() -> QGraph:
    """Rectifiers in front of a concatenation whose range goes below 0; pooling and flatten of tables."""
    return made(
        conv("a", "x", activation="relu"), conv("b", "x", kernel=(3, 3), pads=(1, 1, 1, 1)),
        conv("c", "x", activation="relu6"),
        Layer(name="j", kind="concat", input="a", others=("b", "c")),
        Layer(name="t", kind="tanh", input="j"),
        Layer(name="p", kind="maxpool", input="t", kernel=(2, 2), stride=(2, 2)),
        Layer(name="f", kind="flatten", input="p"),
        Layer(name="s", kind="sigmoid", input="f"),
        Layer(name="d", kind="fc", input="s", channels=6),
        Layer(name="k", kind="flatten", input="j"), Layer(name="e", kind="fc", input="k", channels=6),
        Layer(name="z", kind="add", input="d", others=("e",), activation="relu"),
    )[1]  # fmt: skip


def residual() -> QGraph:
    return made(
        conv("a", "x", activation="relu"), conv("b", "a"),
        Layer(name="s", kind="add", input="b", others=("a",)), Layer(name="r", kind="relu", input="s"),
        Layer(name="g", kind="avgpool", input="r", kernel=(8, 8)), Layer(name="d", kind="fc", input="g", channels=3),
        outputs=("d", "r"),
    )[1]  # fmt: skip


def flat_output() -> QGraph:
    """A vector whose order somebody sees."""
    pool = Layer(name="p", kind="maxpool", input="c", kernel=(2, 2), stride=(2, 2))
    flat, end = Layer(name="f", kind="flatten", input="p"), Layer(name="d", kind="fc", input="f", channels=2)
    return made(conv("c", "x"), pool, flat, end, outputs=("f", "d"))[1]


def lenet() -> QGraph:
    return load_network(resolve("lenet", "workloads")).quantize()


def tanh_lenet() -> QGraph:
    return load_network(resolve("lenet_tanh", "workloads")).quantize()


NETWORKS = [lenet, tanh_lenet, without_lrn, branches, residual, flat_output, lambda: matrices()[1]]


def read_back(graph: QGraph, folder, **options: bool) -> OnnxModel:
    model = to_operators(graph, **options)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "net.onnx")
    return load_onnx(folder / "net.onnx")


@pytest.mark.parametrize("options", [{}, {"unsigned": True}, {"integers": True}, {"integers": True, "unsigned": True}],
                         ids=lambda options: "-".join(options) or "float")  # fmt: skip
@pytest.mark.parametrize("make", NETWORKS, ids=lambda f: f.__name__)
def test_a_network_comes_back(make, options, tmp_path):
    """Equal in every number; names may be others, a table forgets its function, a limit shows as a row of its own.

    A model of integers ends before the softmax.
    """
    graph = make()
    if "integers" in options:
        graph = dataclasses.replace(graph, layers=tuple(q for q in graph.layers if not isinstance(q, QSoftmax)))
    back = read_back(graph, tmp_path, **options)
    assert back.qgraph is not None
    assert_alike(graph, back.qgraph)


def assert_alike(graph: QGraph, back: QGraph) -> None:
    """One network but for names."""
    renamed = dict(zip(graph.inputs, back.inputs))
    theirs = {layer.name: layer for layer in back.layers}
    assert len(graph.layers) == len(back.layers)
    for layer, other in zip(graph.layers, theirs.values()):
        assert type(layer) is type(other)
        assert tuple(renamed[name] for name in sources(layer)) == sources(other)
        if hasattr(layer, "output"):
            renamed[layer.output] = other.output
        for field in dataclasses.fields(layer):
            if field.name in ("name", "input", "inputs", "output") or (field.name == "kind" and layer.kind in LOOSE):
                continue
            left, right = getattr(layer, field.name), getattr(other, field.name)
            if field.name == "count_include_pad" and not any(layer.pads):
                continue  # without padding it means nothing
            np.testing.assert_array_equal(left, right, err_msg=f"{layer.name}.{field.name}")
            assert np.asarray(left).dtype == np.asarray(right).dtype
    assert tuple(renamed[name] for name in graph.outputs) == back.outputs
    for name, tensor in graph.tensors.items():
        assert dataclasses.replace(tensor, name=renamed[name]) == back.tensors[renamed[name]]


LOOSE = ("gemm", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "hard_swish")
"""Kinds that the operators do not tell: a product of a matrix is a 1x1 convolution, a table a table."""


@pytest.mark.parametrize("make", [without_lrn, branches, residual, flat_output], ids=lambda f: f.__name__)
def test_whole_networks_against_the_witness(make):
    """An addition, average or concatenation may be off by one and pass that on; what comes before is equal."""
    graph = make()
    rng = np.random.default_rng(3)
    feeds = {name: singles.values(rng, graph.tensors[name].shape, "any", 8) for name in graph.inputs}
    ours, theirs = golden.run(graph, feeds), outputs(graph, feeds)
    exact = set(feeds)
    for layer in graph.layers:
        if isinstance(layer, QSoftmax):
            continue
        found, wanted = theirs[layer.output], ours[layer.output].astype(int)
        if found.shape[1:3] == (1, 1) and isinstance(layer, QReshape | QLut):
            found, wanted = np.sort(found), np.sort(wanted)  # what reads a vector shows its order
        difference = np.abs(wanted - found)
        if layer.kind not in ("add", "avgpool", "concat") and exact.issuperset(sources(layer)):
            exact.add(layer.output)
            assert difference.max() == 0, layer.name
        assert difference.max() <= 2, layer.name
        assert (difference == 0).mean() >= 0.998, layer.name


def test_a_product_may_read_an_image():
    """The model flattens it; the weights are those of its own order: channel, row, column."""
    rng = np.random.default_rng(4)
    graph = singles.fc(rng, "biased")
    feeds = {"x": singles.values(rng, graph.tensors["x"].shape, "biased")}
    np.testing.assert_array_equal(outputs(graph, feeds)["y"], golden.run(graph, feeds)["y"])
    kinds = [node.op_type for node in to_operators(graph, integers=True).graph.node if node.op_type != "Clip"]
    assert kinds == ["Flatten", "QGemm"]


def test_the_form_of_a_model():
    model = to_operators(lenet())
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17), ("com.microsoft", 1)]
    assert [node.op_type for node in model.graph.node] == [
        "QuantizeLinear", "QLinearConv", "MaxPool", "QLinearConv", "MaxPool", "Flatten", "QGemm", "QGemm", "QGemm",
        "DequantizeLinear", "Softmax",
    ]  # fmt: skip
    assert [node.name for node in model.graph.node][1:5] == ["conv1", "pool1", "conv2", "pool2"]
    dims = [[d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim]
            for end in (*model.graph.input, *model.graph.output)]  # fmt: skip
    assert dims == [["N", 1, 32, 32], ["N", 10]]


def test_normalisation_is_refused_by_name():
    graph = made(conv("a", "x"), Layer(name="n7", kind="lrn", input="a", norm=Norm(size=3, alpha=1, beta=0.5, k=1)))[1]
    with pytest.raises(GraphError) as caught:
        to_operators(graph)
    assert str(caught.value) == (
        "n7: ONNX has no quantised local response normalisation "
        "(leave the layer out, or keep the network in accelsim's own format)"
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_three_scales_multiply_to_the_one(seed):
    rng = np.random.default_rng(seed)
    sx, sy = (np.float32(2.0 ** rng.uniform(-20, 10)) for _ in range(2))
    sw = (2.0 ** rng.uniform(-25, 5, 500)).astype(np.float32)
    scale = (sx * sw).astype(np.float32) / sy
    found = weight_scales("a", scale, sx, sy)
    np.testing.assert_array_equal((sx * found).astype(np.float32) / sy, scale)


def test_a_scale_that_is_no_product_is_refused():
    """Steps of the weights' scale near 1 are twice as wide as those of the product near 2."""
    sx, sy = np.float32(1.97), np.float32(1)
    scales = (np.float32(1.99) + np.arange(64) * np.float32(2**-23)).astype(np.float32)
    with pytest.raises(GraphError, match=r"^conv3: the scale 1.9\d* of channel \d+ is no product of float32 scales$"):
        weight_scales("conv3", scales, sx, sy)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as caught:
        to_operators(lenet())
    assert str(caught.value) == "writing ONNX models needs the extra 'onnx': pip install 'accelsim[onnx]'"
