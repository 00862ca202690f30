"""The layout of a workload file.

The models say what a value may look like; ``loader`` checks what follows from several values together. The
descriptions are the source of the tables in ``docs/workloads.md``, checked by a test.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from accelsim.nn.schema_values import (
    SIZE_LIMIT,
    Activation,
    FileName,
    Name,
    Padding,
    Pair,
    Positive,
    Real,
    Seed,
    Size,
    Window,
)
from accelsim.validation import FileModel, Version


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
    activation: Activation = Field(None, description="`relu`, `relu6`, `tanh`, `sigmoid` or `hard_swish` of the output")


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


class ConcatKeys(NamedKeys):
    """The channels of several tensors, in order; their scales become one."""

    kind: Literal["concat"]
    inputs: Annotated[list[Name], Field(min_length=2)] = Field(
        description="two or more layers or network inputs, of one height and width"
    )


class LrnKeys(LayerKeys):
    """Local response normalisation over channels."""

    kind: Literal["lrn"]
    size: Size = Field(description="channels in the window")
    alpha: Positive = Field(1e-4, description="weight of the mean of squares")
    beta: Positive = Field(0.75, description="exponent")
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

    kind: Literal["relu", "relu6", "tanh", "sigmoid", "hard_swish"]


class LeakyReluKeys(LayerKeys):
    """Negative values get smaller."""

    kind: Literal["leaky_relu"]
    slope: Real = Field(0.01, description="what negative values are multiplied by")


class HardSigmoidKeys(LayerKeys):
    """A sigmoid of three straight lines, 0.5 at 0."""

    kind: Literal["hard_sigmoid"]
    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(0.2, description="factor of `x`")


class ClipKeys(LayerKeys):
    """Values cut off below and above."""

    kind: Literal["clip"]
    low: Real | None = Field(None, description="lowest value; none if missing")
    high: Real | None = Field(None, description="highest value, at least `low`; none if missing")


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
    | ConcatKeys
    | LrnKeys
    | PointwiseKeys
    | LeakyReluKeys
    | HardSigmoidKeys
    | ClipKeys
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

    method: Literal["max", "percentile", "mse"] = Field(
        "max",
        description="`max`: observed extremes; `percentile`: 0.01 % cut off each end; `mse`: the range with the least "
        "mean square error",
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

    schema_: Version = Field(alias="schema", description="version of this layout")
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
