"""Tables and colours on stdout; imports rich, so only commands that print a table import this module."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_FILE_WIDTH = 200  # columns when stdout is no terminal: never cut or wrap a row


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to the command line; rich would exit with 1, which means that values differ."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console() -> Console:
    """Plain text when stdout is no terminal or NO_COLOR is set; nothing in a text is taken for markup."""
    width = None if sys.stdout.isatty() else _FILE_WIDTH
    return _Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[str] = (), total: bool = False
) -> None:
    """Print rows of text; columns named in ``left`` align left, numbers right. ``total``: the last row is a sum."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in header:
        grid.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for index, row in enumerate(rows):
        last = total and index == len(rows) - 1
        grid.add_row(*row, style="bold" if last else None, end_section=total and index == len(rows) - 2)
    console().print(grid)


def print_verdicts(rows: Sequence[Mapping[str, Any]]) -> None:
    """What each layer's time was spent on, one line each; layers that others do are left out."""
    told = [(row["name"], row["verdict"]) for row in rows if row["verdict"] and not row["host"]]
    width = max((len(name) for name, _ in told), default=0)
    for name, verdict in told:
        console().print(f" {name:{width}}  {verdict}", soft_wrap=True)
    if told:
        console().print()


def print_styled(before: str, word: str, style: str, after: str) -> None:
    """One line with one coloured word."""
    console().print(Text.assemble(before, (word, style), after), soft_wrap=True)
