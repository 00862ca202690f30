"""AlexNet's five convolutions in SCALE-Sim, beside accelsim on the same array in the same run.

``python benchmarks/scalesim_peer.py [--array 32] [--json FILE]``. SCALE-Sim comes from the package index into a virtual
environment of its own; if it cannot be installed, that is said and nothing is measured. It computes cycles alone; the
accelsim run it stands beside is the whole of AlexNet with its values and their check.

SCALE-Sim takes minutes and gigabytes. What it needs beside its package is given here: versions of numpy that it runs
on, a layout file although layouts are off, commas at the end of lines, traces off through its Python interface.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from usage import MIB, Usage, computer, environment, measure, table, write_json

PACKAGES = ("scalesim==3.0.0", "numpy<2.4", "pandas", "tqdm")  # what its modules import; it declares more
MACHINES = {16: "edge", 32: "mid"}

CONFIG = """\
[general]
run_name = peer
[architecture_presets]
ArrayHeight : {side}
ArrayWidth : {side}
IfmapSramSzkB : 64
FilterSramSzkB : 64
OfmapSramSzkB : 64
IfmapOffset : 0
FilterOffset : 10000000
OfmapOffset : 20000000
Bandwidth : 10
Dataflow : ws
ReadRequestBuffer : 512
WriteRequestBuffer : 512
[layout]
IfmapCustomLayout : False
IfmapSRAMBankBandwidth : 10
IfmapSRAMBankNum : 10
IfmapSRAMBankPort : 2
FilterCustomLayout : False
FilterSRAMBankBandwidth : 10
FilterSRAMBankNum : 10
FilterSRAMBankPort : 2
[sparsity]
SparsitySupport : false
[run_presets]
InterfaceBandwidth : CALC
UseRamulatorTrace : False
"""
PROGRAM = """
from scalesim.scale_sim import scalesim
peer = scalesim(save_disk_space=True, verbose=False, config="peer.cfg", topology="peer.csv", layout="layout.csv")
peer.run_scale(top_path="out")
"""
SHAPES = """
import json, sys
from accelsim import load_network
from accelsim.nn.shapes import infer_shapes
graph = load_network(sys.argv[1]).graph
shapes = infer_shapes(graph)
print(json.dumps([
    [layer.name, *shapes[layer.inputs[0]], *layer.pads, *layer.kernel, *layer.stride, layer.groups, layer.channels]
    for layer in graph.layers if layer.kind == "conv"
]))
"""
_LAYOUT_COLUMNS = 20


def topology(convolutions: list[list[Any]]) -> list[tuple[str, int, int, int, int, int, int, int]]:
    """Rows (name, height, width, r, s, channels, filters, stride): padding belongs to the image, a group is a row."""
    rows = []
    for name, height, width, channels, top, bottom, left, right, r, s, stride, across, groups, filters in convolutions:
        assert stride == across, "one stride for both directions"
        for group in range(groups):
            label = f"{name}_{group}" if groups > 1 else name
            image = (height + top + bottom, width + left + right)
            rows.append((label, *image, r, s, channels // groups, filters // groups, stride))
    return rows


def install(folder: Path) -> tuple[Path, str]:
    """The Python of a new environment with SCALE-Sim in it, and what went wrong, if anything."""
    python = folder / "venv" / "bin" / "python"
    try:
        venv.create(folder / "venv", with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return python, f"no virtual environment: {error}"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for more in (["--no-deps", PACKAGES[0]], list(PACKAGES[1:])):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            return python, (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    return python, ""


def write_inputs(folder: Path, side: int, rows: list[tuple[str, int, int, int, int, int, int, int]]) -> None:
    """SCALE-Sim's three files."""
    (folder / "peer.cfg").write_text(CONFIG.format(side=side), encoding="utf-8")
    lines = ["name,height,width,r,s,channels,filters,stride,"]
    lines += [",".join(map(str, row)) + "," for row in rows]
    (folder / "peer.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    layout = ["name" + "," * _LAYOUT_COLUMNS] + [row[0] + ",1" * _LAYOUT_COLUMNS + "," for row in rows]
    (folder / "layout.csv").write_text("\n".join(layout) + "\n", encoding="utf-8")


def read_cycles(folder: Path) -> int:
    """The sum of the layers' cycles: without the loading ahead of the first fold, and one more than the last index."""
    lines = (folder / "out" / "peer" / "COMPUTE_REPORT.csv").read_text(encoding="utf-8").splitlines()
    return sum(int(float(line.split(",")[2])) + 1 for line in lines[1:] if line.strip())


def own_runs(side: int, kept: Mapping[str, str], folder: Path) -> dict[str, tuple[Usage, dict[str, Any]]]:
    """accelsim without plans of earlier runs: everything, and time alone."""
    runs = {}
    for name, more in {"values, time and check": [], "time alone": ["--timing-only"]}.items():
        report = folder / "report.json"
        command = [sys.executable, "-m", "accelsim", "run", "alexnet", "--arch", MACHINES[side], "--no-cache", *more]
        usage = measure([*command, "--json", str(report)], kept)
        runs[name] = usage, json.loads(report.read_text(encoding="utf-8"))
    return runs


def compare(side: int, folder: Path) -> dict[str, Any]:
    """Run both. Raises RuntimeError when one fails."""
    python, problem = install(folder)
    if problem:
        return {"skipped": f"SCALE-Sim cannot be installed: {problem}"}
    kept = environment(folder)
    rows = topology(json.loads(measure([sys.executable, "-c", SHAPES, "alexnet"], kept).output))
    write_inputs(folder, side, rows)
    program = folder / "peer.py"
    program.write_text(PROGRAM, encoding="utf-8")
    runs = own_runs(side, kept, folder)
    peer = measure([str(python), str(program)], kept, folder=folder)
    figures: dict[str, Any] = {
        "computer": computer(),
        "array": side,
        "scalesim": {
            "cpu_s": peer.cpu_s, "peak_bytes": peer.peak_bytes, "cycles": read_cycles(folder), "rows": len(rows),
        },
    }  # fmt: skip
    for name, (usage, report) in runs.items():
        convolutions = sum(row["cycles"] for row in report["layers"] if row["kind"] == "conv")
        figures[name] = {
            "cpu_s": usage.cpu_s, "peak_bytes": usage.peak_bytes, "convolution_cycles": convolutions,
            "bit_exact": report["bit_exact"],
        }  # fmt: skip
    return figures


def report(figures: Mapping[str, Any]) -> str:
    """The figures as a table of ratios."""
    peer = figures["scalesim"]
    rows = [("SCALE-Sim, five convolutions, time alone", peer["cpu_s"], peer["peak_bytes"], peer["cycles"])]
    for name in ("values, time and check", "time alone"):
        own = figures[name]
        rows.append((f"accelsim, all of AlexNet, {name}", own["cpu_s"], own["peak_bytes"], own["convolution_cycles"]))
    return table(
        ("", "CPU s", "times less", "peak MiB", "times less", "cycles of convolutions"),
        (
            (name, f"{cpu:.1f}", f"{peer['cpu_s'] / cpu:.1f}", f"{peak / MIB:.0f}",
             f"{peer['peak_bytes'] / peak:.1f}", f"{cycles:,}")
            for name, cpu, peak, cycles in rows
        ),
    )  # fmt: skip


def main() -> None:
    """Install, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array", type=int, choices=sorted(MACHINES), default=32)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(options.array, Path(folder))
    if "skipped" in figures:
        print(f"skipped: {figures['skipped']}")
    else:
        print(f"{options.array}x{options.array}, weight-stationary\n\n{report(figures)}")
    write_json(options.json, figures)


if __name__ == "__main__":
    main()
