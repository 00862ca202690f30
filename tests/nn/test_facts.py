"""Counts against closed forms and against loops over windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from accelsim.nn.facts import layer_facts, network_facts
from accelsim.nn.graph import Graph, Layer, QConv, QReshape, QSoftmax, sources
from accelsim.nn.loader import random_inputs
from accelsim.nn.quantize import quantize
from accelsim.nn.weights import random_weights
from tests.oracles import nn as oracle
from tests.strategies import qgraphs, wide_cases


@settings(max_examples=60, deadline=None, derandomize=True)
@given(qgraphs(max_hw=8, max_c=5))
def test_counts_of_random_networks(graph):
    facts = {f.name: f for f in layer_facts(graph, 3)}
    for layer in graph.layers:
        row = facts[layer.name]
        if isinstance(layer, QReshape | QSoftmax):
            assert (row.macs, row.compulsory_bytes) == (0, 0)
            continue
        source, result = graph.tensors[layer.input], graph.tensors[layer.output]
        assert row.output_bytes == 3 * np.prod(result.shape)
        assert row.input_bytes == 3 * oracle.touched_bytes(layer, source, result)
        if isinstance(layer, QConv):
            k, r, s, c = layer.weights.shape
            assert row.weight_bytes == k * r * s * c
            assert row.macs == 3 * result.shape[0] * result.shape[1] * k * r * s * c
        else:
            assert (row.macs, row.weight_bytes) == (0, 0)
    total = network_facts(graph, 3)
    assert total.macs == sum(f.macs for f in facts.values())
    assert total.weight_bytes == sum(f.weight_bytes for f in facts.values())
    assert total.input_bytes == facts[graph.layers[0].name].input_bytes
    assert total.output_bytes == 3 * graph.tensors[graph.output].size


@settings(max_examples=60, deadline=None, derandomize=True)
@given(wide_cases(max_hw=6, max_c=6, max_batch=1))
def test_counts_of_networks_with_several_inputs_and_outputs(case):
    graph, _ = case
    facts = {f.name: f for f in layer_facts(graph, 3)}
    root = graph.roots
    read: dict[str, int] = {}
    for layer in graph.layers:
        row, result = facts[layer.name], graph.tensors[layer.output]
        if isinstance(layer, QReshape):
            assert (row.macs, row.compulsory_bytes) == (0, 0)
            continue
        names = set(sources(layer))
        assert row.input_bytes == 3 * sum(oracle.touched_bytes(layer, graph.tensors[n], result) for n in names)
        assert row.output_bytes == 3 * result.size
        weighted = isinstance(layer, QConv)
        assert (row.kind in ("conv", "depthwise", "gemm", "fc")) == weighted
        assert row.macs == (3 * result.size * layer.weights[0].size if weighted else 0)
        for name in names:
            whole = graph.tensors[name].size if name != root[name] else 0
            touched = max(whole, oracle.touched_bytes(layer, graph.tensors[name], result))
            read[root[name]] = max(read.get(root[name], 0), touched)
    total = network_facts(graph, 3)
    assert total.macs == sum(f.macs for f in facts.values())
    # Windows of one reader lie inside those of another or reach beyond them: at least the larger, at most all.
    least = 3 * sum(read[name] for name in graph.inputs)
    assert least <= total.input_bytes <= 3 * sum(graph.tensors[name].size for name in graph.inputs)
    assert total.output_bytes == 3 * sum(graph.tensors[name].size for name in {root[n] for n in graph.outputs})


def test_what_is_added_to_itself_is_read_once():
    graph = quantized(Layer(name="s", kind="add", input="x", others=("x",)))
    assert layer_facts(graph, 2)[0].input_bytes == network_facts(graph, 2).input_bytes == 2 * 8 * 8 * 3


def quantized(*layers: Layer, shape: tuple[int, int, int] = (8, 8, 3)):
    graph = random_weights(Graph(name="g", inputs=(("x", shape),), layers=layers), 0)
    return quantize(graph, random_inputs(shape, 2, 0))


def test_fused_rows_have_nothing_of_their_own():
    graph = quantized(
        Layer(name="a", kind="conv", input="x", kernel=(3, 3), stride=(4, 1), channels=4),
        Layer(name="b", kind="relu", input="a"),
        Layer(name="c", kind="fc", input="b", channels=5, activation="tanh"),
    )
    rows = layer_facts(graph, 2)
    assert [(r.name, r.kind, r.host, r.macs, r.weight_bytes, r.input_bytes, r.output_bytes) for r in rows] == [
        # Rows 0-2 and 4-6 of 8 are read.
        ("a", "conv", "a", 2 * 2 * 6 * 4 * 27, 108, 2 * 6 * 8 * 3, 2 * 2 * 6 * 4),
        ("b", "relu", "a", 0, 0, 0, 0),
        ("c", "fc", "c", 2 * 48 * 5, 240, 2 * 48, 2 * 5),
    ]
    total = network_facts(graph, 2)
    assert total.macs == rows[0].macs + rows[2].macs
    assert total.compulsory_bytes == 108 + 240 + 288 + 10


def test_behind_a_flatten_the_whole_input_is_read():
    graph = quantized(
        Layer(name="f", kind="flatten", input="x"), Layer(name="c", kind="fc", input="f", channels=5)
    )
    assert network_facts(graph, 1).input_bytes == 8 * 8 * 3
