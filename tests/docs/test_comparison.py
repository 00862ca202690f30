"""``docs/comparison.md``: our own cycles beside those of other tools are what a run gives."""

from __future__ import annotations

import re
from pathlib import Path

import accelsim
from tests.docs.pages import DOCS

TEXT = (DOCS / "comparison.md").read_text(encoding="utf-8")


def row(label: str) -> list[int]:
    """The numbers of our row with this label, but for seconds."""
    (line,) = re.findall(rf"^\| accelsim, {re.escape(label)} \|(.*)\|$", TEXT, re.MULTILINE)
    return [int(cell.replace(",", "")) for cell in line.split("|") if "." not in cell]


def test_the_convolutions_of_alexnet() -> None:
    rows = accelsim.run("alexnet_nolrn", timing_only=True).rows
    cycles = [entry["cycles"] for entry in rows if entry["kind"] == "conv"]
    assert row("`edge`") == [*cycles, sum(cycles)]
    ideal = [-(-entry["macs"] // 256) for entry in rows if entry["kind"] == "conv"]
    (line,) = re.findall(r"^\| ideal \|(.*)\|$", TEXT, re.MULTILINE)
    assert [int(cell.replace(",", "")) for cell in line.split("|") if cell.strip()] == [*ideal, sum(ideal)]


def test_the_product(tmp_path: Path) -> None:
    file = tmp_path / "product.yaml"
    file.write_text("schema: 1\nlayers: [{name: g, kind: gemm, m: 512, k: 512, n: 512}]\n", encoding="utf-8")
    report = accelsim.run(file, timing_only=True).report
    assert row("`edge` (8 bytes a cycle)") == [report["totals"]["cycles"]]
    assert f"{report['totals']['bound_cycles']:,} cycles" in TEXT
