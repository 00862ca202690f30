"""The timeline file: what a viewer relies on, in the file's own terms, and what the counters mean, byte by byte."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim
from accelsim.arch import Arch
from accelsim.errors import ConfigError
from accelsim.execution import execute
from accelsim.isa.asm import parse_program
from accelsim.isa.effects import effects
from accelsim.isa.program import Program
from accelsim.isa.protocol import Memory, Region, Unit
from accelsim.machine_file import load_arch
from accelsim.occupancy import _by_atom, occupancy
from accelsim.perfetto import trace_text
from accelsim.result import Result
from accelsim.trace import Trace
from tests.command_line import PROGRAM, written
from tests.command_line import accelsim as command

Event = dict[str, Any]

RUNS = [
    ("lenet", "edge", {}, 1),
    ("lenet_tanh", "tiny", {"queue.depth": 2}, 1),
    ("lenet", "tpu_v1", {}, 1),
    ("lenet", "edge", {"array.dataflow": "os", "dram.bytes_per_cycle": "34/7", "dram.outstanding": 2}, 1),
    ("lenet", "mid", {"array.overlap": "none", "dram.burst_bytes": 16, "dram.latency": 0}, 1),
    ("lenet", "edge", {"dram.kind": "banked", "ub.ports": "shared"}, 1),
    ("lenet", "edge", {"dram.bytes_per_cycle": 200, "dram.burst_bytes": 64, "fetch.prefetch_words": 1}, 1),
]

# Two loads into one place, a strided read, a reduction into ACC, and bytes that nobody reads.
BUFFERS = """\
.region image int8 [64] = zeros input
.region out int8 [8] = zeros output
load memory=ub dram=image run=32 signal=gemm
load memory=wgt dram=image run=16 signal=gemm
load memory=ub fill dram=3 local=100 run=4 n0=3 ls0=10
gemm overwrite k=4 n=4 x=0 m0=3 xm0=8 am0=1 wait=load
sync on=gemm wait=load signal=alu,load
load memory=ub dram=image run=32 wait=gemm signal=alu
alu op=mov src_mem=acc src=0 dst_mem=ub dst=200 m0=3 sm0=1 dm0=4 n=4 wait=gemm
alu op=max src_mem=ub src=0 dst_mem=ub dst=200 operand=dst m0=2 sm0=8 dm0=4 n=4 wait=load signal=store
store memory=ub dram=out local=200 run=8 wait=alu
halt on=store
"""


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [
        accelsim.run(workload, arch=arch, set=changes, batch=batch, timing_only=True)
        for workload, arch, changes, batch in RUNS
    ]


@pytest.fixture(scope="module")
def small() -> tuple[Program, Trace, Arch]:
    arch = load_arch("tiny")
    program = parse_program(BUFFERS, arch)
    trace, _ = execute(program, arch=arch)
    assert trace is not None
    return program, trace, arch


def events_of(text: str) -> list[Event]:
    return json.loads(text)["traceEvents"]


def text_of(program: Program, trace: Trace, arch: Arch) -> str:
    return trace_text(program, trace, arch, title="case", version="0", program_hash="h")


def every_case(results: list[Result], small: tuple[Program, Trace, Arch]) -> list[tuple[Program, Trace, Arch]]:
    cases = [small]
    for result in results:
        assert result.trace is not None
        cases.append((result.program, result.trace, result.arch))
    return cases


def test_structure(results: list[Result], small: tuple[Program, Trace, Arch]) -> None:
    for program, trace, arch in every_case(results, small):
        events = events_of(text_of(program, trace, arch))
        timed = [event for event in events if event["ph"] != "M"]
        assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
        tracks = _slices(timed)
        names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
        assert set(tracks) <= set(names)
        for track, slices in tracks.items():
            assert all(one["dur"] > 0 for one in slices)
            for earlier, later in pairwise(slices):
                assert earlier["ts"] + earlier["dur"] <= later["ts"], names[track]
            assert slices[0]["ts"] >= 0
            assert slices[-1]["ts"] + slices[-1]["dur"] <= trace.cycles
        _check_counters(timed)
        _check_arrows(timed, tracks)


def _slices(events: list[Event]) -> dict[tuple[int, int], list[Event]]:
    tracks: defaultdict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return tracks


def _check_counters(events: list[Event]) -> None:
    counters: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            (value,) = event["args"].values()
            counters[event["name"]].append((event["ts"], value))
    assert {f"queue of {unit.name.lower()}" for unit in Unit} <= set(counters)
    for name, points in counters.items():
        assert all(value >= 0 for _, value in points), name
        assert points[0][0] == 0
        assert points[-1][1] == 0, name
        assert all(earlier < later for (earlier, _), (later, _) in pairwise(points)), name


def _check_arrows(events: list[Event], tracks: dict[tuple[int, int], list[Event]]) -> None:
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert len(starts) + len(ends) == len([event for event in events if event["ph"] in "sf"])
    assert set(starts) == set(ends)
    busy = {
        (track, cycle)
        for track, slices in tracks.items()
        for one in slices
        if one["cat"] == "busy"
        for cycle in (one["ts"], one["ts"] + one["dur"] - 1)
    }
    for number, start in starts.items():
        end = ends[number]
        assert start["ts"] < end["ts"]
        assert start["tid"] != end["tid"]
        assert ((end["pid"], end["tid"]), end["ts"]) in busy
        # At the end of the giver's slice, or at its start where giver and slice are one cycle long.
        assert ((start["pid"], start["tid"]), start["ts"]) in busy


def test_units_are_tiled_and_busy_slices_name_their_instruction(results: list[Result]) -> None:
    result = results[0]
    trace, program = result.trace, result.program
    assert trace is not None
    events = events_of(text_of(program, trace, result.arch))
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tracks = {names[track]: slices for track, slices in _slices(events).items()}
    for name in ("fetch and dispatch", "load", "gemm", "alu", "store", "layers"):
        assert sum(one["dur"] for one in tracks[name]) == trace.cycles, name
    for unit in Unit:
        slices = tracks[unit.name.lower()]
        busy = [one for one in slices if one["cat"] == "busy"]
        assert sum(one["dur"] for one in busy) == trace.busy_cycles(unit)
        waits: defaultdict[str, int] = defaultdict(int)
        for one in slices:
            if one["cat"] == "wait":
                waits[one["name"]] += one["dur"]
        assert dict(waits) == trace.wait_cycles(unit)
        assert [one["args"]["index"] for one in busy] == [
            index for index, instr in enumerate(program.instructions) if instr.unit == unit
        ]
        for one in busy:
            index = one["args"]["index"]
            assert one["args"]["asm"].split()[0] == one["name"].split()[0]
            assert one["args"]["layer"] in ("", *program.layers)
            assert (one["args"]["accepted"], one["args"]["landed"]) == (trace.accepted[index], trace.landed[index])
            assert one["ts"] == trace.accepted[index]
    moved = tracks["load: first to last burst"]
    assert sum(one["args"]["bursts"] for one in moved) == trace.port_bursts[1]
    assert [one["name"] for one in tracks["layers"]] == list(program.layers)


def test_queues_hold_no_more_than_their_depth(results: list[Result]) -> None:
    result = results[1]
    assert result.trace is not None
    events = events_of(text_of(result.program, result.trace, result.arch))
    held = [e["args"]["(instructions)"] for e in events if e["ph"] == "C" and e["name"].startswith("queue of")]
    assert max(held) == result.arch.queue_depth == 2


def test_the_file_says_what_it_shows(results: list[Result]) -> None:
    result = results[0]
    assert result.trace is not None
    other = json.loads(text_of(result.program, result.trace, result.arch))["otherData"]
    assert other["time_unit"] == "1 cycle of the machine is shown as 1 us"
    assert (other["clock_hz"], other["cycle_ns"], other["cycles"]) == (500_000_000, 2.0, result.trace.cycles)
    assert (other["arch"], other["arch_hash"]) == (result.arch.to_dict(), result.arch.full_hash)
    assert (other["title"], other["accelsim"], other["program_hash"]) == ("case", "0", "h")


# --------------------------------------------------------------------------------------------- occupancy


def bytes_of(region: Region) -> set[int]:
    """Every byte of a region, by its loops."""
    starts = [region.start]
    for count, stride in region.loops:
        starts = [start + i * stride for start in starts for i in range(count)]
    return {start + i for start in starts for i in range(region.run)}


def used_by_hand(program: Program, trace: Trace, arch: Arch, memory: Memory) -> list[int]:
    """Bytes in use in every cycle: each byte's values, each from its write's landing to its last reader's."""
    alive = [0] * (trace.cycles + 1)
    written: dict[int, int] = {}
    read: dict[int, int] = {}

    def close(byte: int) -> None:
        for cycle in range(written[byte], read.get(byte, 0)):
            alive[cycle] += 1
        read.pop(byte, None)

    for index, instr in enumerate(program.instructions):
        touched, visible = effects(instr, arch), int(trace.landed[index]) + 1
        for byte in {b for region in touched.reads if region.memory is memory for b in bytes_of(region)}:
            read[byte] = max(read.get(byte, 0), visible)
        for byte in {b for region in touched.writes if region.memory is memory for b in bytes_of(region)}:
            if byte in written:
                close(byte)
            read.pop(byte, None)
            written[byte] = visible
    for byte in written:
        close(byte)
    return alive


