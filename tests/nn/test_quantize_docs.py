"""``docs/quantize.md`` names every key of a stored network, every column of the report, and figures that hold."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from accelsim.bundled import resolve
from accelsim.nn import stored_schema
from accelsim.nn.loader import load_network
from accelsim.nn.quality import measure, plain
from accelsim.nn.ranges import FRACTIONS, GROUPS, METHODS, ROUNDS, SINGLE, TAIL_PERCENT
from accelsim.validation import FileModel

PAGE = (Path(__file__).parents[2] / "docs" / "quantize.md").read_text(encoding="utf-8")
MODELS = [
    model for model in vars(stored_schema).values()
    if isinstance(model, type) and issubclass(model, FileModel) and model.__module__ == stored_schema.__name__
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_every_key_is_named(model):
    files = PAGE[PAGE.index("## The files") : PAGE.index("## To ONNX")]
    keys = {field.alias or name for name, field in model.model_fields.items()} - {"tensor"}
    assert keys <= set(re.findall(r"`(\w+)`", files))


def rows(*header: str) -> dict[str, list[str]]:
    """The cells of the table with this header, by its first column without quotes."""
    lines = PAGE.splitlines()
    first = lines.index("| " + " | ".join(header) + " |") + 2
    found: dict[str, list[str]] = {}
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.split("`")[1]] = cells
    return found


@pytest.mark.slow
def test_the_figures_of_the_methods_hold():
    table = rows("dB of the last layer", *(f"`{method}`" for method in METHODS))
    assert list(table) == ["lenet", "lenet_tanh", "resnet18"]
    for name, cells in table.items():
        network = load_network(resolve(name, "workloads"))
        for method, cell in zip(METHODS, cells):
            graph = replace(network, method=method).quantize()
            fidelity = measure(network.graph, graph, network.calibration)
            assert f"{fidelity.rows[-1].snr_db:.2f}" == cell, (name, method)


def test_the_search_is_as_described():
    text = " ".join(PAGE.split())
    assert f"without {TAIL_PERCENT} % of the values at each end" in text
    assert f"takes the best of {len(FRACTIONS)} equal parts of its extreme" in text
    assert ROUNDS == 8
    assert "at most eight rounds" in text
    assert f"on at most {2 * SINGLE + GROUPS:,} numbers: the {SINGLE:,} outermost" in text
    assert f"the means of {GROUPS:,} equal groups" in text


def test_every_column_of_the_report_is_named():
    network = load_network(resolve("lenet", "workloads"))
    report = plain(measure(network.graph, network.quantize(), network.calibration))
    for key in (*report["tensors"][0], "agreement"):
        if key not in ("name", "kind", "tensor"):
            assert f"`{key}`" in PAGE
