"""One line per layer that says what its time was spent on, from the trace alone.

Three things can be busy all the time and so bound a layer: the array, the vector unit and the DRAM port. If one of
them was busy for at least :data:`BOUND` of the layer's cycles, the busiest is named; otherwise the largest part of the
cycle split, and behind the array also what the layer waits for most. Work for other layers counts only if at least half
of what the unit does is the layer's own: loading ahead, or the next layer's gemms, at full rate hold nobody up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.protocol import Memory, Unit
from accelsim.trace import Kind, Trace

BOUND = 0.75  # of the cycles
MOSTLY = 0.6  # of the traffic: below that no single kind is named
TRACE = 0.05  # a smaller part of the traffic is not mentioned
BESIDE = 0.1  # nor a unit that was busy less than this beside the wait that is named

Traffic = dict[tuple[str, bool], float]
"""Port cycles by kind of traffic and by whether a layer's own instructions caused it."""

WEIGHT, ACTIVATION, PARAMETER, LOADED, OUTPUT, INSTRUCTION = (
    "weight", "activation", "parameter", "load", "output", "instruction",
)  # fmt: skip
_KINDS = tuple(sorted((WEIGHT, ACTIVATION, PARAMETER, LOADED, OUTPUT, INSTRUCTION)))
_LOADED_INTO = {Memory.WGT: WEIGHT, Memory.UB: ACTIVATION, Memory.PARAM: PARAMETER, Memory.ACC: PARAMETER}

_STALLS = {
    "alu": "waits for the vector unit",
    "dram": "waits for DRAM latency",
    "fill_drain": "waits for the array to fill and drain",
    "store": "waits for its stores",
    "dispatch": "waits for instructions and tokens",
}
_WAITING = {Unit.LOAD: "load", Unit.GEMM: "array", Unit.ALU: "vector unit", Unit.STORE: "store"}


class PortUse:
    """How much of the DRAM port each kind of traffic took, over any stretch of time.

    A transfer's bursts are taken to be spread evenly from its first to its last grant; a fetched word lies just
    before it arrived. ``layer_of`` gives each instruction's layer, ``loaded_into`` the memory that each load fills;
    without it loads are not told apart. A DRAM device slower than the port is busy all the time at its own peak.
    """

    def __init__(
        self,
        trace: Trace,
        arch: Arch,
        layer_of: Sequence[int],
        loaded_into: Sequence[Memory | None] | None = None,
    ) -> None:
        burst = float(arch.dram.burst_bytes / arch.dram_bytes_per_cycle)
        moved = np.flatnonzero((trace.kind == Kind.TRANSFER) & (trace.bursts > 0))
        words = len(trace.arrived)
        fetched = trace.arrived - arch.dram.latency + 1
        length = burst * trace.port_bursts[0] / words if words else 0.0
        layers = np.asarray(layer_of, dtype=np.int64)
        self._start = np.concatenate([trace.started[moved], fetched - length])
        self._stop = np.concatenate([trace.free[moved] + burst, fetched])
        self._cycles = np.concatenate([trace.bursts[moved] * burst, np.full(words, length)])
        kinds = [_kind(trace, i, loaded_into) for i in moved.tolist()]
        self._kind = np.array([*map(_KINDS.index, kinds), *[_KINDS.index(INSTRUCTION)] * words], np.int64)
        self._layer = np.concatenate([layers[moved], layers])

    def cycles(self, layer: int, start: int, stop: int) -> Traffic:
        """Port cycles in ``[start, stop)``, the largest first; own traffic is that of ``layer``."""
        inside = np.minimum(self._stop, stop) - np.maximum(self._start, start)
        spent = self._cycles * np.clip(inside / np.maximum(self._stop - self._start, 1e-9), 0, 1)
        mine = self._layer == layer
        totals: Traffic = {}
        for number, kind in enumerate(_KINDS):
            for own in (True, False):
                total = float(spent[(self._kind == number) & (mine == own)].sum())
                if total:
                    totals[kind, own] = total
        return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _kind(trace: Trace, index: int, loaded_into: Sequence[Memory | None] | None) -> str:
    if trace.unit[index] == Unit.STORE:
        return OUTPUT
    memory = loaded_into[index] if loaded_into is not None else None
    return LOADED if memory is None else _LOADED_INTO[memory]


class Busy(NamedTuple):
    """Cycles of a layer: array time (rows or weights enter) for its own gemms, vector unit busy in all and with the
    layer's own instructions, most that one unit, ``waiting``, waited for banks of UB with them.
    """

    own_array: int = 0
    vector: int = 0
    own_vector: int = 0
    bank: int = 0
    waiting: str = ""


def busy(trace: Trace, layer_of: Sequence[int], layer: int, start: int, stop: int) -> Busy:
    """What the units did in ``[start, stop)``, the time of layer ``layer``."""
    own = np.asarray(layer_of, dtype=np.int64) == layer
    vector = trace.kind == Kind.VECTOR
    waits: list[tuple[int, str]] = []
    for unit in Unit:
        index, since, accepted = trace.bank_waits(unit)
        mine = own[index]
        waits.append((_overlap(since[mine], accepted[mine], start, stop), _WAITING[unit]))
    bank, waiting = max(waits, key=lambda wait: wait[0])
    return Busy(
        own_array=trace.array_cycles(start, stop, own),
        vector=vector_cycles(trace, start, stop, vector),
        own_vector=vector_cycles(trace, start, stop, vector & own),
        bank=bank,
        waiting=waiting,
    )


