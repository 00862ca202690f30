"""Train a LeNet on real handwritten digits with NumPy alone, and write its float weights beside its workload file.

    python train_lenet.py                      # lenet.yaml -> lenet.npz, one to two minutes
    python train_lenet.py lenet_tanh.yaml
    python train_lenet.py --eval               # accuracy per split, float and int8; trains nothing

Minibatch gradient descent with Nesterov momentum, weight decay, random shifts, and early stopping on the validation
split. The test split is never looked at in training. Any chain of conv (one group, no dilation), fc, maxpool,
avgpool, relu, tanh, sigmoid and flatten, with a data set, can be trained.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.nn import golden
from accelsim.nn.dataset import SPLITS
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, Layer, Pads
from accelsim.nn.loader import Network, load_network
from accelsim.nn.scales import quantize_values
from accelsim.nn.shapes import infer_shapes, parameter_shapes, window_counts
from accelsim.nn.windows import pad, windows

HERE = Path(__file__).resolve().parent
Array: TypeAlias = NDArray[np.float32]
Parameters: TypeAlias = dict[str, Array]
"""``<layer>.weight`` and ``<layer>.bias``, as in the .npz file."""


def initial(graph: Graph, rng: np.random.Generator) -> Parameters:
    """Zero-mean normal weights whose variance follows the reduction length; zero biases."""
    shapes = infer_shapes(graph)
    parameters: Parameters = {}
    for layer in graph.layers:
        weight, bias = parameter_shapes(layer, shapes[layer.input])
        if weight:
            gain = 2.0 if layer.activation == "relu" else 1.0
            deviation = np.sqrt(gain / np.prod(weight[1:]))
            parameters[f"{layer.name}.weight"] = rng.normal(0, deviation, weight).astype(np.float32)
            parameters[f"{layer.name}.bias"] = np.zeros(bias, np.float32)
    return parameters


def with_parameters(graph: Graph, parameters: Parameters) -> Graph:
    """The graph with these weights."""
    layers = [
        dataclasses.replace(
            layer, weights=parameters.get(f"{layer.name}.weight"), bias=parameters.get(f"{layer.name}.bias")
        )
        for layer in graph.layers
    ]
    return dataclasses.replace(graph, layers=tuple(layers))


def logits_name(graph: Graph) -> str:
    """The value before the final softmax."""
    last = graph.layers[-1]
    return last.input if last.kind == "softmax" else last.name


def gradients(graph: Graph, x: Array, labels: NDArray[np.int64], smoothing: float) -> tuple[float, Parameters]:
    """Mean cross entropy over the batch and its gradient by each parameter."""
    values = forward(graph, x)
    top = logits_name(graph)
    logits = values[top]
    probability = golden.softmax(logits).reshape(len(x), -1)
    target = np.full(probability.shape, smoothing / probability.shape[1], np.float32)
    target[np.arange(len(x)), labels] += 1 - smoothing
    loss = float(-(target * np.log(probability + 1e-12)).sum() / len(x))
    slope: Array = ((probability - target) / np.float32(len(x))).reshape(logits.shape)
    result: Parameters = {}
    for layer in reversed(graph.layers):
        if layer.kind == "softmax":
            continue
        if layer.activation:
            slope = slope * derivative(layer.activation, values[layer.name])
        slope = backward(layer, values[layer.input], values[layer.name], slope, result)
    return loss, result


def backward(layer: Layer, x: Array, y: Array, slope: Array, result: Parameters) -> Array:
    """The loss's slope by ``x`` from its slope by ``y``; adds parameter gradients to ``result``."""
    match layer.kind:
        case "conv":
            return conv_backward(layer, x, slope, result)
        case "fc":
            assert layer.weights is not None
            flat = slope.reshape(len(x), -1)
            result[f"{layer.name}.weight"] = flat.T @ x.reshape(len(x), -1)
            result[f"{layer.name}.bias"] = flat.sum(axis=0)
            return (flat @ layer.weights).reshape(x.shape)
        case "maxpool":
            view = windows(pad(x, layer.pads, -np.inf), layer.kernel, layer.stride)
            n, p, q, r, s, c = view.shape
            best = view.reshape(n, p, q, r * s, c).argmax(axis=3)
            taps = [slope * (best == tap) for tap in range(r * s)]
            return scatter(taps, layer, x.shape, layer.pads)
        case "avgpool":
            size = layer.kernel[0] * layer.kernel[1]
            counts: Any = size
            if not layer.count_include_pad:
                counts = window_counts((x.shape[1], x.shape[2]), layer.kernel, layer.stride, layer.pads)[:, :, None]
            return scatter([(slope / counts).astype(np.float32)] * size, layer, x.shape, layer.pads)
        case "flatten":
            return slope.reshape(x.shape)
        case _:
            return slope * derivative(layer.kind, y)


