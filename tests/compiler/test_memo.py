"""What a process remembers between compilations never shows: same programs as of a compiler that remembers nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from accelsim.arch import Arch, flatten
from accelsim.bundled import resolve
from accelsim.compiler import draft, options, tile
from accelsim.compiler.memo import Memo
from accelsim.compiler.shape import shape_of, timeless
from accelsim.job import compile_for
from accelsim.machine_file import load_arch
from accelsim.nn.graph import QGraph
from accelsim.nn.loader import load_network

TIMES = {
    "name": "other", "clock": "600 MHz", "dram.bytes_per_cycle": 2, "dram.latency": 37, "dram.outstanding": 2,
    "dram.kind": "banked", "dram.peak": "1 GB/s", "queue.depth": 2, "fetch.prefetch_words": 4,
}  # fmt: skip
SIZES = {
    "array.rows": 8, "array.cols": 8, "array.dataflow": "os", "array.weights": "single", "array.overlap": "none",
    "alu.lanes": 4, "alu.latency": 30, "ub.size": 4096, "ub.ports": "shared", "ub.banks": 2, "wgt.size": 1024,
    "acc.size": 1024, "param.size": 2048, "dram.burst_bytes": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def lenet() -> QGraph:
    return load_network(resolve("lenet", "workloads")).quantize()


def words(graph: QGraph, arch: Arch, objective: str = "cycles") -> object:
    return compile_for(graph, arch, 1, objective, None, time_only=True).program.instructions


def machines() -> Iterator[tuple[str, Arch]]:
    """The default machine with one key changed, one after the other."""
    base = load_arch("edge", {"alu.lanes": 16})
    for key, value in (TIMES | SIZES).items():
        yield key, load_arch(base, {key: value})


def test_every_key_of_a_machine_is_changed_here():
    keys = {key for key in flatten(load_arch("edge").to_dict()) if not key.startswith("energy")} - {"schema"}
    device = {"dram.channels", "dram.banks", "dram.row_bytes", "dram.access_bytes"}
    times = {f"dram.{key}" for key in ("trcd", "trp", "tcas", "tcwl", "tras", "trfc", "trefi")}
    assert keys == {*TIMES, *SIZES, *device, *times}


def forget() -> None:
    """What a new process knows: nothing."""
    for memo in (thing for module in (draft, options, tile) for thing in vars(module).values()):
        if isinstance(memo, Memo):
            memo.clear()


def test_a_compiler_that_remembers_makes_the_same_programs(lenet):
    """One machine after the other, then each by itself: no two differ in more than one key, so one that is forgotten
    would give a machine the plans of another."""
    words(lenet, load_arch("edge", {"alu.lanes": 16}))
    together = {key: words(lenet, arch) for key, arch in machines()}
    for key, arch in machines():
        forget()
        assert words(lenet, arch) == together[key], key


def test_only_what_takes_no_part_in_sizes_is_left_out():
    base = load_arch("edge", {"alu.lanes": 16})
    for key, arch in machines():
        assert (timeless(arch) == timeless(base)) == (key in TIMES), key
        assert (shape_of(arch) is shape_of(base)) == (key in TIMES), key


def test_the_oldest_things_are_dropped_first():
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    memo: Memo[str] = Memo(10)
    for name in ("a" * 4, "b" * 4, "a" * 4, "c" * 4, "a" * 4, "b" * 4, "d" * 11, "d" * 11):
        assert memo.get(name, lambda name=name: make(name), len) == name
    assert [name[0] for name in made] == ["a", "b", "c", "b", "d", "d"]  # the last is too heavy to be kept
    memo.clear()
    memo.get("a" * 4, lambda: make("a" * 4), len)
    assert len(made) == 7


def test_machines_compare_by_all_they_have():
    """Entries are found by equal machines: every field counts."""
    assert all(field.compare for field in dataclasses.fields(Arch))
