"""SCALE-Sim topology files (CSV) as workload files: every row becomes a layer of its own, with its own input.

A file is read as SCALE-Sim reads it: a header, then a row per layer, split at commas, with the last field of a row left
out. Output sizes are rounded up there; padding at the bottom and on the right makes up for it, so that the
multiply-accumulates are the same. A layer with ``DP`` in its name is depthwise: each channel has all the filters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.nn.schema_values import SIZE_LIMIT
from accelsim.yamlio import Mark, dump_yaml, error_at, read_text

CONV = ("IFMAP height", "IFMAP width", "filter height", "filter width", "channels", "filters", "stride")
GEMM = ("M", "N", "K")
FORMS = (
    "'Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,' "
    "or 'Layer, M, N, K,'"
)
CONTROL = re.compile(r"[^\t\n\r -~\xa0-\ud7ff\ue000-\U0010ffff]")  # such a character may do anything to a terminal


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of a topology: its name there, and its numbers in the order of ``CONV`` or ``GEMM``."""

    name: str
    numbers: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates as SCALE-Sim counts them."""
        if len(self.numbers) == len(GEMM):
            m, n, k = self.numbers
            return m * n * k
        _, _, r, s, c, k, _ = self.numbers
        return self.outputs(0) * self.outputs(1) * r * s * c * k

    def outputs(self, axis: int) -> int:
        """Windows of a convolution along height (0) or width (1), the last one partly outside."""
        size, kernel, stride = self.numbers[axis], self.numbers[axis + 2], self.numbers[6]
        return -(-(size - kernel) // stride) + 1

    def excess(self, axis: int) -> int:
        """Rows or columns by which the last window is outside."""
        size, kernel, stride = self.numbers[axis], self.numbers[axis + 2], self.numbers[6]
        return (self.outputs(axis) - 1) * stride + kernel - size


def read_topology(path: str | Path) -> tuple[Row, ...]:
    """The layers of a file. Raises ConfigError for a file that cannot be read, ConfigErrors with all its mistakes."""
    return _Reader(str(path), read_text(path)).rows()


def workload_text(rows: Sequence[Row], source: str) -> str:
    """A workload file of independent layers; ``source`` is the name of the topology file."""
    names = _names([row.name for row in rows])
    head = [
        f"# Layers of the SCALE-Sim topology {_plain(source)}, each on its own; random weights.",
        "schema: 1", f"name: {_text(_identifier(Path(source).stem))}",
    ]  # fmt: skip
    if all(len(row.numbers) == len(GEMM) for row in rows):
        layers = [_gemm_line(name, row) for name, row in zip(names, rows)]
        return "\n".join([*head, "layers:", *layers, ""])
    inputs = _names([f"{name}_in" for name in names], taken=names)
    lines = ["inputs:"]
    lines += [f"  - {{name: {_text(name)}, shape: {_list(row, 0, 1, 4)}}}" for name, row in zip(inputs, rows)]
    lines += ["outputs:", *(f"  - {_text(name)}" for name in names), "layers:"]
    lines += [_conv_line(name, source, row) for name, source, row in zip(names, inputs, rows)]
    return "\n".join([*head, *lines, ""])


def _gemm_line(name: str, row: Row) -> str:
    m, n, k = row.numbers
    return f"  - {{name: {_text(name)}, kind: gemm, m: {m}, k: {k}, n: {n}}}"


def _conv_line(name: str, source: str, row: Row) -> str:
    _, _, _, _, channels, filters, stride = row.numbers
    depthwise = "DP" in row.name
    text = f"name: {_text(name)}, kind: conv, channels: {channels * filters if depthwise else filters}"
    text += f", kernel: {_list(row, 2, 3)}"
    if stride > 1:
        text += f", stride: {stride}"
    if row.excess(0) or row.excess(1):
        text += f", padding: [0, {row.excess(0)}, 0, {row.excess(1)}]"
    if depthwise and channels > 1:
        text += f", groups: {channels}"
    return f"  - {{{text}, input: {_text(source)}}}"


def _list(row: Row, *fields: int) -> str:
    return str([row.numbers[field] for field in fields])


def _text(name: str) -> str:
    """A name as YAML text, in quotes where it would be a number or the like."""
    return dump_yaml([name])[2:].strip()


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]", "_", text)


def _identifier(name: str) -> str:
    """A name that workload files allow."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name.strip()).lstrip("-") or "layer"


