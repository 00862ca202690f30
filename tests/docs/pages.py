"""The written pages as the tests see them: fenced blocks, commands, links, headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
"""What users read of the product itself."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its lines, and where its content begins in the page."""

    language: str
    text: str
    start: int
    page: Path

    @property
    def commands(self) -> list[list[str]]:
        """The words of every ``accelsim`` and ``cd`` line of a shell block, comments left out."""
        if self.language != "sh":
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [found for found in words if found and found[0] in ("accelsim", "cd")]


@dataclass(frozen=True)
class Page:
    """A Markdown page."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the root, for messages."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """The fenced blocks, in order."""
        return [Block(match[1], match[2], match.start(2), self.path) for match in _FENCE.finditer(self.text)]

    @cached_property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCE.sub("", self.text)

    @property
    def spans(self) -> Iterator[str]:
        """Inline code, on one line each."""
        return (" ".join(match[2].split()) for match in _SPAN.finditer(self.prose))

    @property
    def links(self) -> Iterator[str]:
        """Targets of links and pictures, other hosts' included."""
        return (match[1] for match in _LINK.finditer(_SPAN.sub("`", self.prose)))

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name behind ``#``, by the rule of code hosts."""
        found: set[str] = set()
        for heading in _HEADING.findall(self.prose):
            plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
            name, number = plain, 1
            while name in found:
                name, number = f"{plain}-{number}", number + 1
            found.add(name)
        return found

    @property
    def shown(self) -> Iterator[tuple[Block, Block]]:
        """A shell block and the ``text`` block right behind it: what its last command prints."""
        for before, after in zip(self.blocks, self.blocks[1:]):
            gap = self.text[before.start + len(before.text) : after.start]
            if before.language == "sh" and after.language == "text" and gap.count("\n") <= 3:
                yield before, after
