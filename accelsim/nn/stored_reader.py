"""Stored int8 network -> :class:`QGraph`: every mistake of both files at once, located in the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import GraphError
from accelsim.nn import stored_schema as keys
from accelsim.nn.dataset import Dataset, read_arrays
from accelsim.nn.graph import Layer, QGraph, QLayer, QSoftmax, Tensor
from accelsim.nn.labelled import read_labelled
from accelsim.nn.layouts import Port
from accelsim.nn.reader import Mistakes
from accelsim.nn.shapes import ShapeError, layer_shape
from accelsim.nn.sharing import KEEPING
from accelsim.nn.stored import digest
from accelsim.nn.stored_layers import LayerMaker, four, pair, parts
from accelsim.spelling import suggest
from accelsim.validation import validate
from accelsim.yamlio import Document


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the two files hold; ``places`` is ``file:line:col`` of every input and layer, by name."""

    graph: QGraph
    dataset: Dataset | None
    ports: Mapping[str, Port]
    classes: tuple[str, ...]
    seed: int
    places: Mapping[str, str]
    files: tuple[Path, ...]


def is_stored(document: Document) -> bool:
    """Whether a file says that it is a stored network, rather than a workload."""
    return isinstance(document.data, dict) and "form" in document.data


def read_stored(document: Document) -> Stored:
    """Read a stored network and the arrays beside it. Raises ConfigErrors with every mistake and its place."""
    file = validate(document, keys.StoredFile)
    path = Path(document.path)
    mistakes = Mistakes(document)
    reader = _Reader(mistakes, file, path)
    graph, ports = reader.graph(), reader.ports()
    shape = graph.tensors[graph.output].shape if graph.output in graph.tensors else None
    inputs = [(name, graph.tensors[name].shape) for name in graph.inputs if name in graph.tensors]
    dataset = read_labelled(mistakes.report, file.dataset, path.parent, inputs, shape) if file.dataset else None
    if file.classes and shape is not None and len(file.classes) != shape[2]:
        mistakes.report(("classes",), f"{len(file.classes)} names for {shape[2]} outputs")
    mistakes.finish()
    places = {entry.name: document.located(("tensors", i)) for i, entry in enumerate(file.tensors)}
    places |= {row.name: document.located(("rows", i)) for i, row in enumerate(file.rows)}
    places |= {entry.name: document.located(("layers", i)) for i, entry in enumerate(file.layers)}
    extra = (path.parent / file.dataset.file,) if file.dataset else ()
    return Stored(
        graph=graph, dataset=dataset, ports=ports, classes=tuple(file.classes or ()), seed=file.seed, places=places,
        files=(path, path.parent / file.arrays.file, *extra),
    )  # fmt: skip


