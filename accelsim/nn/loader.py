"""Workload file -> :class:`Network`: the float graph, its weights and data, every mistake located in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.nn.dataset import Dataset, as_float32, read_array, read_dataset
from accelsim.nn.graph import Graph, Layer, QGraph
from accelsim.nn.quantize import quantize
from accelsim.nn.schema import WorkloadFile
from accelsim.nn.shapes import Shape, ShapeError, layer_shape, same_pads
from accelsim.nn.weights import file_weights, random_weights
from accelsim.spelling import suggest
from accelsim.validation import sort_by_line, validate
from accelsim.yamlio import Document, read_document

DATASET_CALIBRATION_IMAGES = 128
RANDOM_CALIBRATION_IMAGES = 8
WORKLESS = ("flatten", "softmax")  # kinds without instructions


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is ready to be quantised and run.

    ``calibration`` is float32 (n, h, w, c); ``classes`` names the outputs and may be empty; ``dataset`` is None for
    a network without real images. ``places`` is ``file:line:col`` of every layer, by name.
    """

    name: str
    path: str
    graph: Graph
    calibration: NDArray[np.float32]
    method: str
    classes: tuple[str, ...]
    dataset: Dataset | None
    seed: int
    places: Mapping[str, str]

    def inputs(self, batch: int) -> NDArray[np.float32]:
        """Default inputs, float32 (batch, h, w, c): the first test images, or seeded random ones.

        A batch larger than the test split starts again from its first image.
        """
        if self.dataset:
            return self.dataset.images("test", batch)
        return random_inputs(self.graph.input_shape, batch, self.seed + 1)

    def quantize(self) -> QGraph:
        """The int8 network. Raises GraphError."""
        return quantize(self.graph, self.calibration, self.method)


def load_network(path: str | Path, *, trained: bool = True) -> Network:
    """Read a workload file and the files it names, which are found relative to it.

    With ``trained=False`` the graph has no weights (training needs the file before they exist). Raises ConfigError
    or ConfigErrors with every mistake and its place.
    """
    document = read_document(path)
    file = validate(document, WorkloadFile)
    reader = _Reader(document, file, Path(path))
    graph = reader.graph()
    dataset = reader.dataset(graph)
    if trained:
        graph = reader.weights(graph)
    calibration = reader.calibration(graph, dataset)
    reader.classes()
    reader.finish()
    return Network(
        name=graph.name, path=str(path), graph=graph, calibration=calibration, method=file.calibration.method,
        classes=tuple(file.classes or ()), dataset=dataset, seed=file.seed,
        places={keys.name: document.located(("layers", i)) for i, keys in enumerate(file.layers)},
    )  # fmt: skip


def random_inputs(shape: Shape, count: int, seed: int) -> NDArray[np.float32]:
    """float32 (count, h, w, c), uniform in -1..1; the first images do not depend on ``count``."""
    rng = np.random.default_rng(seed)
    return rng.random((count, *shape), dtype=np.float32) * np.float32(2) - np.float32(1)


