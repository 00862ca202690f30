"""The whole quantised LeNet in ONNX Runtime: every value of every layer, and what it says about digits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from accelsim.bundled import resolve
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.graph import QSoftmax
from accelsim.nn.loader import load_network
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.onnx.export import to_operators
from tests.onnx.witness import outputs, session


@pytest.fixture(scope="module", params=["lenet", "lenet_tanh"])
def network(request):
    return load_network(resolve(request.param, "workloads"))


def test_every_layer_of_360_digits_has_the_same_bits(network):
    graph = network.quantize()
    images = network.dataset.images("test")
    inputs = quantize_values(images, graph.tensors["image"])
    theirs, ours = outputs(graph, {"image": inputs}), golden.run(graph, inputs)
    assert (len(images), len(theirs)) == (360, sum(not isinstance(layer, QSoftmax) for layer in graph.layers))
    for name, values in theirs.items():
        if name == "flatten":  # in the order of the model: channels first
            values = values.reshape(360, -1, 5, 5).transpose(0, 2, 3, 1).reshape(values.shape)
        assert np.array_equal(values, ours[name]), name


def test_the_model_takes_floats_and_gives_probabilities(network):
    """As other tools would run it: images in, softmax out; float agreement is that of the issue's aim."""
    graph = network.quantize()
    model = to_operators(graph)
    onnx.checker.check_model(model)
    images, labels = network.dataset.images("test"), network.dataset.labels("test")
    [found] = session(model).run(None, {"image": images.transpose(0, 3, 1, 2)})
    logits = golden.run(graph, quantize_values(images, graph.tensors["image"]))[graph.output]
    ours = golden.softmax(dequantize(logits, graph.tensors[graph.output])).reshape(360, -1)
    np.testing.assert_allclose(found, ours, atol=1e-6)
    assert np.array_equal(found.argmax(axis=1), ours.argmax(axis=1))
    floats = forward(network.graph, images)[network.graph.results[-1]].reshape(360, -1)
    assert (found.argmax(axis=1) == floats.argmax(axis=1)).mean() >= 0.99
    assert (found.argmax(axis=1) == labels).mean() == pytest.approx(0.9889, abs=0.0001)
