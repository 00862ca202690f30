"""A run as a trace file for the Perfetto viewer (Chrome's JSON format): one cycle of the machine is 1 us there.

``docs/trace.md`` says what each track, counter and arrow means. The text is put together by hand because the json
module would take ten times as long.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.isa.instructions import members
from accelsim.isa.program import Program
from accelsim.isa.protocol import Unit
from accelsim.isa.text import format_instruction
from accelsim.occupancy import occupancy
from accelsim.trace import Kind, Requester, Span, Trace

UNITS, PORT, QUEUES, BUFFERS = 1, 2, 3, 4  # processes of the viewer
LAYERS, FETCH, FIRST_UNIT = 1, 2, 3  # threads of the process UNITS

_SLICE, _COUNTER, _ARROW = 0, 1, 2  # order of what happens in one cycle: arrows look for the slice they start in


def trace_text(program: Program, trace: Trace, arch: Arch, *, title: str, version: str, program_hash: str) -> str:
    """The trace file's text: events in order of time, slices of a track never overlapping."""
    writer = _Writer()
    _layers(writer, program, trace)
    _fetch(writer, program, trace)
    stops = _units(writer, program, trace)
    _port(writer, program, trace, arch)
    _queues(writer, trace)
    _tokens(writer, program, trace, stops)
    for memory, (cycles, used) in occupancy(program, trace, arch).items():
        writer.counter(BUFFERS, f"{memory.name} in use", "(bytes)", cycles.tolist(), used.tolist())
    other = {
        "accelsim": version,
        "title": title,
        "time_unit": "1 cycle of the machine is shown as 1 us",
        "clock_hz": _number(arch.clock_hz),
        "cycle_ns": float(10**9 / arch.clock_hz),
        "cycles": trace.cycles,
        "program_hash": program_hash,
        "arch_hash": arch.full_hash,
        "arch": arch.to_dict(),
    }
    head = '{"displayTimeUnit":"ms","otherData":' + json.dumps(other) + ',"traceEvents":[\n'
    return head + ",\n".join([*_names(title, arch), *writer.sorted()]) + "\n]}\n"


def trace_bytes(text: str, file_name: str) -> bytes:
    """The file's content: compressed when ``file_name`` ends in ``.gz``; the same bytes for the same text."""
    data = text.encode()
    return gzip.compress(data, 6, mtime=0) if file_name.lower().endswith(".gz") else data


class _Writer:
    """Collects events as text and puts them in order of time."""

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._texts: list[str] = []

    def slice(self, process: int, thread: int, start: int, stop: int, name: str, sort: str, args: str) -> None:
        """``name`` and ``args`` are JSON already (a string with quotes, an object)."""
        self._keys.append(4 * start + _SLICE)
        self._texts.append(
            f'{{"ph":"X","pid":{process},"tid":{thread},"ts":{start},"dur":{stop - start},"name":{name},'
            f'"cat":"{sort}","args":{args}}}'
        )

    def counter(self, process: int, name: str, unit: str, cycles: Iterable[int], values: Iterable[int]) -> None:
        """``values[i]`` holds from ``cycles[i]`` on."""
        head = f'{{"ph":"C","pid":{process},"name":"{name}","ts":'
        for cycle, value in zip(cycles, values):
            self._keys.append(4 * cycle + _COUNTER)
            self._texts.append(f'{head}{cycle},"args":{{"{unit}":{value}}}}}')

    def arrow(self, number: int, name: str, start: tuple[int, int], stop: tuple[int, int]) -> None:
        """From ``(thread, cycle)`` to ``(thread, cycle)`` of the units; each cycle lies inside the slice meant."""
        for phase, (thread, cycle), bind in (("s", start, ""), ("f", stop, ',"bp":"e"')):
            self._keys.append(4 * cycle + _ARROW)
            self._texts.append(
                f'{{"ph":"{phase}"{bind},"id":{number},"pid":{UNITS},"tid":{thread},"ts":{cycle},'
                f'"name":"{name}","cat":"token"}}'
            )

    def sorted(self) -> Iterator[str]:
        order = np.argsort(np.array(self._keys, np.int64), kind="stable")
        return (self._texts[place] for place in order.tolist())


# ------------------------------------------------------------------------------------------------- tracks


