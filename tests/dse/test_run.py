"""Running sweeps: equal rows whatever computes them, nothing lost, every reason told."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

import accelsim
from accelsim.dse import explore
from accelsim.dse.load import load_sweep
from accelsim.dse.pool import Pool
from accelsim.dse.result import SweepResult
from accelsim.dse.store import Store
from accelsim.dse.task import Task
from accelsim.errors import ConfigError, MissingExtraError
from tests.dse.cases import CRASHES, LENET, cheap, crashing

SUBSET = ("cycles", "energy_pj", "dram_read_bytes", "instructions", "time_us", "area_mm2", "utilization")


def run(plan: dict[str, Any], store: Path | str, work=cheap, workers: int = 2, **options: Any) -> SweepResult:
    """A sweep with workers of one's own."""
    with Store(store) as opened:
        explore._Run(
            load_sweep(plan), opened, Pool(workers, None), False, options.get("retry_failed", False),
            options.get("listener", lambda _: None), work,
        ).run()  # fmt: skip
        return SweepResult.of(opened)


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which workers leave a file for every attempt."""
    folder = tmp_path / "attempts"
    folder.mkdir()
    monkeypatch.setenv(CRASHES, str(folder))
    # The server that workers are forked from may be older than the variable: start a new one.
    from multiprocessing import forkserver

    forkserver._forkserver._stop()
    return folder


@pytest.fixture(scope="module")
def real() -> SweepResult:
    """The small sweep, computed by one process."""
    return accelsim.sweep(LENET, workers=1)


def test_points_are_those_of_single_runs(real: SweepResult) -> None:
    assert [row["status"] for row in real.rows] == ["ok"] * 6
    for row in real.rows[::3]:
        settings = {"array.rows": row["array.rows"], "dram.bytes_per_cycle": row["dram.bytes_per_cycle"]}
        report = accelsim.run("lenet", arch="tiny", set=settings, timing_only=True).report
        assert {name: row[name] for name in SUBSET} == {name: report["totals"][name] for name in SUBSET}
        layers = [layer for layer in real.layer_rows if layer["number"] == row["number"]]
        assert [layer["cycles"] for layer in layers] == [layer["cycles"] for layer in report["layers"]]


def test_points_that_share_a_shape_are_handed_out_together() -> None:
    plan = load_sweep({**LENET, "axes": {"dram.bytes_per_cycle": [1, 2], "array.rows": [4, 8], "dram.latency": [1, 2]}})
    points = [plan.point(plan.choice(number)) for number in range(plan.size)]
    tasks = [
        Task(key=point.key, workload=point.workload, arch=point.arch, batch=1, objective="cycles", verify=False,
             cache=False)
        for point in points if point.arch is not None
    ]  # fmt: skip
    order = [tasks.index(task) for task in explore._neighbours(tasks)]
    assert order == [0, 1, 4, 5, 2, 3, 6, 7]  # rows 4 at both rates and latencies, then rows 8


def test_two_processes_give_the_same_rows(real: SweepResult) -> None:
    two = accelsim.sweep(LENET, workers=2)
    assert (two.rows, two.layer_rows) == (real.rows, real.layer_rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the cluster's own
def test_a_cluster_of_two_workers_gives_the_same_rows(real: SweepResult) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        other = accelsim.sweep(LENET, scheduler=cluster.scheduler_address)
    assert (other.rows, other.layer_rows) == (real.rows, real.layer_rows)


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("accelsim.dse.pool._CONNECT_S", 0.2)
    with pytest.raises(ConfigError, match="no dask scheduler answers"):
        accelsim.sweep(LENET, scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize(("library", "options"), [("distributed", {"scheduler": "tcp://x:1"}), ("optuna", {})])
def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch, library, options) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    plan = LENET if options else {**LENET, "strategy": {"kind": "tpe", "points": 2}}
    extra = "cluster" if options else "dse"
    with pytest.raises(MissingExtraError, match=rf"pip install 'accelsim\[{extra}\]'"):
        accelsim.sweep(plan, **options)


def test_some_points_are_verified_and_then_stay_so(tmp_path: Path, real: SweepResult) -> None:
    store = tmp_path / "s.sqlite"
    first = accelsim.sweep({**LENET, "verify": 2}, workers=2, store=store)
    assert [row["bit_exact"] for row in first.rows].count(True) == 2
    again = accelsim.sweep(LENET, workers=2, store=store)
    assert again.rows == first.rows
    plain = [{**row, "bit_exact": None, "program_hash": None} for row in first.rows]
    assert plain == real.rows  # values change no time


def test_a_second_run_does_exactly_what_is_missing(tmp_path: Path) -> None:
    states: list[tuple[int, int]] = []
    store = tmp_path / "s.sqlite"

    def note(state: explore.State) -> None:
        states.append((state.computed, state.known))

    whole = run(LENET, store, listener=note)
    assert states[-1] == (6, 0)
    assert run(LENET, store, listener=note).rows == whole.rows
    assert states[-1] == (0, 6)
    more = {**LENET, "axes": {"dram.bytes_per_cycle": [4, 8, 16], "array.rows": [8, 4]}}
    run(more, store, listener=note)
    assert states[-1] == (2, 4)
    assert run(LENET, store, listener=note).rows == whole.rows


def test_a_listener_that_stops_the_sweep_loses_nothing(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"

    def stop(state: explore.State) -> None:
        if state.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(LENET, store, listener=stop)
    assert len(SweepResult.load(store).rows) == 2
    states: list[int] = []
    result = run(LENET, store, listener=lambda state: states.append(state.computed))
    assert states[-1] == 4
    assert result.rows == run(LENET, tmp_path / "t.sqlite").rows


def test_a_point_that_kills_its_process_twice_is_given_up(tmp_path: Path, marks: Path) -> None:
    result = run(LENET, tmp_path / "s.sqlite", crashing)
    for row in result.rows:
        died = row["array.rows"] == 8
        assert row["status"] == ("failed" if died else "ok")
        assert row["reason"] == (explore.DIED if died else None)
        attempts = len(list(marks.glob(f"{row['key']}-*")))
        assert attempts >= 1
        assert attempts <= 1 + explore.TRIES  # once beside others, where it is not known who killed the process
    states: list[int] = []
    run(LENET, tmp_path / "s.sqlite", listener=lambda state: states.append(state.computed))
    assert states[-1] == 0  # failed points are left alone,
    retried = run(LENET, tmp_path / "s.sqlite", retry_failed=True)
    assert retried.count("ok") == 6  # unless it is asked for


def test_a_process_that_is_killed_once_costs_nothing(tmp_path: Path, marks: Path) -> None:
    (marks / "once").touch()
    result = run(LENET, tmp_path / "s.sqlite", crashing)
    assert result.rows == run(LENET, tmp_path / "t.sqlite").rows


def test_every_infeasible_point_has_its_reason() -> None:
    plan = {
        **LENET,
        "axes": {"array.cols": [4, 3], "ub.size": ["8 KiB", 16], "dram.bytes_per_cycle": [4, 8]},
        "constraints": ["cycles <= 90000", "dram.bytes_per_cycle < 8"],
    }
    result = accelsim.sweep(plan, workers=2)
    assert result.count("ok") + result.count("infeasible") == len(result.rows) == 8
    assert result.count("ok") == 1
    for row in result.rows:
        if row["status"] == "ok":
            continue
        ran = row["cycles"] is not None if "cycles" in row else False
        if row["array.cols"] == 3:
            assert "not a whole number of rows" in row["reason"]
        elif row["dram.bytes_per_cycle"] == 8:
            assert row["reason"] == "dram.bytes_per_cycle < 8: dram.bytes_per_cycle is 8"
        else:
            assert "bytes of UB" in row["reason"]
        assert not ran  # what is known beforehand is not simulated
    tight = accelsim.sweep({**LENET, "constraints": ["cycles <= 1000"]}, workers=2)
    assert tight.count("infeasible") == 6
    assert all(row["reason"].startswith("cycles <= 1000: cycles is ") for row in tight.rows)


def test_a_full_disk_stops_the_sweep_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {**LENET, "axes": {"array.rows": list(range(1, 65)), "dram.bytes_per_cycle": [4]}}
    path = tmp_path / "s.sqlite"
    store, puts = Store(path), []
    store._db.execute("PRAGMA max_page_count=30")
    put = store.put
    monkeypatch.setattr(store, "put", lambda *a: (put(*a), puts.append(a[0][0].key)))
    go = explore._Run(load_sweep(plan), store, Pool(2, None), False, False, lambda _: None, cheap)
    with pytest.raises(ConfigError, match=r"the store cannot be written: database or disk is full.*run the same sweep"):
        go.run()
    store.close()
    assert 0 < len(puts) < 64
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [row["key"] for row in SweepResult.load(path).rows if row["key"] not in puts] == []
    states: list[int] = []
    result = run(plan, path, listener=lambda state: states.append(state.computed))
    assert states[-1] == 64 - len(puts)
    assert result.rows == run(plan, tmp_path / "t.sqlite").rows


def test_other_files_are_no_stores(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be told from one" * 30)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    for path in (tmp_path / "text", other, tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError):
            SweepResult.load(path)
    for path in (tmp_path / "text", other, tmp_path, tmp_path / "no" / "folder"):
        with pytest.raises(ConfigError):
            run(LENET, path)
    Store(tmp_path / "new").close()
    with pytest.raises(ConfigError, match="empty"):
        SweepResult.load(tmp_path / "new")


def wait_until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False
