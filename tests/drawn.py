"""Layers of random small int8 networks: structure is drawn by hypothesis, the numbers come from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from accelsim.nn.graph import Pads, QAdd, QConcat, QConv, QGraph, QLayer, QLrn, QLut, QPool, QReshape, QSoftmax, Tensor
from accelsim.nn.shapes import Shape, output_hw

Pair: TypeAlias = tuple[int, int]

WEIGHT_MODES = ("normal", "uniform", "sparse", "high", "low", "alternating")
BRANCH_KINDS = ("conv", "conv", "depthwise", "maxpool", "avgpool", "lut", "lrn")


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], mode: str) -> NDArray[np.int8]:
    """int8 weights of ``shape`` in one of ``WEIGHT_MODES``; some reach -128, which a quantiser never makes."""
    makers: dict[str, Callable[[], NDArray]] = {
        "normal": lambda: np.clip(np.rint(rng.normal(0, 40, shape)), -127, 127),
        "uniform": lambda: rng.integers(-128, 128, shape),
        "sparse": lambda: rng.integers(-127, 128, shape) * (rng.random(shape) < 0.2),
        "high": lambda: np.full(shape, 127),
        "low": lambda: np.full(shape, -127),
        "alternating": lambda: np.where(np.arange(np.prod(shape)).reshape(shape) % 2, 127, -128),
    }
    return makers[mode]().astype(np.int8)


@dataclass
class Chain:
    """Layers one behind another, or branching off earlier ones, in the order they are drawn."""

    draw: st.DrawFn
    rng: np.random.Generator
    max_c: int
    prefix: str = ""
    max_dilation: int = 2
    inputs: list[str] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    extra: dict[str, Tensor] = field(default_factory=dict)  # inputs that additions brought
    layers: list[QLayer] = field(default_factory=list)
    at: str = ""  # the tensor that the next layer reads, the last one if empty
    level: tuple[np.float32, int] | None = None  # scale and zero point of all tensors, if they share them

    @property
    def last(self) -> Tensor:
        return self.tensors[self.at] if self.at else list(self.tensors.values())[-1]

    def pick(self, low: int, high: int, label: str) -> int:
        return self.draw(st.integers(low, high), label=label)

    def start(self, shape: Shape) -> None:
        self.inputs.append(f"{self.prefix}image")
        self.tensor(self.inputs[0], shape)

    def tensor(self, name: str, shape: Shape) -> Tensor:
        zeros = [-128, 127, 0, -3, 17, int(self.rng.integers(-128, 128))]
        zero = self.draw(st.sampled_from(zeros), label="zero")
        scale = np.float32(2.0 ** self.rng.uniform(-8, 0))
        if self.level is not None:
            scale, zero = self.level
        self.tensors[name] = Tensor(name=name, shape=shape, scale=scale, zero=zero)
        return self.tensors[name]

    def same(self, name: str, shape: Shape) -> Tensor:
        last = self.last
        self.tensors[name] = Tensor(name=name, shape=shape, scale=last.scale, zero=last.zero)
        return self.tensors[name]

    def body(self, kind: str) -> None:
        name = f"{self.prefix}l{len(self.layers)}_{kind}"
        if kind == "turn":
            self.at = self.draw(st.sampled_from(list(self.tensors)), label="turn to")
            return
        if kind in ("lut", "add", "lrn", "concat", "inception"):
            getattr(self, kind)(name)
        elif kind == "gemm":
            self.gemm(name)
        elif kind.endswith("pool"):
            self.pool(name, kind)
        else:
            self.conv(name, kind)
        self.at = ""

    def conv(self, name: str, kind: str) -> None:
        h, w, c = self.last.shape
        groups, k = 1, self.pick(1, self.max_c + 1, "k")
        if kind == "depthwise":
            groups = k = c
        elif kind == "grouped":
            groups = self.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]), label="groups")
            k = groups * self.pick(1, 3, "k per group")
        pads = tuple(self.pick(0, 2, "pad") for _ in range(4))
        dilation = (self.pick(1, self.max_dilation, "dilation"), self.pick(1, self.max_dilation, "dilation"))
        kernel = (
            self.pick(1, min(4, (h + pads[0] + pads[1] - 1) // dilation[0] + 1), "r"),
            self.pick(1, min(4, (w + pads[2] + pads[3] - 1) // dilation[1] + 1), "s"),
        )
        stride = (self.pick(1, 3, "stride"), self.pick(1, 3, "stride"))
        p, q = output_hw((h, w), kernel, stride, pads, dilation)
        kind = "depthwise" if 1 < groups == c == k else "conv"
        self.weighted(name, kind, (k, *kernel, c // groups), (p, q, k), stride, pads, dilation, groups)

    def weighted(
        self, name: str, kind: str, shape: tuple[int, int, int, int], out: Shape,
        stride: tuple[int, int] = (1, 1), pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1), groups: int = 1,
    ) -> None:  # fmt: skip
        source = self.last
        result = self.tensor(name, out)
        weights = random_weights(self.rng, shape, self.draw(st.sampled_from(WEIGHT_MODES), label="weights"))
        flat = weights.reshape(shape[0], -1).astype(np.float64)
        typical = np.maximum(75 * np.sqrt((flat**2).sum(axis=1)), 40 * np.abs(flat.sum(axis=1))) + 1
        scale = (self.rng.uniform(20, 110, shape[0]) / typical).astype(np.float32)
        bias = np.rint(self.rng.normal(0, 0.3, shape[0]) * typical).astype(np.int32)
        if self.draw(st.sampled_from([False] * 7 + [True]), label="bias wraps"):
            bias = self.rng.choice(np.array([-(2**31), 2**31 - 1], np.int32), shape[0])
        lo, hi = self.draw(
            st.sampled_from([(-128, 127), (result.zero, 127), (-100, max(-100, result.zero))]), label="clamp"
        )
        self.layers.append(
            QConv(
                name=name, kind=kind, input=source.name, output=name, weights=weights, bias=bias,
                scale=scale, stride=stride, pads=pads, dilation=dilation, groups=groups, lo=lo, hi=hi,
            )
        )  # fmt: skip

    def pool(self, name: str, kind: str) -> None:
        h, w, _ = self.last.shape
        pads = tuple(self.pick(0, 2, "pad") for _ in range(4))
        # Each padding stays below the kernel, so that every window holds a real pixel.
        low = (max(pads[0], pads[1]) + 1, max(pads[2], pads[3]) + 1)
        kernel = []
        for axis, size in enumerate((h + pads[0] + pads[1], w + pads[2] + pads[3])):
            if low[axis] > size:  # a 1-pixel side with padding 2 on one side only
                pads = (0, 0, *pads[2:]) if axis == 0 else (*pads[:2], 0, 0)
                kernel.append(1)
            else:
                kernel.append(self.pick(low[axis], max(low[axis], min(3, size)), "kernel"))
        stride = (self.pick(1, 3, "stride"), self.pick(1, 3, "stride"))
        self.window(name, kind, (kernel[0], kernel[1]), stride, pads)

    def window(self, name: str, kind: str, kernel: Pair, stride: Pair, pads: Pads) -> None:
        """A pooling layer."""
        h, w, c = self.last.shape
        p, q = output_hw((h, w), kernel, stride, pads)
        source = self.last
        (self.same if kind == "maxpool" else self.tensor)(name, (p, q, c))
        self.layers.append(
            QPool(
                name=name, kind=kind, input=source.name, output=name, kernel=kernel, stride=stride,
                pads=pads, lo=-128, hi=127,
                count_include_pad=self.draw(st.booleans(), label="count_include_pad"),
            )
        )  # fmt: skip

    def lut(self, name: str) -> None:
        source = self.last
        self.tensor(name, source.shape)
        table = self.rng.integers(-128, 128, 256).astype(np.int8)
        self.layers.append(QLut(name=name, kind="lut", input=source.name, output=name, table=table))

    def gemm(self, name: str) -> None:
        """A product, of an image of height 1; the last tensor is flattened where it is higher."""
        if self.last.shape[0] != 1:
            self.flatten(f"{name}_flat")
        (_, m, depth), k = self.last.shape, self.pick(1, self.max_c + 1, "n")
        self.weighted(name, "gemm", (k, 1, 1, depth), (1, m, k))

    def add(self, name: str) -> None:
        """The last tensor and one of its shape: itself, an earlier one, or a network input for this alone."""
        last = self.last
        same = [tensor.name for tensor in self.tensors.values() if tensor.shape == last.shape]
        other = self.draw(st.sampled_from([*same, ""]), label="addend")
        addend = self.tensors[other] if other else self.extra_input(f"{name}_in", last.shape)
        pair = (last, addend) if self.draw(st.booleans(), label="last first") else (addend, last)
        larger = max(float(tensor.scale) for tensor in pair)
        drawn = self.tensor(name, last.shape)
        scale = np.float32(larger * 2.0 ** self.rng.uniform(-1, 2)) if self.level is None else drawn.scale
        result = self.tensors[name] = Tensor(name=name, shape=last.shape, scale=scale, zero=drawn.zero)
        factors = [int(np.rint(float(tensor.scale) / larger * 2**22)) for tensor in pair]
        relu = self.draw(st.booleans(), label="relu")
        self.layers.append(
            QAdd(
                name=name, kind="add", inputs=(pair[0].name, pair[1].name), output=name,
                factors=(factors[0], factors[1]), bias=-sum(t.zero * f for t, f in zip(pair, factors)),
                scale=np.float32(larger / 2**22 / float(scale)), lo=result.zero if relu else -128, hi=127,
            )
        )  # fmt: skip

    def extra_input(self, name: str, shape: Shape) -> Tensor:
        """A network input that one layer alone reads."""
        self.extra[name] = self.tensor(name, shape)
        del self.tensors[name]
        self.inputs.append(name)
        return self.extra[name]

    def concat(self, name: str) -> None:
        """The last tensor and up to three others of its height and width: itself, earlier ones, network inputs."""
        last = self.last
        (h, w, _), fitting = last.shape, [t for t in self.tensors.values() if t.shape[:2] == last.shape[:2]]
        parts = [last]
        for number in range(self.pick(1, 3, "others")):
            other = self.draw(st.sampled_from([*fitting, None]), label="joined")
            parts.append(other or self.extra_input(f"{name}_in{number}", (h, w, self.pick(1, self.max_c, "c"))))
        self.join(name, self.draw(st.permutations(parts), label="order"))

    def inception(self, name: str) -> None:
        """Two to four branches of layers that keep height and width, and their concatenation."""
        start, parts = self.last, []
        for branch in range(self.pick(2, 4, "branches")):
            self.at = start.name
            for number in range(self.pick(1, 2, "layers")):
                kind = self.draw(st.sampled_from(BRANCH_KINDS), label="kind")
                self.level_kind(kind, f"{name}_{branch}_{number}")
                self.at = ""
            parts.append(self.last)
        self.join(name, self.draw(st.permutations(parts), label="order"))

    def level_kind(self, kind: str, name: str) -> None:
        """A layer that keeps height and width: a 1x1 or 3x3 window, or a function."""
        h, w, c = self.last.shape
        if kind in ("lut", "lrn"):
            getattr(self, kind)(name)
            return
        size = self.draw(st.sampled_from([1, 3]), label="window")
        pads = (size // 2,) * 4
        if kind in ("maxpool", "avgpool"):
            self.window(name, kind, (size, size), (1, 1), pads)
            return
        groups, k = (c, c) if kind == "depthwise" else (1, self.pick(1, self.max_c, "k"))
        kind = "depthwise" if 1 < groups == c else "conv"
        self.weighted(name, kind, (k, size, size, c // groups), (h, w, k), pads=pads, groups=groups)

    def join(self, name: str, parts: Sequence[Tensor]) -> None:
        h, w, _ = parts[0].shape
        result = self.tensor(name, (h, w, sum(part.shape[2] for part in parts)))
        if self.draw(st.booleans(), label="like one of them"):
            like = self.draw(st.sampled_from(parts), label="like")
            result = self.tensors[name] = Tensor(name=name, shape=result.shape, scale=like.scale, zero=like.zero)
        scales = tuple(np.float32(np.float64(part.scale) / np.float64(result.scale)) for part in parts)
        self.layers.append(
            QConcat(name=name, kind="concat", inputs=tuple(p.name for p in parts), output=name, scales=scales)
        )

    def lrn(self, name: str) -> None:
        source = self.last
        self.tensor(name, source.shape)
        size = self.pick(1, 7, "size")
        square, factor = (self.rng.integers(0, 128, 256).astype(np.int8) for _ in range(2))
        if self.draw(st.booleans(), label="plain tables"):
            square = np.rint((np.arange(-128, 128) - source.zero) ** 2 / 65025 * 127).astype(np.int8)
            factor = np.rint(127 / (1 + np.arange(256) / 100)).astype(np.int8)
        self.layers.append(
            QLrn(
                name=name, kind="lrn", input=source.name, output=name, size=size, square=square,
                index_scale=np.float32(255 / (127 * size) * self.rng.uniform(0.5, 2)),
                index_zero=self.draw(st.sampled_from([-128, 0, 5]), label="index zero"), factor=factor,
                scale=np.float32(2.0 ** self.rng.uniform(-9, -5)),
            )
        )  # fmt: skip

    def flatten(self, name: str) -> None:
        source = self.last
        self.same(name, (1, 1, source.size))
        self.layers.append(QReshape(name=name, kind="flatten", input=source.name, output=name))
        self.at = ""

    def classifier(self, softmax: bool = True) -> None:
        if self.draw(st.booleans(), label="flatten"):
            self.flatten(f"{self.prefix}flat")
        for index in range(self.pick(1, 2, "fc layers")):
            h, w, c = self.last.shape
            k = self.pick(1, 2 * self.max_c + 1, "k")
            self.weighted(f"{self.prefix}fc{index}", "fc", (k, h, w, c), (1, 1, k))
        if softmax and self.draw(st.booleans(), label="softmax"):
            self.layers.append(QSoftmax(name="prob", kind="softmax", input=self.last.name))

    def graph(self) -> QGraph:
        return QGraph(
            name="random", inputs=("image",), outputs=(self.last.name,), tensors=self.tensors,
            layers=tuple(self.layers),
            rows=tuple((layer.name, layer.kind, layer.name) for layer in self.layers),
        )  # fmt: skip