def vector_cycles(trace: Trace, start: int, stop: int, mine: NDArray[np.bool_] | None = None) -> int:
    """Cycles in ``[start, stop)`` in which an alu instruction (one of ``mine``) is between acceptance and landing."""
    if mine is None:
        mine = trace.kind == Kind.VECTOR
    return _overlap(trace.accepted[mine], trace.landed[mine] + 1, start, stop)


def _overlap(begin: NDArray[np.int64], end: NDArray[np.int64], start: int, stop: int) -> int:
    return int(np.maximum(np.minimum(end, stop) - np.maximum(begin, start), 0).sum())


class _Share(NamedTuple):
    """Shares of the layer's cycles in which a unit was busy: for anybody, and for the layer."""

    used: float
    own: float

    @property
    def mine(self) -> bool:
        return self.own >= self.used / 2

    @property
    def counts(self) -> float:
        return min(1.0, self.used if self.mine else self.own)


def verdict(split: Mapping[str, int], busy: Busy, port: Traffic) -> str:
    """The line for a layer: its cycle split, what the units did, and the port's traffic."""
    cycles = sum(split.values())
    if cycles == 0:
        return "hidden behind its neighbours"
    shares = {
        "array": _Share((split["array"] + split["weight_load"]) / cycles, busy.own_array / cycles),
        "vector unit": _Share(busy.vector / cycles, busy.own_vector / cycles),
        "port": _Share(sum(port.values()) / cycles, sum(part for (_, mine), part in port.items() if mine) / cycles),
    }
    # A unit that works for others alone must not win a tie.
    busiest = max(shares, key=lambda name: (shares[name].counts, shares[name].own))
    share = shares[busiest]
    if share.counts < BOUND:
        return _stalled(split, busy, shares)
    if busiest == "port":
        return _port_bound(port, share.used, share.own)
    text = f"busy in {_percent(share.counts)} of its cycles"
    if busiest == "array":
        shifting = split["weight_load"] / cycles
        told = f", shifting weights in {_percent(shifting)}" if shifting >= TRACE else ""
        what = "shifting weights into the array" if split["weight_load"] > split["array"] else "the array"
        text = f"bound by {what}: {text}{told}"
    else:
        text = f"bound by the vector unit: {text}"
    ahead = 1 - share.own / share.used
    return f"{text}, {_percent(ahead)} of that for other layers" if share.mine and ahead >= TRACE else text


def _port_bound(port: Traffic, used: float, own: float) -> str:
    """``used`` and ``own``: shares of the layer's cycles in which the port moved anything, and what the layer needs."""
    whole, kinds = sum(port.values()), {}
    for (kind, _), part in port.items():
        kinds[kind] = kinds.get(kind, 0.0) + min(used, 1.0) * part / whole
    kind = max(kinds, key=lambda name: kinds[name])
    ahead = 1 - own / used
    told = f", {_percent(ahead)} of that for other layers" if ahead >= TRACE else ""
    if kinds[kind] >= MOSTLY * sum(kinds.values()):
        return f"bound by {kind} traffic: {_percent(kinds[kind])} of the port{told}"
    parts = ", ".join(f"{name} {_percent(share)}" for name, share in kinds.items() if share >= TRACE)
    return f"bound by DRAM traffic: {_percent(min(used, 1.0))} of the port ({parts}){told}"


def _stalled(split: Mapping[str, int], busy: Busy, shares: Mapping[str, _Share]) -> str:
    """Nothing was busy throughout: the largest part of the split, behind the array the next one or a longer wait for
    banks (it lies beside the parts: other units are busy meanwhile), then what else was busy.
    """
    cycles = sum(split.values())
    array, vector, port = shares["array"], shares["vector unit"], shares["port"]
    wait = max(_STALLS, key=lambda name: split[name])
    part, told = split[wait] / cycles, _STALLS[wait]
    if wait == "dram" and port.used >= BOUND:
        told = "waits for its data behind other layers' traffic"
    bank = busy.bank / cycles
    shifting, others = split["weight_load"] / cycles, {name for name, share in shares.items() if not share.mine}
    beside = {"shifting weights": shifting, "vector unit": vector.used, "port": min(1.0, port.used)}
    if array.used < part:
        if wait == "alu":
            del beside["vector unit"]
        text = f"{told}: {_percent(part)} of its cycles"
        return text + _beside({"array": array.used, **beside, "banks of UB": bank}, others)
    text = f"array{'' if array.mine else ' for other layers'} {_percent(array.used)} of its cycles"
    if bank > part:
        text += f", {busy.waiting} waits for banks of UB {_percent(bank)}"
    else:
        text += f", {told} {_percent(part)}" if part else ""
        beside["banks of UB"] = bank
    return text + _beside(beside, others)


def _beside(parts: Mapping[str, float], others: Collection[str]) -> str:
    """What is worth telling of ``parts``, those of ``others`` as done for other layers."""
    told = {name: f"{name} {_percent(share)}" for name, share in parts.items() if share >= BESIDE}
    own = ", ".join(text for name, text in told.items() if name not in others)
    foreign = ", ".join(text for name, text in told.items() if name in others)
    texts = [own, f"for other layers: {foreign}" if foreign else ""]
    return f" ({'; '.join(filter(None, texts))})" if told else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