class _Reader:
    """Builds the layers in file order."""

    def __init__(self, mistakes: Mistakes, file: keys.StoredFile, path: Path) -> None:
        self.mistakes = mistakes
        self.report = mistakes.report
        self.file = file
        self.tensors: dict[str, Tensor] = {}
        self.computed: set[str] = set()
        self.read: set[str] = set()
        self.arrays = self._arrays(path.parent / file.arrays.file)
        self.maker = LayerMaker(self.arrays, file.arrays.file, self.report)

    def _arrays(self, path: Path) -> dict[str, NDArray[Any]] | None:
        try:
            return read_arrays(path)
        except ValueError as error:
            self.report(("arrays", "file"), f"{self.file.arrays.file}: {error}")
            return None

    def graph(self) -> QGraph:
        file = self.file
        for index, entry in enumerate(file.tensors):
            if entry.name in self.tensors:
                self.report(("tensors", index, "name"), f"the name {entry.name!r} is taken")
            h, w, c = entry.shape
            self.tensors[entry.name] = Tensor(
                name=entry.name, shape=(h, w, c), scale=np.float32(entry.scale), zero=entry.zero
            )
        for index, name in enumerate(file.inputs):
            self._known(("inputs", index), name)
            if name in self.computed:
                self.report(("inputs", index), f"{name!r} is given twice")
            self.computed.add(name)
        layers = [self._layer(index, entry) for index, entry in enumerate(file.layers)]
        self._check_names()
        self._check_ends(layers)
        self._check_arrays()
        return QGraph(
            name=file.name, inputs=tuple(file.inputs), outputs=tuple(file.outputs), tensors=self.tensors,
            layers=tuple(layer for layer in layers if layer),
            rows=tuple((row.name, row.kind, row.layer) for row in file.rows),
        )  # fmt: skip

    def ports(self) -> dict[str, Port]:
        """How the inputs and outputs lie in the model that the network came from, by tensor."""
        found: dict[str, Port] = {}
        ends = (*self.file.inputs, *self.file.outputs)
        for index, entry in enumerate(self.file.ports or ()):
            place = ("ports", index)
            if entry.tensor not in ends:
                self.report((*place, "tensor"), f"{entry.tensor!r} is no input or output", suggest(entry.tensor, ends))
            elif entry.tensor in self.tensors:
                port = self.maker.port(place, entry, self.tensors[entry.tensor])
                found |= {entry.tensor: port} if port else {}
        return found

    def _known(self, place: tuple[str | int, ...], name: str) -> bool:
        if name not in self.tensors:
            self.report(place, f"no tensor {name!r}", suggest(name, self.tensors))
        return name in self.tensors

    def _layer(self, index: int, entry: Any) -> QLayer | None:
        """The layer of an entry, or None when something it needs is wrong."""
        place = ("layers", index)
        names = entry.inputs if isinstance(entry, keys.AddKeys | keys.ConcatKeys) else [entry.input]
        sound = True
        for position, name in enumerate(names):
            where = (*place, "inputs", position) if len(names) > 1 else (*place, "input")
            if not self._known(where, name):
                sound = False
            elif name not in self.computed:
                self.report(where, f"{name!r} is not computed before", "list layers in the order of computation")
        self.read.update(names)
        if isinstance(entry, keys.SoftmaxKeys):
            return QSoftmax(name=entry.name, kind="softmax", input=entry.input)
        if not self._known((*place, "output"), entry.output):
            return None
        if entry.output in self.computed:
            self.report((*place, "output"), f"{entry.output!r} is computed already")
        self.computed.add(entry.output)
        if not sound:
            return None
        sources = [self.tensors[name] for name in names]
        if not self._check_shape(place, entry, sources):
            return None
        return self.maker.make(place, entry, sources, self.tensors[entry.output])

    def _check_shape(self, place: tuple[str | int, ...], entry: Any, sources: list[Tensor]) -> bool:
        """Whether the output has the shape, and where it must the scale, that follow from the inputs."""
        result = self.tensors[entry.output]
        try:
            shape = layer_shape(_float_layer(entry, sources), *(tensor.shape for tensor in sources))
        except ShapeError as error:
            self.report((*place, error.key) if error.key else place, error.problem, error.hint)
            return False
        except GraphError as error:
            self.report(place, error.problem, error.hint)
            return False
        if shape != result.shape:
            self.report((*place, "output"), f"{result.name!r} is {list(result.shape)}, the layer gives {list(shape)}")
            return False
        if entry.kind in KEEPING and (result.scale, result.zero) != (sources[0].scale, sources[0].zero):
            self.report((*place, "output"), f"{result.name!r} must have the scale and zero point of the input")
        return True

    def _check_names(self) -> None:
        layers = [entry.name for entry in self.file.layers]
        for index, name in enumerate(layers):
            if name in layers[:index]:
                self.report(("layers", index, "name"), f"the name {name!r} is taken")
        for index, row in enumerate(self.file.rows):
            if row.layer not in layers:
                self.report(("rows", index, "layer"), f"no layer {row.layer!r}", suggest(row.layer, layers))

    def _check_ends(self, layers: list[QLayer | None]) -> None:
        """Every tensor is computed and read; softmax is last; something runs on the machine."""
        outputs = self.file.outputs
        for index, name in enumerate(outputs):
            if self._known(("outputs", index), name) and name in outputs[:index]:
                self.report(("outputs", index), f"{name!r} is given twice")
        for index, entry in enumerate(self.file.tensors):
            if entry.name not in self.computed:
                self.report(("tensors", index), f"no layer computes {entry.name!r}")
            elif entry.name not in self.read | set(outputs):
                self.report(("tensors", index), f"no layer reads {entry.name!r}")
        last = len(layers) - 1
        for index, entry in enumerate(self.file.layers):
            if not isinstance(entry, keys.SoftmaxKeys):
                continue
            if index != last:
                self.report(("layers", index, "kind"), "softmax runs on the host and can only be the last layer")
            elif entry.input != outputs[-1]:
                self.report(("layers", index, "input"), "softmax reads the last of `outputs`", outputs[-1])
        if all(entry.kind in ("flatten", "softmax") for entry in self.file.layers):
            self.report(("layers",), "no layer does any work on the machine")

    def _check_arrays(self) -> None:
        if self.arrays is None:
            return
        wanted = [f"{entry.name}.{part}" for entry in self.file.layers for part in parts(entry.kind)]
        wanted += [f"{entry.tensor}.order" for entry in self.file.ports or ()]
        for name in sorted(set(self.arrays) - set(wanted)):
            self.report(("arrays", "file"), f"{self.file.arrays.file} array {name!r} belongs to no layer",
                        suggest(name, wanted))  # fmt: skip
        if not self.mistakes.errors and digest(self.arrays) != self.file.arrays.digest:
            self.report(("arrays", "digest"), f"{self.file.arrays.file} holds other arrays than those written with "
                        "this file", "quantise again")  # fmt: skip


def _float_layer(entry: Any, sources: list[Tensor]) -> Layer:
    """What the shape follows from."""
    _, w, c = sources[0].shape
    kind: str = entry.kind
    kind = {"depthwise": "conv", "table": "tanh"}.get(kind, kind)
    return Layer(
        name=entry.name, kind=kind, input=sources[0].name, others=tuple(tensor.name for tensor in sources[1:]),
        kernel=pair(getattr(entry, "kernel", [1, 1])), stride=pair(getattr(entry, "stride", [1, 1])),
        pads=four(getattr(entry, "padding", [0, 0, 0, 0])), dilation=pair(getattr(entry, "dilation", [1, 1])),
        groups=getattr(entry, "groups", 1), channels=getattr(entry, "channels", 0), matrix=(w, c),
    )  # fmt: skip
