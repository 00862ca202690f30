"""Small models, built for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


class Builder:
    """Collects the nodes of one model; every method gives names of values back."""

    def __init__(self, shape: Sequence[int | str], *, opset: int = 17, seed: int = 0, kind: int = FLOAT) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs = [helper.make_tensor_value_info("x", kind, list(shape))]
        self.opset = opset
        self.rng = np.random.default_rng(seed)

    def weight(self, array: NDArray[Any], name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        """Random float32 weights."""
        return self.weight((self.rng.normal(size=shape) * scale).astype(np.float32))

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """A node; its first output."""
        name = f"{op.lower()}{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"/{name}/{op}", domain=domain, **attributes))
        return name

    def conv(self, x: str, k: int, c: int, *kernel: int, bias: bool = True, **attributes: Any) -> str:
        """A Conv with sensible random weights; ``c`` channels per group."""
        taps = [self.normal(k, c, *kernel, scale=(2 / (c * int(np.prod(kernel)))) ** 0.5)]
        return self.node("Conv", x, *taps, *([self.normal(k, scale=0.1)] if bias else []), **attributes)

    def model(self, *outputs: str, kind: int = FLOAT) -> Any:
        """The model that gives ``outputs`` of any shape."""
        infos = [onnx.ValueInfoProto(name=name) for name in outputs]
        for info in infos:
            info.type.tensor_type.elem_type = kind
        graph = helper.make_graph(self.nodes, "test", self.inputs, infos, self.weights)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path, *outputs: str, kind: int = FLOAT) -> Path:
        onnx.save(self.model(*outputs, kind=kind), str(path))
        return path