def _names(wanted: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Allowed names, each once: the second of equal ones ends in ``_2``, and so on."""
    plain = [_identifier(name) for name in wanted]
    reserved, seen = set(plain), set(taken)
    names = []
    for name in plain:
        unique, count = name, 1
        while unique in seen or (count > 1 and unique in reserved):
            count += 1
            unique = f"{name}_{count}"
        seen.add(unique)
        names.append(unique)
    return names


class _Reader:
    """Reads the text of a file and collects what is wrong with it."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.errors: list[ConfigError] = []

    def rows(self) -> tuple[Row, ...]:
        strange = CONTROL.search(self.text)
        if strange:
            line = self.text.count("\n", 0, strange.start()) + 1
            column = strange.start() - self.text.rfind("\n", 0, strange.start())
            problem = f"the character U+{ord(strange[0]):04X} is not allowed"
            raise error_at(self.path, "", Mark(line, column), "", problem)
        lines = self.text.splitlines()
        first = next((index for index, line in enumerate(lines) if line.strip()), None)
        if first is None:
            raise self._error(1, 1, "the file is empty", f"expected a header: {FORMS}")
        columns = self._columns(lines[first])
        if columns is None:
            raise self._error(first + 1, 1, "the first line is not the header of a topology", f"expected {FORMS}")
        found = [
            self._row(index + 1, line, columns) for index, line in enumerate(lines) if index > first and line.strip()
        ]
        if not found:
            raise self._error(first + 1, 1, "no layer follows the header")
        if self.errors:
            raise ConfigErrors(tuple(self.errors))
        return tuple(row for row in found if row is not None)

    def _columns(self, header: str) -> tuple[str, ...] | None:
        words = [word.strip().lower() for word in header.split(",")]
        if words[1:4] == ["m", "n", "k"]:
            return GEMM
        return CONV if len(words) > len(CONV) and words[1].startswith("ifmap") else None

    def _row(self, line: int, text: str, columns: tuple[str, ...]) -> Row | None:
        fields = text.split(",")
        starts = [sum(len(field) + 1 for field in fields[:index]) for index in range(len(fields))]
        places = [start + len(field) - len(field.lstrip()) + 1 for start, field in zip(starts, fields)]
        before = len(self.errors)
        if not fields[0].strip():
            self._report(line, places[0], "the layer has no name")
        if len(fields) <= len(columns):
            missing = columns[len(fields) - 1]
            self._report(line, len(text.rstrip()), f"the row ends before its {missing}", "name, " + ", ".join(columns))
            return None
        numbers = [
            self._number(line, place, field.strip(), what)
            for what, field, place in zip(columns, fields[1:], places[1:])
        ]
        for field, place in list(zip(fields, places))[len(columns) + 1 : -1]:
            self._check_more(line, place, field.strip())
        row = Row(fields[0].strip(), tuple(numbers))
        if len(self.errors) == before and columns == CONV:
            self._check_windows(line, places, row)
        return row if len(self.errors) == before else None

    def _number(self, line: int, place: int, text: str, what: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= SIZE_LIMIT:
            self._report(line, place, f"{what} must be a whole number from 1 to {SIZE_LIMIT}, got {text[:40]!r}")
            return 1
        return int(text)

    def _check_more(self, line: int, place: int, text: str) -> None:
        """After the numbers only a ratio without sparsity may stand."""
        ratio = re.fullmatch(r"([0-9]+):([0-9]+)", text)
        if ratio and ratio[1] != ratio[2]:
            self._report(line, place, f"the sparsity {text} cannot be modelled", "only dense layers")
        elif text and not ratio:
            self._report(line, place, f"{text[:40]!r} has no meaning here", "the last field of a row may hold a remark")

    def _check_windows(self, line: int, places: Sequence[int], row: Row) -> None:
        for axis, letter in enumerate(("height", "width")):
            size, kernel = row.numbers[axis], row.numbers[axis + 2]
            if kernel > size:
                self._report(line, places[axis + 3], f"the filter {letter} {kernel} is larger than the IFMAP's {size}")
            elif row.excess(axis) > kernel:
                hint = "SCALE-Sim rounds output sizes up; a smaller IFMAP leaves that window out"
                self._report(line, places[7], f"the last window of the {letter} lies outside the IFMAP", hint)

    def _report(self, line: int, column: int, problem: str, hint: str = "") -> None:
        self.errors.append(self._error(line, column, problem, hint))

    def _error(self, line: int, column: int, problem: str, hint: str = "") -> ConfigError:
        return error_at(self.path, self.text, Mark(line, column), "", problem, hint)
