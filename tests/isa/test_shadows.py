"""Spans and shadows against sets of bytes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.isa.footprint import footprint
from accelsim.isa.protocol import Memory, Region
from accelsim.isa.shadows import CHUNK, LOOK_BACK, Frame, Log, Spans, apart, common_granule, share
from tests.oracles.happens_before import byte_masks

SIZE = 500


def moved(one, by):
    return one._replace(start=one.start + by, stop=one.stop + by)


def mask(*regions):
    return byte_masks(regions)[Memory.UB]


@st.composite
def regions(draw, size=SIZE):
    """Footprints within a memory; strides are often equal, so that runs interleave."""
    run, loops, room = draw(st.integers(1, 12)), [], size
    room -= run
    for _ in range(draw(st.integers(0, 2))):
        stride = draw(st.sampled_from((16, 32, 48)) if draw(st.integers(0, 3)) else st.integers(1, 60))
        count = draw(st.sampled_from((2, 3, 4, 5, 12)))
        if (count - 1) * stride <= room:
            loops.append((count, stride))
            room -= (count - 1) * stride
    return footprint(Region(Memory.UB, draw(st.integers(0, room)), run, tuple(loops)))


def test_two_regions_against_their_bytes():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=500)
    @given(regions(), regions())
    def compare(one, other):
        shared = bool(mask(one) & mask(other))
        assert not (apart(one, other) and shared)
        assert apart(one, other) == apart(other, one)
        assert share(one, other) in (shared, None)
        near = one.start < other.stop and other.start < one.stop
        seen["apart", apart(one, other), near] += 1
        seen["share", share(one, other), near] += 1

    compare()
    assert min(seen["apart", True, True], seen["share", False, True]) > 10


def test_too_many_iterations_to_compare():
    """Windows that drift past each other meet late or never; a log paints them and knows."""
    one = footprint(Region(Memory.UB, 0, 2, ((40, 300),)))
    for stride, meets in ((301, False), (299, True)):
        other = footprint(Region(Memory.UB, 19, 2, ((20, stride),)))
        assert bool(mask(one) & mask(other)) == meets
        assert share(one, other) is None
        log = Log(Frame(0, 20_000))
        log.add(1, one)
        assert log.latest(other, 0) == meets


def test_channel_blocks_of_the_same_pixels_are_apart():
    first = footprint(Region(Memory.UB, 100, 16, ((27, 1920), (27, 64))))
    for block in (1, 2, 3):
        assert apart(first, moved(first, 16 * block))
    assert not apart(first, moved(first, 8))


def test_a_log_finds_the_latest_access_to_a_region():
    seen = Counter()

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.lists(regions(60), min_size=1, max_size=6), regions(), st.data())
    def compare(pool, region, data):
        extra = data.draw(st.sampled_from((0, 3, CHUNK, 40, CHUNK * LOOK_BACK + 20)))
        log, listed = Log(Frame(0, SIZE)), []
        far = data.draw(st.integers(0, (1 << 16) - 1))
        for place in range(1, len(pool) + extra + 1):
            one = pool[place % len(pool)]
            if far >> place % 16 & 1:
                one = moved(one, SIZE - 60)
            log.add(place, one)
            listed.append(one)
        landed = data.draw(st.integers(0, len(listed)))
        places = [place for place, one in enumerate(listed, 1) if place > landed and mask(one) & mask(region)]
        assert log.latest(region, landed) == max(places, default=0)
        assert log.newest == len(listed)
        latest = [max([0, *(p for p, one in enumerate(listed, 1) if mask(one) >> b & 1)]) for b in range(SIZE)]
        assert log.shadow().tolist() == latest
        seen[bool(places), len(listed) // CHUNK > LOOK_BACK, len(listed) > CHUNK] += 1

    compare()
    assert min(seen[found, far, near] for found in (True, False) for far, near in ((0, 0), (0, 1), (1, 1))) > 2


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(regions(), max_size=5), st.lists(regions(), max_size=5))
def test_a_shadow_can_be_asked_between_two_accesses(before, after):
    log, whole = Log(Frame(0, SIZE)), Log(Frame(0, SIZE))
    for place, region in enumerate(before + after, 1):
        if place == len(before) + 1:
            log.shadow()
        log.add(place, region)
        whole.add(place, region)
    assert (log.shadow() == whole.shadow()).all()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_spans_are_a_set_of_bytes(pairs):
    spans, held = Spans(), set()
    for low, high in pairs:
        spans.add(low, high)
        held |= set(range(low, high))
        listed = list(spans)
        assert {byte for a, b in listed for byte in range(a, b)} == held
        assert all(a < b for a, b in listed)
        assert all(one[1] < other[0] for one, other in pairwise(listed))
        for a, b in pairs:
            if a < b:
                assert spans.cover(a, b) == held.issuperset(range(a, b))
    assert list(Spans(pairs)) == list(spans)


def test_granules():
    assert common_granule([]) == 1
    strided, eight = Region(Memory.UB, 32, 16, ((3, 64),)), Region(Memory.UB, 48, 8)
    assert common_granule(map(footprint, [strided, eight])) == 8
    assert common_granule(map(footprint, [strided, eight, Region(Memory.UB, 33, 16)])) == 1
