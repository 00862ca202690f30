"""The layers of a workload file as a float graph, every mistake between them located in the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.nn.functions import UNLIMITED, Norm
from accelsim.nn.graph import Graph, Layer
from accelsim.nn.schema import AddKeys, ClipKeys, ConcatKeys, GemmKeys, InputKeys, LrnKeys, WorkloadFile
from accelsim.nn.shapes import UNREAD_HINT, Shape, ShapeError, layer_shape, same_pads
from accelsim.spelling import suggest
from accelsim.validation import sort_by_line
from accelsim.yamlio import Document

WORKLESS = ("flatten", "softmax")  # kinds without instructions


class Mistakes:
    """What is wrong with one document, collected to be said at once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.errors: list[ConfigError] = []

    def report(self, keys: tuple[str | int, ...], problem: str, hint: str = "") -> None:
        self.errors.append(self.document.error(keys, problem, hint))

    def finish(self) -> None:
        """Raise ConfigErrors if there were any."""
        if self.errors:
            raise ConfigErrors(sort_by_line(self.errors))


class GraphReader:
    """Builds the graph of a file; ``shapes`` are those of inputs and layers by name, None where one is impossible."""

    def __init__(self, mistakes: Mistakes, file: WorkloadFile, path: Path) -> None:
        self.mistakes = mistakes
        self.report = mistakes.report
        self.file = file
        self.path = path
        self.shapes: dict[str, Shape | None] = {}
        self.index = {layer.name: i for i, layer in reversed(list(enumerate(file.layers)))}
        self.inputs: dict[str, Shape] = {}
        self.first = ""  # what the first layer reads if it does not say so

    def graph(self) -> Graph:
        """The layers with inferred shapes; raises when one is impossible, since nothing after it can be checked."""
        file = self.file
        self._read_inputs()
        layers: list[Layer] = []
        before = self.first
        for index, keys in enumerate(file.layers):
            layers.append(self._layer(index, keys, before))
            before = keys.name
        outputs = self._outputs(layers)
        name = file.name or self.path.stem
        graph = Graph(name=name, inputs=tuple(self.inputs.items()), layers=tuple(layers), outputs=outputs)
        self._check_uses(graph)
        self._check_work(graph)
        self.mistakes.finish()
        return graph

    def _read_inputs(self) -> None:
        file = self.file
        if file.input and file.inputs:
            self.report(("inputs",), "stands beside `input`", "use one of the two")
        for index, keys in enumerate(file.inputs or ()):
            if "name" not in keys.model_fields_set:
                self.report(("inputs", index, "name"), "is missing")
            elif keys.name in self.inputs:
                self.report(("inputs", index, "name"), f"the name {keys.name!r} is taken", "each name may stand once")
            self._add_input(keys)
        if file.input:
            self._add_input(file.input)
        self.first = next(iter(self.inputs)) if len(self.inputs) == 1 else ""

    def _add_input(self, keys: InputKeys) -> None:
        shape = (keys.shape[0], keys.shape[1], keys.shape[2])
        self.inputs[keys.name] = self.shapes[keys.name] = shape

    def _layer(self, index: int, keys: Any, before: str) -> Layer:
        place = ("layers", index)
        if keys.name in self.shapes:
            self.report((*place, "name"), f"the name {keys.name!r} is taken", "each name may stand once")
        names = self._sources(keys, before)
        for position, source in enumerate(names):
            if source not in self.shapes:
                where = ("inputs", position) if isinstance(keys, AddKeys | ConcatKeys) else ("input",)
                self._report_input((*place, *where), keys.name, source)
        shapes = [self.shapes.get(name) for name in names]
        layer = _float_layer(keys, names, shapes[0])
        result: Shape | None = None
        known = [shape for shape in shapes if shape]
        if len(known) == len(shapes):
            try:
                result = layer_shape(layer, *known)
            except ShapeError as error:
                self.report((*place, error.key) if error.key else place, error.problem, error.hint)
        if keys.kind == "softmax" and index != len(self.file.layers) - 1:
            self.report((*place, "kind"), "softmax runs on the host and can only be the last layer")
        self.shapes.setdefault(keys.name, result)
        return layer

    def _sources(self, keys: Any, before: str) -> tuple[str, ...]:
        """What a layer reads; a gemm that names nothing gets a network input."""
        if isinstance(keys, AddKeys | ConcatKeys):
            return tuple(keys.inputs)
        if isinstance(keys, GemmKeys) and keys.input is None:
            name = own_input(keys.name)
            self.inputs[name] = self.shapes[name] = (1, keys.m, keys.k)
            return (name,)
        return (keys.input or before,)

    def _report_input(self, place: tuple[str | int, ...], name: str, source: str) -> None:
        if not source:
            known = ", ".join(self.inputs)
            problem = "which input does the first layer read?" if known else "the file has no `input` for it to read"
            self.report(place[:2], problem, known)
        elif source == name:
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
        """The names from ``name`` through ``source`` back to itself, or nothing."""
        waiting, seen = [[name, source]], {source}
        while waiting:
            chain = waiting.pop()
            position = self.index.get(chain[-1])
            if position is None:
                continue
            keys = self.file.layers[position]
            above = self.file.layers[position - 1].name if position else ""
            for step in keys.inputs if isinstance(keys, AddKeys | ConcatKeys) else [keys.input or above]:
                if step == name:
                    return [*chain, name]
                if step not in seen:
                    seen.add(step)
                    waiting.append([*chain, step])
        return []

    def _outputs(self, layers: list[Layer]) -> tuple[str, ...]:
        """The outputs the file names, or else the last layer and every gemm that stands alone."""
        for index, name in enumerate(self.file.outputs or ()):
            if name not in self.index:
                self.report(("outputs", index), f"no layer {name!r}", suggest(name, self.index))
            elif name in (self.file.outputs or ())[:index]:
                self.report(("outputs", index), f"{name!r} is given twice")
        if self.file.outputs:
            return tuple(self.file.outputs)
        used = {name for layer in layers for name in layer.inputs}
        alone = [layer.name for layer in layers[:-1] if layer.input == own_input(layer.name) and layer.name not in used]
        return (*alone, layers[-1].name)

    def _check_uses(self, graph: Graph) -> None:
        if self.mistakes.errors:
            return  # a wrong input leaves its neighbours unread: one mistake, not two
        used = {name for layer in graph.layers for name in layer.inputs} | set(graph.results)
        for index, keys in enumerate(self.file.inputs or ()):
            if keys.name not in used:
                self.report(("inputs", index), f"no layer reads {keys.name!r}")
        if self.file.input and self.file.input.name not in used:
            self.report(("input",), f"no layer reads {self.file.input.name!r}")
        for index, layer in enumerate(graph.layers):
            if layer.name not in used and layer.kind != "softmax":
                self.report(("layers", index, "name"), f"no layer reads {layer.name!r}", UNREAD_HINT)

    def _check_work(self, graph: Graph) -> None:
        """The machine has something to do, and no output is an input under another shape."""
        if all(layer.kind in WORKLESS for layer in graph.layers):
            self.report(("layers",), "no layer does any work on the machine", "add a layer that computes values")
            return
        plain = set(self.inputs)
        for layer in graph.layers:
            if layer.kind == "flatten" and layer.input in plain:
                plain.add(layer.name)
        for name in plain & set(graph.results):
            self.report(("layers", self.index[name], "name"), f"the output {name!r} holds the input unchanged")