class _Reader:
    """Builds the parts one after the other and collects what is wrong on the way."""

    def __init__(self, document: Document, file: WorkloadFile, path: Path) -> None:
        self.document = document
        self.file = file
        self.path = path
        self.errors: list[ConfigError] = []
        self.shapes: dict[str, Shape | None] = {}
        self.index = {layer.name: i for i, layer in reversed(list(enumerate(file.layers)))}

    def report(self, keys: tuple[str | int, ...], problem: str, hint: str = "") -> None:
        self.errors.append(self.document.error(keys, problem, hint))

    def finish(self) -> None:
        if self.errors:
            raise ConfigErrors(sort_by_line(self.errors))

    def graph(self) -> Graph:
        """The layers with inferred shapes; raises when one is impossible, since nothing after it can be checked."""
        file = self.file
        shape = (file.input.shape[0], file.input.shape[1], file.input.shape[2])
        self.shapes[file.input.name] = shape
        layers = []
        before = file.input.name
        for index, keys in enumerate(file.layers):
            layers.append(self._layer(index, keys, before))
            before = keys.name
        self._check_uses(layers)
        if all(layer.kind in WORKLESS for layer in layers):
            self.report(("layers",), "no layer does any work on the machine", "add a layer that computes values")
        self.finish()
        name = file.name or self.path.stem
        return Graph(name=name, input=file.input.name, input_shape=shape, layers=tuple(layers))

    def _layer(self, index: int, keys: Any, before: str) -> Layer:
        source = keys.input or before
        place = ("layers", index)
        if keys.name in self.shapes:
            self.report((*place, "name"), f"the name {keys.name!r} is taken", "each name may stand once")
        if source not in self.shapes:
            self._report_input(index, keys.name, source)
        shape = self.shapes.get(source)
        layer = _float_layer(keys, source, shape)
        result: Shape | None = None
        if shape:
            try:
                result = layer_shape(layer, shape)
            except ShapeError as error:
                self.report((*place, error.key) if error.key else place, error.problem, error.hint)
        if keys.kind == "softmax" and index != len(self.file.layers) - 1:
            self.report((*place, "kind"), "softmax runs on the host and can only be the last layer")
        self.shapes.setdefault(keys.name, result)
        return layer

    def _report_input(self, index: int, name: str, source: str) -> None:
        place = ("layers", index, "input")
        if source == name:
            self.report(place, f"{name!r} reads itself")
        elif source in self.index:
            chain = self._cycle(name, source)
            if chain:
                self.report(place, "the layers form a cycle: " + " -> ".join(chain))
            else:
                self.report(place, f"{source!r} comes later", "list layers in the order of computation")
        else:
            self.report(place, f"no layer {source!r}", suggest(source, self.shapes, "earlier"))

    def _cycle(self, name: str, source: str) -> list[str]:
        """The names from ``name`` through its input back to itself, or nothing."""
        chain = [name]
        while source in self.index and source not in chain:
            chain.append(source)
            position = self.index[source]
            source = self.file.layers[position].input or self.file.layers[position - 1].name
        return [*chain, name] if source == name else []

    def _check_uses(self, layers: list[Layer]) -> None:
        if self.errors:
            return  # a wrong input leaves its neighbours unread: one mistake, not two
        used = {layer.input for layer in layers}
        for index, layer in enumerate(layers[:-1]):
            if layer.name not in used:
                hint = "only the last layer may be an output"
                self.report(("layers", index, "name"), f"no layer reads {layer.name!r}", hint)

    def dataset(self, graph: Graph) -> Dataset | None:
        keys = self.file.dataset
        if not keys:
            return None
        try:
            dataset = read_dataset(
                self.path.parent / keys.file, keys.divide, keys.resize, keys.method, keys.border
            )
        except ValueError as error:
            self.report(("dataset", "file"), f"{keys.file}: {error}")
            return None
        if dataset.shape != graph.input_shape:
            wanted = list(graph.input_shape)
            self.report(("dataset",), f"gives images of shape {list(dataset.shape)}, the input is {wanted}")
            return None
        return dataset if self._labels_fit(dataset, graph) else None

    def _labels_fit(self, dataset: Dataset, graph: Graph) -> bool:
        """Labels are indices into the outputs of a network that gives one vector."""
        shape = self.shapes[graph.layers[-1].name]
        low, high = int(dataset.classes.min()), int(dataset.classes.max())
        if shape is None or shape[:2] != (1, 1) or 0 <= low <= high < shape[2]:
            return True
        wrong = low if low < 0 else high
        self.report(("dataset", "file"), f"{self._dataset_name()}: the label {wrong} is outside 0..{shape[2] - 1}",
                    f"the network has {shape[2]} outputs")  # fmt: skip
        return False

    def _dataset_name(self) -> str:
        return self.file.dataset.file if self.file.dataset else ""

    def weights(self, graph: Graph) -> Graph:
        name = self.file.weights
        if name is None:
            return random_weights(graph, self.file.seed)
        try:
            graph, mistakes = file_weights(graph, self.path.parent / name)
        except ValueError as error:
            self.report(("weights",), f"{name}: {error}")
            return graph
        for layer, problem, hint in mistakes:
            self.report(("layers", self.index[layer], "name") if layer else ("weights",), problem, hint)
        return graph

    def calibration(self, graph: Graph, dataset: Dataset | None) -> NDArray[np.float32]:
        keys = self.file.calibration
        if keys.file:
            return self._calibration_file(keys.file, keys.images, graph)
        if dataset:
            count = min(keys.images or DATASET_CALIBRATION_IMAGES, dataset.count("train"))
            return dataset.images("train", count)
        return random_inputs(graph.input_shape, keys.images or RANDOM_CALIBRATION_IMAGES, self.file.seed + 2)

    def _calibration_file(self, name: str, count: int | None, graph: Graph) -> NDArray[np.float32]:
        place = ("calibration", "file")
        nothing = np.zeros((1, *graph.input_shape), np.float32)
        try:
            values = read_array(self.path.parent / name)
        except ValueError as error:
            self.report(place, f"{name}: {error}")
            return nothing
        shape = list(graph.input_shape)
        if values.dtype.kind != "f" or values.ndim != 4:
            wanted, got = ", ".join(map(str, shape)), f"{values.dtype} {list(values.shape)}"
            self.report(place, f"{name}: expected floating-point values of shape (n, {wanted}), got {got}")
        elif list(values.shape[1:]) != shape or not len(values):
            self.report(place, f"{name}: expected images of shape {shape}, got {list(values.shape)}")
        elif not np.isfinite(narrow := as_float32(values)).all():
            self.report(place, f"{name}: holds values that are not finite")
        else:
            return narrow[:count]
        return nothing

    def classes(self) -> None:
        last = self.shapes[self.file.layers[-1].name]
        names = self.file.classes
        if names and last and len(names) != last[2]:
            self.report(("classes",), f"{len(names)} names for {last[2]} outputs")


def _float_layer(keys: Any, source: str, shape: Shape | None) -> Layer:
    """The layer of one entry of the file; ``same`` needs the input's shape."""
    kernel = getattr(keys, "kernel", (1, 1))
    stride = getattr(keys, "stride", (1, 1)) or kernel
    dilation = getattr(keys, "dilation", (1, 1))
    pads = getattr(keys, "padding", (0, 0, 0, 0))
    if pads == "same":
        pads = same_pads(shape[:2], kernel, stride, dilation) if shape else (0, 0, 0, 0)
    return Layer(
        name=keys.name, kind=keys.kind, input=source, kernel=kernel, stride=stride, pads=pads, dilation=dilation,
        groups=getattr(keys, "groups", 1), channels=getattr(keys, "channels", 0),
        count_include_pad=getattr(keys, "count_include_pad", False),
        activation=getattr(keys, "activation", None) or "",
    )  # fmt: skip
