"""A page read without a browser and without the code that wrote it: its tables, what it refers to, its data."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

REFERRING = {"src", "href", "xlink:href", "srcset", "data", "action", "formaction", "poster", "background", "ping"}
_VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Table:
    """Texts of the cells, row by row; ``keys`` is what each cell of the body is sorted by."""

    caption: str = ""
    head: list[str] = field(default_factory=list)
    body: list[list[str]] = field(default_factory=list)
    keys: list[list[str | None]] = field(default_factory=list)
    foot: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """Everything about a page that can be seen in its text. Unbalanced tags are refused."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[Table] = []
        self.references: list[tuple[str, str]] = []  # (element, target)
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []  # the tags that are not part of a picture
        self.scripts: list[tuple[str | None, str]] = []
        self.styles: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._part = ""
        self._script_type: str | None = None
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    @property
    def data(self) -> Any:
        """The packed timelines."""
        (text,) = [text for kind, text in self.scripts if kind == "application/json"]
        return json.loads(text)

    def table(self, caption: str) -> Table:
        """The only table of that caption."""
        (found,) = [table for table in self.tables if table.caption == caption]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.outside += [tag] if "svg" not in self._open else []
        assert len(values) == len(attrs), f"{tag} has an attribute twice"
        assert not [name for name in values if name.startswith("on")], f"{tag} has a handler"
        self.references += [(tag, value or "") for name, value in attrs if name in REFERRING]
        self.styles += [value or "" for name, value in attrs if name == "style"]
        if values.get("id") is not None:
            self.ids.append(str(values["id"]))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "script":
            self._script_type = values.get("type")
        if tag == "table":
            self.tables.append(Table())
        if tag in ("thead", "tbody", "tfoot", "caption"):
            self._part = tag
        if tag == "tr" and self._part in ("tbody", "tfoot"):
            self._rows().append([])
            if self._part == "tbody":
                self.tables[-1].keys.append([])
        if tag in ("td", "th") and self._part == "thead":
            self.tables[-1].head.append("")
        elif tag in ("td", "th"):
            self._rows()[-1].append("")
            if self._part == "tbody":
                self.tables[-1].keys[-1].append(values.get("data-key"))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes {self._open[-1]}"
        self._open.pop()
        if tag == "table":
            self._part = ""

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts.append((self._script_type, data))
            return
        if inside == "style":
            self.styles.append(data)
            return
        self.texts.append(data)
        if not self._part:
            return
        table = self.tables[-1]
        if self._part == "caption":
            table.caption += data
        elif self._part == "thead" and table.head:
            table.head[-1] += data
        elif self._part in ("tbody", "tfoot") and self._rows() and self._rows()[-1]:
            self._rows()[-1][-1] += data

    def _rows(self) -> list[list[str]]:
        return self.tables[-1].body if self._part == "tbody" else self.tables[-1].foot


class Columns:
    """The columns of packed data, one number after the other."""

    def __init__(self, text: str) -> None:
        self._bytes = zlib.decompress(base64.b64decode(text, validate=True))
        self._at = 0

    def number(self) -> int:
        value = place = 0
        while True:
            byte = self._bytes[self._at]
            self._at += 1
            value |= (byte & 127) << place
            place += 7
            if byte < 128:
                return value

    def plain(self) -> list[int]:
        return [self.number() for _ in range(self.number())]

    def rising(self, count: int | None = None) -> list[int]:
        """Differences, summed up; ``count`` of them if they have no length of their own."""
        values, value = [], 0
        for _ in range(self.number() if count is None else count):
            folded = self.number()
            value += -((folded + 1) // 2) if folded % 2 else folded // 2
            values.append(value)
        return values

    def texts(self, templates: list[list[str]]) -> list[str]:
        chosen = self.plain()
        size = self.number()
        rows: list[list[list[int]]] = []
        for number, pieces in enumerate(templates):
            count = chosen.count(number)
            gaps = [self.rising(count) for _ in pieces[1:]]
            size -= count * len(gaps)
            rows.append([[gap[i] for gap in gaps] for i in range(count)])
        assert size == 0
        taken = [0] * len(templates)
        texts = []
        for number in chosen:
            pieces, numbers = templates[number], rows[number][taken[number]]
            taken[number] += 1
            texts.append(pieces[0] + "".join(f"{n}{piece}" for n, piece in zip(numbers, pieces[1:])))
        return texts

    def end(self) -> bool:
        """Whether everything was read."""
        return self._at == len(self._bytes)


@dataclass
class Timeline:
    """What a page knows of a run. ``spans`` are (unit, instruction, start, stop, wait), unit by unit."""

    asm: list[str]
    tile: list[str]
    layer: list[str]
    accepted: list[int]
    landed: list[int]
    giver: list[int | None]
    spans: list[tuple[str, int, int, int, str]]


def unpacked(run: dict[str, Any]) -> Timeline:
    """The timeline of one run in the page's data."""
    columns = Columns(run["columns"])
    asm, tile = columns.texts(run["asm"]), columns.texts(run["tile"])
    layer = [run["layers"][number - 1] if number else "" for number in columns.rising()]
    lasts, back = columns.plain(), columns.plain()
    accepted = [-1] * len(asm)
    spans = []
    for unit in run["units"]:
        start = 0
        for index, wait, length in zip(columns.rising(), columns.plain(), columns.plain(), strict=True):
            spans.append((unit, index, start, start + length, run["waits"][wait]))
            if not wait:
                accepted[index] = start
            start += length
        assert start == run["cycles"]
    assert columns.end()
    landed = [cycle + last for cycle, last in zip(accepted, lasts, strict=True)]
    giver = [index - steps if steps else None for index, steps in enumerate(back)]
    return Timeline(asm, tile, layer, accepted, landed, giver, spans)
