"""A model file read from one end to the other; see ``docs/onnx.md`` for what can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accelsim.errors import ConfigError, GraphError
from accelsim.nn.graph import Graph, QGraph
from accelsim.nn.layouts import Layout
from accelsim.nn.shapes import Shape, infer_shapes
from accelsim.onnx import nodes as model_nodes
from accelsim.onnx.context import Context
from accelsim.onnx.files import ModelFile
from accelsim.onnx.float_pointwise import POINTWISE_OPERATORS
from accelsim.onnx.float_weighted import WEIGHTED_OPERATORS
from accelsim.onnx.float_windowed import WINDOWED_OPERATORS
from accelsim.onnx.inputs import Input, input_layout, read_inputs
from accelsim.onnx.problems import Problems, Refusal, Skipped, shown
from accelsim.onnx.quantized import Pending, QuantizedContext
from accelsim.onnx.quantized_layers import COMMUTING, later
from accelsim.onnx.quantized_operators import QUANTIZED
from accelsim.onnx.registry import GENERAL_REASON, REASONS, Operator
from accelsim.onnx.tidy import folded, needed
from accelsim.onnx.values import Node, Value
from accelsim.onnx.views import VIEWS

FLOAT: dict[str, Operator] = {
    **VIEWS.operators, **WEIGHTED_OPERATORS.operators, **WINDOWED_OPERATORS.operators, **POINTWISE_OPERATORS.operators
}  # fmt: skip
"""Operators of float models, by name."""

TELLING = ("QLinear", "com.microsoft.QLinear", "com.microsoft.QGemm")


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A model as accelsim runs it: ``graph`` of a float model, ``qgraph`` of one that is quantised already.

    ``layouts`` says how the arrays of the model's inputs and outputs lie in accelsim's (n, h, w, c), by the names of
    accelsim; ``inputs`` and ``outputs`` are (name in the model, name in accelsim), in the order of the file.
    ``places`` is how messages call what each layer was made of. ``integers`` has scale and zero point of the inputs
    that the model takes as int8 or uint8.
    """

    name: str
    path: Path
    graph: Graph | None
    qgraph: QGraph | None
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    shapes: tuple[tuple[str, Shape], ...]  # of the inputs: (name in accelsim, (h, w, c))
    layouts: Mapping[str, Layout]
    places: Mapping[str, str]
    files: tuple[Path, ...]
    integers: Mapping[str, tuple[np.float32, int]]


def load_onnx(path: str | Path, dims: Mapping[str, int] | None = None) -> OnnxModel:
    """Read a model; ``dims`` gives values to named dimensions of its inputs.

    Raises ConfigError for a file that cannot be read at all, ConfigErrors with everything that cannot be run in it,
    MissingExtraError without the library.
    """
    file = ModelFile(Path(path))
    return _Reader(file, dict(dims or {})).read()


def is_quantized(nodes: list[Node], weights: set[str]) -> bool:
    """Whether a model has scales of its own: quantised operators, or activations that are quantised."""
    constants = set(weights) | {name for node in nodes if node.op == "Constant" for name in node.outputs}
    stored = (node for node in nodes if node.op == "QuantizeLinear" and node.given(0))
    return any(node.op.startswith(TELLING) for node in nodes) or any(node.inputs[0] not in constants for node in stored)


