"""Plans against every other way to cut an operation; capacities; the closed form's tendencies."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.ops import MatOp
from accelsim.compiler.packing import packings
from accelsim.compiler.tile import (
    Plan,
    Room,
    _priced,
    acc_rows,
    distinct_parts,
    least_strip_bytes,
    plan_op,
    strip_bytes,
)
from accelsim.errors import CapacityError
from tests.compiler.machines import machines
from tests.compiler.ops import mat_op, mat_ops, pool_op
from tests.isa.strategies import small_arch


@st.composite
def rooms(draw, arch):
    """Any mix of places; from hardly any UB to all of it."""
    return Room(
        input_on_chip=draw(st.booleans()), output_on_chip=draw(st.booleans()),
        ub_bytes=draw(st.integers(0, arch.ub_bytes)),
    )  # fmt: skip


@st.composite
def any_op(draw):
    """Anything, images with few channels (columns can be packed), and many weights (their order matters)."""
    sort = draw(st.integers(0, 6))
    if sort < 3:
        return draw(mat_ops())
    if sort == 3:
        size, channels, out = draw(st.integers(5, 9)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        return mat_op(height=size, width=size, channels=channels, out=out, kernel=(3, 3))
    if sort < 6:
        size, channels, out = draw(st.integers(4, 8)), draw(st.integers(8, 20)), draw(st.integers(8, 40))
        return mat_op(height=size, width=size, channels=channels, out=out, kernel=(3, 3))
    kind = draw(st.sampled_from(("max", "avg")))
    size = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    return pool_op(height=size[0], width=size[1], channels=draw(st.integers(1, 20)), kind=kind)


def every_plan(op, arch, room):
    """All rows x columns x packings x buffers that fit, counted up one by one."""
    w = op.window
    for packing in packings(op, arch) if isinstance(op, MatOp) else [None]:
        for rows in range(1, w.out_h + 1):
            for cols in range(1, w.out_w + 1):
                plan = fitted(op, arch, room, packing, rows, cols)
                if plan is not None:
                    yield plan


def fitted(op, arch, room, packing, rows, cols):
    """The tile with as many strip buffers as fit, two of each at most; None when it does not fit at all."""
    w = op.window
    pixels = packing.pixels if packing else 1
    sums = isinstance(op, MatOp) or op.kind == "avg"
    widths = {min(cols, w.out_w - col) for col in range(0, w.out_w, cols)}
    if min(widths) < pixels:  # a tile narrower than a group of packed pixels
        return None
    if sums and max(rows * sum(1 for _ in range(0, width, pixels)) for width in widths) > arch.acc_rows:
        return None
    on_chip = room.input_on_chip and room.output_on_chip
    if on_chip and cols < w.out_w and (not sums or sum(1 for _ in range(0, w.out_w, pixels)) <= arch.acc_rows):
        return None  # rows are only cut where they must be
    height, width = (rows - 1) * w.stride[0] + w.span[0], (cols - 1) * w.stride[1] + w.span[1]
    strip_in = 0 if room.input_on_chip else height * width * w.in_c
    strip_out = 0 if room.output_on_chip else rows * cols * w.out_c
    once = rows == w.out_h and cols == w.out_w and not op.batched
    for inputs, outputs in [(1, 1)] if once else [(2, 2), (2, 1), (1, 2), (1, 1)]:
        if inputs * strip_in + outputs * strip_out <= room.ub_bytes:
            return Plan(
                rows=rows, cols=cols, packing=packing, strips_in=inputs if strip_in else 0,
                strips_out=outputs if strip_out else 0, strip_in_bytes=strip_in, strip_out_bytes=strip_out,
            )  # fmt: skip
    return None


def test_the_chosen_plan_is_the_cheapest_of_all():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.data())
    def compare(data):
        arch = data.draw(machines())
        op, room = data.draw(any_op()), data.draw(rooms(arch))
        grain = data.draw(st.sampled_from((0.1, 1.0, 4.0)))
        candidates = [plan for cut in every_plan(op, arch, room) for plan in _priced(op, arch, room, grain, cut)]
        if not candidates:
            with pytest.raises(CapacityError):
                plan_op(op, arch, room, grain)
            seen["nothing fits"] += 1
            return
        best = plan_op(op, arch, room, grain)
        assert best in candidates
        assert best.cost_cycles == min(plan.cost_cycles for plan in candidates)
        seen["strips"] += best.strips_in + best.strips_out > 0
        seen["cut"] += best.rows < op.window.out_h or best.cols < op.window.out_w
        seen["outer"] += best.weights_outer
        seen["packed"] += bool(best.packing and best.packing.pixels > 1)
        seen["plans"] += 1

    compare()
    assert seen["plans"] > 150, seen
    assert min(seen["strips"], seen["cut"], seen["nothing fits"]) > 20, seen
    assert min(seen["outer"], seen["packed"]) > 0, seen


@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.data())
def test_a_plan_fits(data):
    arch = data.draw(machines())
    op, room = data.draw(any_op()), data.draw(rooms(arch))
    need = least_strip_bytes(op, input_on_chip=room.input_on_chip, output_on_chip=room.output_on_chip)
    if need > room.ub_bytes:
        with pytest.raises(CapacityError) as caught:
            plan_op(op, arch, room, 1.0)
        assert caught.value.demand_bytes == need + arch.ub_bytes - room.ub_bytes
        return
    plan = plan_op(op, arch, room, 1.0)
    if isinstance(op, MatOp) or op.kind == "avg":
        assert acc_rows(plan.packing, plan.rows, plan.cols) <= arch.acc_rows
    used = plan.strips_in * plan.strip_in_bytes + plan.strips_out * plan.strip_out_bytes
    assert used <= room.ub_bytes
    assert (plan.strips_in > 0) == (not room.input_on_chip)
    assert (plan.strips_out > 0) == (not room.output_on_chip)
    if plan.strips_in:
        assert plan.strip_in_bytes == strip_bytes(op.window, plan.rows, plan.cols)


@given(st.integers(1, 400))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_distinct_parts(extent):
    parts = distinct_parts(extent)
    assert list(parts) == sorted({(extent + n - 1) // n for n in range(1, extent + 1)}, reverse=True)
    # Any other size needs as many tiles as a listed one that is smaller.
    for size in range(1, extent + 1):
        assert any(part <= size and -(-extent // part) == -(-extent // size) for part in parts)


def test_the_text_of_a_plan():
    arch = small_arch(16, 16, ub=65536, wgt_rows=4096, acc_rows=1024, param_rows=64)
    op = mat_op(height=32, width=32, channels=1, out=6, kernel=(5, 5))
    plan = plan_op(op, arch, Room(input_on_chip=True, output_on_chip=True, ub_bytes=0), 1.0)
    assert plan.text() == (
        f"{plan.rows}x28 k=6 chunks=1 tail=0 blocks=1 pixels=2 pixels outer ~{plan.cost_cycles:.0f} cycles"
    )
    strips = plan_op(op, arch, Room(input_on_chip=False, output_on_chip=False, ub_bytes=2000), 1.0)
    assert " strips in=2 out=" in strips.text()


def test_what_stays_on_chip_is_named_when_a_strip_does_not_fit():
    arch = small_arch(ub=1000)
    op = mat_op(height=32, width=32, channels=3, out=6, kernel=(5, 5))
    with pytest.raises(CapacityError) as caught:
        plan_op(op, arch, Room(input_on_chip=False, output_on_chip=False, ub_bytes=80), 1.0)
    assert str(caught.value) == (
        "op: needs 1,001 bytes of UB and the machine has 1,000; made of input under one output pixel 75, "
        "one output pixel 6, tensors that stay on chip 920 (ub.size of at least 1001 bytes fits)"
    )


@pytest.mark.parametrize("grain", [0.1, 1.0, 4.0])
def test_a_larger_grain_never_asks_for_larger_tiles(grain):
    arch = small_arch(16, 16, ub=65536, wgt_rows=4096, acc_rows=1024, param_rows=64)
    room = Room(input_on_chip=True, output_on_chip=True, ub_bytes=0)
    for op in (
        mat_op(height=32, width=32, channels=1, out=6, kernel=(5, 5)),
        mat_op(height=14, width=14, channels=6, out=16, kernel=(5, 5)),
        pool_op(height=28, width=28, channels=6),
    ):
        finer, coarser = plan_op(op, arch, room, 2 * grain), plan_op(op, arch, room, grain)
        assert finer.rows * finer.cols <= coarser.rows * coarser.cols
