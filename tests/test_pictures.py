"""The pictures of the documentation are what the plots draw now (``--update-golden`` draws them anew).

What is drawn is compared by its data, whatever the version of matplotlib; the files byte by byte where the version is
the one that made them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes

import accelsim
from accelsim import plots
from accelsim.result import Result

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
PAGE = (FOLDER.parent / "plots.md").read_text(encoding="utf-8")
RECORD = FOLDER / "drawn.json"
LIMIT_BYTES = 150_000


@cache
def lenet() -> Result:
    return accelsim.run("lenet", timing_only=True)


@cache
def alexnet(arch: str = "edge") -> Result:
    return accelsim.run("alexnet", arch=arch, timing_only=True)


def _pareto() -> Axes:
    sweep = {
        "schema": 1, "workloads": ["lenet"], "arch": "edge", "objectives": ["cycles", "area_mm2"],
        "axes": {"array.cols": [8, 16, 32], "dram.bytes_per_cycle": [4, 8, 16]},
    }  # fmt: skip
    return accelsim.sweep(sweep, workers=1).plot_pareto()


PICTURES: dict[str, Callable[[], Axes]] = {
    "roofline": lambda: plots.roofline([alexnet().report, alexnet("mid").report]),
    "utilization": lambda: alexnet().utilization(),
    "energy": lambda: alexnet().energy(),
    "timeline": lambda: lenet().timeline(),
    "occupancy": lambda: lenet().occupancy(),
    "tiling": lambda: lenet().tiling("conv1"),
    "pareto": _pareto,
}


def drawn(axes: Axes) -> str:
    """A hash of texts, lines, bars and areas, in six digits."""
    figure = axes.get_figure()
    assert figure is not None
    content: list[Any] = [
        [text.get_text() for text in axes.texts],
        [[_numbers(values) for values in line.get_data()] for line in axes.lines],
        [_numbers(patch.get_path().get_extents(patch.get_patch_transform()).bounds) for patch in axes.patches],
        [[_numbers(path.get_extents().bounds) for path in group.get_paths()] for group in axes.collections],
        [axes.get_xlabel(), axes.get_ylabel(), axes.get_title(), _numbers(axes.get_xlim()), _numbers(axes.get_ylim())],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _numbers(values: Any) -> list[str]:
    return [f"{float(value):.6g}" for value in values]


@pytest.mark.parametrize("kind", list(PICTURES))
def test_a_picture_is_fresh(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    axes = PICTURES[kind]()
    path = FOLDER / f"{kind}.svg"
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    if request.config.getoption("--update-golden"):
        plots.save(axes, path)
        record[kind] = {"drawn": drawn(axes), "matplotlib": matplotlib.__version__}
        RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    assert record[kind]["drawn"] == drawn(axes)
    assert path.stat().st_size < LIMIT_BYTES
    if record[kind]["matplotlib"] == matplotlib.__version__:
        plots.save(PICTURES[kind](), tmp_path / path.name)  # anew: the layout of a figure settles while it is saved
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_page_shows_every_kind() -> None:
    assert all(f"](pictures/{kind}.svg)" in PAGE for kind in PICTURES)
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(PICTURES)
