"""What is wrong with a model: everything at once, by file and node, exit code 2, and no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from accelsim.errors import AccelsimError, ConfigError, ConfigErrors, MissingExtraError
from accelsim.onnx import library, load_onnx
from tests.onnx.builders import Builder, Quantizer


def refused(path: Path, dims: dict[str, int] | None = None) -> str:
    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        load_onnx(path, dims)
    text = str(caught.value)
    assert str(path) in text.splitlines()[0]
    return text


def test_every_unsupported_node_is_listed(tmp_path: Path) -> None:
    b = Builder(("N", 3, 8, 8))
    x = b.conv("x", 4, 3, 3, 3)
    x = b.node("ConvTranspose", x, b.normal(4, 4, 2, 2))
    x = b.node("Relu", x)
    x = b.node("Einsum", x, equation="abcd->abcd")
    x = b.node("MaxPool", b.node("Softplus", x), kernel_shape=[2, 2])
    x = b.node("ArgMax", x)
    text = refused(b.save(tmp_path / "m.onnx", x))
    lines = text.splitlines()
    assert [re.findall(r"\((\w+)\):", line)[0] for line in lines[:-1]] == [
        "ConvTranspose",
        "Einsum",
        "Softplus",
        "ArgMax",
    ]
    assert lines[-1] == "4 mistakes found"
    assert "take the largest output yourself" in lines[3]
    assert "docs/onnx.md" in lines[1]


def image(build: Callable[[Builder], str], **keys: Any) -> Callable[[], Builder]:
    def make() -> Builder:
        b = Builder(("N", 4, 9, 8), **keys)
        build(b)
        return b

    return make


def pads(*numbers: int) -> Any:
    return np.array(numbers)


CASES: dict[str, tuple[Callable[[Builder], str], str]] = {
    "int64 weights": (
        lambda b: b.node("Conv", "x", b.weight(np.ones((2, 4, 3, 3), np.int64), "kernel")),
        r"conv0/Conv \(Conv\): its weights 'kernel' must be float32, got int64",
    ),
    "nan": (
        lambda b: b.node("Conv", "x", b.weight(np.full((2, 4, 3, 3), np.nan, np.float32), "kernel")),
        r"\(Conv\): its weights 'kernel' must be finite",
    ),
    "infinite bias": (
        lambda b: b.node("Conv", "x", b.normal(2, 4, 1, 1), b.weight(np.array([1, np.inf], np.float32))),
        "its bias .* must be finite",
    ),
    "too large for float32": (lambda b: b.node("Mul", "x", b.weight(np.array(1e300))), "must be finite"),
    "computed weights": (lambda b: b.node("Conv", "x", b.node("Relu", "x")), "its weights must be constant"),
    "weights of another shape": (
        lambda b: b.node("Conv", "x", b.normal(2, 3, 3, 3)),
        "its weights take 3 channels and its input has 4\n",
    ),
    "weights of another shape in groups": (
        lambda b: b.node("Conv", "x", b.normal(2, 3, 3, 3), group=2),
        "its weights take 3 channels in each of 2 groups and its input has 4\n",
    ),
    "groups": (lambda b: b.node("Conv", "x", b.normal(2, 4, 3, 3), group=3), "groups 3 must divide"),
    "3-D weights": (
        lambda b: b.node("Conv", "x", b.normal(2, 4, 3, 3, 3)),
        "its weights have 5 dimensions, its input 4",
    ),
    "kernel larger than the image": (lambda b: b.node("Conv", "x", b.normal(2, 4, 30, 3)), "kernel height spans 30"),
    "negative pads": (lambda b: b.node("Conv", "x", b.normal(2, 4, 3, 3), pads=[-1, 0, 0, 0]), "cut values away"),
    "auto_pad": (lambda b: b.node("Conv", "x", b.normal(2, 4, 3, 3), auto_pad="SOME"), "auto_pad 'SOME' is unknown"),
    "transA": (lambda b: b.node("Gemm", b.node("Flatten", "x"), b.normal(5, 5), transA=1), "transA would mix images"),
    "attention": (lambda b: b.node("MatMul", "x", b.node("Relu", "x")), "products of two activations"),
    "constant before activations": (lambda b: b.node("MatMul", b.normal(9, 9), "x"), r"\(transpose the product\)"),
    "difference": (lambda b: b.node("Sub", "x", b.node("Relu", "x")), "subtracts .*\\(one of them must be constant\\)"),
    "quotient": (lambda b: b.node("Div", "x", b.node("Relu", "x")), "divides .*the second must be constant\\)"),
    "slopes": (lambda b: b.node("PRelu", "x", b.normal(4, 1, 1)), "has 4 slopes.*one slope for all channels"),
    "computed slope": (lambda b: b.node("PRelu", "x", b.node("Relu", "x")), "its slope must be constant"),
    "dilated pooling": (
        lambda b: b.node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 1]),
        r"its dilations are \[2, 1\]",
    ),
    "indices": (
        lambda b: b.node("Add", b.node("MaxPool", "x", outputs=2, kernel_shape=[1, 1]), "maxpool0_1"),
        "its second output",
    ),
    "pooling of padding": (lambda b: b.node("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 0, 0, 0]), "real pixel"),
    "ceil and padding": (
        lambda b: b.node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
        "ceil_mode with count_include_pad",
    ),
    "spread sum": (lambda b: b.node("Add", "x", b.node("GlobalAveragePool", "x")), "two activations need one shape"),
    "gate": (lambda b: b.node("Mul", "x", b.node("Sigmoid", "x")), "multiplies two activations"),
    "spatial constant": (lambda b: b.node("Mul", "x", b.normal(9, 8)), "differs from pixel to pixel"),
    "by zero": (lambda b: b.node("Div", "x", b.weight(np.zeros(1, np.float32))), "divides by 0"),
    "inner reshape": (
        lambda b: b.conv(b.node("Reshape", "x", b.weight(np.array([0, 8, 6, 6]))), 2, 8, 1, 1),
        "would have to move data",
    ),
    "mixing images": (
        lambda b: b.node("Reshape", "x", b.weight(np.array([4, -1]))),
        "the first dimension must stay the batch",
    ),
    "moving the batch": (lambda b: b.node("Transpose", "x", perm=[1, 0, 2, 3]), "moves the batch"),
    "inner transpose": (
        lambda b: b.conv(b.node("Transpose", "x", perm=[0, 1, 3, 2]), 2, 4, 1, 1),
        "would have to move data",
    ),
    "reflected padding": (
        lambda b: b.node("Pad", "x", b.weight(pads(0, 0, 1, 1, 0, 0, 1, 1)), mode="reflect"),
        "pads in mode 'reflect'",
    ),
    "padded result": (
        lambda b: b.node("Pad", b.node("Relu", "x"), b.weight(pads(0, 0, 1, 1, 0, 0, 1, 1))),
        "what a Pad gives",
    ),
    "padding before relu": (
        lambda b: b.node("Relu", b.node("Pad", "x", b.weight(pads(0, 0, 1, 1, 0, 0, 1, 1)))),
        "reads what a Pad gives",
    ),
    "channel padding": (
        lambda b: b.conv(b.node("Pad", "x", b.weight(pads(0, 1, 0, 0, 0, 0, 0, 0))), 2, 5, 1, 1),
        "height and width can be padded",
    ),
    "padding wins": (
        lambda b: b.node("MaxPool", b.node("Pad", "x", b.weight(pads(0, 0, 1, 1, 0, 0, 1, 1))), kernel_shape=[3, 3]),
        "could be the largest",
    ),
    "softmax inside": (lambda b: b.node("Relu", b.node("Softmax", "x", axis=1)), "softmax runs on the host"),
    "softmax of pixels": (lambda b: b.node("Softmax", "x", axis=2), "softmax over the channels can be run"),
    "even norm": (lambda b: b.node("LRN", "x", size=4), "an odd number of channels"),
    "training": (
        lambda b: b.node(
            "BatchNormalization", "x", *[b.weight(np.ones(4, np.float32)) for _ in range(4)], training_mode=1
        ),
        "training mode",
    ),
    "integers in between": (lambda b: b.node("Cast", "x", to=TensorProto.INT32), "changes the type of activations"),
    "order": (lambda b: b.node("Relu", "nobody"), "'nobody' is made by no node before it"),
    "three summands": (lambda b: b.node("Sum", "x", "x", "x"), "a chain of Adds"),
    "bad constants": (
        lambda b: b.node("Add", "x", b.node("Gather", b.normal(4), b.weight(np.array([9])))),
        "cannot be computed from its constants",
    ),
    "slope": (lambda b: b.node("HardSigmoid", "x", beta=0.3), "beta 0.5 and an alpha above 0 can be run"),
    "nothing to do": (lambda b: b.node("Identity", "x"), "is an input or a constant"),
}


@pytest.mark.parametrize("name", CASES)
def test_located(name: str, tmp_path: Path) -> None:
    build, expected = CASES[name]
    b = Builder(("N", 4, 9, 8))
    assert re.search(expected, refused(b.save(tmp_path / "m.onnx", build(b))))


def weight_zero(b: Quantizer) -> str:
    w, s, _ = b.integers(2, 4, 1, 1)
    return b.operator("QLinearConv", 0.1, 0, b.x, *b.scales[b.x], w, s, b.weight(np.array(3, np.int8)), "y")


def other_scale(b: Quantizer) -> str:
    return b.operator("QLinearConv", 0.1, 0, b.x, *b.scale(0.5, 1), *b.integers(2, 4, 1, 1), "y")


def no_scale(b: Quantizer) -> str:
    w, s, z = b.integers(2, 4, 1, 1)
    b.scales["c"] = b.scale(0.1, 1)
    return b.node("Relu", b.node("Conv", b.real(b.x), b.node("DequantizeLinear", w, s, z)))


QUANTIZED: dict[str, tuple[Callable[[Quantizer], str], str]] = {
    "weight zero point": (
        lambda b: b.real(weight_zero(b)),
        "its weight zero point is 3, expected 0 for int8 weights .*WeightSymmetric",
    ),
    "another scale": (
        lambda b: b.real(other_scale(b)),
        "reads with scale and zero point 0.5 and 1 what was stored with 0.02 and 3",
    ),
    "float result": (no_scale, "a QuantizeLinear must follow"),
    "float operator": (lambda b: b.node("LRN", b.real(b.x), size=3), r"\(LRN\): is not supported"),
    "integer conv": (lambda b: b.node("ConvInteger", b.x, b.integers(2, 4, 1, 1)[0]), "ConvInteger.*QLinearConv"),
    "integer matmul": (
        lambda b: b.node("MatMulInteger", b.same("Flatten", b.x), b.integers(288, 2)[0]),
        "MatMulInteger.*QGemm",
    ),
    "negative scale": (lambda b: b.real(b.quantize(b.real(b.x), -1.0, 0)), "a scale must be finite and above 0"),
    "float weights": (
        lambda b: b.real(b.quantize(b.node("Conv", b.real(b.x), b.normal(2, 4, 1, 1)), 0.1, 0)),
        "have no scale",
    ),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_located_in_quantized_models(name: str, tmp_path: Path) -> None:
    build, expected = QUANTIZED[name]
    b = Quantizer(("N", 4, 9, 8))
    assert re.search(expected, refused(b.save(tmp_path / "m.onnx", build(b))))


def lenet_like() -> Builder:
    b = Builder(("N", 1, 12, 12))
    b.node("Gemm", b.node("Flatten", b.conv("x", 40, 1, 3, 3)), b.normal(10, 4000), transB=1)
    return b


def test_damaged_files(tmp_path: Path) -> None:
    b = lenet_like()
    path = b.save(tmp_path / "m.onnx", b.nodes[-1].output[0])
    whole = path.read_bytes()
    for data in (b"", b"not a model", whole[: len(whole) // 2], whole[:-1], b"\0" * 64):
        path.write_bytes(data)
        assert "not an ONNX model, or damaged" in refused(path)
    path.unlink()
    assert "cannot be read: No such file" in refused(path)
    path.mkdir()
    assert "cannot be read: Is a directory" in refused(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_refused_or_read(data: st.DataObject, tmp_path: Path) -> None:
    """Flipped bytes and cuts give an AccelsimError or a model, nothing else."""
    b = Builder(("N", 2, 6, 6))
    x = b.node("Relu", b.conv("x", 3, 2, 3, 3, pads=[1, 1, 1, 1], strides=[2, 1]))
    whole = bytearray(b.model(b.node("Gemm", b.node("Flatten", x), b.normal(4, 54), transB=1)).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "m.onnx"
    path.write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])
    try:
        load_onnx(path)
    except AccelsimError as error:
        assert "Traceback" not in str(error)


def with_external_data(folder: Path) -> Path:
    b = lenet_like()
    path = folder / "m.onnx"
    onnx.save(
        b.model(b.nodes[-1].output[0]), str(path), save_as_external_data=True, location="m.data", size_threshold=0
    )
    return path


def test_external_data(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    assert len(load_onnx(path).files) == 2
    data = tmp_path / "m.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-4])
    assert "m.data is cut short" in refused(path)
    data.unlink()
    text = refused(path)
    assert "in the file 'm.data', which does not exist" in text
    assert "(Conv)" in text


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "sub/../../secret.bin"])
def test_external_data_stays_in_its_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 100_000)
    folder = tmp_path / "model"
    folder.mkdir()
    path = with_external_data(folder)
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    assert "points out of the model's folder" in refused(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = with_external_data(folder)
    (folder / "m.data").rename(tmp_path / "elsewhere")
    (folder / "m.data").symlink_to(tmp_path / "elsewhere")
    assert "points out of the model's folder" in refused(path)


def test_dimensions_without_a_value(tmp_path: Path) -> None:
    b = Builder(("N", 3, "height", "width"))
    path = b.save(tmp_path / "m.onnx", b.conv("x", 4, 3, 3, 3))
    text = refused(path)
    assert "input x: dimension 2 is 'height', which has no value (give it one: --dim height=NUMBER)" in text
    assert "2 mistakes found" in text
    model = load_onnx(path, {"height": 8, "width": 9, "N": 1})
    assert model.shapes == (("x", (8, 9, 3)),)
    text = refused(path, {"heigth": 8, "width": 9})
    assert "--dim heigth: the model has no such dimension" in text
    assert "did you mean 'height'" in text
    assert "expected a whole number of at least 1, got 0" in refused(path, {"height": 0, "width": 9})


def test_unnamed_dimensions(tmp_path: Path) -> None:
    b = Builder((None, 3, None, 8))  # type: ignore[list-item]
    path = b.save(tmp_path / "m.onnx", b.conv("x", 4, 3, 3, 3))
    assert "--dim x.2=NUMBER" in refused(path)
    assert load_onnx(path, {"x.2": 6}).shapes == (("x", (6, 8, 3)),)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.STRING])
def test_inputs_of_other_types(kind: int, tmp_path: Path) -> None:
    b = Builder(("N", 3, 8, 8), kind=kind)
    assert "input x" in refused(b.save(tmp_path / "m.onnx", b.node("Relu", "x")))


@pytest.mark.parametrize("shape", [(4,), (1, 2, 3, 4, 5)])
def test_inputs_of_other_ranks(shape: tuple[int, ...], tmp_path: Path) -> None:
    b = Builder(shape)
    assert "two to four can be used" in refused(b.save(tmp_path / "m.onnx", b.node("Relu", "x")))


def test_operators_newer_than_the_model(tmp_path: Path) -> None:
    b = Builder(("N", 4, 5, 5), opset=13)
    assert "(HardSwish): is no operator of opset 13" in refused(b.save(tmp_path / "m.onnx", b.node("HardSwish", "x")))


@pytest.mark.parametrize(("opset", "text"), [(10, "opset 10 is too old"), (99, "opset 99 is newer")])
def test_versions(opset: int, text: str, tmp_path: Path) -> None:
    b = Builder(("N", 4), opset=opset)
    assert text in refused(b.save(tmp_path / "m.onnx", b.node("Relu", "x")))


def test_different_batches(tmp_path: Path) -> None:
    b = Builder((2, 4))
    b.inputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [3, 4]))
    assert "different first dimensions: [2, 3]" in refused(b.save(tmp_path / "m.onnx", b.node("Add", "x", "z")))


def test_names_with_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    b = Builder(("N", 4))
    b.nodes.append(helper.make_node("Sin", ["x"], ["y"], name="bad\x1b[31m\nname"))
    text = refused(b.save(tmp_path / "m.onnx", "y"))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(("N", 4))
    path = b.save(tmp_path / "m.onnx", b.node("Relu", "x"))
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="accelsim\\[onnx\\]"):
        load_onnx(path)
    assert library.library.__doc__


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_malformed_nodes_are_refused_or_read(data: st.DataObject, tmp_path: Path) -> None:
    """Inputs left out or exchanged, attributes of another type or value: an AccelsimError or a model, nothing else."""
    b = Builder(("N", 4, 9, 8)) if data.draw(st.booleans()) else Quantizer(("N", 4, 9, 8))
    if isinstance(b, Quantizer):
        y = b.operator("QLinearConv", 0.1, 0, b.x, *b.scales[b.x], *b.integers(4, 4, 1, 1), "y", b.bias(4))
        y = b.operator("QLinearAdd", 0.1, 0, b.x, *b.scales[b.x], y, *b.scales[y], "y")
        y = b.operator("QLinearAveragePool", 0.1, 0, y, *b.scales[y], "y", kernel_shape=[2, 2])
        model = b.model(b.real(b.same("MaxPool", y, kernel_shape=[2, 2])))
    else:
        y = b.node("MaxPool", b.conv("x", 4, 4, 3, 3, strides=[1, 1], group=1), kernel_shape=[2, 2], ceil_mode=1)
        y = b.node("Clip", b.node("Add", y, b.normal(4, 1, 1)), b.weight(np.float32(0)))
        y = b.node("Transpose", b.node("Pad", y, b.weight(np.zeros(8, np.int64))), perm=[0, 2, 3, 1])
        model = b.model(b.node("Softmax", b.node("Gemm", b.node("Flatten", y), b.normal(5, 96), transB=1), axis=1))
    names = [w.name for w in b.weights] + [node.output[0] for node in model.graph.node] + ["", "x"]
    for _ in range(data.draw(st.integers(1, 2))):
        node = data.draw(st.sampled_from(list(model.graph.node)))
        match data.draw(st.sampled_from(["input", "drop", "attribute", "value"])):
            case "input" if node.input:
                node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from(names))
            case "drop":
                del node.input[data.draw(st.integers(0, len(node.input))) :]
            case "attribute" if node.attribute:
                old = node.attribute.pop(data.draw(st.integers(0, len(node.attribute) - 1)))
                value = data.draw(st.sampled_from([1.5, "text", 3, [1, 2], [0.5], ["a"], []]))
                if value != []:
                    node.attribute.append(helper.make_attribute(old.name, value))
            case "value" if node.attribute:
                old = node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
                old.i = data.draw(st.integers(-9, 9))
                for place in range(len(old.ints)):
                    old.ints[place] = data.draw(st.integers(-9, 9))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    try:
        load_onnx(path)
    except AccelsimError as error:
        assert str(path) in str(error)
