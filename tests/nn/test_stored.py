"""Stored int8 networks: read back in every bit, and every mistake of both files at its place."""
# ruff: noqa: E501 (full messages)

from __future__ import annotations

import numpy as np
import pytest

from accelsim.cli.base import read_numbers
from accelsim.errors import AccelsimError, ConfigError, ConfigErrors
from accelsim.nn.dataset import read_array
from accelsim.nn.loader import load_network
from accelsim.nn.stored import arrays_name, digest, stored_arrays, stored_text, write_arrays
from tests.nn.networks import assert_same, every_kind, matrices


def store(folder, graph, change=lambda arrays: arrays, edit=(), *, honest=True):
    """Both files; ``change`` gives other arrays (with their digest, if ``honest``), ``edit`` is (old, new) text."""
    target = folder / "net.q.yaml"
    arrays = stored_arrays(graph)
    changed = change(dict(arrays))
    write_arrays(folder / arrays_name(target), changed)
    mark = digest(changed if honest else arrays)
    text = stored_text(graph, (arrays_name(target), mark), {"from": "here"}, seed=4)
    for old, new in edit:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    target.write_text(text, encoding="utf-8")
    return target


def mistakes(path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_network(path)
    return [f"{e.where.split(':', 1)[1]} {e.key}: {e.problem}" + (f" ({e.hint})" if e.hint else "")
            for e in caught.value.errors]  # fmt: skip


@pytest.mark.parametrize("make", [every_kind, matrices])
def test_a_network_comes_back_the_same(make, tmp_path):
    _, graph, _ = make()
    network = load_network(store(tmp_path, graph))
    assert network.graph is None
    assert_same(network.quantize(), graph)
    assert (network.name, network.seed, network.classes, network.dataset) == (graph.name, 4, (), None)
    assert [path.name for path in network.files] == ["net.q.yaml", "net.q.npz"]
    assert set(graph.tensors) | {layer.name for layer in graph.layers} <= set(network.places)
    feeds = network.feeds(2)
    assert {name: array.shape for name, array in feeds.items()} == {
        name: (2, *graph.tensors[name].shape) for name in graph.inputs
    }


def test_the_files_depend_on_the_network_alone(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        store(folder, every_kind()[1])
    for name in ("net.q.yaml", "net.q.npz"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def replaced(name, value):
    return lambda arrays: arrays | {name: value}


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("c1.bias"), "layers[0].name: net.q.npz has no array 'c1.bias' (did you mean 'fc.bias'? in the file: c1.weights, "),
        (replaced("c1.bias", np.zeros(8)), "layers[0].name: net.q.npz array 'c1.bias': expected int32 [8], got float64 [8]"),
        (replaced("c1.weights", np.zeros((8, 3, 3, 3), np.int8)), "layers[0].name: net.q.npz array 'c1.weights': expected int8 [8, 3, 2, 3], got int8 [8, 3, 3, 3]"),
        (replaced("dw.scale", np.full(8, np.nan, np.float32)), "layers[1].name: net.q.npz array 'dw.scale': holds values that are not finite or below 0"),
        (replaced("dw.scale", np.full(8, -1, np.float32)), "layers[1].name: net.q.npz array 'dw.scale': holds values that are not finite or below 0"),
        (replaced("n.square", np.full(256, -1, np.int8)), "layers[4]: net.q.npz array 'n.square' holds values below 0"),
        (replaced("hs.table", np.zeros(255, np.int8)), "layers[8].name: net.q.npz array 'hs.table': expected int8 [256], got int8 [255]"),
        (replaced("c2.bias", np.zeros(8, np.int32)), "arrays.file: net.q.npz array 'c2.bias' belongs to no layer (did you mean 's2.bias'? "),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit(change, expected, tmp_path):
    found = mistakes(store(tmp_path, every_kind()[1], change))
    assert len(found) == 1
    assert expected in found[0]


def test_arrays_of_another_network_are_noticed(tmp_path):
    graph = every_kind()[1]
    other = dict(stored_arrays(every_kind(7)[1]))
    [found] = mistakes(store(tmp_path, graph, lambda _: other, honest=False))
    assert "arrays.digest: net.q.npz holds other arrays than those written with this file (quantise again)" in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "arrays.file: net.q.npz: no such file"),
        (b"PK\x03\x04 cut", "arrays.file: net.q.npz: not an .npz file, or cut short"),
    ],
)
def test_a_missing_or_broken_file_of_arrays(content, expected, tmp_path):
    target = store(tmp_path, every_kind()[1])
    arrays = tmp_path / "net.q.npz"
    arrays.unlink()
    if content is not None:
        arrays.write_bytes(content)
    [found] = mistakes(target)
    assert expected in found