@pytest.mark.parametrize("atoms", [1, 1 << 16, 1 << 18])
def test_accesses_are_sorted_by_atom_and_place(atoms: int) -> None:
    atom = np.random.default_rng(atoms).integers(atoms, size=5000, dtype=np.int32)
    place = np.repeat(np.arange(1000, dtype=np.int32), 5)
    order = np.lexsort((place, atom))
    for found, wanted in zip(_by_atom(atom, place), (atom[order], place[order])):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("memory", [Memory.UB, Memory.WGT, Memory.ACC, Memory.PARAM])
def test_bytes_in_use(small: tuple[Program, Trace, Arch], results: list[Result], memory: Memory) -> None:
    lenet = results[0]
    assert lenet.trace is not None
    for program, trace, arch in (small, (lenet.program, lenet.trace, lenet.arch)):
        if program is lenet.program and memory in (Memory.UB, Memory.ACC):
            continue  # many bytes; PARAM and WGT already meet every kind of sharing between layers
        cycles, used = occupancy(program, trace, arch)[memory]
        stepped = [0] * (trace.cycles + 1)
        for start, stop, value in zip(cycles.tolist(), [*cycles.tolist()[1:], trace.cycles + 1], used.tolist()):
            stepped[start:stop] = [value] * (stop - start)
        assert stepped == used_by_hand(program, trace, arch, memory)


