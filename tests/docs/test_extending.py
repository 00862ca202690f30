"""``docs/extending.md`` sends nobody astray: its files exist, and hold the names that stand beside them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, Page

PAGE = Page(DOCS / "extending.md")
FILE = re.compile(r"[\w/]+\.(?:py|md|yaml)")
PLACEHOLDER = "NAME"
NO_NAMES = {"match", "assert_never", "op", "hw", "Axes", "accelsim list", "extends"}
"""Words in code type that are not names of the files beside them."""


def located(name: str) -> Path:
    """A path as the page writes it."""
    beside = name.startswith(("tests/", "docs/", "configs/", "workloads/", "sweeps/")) or name == "CHANGELOG.md"
    return ROOT / name if beside else ROOT / "accelsim" / name


def test_every_file_exists() -> None:
    named = [span for span in PAGE.spans if FILE.fullmatch(span) and PLACEHOLDER not in span]
    assert len(named) > 70
    missing = [name for name in named if not located(name).is_file()]
    assert not missing


def test_every_name_is_in_the_files_beside_it() -> None:
    looked_up = 0
    for row in re.findall(r"^\| `.*$", PAGE.text, re.MULTILINE):
        cells = [re.findall(r"`([^`]+)`", cell) for cell in row.strip("|").split(" | ")]
        files = [name for name in cells[0] + cells[1] if FILE.fullmatch(name) and PLACEHOLDER not in name]
        text = "\n".join(located(name).read_text(encoding="utf-8") for name in files)
        for name in cells[1]:
            if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)?", name) and name not in NO_NAMES:
                assert name.rpartition(".")[2] in text, f"{name}: {row}"
                looked_up += 1
    assert looked_up > 40
