"""A registry whose operators know that their model is quantised."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from accelsim.onnx.context import Context
from accelsim.onnx.quantized import QuantizedContext
from accelsim.onnx.registry import Registry
from accelsim.onnx.values import Node

QuantizedHandler: TypeAlias = Callable[[QuantizedContext, Node], None]


class QuantizedRegistry(Registry):
    """Operators of quantised models."""

    def register(self, note: str, *names: str) -> Callable[[QuantizedHandler], QuantizedHandler]:
        """Decorates what reads ``names``; may stand above itself with another note."""

        def add(handler: QuantizedHandler) -> QuantizedHandler:
            def read(context: Context, node: Node) -> None:
                assert isinstance(context, QuantizedContext)
                handler(context, node)

            self(note, *names)(read)
            return handler

        return add
