"""Known networks with branches, quantised, exported and run by ONNX Runtime: every value of every layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accelsim.bundled import resolve
from accelsim.networks import open_network
from accelsim.nn import golden
from accelsim.nn.graph import QConcat, QReshape, QSoftmax
from accelsim.nn.loader import load_network
from accelsim.nn.ranges import METHODS
from accelsim.nn.scales import quantize_values
from tests.onnx.models import NETWORKS, save
from tests.onnx.witness import outputs

SIZES = {"alexnet": 64, "resnet18": 32, "squeezenet": 48, "mobilenet_v2": 32, "inception": 12}


@pytest.mark.parametrize("name", SIZES)
def test_every_layer_of_known_networks(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of one unit, which additions and averages may have, would travel on; none is seen."""
    size = SIZES[name]
    keys = {"width": 128} if name == "alexnet" else {}
    path = save(NETWORKS[name](size=size, **keys), tmp_path / f"{name}.onnx")
    rng = np.random.default_rng(4)
    images = rng.normal(size=(6, 3, size, size)).astype(np.float32)
    network = open_network(path, calibrate=images[:2])
    for method in METHODS:
        graph = replace(network, method=method).quantize()
        [name_in] = graph.inputs
        inputs = quantize_values(images[2:].transpose(0, 2, 3, 1), graph.tensors[name_in])
        mine, theirs = golden.run(graph, inputs), outputs(graph, {name_in: inputs})
        assert len(np.unique(mine[graph.output])) > 20  # alive to the end
        equal, total = 0, 0
        for layer in graph.layers:
            if isinstance(layer, QSoftmax | QReshape):
                continue
            difference = np.abs(mine[layer.output].astype(int) - theirs[layer.output])
            assert difference.max() <= 2, layer.name
            equal, total = equal + np.count_nonzero(difference == 0), total + difference.size
        with capsys.disabled():
            print(f"\n{name}, {method}: {equal:,} of {total:,} values equal ({len(graph.layers)} layers)")
        assert equal / total >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet_nolrn", "resnet18", "mobilenet_v2", "squeezenet", "transformer_block"])
def test_bundled_networks_of_full_size(name: str) -> None:
    network = load_network(resolve(name, "workloads"))
    graph = network.quantize()
    inputs = {key: quantize_values(values, graph.tensors[key]) for key, values in network.feeds(1).items()}
    mine, theirs = golden.run(graph, inputs), outputs(graph, inputs)
    equal, total = 0, 0
    for layer in graph.layers:
        if not isinstance(layer, QSoftmax | QReshape):
            difference = np.abs(mine[layer.output].astype(int) - theirs[layer.output])
            assert difference.max() <= 2, layer.name
            equal, total = equal + np.count_nonzero(difference == 0), total + difference.size
    assert equal / total >= 0.9999


@pytest.mark.parametrize("name", ["squeezenet", "inception"])
def test_their_concatenations_are_copies(name: str, tmp_path: Path) -> None:
    """What they join, nothing else reads: it has the scale of the result from the start."""
    path = save(NETWORKS[name](size=SIZES[name]), tmp_path / f"{name}.onnx")
    graph = open_network(path).quantize()
    joins = [layer for layer in graph.layers if isinstance(layer, QConcat)]
    assert len(joins) == {"squeezenet": 8, "inception": 2}[name]
    for layer in joins:
        assert set(layer.scales) == {np.float32(1)}
        assert {graph.tensors[part].zero for part in layer.inputs} == {graph.tensors[layer.output].zero}
