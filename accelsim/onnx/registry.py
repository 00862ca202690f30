"""The operators that can be read, by name; ``docs/onnx.md`` lists them from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from accelsim.onnx.context import Context
from accelsim.onnx.values import Node

Handler: TypeAlias = Callable[[Context, Node], None]
"""Sets the outputs of a node, or raises Refusal."""


@dataclass(frozen=True)
class Operator:
    """How an operator is read, and what its users should know."""

    read: Handler
    note: str


class Registry:
    """Operators of one sort of model."""

    def __init__(self) -> None:
        self.operators: dict[str, Operator] = {}

    def __call__(self, note: str, *names: str) -> Callable[[Handler], Handler]:
        """Decorates what reads ``names``."""

        def register(handler: Handler) -> Handler:
            self.operators |= dict.fromkeys(names, Operator(handler, note))
            return handler

        return register


REASONS: Mapping[str, tuple[str, str]] = {
    "ConvTranspose": ("has no counterpart in accelsim", "upsampling networks cannot be run"),
    "Resize": ("has no counterpart in accelsim", "upsampling networks cannot be run"),
    "Upsample": ("has no counterpart in accelsim", "upsampling networks cannot be run"),
    "ConvInteger": ("gives int32 without saying how it becomes int8", "use QLinearConv, or QDQ with Conv"),
    "MatMulInteger": ("gives int32 without saying how it becomes int8", "use QGemm, QLinearMatMul, or QDQ with Gemm"),
    "DynamicQuantizeLinear": (
        "chooses scales while the model runs",
        "use static quantisation: scales from calibration",
    ),
    "LogSoftmax": ("has no counterpart in accelsim", "end the model before it: the largest output stays the largest"),
    "ArgMax": ("has no counterpart in accelsim", "end the model before it and take the largest output yourself"),
    "TopK": ("has no counterpart in accelsim", "end the model before it and sort the outputs yourself"),
    "NonMaxSuppression": ("has no counterpart in accelsim", "end the model before it"),
    "If": (
        "branches while the model runs",
        "export the model with its options fixed; onnxsim removes constant branches",
    ),
    "Loop": ("loops while the model runs", "export the model unrolled"),
    "Scan": ("loops while the model runs", "export the model unrolled"),
    "LSTM": ("has no counterpart in accelsim", "recurrent networks cannot be run"),
    "GRU": ("has no counterpart in accelsim", "recurrent networks cannot be run"),
    "RNN": ("has no counterpart in accelsim", "recurrent networks cannot be run"),
    "Split": ("would have to copy parts of a tensor", "use one convolution for each part"),
    "Slice": ("would have to copy parts of a tensor", "use one convolution for each part"),
    "InstanceNormalization": ("normalises by what it reads", "BatchNormalization has fixed factors and can be run"),
    "LayerNormalization": ("normalises by what it reads", "BatchNormalization has fixed factors and can be run"),
}
"""Why well-known operators cannot be run, and what would help."""

GENERAL_REASON = ("is not supported", "docs/onnx.md lists the operators that can be run")