def test_objects_are_never_unpickled(tmp_path):
    target = store(tmp_path, every_kind()[1])
    np.savez(tmp_path / "net.q.npz", **{"c1.bias": np.array([{}], dtype=object)})
    [found] = mistakes(target)
    assert "not an .npz file, or cut short" in found


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("schema: 1", "schema: 2"), "schema: 2 is not allowed (allowed: 1)"),
        (("schema: 1", "schema: true"), "schema: true is not allowed (allowed: 1)"),
        (("form: \"int8\"", "form: \"int4\""), "form: 'int4' is not allowed (did you mean 'int8'? allowed: int8)"),
        (('{"name": "c1", "kind": "conv", "input"', '{"name": "c1", "kind": "cone", "input"'), "layers[0].kind: 'cone' is not allowed"),
        (('"inputs": ["n", "c1"]', '"inputs": ["n", "c9"]'), "layers[5].inputs[1]: no tensor 'c9' (allowed: x, c1"),
        (('"function": "hard_swish"', '"function": "hard_wish"'), "layers[8].function: 'hard_wish' is no kind of table"),
        (('"kernel": [3, 2]', '"kernel": [3, 2, 1]'), "layers[0].kernel: must have at most 2 elements, got 3"),
        (('"dilation": [1, 2]', '"dilation": [1, 12]'), "layers[0].kernel: kernel width spans 13 and the padded input has only 10"),
        (('"padding": [1, 1, 0, 1]', '"padding": [1, 2, 0, 1]'), "layers[0].output: 'c1' is [7, 4, 8], the layer gives [8, 4, 8]"),
        (('"kind": "depthwise", "input"', '"kind": "conv", "input"'), "layers[1].kind: 8 groups of 8 channels to 8 are depthwise"),
        (('outputs: ["s", "fc"]', 'outputs: ["s", "fc", "s"]'), "outputs[2]: 's' is given twice"),
        (('inputs: ["x"]', 'inputs: ["c1"]'), "layers[0].input: 'x' is not computed before"),
        (('{"name": "sm", "kind": "softmax", "input": "fc"}', '{"name": "sm", "kind": "softmax", "input": "fl"}'), "layers[14].input: softmax reads the last of `outputs` (fc)"),
        (('"layer": "fc"', '"layer": "fd"'), "rows[13].layer: no layer 'fd' (allowed: c1"),
        (('"name": "dw", "kind": "depthwise", "input": "c1"', '"name": "c1", "kind": "depthwise", "input": "c1"'), "layers[1].name: the name 'c1' is taken"),
        (('seed: 4', 'seed: 4\nclasses: ["a", "b"]'), "classes: 2 names for "),
        (('seed: 4', 'seed: 4\nsead: 5'), "sead: unknown key (did you mean 'seed'?"),
    ],
)  # fmt: skip
def test_mistakes_in_the_text(edit, expected, tmp_path):
    found = mistakes(store(tmp_path, every_kind()[1], edit=[edit]))
    assert any(expected in text for text in found), found


def test_scales_are_float32_and_pools_keep_them(tmp_path):
    graph = every_kind()[1]
    tensor = graph.tensors["mp"]
    start, scale = f'"name": "mp", "shape": {list(tensor.shape)}, "scale": ', float(tensor.scale)
    edit = [(f"{start}{scale!r}", f"{start}{scale + 1e-12!r}")]
    [found] = mistakes(store(tmp_path, graph, edit=edit))
    assert f"expected a float32, got {scale + 1e-12!r} (the nearest is {scale!r})" in found
    edit = [(edit[0][0], f"{start}0.5")]
    [found] = mistakes(store(tmp_path, graph, edit=edit))
    assert "layers[10].output: 'mp' must have the scale and zero point of the input" in found


def test_all_mistakes_are_told_at_once(tmp_path):
    edit = [("seed: 4", "seed: -1"), ('"dilation": [1, 2]', '"dilation": [0, 2]'), ('"kind": "lrn", "input"', '"kind": "lrm", "input"')]
    assert len(mistakes(store(tmp_path, every_kind()[1], edit=edit))) == 3
    edit = [('"inputs": ["n", "c1"]', '"inputs": ["n", "c9"]'), ('"layer": "fc"', '"layer": "fd"')]
    found = mistakes(store(tmp_path, every_kind()[1], without("hs.table"), edit))
    assert len(found) == 3


@pytest.mark.parametrize("seed", range(2))
def test_damage_is_told(seed, tmp_path):
    """Changed bytes of either file: a network or a list of mistakes, nothing else."""
    target = store(tmp_path, every_kind()[1])
    rng = np.random.default_rng(seed)
    for name in ("net.q.npz", "net.q.yaml"):
        path, refused = tmp_path / name, 0
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for _ in range(int(rng.integers(1, 4))):
                # Half of them in the directory of the archive, which says how to read the rest.
                first = len(whole) - 1500 if rng.random() < 0.5 else 0
                damaged[int(rng.integers(first, len(whole)))] = int(rng.integers(256))
            path.write_bytes(damaged[: int(rng.integers(len(whole)))] if rng.random() < 0.1 else damaged)
            try:
                load_network(target)
            except AccelsimError:
                refused += 1
        assert refused > 25
        path.write_bytes(whole)
    load_network(target)


@pytest.mark.parametrize("header", ["{'descr': '<f4', 'shape': (", "{'descr': 5 < b'', 'x': 1}", "{'descr': '<f4' '", "{1: 2}"])
def test_damaged_headers_of_arrays(header, tmp_path):
    """numpy reads them as Python text, and fails in as many ways."""
    path = tmp_path / "a.npy"
    text = header.ljust(117).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match=r"^not an \.npy file, or cut short$"):
        read_array(path)
    with pytest.raises(ConfigError, match=r"not a \.npy file of numbers, or cut short"):
        read_numbers(str(path))