def _names(title: str, arch: Arch) -> Iterator[str]:
    """Names and order of the tracks."""
    processes = {
        UNITS: f"{title} on {arch.name} (1 cycle = 1 us)", PORT: "DRAM port", QUEUES: "queues and tokens",
        BUFFERS: "buffers",
    }  # fmt: skip
    threads = {(UNITS, LAYERS): "layers", (UNITS, FETCH): "fetch and dispatch"}
    threads |= {(UNITS, FIRST_UNIT + unit): unit.name.lower() for unit in Unit}
    threads |= {(PORT, 1 + Requester.FETCH): "fetch: last burst of each word"}
    threads |= {(PORT, 1 + Requester.LOAD): "load: first to last burst"}
    threads |= {(PORT, 1 + Requester.STORE): "store: first to last burst"}
    for process, name in processes.items():
        yield _meta(process, 0, "process_name", {"name": name})
        yield _meta(process, 0, "process_sort_index", {"sort_index": process})
    for (process, thread), name in threads.items():
        yield _meta(process, thread, "thread_name", {"name": name})
        yield _meta(process, thread, "thread_sort_index", {"sort_index": thread})


def _meta(process: int, thread: int, kind: str, args: dict[str, str | int]) -> str:
    return f'{{"ph":"M","pid":{process},"tid":{thread},"name":"{kind}","args":{json.dumps(args)}}}'


def _layers(writer: _Writer, program: Program, trace: Trace) -> None:
    if len(program.layer_of) != len(program.instructions):
        return
    start = 0
    for name, stop in zip(program.layers, trace.layer_ends(program.layer_of, len(program.layers)).tolist()):
        if stop > start:
            args = json.dumps(trace.cycle_split(start, stop))
            writer.slice(UNITS, LAYERS, start, stop, _quoted(name), "layer", args)
        start = stop


def _fetch(writer: _Writer, program: Program, trace: Trace) -> None:
    """Dispatch puts one word a cycle into a queue; before that it waits for the word or for room in the queue."""
    at = 0
    arrived, dispatched = trace.arrived.tolist(), trace.dispatched.tolist()
    for index, (instr, arrival, cycle) in enumerate(zip(program.instructions, arrived, dispatched)):
        here = min(max(at, arrival + 1), cycle)
        unit, args = instr.unit.name.lower(), f'{{"index":{index}}}'
        if here > at:
            writer.slice(UNITS, FETCH, at, here, '"port"', "wait", args)
        if cycle > here:
            writer.slice(UNITS, FETCH, here, cycle, f'"queue:{unit}"', "wait", args)
        writer.slice(UNITS, FETCH, cycle, cycle + 1, f'"to {unit}"', "busy", args)
        at = cycle + 1
    if at < trace.cycles:
        writer.slice(UNITS, FETCH, at, trace.cycles, '"done"', "wait", "{}")


def _units(writer: _Writer, program: Program, trace: Trace) -> list[int]:
    """Busy and waiting time of each unit; returns the end of every instruction's busy slice."""
    stops = [0] * len(program.instructions)
    labels = _Labels(program)
    accepted, landed = trace.accepted.tolist(), trace.landed.tolist()
    for unit in Unit:
        thread = FIRST_UNIT + unit
        for span in trace.spans(unit):
            index = span.index
            if span.wait:
                args = f'{{"index":{index}}}' if index >= 0 else "{}"
                writer.slice(UNITS, thread, span.start, span.stop, f'"{span.wait}"', "wait", args)
            else:
                stops[index] = span.stop
                args = labels.args(span, accepted[index], landed[index])
                writer.slice(UNITS, thread, span.start, span.stop, labels.name(index), "busy", args)
    return stops


class _Labels:
    """What a busy slice says of its instruction."""

    def __init__(self, program: Program) -> None:
        count = len(program.instructions)
        self._texts = [format_instruction(instr) for instr in program.instructions]
        known = len(program.layer_of) == count
        self._layers = [program.layers[i] if i >= 0 else "" for i in program.layer_of] if known else [""] * count
        self._tiles = program.tile_of if len(program.tile_of) == count else ("",) * count

    def name(self, index: int) -> str:
        mnemonic = self._texts[index].partition(" ")[0]
        return _quoted(f"{mnemonic} {self._layers[index]}".strip())

    def args(self, span: Span, accepted: int, landed: int) -> str:
        index = span.index
        return (
            f'{{"index":{index},"asm":"{self._texts[index]}","layer":{_quoted(self._layers[index])},'
            f'"tile":{_quoted(self._tiles[index])},"accepted":{accepted},"landed":{landed}}}'
        )


