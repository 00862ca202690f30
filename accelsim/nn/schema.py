"""The layout of a workload file.

The models say what a value may look like; ``loader`` checks what follows from several values together. The
descriptions are the source of the tables in ``docs/workloads.md``, checked by a test.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema

from accelsim.validation import FileModel

SIZE_LIMIT = 65536
"""Largest side, channel count, kernel or stride of a file: far beyond any network, short of absurd arrays."""

_PAIR = [
    {"type": "integer", "minimum": 1},
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
]
PAIR_SCHEMA = WithJsonSchema({"anyOf": _PAIR})
WINDOW_SCHEMA = WithJsonSchema({"anyOf": [{"const": "global"}, *_PAIR]})
PADDING_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"const": "same"},
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 4},
        ]
    }
)


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= SIZE_LIMIT


def _pair(value: Any) -> tuple[int, int]:
    """(height, width) of a kernel, stride or dilation."""
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(_whole(v, 1) for v in values):
        raise ValueError(f"expected a whole number from 1 to {SIZE_LIMIT} or [height, width], got {value}")
    return (values[0], values[1])


def _window(value: Any) -> Any:
    """(height, width) of a pooling kernel, or the word global."""
    if value == "global":
        return value
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(_whole(v, 1) for v in values):
        words = f"a whole number from 1 to {SIZE_LIMIT}, [height, width] or the word global"
        raise ValueError(f"expected {words}, got {value}")
    return (values[0], values[1])


def _padding(value: Any) -> Any:
    """(top, bottom, left, right), or the word same."""
    if value == "same":
        return value
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, 2, 4) or not all(_whole(v, 0) for v in values):
        raise ValueError(
            f"expected a whole number from 0 to {SIZE_LIMIT}, [height, width], [top, bottom, left, right] "
            f"or the word same, got {value}"
        )
    if len(values) == 4:
        return tuple(values)
    return (values[0], values[0], values[-1], values[-1])


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", value):
        raise ValueError(f"expected letters, digits, _ and -, got {value!r}")
    return value


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
FileName: TypeAlias = Annotated[str, Field(min_length=1)]
Size: TypeAlias = Annotated[int, Field(ge=1, le=SIZE_LIMIT)]
Pair: TypeAlias = Annotated[Any, AfterValidator(_pair), PAIR_SCHEMA]
Window: TypeAlias = Annotated[Any, AfterValidator(_window), WINDOW_SCHEMA]
Padding: TypeAlias = Annotated[Any, AfterValidator(_padding), PADDING_SCHEMA]
Activation: TypeAlias = Literal["relu", "relu6", "tanh", "sigmoid"] | None
Real: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]


class NamedKeys(FileModel):
    """What every layer has."""

    name: Name = Field(description="letters, digits, `_` and `-`; unique in the file")


class LayerKeys(NamedKeys):
    """What layers with one input have, gemms apart."""

    input: Name | None = Field(None, description="the layer or network input it reads; the one above if missing")


class ConvKeys(LayerKeys):
    """Convolution; a depthwise one has `groups` equal to its input and output channels."""

    kind: Literal["conv"]
    channels: Size = Field(description="output channels")
    kernel: Pair = Field(description="number or [height, width]")
    stride: Pair = Field((1, 1), description="number or [height, width]")
    padding: Padding = Field(
        (0, 0, 0, 0),
        description="number, [height, width], [top, bottom, left, right], or `same` (output = input / stride, "
        "rounded up; an odd row or column goes to the bottom or right)",
    )
    dilation: Pair = Field((1, 1), description="number or [height, width]")
    groups: Size = Field(1, description="divides input and output channels")
    activation: Activation = Field(None, description="`relu`, `relu6`, `tanh` or `sigmoid` of the output")


class FcKeys(LayerKeys):
    """Fully connected layer over the whole input, in height, width, channel order."""

    kind: Literal["fc"]
    channels: Size = Field(description="outputs")
    activation: Activation = Field(None, description="as for `conv`")


class GemmKeys(NamedKeys):
    """Product of a matrix (m x k) and a constant one (k x n), as one image of height 1 and width m."""

    kind: Literal["gemm"]
    input: Name | None = Field(
        None,
        description="the layer or network input it reads, of shape [1, m, k]; if missing, a network input of its "
        "own, `<name>.in`",
    )
    m: Size = Field(description="rows of the input and of the result")
    k: Size = Field(description="columns of the input, rows of the constant matrix")
    n: Size = Field(description="columns of the constant matrix and of the result")
    activation: Activation = Field(None, description="as for `conv`")


class AddKeys(NamedKeys):
    """Sum of two tensors of one shape, value by value."""

    kind: Literal["add"]
    inputs: Annotated[list[Name], Field(min_length=2, max_length=2)] = Field(
        description="the two layers or network inputs it reads"
    )
    activation: Literal["relu", "relu6"] | None = Field(None, description="`relu` or `relu6` of the sum")


class LrnKeys(LayerKeys):
    """Local response normalisation over channels."""

    kind: Literal["lrn"]
    size: Size = Field(description="channels in the window")
    alpha: Real = Field(1e-4, description="weight of the mean of squares")
    beta: Real = Field(0.75, description="exponent")
    k: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(1.0, description="what is added, above 0")


class PoolKeys(LayerKeys):
    """Pooling over windows; every window must hold a real pixel."""

    kernel: Window = Field(description="number, [height, width] or `global` (the whole image)")
    stride: Pair | None = Field(None, description="number or [height, width]; the kernel if missing")
    padding: Padding = Field((0, 0, 0, 0), description="as for `conv`")


class MaxPoolKeys(PoolKeys):
    """Maximum of each window, padding ignored."""

    kind: Literal["maxpool"]


class AvgPoolKeys(PoolKeys):
    """Mean of each window."""

    kind: Literal["avgpool"]
    count_include_pad: bool = Field(False, description="whether padding counts in the divisor")


class PointwiseKeys(LayerKeys):
    """A function of every value."""

    kind: Literal["relu", "relu6", "tanh", "sigmoid"]


class FlattenKeys(LayerKeys):
    """The same values as one vector, in height, width, channel order."""

    kind: Literal["flatten"]


class SoftmaxKeys(LayerKeys):
    """Softmax of the logits, on the host; the last layer."""

    kind: Literal["softmax"]


LayerUnion: TypeAlias = Annotated[
    ConvKeys
    | FcKeys
    | GemmKeys
    | MaxPoolKeys
    | AvgPoolKeys
    | AddKeys
    | LrnKeys
    | PointwiseKeys
    | FlattenKeys
    | SoftmaxKeys,
    Field(discriminator="kind"),
]


class InputKeys(FileModel):
    """A network input."""

    name: Name = Field("input", description="what layers call it; required in `inputs`")
    shape: Annotated[list[Size], Field(min_length=3, max_length=3)] = Field(
        description="[height, width, channels] of one image"
    )


class DatasetKeys(FileModel):
    """Labelled images for inputs, calibration and accuracy."""

    file: FileName = Field(
        description="`.npz` beside the workload file: `images` (n, h, w) or (n, h, w, c), `labels`, and the "
        "index arrays `train`, `val`, `test`"
    )
    divide: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="pixel values are divided by this"
    )
    resize: Pair | None = Field(None, description="number or [height, width] to bring each image to")
    method: Literal["bilinear", "nearest"] = Field("bilinear", description="how `resize` interpolates")
    border: Annotated[int, Field(ge=0, le=SIZE_LIMIT)] = Field(
        0, description="zero pixels added on each side after resizing"
    )


class CalibrationKeys(FileModel):
    """What the activation ranges are measured on."""

    method: Literal["max", "percentile"] = Field(
        "max", description="`max`: observed extremes; `percentile`: 0.01 % cut off each end"
    )
    images: Size | None = Field(
        None,
        description="how many; if missing, 128 of the data set's training split, 2 random ones, or all of `file`",
    )
    file: FileName | None = Field(
        None, description="`.npy` of floats (n, h, w, c) beside the workload file, instead of the data set"
    )


class WorkloadFile(FileModel):
    """A network that accelsim compiles and runs."""

    schema_: Literal[1] = Field(alias="schema", description="version of this layout")
    name: Name | None = Field(None, description="shown in reports; the file's name if missing")
    input: InputKeys | None = Field(None, description="the network input")
    inputs: Annotated[list[InputKeys], Field(min_length=1)] | None = Field(
        None, description="several network inputs, instead of `input`"
    )
    layers: Annotated[list[LayerUnion], Field(min_length=1)] = Field(description="in order of computation")
    outputs: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None,
        description="the layers whose values are wanted; if missing, the last one, and each gemm with an input of "
        "its own that no layer reads",
    )
    weights: FileName | None = Field(
        None, description="`.npz` beside the workload file; seeded random weights if missing"
    )
    dataset: DatasetKeys | None = Field(
        None, description="real images; seeded random inputs if missing"
    )
    calibration: CalibrationKeys = Field(
        CalibrationKeys(method="max", images=None, file=None), description="how activation ranges are found"
    )
    classes: list[Annotated[str, Field(min_length=1)]] | None = Field(
        None, description="names of the outputs, in order"
    )
    seed: Seed = Field(0, description="of random weights and inputs")


def workload_json_schema() -> dict[str, Any]:
    """The JSON Schema of workload files, for editors."""
    schema = WorkloadFile.model_json_schema(by_alias=True)
    schema["title"] = "accelsim workload file"
    return schema
