"""What a run gives back: the report, values, the program and its trace, in forms for people, files and notebooks."""

from __future__ import annotations

import html
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ConfigError, MismatchError, MissingExtraError
from accelsim.isa.program import Program, load_program, program_hash, save_program
from accelsim.machine_file import dump_arch, load_arch
from accelsim.nn.dataset import read_arrays
from accelsim.perfetto import trace_bytes, trace_text
from accelsim.report import TABLE_HEADER, table
from accelsim.report_reader import read_report
from accelsim.trace import Trace
from accelsim.views import Views

REPORT, MACHINE, PROGRAM, OUTPUTS = FILES = ("report.json", "machine.yaml", "program.npz", "outputs.npz")
"""What :meth:`Result.save` writes."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result(Views):
    """One run of a network on a machine.

    ``outputs`` holds every int8 output tensor by name, (batch, h, w, c), and, when the network ends in softmax,
    ``probabilities`` float32 (batch, classes), or (batch, h, w, c) where an image gives several pixels; empty for a
    timing-only run. An ONNX model's have its own names and layouts. ``trace`` is None at level ``functional``.
    ``mismatch`` is the first difference from the golden model, None when there is none. A timing-only run that found
    its program in the cache has it without constants; ``complete`` then compiles the whole one.
    """

    report: dict[str, Any]
    outputs: dict[str, NDArray[Any]]
    program: Program
    arch: Arch
    trace: Trace | None = None
    labels: list[str] | None = None
    mismatch: MismatchError | None = None
    complete: Callable[[], Program] | None = None

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
        """Write report.json, machine.yaml, program.npz and outputs.npz into ``folder``, all of them or none.

        A timing-only run has no outputs.npz; one of an earlier run is removed. Raises ConfigError.
        """
        target = Path(folder)
        missing = [path for path in (target, *target.parents) if not path.exists()]
        try:
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".accelsim-", dir=target) as temporary:
                self._write_files(Path(temporary))
                _move_files(Path(temporary), target)
        except (OSError, ConfigError) as error:
            for path in missing:
                with suppress(OSError):
                    path.rmdir()
            if isinstance(error, ConfigError):
                raise ConfigError(str(folder), "", error.problem) from None
            raise ConfigError(str(folder), "", f"cannot be written: {error.strerror or error}") from None

    def _write_files(self, folder: Path) -> None:
        (folder / REPORT).write_text(json.dumps(self.report, indent=2) + "\n", encoding="utf-8", newline="\n")
        (folder / MACHINE).write_text(dump_arch(self.arch), encoding="utf-8", newline="\n")
        save_program(self.program if self.complete is None else self.complete(), folder / PROGRAM)
        if self.outputs:
            # Not numpy.savez: it takes names as keyword arguments, and a tensor may be called "file".
            with zipfile.ZipFile(folder / OUTPUTS, "w") as archive:
                for name, values in self.outputs.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, values, allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """The result that :meth:`save` wrote; ``trace``, ``labels`` and ``mismatch`` are not saved and are None.

        What needs the trace simulates the time again. Raises ConfigError for a file that is missing, damaged or of
        another run.
        """
        source = Path(folder)
        report = read_report(source / REPORT)
        if not (source / MACHINE).is_file():
            raise ConfigError(str(source / MACHINE), "", "the file does not exist")
        arch, program = load_arch(source / MACHINE), load_program(source / PROGRAM)
        hashes = ((MACHINE, "arch_hash", arch.full_hash), (PROGRAM, "program_hash", program_hash(program)))
        for name, key, got in hashes:
            if report[key] != got:
                raise ConfigError(str(source / name), "", f"does not belong to {REPORT}: its hash is {got}")
        if report["arch"] != arch.to_dict():
            raise ConfigError(str(source / MACHINE), "", f"does not belong to {REPORT}: it is another machine")
        outputs: dict[str, NDArray[Any]] = {}
        if not report["options"]["timing_only"]:
            try:
                outputs = read_arrays(source / OUTPUTS)
            except ValueError as error:
                raise ConfigError(str(source / OUTPUTS), "", str(error)) from None
        return cls(report=report, outputs=outputs, program=program, arch=arch)

    def save_trace(self, path: str | Path) -> None:
        """Write the timeline as a file for the Perfetto viewer, compressed if ``path`` ends in ``.gz``.

        Raises ConfigError when no time was simulated, or the file cannot be written.
        """
        if self.report["totals"]["cycles"] is None:
            raise ConfigError(str(path), "", "no time was simulated, so there is no trace", "use level cycle")
        text = trace_text(
            self.program,
            self.timed,
            self.arch,
            title=self.report["workload"],
            version=self.report["accelsim"],
            program_hash=self.report["program_hash"],
        )
        try:
            _write_bytes(Path(path), trace_bytes(text, str(path)))
        except OSError as error:
            raise ConfigError(str(path), "", f"the file cannot be written: {error.strerror or error}") from None

    def __repr__(self) -> str:
        cycles = self.report["totals"]["cycles"]
        time = "no time simulated" if cycles is None else f"{cycles:,} cycles"
        exact = {None: "values not simulated", True: "bit-exact", False: "values differ from the golden model"}
        machine = self.report["arch"]["name"]
        return f"<Result of {self.report['workload']} on {machine}: {time}, {exact[self.report['bit_exact']]}>"

    def _repr_html_(self) -> str:
        """The per-layer table, for notebooks."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in TABLE_HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table(self.report)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _move_files(source: Path, target: Path) -> None:
    """Replace the files of a run by those of another; nothing is touched when one of them cannot be replaced."""
    for name in FILES:
        if (target / name).is_dir():
            raise ConfigError(str(target), "", f"cannot be written: {name} is a directory")
    for name in FILES:
        if (source / name).exists():
            os.replace(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)


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