def conv_backward(layer: Layer, x: Array, slope: Array, result: Parameters) -> Array:
    """As :func:`backward`, for one group without dilation."""
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.weights is None:
        raise SystemExit(f"{layer.name}: training knows no groups and no dilation")
    k, r, s, c = layer.weights.shape
    view = windows(pad(x, layer.pads, 0.0), (r, s), layer.stride)
    flat = slope.reshape(-1, k)
    columns = view.reshape(len(flat), r * s * c)
    result[f"{layer.name}.weight"] = (flat.T @ columns).reshape(layer.weights.shape)
    result[f"{layer.name}.bias"] = flat.sum(axis=0)
    spread = (flat @ layer.weights.reshape(k, -1)).reshape(*slope.shape[:3], r * s, c)
    return scatter([spread[:, :, :, tap] for tap in range(r * s)], layer, x.shape, layer.pads)


def scatter(taps: list[Array], layer: Layer, shape: tuple[int, ...], pads: Pads) -> Array:
    """Add each tap's (n, p, q, c) slopes back to the input pixels it read; (n, h, w, c) = ``shape``."""
    n, h, w, c = shape
    total = np.zeros((n, h + pads[0] + pads[1], w + pads[2] + pads[3], c), np.float32)
    p, q = taps[0].shape[1:3]
    for index, tap in enumerate(taps):
        i, j = divmod(index, layer.kernel[1])
        rows = slice(i, i + (p - 1) * layer.stride[0] + 1, layer.stride[0])
        cols = slice(j, j + (q - 1) * layer.stride[1] + 1, layer.stride[1])
        total[:, rows, cols] += tap
    return total[:, pads[0] : pads[0] + h, pads[2] : pads[2] + w]


def derivative(kind: str, y: Array) -> Array:
    """The slope of a pointwise function, from its value."""
    match kind:
        case "relu":
            return (y > 0).astype(np.float32)
        case "tanh":
            return 1 - y * y
        case "sigmoid":
            return y * (1 - y)
    raise SystemExit(f"training knows no {kind}")


def shifted(images: Array, rng: np.random.Generator, reach: int) -> Array:
    """Each image moved by up to ``reach`` pixels in both directions, zeros coming in."""
    n, h, w, _ = images.shape
    framed = pad(images, (reach, reach, reach, reach), 0.0)
    offsets = rng.integers(0, 2 * reach + 1, (n, 2))
    return np.stack([framed[i, y : y + h, x : x + w] for i, (y, x) in enumerate(offsets)])


def score(graph: Graph, images: Array, labels: NDArray[np.int64]) -> tuple[float, float]:
    """(accuracy, mean cross entropy) in float."""
    logits = forward(graph, images)[logits_name(graph)].reshape(len(images), -1)
    probability = golden.softmax(logits)
    loss = -np.log(probability[np.arange(len(labels)), labels] + 1e-12).mean()
    return float((logits.argmax(axis=1) == labels).mean()), float(loss)


