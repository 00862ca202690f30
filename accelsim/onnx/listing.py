"""The operators that can be read as the table of ``docs/onnx.md``."""

from __future__ import annotations

from accelsim.onnx.model import FLOAT
from accelsim.onnx.quantized_operators import QUANTIZED
from accelsim.onnx.registry import REASONS, Operator

HEAD = "| operator | float models | quantised models |\n|---|---|---|"
REFUSED_HEAD = "| operator | why | what would help |\n|---|---|---|"


def operators_table() -> str:
    """One row for each operator, those of ONNX Runtime's own domain last."""
    names = sorted({*FLOAT, *QUANTIZED}, key=lambda name: ("." in name, name))
    rows = [f"| `{_short(name)}` | {_cell(FLOAT.get(name))} | {_cell(QUANTIZED.get(name))} |" for name in names]
    return "\n".join([HEAD, *rows])


def refused_table() -> str:
    """Well-known operators that cannot be read."""
    rows = [f"| `{name}` | {why} | {hint} |" for name, (why, hint) in sorted(REASONS.items())]
    return "\n".join([REFUSED_HEAD, *rows])


def _short(name: str) -> str:
    return name.removeprefix("com.microsoft.")


def _cell(operator: Operator | None) -> str:
    return "" if operator is None else operator.note or "yes"


if __name__ == "__main__":
    print(f"{operators_table()}\n\n{refused_table()}")
