"""Rings against a list of what every row holds; views of rings against a loop over rows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.stream import Ring, Stream, View, tensor_pixel, tiles_of
from accelsim.isa.instructions import Load, Store
from accelsim.isa.protocol import Memory
from tests.compiler.ops import window_of, windows

BORDER = 3


@st.composite
def views(draw):
    """A tensor held whole, or a ring of its rows with some padding above."""
    pitch, pixel = draw(st.integers(5, 40)), draw(st.integers(1, 5))
    held = draw(st.integers(0, 12))
    return View(1000, pitch, pixel, (1, 1), top=draw(st.integers(0, BORDER)) if held else 0, held=held)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(views(), st.integers(-BORDER, 30), st.integers(-2, 9))
def test_where_a_pixel_of_a_ring_lies(view, row, col):
    line = row
    if view.held:
        row = max(row, -view.top)
        line, walked = 0, -view.top  # padding above the first row lies first
        while walked < row:
            walked, line = walked + 1, 0 if line + 1 == view.held else line + 1
    assert view.at(row, col) == view.origin + line * view.row_pitch + col * view.pixel_pitch


@settings(deadline=None, derandomize=True, max_examples=300)
@given(views(), st.integers(-BORDER, 20), st.integers(1, 15))
def test_runs_are_the_longest_stretches_of_rows_one_pitch_apart(view, row, rows):
    row = max(row, -view.top) if view.held else row
    wanted = [[row]]
    for following in range(row + 1, row + rows):
        if view.at(following, 0) == view.at(following - 1, 0) + view.row_pitch:
            wanted[-1].append(following)
        else:
            wanted.append([following])
    assert view.runs(row, rows) == [(run[0], len(run)) for run in wanted]


def test_windows_cover_every_tap_once_and_never_wrap():
    """Parts of an output's window lie one pitch (times dilation) apart, and come in the order of kernel rows."""
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.data())
    def check(data):
        w = window_of(channels=2, out=2, **data.draw(windows()))
        held = data.draw(st.sampled_from([0, *(w.span[0] + more for more in (0, 0, 1, 1, 2, 5))]))
        view = View(0, 16, 2, w.stride, top=w.pads[0] if held else 0, held=held)
        row = data.draw(st.integers(0, w.out_h - 1))
        rows = data.draw(st.integers(1, w.out_h - row))
        low = data.draw(st.sampled_from([0, 0, w.kernel[0] - 1]))
        taps = (low, data.draw(st.sampled_from([w.kernel[0], w.kernel[0], low + 1])))
        visits = []
        for first, outs, tap, count in view.windows(row, rows, w, taps):
            for out in range(first, first + outs):
                for each in range(tap, tap + count):
                    visits.append((out, each))
                    start = view.at(w.first_row(first) + tap * w.dilation[0], 0)
                    step = (out - first) * w.stride[0] + (each - tap) * w.dilation[0]
                    assert view.at(w.first_row(out) + each * w.dilation[0], 0) == start + step * view.row_pitch
        assert sorted(visits) == [(out, tap) for out in range(row, row + rows) for tap in range(*taps)]
        for out in range(row, row + rows):
            own = [tap for at, tap in visits if at == out]
            assert own == sorted(own)
        whole = taps == (0, w.kernel[0])
        seen["cut inside a window"] += whole and any(count < w.kernel[0] for *_, count in view.windows(row, rows, w))
        seen["several rows"] += any(outs > 1 for _, outs, *_ in view.windows(row, rows, w))
        seen["one part"] += len(view.windows(row, rows, w)) == 1

    check()
    assert min(seen.values()) > 20, seen


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.data())
def test_a_ring_remembers_exactly_what_still_lies_intact(data):
    capacity, base = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 5))
    ring, rows = Ring(capacity, base), [None] * capacity  # what every row holds, as (name, part)
    sizes = {}
    for _ in range(data.draw(st.integers(1, 25))):
        if data.draw(st.integers(0, 3)) == 0:
            size = data.draw(st.integers(1, capacity))
            start, name = ring.take(size), None
        else:
            name = data.draw(st.sampled_from("abcdef"))
            size = sizes.setdefault(name, data.draw(st.integers(1, capacity)))
            start, new = ring.get(name, size)
            assert new == (rows.count(name) < size)
            if not new:
                assert rows[start - base : start - base + size] == [name] * size
                continue
        assert base <= start <= start + size <= base + capacity
        for row in range(start - base, start - base + size):
            torn = rows[row]
            rows[row] = name
            if torn is not None:  # what has lost a row must be loaded again
                rows = [None if held == torn and at not in range(start - base, start - base + size) else held
                        for at, held in enumerate(rows)]  # fmt: skip


def test_a_ring_has_no_more_than_it_holds():
    with pytest.raises(AssertionError):
        Ring(4).take(5)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data())
def test_transfers_move_every_byte_of_a_block_once(data):
    """Blocks of rows x columns x bytes, dense or not on either side, in as few instructions as their form allows."""
    rows, cols, run = (data.draw(st.integers(1, 5)) for _ in range(3))
    dense = data.draw(st.tuples(st.booleans(), st.booleans()))
    pitch = [run + (0 if each else 3) for each in dense]
    spaces = [data.draw(st.sampled_from([0, 7])) for _ in dense]
    far = [cols * step + space for step, space in zip(pitch, spaces)]
    stream, store = Stream(), data.draw(st.booleans())
    arguments = {"dram": 500, "local": 40, "rows": rows, "cols": cols, "run": run}
    pitches = {"dram_pitch": (far[0], pitch[0]), "local_pitch": (far[1], pitch[1])}
    if store:
        stream.store_rows(**arguments, **pitches)
    else:
        stream.load_block(Memory.UB, **arguments, **pitches)
    moved = Counter()
    for instr in stream.instructions:
        assert isinstance(instr, Store if store else Load)
        for i, j, k in ((i, j, k) for i in range(instr.n2) for j in range(instr.n1) for k in range(instr.n0)):
            dram = instr.dram + i * instr.ds2 + j * instr.ds1 + k * instr.ds0
            local = instr.local + i * instr.ls2 + j * instr.ls1 + k * instr.ls0
            moved.update((dram + byte, local + byte) for byte in range(instr.run))
    assert moved == Counter(
        (500 + r * far[0] + c * pitch[0] + b, 40 + r * far[1] + c * pitch[1] + b)
        for r in range(rows)
        for c in range(cols)
        for b in range(run)
    )
    assert len(stream.instructions) == 1


def test_tiles_cover_an_image_and_offsets_are_dense():
    w = window_of(height=7, width=5, channels=3, out=3)
    pixels = Counter(
        tensor_pixel(w, tile.image, row, col) * w.out_c
        for tile in tiles_of(w, 3, 2, image=2)
        for row in range(tile.row, tile.row + tile.rows)
        for col in range(tile.col, tile.col + tile.cols)
    )
    assert pixels == Counter(range(2 * 7 * 5 * 3, 3 * 7 * 5 * 3, 3))
