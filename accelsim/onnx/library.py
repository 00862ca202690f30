"""The library ``onnx``: an optional extra, and slow to import, so it is imported when the first model is read."""

from __future__ import annotations

from typing import Any

from accelsim.errors import MissingExtraError


def library(feature: str = "reading ONNX models") -> Any:
    """The module ``onnx``. Raises MissingExtraError, which names the ``feature`` and the command that installs it."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError(feature, "onnx") from None
    return onnx


def inlined(model: Any) -> Any:
    """The model without functions of its own: their nodes stand where they were called."""
    if not model.functions:
        return model
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model)


def computed(onnx: Any, node: Any, inputs: list[Any], opsets: dict[str, int]) -> list[Any]:
    """The outputs of one node whose inputs are known arrays, by the reference implementation of the library."""
    import onnx.reference

    given = [name for name in node.input if name]
    evaluator = onnx.reference.ReferenceEvaluator(_model(onnx, node, given, opsets))
    return evaluator.run(None, dict(zip(given, inputs)))


def _model(onnx: Any, node: Any, given: list[str], opsets: dict[str, int]) -> Any:
    helper = onnx.helper
    inputs = [helper.make_value_info(name, onnx.TypeProto()) for name in dict.fromkeys(given)]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in node.output if name]
    versions = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(helper.make_graph([node], "constant", inputs, outputs), opset_imports=versions)


def decode_error() -> type[Exception]:
    """What the parser raises for a damaged file."""
    from google.protobuf.message import DecodeError

    return DecodeError
