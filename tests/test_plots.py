"""What the plots draw is what the report, the program and the trace say."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import accelsim
from accelsim import plots
from accelsim.cyclesplit import CATEGORIES
from accelsim.errors import ConfigError
from accelsim.isa.protocol import Memory, Unit
from accelsim.occupancy import occupancy
from accelsim.plots.energy import COMPONENT_STYLE
from accelsim.plots.occupancy import POINTS, highest
from accelsim.plots.roofline import Mark, Roof, block, marks
from accelsim.plots.tiling import tiles
from accelsim.plots.timeline import Piece, clipped, joined, pieces
from accelsim.result import Result
from tests.command_line import accelsim as command


@pytest.fixture(scope="module")
def lenet() -> Result:
    return accelsim.run("lenet", timing_only=True)


@pytest.fixture(scope="module")
def folder(lenet: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "lenet"
    lenet.save(path)
    return path


# ---------------------------------------------------------------------------------------------- roofline


def test_a_mark_of_the_roofline_is_where_the_report_says(lenet: Result) -> None:
    axes = lenet.roofline()
    drawn = {str(line.get_gid()).removeprefix("layer "): line for line in axes.lines if line.get_gid()}
    rows = {row["name"]: row for row in lenet.rows if row["macs"] and row["cycles"]}
    assert set(drawn) == set(rows) == {"conv1", "conv2", "fc1", "fc2", "fc3"}
    for name, row in rows.items():
        x, y = (float(values[0]) for values in drawn[name].get_data())
        moved = row["dram_read_bytes"] + row["dram_write_bytes"]
        assert y == pytest.approx(row["macs"] / row["cycles"] * 500e6 / 1e9)
        if moved:
            assert x == pytest.approx(row["macs"] / moved)
        assert drawn[name].get_marker() == {"array": "o", "dram": "s"}[row["bound_by"]]
    labels = "\n".join(text.get_text() for text in axes.texts)
    assert all(name in labels for name in rows)


def test_the_roof_is_the_smaller_of_its_two_limits(lenet: Result) -> None:
    roof = Roof.of(lenet.report)  # edge: 16 x 16 at 500 MHz, 8 bytes a cycle
    assert (roof.macs_per_s, roof.bytes_per_s, roof.ridge) == (256 * 500e6, 4e9, 32.0)
    assert roof.at(1) == 4e9
    assert roof.at(32) == roof.at(1000) == 128e9
    for mark in marks(lenet.report):
        assert mark.share == pytest.approx(mark.macs_per_s / roof.at(mark.intensity))


def test_a_roofline_shows_several_machines() -> None:
    reports = [accelsim.run("lenet", arch=name, timing_only=True).report for name in ("tiny", "edge")]
    axes = plots.roofline(reports)
    legend = axes.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[0].startswith("lenet on tiny: 4x4")
    assert texts[1].startswith("lenet on edge: 16x16")
    with pytest.raises(ValueError, match="with time"):
        plots.roofline([])


def test_labels_of_a_roofline_are_short_and_cover_none_of_the_others(lenet: Result) -> None:
    """Twenty layers at the roof, three times as close as their labels are wide."""
    template = next(row for row in lenet.report["layers"] if row["name"] == "conv2")
    moved = [round(template["macs"] / 40 / 1.3**place) for place in range(20)]
    layers = [
        {**template, "name": f"a_layer_{place}", "dram_read_bytes": size, "dram_write_bytes": 0}
        for place, size in enumerate(moved)
    ]
    axes = plots.roofline({**lenet.report, "layers": layers})
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) > 3
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.mark.parametrize(("count", "last"), [(1, "m0 90 %"), (6, "m5 95 %"), (7, "and 2 more 95-96 %")])
def test_many_marks_share_a_label_of_six_lines(count: int, last: str) -> None:
    keys: dict[str, Any] = {"bound_by": "array", "intensity": 1.0, "macs_per_s": 1e9}
    found = [Mark(name=f"m{place}", share=0.9 + place / 100, **keys) for place in range(count)]
    lines = block(found)
    assert (len(lines), lines[-1]) == (min(count, 6), last)


# ------------------------------------------------------------------------------------------- stacked bars


def bars(axes: Axes, name: str) -> list[float]:
    """Widths of the bars of one legend entry, from the top."""
    container = next(c for c in axes.containers if c.get_label() == name)
    assert isinstance(container, BarContainer)
    return [patch.get_width() for patch in container.patches]


def test_utilization_is_the_cycle_split(lenet: Result) -> None:
    axes = lenet.utilization()
    rows = [row for row in lenet.rows if row["cycles"]]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row["name"] for row in rows]
    shares = {name: bars(axes, name) for name in CATEGORIES}
    for place, row in enumerate(rows):
        assert sum(shares[name][place] for name in CATEGORIES) == pytest.approx(100)
        for name in CATEGORIES:
            assert shares[name][place] == pytest.approx(100 * row["cycle_split"][name] / row["cycles"])


def test_energy_is_by_component(lenet: Result) -> None:
    axes = lenet.energy()
    rows = [row for row in lenet.rows if row["energy_pj"]]
    assert axes.get_xlabel() == "energy, uJ"
    for name in COMPONENT_STYLE:
        assert bars(axes, name) == pytest.approx([row["energy"][name] / 1e6 for row in rows])
    whole = sum(sum(bars(axes, name)) for name in COMPONENT_STYLE)
    assert whole == pytest.approx(lenet.report["totals"]["energy_pj"] / 1e6)


# ---------------------------------------------------------------------------------------------- timeline


def intervals(collection: PolyCollection) -> list[tuple[int, int]]:
    extents = [path.get_extents() for path in collection.get_paths()]
    return [(round(box.x0), round(box.x1)) for box in extents]


def test_a_close_timeline_shows_every_instruction(lenet: Result) -> None:
    start, stop = 1000, 2000
    axes = lenet.timeline(None, start, stop)
    assert axes.get_xlim() == (start, stop)
    drawn = [intervals(c) for c in axes.collections if isinstance(c, PolyCollection)]
    for unit in Unit:
        spans = [span for span in lenet.timed.spans(unit) if not span.wait]
        wanted = [(max(s.start, start), min(s.stop, stop)) for s in spans if s.stop > start and s.start < stop]
        covered = {cycle for low, high in wanted for cycle in range(low, high)}
        assert any({c for low, high in found for c in range(low, high)} == covered for found in drawn), unit


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 9), st.integers(1, 40)), max_size=30))
def test_joined_pieces_hide_nothing_longer_than_a_pixel(parts: list[tuple[str, bool, int, int]]) -> None:
    found, at = [], 0
    for name, busy, gap, length in parts:
        found.append(Piece(name, busy, at + gap, at + gap + length))
        at += gap + length
    for least in (0.0, 1.0, 12.0):
        result = joined(found, least)
        for piece in found:
            inside = [p for p in result if (p.name, p.busy) == (piece.name, piece.busy)]
            if piece.stop - piece.start >= least / 2:
                assert any(p.start <= piece.start and piece.stop <= p.stop for p in inside)
        if least == 0:
            assert sum(p.stop - p.start for p in result) == sum(p.stop - p.start for p in found)


def test_the_pieces_of_a_unit_tile_its_time(lenet: Result) -> None:
    for unit in Unit:
        found = list(pieces(lenet.program, lenet.timed, unit))
        assert [p.start for p in found] == [0, *(p.stop for p in found[:-1])]
        assert found[-1].stop == lenet.timed.cycles
        assert {p.name for p in found if p.busy} <= set(lenet.program.layers)
        assert sum(p.stop - p.start for p in clipped(found, 100, 250)) == 150


def test_an_empty_stretch_is_refused(lenet: Result) -> None:
    for start, stop in ((5, 5), (10**9, None), (-1, 5)):
        with pytest.raises(ValueError, match="there is no cycle"):
            lenet.timeline(None, start, stop)


# --------------------------------------------------------------------------------------------- occupancy


def test_occupancy_ends_and_peaks_as_the_memory_does(lenet: Result) -> None:
    axes = lenet.occupancy()
    sizes = {"UB": 256 << 10, "WGT": 128 << 10, "ACC": 64 << 10, "PARAM": 16 << 10}
    lines = {str(line.get_label()).partition(":")[0]: line for line in axes.lines}
    assert set(lines) == set(sizes)
    for memory, (_, held) in occupancy(lenet.program, lenet.timed, lenet.arch).items():
        peak = max(float(y) for y in lines[memory.name].get_data()[1])
        assert peak == pytest.approx(100 * held.max() / sizes[memory.name])
    assert axes.get_xlim() == (0, lenet.timed.cycles)
    assert Memory.UB.name in lines


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.sampled_from([2, 60, 5000]))
def test_a_thinned_curve_keeps_the_highest_of_each_stretch(seed: int, more: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, POINTS + more)
    values = random.integers(0, 100, POINTS + more)
    cycles, stop = np.cumsum(lengths) - lengths, int(lengths.sum())
    x, y = highest(cycles, values, stop)
    full = np.repeat(values, np.diff(np.append(cycles, stop)))
    assert len(x) == len(y) == POINTS + 1
    assert x[0] == 0
    assert x[-1] == stop
    for low, high, top in zip(x[:-1].tolist(), x[1:].tolist(), y.tolist()):
        if high > low:
            assert top == full[low:high].max()


# ----------------------------------------------------------------------------------------------- tilings


def test_tiles_cover_the_output_of_a_layer_once(lenet: Result) -> None:
    shapes = {"conv1": (28, 28, 6), "pool1": (14, 14, 6), "conv2": (10, 10, 16), "fc1": (1, 1, 120)}
    for layer, shape in shapes.items():
        covered = np.zeros(shape, np.int64)
        for tile in tiles(lenet.program, lenet.timed, layer):
            area = (tile.row, tile.rows), (tile.col, tile.cols), (tile.channel, tile.channels)
            covered[tuple(slice(first, first + count) for first, count in area)] += 1
        assert (covered == 1).all(), layer


def test_a_tiling_draws_each_tile(lenet: Result) -> None:
    axes = lenet.tiling("conv2")
    drawn = {(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in axes.patches if isinstance(p, Rectangle)}
    assert drawn == {(t.col, t.row, t.cols, t.rows) for t in tiles(lenet.program, lenet.timed, "conv2")}
    assert axes.get_title().startswith(f"conv2: {len(drawn)} tiles")
    flat = lenet.tiling("fc1")
    assert flat.get_xlabel() == "output channel"
    assert flat.get_xlim() == (0, 120)
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        lenet.tiling("conv9")


# ------------------------------------------------------------------------------------- files, command line


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_data_gives_the_same_bytes(lenet: Result, tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        plots.save(lenet.utilization(), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_plots_draw_into_given_axes(lenet: Result) -> None:
    for method in (lenet.roofline, lenet.utilization, lenet.energy, lenet.timeline, lenet.occupancy):
        axes = Figure().subplots()
        assert method(axes) is axes
        assert axes.get_xlabel()
    axes = Figure().subplots()
    assert lenet.tiling("conv1", axes) is axes


@pytest.mark.parametrize("kind", ["roofline", "utilization", "energy", "timeline", "occupancy", "tiling"])
def test_the_command_draws_a_saved_result(
    folder: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--layer", "conv2"] if kind == "tiling" else ["--cycles", "100:1_000"] if kind == "timeline" else []
    result = command("plot", kind, str(folder), "-o", f"{kind}.svg", *more)
    assert result.exit_code == 0, result.output
    text = Path(f"{kind}.svg").read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert "</svg>" in text
    named = {"roofline": "lenet on edge", "timeline": "gemm", "occupancy": "UB: at most", "tiling": "conv2: "}
    assert named.get(kind, "conv1") in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["roofline", "nothing", "-o", "x.svg"], "nothing: there is no such result"),
        (["timeline", "{folder}/report.json", "-o", "x.svg"], "needs the folder of a result"),
        (["roofline", "{folder}", "-o", "x.bmp"], "cannot draw a file ending in '.bmp'"),
        (["tiling", "{folder}", "-o", "x.svg"], "tiling needs --layer"),
        (["tiling", "{folder}", "-o", "x.svg", "--layer", "conv7"], "no layer 'conv7'"),
        (["energy", "{folder}", "-o", "x.svg", "--layer", "conv1"], "--layer goes with tiling"),
        (["timeline", "{folder}", "-o", "x.svg", "--cycles", "5"], "--cycles takes FROM:TO"),
        (["timeline", "{folder}", "-o", "x.svg", "--cycles", "9:5"], "there is no cycle from 9"),
        (["energy", "{folder}", "{folder}", "-o", "x.svg"], "draws one RESULT"),
        (["roofline", "{folder}/machine.yaml", "-o", "x.svg"], "is not a complete report"),
        (["roofline", "{folder}", "-o", "no/x.svg"], "the folder 'no' does not exist"),
        (["roofline", "{folder}/report.json", "-o", "{folder}/report.json"], "would be written over"),
    ],
)
def test_wrong_input_is_refused(
    folder: Path, arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("plot", *(argument.format(folder=folder) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert text in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_result_simulates_its_time_again(folder: Path, lenet: Result) -> None:
    again = Result.load(folder)
    assert again.trace is None
    assert np.array_equal(again.timed.landed, lenet.timed.landed)


def test_a_run_without_time_has_no_plots() -> None:
    values = accelsim.run("lenet", arch="tiny", level="functional")
    for method in (values.roofline, values.utilization, values.energy, values.timeline, values.occupancy):
        with pytest.raises(ConfigError, match="no time was simulated"):
            method()
