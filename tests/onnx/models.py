"""Well-known networks as ONNX models with seeded random weights, in the shape of an exporter's output.

    python -m tests.onnx.models alexnet alexnet.onnx --size 224 --external

makes a file to try (needs the extra ``onnx``). Weights are random but sized so that values neither die nor explode.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from tests.onnx.builders import Builder

CLASSES = 1000


class Net(Builder):
    """A model of images (N, 3, size, size) that follows its shapes, so that its weights can be made."""

    def __init__(self, size: int, seed: int = 0) -> None:
        super().__init__(("N", 3, size, size), opset=17, seed=seed)
        self.x, self.channels, self.size = "x", 3, size

    def cba(
        self,
        k: int,
        kernel: int,
        stride: int = 1,
        pad: int = 0,
        *,
        act: str = "relu",
        norm: bool = False,
        group: int = 1,
    ) -> Net:
        """Convolution, normalisation and activation."""
        self.x = self.conv(
            self.x,
            k,
            self.channels // group,
            kernel,
            kernel,
            bias=not norm,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=group,
        )
        self.channels, self.size = k, (self.size + 2 * pad - kernel) // stride + 1
        if norm:
            self.x = self.normalise(self.x, k)
        return self.act(act)

    def normalise(self, x: str, k: int) -> str:
        factors = [
            self.rng.uniform(0.8, 1.2, k),
            self.rng.normal(0, 0.1, k),
            self.rng.normal(0, 0.1, k),
            self.rng.uniform(0.8, 1.2, k),
        ]
        return self.node("BatchNormalization", x, *(self.weight(f.astype(np.float32)) for f in factors))

    def act(self, name: str) -> Net:
        if name == "relu":
            self.x = self.node("Relu", self.x)
        elif name == "relu6":
            self.x = self.node("Clip", self.x, self.weight(np.float32(0)), self.weight(np.float32(6)))
        return self

    def pool(self, kernel: int, stride: int, pad: int = 0, *, ceil: int = 0, op: str = "MaxPool") -> Net:
        self.x = self.node(op, self.x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil)
        rest = self.size + 2 * pad - kernel
        self.size = (-(-rest // stride) if ceil else rest // stride) + 1
        return self

    def lrn(self) -> Net:
        self.x = self.node("LRN", self.x, size=5, alpha=1e-4, beta=0.75, bias=1.0)
        return self

    def average(self) -> Net:
        self.x = self.node("GlobalAveragePool", self.x)
        self.size = 1
        return self

    def flatten(self) -> Net:
        self.x = self.node("Flatten", self.x)
        self.channels, self.size = self.channels * self.size**2, 1
        return self

    def fc(self, k: int, act: str = "") -> Net:
        self.x = self.node(
            "Gemm",
            self.x,
            self.normal(k, self.channels, scale=(2 / self.channels) ** 0.5),
            self.normal(k, scale=0.1),
            transB=1,
        )
        self.channels = k
        return self.act(act)

    def at(self, x: str, channels: int, size: int) -> Net:
        """Go on from another value."""
        self.x, self.channels, self.size = x, channels, size
        return self

    def join(self, parts: list[tuple[str, int]]) -> Net:
        self.x, self.channels = self.node("Concat", *(x for x, _ in parts), axis=1), sum(c for _, c in parts)
        return self


def alexnet(size: int = 224, width: int = 4096) -> Net:
    """As torchvision's: no groups, no normalisation."""
    net = Net(size).cba(64, 11, 4, 2).pool(3, 2).cba(192, 5, 1, 2).pool(3, 2)
    net.cba(384, 3, 1, 1).cba(256, 3, 1, 1).cba(256, 3, 1, 1).pool(3, 2).flatten()
    net.x = net.node("Dropout", net.x)
    return net.fc(width, "relu").fc(width, "relu").fc(CLASSES)


