"""Points per second and core of sweeps, timing only, and a profile of what is left.

    python benchmarks/sweep.py [lenet|alexnet ...] [-j N] [--points N] [--profile N]

Runs two grids into stores in a temporary folder, without a cache of plans. Rates are points per second of processor
time, of all workers together; beside them the wall time, and a float32 matrix product in the same minutes: all depend
on what else this computer does.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sqlite3
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from accelsim.dse.explore import sweep
from accelsim.dse.load import load_sweep
from accelsim.dse.space import Sweep
from accelsim.dse.task import Task, perform

AXES = {"array.rows": [8, 16, 32, 64, 128], "array.cols": [8, 16, 32, 64, 128],
        "dram.bytes_per_cycle": {"powers_of_two": [1, 128]}}  # fmt: skip
AIM = {"alexnet": 4, "lenet": 25}


def plan(workload: str, points: int) -> dict[str, object]:
    """A sample of the 200 points of ``sweeps/alexnet_array.yaml``."""
    return {
        "schema": 1, "name": workload, "workloads": [workload], "axes": AXES,
        "strategy": {"kind": "random", "points": points, "seed": 0},
    }  # fmt: skip


def rate(workload: str, points: int, workers: int) -> None:
    """Run a sweep and print its rate."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        result = sweep(plan(workload, points), workers=workers, store=Path(folder) / "s.sqlite", cache=False)
        wall = time.perf_counter() - begin
        with sqlite3.connect(Path(folder) / "s.sqlite") as store:
            ((busy,),) = store.execute("SELECT SUM(seconds) FROM points").fetchall()
    print(
        f"{workload}: {len(result.rows)} points, {busy:.1f} s of processor time, {wall:.1f} s with -j {workers}, "
        f"{len(result.rows) / busy:.2f} points/s/core (aim {AIM[workload]}), "
        f"{result.count('infeasible')} infeasible, {result.count('failed')} failed; "
        f"matrix product {min(matmul() for _ in range(5)):.0f} ms"
    )


def matmul() -> float:
    """Milliseconds of processor time for the product of two float32 matrices of 1024 x 1024."""
    one = np.ones((1024, 1024), np.float32)
    begin = time.process_time()
    _ = one @ one
    return 1000 * (time.process_time() - begin)


def profile(workload: str, points: int, lines: int) -> None:
    """Compute points in this process: process time a point, then where it goes."""
    chosen: Sweep = load_sweep(plan(workload, points))
    tasks = []
    for number in range(0, chosen.size, chosen.size // points):
        point = chosen.point(chosen.choice(number))
        assert point.arch is not None, point.reason
        tasks.append(
            Task(key=point.key, workload=point.workload, arch=point.arch, batch=1, objective="cycles", verify=False,
                 cache=False)
        )  # fmt: skip
    perform(tasks[0])  # reads and quantises the network
    begin = time.process_time()
    for task in tasks:
        perform(task)
    seconds = (time.process_time() - begin) / len(tasks)
    print(f"{workload}: {1000 * seconds:.0f} ms of process time a point, {1 / seconds:.2f} points/s/core")
    profiler = cProfile.Profile()
    profiler.enable()
    for task in tasks:
        perform(task)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats("accelsim", lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=list(AIM))
    parser.add_argument("-j", type=int, default=2)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="points to profile here")
    arguments = parser.parse_args()
    for workload in arguments.workloads:
        if arguments.profile:
            profile(workload, arguments.profile, 40)
        else:
            rate(workload, arguments.points, arguments.j)


if __name__ == "__main__":
    main()