def own_input(name: str) -> str:
    """The network input of a gemm that reads no layer; no name in a file has a dot."""
    return f"{name}.in"


def _float_layer(keys: Any, sources: tuple[str, ...], shape: Shape | None) -> Layer:
    """The layer of one entry of the file; ``same`` and ``global`` need the input's shape."""
    kernel = getattr(keys, "kernel", (1, 1))
    if kernel == "global":
        kernel = shape[:2] if shape else (1, 1)
    stride = getattr(keys, "stride", (1, 1)) or kernel
    dilation = getattr(keys, "dilation", (1, 1))
    pads = getattr(keys, "padding", (0, 0, 0, 0))
    if pads == "same":
        pads = same_pads(shape[:2], kernel, stride, dilation) if shape else (0, 0, 0, 0)
    layer = Layer(
        name=keys.name, kind=keys.kind, input=sources[0], kernel=kernel, stride=stride, pads=pads, dilation=dilation,
        groups=getattr(keys, "groups", 1), channels=getattr(keys, "channels", 0),
        count_include_pad=getattr(keys, "count_include_pad", False),
        activation=getattr(keys, "activation", None) or "", slope=getattr(keys, "slope", 0.0), others=sources[1:],
    )  # fmt: skip
    match keys:
        case GemmKeys():
            return dataclasses.replace(layer, channels=keys.n, matrix=(keys.m, keys.k))
        case ClipKeys():
            ends = (end if given is None else given for end, given in zip(UNLIMITED, (keys.low, keys.high)))
            return dataclasses.replace(layer, limits=(next(ends), next(ends)))
        case LrnKeys():
            norm = Norm(size=keys.size, alpha=keys.alpha, beta=keys.beta, k=keys.k)
            return dataclasses.replace(layer, norm=norm)
        case _:
            return layer
