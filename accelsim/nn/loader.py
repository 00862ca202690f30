"""Workload file -> :class:`Network`: the float graph, its weights and data, every mistake located in the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelsim.nn.dataset import Dataset, as_float32, read_array
from accelsim.nn.graph import Graph, QGraph, Tensor
from accelsim.nn.labelled import read_labelled, several_inputs
from accelsim.nn.layouts import Port
from accelsim.nn.quantize import quantize
from accelsim.nn.reader import GraphReader, Mistakes
from accelsim.nn.schema import WorkloadFile
from accelsim.nn.shapes import Shape
from accelsim.nn.stored_reader import is_stored, read_stored
from accelsim.nn.weights import file_weights, name_number, random_weights
from accelsim.numerics import INT8_MAX, INT8_MIN
from accelsim.validation import validate
from accelsim.yamlio import Document, read_document

DATASET_CALIBRATION_IMAGES = 128
RANDOM_CALIBRATION_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is ready to be quantised and run, or is int8 already: then ``graph`` is None and ``qgraph`` is it.

    ``calibration`` is float32 (n, h, w, c) by input name; ``classes`` names the channels of the last output and may
    be empty; ``dataset`` is None for a network without real images. ``places`` is ``file:line:col`` of every layer,
    by name. ``ports`` are the inputs and outputs of a model in another format; ``variant`` is what else than its files
    the int8 network follows from; ``note`` is what a user should know about it.
    """

    name: str
    path: str
    graph: Graph | None
    qgraph: QGraph | None = None
    calibration: Mapping[str, NDArray[np.float32]]
    method: str
    classes: tuple[str, ...]
    dataset: Dataset | None
    seed: int
    places: Mapping[str, str]
    files: tuple[Path, ...]  # the workload file and those it names
    ports: Mapping[str, Port] = field(default_factory=dict)
    variant: str = ""
    note: str = ""
    given: str = ""  # how the user named it
    spread: bool = False  # random inputs fill the range of an int8 input, which may be anything

    @property
    def shapes(self) -> tuple[tuple[str, Shape], ...]:
        """(name, (h, w, c)) of every input."""
        if self.graph is not None:
            return self.graph.inputs
        graph = self.quantize()
        return tuple((name, graph.tensors[name].shape) for name in graph.inputs)

    def digest(self) -> str:
        """A hash of everything the int8 network follows from: the content of its files, and ``variant``."""
        total = hashlib.blake2b(self.variant.encode(), digest_size=20)
        for path in self.files:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "blake2b").digest())
        return total.hexdigest()

    def inputs(self, batch: int) -> NDArray[np.float32]:
        """Default values of the first input, float32 (batch, h, w, c); most networks have one."""
        return self.feeds(batch)[self.shapes[0][0]]

    def feeds(self, batch: int) -> dict[str, NDArray[np.float32]]:
        """Default values of every input by name: the first test images, or seeded random ones.

        A batch larger than the test split starts again from its first image.
        """
        if self.dataset:
            return {self.shapes[0][0]: self.dataset.images("test", batch)}
        values = random_values(self.shapes, batch, self.seed + 1)
        if self.qgraph is None or not self.spread:
            return values
        return {name: spread_over(array, self.qgraph.tensors[name]) for name, array in values.items()}

    def quantize(self) -> QGraph:
        """The int8 network. Raises GraphError."""
        if self.qgraph is not None:
            return self.qgraph
        assert self.graph is not None, "a network is float or int8"
        return quantize(self.graph, self.calibration, self.method)


def spread_over(values: NDArray[np.float32], tensor: Tensor) -> NDArray[np.float32]:
    """Values in -1..1 spread over all that an int8 tensor can hold."""
    low, high = (tensor.scale * np.float32(end - tensor.zero) for end in (INT8_MIN, INT8_MAX))
    return low + (values + np.float32(1)) / np.float32(2) * (high - low)


