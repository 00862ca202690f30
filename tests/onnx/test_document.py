"""The page about models says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from accelsim.onnx.listing import operators_table, refused_table
from accelsim.onnx.model import FLOAT
from accelsim.onnx.quantized_operators import QUANTIZED
from accelsim.onnx.registry import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
RENEW = "renew it: python -m accelsim.onnx.listing prints both tables"


def test_the_tables_are_those_of_the_readers() -> None:
    assert operators_table() in PAGE, RENEW
    assert refused_table() in PAGE, RENEW


def test_no_operator_is_both_read_and_refused() -> None:
    assert not set(REASONS) & (set(FLOAT) | set(QUANTIZED))


def test_every_operator_is_in_a_test() -> None:
    """By its name in the files that build models."""
    folder = Path(__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != Path(__file__).name)
    text += (folder.parents[1] / "accelsim" / "onnx" / "export.py").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", text))
    missing = [name for name in (*FLOAT, *QUANTIZED) if name.removeprefix("com.microsoft.") not in words]
    assert missing == []
