"""Power over time: the energy of every instruction spread over the cycles in which it works."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from accelsim.actions import Action, Counts
from accelsim.arch import Arch
from accelsim.cyclesplit import distinct
from accelsim.energy import terms_of
from accelsim.timing import NS_PER_S
from accelsim.trace import Trace

_FETCHED = (Action.DRAM_FETCH, Action.INSTRUCTION)
_TIE_DIGITS = 6  # of a pJ: windows closer than that count as equal, and the first is taken


@dataclass(frozen=True, slots=True)
class Peak:
    """The window of ``cycles`` cycles from ``start`` on in which most energy was spent, and how much, in pJ."""

    start: int
    cycles: int
    pj: float


def peak_window(trace: Trace, counts: Counts, arch: Arch) -> Peak:
    """The costliest window of the machine's ``energy.window``, or of the whole run if that is shorter.

    An instruction's energy is spread evenly from its first cycle of work to its landing, that of its fetch from the
    request of its word to its arrival; constant power flows all the time.
    """
    length = min(trace.cycles, max(1, round(arch.energy.window_ns * arch.clock_hz / NS_PER_S)))
    terms = terms_of(arch)
    constant = sum((term.pj for term in terms if term.action is None), Fraction(0))
    times, spent = _spent(trace, counts, terms)
    starts = np.clip(np.concatenate([times, times - length, [0]]), 0, trace.cycles - length)
    gains = np.interp(starts + length, times, spent) - np.interp(starts, times, spent)
    gains = gains.round(_TIE_DIGITS)
    best = gains.max()
    return Peak(int(starts[gains == best].min()), length, float(best) + float(constant * length))


def _spent(trace: Trace, counts: Counts, terms: tuple) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy of work, pJ, before each of some cycles; between those it grows evenly."""
    price = np.zeros(len(Action))
    for term in terms:
        if term.action is not None:
            price[term.action] = float(term.pj)
    fetch = np.zeros(len(Action))
    fetch[list(_FETCHED)] = price[list(_FETCHED)]
    start = np.concatenate([trace.started, trace.requested])
    stop = np.maximum(np.concatenate([trace.landed, trace.arrived]), start) + 1
    pj = np.concatenate([counts @ (price - fetch), counts @ fetch])
    times = distinct(np.concatenate([start, stop]))
    rate = np.zeros(len(times))
    np.add.at(rate, np.searchsorted(times, start), pj / (stop - start))
    np.add.at(rate, np.searchsorted(times, stop), -pj / (stop - start))
    spent = np.concatenate([[0.0], np.cumsum(np.cumsum(rate)[:-1] * np.diff(times))])
    return times.astype(np.float64), spent
