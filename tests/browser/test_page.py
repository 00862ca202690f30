"""The report page in a real browser: quiet, alone, sortable, and zoomed to single instructions. NOT RUN without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import accelsim
from accelsim.isa.protocol import Unit
from accelsim.isa.text import format_instruction
from accelsim.result import Result
from tests.browser.devtools import Browser, find

NOISE = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
GUTTER, FIRST_ROW, ROW = 52, 44, 46
"""Where the canvas has its units: pixels from its left and top edge, pixels per unit."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("NOT RUN: no browser")
    running = Browser(program)
    yield running
    running.close()


@pytest.fixture(scope="module")
def alexnet() -> Result:
    return accelsim.run("alexnet", timing_only=True)


@pytest.fixture(scope="module")
def alexnet_file(alexnet: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "alexnet.html"
    alexnet.html(path)
    return path


@pytest.fixture
def page(browser: Browser, alexnet_file: Path) -> Browser:
    """AlexNet's page, 1280 x 800, its timeline ready; what it must never do is checked at the end."""
    show(browser, alexnet_file)
    yield browser
    check_quiet(browser, alexnet_file)


def show(browser: Browser, path: Path) -> None:
    browser.open(path)
    ready(browser)


def ready(browser: Browser, number: int = 0) -> None:
    """Wait until the timeline of a run is made, and drawn for the first time."""
    browser.until(
        f"(() => {{ const s = document.querySelectorAll('section.timeline')[{number}]; "
        "return s.dataset.ready === 'yes' && s.querySelector('canvas').dataset.drawn !== undefined; })()"
    )


def check_quiet(browser: Browser, path: Path) -> None:
    """No message, no exception, and no request but the one for the file itself."""
    assert [event for event in browser.events if event[0] in NOISE] == []
    asked = [seen["request"]["url"] for name, seen in browser.events if name == "Network.requestWillBeSent"]
    assert asked == [path.resolve().as_uri()]


def drawn(browser: Browser) -> tuple[float, float, int]:
    """The cycles in view and the number of rectangles, once everything asked for is on the canvas."""
    view = browser.run(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {"
        "const d = document.querySelector('canvas').dataset; done([+d.from, +d.to, +d.drawn]); })))"
    )
    return tuple(view)


def words(browser: Browser) -> dict[str, str]:
    """What is said of the thing pointed at, by name."""
    drawn(browser)
    return browser.run(
        "Object.fromEntries([...document.querySelectorAll('.words dt')]"
        ".map((e) => [e.textContent, e.nextElementSibling.textContent]))"
    )


def show_instruction(browser: Browser, index: int) -> None:
    """By its number, as the field beside the buttons does it; the canvas then has the focus."""
    browser.run(
        "(() => { const e = document.querySelector('.tools input'); "
        f"e.value = {index}; e.dispatchEvent(new Event('change')); document.querySelector('canvas').focus(); }})()"
    )


def column(browser: Browser, number: int) -> list[str]:
    """The texts of a column of the table of layers, as the rows stand."""
    return browser.run(
        "[...[...document.querySelectorAll('table.sortable')].find((t) => t.caption.textContent === 'Layers')"
        f".tBodies[0].rows].map((row) => row.cells[{number}].textContent)"
    )


# ---------------------------------------------------------------------------------------------------- layout


def test_the_page_fits_a_small_screen(page: Browser) -> None:
    assert page.run("document.documentElement.scrollWidth") <= 1280
    bottom = page.run("document.querySelector('section.timeline').getBoundingClientRect().bottom")
    assert bottom <= 800
    cut = page.run("[...document.querySelectorAll('.wide')].filter((e) => e.scrollWidth > e.clientWidth).length")
    assert cut == 0


# ---------------------------------------------------------------------------------------------------- tables


def test_a_table_is_sorted_by_click_and_by_key(page: Browser, alexnet: Result) -> None:
    names, cycles = [row["name"] for row in alexnet.rows], [row["cycles"] for row in alexnet.rows]
    assert column(page, 1) == names
    find_head = "[...document.querySelectorAll('thead th')].find((e) => e.textContent === 'cycles')"
    page.run(f"{find_head}.id = 'head'")
    left, top, width, height = page.place("#head button")
    page.click(left + width / 2, top + height / 2)
    falling = [f"{value:,}" for value in sorted(cycles, reverse=True)]
    assert (column(page, 3), page.run(f"{find_head}.ariaSort")) == (falling, "descending")
    page.press("Enter")  # the button has the focus
    assert (column(page, 3), page.run(f"{find_head}.ariaSort")) == (falling[::-1], "ascending")
    page.run("[...document.querySelectorAll('thead th')].find((e) => e.textContent === '#').firstChild.click()")
    assert column(page, 1) == names
    assert page.run(f"{find_head}.ariaSort") == "none"


def test_texts_are_sorted_too_and_dashes_come_last(page: Browser, alexnet: Result) -> None:
    page.run("[...document.querySelectorAll('thead th')].find((e) => e.textContent === 'packing').firstChild.click()")
    told = column(page, 15)
    assert sorted(told) == sorted(row["packing"] or "-" for row in alexnet.rows)
    assert told[-1] == "-"
    assert told[:-1] == sorted(told[:-1])


# -------------------------------------------------------------------------------------------------- timeline


def test_the_wheel_zooms_to_a_single_instruction(page: Browser, alexnet: Result) -> None:
    trace = alexnet.timed
    index = next(i for i in range(5000, 7000) if trace.unit[i] == Unit.GEMM and trace.landed[i] > trace.accepted[i])
    cycle = int(trace.accepted[index]) + 1
    assert drawn(page)[:2] == (0, trace.cycles)
    left, top, width, _ = page.place("canvas")
    for _ in range(60):
        start, stop, _ = drawn(page)
        at = left + GUTTER + (cycle + 0.5 - start) / (stop - start) * (width - GUTTER)
        page.mouse("mouseWheel", at, top + FIRST_ROW + ROW + 15, deltaX=0, deltaY=-240)
    start, stop, _ = drawn(page)
    assert stop - start < 20
    assert start <= cycle <= stop
    at = left + GUTTER + (cycle + 0.5 - start) / (stop - start) * (width - GUTTER)
    page.mouse("mouseMoved", at, top + FIRST_ROW + ROW + 15)
    told = words(page)
    assert told["instruction"] == f"#{index:,} on gemm"
    assert told["assembly"] == format_instruction(alexnet.program.instructions[index])
    assert told["layer"] == alexnet.program.layers[alexnet.program.layer_of[index]]
    assert told["tile"] == alexnet.program.tile_of[index]
    assert told["accepted"] == f"cycle {trace.accepted[index]:,}"
    assert told["landed"] == f"cycle {trace.landed[index]:,}"
    for _ in range(60):
        page.mouse("mouseWheel", at, top + FIRST_ROW + ROW + 15, deltaX=0, deltaY=240)
    assert drawn(page)[:2] == (0, trace.cycles)


def test_every_instruction_can_be_shown(page: Browser, alexnet: Result) -> None:
    program, trace = alexnet.program, alexnet.timed
    for index in [0, len(program.instructions) - 1, *range(17, len(program.instructions), 500)]:
        show_instruction(page, index)
        told = words(page)
        assert told["assembly"] == format_instruction(program.instructions[index])
        assert told["accepted"] == f"cycle {trace.accepted[index]:,}"
        assert told["landed"] == f"cycle {trace.landed[index]:,}"
        start, stop, _ = drawn(page)
        assert start <= trace.accepted[index] < stop


def test_keys_choose_waits_and_name_their_reason(page: Browser, alexnet: Result) -> None:
    spans = alexnet.timed.spans(Unit.GEMM)
    place = next(i for i, span in enumerate(spans) if span.wait == "token:load" and i > 100)
    before = spans[place - 1]
    show_instruction(page, before.index)
    page.press("n")
    told, span = words(page), spans[place]
    assert told["wait reason"].startswith("gemm token:load: a token of load, given by #")
    assert told["waits"] == f"cycles {span.start:,} to {span.stop - 1:,} ({span.stop - span.start:,})"
    assert told["then accepts"] == f"#{span.index:,}"
    giver = int(told["wait reason"].split("given by #")[1].split()[0].replace(",", ""))
    page.press("g")
    assert words(page)["instruction"] == f"#{giver:,} on load"
    assert alexnet.timed.landed[giver] + 1 == alexnet.timed.token_ready[span.index]
    show_instruction(page, before.index)
    page.press("n")
    page.press("ArrowUp")
    loading = next(s for s in alexnet.timed.spans(Unit.LOAD) if s.start <= span.start < s.stop)
    assert f"({loading.stop - loading.start:,})" in (words(page).get("busy") or words(page)["waits"])
    page.press("Home")
    assert drawn(page)[:2] == (0, alexnet.timed.cycles)
    page.press("+")
    assert drawn(page)[1] - drawn(page)[0] == pytest.approx(alexnet.timed.cycles / 2)
    page.press("Escape")
    assert "wait reason" not in words(page)


def test_dragging_and_buttons_move_the_view(page: Browser, alexnet: Result) -> None:
    cycles = alexnet.timed.cycles
    left, top, width, _ = page.place("canvas")
    for _ in range(3):
        page.run("document.querySelector('.tools button[title=\"Zoom in\"]').click()")
    start, stop, _ = drawn(page)
    assert stop - start == pytest.approx(cycles / 8)
    page.mouse("mouseMoved", left + 600, top + 100)
    page.mouse("mousePressed", left + 600, top + 100, button="left", clickCount=1)
    page.mouse("mouseMoved", left + 400, top + 100, button="left", buttons=1)
    page.mouse("mouseReleased", left + 400, top + 100, button="left", clickCount=1)
    moved = drawn(page)[0] - start
    assert moved == pytest.approx(200 / (width - GUTTER) * (stop - start))
    page.run("document.querySelector('.tools button[title=\"Show all cycles\"]').click()")
    assert drawn(page)[:2] == (0, cycles)


def test_a_layer_of_the_table_is_shown_in_the_timeline(page: Browser, alexnet: Result) -> None:
    left, top, width, height = page.place("button.layer[data-layer=conv4]")
    page.click(left + width / 2, top + height / 2)
    ends = dict(zip(alexnet.program.layers, alexnet.timed.layer_ends(alexnet.program.layer_of, 13).tolist()))
    names = list(alexnet.program.layers)
    begin = ends[names[names.index("conv4") - 1]]
    start, stop, _ = drawn(page)
    assert start <= begin < ends["conv4"] <= stop
    assert stop - start < 1.1 * (ends["conv4"] - begin)
    assert words(page)["layer"] == "conv4"


def test_a_crowded_view_is_drawn_with_few_rectangles(page: Browser, alexnet: Result) -> None:
    """At most a few per pixel and lane, however many spans there are; and what is drawn covers the right pixels."""
    spans = sum(len(alexnet.timed.spans(unit)) for unit in Unit)
    _, _, rectangles = drawn(page)
    assert spans > 8000
    assert rectangles < 4 * 2 * 1280
    busy = alexnet.timed.spans(Unit.LOAD)
    lit = page.run(
        "(() => { const c = document.querySelector('canvas'); const d = c.getContext('2d')"
        f".getImageData({GUTTER}, {FIRST_ROW + 28}, c.width - {GUTTER}, 1).data;"
        "return Array.from({ length: d.length / 4 }, (_, i) => d[4 * i + 3] > 0"
        " && d[4 * i] + d[4 * i + 1] + d[4 * i + 2] < 660); })()"
    )
    per_pixel = alexnet.timed.cycles / len(lit)
    for x in range(0, len(lit), 7):
        inside = sum(max(0, min(s.stop, (x + 1) * per_pixel) - max(s.start, x * per_pixel)) for s in busy if not s.wait)
        if inside > 0.2 * per_pixel:
            assert lit[x], x


# ------------------------------------------------------------------------------------------------ comparison


def test_a_comparison_opens_a_timeline_for_each_run_asked_for(browser: Browser, tmp_path: Path) -> None:
    one, other = (accelsim.run("lenet", arch=name, timing_only=True) for name in ("tiny", "edge"))
    one.html(tmp_path / "both.html", other)
    browser.open(tmp_path / "both.html")
    assert browser.run("document.querySelectorAll('canvas').length") == 0
    browser.run("document.querySelectorAll('.runs > details')[1].firstChild.click()")
    ready(browser, 1)
    assert drawn(browser)[:2] == (0, other.timed.cycles)
    assert browser.run("document.documentElement.scrollWidth") <= 1280
    check_quiet(browser, tmp_path / "both.html")


def test_a_browser_that_cannot_unpack_says_so(browser: Browser, alexnet_file: Path) -> None:
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream")
    try:
        browser.open(alexnet_file)
        browser.until("!!document.querySelector('section.timeline .note')")
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
    told = browser.run("document.querySelector('section.timeline .note').textContent")
    assert told.startswith("This browser cannot show the timeline: it has no DecompressionStream")
    check_quiet(browser, alexnet_file)