def train(network: Network, options: argparse.Namespace) -> Parameters:
    """The parameters of the epoch with the lowest validation loss, which is steadier than its accuracy."""
    assert network.dataset
    rng = np.random.default_rng(options.seed)
    images, labels = network.dataset.images("train"), network.dataset.labels("train")
    checks = network.dataset.images("val"), network.dataset.labels("val")
    parameters = initial(network.graph, rng)
    velocity = {name: np.zeros_like(values) for name, values in parameters.items()}
    best, best_loss, best_accuracy, best_epoch = parameters, np.inf, 0.0, 0
    for epoch in range(1, options.epochs + 1):
        rate = float(options.rate * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / options.epochs)))
        order = rng.permutation(len(images))
        for first in range(0, len(order), options.minibatch):
            chosen = order[first : first + options.minibatch]
            batch = shifted(images[chosen], rng, options.shift)
            graph = with_parameters(network.graph, parameters)
            _, slopes = gradients(graph, batch, labels[chosen], options.smoothing)
            parameters = step(parameters, slopes, velocity, rate, options)
        accuracy, loss = score(with_parameters(network.graph, parameters), *checks)
        if loss < best_loss:
            best, best_loss, best_accuracy, best_epoch = parameters, loss, accuracy, epoch
        if epoch % 10 == 0 or epoch == options.epochs:
            print(f"epoch {epoch:3d}: validation accuracy {accuracy:.4f}, loss {loss:.4f}", flush=True)
        if epoch - best_epoch >= options.patience:
            break
    print(f"best epoch {best_epoch}: validation accuracy {best_accuracy:.4f}, loss {best_loss:.4f}")
    return best


def step(
    parameters: Parameters, slopes: Parameters, velocity: Parameters, rate: float, options: argparse.Namespace
) -> Parameters:
    """One step of Nesterov momentum, weight decay on weights only; ``velocity`` changes in place."""
    momentum, decay = float(options.momentum), float(options.decay)
    result: Parameters = {}
    for name, values in parameters.items():
        slope: Any = slopes[name]
        if name.endswith(".weight"):
            slope = slope + decay * values
        velocity[name] = momentum * velocity[name] - rate * slope
        result[name] = values + momentum * velocity[name] - rate * slope
    return result


def evaluate(network: Network, splits: tuple[str, ...]) -> None:
    """Print the float and int8 accuracy of each split."""
    assert network.dataset
    quantized = network.quantize()
    print("split   images   float     int8")
    for split in splits:
        images, labels = network.dataset.images(split), network.dataset.labels(split)
        accuracy, _ = score(network.graph, images, labels)
        inputs = quantize_values(images, quantized.tensors[quantized.input])
        outputs = golden.run(quantized, inputs)[quantized.output].reshape(len(images), -1)
        integer = float((outputs.argmax(axis=1) == labels).mean())
        print(f"{split:6} {len(images):7d}  {accuracy:7.2%}  {integer:7.2%}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="lenet.yaml", help="workload file (default lenet.yaml)")
    parser.add_argument("--output", type=Path, help="weights file (default: the workload's name with .npz)")
    parser.add_argument("--eval", action="store_true", help="print the accuracy per split and stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--patience", type=int, default=40, help="epochs without improvement before stopping")
    parser.add_argument("--minibatch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.05, help="first learning rate; falls as a half cosine")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--shift", type=int, default=2, help="pixels an image may move")
    parser.add_argument("--smoothing", type=float, default=0.02, help="share of each label spread over all classes")
    return parser.parse_args()


def main() -> None:
    """Train and write, or evaluate."""
    options = arguments()
    path = Path(options.network)
    path = path if path.is_file() else HERE / path
    network = load_network(path, trained=options.eval)
    if network.dataset is None:
        raise SystemExit(f"{path}: has no data set to train on")
    if options.eval:
        evaluate(network, SPLITS)
        return
    output = options.output or path.with_suffix(".npz")
    parameters: dict[str, Any] = dict(train(network, options))
    np.savez(output, **parameters)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