def alexnet_grouped(size: int = 227, width: int = 4096) -> Net:
    """As first published: two groups and local response normalisation."""
    net = Net(size).cba(96, 11, 4).lrn().pool(3, 2).cba(256, 5, 1, 2, group=2).lrn().pool(3, 2)
    net.cba(384, 3, 1, 1).cba(384, 3, 1, 1, group=2).cba(256, 3, 1, 1, group=2).pool(3, 2).flatten()
    return net.fc(width, "relu").fc(width, "relu").fc(CLASSES)


def resnet18(size: int = 224) -> Net:
    net = Net(size).cba(64, 7, 2, 3, norm=True).pool(3, 2, 1)
    for k, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        x, c, side = net.x, net.channels, net.size
        short = x if c == k else net.cba(k, 1, stride, act="", norm=True).x
        net.at(x, c, side).cba(k, 3, stride, 1, norm=True).cba(k, 3, 1, 1, act="", norm=True)
        net.x = net.node("Add", net.x, short)
        net.act("relu")
    return net.average().flatten().fc(CLASSES)


def fire(net: Net, squeeze: int, expand: int) -> Net:
    net.cba(squeeze, 1)
    x, c, side = net.x, net.channels, net.size
    parts = [(net.cba(expand, 1).x, expand), (net.at(x, c, side).cba(expand, 3, 1, 1).x, expand)]
    return net.join(parts)


def squeezenet(size: int = 224) -> Net:
    """SqueezeNet 1.1; its last convolution gives the classes."""
    net = Net(size).cba(64, 3, 2).pool(3, 2, ceil=1)
    for squeeze, expand, pool in (
        (16, 64, 0),
        (16, 64, 1),
        (32, 128, 0),
        (32, 128, 1),
        (48, 192, 0),
        (48, 192, 0),
        (64, 256, 0),
        (64, 256, 0),
    ):
        fire(net, squeeze, expand)
        if pool:
            net.pool(3, 2, ceil=1)
    net.cba(CLASSES, 1).average().flatten()
    net.x = net.node("Softmax", net.x, axis=1)
    return net


def mobilenet_v2(size: int = 224) -> Net:
    net = Net(size).cba(32, 3, 2, 1, act="relu6", norm=True)
    for t, k, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(count):
            x, c, step = net.x, net.channels, stride if i == 0 else 1
            if t > 1:
                net.cba(c * t, 1, act="relu6", norm=True)
            net.cba(c * t, 3, step, 1, act="relu6", norm=True, group=c * t).cba(k, 1, act="", norm=True)
            if step == 1 and c == k:
                net.x = net.node("Add", x, net.x)
    return net.cba(1280, 1, act="relu6", norm=True).average().flatten().fc(CLASSES)


def inception(size: int = 28) -> Net:
    """Two inception modules of GoogLeNet: four branches each, joined."""
    net = Net(size).cba(192, 3, 1, 1)
    for one, three, five, pooled in ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)):
        x, c, side = net.x, net.channels, net.size
        parts = [(net.cba(one, 1).x, one)]
        parts.append((net.at(x, c, side).cba(three[0], 1).cba(three[1], 3, 1, 1).x, three[1]))
        parts.append((net.at(x, c, side).cba(five[0], 1).cba(five[1], 5, 1, 2).x, five[1]))
        parts.append((net.at(x, c, side).pool(3, 1, 1).cba(pooled, 1).x, pooled))
        net.join(parts)
    return net.pool(3, 2, 1).average().flatten().fc(10)


NETWORKS: dict[str, Callable[..., Net]] = {
    "alexnet": alexnet, "alexnet_grouped": alexnet_grouped, "resnet18": resnet18, "squeezenet": squeezenet,
    "mobilenet_v2": mobilenet_v2, "inception": inception,
}  # fmt: skip


def save(net: Net, path: Path, *, external: bool = False) -> Path:
    """The model as a file, its weights in a second one beside it if ``external``."""
    model = net.model(net.x)
    keys = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 1024} if external else {}
    onnx.save(model, str(path), **keys)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, help="height and width of the images")
    parser.add_argument("--external", action="store_true", help="weights in a file of their own")
    options = parser.parse_args()
    sized = {} if options.size is None else {"size": options.size}
    save(NETWORKS[options.network](**sized), options.file, external=options.external)
