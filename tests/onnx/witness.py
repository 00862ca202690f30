"""ONNX Runtime as an independent implementation of the same quantised network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from accelsim.nn.graph import QGraph, QSoftmax
from accelsim.onnx.export import to_operators

HAS_VNNI = any(
    flag in Path("/proc/cpuinfo").read_text(encoding="utf-8").split() for flag in ("avx512_vnni", "avx_vnni")
) if Path("/proc/cpuinfo").is_file() else False  # fmt: skip

PATHS = ("s8s8", "u8s8") if HAS_VNNI else ("s8s8",)
"""Activations and weights. Without VNNI the kernels for unsigned activations saturate sums of two products to 16 bits:
they compute something else, so they are no witness there."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """One thread, and every node as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs(
    graph: QGraph, feeds: dict[str, NDArray[np.int8]], path: str = "s8s8"
) -> dict[str, NDArray[np.int8]]:
    """Every tensor that ONNX Runtime computes, int8 (n, h, w, c), for int8 inputs of that layout."""
    unsigned = path == "u8s8"
    model = to_operators(graph, integers=True, unsigned=unsigned)
    names = [layer.output for layer in graph.layers if not isinstance(layer, QSoftmax)]
    listed = [value.name for value in model.graph.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in listed)
    given = {name: shift(values, unsigned).transpose(0, 3, 1, 2) for name, values in feeds.items()}
    found = session(model).run(names, given)
    return {name: as_pixels(shift(values, unsigned), graph.tensors[name].shape) for name, values in zip(names, found)}


def shift(values: NDArray, unsigned: bool) -> NDArray:
    """int8 to uint8 greater by 128 and back: the top bit is the other way round."""
    return (values.view(np.uint8) ^ 128).view(np.uint8 if values.dtype == np.int8 else np.int8) if unsigned else values


def as_pixels(values: NDArray[np.int8], shape: tuple[int, int, int]) -> NDArray[np.int8]:
    """(n, c, h, w) or (n, c) as (n, h, w, c)."""
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values.reshape(len(values), *shape)
