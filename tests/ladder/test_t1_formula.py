"""Tier 1, formula: the array's published closed forms, in numbers."""

from __future__ import annotations

import pytest

from accelsim.arch import ArrayArch
from accelsim.isa.protocol import ArrayWork
from accelsim.timing import IDLE_ARRAY, advance, array_interval_cycles


def array(dataflow="ws", weights="shadow", overlap="full", rows=16, cols=8) -> ArrayArch:
    return ArrayArch(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap)


def lone_cycles(arch: ArrayArch, work: ArrayWork) -> int:
    """From acceptance to the last write, both included."""
    accepted = 100
    _, landed, _ = advance(IDLE_ARRAY, work, accepted, arch)
    return landed - accepted + 1


@pytest.mark.parametrize(("k", "m"), [(1, 1), (16, 1), (3, 40), (16, 16)])
def test_a_lone_tile(k: int, m: int):
    rows, cols = 16, 8
    assert lone_cycles(array(), ArrayWork(1, k, m)) == k + m + rows + cols + 2
    assert lone_cycles(array(weights="single"), ArrayWork(1, k, m)) == k + m + rows + cols + 2
    assert lone_cycles(array(overlap="none"), ArrayWork(1, k, m)) == rows + m + rows + cols + 2
    block = ArrayWork(1, k, min(m, rows))
    for weights in ("shadow", "single"):
        for overlap in ("full", "none"):
            assert lone_cycles(array("os", weights, overlap), block) == k + 2 * rows + cols + 2


@pytest.mark.parametrize(("k", "m"), [(1, 1), (16, 1), (3, 40), (16, 16)])
def test_equal_tiles_follow_each_other(k: int, m: int):
    rows, cols, tiles = 16, 8, 5
    work = ArrayWork(tiles, k, m)
    for arch, period in [
        (array(), max(m, k)),
        (array(weights="single"), m + k),
        (array(overlap="none"), rows + m + rows + cols + 2),
    ]:
        assert array_interval_cycles(work, arch) == tiles * period
        one = lone_cycles(arch, ArrayWork(1, k, m))
        assert lone_cycles(arch, work) == one + (tiles - 1) * period


@pytest.mark.parametrize(("k", "tiles"), [(1, 1), (3, 2), (16, 4)])
def test_equal_blocks_follow_each_other(k: int, tiles: int):
    rows, cols, blocks = 16, 8, 3
    whole = k * tiles  # the reduction a PE does for one block
    work = ArrayWork(tiles, k, blocks * rows - 5)
    for arch, period in [
        (array("os"), max(whole, rows)),
        (array("os", "single"), whole + rows),
        (array("os", overlap="none"), whole + 2 * rows + cols + 2),
    ]:
        assert array_interval_cycles(work, arch) == blocks * period
        assert lone_cycles(arch, work) == whole + 2 * rows + cols + 2 + (blocks - 1) * period


def test_unequal_tiles_by_hand():
    """ws 4x4: (k, m) = (4, 2), (2, 9), (4, 4), each accepted as early as it may be."""
    arch = array(rows=4, cols=4)
    accepted, free, state, seen = 10, 0, IDLE_ARRAY, []
    for k, m in [(4, 2), (2, 9), (4, 4)]:
        free, landed, state = advance(state, ArrayWork(1, k, m), accepted, arch)
        seen.append((accepted, state.load, state.stream, free, landed))
        accepted = free
    # Second: its weights may come in from 15 on (the shadow registers are free when the first tile streams).
    # Third: its weights wait in the shadow registers until the nine rows are through.
    assert seen == [(10, 11, 15, 14, 25), (14, 15, 17, 16, 34), (16, 17, 26, 20, 38)]
