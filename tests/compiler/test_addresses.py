"""Addresses of homes: nothing alive overlaps, the best of several orders, the largest gap against every byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.compiler.addresses import Life, mapped
from accelsim.compiler.home import Home

CHAINS, UB = 5, 40


def home(name: str, size: int) -> Home:
    return Home(tensor=name, base=0, height=1, width=1, channels=size, border=(0, 0, 0, 0), held=1, images=1)


@st.composite
def cases(draw):
    sizes = draw(st.lists(st.integers(1, 15), min_size=1, max_size=6))
    lives = {}
    for i in range(len(sizes)):
        first = draw(st.integers(0, CHAINS - 1))
        lives[f"t{i}"] = Life(first, draw(st.integers(first, CHAINS - 1)), (1,))
    needs = draw(st.lists(st.integers(0, 10), min_size=CHAINS, max_size=CHAINS))
    return [home(f"t{i}", size) for i, size in enumerate(sizes)], lives, needs


@settings(max_examples=300, deadline=None, derandomize=True)
@given(cases())
def test_homes_and_workspaces_against_a_map_of_bytes(case):
    homes, lives, needs = case
    found = mapped(homes, lives, needs, UB)
    assert {h.tensor: h.bytes for h in found.homes.values()} == {h.tensor: h.bytes for h in homes}
    inside = True
    for t in range(CHAINS):
        owner = np.full(3 * UB, -1)
        for number, (name, h) in enumerate(found.homes.items()):
            if lives[name].first <= t <= lives[name].last:
                assert (owner[h.base : h.base + h.bytes] == -1).all()
                owner[h.base : h.base + h.bytes] = number
        inside &= bool((owner[UB:] == -1).all())
        runs = "".join("." if who == -1 else "#" for who in owner[:UB]).split("#")
        base, size = found.gaps[t]
        assert size == max(len(run) for run in runs)
        assert (owner[base : base + size] == -1).all()
        assert (t in found.tight) == (needs[t] > size)
    assert found.fits == (inside and not found.tight)


def test_orders_are_tried_until_one_fits():
    """In order of first use, the small one in the middle of the free space leaves no room for the last one."""
    homes = [home("a", 10), home("b", 10), home("c", 30)]
    lives = {"a": Life(0, 0, (1,)), "b": Life(0, 1, (1,)), "c": Life(1, 1, (1,))}
    found = mapped(homes, lives, [0, 0], UB)
    assert found.fits
    assert {name: h.base for name, h in found.homes.items()} == {"c": 0, "b": 30, "a": 0}


def test_without_an_order_that_fits_the_first_one_is_given():
    homes = [home("a", 30), home("b", 30)]
    lives = {"a": Life(0, 1, (1,)), "b": Life(1, 1, (1,))}
    found = mapped(homes, lives, [0, 15], UB)
    assert not found.fits
    assert {name: h.base for name, h in found.homes.items()} == {"a": 0, "b": 30}
    assert found.tight == (1,)
