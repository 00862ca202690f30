"""What a run gives back: the report, values, the program and its trace, in forms for people, files and notebooks."""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ConfigError, MismatchError, MissingExtraError
from accelsim.isa.program import Program, save_program
from accelsim.machine_file import dump_arch
from accelsim.perfetto import trace_bytes, trace_text
from accelsim.report import TABLE_HEADER, table
from accelsim.trace import Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One run of a network on a machine.

    ``outputs`` holds the network's int8 output tensor by name, (batch, h, w, c), and, when the network ends in
    softmax, ``probabilities`` float32 (batch, classes), or (batch, h, w, c) where an image gives several pixels; empty
    for a timing-only run. ``trace`` is None at level ``functional``. ``mismatch`` is the first difference from the
    golden model, None when there is none.
    """

    report: dict[str, Any]
    outputs: dict[str, NDArray[Any]]
    program: Program
    arch: Arch
    trace: Trace | None = None
    labels: list[str] | None = None
    mismatch: MismatchError | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per layer of the network file, as in ``report["layers"]``."""
        return self.report["layers"]

    @property
    def layers(self) -> Any:
        """The rows as a pandas DataFrame. Raises MissingExtraError without the extra ``data``."""
        try:
            pandas = import_module("pandas")  # optional, and slow to import
        except ImportError:
            raise MissingExtraError("Result.layers", "data") from None
        return pandas.DataFrame(self.rows)

    def save(self, folder: str | Path) -> None:
        """Write report.json, machine.yaml, program.npz and outputs.npz into ``folder``. Raises ConfigError."""
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            _write(target / "report.json", json.dumps(self.report, indent=2) + "\n")
            _write(target / "machine.yaml", dump_arch(self.arch))
            save_program(self.program, target / "program.npz")
            if self.outputs:
                np.savez(target / "outputs.npz", **self.outputs)  # pyright: ignore[reportArgumentType]
        except OSError as error:
            raise ConfigError(str(folder), "", f"cannot be written: {error.strerror or error}") from None

    def save_trace(self, path: str | Path) -> None:
        """Write the timeline as a file for the Perfetto viewer, compressed if ``path`` ends in ``.gz``.

        Raises ConfigError when no time was simulated, or the file cannot be written.
        """
        if self.trace is None:
            raise ConfigError(str(path), "", "no time was simulated, so there is no trace", "use level cycle")
        text = trace_text(
            self.program,
            self.trace,
            self.arch,
            title=self.report["workload"],
            version=self.report["accelsim"],
            program_hash=self.report["program_hash"],
        )
        try:
            _write_bytes(Path(path), trace_bytes(text, str(path)))
        except OSError as error:
            raise ConfigError(str(path), "", f"the file cannot be written: {error.strerror or error}") from None

    def _repr_html_(self) -> str:
        """The per-layer table, for notebooks."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in TABLE_HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table(self.report)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _write(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, data: bytes) -> None:
    """The file appears whole or not at all."""
    partial = path.with_suffix(path.suffix + ".part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def first_mismatch(
    values: dict[str, NDArray[np.int8]], golden: dict[str, NDArray[np.int8]], names: dict[str, str]
) -> MismatchError | None:
    """The first tensor, in the order of ``names`` (tensor -> layer), that differs from the golden model's."""
    for tensor, layer in names.items():
        got = values.get(tensor)
        if got is None:
            continue
        wrong = np.argwhere(got != golden[tensor])
        if len(wrong):
            index = tuple(int(i) for i in wrong[0])
            return MismatchError(
                layer=layer,
                index=index,
                expected=int(golden[tensor][index]),
                got=int(got[index]),
                differ=len(wrong),
                total=got.size,
            )
    return None


def refuse_unobserved(names: dict[str, str], values: dict[str, NDArray[np.int8]]) -> None:
    """A layer that no instruction completes would pass the comparison unseen; that is a bug of the compiler."""
    missing = [tensor for tensor in names if tensor not in values]
    if missing:
        raise RuntimeError(f"no instruction completes {', '.join(missing)}")
