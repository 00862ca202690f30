"""Random networks of many operators and layouts: the float network against ONNX Runtime, the int8 one bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import accelsim
from tests.onnx.builders import Builder
from tests.onnx.running import check_float, random_feeds

SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


class Grower:
    """Adds random nodes to a model; ``values`` are images (name, channels, height, width), channels first."""

    def __init__(self, data: st.DataObject, size: tuple[int, int, int]) -> None:
        self.draw = data.draw
        self.b = Builder(("N", *size), seed=self.draw(st.integers(0, 999)))
        self.values = [("x", *size)]
        self.steps = ("conv", "norm", "function", "scale", "pool", "join", "there_and_back")
        self.functions = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "HardSigmoid")

    def pick(self) -> tuple[str, int, int, int]:
        return self.draw(st.sampled_from(self.values[-3:]))

    def put(self, name: str, c: int, h: int, w: int) -> None:
        self.values.append((name, c, h, w))

    def conv(self) -> None:
        x, c, h, w = self.pick()
        k, r = self.draw(st.integers(1, 9)), self.draw(st.sampled_from([1, 3]))
        step = self.draw(st.integers(1, 2))
        if self.draw(st.booleans()):
            group, k = c, c
        else:
            group = 1
        y = self.b.conv(x, k, c // group, r, r, strides=[step, 1], pads=[r // 2] * 4, group=group)
        self.put(y, k, (h - 1) // step + 1, w)

    def norm(self) -> None:
        x, c, h, w = self.pick()
        factors = [self.b.weight(self.b.rng.uniform(0.5, 1.5, c).astype(np.float32)) for _ in range(4)]
        self.put(self.b.node("BatchNormalization", x, *factors), c, h, w)

    def function(self) -> None:
        x, *size = self.pick()
        op = self.draw(st.sampled_from(self.functions))
        self.put(self.b.node(op, x), *size)

    def scale(self) -> None:
        x, c, h, w = self.pick()
        op = self.draw(st.sampled_from(["Add", "Mul", "Sub", "Div"]))
        shape = self.draw(st.sampled_from([(), (c, 1, 1), (1, c, 1, 1)]))
        self.put(self.b.node(op, x, self.b.weight(self.b.rng.uniform(0.5, 2, shape).astype(np.float32))), c, h, w)

    def pool(self) -> None:
        x, c, h, w = self.pick()
        op = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        keys = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
        self.put(self.b.node(op, x, **keys), c, h, w)

    def join(self) -> None:
        x, c, h, w = self.pick()
        others = [value for value in self.values if value[2:] == (h, w)]
        y, d, *_ = self.draw(st.sampled_from(others))
        if c == d and self.draw(st.booleans()):
            self.put(self.b.node("Add", x, y), c, h, w)
        elif c + d < 40:
            self.put(self.b.node("Concat", x, y, axis=1), c + d, h, w)

    def there_and_back(self) -> None:
        """Through (n, h, w, c), as some exporters do."""
        x, c, h, w = self.pick()
        y = self.b.node("Relu", self.b.node("Transpose", x, perm=[0, 2, 3, 1]))
        self.put(self.b.node("Transpose", y, perm=[0, 3, 1, 2]), c, h, w)

    def grow(self) -> str:
        steps = [getattr(self, name) for name in self.steps]
        self.conv()
        for _ in range(self.draw(st.integers(2, 8))):
            self.draw(st.sampled_from(steps))()
        x, c, h, w = self.values[-1]
        match self.draw(st.sampled_from(["image", "nhwc", "fc", "mean"])):
            case "image":
                return self.b.node("Relu", x)
            case "nhwc":
                return self.b.node("Transpose", self.b.node("Relu", x), perm=[0, 2, 3, 1])
            case "fc":
                return self.b.node("Gemm", self.b.node("Flatten", x), self.b.normal(5, c * h * w, scale=0.2), transB=1)
            case _:
                return self.b.node("Squeeze", self.b.node("GlobalAveragePool", x), self.b.weight(np.array([2, 3])))


@settings(max_examples=40, **SETTINGS)
@given(data=st.data())
def test_float(data: st.DataObject, tmp_path: Path) -> None:
    grower = Grower(data, (3, 6, 5))
    check_float(grower.b.save(tmp_path / "m.onnx", grower.grow()), tolerance=2e-4, dead=True)


@settings(max_examples=8, **SETTINGS)
@given(data=st.data())
def test_bit_for_bit(data: st.DataObject, tmp_path: Path) -> None:
    grower = Grower(data, (3, 6, 5))
    path = grower.b.save(tmp_path / "m.onnx", grower.grow())
    images = random_feeds(path, 2)["x"]
    result = accelsim.run(path, arch="tiny", input=images, calibrate=images, level="functional", cache=False)
    assert result.report["bit_exact"]
