"""Pieces of HTML: every text is escaped here, and numbers carry what a table is sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

NONE = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: ``html`` as it stands, ``key`` to sort by (a number, a text, or None: always last)."""

    html: str
    key: float | str | None
    number: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; ``about`` is shown when the pointer rests on it."""

    name: str
    about: str = ""
    number: bool = True


def text(value: object) -> Cell:
    """A text; None is a dash."""
    return Cell(NONE, None) if value is None else Cell(escape(str(value)), str(value))


def number(value: float | None, shown: str | None = None) -> Cell:
    """A number, with thousands separated if it is whole, or ``shown`` instead; None is a dash."""
    if value is None:
        return Cell(NONE, None, number=True)
    return Cell(escape(f"{value:,}" if shown is None else shown), value, number=True)


def percent(share: float | None, digits: int = 1) -> Cell:
    """A share of 1 in percent."""
    return number(share, None if share is None else f"{100 * share:.{digits}f}")


def times(value: float | None, base: float | None) -> Cell:
    """``value`` as a multiple of ``base``; a dash where there is nothing to divide."""
    if value is None or not base:
        return number(None)
    return number(value / base, f"{value / base:.2f}x")


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, name: str, style: str = "", foot: Sequence[Cell] = ()
) -> str:
    """A table that ``tables.js`` sorts by any column; ``foot`` is the row that stays below. ``name`` is its caption,
    ``style`` a class of its own in ``page.css``.
    """
    head = "".join(_head(column) for column in columns)
    body = "".join(_row(row) for row in rows)
    end = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    kind = f"sortable {style}".strip()
    return (
        f'<div class="wide"><table class="{kind}"><caption>{escape(name)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody>{end}</table></div>"
    )


def facts(values: Mapping[str, Cell]) -> str:
    """Names and their values, one below the other."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th>{_cell(cell)}</tr>' for name, cell in values.items())
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def details(summary: str, html: str, *, opened: bool = False) -> str:
    """Something that is shown when it is asked for."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{html}</details>"


def preformatted(value: str) -> str:
    """A text as it is typed."""
    return f'<pre tabindex="0">{escape(value)}</pre>'


def _head(column: Column) -> str:
    about = f' title="{escape(column.about)}"' if column.about else ""
    sort = "n" if column.number else "t"
    return f'<th scope="col" class="{sort}"{about} aria-sort="none"><button>{escape(column.name)}</button></th>'


def _row(cells: Sequence[Cell]) -> str:
    return f"<tr>{''.join(_cell(cell) for cell in cells)}</tr>"


def _cell(cell: Cell) -> str:
    key = "" if cell.key is None else f' data-key="{escape(str(cell.key))}"'
    return f"<td{' class=n' if cell.number else ''}{key}>{cell.html}</td>"