class _Reader:
    """Walks the nodes of one model."""

    def __init__(self, file: ModelFile, dims: dict[str, int]) -> None:
        self.file = file
        self.problems = Problems(str(file.path))
        self.nodes = model_nodes.read_nodes(file)
        weights = {tensor.name: tensor for tensor in file.model.graph.initializer}
        self.quantized = is_quantized(self.nodes, set(weights))
        self.operators = QUANTIZED if self.quantized else FLOAT
        context = QuantizedContext if self.quantized else Context
        self.context = context(file, self.problems)
        self.context.tensors = weights
        self.context.uses = model_nodes.count_uses(file, self.nodes)
        self.inputs: list[tuple[str, Value]] = []
        self._start(read_inputs(file, dims, self.problems))

    def _start(self, inputs: list[Input]) -> None:
        """The values of the inputs that something reads."""
        batches = {given.shape[0] for given in inputs if self.context.uses[given.name]}
        if len(batches) > 1:
            self.problems.add("", f"its inputs have different first dimensions: {sorted(batches)}",
                              "the first dimension is the batch, which they share; --dim gives it a value")  # fmt: skip
        self.context.batch = max(batches, default=1)
        for given in inputs:
            if self.context.uses[given.name]:
                label = f"input {shown(given.name)}"
                value = self.context.start(
                    self.context.name(given.name, label), input_layout(given, self.nodes), given.kind
                )
                self.context.values[given.name] = value
                self.inputs.append((given.name, value))
        for proto in self.file.model.graph.input:  # refused ones: what reads them says nothing more
            if proto.name not in self.context.tensors:
                self.context.values.setdefault(proto.name, None)

    def read(self) -> OnnxModel:
        """Raises ConfigErrors when something cannot be run."""
        for node in self.nodes:
            try:
                self._node(node)
            except Refusal as refusal:
                self.problems.add(refusal.label or node.label, refusal.problem, refusal.hint)
                self._failed(node)
            except Skipped:
                self._failed(node)
        outputs = self._outputs()
        self.problems.finish()
        return self._model(outputs)

    def _failed(self, node: Node) -> None:
        for name in node.outputs:
            self.context.values[name] = None

    def _node(self, node: Node) -> None:
        model_nodes.check_node(self.file, node)
        self._check_new(node)
        if node.op == "Shape" and isinstance(shaped := self.context.known(node.inputs[0]), Value):
            whole = np.array((self.context.batch, *shaped.shape), np.int64)
            self.context.give(node, whole[slice(node.attributes.get("start", 0), node.attributes.get("end"))])
            return
        try:
            given = [self.context.known(name) for name in node.inputs if name]
        except Skipped:
            if node.op in self.operators:
                raise
            given = [None]
        if all(isinstance(value, np.ndarray) for value in given) and not self._kept(node):
            for index, array in enumerate(model_nodes.folded(self.file, node, given)):
                self.context.give(node, array, index)
            return
        if node.op not in self.operators:
            raise Refusal(*REASONS.get(node.op, GENERAL_REASON))
        read = self.operators[node.op].read
        if (
            isinstance(self.context, QuantizedContext)
            and given
            and isinstance(given[0], Pending)
            and node.op in COMMUTING
        ):
            self.context.give(node, later(self.context, node, given[0], read))
        else:
            read(self.context, node)

    def _check_new(self, node: Node) -> None:
        """Every name has one origin; of two, nobody could say which is meant."""
        for name in node.outputs:
            if name and (name in self.context.values or name in self.context.tensors):
                raise Refusal(f"its output {shown(name)!r} is made elsewhere in the model already", "names are unique")

    def _kept(self, node: Node) -> bool:
        """Weights of a quantised model stay integers."""
        return self.quantized and node.op == "DequantizeLinear"

    def _outputs(self) -> list[tuple[str, Value]]:
        found = []
        for proto in self.file.model.graph.output:
            try:
                value = self.context.output(proto.name)
            except Refusal as refusal:
                self.problems.add(f"output {shown(proto.name)}", refusal.problem, refusal.hint)
            except Skipped:
                continue
            else:
                found.append((proto.name, value))
        return found

    def _model(self, outputs: list[tuple[str, Value]]) -> OnnxModel:
        stem = self.file.path.stem
        graph, qgraph, renamed = None, None, {}
        try:
            self._check_apart(outputs)
            if isinstance(self.context, QuantizedContext):
                qgraph = self.context.network(stem, [v for _, v in self.inputs], [v for _, v in outputs])
            else:
                graph, renamed = self._graph(stem, outputs)
        except GraphError as error:
            label = self.context.labels.get(error.layer, error.layer)
            raise ConfigError(str(self.file.path), label, error.problem, error.hint) from None
        names = [(name, renamed.get(value.layer, value.layer)) for name, value in outputs]
        layouts = {value.layer: value.layout for _, value in self.inputs}
        layouts |= {layer: value.layout for (_, layer), (_, value) in zip(names, outputs)}
        return OnnxModel(
            name=stem, path=self.file.path, graph=graph, qgraph=qgraph,
            inputs=tuple((name, value.layer) for name, value in self.inputs), outputs=tuple(names),
            shapes=tuple((value.layer, value.layout.hwc) for _, value in self.inputs),
            layouts=layouts, places={name: self._place(name, label) for name, label in self.context.labels.items()},
            files=tuple(self.file.files), integers=self.context.integers_taken(),
        )  # fmt: skip

    def _place(self, name: str, label: str) -> str:
        """What messages about a layer begin with; they go on with its name, which mostly says enough."""
        return str(self.file.path) if label.startswith(f"{name} (") else f"{self.file.path}: {label}"

    def _check_apart(self, outputs: list[tuple[str, Value]]) -> None:
        """One layer can be an output in one layout only. Raises GraphError."""
        seen: dict[str, tuple[str, Layout]] = {}
        for name, value in outputs:
            other = seen.setdefault(value.layer, (name, value.layout))
            if other[0] != name and not other[1].same(value.layout):
                problem = f"the outputs {shown(other[0])!r} and {shown(name)!r} are one tensor in two layouts"
                raise GraphError(value.layer, problem, "leave one of them out")

    def _graph(self, stem: str, outputs: list[tuple[str, Value]]) -> tuple[Graph, dict[str, str]]:
        """The float network; raises GraphError when no layer does anything."""
        results = {value.layer for _, value in outputs}
        kept, renamed = folded(self.context.layers, self.context.affine, set(results))
        names = list(dict.fromkeys(renamed.get(value.layer, value.layer) for _, value in outputs))
        layers = needed(kept, names)
        if not layers:
            raise GraphError(stem, "no layer runs on the accelerator")
        last = next(reversed(layers.values()))
        given = () if names == [last.name] else tuple(name for name in names if layers[name].kind != "softmax")
        inputs = tuple((value.layer, value.layout.hwc) for _, value in self.inputs)
        graph = Graph(name=stem, inputs=inputs, layers=tuple(layers.values()), outputs=given)
        infer_shapes(graph)
        return graph, renamed
