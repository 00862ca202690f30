"""AlexNet from its file to the checked report, and its time alone: CPU seconds of one core and peak memory.

``python benchmarks/alexnet.py [--repeats 5] [--json FILE]``. Every figure is the median of several processes, taken in
turns; a float32 matrix product in the same rounds says how fast the computer was meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from usage import MIB, Usage, computer, environment, measure, summary, table, write_json

SIDE = 1024
MATMUL = f"""
import time
import numpy as np
a, b = (np.random.default_rng(seed).random(({SIDE}, {SIDE}), np.float32) for seed in (1, 2))
a @ b
begin = time.process_time()
for _ in range(10):
    a @ b
print((time.process_time() - begin) / 10)
"""
IMPORTS = "import accelsim.result, accelsim.runner"


class Bench:
    """The commands of one workload on one machine, and their runs so far."""

    def __init__(self, workload: str, arch: str, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, list[Usage]] = {}
        self.stages: list[dict[str, float]] = []
        self.matmul_s: list[float] = []
        accelsim = [sys.executable, "-m", "accelsim"]
        self.program = folder / "network.program.npz"
        self.build = [*accelsim, "compile", workload, "--arch", arch, "-o", str(self.program)]
        run = [*accelsim, "run", workload, "--arch", arch]
        self.cases = {
            "start-up (imports)": [sys.executable, "-c", IMPORTS],
            "run, no plans kept": run,
            "run, plans kept": run,
            "timing only, no plans kept": [*run, "--timing-only"],
            "timing only, program kept": [*run, "--timing-only"],
            "exec of a program file, timing only": [
                *accelsim, "exec", str(self.program), "--arch", arch, "--timing-only"
            ],
        }  # fmt: skip
        self.profile = [sys.executable, str(Path(__file__).with_name("stages.py")), workload, arch]

    def prepare(self) -> None:
        """Compile the program file, fill the caches that some cases start from."""
        kept = environment(self.folder)
        measure(self.build, kept)
        for name in ("run, plans kept", "timing only, program kept"):
            measure(self.cases[name], kept)

    def round(self) -> None:
        """Every case once."""
        kept = environment(self.folder)
        self.matmul_s.append(float(measure([sys.executable, "-c", MATMUL], kept).output))
        for name, command in self.cases.items():
            with tempfile.TemporaryDirectory(dir=self.folder) as empty:
                where = kept | {"ACCELSIM_CACHE": empty} if name.endswith("no plans kept") else kept
                self.runs.setdefault(name, []).append(measure(command, where))
        self.stages.append(json.loads(measure(self.profile, kept).output))

    def figures(self) -> dict[str, Any]:
        """Everything measured, as JSON data."""
        return {
            "computer": computer(),
            "matmul_s": median(self.matmul_s),
            "cases": {name: summary(runs) for name, runs in self.runs.items()},
            "stages_s": {name: median(stage[name] for stage in self.stages) for name in self.stages[0]},
        }


def report(figures: Mapping[str, Any]) -> str:
    """The figures as two tables."""
    matmul = figures["matmul_s"]
    cases = [
        (name, f"{case['cpu_s']:.2f}", f"{case['least_cpu_s']:.2f}", f"{case['system_s']:.2f}",
         f"{case['peak_bytes'] / MIB:.0f}", f"{case['cpu_s'] / matmul:.0f}")
        for name, case in figures["cases"].items()
    ]  # fmt: skip
    stages = [(name, f"{seconds:.3f}", f"{seconds / matmul:.1f}") for name, seconds in figures["stages_s"].items()]
    return "\n\n".join((
        table(("", "CPU s", "least", "system s", "peak MiB", "x matmul"), cases),
        table(("stage", "CPU s", "x matmul"), stages),
        f"matmul: float32 {SIDE}x{SIDE}x{SIDE}, {matmul:.4f} CPU s, {2 * SIDE**3 / matmul / 1e9:.0f} GFLOP/s",
    ))  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="alexnet")
    parser.add_argument("--arch", default="edge")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.workload, options.arch, Path(folder))
        bench.prepare()
        for _ in range(options.repeats):
            bench.round()
        figures = {"workload": options.workload, "arch": options.arch, "repeats": options.repeats, **bench.figures()}
    print(f"{options.workload} on {options.arch}, median of {options.repeats}\n\n{report(figures)}")
    write_json(options.json, figures)


if __name__ == "__main__":
    main()
