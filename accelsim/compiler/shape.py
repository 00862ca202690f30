"""What a machine is without its speed: what is made for one shape holds for all machines of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import Lock

from accelsim.arch import Arch
from accelsim.compiler.memo import Memo


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A machine without what changes only how long its programs take. There is one object for each, compared as such:
    hashing all numbers of a machine takes longer than most of what is looked up by it."""

    arch: Arch


_RECENT = 8  # machines known by sight
_known: Memo[Shape] = Memo(1024)
_seen: OrderedDict[int, tuple[Arch, Shape]] = OrderedDict()  # by identity; the machine is held, so none takes its place
_lock = Lock()


def shape_of(arch: Arch) -> Shape:
    """The shape of a machine."""
    with _lock:
        if id(arch) in _seen:
            return _seen[id(arch)][1]
    bare = timeless(arch)
    shape = _known.get(bare, lambda: Shape(bare))
    with _lock:
        _seen[id(arch)] = arch, shape
        if len(_seen) > _RECENT:
            _seen.popitem(last=False)
    return shape


def timeless(arch: Arch) -> Arch:
    """A machine with the same value for everything that changes only how long its programs take."""
    one = Fraction(1)
    dram = replace(
        arch.dram, kind="flat", bytes_per_cycle=one, latency=0, outstanding=1,
        device=replace(arch.dram.device, peak_bytes_per_s=one),
    )  # fmt: skip
    return replace(arch, name="", clock_hz=one, dram=dram, queue_depth=1, prefetch_words=1)
