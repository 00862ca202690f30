"""Writes lenet.onnx: the trained network of lenet.yaml as other tools would export it, images as (N, 1, 32, 32).

    python workloads/export_lenet.py

Needs the extra ``onnx``. The file is the same whenever the weights are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
MAPS = (16, 5, 5)  # channels, height and width of what the flatten reads


def channels_first(name: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """accelsim's (k, r, s, c) as (k, c, r, s); the columns of fc1 in the order of a flattened (c, h, w)."""
    if weights.ndim == 4:
        return weights.transpose(0, 3, 1, 2)
    if name == "fc1" and weights.ndim == 2:
        c, h, w = MAPS
        return weights.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(len(weights), -1)
    return weights


def build() -> onnx.ModelProto:
    """The model, opset 13."""
    with np.load(HERE / "lenet.npz") as stored:
        weights = dict(stored)
    tensors: list[Any] = []
    nodes: list[Any] = []
    value = "image"

    def node(op: str, name: str, *inputs: str, **attributes: Any) -> None:
        nonlocal value
        nodes.append(helper.make_node(op, [value, *inputs], [f"{name}_out"], name=name, **attributes))
        value = f"{name}_out"

    def weighted(op: str, name: str, **attributes: Any) -> None:
        for suffix in ("weight", "bias"):
            array = channels_first(name, weights[f"{name}.{suffix}"])
            tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}.{suffix}"))
        node(op, name, f"{name}.weight", f"{name}.bias", **attributes)

    for number in (1, 2):
        weighted("Conv", f"conv{number}", kernel_shape=[5, 5])
        node("Relu", f"relu{number}")
        node("MaxPool", f"pool{number}", kernel_shape=[2, 2], strides=[2, 2])
    node("Flatten", "flatten")
    for number in (1, 2, 3):
        weighted("Gemm", f"fc{number}", transB=1)
        if number < 3:
            node("Relu", f"relu{number + 2}")
    node("Softmax", "softmax", axis=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 32, 32])
    nodes[-1].output[0] = "probabilities"
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "lenet", [image], [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7, producer_name="accelsim")


if __name__ == "__main__":
    (HERE / "lenet.onnx").write_bytes(build().SerializeToString(deterministic=True))
