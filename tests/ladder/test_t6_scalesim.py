"""Tier 6: SCALE-Sim's cycles, to the cycle, less a difference whose every cycle is accounted for.

docs/deviations.md derives it: 4 cycles per fold in ws, R + 4 in os, and 1 per layer.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import accelsim
from tests.ladder.scalesim import Layer, assembly, gemm_cycles, layers, options, run

DATA = Path(__file__).parent / "data"
EXAMPLE = "alexnet-Conv5-32x32-ws-CALC"


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.label)
def test_every_row(layer: Layer) -> None:
    ours = run(layer)
    difference = 4 if layer.dataflow == "ws" else layer.rows + 4
    assert layer.per_fold == difference
    assert ours - difference * layer.folds - 1 == layer.cycles


@pytest.mark.parametrize(
    "layer", [x for x in layers() if x.cycles < 1000 and x.rows <= 32], ids=lambda layer: layer.label
)
def test_small_rows_through_every_register(layer: Layer) -> None:
    assert run(layer, "pe") - layer.per_fold * layer.folds - 1 == layer.cycles


def test_all_rows_are_there() -> None:
    rows = layers()
    assert len(rows) == len(set(rows)) == 108
    assert {layer.dataflow for layer in rows} == {"ws", "os"}
    assert sum(layer.dataflow == "ws" for layer in rows) == 63
    assert {(layer.rows, layer.cols) for layer in rows} >= {(8, 24), (24, 8), (16, 16), (256, 256)}


def test_the_example_of_the_documentation() -> None:
    """The file shown in docs/deviations.md is what is run here, and its command line is right."""
    layer = next(layer for layer in layers() if layer.label == EXAMPLE)
    path = DATA / f"{EXAMPLE}.asm"
    command, *lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == assembly(layer)
    name, program, *rest = command.removeprefix("# accelsim ").split()
    assert (name, program, rest) == ("exec", path.name, options(layer))
    result = accelsim("exec", str(path), *rest)
    assert (layer.folds, layer.cycles) == (864, 185759)
    assert gemm_cycles(json.loads(result.stdout)) == 189216  # 185759 + 4 * 864 + 1