def test_bytes_in_use_counted_by_hand(small: tuple[Program, Trace, Arch]) -> None:
    program, trace, arch = small
    used = {memory: occupancy(program, trace, arch)[memory] for memory in (Memory.WGT, Memory.UB)}
    loaded, done = int(trace.landed[1]) + 1, int(trace.landed[3]) + 1
    # 16 bytes of weights from their landing to the gemm's.
    assert [c.tolist() for c in used[Memory.WGT]] == [[0, loaded, done], [0, 16, 0]]
    # Of the first 32 bytes of UB the gemm reads 3 x 4; the fill's bytes are never read.
    cycles, values = (column.tolist() for column in used[Memory.UB])
    first = int(trace.landed[0]) + 1
    assert values[cycles.index(first)] == 12
    assert values[cycles.index(done)] == 0


# ----------------------------------------------------------------------------------------------- files


def test_run_writes_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("run", "lenet", "--timing-only", "--trace", "t.json").exit_code == 0
    assert command("run", "lenet", "--timing-only", "--trace", "t.json.gz", "--json", "-").exit_code == 0
    plain = Path("t.json").read_bytes()
    assert gzip.decompress(Path("t.json.gz").read_bytes()) == plain
    assert written(tmp_path) == {"t.json", "t.json.gz"}
    accelsim.run("lenet", timing_only=True).save_trace("again.json.gz")
    assert Path("again.json.gz").read_bytes() == Path("t.json.gz").read_bytes()
    assert json.loads(plain)["otherData"]["title"] == "lenet"


def test_exec_writes_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("copy.asm").write_text(PROGRAM, encoding="utf-8")
    result = command("exec", "copy.asm", "--arch", "tiny", "--trace", "t.json")
    assert (result.exit_code, result.stderr) == (0, "")
    names = {event["name"] for event in events_of(Path("t.json").read_text()) if event.get("cat") == "busy"}
    assert {"load", "store", "halt"} <= names
    assert written(tmp_path) == {"copy.asm", "t.json"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--trace", "nowhere/t.json"), "the folder 'nowhere' does not exist"),
        (("--trace", "folder"), "this is a directory"),
        (("--trace", "-"), "give it a name"),
        (("--trace", "t.json", "--level", "functional"), "--level functional"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("copy.asm").write_text(PROGRAM, encoding="utf-8")
    for command_line in (("run", "lenet"), ("exec", "copy.asm")):
        result = command(*command_line, *arguments)
        assert result.exit_code == 2
        assert text in result.stderr
    assert written(tmp_path) == {"copy.asm", "folder"}


def test_eval_has_no_single_run_to_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("run", "lenet", "--eval", "--trace", "t.json")
    assert result.exit_code == 2
    assert "--trace" in result.stderr


def test_without_time_there_is_no_trace_to_save(tmp_path: Path) -> None:
    result = accelsim.run("lenet", level="functional")
    with pytest.raises(ConfigError, match="no time was simulated"):
        result.save_trace(tmp_path / "t.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        accelsim.run("lenet", timing_only=True).save_trace(tmp_path / "none" / "t.json")
    assert written(tmp_path) == set()
