"""What single values of a workload file may look like: names, sizes, kernels, padding."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema

SIZE_LIMIT = 65536
"""Largest side, channel count, kernel or stride of a file: far beyond any network, short of absurd arrays."""

_PAIR = [
    {"type": "integer", "minimum": 1},
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
]
PAIR_SCHEMA = WithJsonSchema({"anyOf": _PAIR})
WINDOW_SCHEMA = WithJsonSchema({"anyOf": [{"const": "global"}, *_PAIR]})
PADDING_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"const": "same"},
            {"type": "integer", "minimum": 0},
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 4},
        ]
    }
)


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= SIZE_LIMIT


def _pair(value: Any) -> tuple[int, int]:
    """(height, width) of a kernel, stride or dilation."""
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(_whole(v, 1) for v in values):
        raise ValueError(f"expected a whole number from 1 to {SIZE_LIMIT} or [height, width], got {value}")
    return (values[0], values[1])


def _window(value: Any) -> Any:
    """(height, width) of a pooling kernel, or the word global."""
    if value == "global":
        return value
    values = value if isinstance(value, list) else [value, value]
    if len(values) != 2 or not all(_whole(v, 1) for v in values):
        words = f"a whole number from 1 to {SIZE_LIMIT}, [height, width] or the word global"
        raise ValueError(f"expected {words}, got {value}")
    return (values[0], values[1])


def _padding(value: Any) -> Any:
    """(top, bottom, left, right), or the word same."""
    if value == "same":
        return value
    values = value if isinstance(value, list) else [value]
    if len(values) not in (1, 2, 4) or not all(_whole(v, 0) for v in values):
        raise ValueError(
            f"expected a whole number from 0 to {SIZE_LIMIT}, [height, width], [top, bottom, left, right] "
            f"or the word same, got {value}"
        )
    if len(values) == 4:
        return tuple(values)
    return (values[0], values[0], values[-1], values[-1])


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", value):
        raise ValueError(f"expected letters, digits, _ and -, got {value!r}")
    return value


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
FileName: TypeAlias = Annotated[str, Field(min_length=1)]
Size: TypeAlias = Annotated[int, Field(ge=1, le=SIZE_LIMIT)]
Pair: TypeAlias = Annotated[Any, AfterValidator(_pair), PAIR_SCHEMA]
Window: TypeAlias = Annotated[Any, AfterValidator(_window), WINDOW_SCHEMA]
Padding: TypeAlias = Annotated[Any, AfterValidator(_padding), PADDING_SCHEMA]
Activation: TypeAlias = Literal["relu", "relu6", "tanh", "sigmoid", "hard_swish"] | None
Real: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