def _port(writer: _Writer, program: Program, trace: Trace, arch: Arch) -> None:
    """Per requester, when its transfers had the port: from the first burst to the end of the last."""
    burst = -(-arch.dram.burst_bytes // arch.dram.bytes_per_cycle)
    for start, stop, first, last in _fetched(trace, arch.dram.latency, burst):
        words = f'"words {first}..{last}"' if last > first else f'"word {first}"'
        writer.slice(PORT, 1 + Requester.FETCH, start, stop, words, "transfer", "{}")
    for who, unit in ((Requester.LOAD, Unit.LOAD), (Requester.STORE, Unit.STORE)):
        mine = np.flatnonzero((trace.unit == unit) & (trace.kind == Kind.TRANSFER) & (trace.bursts > 0))
        starts = trace.started[mine]
        following = np.append(starts[1:], trace.cycles)
        stops = np.minimum(trace.free[mine] + burst, following)
        columns = (mine, starts, stops, trace.bursts[mine])
        for index, start, stop, bursts in zip(*(column.tolist() for column in columns)):
            args = f'{{"index":{index},"bursts":{bursts},"bytes":{bursts * arch.dram.burst_bytes}}}'
            name = _quoted(f"{unit.name.lower()} {_layer_name(program, index)}".strip())
            writer.slice(PORT, 1 + who, start, stop, name, "transfer", args)


def _fetched(trace: Trace, latency: int, burst: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, stop, first word, last word) of the bursts that bring in a word's last byte, by when they arrive."""
    ends, first = np.unique(np.maximum.accumulate(trace.arrived - latency + 1), return_index=True)
    starts = np.maximum(ends - burst, trace.requested[first])
    at = 0
    last = np.append(first[1:], len(trace.arrived)) - 1
    for start, stop, head, tail in zip(starts.tolist(), ends.tolist(), first.tolist(), last.tolist()):
        if stop > max(at, start):
            yield max(at, start), stop, head, tail
            at = stop


# ---------------------------------------------------------------------------------------- counters, arrows


def _queues(writer: _Writer, trace: Trace) -> None:
    """Instructions in each unit's queue, as seen in a cycle."""
    for unit in Unit:
        mine = trace.unit == unit
        steps = _steps(trace.dispatched[mine] + 1, trace.accepted[mine] + 1)
        writer.counter(QUEUES, f"queue of {unit.name.lower()}", "(instructions)", *steps)


def _steps(up: NDArray[np.int64], down: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Cycles and values of a counter that starts at 0, rises in ``up`` and falls in ``down``."""
    edges = np.concatenate([np.zeros(1, np.int64), up, down])
    cycles, group = np.unique(edges, return_inverse=True)
    change = np.zeros(len(cycles), np.int64)
    np.add.at(change, group, np.repeat(np.array([0, 1, -1]), (1, len(up), len(down))))
    return cycles.tolist(), np.cumsum(change).tolist()


def _tokens(writer: _Writer, program: Program, trace: Trace, stops: Sequence[int]) -> None:
    """An arrow per token from giver to taker, and per pair a counter of the tokens given and not yet taken."""
    given: defaultdict[tuple[Unit, Unit], deque[int]] = defaultdict(deque)
    pairs: defaultdict[tuple[Unit, Unit], list[tuple[int, int]]] = defaultdict(list)
    for index, instr in enumerate(program.instructions):
        for giver in members(instr.wait):
            pairs[giver, instr.unit].append((given[giver, instr.unit].popleft(), index))
        for taker in members(instr.signal):
            given[instr.unit, taker].append(index)
    accepted, landed = trace.accepted.tolist(), trace.landed.tolist()
    number = 0
    for (giver, taker), met in sorted(pairs.items()):
        name = f"{giver.name.lower()} to {taker.name.lower()}"
        for source, target in met:
            # The token leaves at the landing; the giver's slice may have ended before, with its next instruction.
            leaves = min(landed[source], stops[source] - 1)
            number += 1
            writer.arrow(number, name, (FIRST_UNIT + giver, leaves), (FIRST_UNIT + taker, accepted[target]))
        ready = np.array([landed[source] + 1 for source, _ in met], np.int64)
        taken = np.array([accepted[target] + 1 for _, target in met], np.int64)
        writer.counter(QUEUES, f"tokens {name}", "(tokens)", *_steps(ready, taken))


def _layer_name(program: Program, index: int) -> str:
    layer = program.layer_of[index] if index < len(program.layer_of) else -1
    return program.layers[layer] if layer >= 0 else ""


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(text)


def _number(value: object) -> int | str:
    text = str(value)
    return int(text) if text.isdigit() else text
