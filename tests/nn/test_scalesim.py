"""SCALE-Sim topologies as workload files: the same multiply-accumulates, and every mistake with its place."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.nn.loader import load_network
from accelsim.nn.scalesim import Row, read_topology, workload_text
from accelsim.nn.shapes import infer_shapes, parameter_shapes
from tests.command_line import accelsim

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
GEMM = "Layer,M,N,K,\n"
OVER = "would be written over"
# Rows as SCALE-Sim's own networks have them, with the multiply-accumulates that it reports.
ALEXNET = [
    ("Conv1,224,224,11,11,3,96,4,", 105_415_200),
    ("Conv2, 27,27, 5,5,96,256,1,", 325_017_600),
    ("Conv3,13,13,3,3,192,384,1,", 80_289_792),
    ("FC6,6,6,6,6,256,4096,1,", 37_748_736),
    ("FC7,1,4096,1,4096,1,4096,1,", 16_777_216),
]


def macs_of(path: Path) -> list[int]:
    """Multiply-accumulates of every layer of a workload file, worked out from its shapes."""
    graph = load_network(path).graph
    shapes = infer_shapes(graph)
    return [
        prod(shapes[layer.name]) * prod(parameter_shapes(layer, shapes[layer.input])[0][1:]) for layer in graph.layers
    ]


def imported(folder: Path, text: str, name: str = "net.csv") -> Path:
    source, target = folder / name, folder / "out.yaml"
    source.write_text(text, encoding="utf-8")
    target.write_text(workload_text(read_topology(source), name), encoding="utf-8")
    return target


def test_convolutions(tmp_path):
    path = imported(tmp_path, CONV + "\n".join(row for row, _ in ALEXNET))
    assert macs_of(path) == [macs for _, macs in ALEXNET]
    graph = load_network(path).graph
    conv1, conv2 = graph.layers[:2]
    # 224 pixels hold 54 windows and three quarters of one: SCALE-Sim counts 55.
    assert (conv1.kernel, conv1.stride, conv1.pads, conv1.channels) == ((11, 11), (4, 4), (0, 3, 0, 3), 96)
    assert (conv2.stride, conv2.pads, conv2.input) == ((1, 1), (0, 0, 0, 0), "Conv2_in")
    assert dict(graph.inputs)["FC7_in"] == (1, 4096, 1)
    assert graph.results == ("Conv1", "Conv2", "Conv3", "FC6", "FC7")
    assert graph.name == "net"


def test_products(tmp_path):
    path = imported(tmp_path, GEMM + "qkv,128,1536,512,\n\nscore, 512, 128 ,128,\n")
    assert macs_of(path) == [128 * 1536 * 512, 512 * 128 * 128]
    graph = load_network(path).graph
    assert graph.inputs == (("qkv.in", (1, 128, 512)), ("score.in", (1, 512, 128)))
    assert [layer.channels for layer in graph.layers] == [1536, 128]


def test_depthwise_layers_give_every_channel_all_the_filters(tmp_path):
    path = imported(tmp_path, CONV + "DP1,8,8,3,3,4,1,1,\nDP2,8,8,3,3,4,3,1,\nDP3,8,8,3,3,1,2,1,\n")
    layers = load_network(path).graph.layers
    assert [(layer.groups, layer.channels) for layer in layers] == [(4, 4), (4, 12), (1, 2)]
    assert macs_of(path) == [36 * 9 * 4, 36 * 9 * 12, 36 * 9 * 2]


numbers = st.integers(1, 40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.text(max_size=6), *[numbers] * 5, st.integers(1, 5)), min_size=1, max_size=5), st.data())
def test_every_readable_topology_loads_with_its_counts(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("topology")
    lines, expected = [], []
    for name, h, w, c, k, size, stride in rows:
        name = "".join(char for char in name if char.isprintable() and char not in ",") or "x"
        r, s = min(size, h), min(data.draw(numbers), w)
        outputs = [-(-(length - kernel + stride) // stride) for length, kernel in ((h, r), (w, s))]
        excess = [(n - 1) * stride + kernel - length for n, kernel, length in zip(outputs, (r, s), (h, w))]
        if excess[0] > r or excess[1] > s or not name.strip():
            continue
        lines.append(f"{name},{h},{w},{r},{s},{c},{k},{stride},\n")
        expected.append(outputs[0] * outputs[1] * r * s * c * k)
    if lines:
        path = imported(folder, CONV + "".join(lines), "any name.csv")
        assert macs_of(path) == expected == [row.macs for row in read_topology(folder / "any name.csv")]


def test_names_become_allowed_and_unique(tmp_path):
    rows = "a b,1,1,1,\na/b,1,1,1,\na_b_2,1,1,1,\n12,1,1,1,\nnull,1,1,1,\n-,1,1,1,\nFC,1,1,1,\nFC,1,1,1,\nFC,1,1,1,\n"
    names = [layer.name for layer in load_network(imported(tmp_path, GEMM + rows, "1e3.csv")).graph.layers]
    assert names == ["a_b", "a_b_3", "a_b_2", "12", "null", "layer", "FC", "FC_2", "FC_3"]
    assert load_network(tmp_path / "out.yaml").name == "1e3"
    conv = CONV + "a,3,3,1,1,1,1,1,\na_in,3,3,1,1,1,1,1,\n"
    graph = load_network(imported(tmp_path, conv)).graph
    assert [name for name, _ in graph.inputs] == ["a_in_2", "a_in_in"]


@pytest.mark.parametrize(
    "text",
    [
        CONV + "c,8,8,3,3,2,4,1, NPU",  # SCALE-Sim leaves out the last field, whatever it is
        CONV + "c,8,8,3,3,2,4,1,2:2,",
        CONV.strip() + ", Target\r\n\r\nc,8,8,3,3,2,4,1,,#remark\r\n",
        "\n" + CONV.upper() + "c, 8, 8, 3, 3, 2, 4, 1,\n\n",
        "\ufeff" + CONV + "c,8,8,3,3,2,4,1,\n",
    ],
)
def test_what_scale_sim_reads(tmp_path, text):
    source = tmp_path / "net.csv"
    source.write_bytes(text.encode())
    assert read_topology(source) == (Row("c", (8, 8, 3, 3, 2, 4, 1)),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GEMM + "a,0,x,1.5,\n,1,2,3,\nb,1,2\nc,1,2,99999999999999999999,\nd,1,-2,3,\n", [
            "2:3: M must be a whole number from 1 to 65536, got '0'",
            "2:5: N must be a whole number from 1 to 65536, got 'x'",
            "2:7: K must be a whole number from 1 to 65536, got '1.5'",
            "3:1: the layer has no name",
            "4:5: the row ends before its K (name, M, N, K)",
            "5:7: K must be a whole number from 1 to 65536, got '99999999999999999999'",
            "6:5: N must be a whole number from 1 to 65536, got '-2'",
        ]),
        (CONV + "a, 8, 8, 9, 3, 2, 4, 1,\nb,8,8,3,3,2,4,1,2:4,\nc,8,8,3,3,2,4,1,7,\nd,8,8,1,1,2,4,4,\ne,8,8,3,3\n", [
            "2:10: the filter height 9 is larger than the IFMAP's 8",
            "3:17: the sparsity 2:4 cannot be modelled (only dense layers)",
            "4:17: '7' has no meaning here (the last field of a row may hold a remark)",
            "6:9: the row ends before its channels "
            "(name, IFMAP height, IFMAP width, filter height, filter width, channels, filters, stride)",
        ]),
        (CONV + "a,6,9,1,1,2,4,4,\n", [
            "2:15: the last window of the height lies outside the IFMAP "
            "(SCALE-Sim rounds output sizes up; a smaller IFMAP leaves that window out)",
        ]),
    ],
)  # fmt: skip
def test_every_mistake_has_its_place(tmp_path, text, found):
    source = tmp_path / "net.csv"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        read_topology(source)
    assert [str(error).splitlines()[0].removeprefix(f"{source}:") for error in caught.value.errors] == found


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ":1:1: the file is empty"),
        (b"\n \n", ":1:1: the file is empty"),
        (b"a,1,2,3,\n", ":1:1: the first line is not the header of a topology"),
        (b"\n\n{}\n", ":3:1: the first line is not the header of a topology"),
        (GEMM.encode() + b"\n\n", ":1:1: no layer follows the header"),
        (GEMM.encode() + b"a\x1b[31m,1,2,3,\n", ":2:2: the character U+001B is not allowed"),
        (b"\xff\xfe", ": not a text file: byte 0 is not UTF-8"),
        (None, ": the file does not exist"),
    ],
)
def test_files_that_are_no_topology(tmp_path, content, problem):
    source = tmp_path / "net.csv"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_topology(source)
    assert str(caught.value).startswith(f"{source}{problem}")


def test_the_command_writes_a_workload_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.csv").write_text(CONV + "c,8,8,3,3,2,4,2,\nf,1,1,1,1,5,3,1,\n", encoding="utf-8")
    result = accelsim("import", "scalesim", "small.csv")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "small.yaml: 2 layers, 1,167 MACs\n", "")
    assert 4 * 4 * 9 * 2 * 4 + 15 == 1_167
    assert accelsim("run", "small.yaml", "--arch", "tiny").stdout.endswith("golden model)\n")
    shown = accelsim("import", "scalesim", "small.csv", "-o", "-")
    assert shown.stdout == Path("small.yaml").read_text(encoding="utf-8")
    assert shown.stdout.startswith("# Layers of the SCALE-Sim topology small.csv, each on its own; random weights.\n")


def test_nothing_is_written_over_or_by_halves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path("net.csv")
    source.write_text(GEMM + "a,1,2,3,\n", encoding="utf-8")
    Path("net.yaml").write_text("mine", encoding="utf-8")
    for arguments, text in (
        (("net.csv",), "net.yaml: the file exists already (-o FILE.yaml names another, or this one)\n"),
        (("net.csv", "-o", "net.csv"), f"-o net.csv: net.csv {OVER}: it is also meant by FILE.csv net.csv\n"),
        (("net.csv", "-o", "no/x.yaml"), "-o no/x.yaml: the folder 'no' does not exist\n"),
        (("none.csv", "-o", "x.yaml"), "none.csv: the file does not exist\n"),
    ):
        result = accelsim("import", "scalesim", *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", text)
    source.write_text(GEMM + "a,1,2,3,\nb,1,2\n", encoding="utf-8")
    result = accelsim("import", "scalesim", "net.csv", "-o", "x.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("net.csv:3:5: the row ends before its K (name, M, N, K)\n    b,1,2\n        ^\n")
    assert Path("net.yaml").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["net.csv", "net.yaml"]
    source.write_text(GEMM + "a,1,2,3,\n", encoding="utf-8")
    assert accelsim("import", "scalesim", "net.csv", "-o", "net.yaml").exit_code == 0
    assert Path("net.yaml").read_text(encoding="utf-8").startswith("# Layers")
