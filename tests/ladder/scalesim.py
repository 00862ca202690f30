"""SCALE-Sim's published cycles beside those of this machine's gemm unit: `python -m tests.ladder.scalesim`.

Each layer is one matrix product: M output pixels, N filters, K taps. It runs as one gemm instruction per fold of
columns on a machine that handles one tile or block at a time (`array.overlap=none`). With `--asm DIR` every program is
written there, with the command that runs it in its first line.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.command_line import accelsim

DATA = Path(__file__).parent / "data" / "scalesim_cycles.csv"


@dataclass(frozen=True)
class Layer:
    """One row of the file; ``cycles`` is SCALE-Sim's."""

    topology: str
    name: str
    mode: str
    dataflow: str
    rows: int
    cols: int
    m: int
    n: int
    k: int
    cycles: int

    @property
    def label(self) -> str:
        return f"{self.topology}-{self.name}-{self.rows}x{self.cols}-{self.dataflow}-{self.mode}"

    @property
    def column_folds(self) -> int:
        return -(-self.n // self.cols)

    @property
    def folds(self) -> int:
        """ws: folds of K and N; os: of M and N."""
        held = self.k if self.dataflow == "ws" else self.m
        return -(-held // self.rows) * self.column_folds

    @property
    def per_fold(self) -> int:
        """Cycles of a fold that this machine has and SCALE-Sim does not: see docs/deviations.md."""
        accept, bottom_register, aligned_row, write = 1, 1, 1, 1
        drain = self.rows if self.dataflow == "os" else 0
        return accept + bottom_register + aligned_row + write + drain


def layers() -> list[Layer]:
    """Every row, in the order of the file."""
    lines = [line for line in DATA.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [
        Layer(
            row["topology"], row["layer"], row["mode"], row["dataflow"], int(row["array_rows"]), int(row["array_cols"]),
            int(row["M"]), int(row["N"]), int(row["K"]), int(row["compute_cycles"]),
        )
        for row in csv.DictReader(lines)
    ]  # fmt: skip


def shape(layer: Layer) -> tuple[int, int]:
    """(tiles, k): ws pads the reduction to whole tiles of all rows; os streams exactly K steps."""
    if layer.dataflow == "ws":
        return -(-layer.k // layer.rows), layer.rows
    k = max(d for d in range(1, layer.rows + 1) if layer.k % d == 0)
    return layer.k // k, k


def assembly(layer: Layer) -> list[str]:
    """One gemm per fold of columns; the activations are M rows of K bytes, one after the other."""
    tiles, k = shape(layer)
    lines = []
    for fold in range(layer.column_folds):
        n = min(layer.cols, layer.n - fold * layer.cols)
        loops = f"r0={tiles} xr0={k} m0={layer.m} xm0={layer.k} am0=1"
        lines.append(f"gemm overwrite k={k} n={n} {loops}")
    return [*lines, "halt on=gemm"]


def settings(layer: Layer) -> dict[str, object]:
    """The machine: its buffers hold the whole layer, weights one fold of columns."""
    tiles, k = shape(layer)
    return {
        "array.rows": layer.rows, "array.cols": layer.cols, "array.dataflow": layer.dataflow, "array.overlap": "none",
        "ub.size": layer.m * layer.k + tiles * k, "wgt.size": tiles * k * layer.cols,
        "acc.size": layer.m * layer.cols * 4, "param.size": layer.cols * 8,
    }  # fmt: skip


def options(layer: Layer) -> list[str]:
    """Of `accelsim exec`."""
    machine = [word for key, value in settings(layer).items() for word in ("--set", f"{key}={value}")]
    return ["--arch", "mid", *machine, "--timing-only", "--json", "-"]


def gemm_cycles(execution: dict) -> int:
    """From the acceptance of the first gemm to the last write to ACC, both included."""
    gemms = execution["instructions"][:-1]
    return gemms[-1]["landed"] - gemms[0]["accepted"] + 1


def run(layer: Layer, level: str = "cycle") -> int:
    """Cycles of the gemm unit, through the command line."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "layer.asm"
        program.write_text("\n".join(assembly(layer)) + "\n", encoding="utf-8")
        result = accelsim("exec", str(program), *options(layer), "--level", level)
    assert result.exit_code == 0, result.stderr
    return gemm_cycles(json.loads(result.stdout))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="SCALE-Sim's cycles beside this machine's.")
    parser.add_argument("--asm", metavar="DIR", type=Path, help="write the programs there")
    folder = parser.parse_args().asm
    print(f"{'layer':38}{'folds':>6}{'ours':>10}{'per fold':>9}{'once':>5}{'left':>10}{'SCALE-Sim':>10}")
    for layer in layers():
        ours = run(layer)
        left = ours - layer.per_fold * layer.folds - 1
        print(f"{layer.label:38}{layer.folds:6}{ours:10}{layer.per_fold:9}{1:5}{left:10}{layer.cycles:10}")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            command = f"# accelsim exec {layer.label}.asm {' '.join(options(layer))}"
            text = "\n".join([command, *assembly(layer)]) + "\n"
            (folder / f"{layer.label}.asm").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
