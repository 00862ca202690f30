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


class Quantizer(Builder):
    """A model with float input ``x`` that is quantised, and outputs that are dequantised; ``kind`` of activations."""

    def __init__(self, shape: Sequence[int | str], kind: str = "int8", **keys: Any) -> None:
        super().__init__(shape, **keys)
        self.kind = np.dtype(kind)
        self.scales: dict[str, tuple[str, str]] = {}
        self.x = self.quantize("x", 0.02, 3)

    def scale(self, scale: float, zero: int) -> tuple[str, str]:
        """Names of a scale and of a zero point, which is int8's; greater by 128 for uint8."""
        zero += 128 if self.kind == np.uint8 else 0
        return self.weight(np.float32(scale)), self.weight(np.array(zero, self.kind))

    def quantize(self, x: str, scale: float, zero: int) -> str:
        names = self.scale(scale, zero)
        y = self.node("QuantizeLinear", x, *names)
        self.scales[y] = names
        return y

    def real(self, y: str) -> str:
        """The dequantised value of an integer one."""
        return self.node("DequantizeLinear", y, *self.scales[y])

    def integers(self, *shape: int, channels: int = 0, unsigned: bool = False) -> tuple[str, str, str]:
        """Weights small enough for every processor's kernels, their scale or scales, and zero point."""
        values = self.rng.integers(-63, 64, shape)
        size = (channels,) if channels else ()
        scale = self.rng.uniform(0.005, 0.02, size).astype(np.float32)
        if unsigned:
            zeros = np.full(size, 128, np.uint8)
            return self.weight((values + 128).astype(np.uint8)), self.weight(scale), self.weight(zeros)
        return self.weight(values.astype(np.int8)), self.weight(scale), self.weight(np.zeros(size, np.int8))

    def bias(self, k: int) -> str:
        return self.weight(self.rng.integers(-3000, 3000, k).astype(np.int32))

    def operator(self, op: str, scale: float, zero: int, *inputs: str, **attributes: Any) -> str:
        """A node of QOperator whose result has this scale; the scales of its inputs are given in ``inputs``."""
        names = self.scale(scale, zero)
        listed = [names[i] if name == "y" else name for name in inputs for i in ((0, 1) if name == "y" else (0,))]
        domain = "" if op in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
        y = self.node(op, *listed, domain=domain, **attributes)
        self.scales[y] = names
        return y

    def same(self, op: str, x: str, *more: str, **attributes: Any) -> str:
        """A node that keeps scale and zero point."""
        y = self.node(op, x, *more, **attributes)
        self.scales[y] = self.scales[x]
        return y
