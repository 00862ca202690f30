"""Tier 6: published machines. Every figure is from a compiled run and stands beside the paper's in docs/validation.md.

``pytest tests/ladder/test_published.py --update-golden`` rewrites the tables of the page.
"""

from __future__ import annotations

import re

import pytest

from tests.ladder import published
from tests.ladder.published import EYERISS, PAGE, PAPER, Line, counters, dynamic_w, markdown, tpu

DRIFT = 0.1  # how far the page may lag behind the compiler, relative
SMALL = 0.5  # and absolute


def test_array_active_of_the_fully_connected_networks_is_within_20_percent() -> None:
    for name in ("tpu_mlp0", "tpu_mlp1"):
        active, paper = counters(tpu(name))[0], PAPER[name][0]
        assert active == pytest.approx(paper, rel=0.2), name


def test_counters_sum_to_the_run() -> None:
    for name in ("tpu_mlp0", "tpu_mlp1", "tpu_mlp1_square"):
        parts = counters(tpu(name))
        assert sum(parts) == pytest.approx(100)
        assert min(parts) >= 0


def test_ridge_point() -> None:
    assert published.ridge(tpu("tpu_mlp0")) == pytest.approx(1350, rel=0.01)


def test_area_shares_are_within_half_of_the_published_ones() -> None:
    shares = published.area_percent(tpu("tpu_mlp1"))
    for name, paper in (("buffers", 37), ("compute", 30)):
        assert paper / 1.5 < shares[name] < paper * 1.5
    assert sum(shares.values()) == pytest.approx(100, abs=0.01)


@pytest.mark.slow
def test_dynamic_power_of_convolutions_is_within_a_factor_of_two() -> None:
    watts = dynamic_w(tpu("tpu_cnn0"))
    assert published.PAPER_WATTS / 2 < watts < published.PAPER_WATTS * 2
    at_their_activity = watts * PAPER["tpu_cnn0"][0] / counters(tpu("tpu_cnn0"))[0]
    assert published.PAPER_WATTS / 2 < at_their_activity < published.PAPER_WATTS * 2


@pytest.mark.slow
def test_eyeriss_columns_are_exact_to_rounding() -> None:
    columns = published.eyeriss_columns(published.alexnet(published.EYERISS_BATCH), published.EYERISS_BATCH)
    assert set(columns) == set(EYERISS)
    for layer, (alu, rf) in columns.items():
        assert round(alu, 2) == pytest.approx(EYERISS[layer][0]), layer
        assert rf == pytest.approx(4 * alu), layer
        assert round(rf, 2) == pytest.approx(EYERISS[layer][1]), layer


@pytest.mark.slow
@pytest.mark.parametrize("section", ["tpu", "eyeriss"])
def test_the_page_has_what_is_measured(section: str, request: pytest.FixtureRequest) -> None:
    lines = published.tpu_table() if section == "tpu" else published.eyeriss_table(published.EYERISS_BATCH)
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {section} -->\n\n", "\n<!-- end -->"
    head, rest = text.split(begin)
    table, tail = rest.split(end, 1)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(head + begin + markdown(lines) + end + tail, encoding="utf-8", newline="\n")
        return
    assert stale(lines, table) == [], "rewrite docs/validation.md with --update-golden, and read it"


def stale(lines: list[Line], table: str) -> list[str]:
    """What the page says otherwise than the run."""
    told = dict(re.findall(r"^\| (.+?) \| ([-0-9.e+]+) \|", table, flags=re.MULTILINE))
    return [
        f"{line.what}: {told.get(line.what)} there, {line.ours:.4g} here"
        for line in lines
        if line.what not in told or float(told[line.what]) != pytest.approx(line.ours, rel=DRIFT, abs=SMALL)
    ]


def test_a_stale_page_is_noticed() -> None:
    lines = [Line("x, %", 50.0, 40.0), Line("y", 7.0, None)]
    assert stale(lines, markdown(lines)) == []
    assert stale([Line("x, %", 60.0, 40.0), lines[1]], markdown(lines)) == ["x, %: 50 there, 60 here"]
    assert stale(lines, "") == ["x, %: None there, 50 here", "y: None there, 7 here"]
