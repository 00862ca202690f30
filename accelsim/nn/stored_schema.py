"""The layout of a stored int8 network; ``stored_reader`` checks what follows from several values together."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field

from accelsim.nn.functions import POINTWISE
from accelsim.nn.schema import DatasetKeys
from accelsim.nn.schema_values import SIZE_LIMIT, FileName, Seed, Size
from accelsim.validation import FileModel, Version

LIMIT = 2**31 - 1


def _float32(value: float) -> float:
    with np.errstate(over="ignore"):
        narrow = float(np.float32(value))
    if not 0 < narrow < float("inf"):
        raise ValueError(f"expected a positive float32, got {value}")
    if narrow != value:
        raise ValueError(f"expected a float32, got {value}\nthe nearest is {narrow!r}")
    return value


def _table_kind(value: str) -> str:
    if value not in (*POINTWISE, "lut"):
        raise ValueError(f"{value!r} is no kind of table\none of {', '.join((*POINTWISE, 'lut'))}")
    return value


def _sides(value: list[int]) -> list[int]:
    if max(value[:2]) > SIZE_LIMIT:
        raise ValueError(f"height and width must be at most {SIZE_LIMIT}, got {value[:2]}")
    return value


def _ordered(value: list[int]) -> list[int]:
    if value[0] > value[1]:
        raise ValueError(f"the lower limit {value[0]} is above the upper one {value[1]}")
    return value


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=LIMIT)]
Byte: TypeAlias = Annotated[int, Field(ge=-128, le=127)]
Float32: TypeAlias = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_float32)]
Two: TypeAlias = Annotated[list[Size], Field(min_length=2, max_length=2)]
Three: TypeAlias = Annotated[list[Count], Field(min_length=3, max_length=3), AfterValidator(_sides)]
Four: TypeAlias = Annotated[list[Annotated[int, Field(ge=0, le=SIZE_LIMIT)]], Field(min_length=4, max_length=4)]
Limits: TypeAlias = Annotated[list[Byte], Field(min_length=2, max_length=2), AfterValidator(_ordered)]


class TensorKeys(FileModel):
    """int8 values of one image: real = scale * (q - zero)."""

    name: Text
    shape: Three  # height, width, channels
    scale: Float32
    zero: Byte


class LayerKeys(FileModel):
    """What all layers have."""

    name: Text


class OneInput(LayerKeys):
    """Layers that turn one tensor into another."""

    input: Text
    output: Text


class ConvKeys(OneInput):
    """Arrays: weights int8 (channels, kernel, input channels / groups), bias int32 and scale float32 (channels)."""

    kind: Literal["conv", "depthwise"]
    channels: Count
    kernel: Two
    stride: Two
    padding: Four  # top, bottom, left, right
    dilation: Two
    groups: Count
    limits: Limits


class MatrixKeys(OneInput):
    """Arrays as for ``conv``; the kernel of an fc is its whole input, that of a gemm one pixel."""

    kind: Literal["fc", "gemm"]
    channels: Count
    limits: Limits


class PoolKeys(OneInput):
    kind: Literal["maxpool", "avgpool"]
    kernel: Two
    stride: Two
    padding: Four
    count_include_pad: bool = False
    limits: Limits


class AddKeys(LayerKeys):
    kind: Literal["add"]
    inputs: Annotated[list[Text], Field(min_length=2, max_length=2)]
    output: Text
    limits: Limits


class ConcatKeys(LayerKeys):
    kind: Literal["concat"]
    inputs: Annotated[list[Text], Field(min_length=2)]
    output: Text


class LrnKeys(OneInput):
    """Arrays: square and factor, int8 (256,) of values from 0 on."""

    kind: Literal["lrn"]
    size: Count
    index_scale: Float32
    index_zero: Byte
    scale: Float32


class TableKeys(OneInput):
    """Array: table, int8 (256,); entry x + 128 is the result for x."""

    kind: Literal["table"]
    function: Annotated[str, AfterValidator(_table_kind)]


class FlattenKeys(OneInput):
    kind: Literal["flatten"]


class SoftmaxKeys(LayerKeys):
    kind: Literal["softmax"]
    input: Text


LayerUnion: TypeAlias = Annotated[
    ConvKeys | MatrixKeys | PoolKeys | AddKeys | ConcatKeys | LrnKeys | TableKeys | FlattenKeys | SoftmaxKeys,
    Field(discriminator="kind"),
]


class RowKeys(FileModel):
    """A layer of the source, and the layer here that does its work."""

    name: Text
    kind: Text
    layer: Text


class PortKeys(FileModel):
    """How an input or output lies in the model that the network came from: its name and shape there, without the batch.

    Array: order int64 (shape), where each element lies in the flat (h, w, c); the usual order if there is none.
    """

    tensor: Text
    name: Text
    shape: Annotated[list[Count], Field(min_length=1)]


class ArraysKeys(FileModel):
    """The file with the arrays, named ``<layer>.<array>``, and what it must hold."""

    file: FileName
    digest: Text


class StoredFile(FileModel):
    """An int8 network."""

    schema_: Version = Field(alias="schema")
    form: Literal["int8"]
    name: Text
    made: dict[str, Any] | None = None  # how: for people
    arrays: ArraysKeys
    inputs: Annotated[list[Text], Field(min_length=1)]
    outputs: Annotated[list[Text], Field(min_length=1)]
    classes: list[Text] | None = None
    dataset: DatasetKeys | None = None
    seed: Seed = 0  # of random inputs
    ports: list[PortKeys] | None = None
    tensors: Annotated[list[TensorKeys], Field(min_length=1)]
    layers: Annotated[list[LayerUnion], Field(min_length=1)]
    rows: Annotated[list[RowKeys], Field(min_length=1)]
