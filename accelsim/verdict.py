"""One line per layer that says what its time was spent on, from the trace alone.

Three things can be busy all the time and so bound a layer: the array, the vector unit and the DRAM port. If one of
them was busy for at least :data:`BOUND` of the layer's cycles, the busiest is named; otherwise the largest part of the
cycle split. The port counts only if at least half of what it moves is the layer's own: loading ahead for other layers
at full rate holds nobody up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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
_LOADED_INTO = {Memory.WGT: WEIGHT, Memory.UB: ACTIVATION, Memory.PARAM: PARAMETER, Memory.ACC: PARAMETER}

_STALLS = {
    "array": "no unit is busy throughout",
    "weight_load": "waits for weights to enter the array",
    "alu": "waits for the vector unit",
    "dram": "waits for DRAM latency",
    "fill_drain": "waits for the array to fill and drain",
    "store": "waits for its stores",
    "dispatch": "waits for instructions and tokens",
}


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
        self._kind = np.array([_kind(trace, i, loaded_into) for i in moved.tolist()] + [INSTRUCTION] * words)
        self._layer = np.concatenate([layers[moved], layers])

    def cycles(self, layer: int, start: int, stop: int) -> Traffic:
        """Port cycles in ``[start, stop)``, the largest first; own traffic is that of ``layer``."""
        inside = np.minimum(self._stop, stop) - np.maximum(self._start, start)
        spent = self._cycles * np.clip(inside / np.maximum(self._stop - self._start, 1e-9), 0, 1)
        totals: Traffic = {}
        for kind in np.unique(self._kind).tolist():
            for own in (True, False):
                total = float(spent[(self._kind == kind) & ((self._layer == layer) == own)].sum())
                if total:
                    totals[kind, own] = total
        return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _kind(trace: Trace, index: int, loaded_into: Sequence[Memory | None] | None) -> str:
    if trace.unit[index] == Unit.STORE:
        return OUTPUT
    memory = loaded_into[index] if loaded_into is not None else None
    return LOADED if memory is None else _LOADED_INTO[memory]


def vector_cycles(trace: Trace, start: int, stop: int) -> int:
    """Cycles in ``[start, stop)`` in which an alu instruction is between acceptance and landing."""
    mine = trace.kind == Kind.VECTOR
    inside = np.minimum(trace.landed[mine] + 1, stop) - np.maximum(trace.accepted[mine], start)
    return int(np.maximum(inside, 0).sum())


def verdict(split: Mapping[str, int], vector: int, port: Traffic) -> str:
    """The line for a layer: its cycle split, the vector unit's busy cycles and the port's traffic."""
    cycles = sum(split.values())
    if cycles == 0:
        return "hidden behind its neighbours"
    used = sum(port.values()) / cycles
    own = sum(part for (_, mine), part in port.items() if mine) / cycles
    shares = {
        "array": (split["array"] + split["weight_load"]) / cycles,
        "vector": vector / cycles,
        "port": min(1.0, used if own >= used / 2 else own),
    }
    busiest = max(shares, key=lambda name: shares[name])
    if shares[busiest] < BOUND:
        return _stalled(split, vector / cycles, used, own)
    if busiest == "port":
        return _port_bound(port, used, own)
    if busiest == "vector":
        return f"bound by the vector unit: busy in {_percent(vector / cycles)} of its cycles"
    if split["weight_load"] > split["array"]:
        share = _percent(split["weight_load"] / cycles)
        return f"bound by shifting weights into the array: {share} of its cycles"
    return f"bound by the array: {_percent(split['array'] / cycles)} of its cycles stream rows"


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


def _stalled(split: Mapping[str, int], vector: float, used: float, own: float) -> str:
    """Nothing was busy throughout: the largest part of the split, then what else was busy."""
    cycles = sum(split.values())
    name = max(split, key=lambda part: split[part])
    share = _percent(split[name] / cycles)
    if name == "dram" and used >= BOUND:
        return f"waits for its data behind other layers' traffic: {share} of its cycles (port {_percent(used)})"
    text = f"{_STALLS[name]}: array {share}" if name == "array" else f"{_STALLS[name]}: {share} of its cycles"
    others = {
        "array": split["array"] / cycles if name != "array" else 0.0,
        "vector unit": vector if name != "alu" else 0.0,
        "port" if own >= used / 2 else "port for other layers": min(1.0, used),
    }
    more = [f"{other} {_percent(share)}" for other, share in others.items() if share >= BESIDE]
    return f"{text} ({', '.join(more)})" if more else text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
