"""The cache: entries whole or absent, keys that cover what they must, and runs that are the same with and without."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim import cache as cache_module
from accelsim import runner
from accelsim.cache import SUFFIX, VARIABLE, Cache, code_digest, directory, key_of
from tests.command_line import accelsim as command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


def entries(folder: Path, kind: str = "") -> list[Path]:
    return sorted(folder.glob(f"{kind}*{SUFFIX}"))


@given(st.binary(max_size=200))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    kept = Cache(tmp_path_factory.getbasetemp() / "given")
    kept.write("plan-x", content)
    assert kept.read("plan-x") == content
    assert kept.read("plan-y") is None


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:40] + b"?" + d[41:], lambda d: b"", lambda d: d + d])
def test_a_damaged_entry_is_not_there(tmp_path: Path, damage) -> None:
    kept = Cache(tmp_path)
    kept.write("plan-x", b"a plan that is long enough to be damaged")
    (path,) = entries(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert kept.read("plan-x") is None


def test_writing_leaves_nothing_else_and_replaces_in_one_step(tmp_path: Path, monkeypatch) -> None:
    kept = Cache(tmp_path)
    kept.write("plan-x", b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    kept.write("plan-x", b"new")  # lost, without a word
    assert kept.read("plan-x") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["plan-x" + SUFFIX]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Cache(tmp_path / "file" / "below")
    kept.write("plan-x", b"lost")
    assert kept.read("plan-x") is None
    assert kept.clear() == (0, 0)


def test_the_oldest_entries_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "LIMIT_BYTES", 1000)
    monkeypatch.setattr(cache_module, "PRUNE_EVERY", 1)
    kept = Cache(tmp_path)
    for number in range(10):
        kept.write(f"plan-{number}", bytes(200))
        os.utime(tmp_path / f"plan-{number}{SUFFIX}", (number, number))
    left = [number for number in range(10) if kept.read(f"plan-{number}") is not None]
    assert left == list(range(left[0], 10))
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 1000


def test_the_directory_follows_the_variable_then_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert directory() == tmp_path
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert directory() == tmp_path / "xdg" / "accelsim"


def test_a_key_covers_its_parts_and_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of("plan", parts) for parts in (("a", "b"), ("ab", ""), ("b", "a"), ("a",), ())}
    assert len(keys) == 5
    before = key_of("plan", ("a",))
    assert len(code_digest()) == 64
    monkeypatch.setattr(cache_module, "code_digest", lambda: "another version")
    assert key_of("plan", ("a",)) != before


def same(one: accelsim.Result, other: accelsim.Result) -> None:
    assert {**one.report, "host": 0} == {**other.report, "host": 0}


@pytest.mark.parametrize("options", [{}, {"objective": "energy"}, {"batch": 3}, {"level": "functional"}])
def test_a_run_from_the_cache_is_the_same(folder: Path, options) -> None:
    fresh = runner.run("lenet", arch="tiny", cache=False, **options)
    assert not folder.exists()
    first = runner.run("lenet", arch="tiny", **options)
    assert len(entries(folder, "plan")) == 1
    second = runner.run("lenet", arch="tiny", **options)
    assert len(entries(folder)) == 1
    for run in (first, second):
        same(fresh, run)
        for name, values in fresh.outputs.items():
            np.testing.assert_array_equal(run.outputs[name], values)


def test_time_alone_comes_from_the_cache_and_is_the_same(folder: Path, tmp_path: Path, monkeypatch) -> None:
    fresh = runner.run("lenet", arch="tiny", timing_only=True, cache=False)
    same(fresh, runner.run("lenet", arch="tiny", timing_only=True))
    monkeypatch.setattr("accelsim.job.compile_for", None)  # nothing is compiled any more
    again = runner.run("lenet", arch="tiny", timing_only=True)
    same(fresh, again)
    assert again.trace is not None
    assert fresh.trace is not None
    np.testing.assert_array_equal(again.trace.landed, fresh.trace.landed)
    monkeypatch.undo()
    again.save(tmp_path / "saved")  # the whole program, constants included
    assert accelsim.Result.load(tmp_path / "saved").report["program_hash"] == fresh.report["program_hash"]


def test_every_damaged_entry_is_made_anew(folder: Path) -> None:
    fresh = runner.run("lenet", arch="tiny", timing_only=True)
    for path in entries(folder):
        path.write_bytes(b"not what it was")
    same(fresh, runner.run("lenet", arch="tiny", timing_only=True))
    for path in entries(folder, "plan"):
        key = path.name.removesuffix(SUFFIX)
        for text in (b"[]", b"{}", b'{"version": 1}', b"\xff"):
            Cache().write(key, text)
            same(runner.run("lenet", arch="tiny"), runner.run("lenet", arch="tiny", cache=False))


def test_another_machine_network_or_batch_is_another_entry(folder: Path, tmp_path: Path) -> None:
    runs = [
        {}, {"arch": "edge"}, {"set": {"dram.latency": 11}}, {"batch": 2}, {"objective": "energy"},
        {"workload": "lenet_tanh"},
    ]  # fmt: skip
    for run in runs:
        runner.run(**{"workload": "lenet", "arch": "tiny", "timing_only": True, **run})
    assert len(entries(folder, "time")) == len(runs)


def test_commands(folder: Path) -> None:
    result = command("run", "lenet", "--arch", "tiny", "--no-cache", "--json", "-")
    assert not folder.exists()
    assert command("run", "lenet", "--arch", "tiny", "--json", "-").exit_code == 0
    kept = entries(folder)
    assert len(kept) == 1
    again = json.loads(command("run", "lenet", "--arch", "tiny", "--json", "-").stdout)
    assert {**again, "host": 0} == {**json.loads(result.stdout), "host": 0}
    assert command("cache", "path").stdout == f"{folder}\n"
    size = sum(path.stat().st_size for path in kept)
    cleared = command("cache", "clear")
    assert cleared.stdout == f"{folder}: 1 entry removed, {size:,} bytes\n"
    assert not folder.exists()
    assert command("cache", "clear").stdout == f"{folder}: 0 entries removed, 0 bytes\n"