def load_network(path: str | Path, *, trained: bool = True) -> Network:
    """Read a workload file or a stored int8 network and the files it names, which are found relative to it.

    With ``trained=False`` the graph has no weights (training needs the file before they exist). Raises ConfigError
    or ConfigErrors with every mistake and its place.
    """
    document = read_document(path)
    if is_stored(document):
        return _stored_network(document)
    file = validate(document, WorkloadFile)
    mistakes = Mistakes(document)
    graph_reader = GraphReader(mistakes, file, Path(path))
    graph = graph_reader.graph()
    reader = _DataReader(mistakes, file, Path(path), graph_reader)
    dataset = reader.dataset(graph)
    if trained:
        graph = reader.weights(graph)
    calibration = reader.calibration(graph, dataset)
    reader.classes(graph)
    mistakes.finish()
    places = {keys.name: document.located(("inputs", i)) for i, keys in enumerate(file.inputs or ())}
    places |= {keys.name: document.located(("layers", i)) for i, keys in enumerate(file.layers)}
    named = (file.weights, file.dataset.file if file.dataset else None, file.calibration.file)
    return Network(
        name=graph.name, path=str(path), graph=graph, calibration=calibration, method=file.calibration.method,
        classes=tuple(file.classes or ()), dataset=dataset, seed=file.seed, places=places,
        files=(Path(path), *(Path(path).parent / name for name in named if name is not None)),
    )  # fmt: skip


def _stored_network(document: Document) -> Network:
    stored = read_stored(document)
    return Network(
        name=stored.graph.name, path=document.path, graph=None, qgraph=stored.graph, calibration={}, method="",
        classes=stored.classes, dataset=stored.dataset, ports=stored.ports,
        seed=stored.seed, places=stored.places, files=stored.files,
    )  # fmt: skip


def random_feeds(graph: Graph, count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random values of every input of a float network; see :func:`random_values`."""
    return random_values(graph.inputs, count, seed)


def random_values(
    inputs: Iterable[tuple[str, Shape]], count: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Random values of every input; those of one depend on ``seed`` and its name alone."""
    return {name: random_inputs(shape, count, [seed, name_number(name)]) for name, shape in inputs}


def random_inputs(shape: Shape, count: int, seed: int | list[int]) -> NDArray[np.float32]:
    """float32 (count, h, w, c), uniform in -1..1; the first images do not depend on ``count``."""
    rng = np.random.default_rng(seed)
    return rng.random((count, *shape), dtype=np.float32) * np.float32(2) - np.float32(1)


class _DataReader:
    """Reads the files that belong to a graph and collects what is wrong with them."""

    def __init__(self, mistakes: Mistakes, file: WorkloadFile, path: Path, reader: GraphReader) -> None:
        self.report = mistakes.report
        self.file = file
        self.path = path
        self.shapes = reader.shapes
        self.index = reader.index

    def dataset(self, graph: Graph) -> Dataset | None:
        keys = self.file.dataset
        if not keys:
            return None
        return read_labelled(self.report, keys, self.path.parent, graph.inputs, self.shapes[graph.results[-1]])

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

    def calibration(self, graph: Graph, dataset: Dataset | None) -> dict[str, NDArray[np.float32]]:
        keys = self.file.calibration
        name, shape = graph.inputs[0]
        if keys.file:
            if several_inputs(self.report, ("calibration", "file"), graph.inputs):
                return {}
            return {name: self._calibration_file(keys.file, keys.images, shape)}
        if dataset:
            count = min(keys.images or DATASET_CALIBRATION_IMAGES, dataset.count("train"))
            return {name: dataset.images("train", count)}
        return random_feeds(graph, keys.images or RANDOM_CALIBRATION_IMAGES, self.file.seed + 2)

    def _calibration_file(self, name: str, count: int | None, wanted: Shape) -> NDArray[np.float32]:
        place = ("calibration", "file")
        nothing = np.zeros((1, *wanted), np.float32)
        try:
            values = read_array(self.path.parent / name)
        except ValueError as error:
            self.report(place, f"{name}: {error}")
            return nothing
        shape = list(wanted)
        if values.dtype.kind != "f" or values.ndim != 4:
            sides, got = ", ".join(map(str, shape)), f"{values.dtype} {list(values.shape)}"
            self.report(place, f"{name}: expected floating-point values of shape (n, {sides}), got {got}")
        elif list(values.shape[1:]) != shape or not len(values):
            self.report(place, f"{name}: expected images of shape {shape}, got {list(values.shape)}")
        elif not np.isfinite(narrow := as_float32(values)).all():
            self.report(place, f"{name}: holds values that are not finite")
        else:
            return narrow[:count]
        return nothing

    def classes(self, graph: Graph) -> None:
        last = self.shapes[graph.results[-1]]
        names = self.file.classes
        if names and last and len(names) != last[2]:
            self.report(("classes",), f"{len(names)} names for {last[2]} outputs")
