"""The static site: it builds without a warning, has every page, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import DOCS, ROOT

CONFIG = ROOT / "mkdocs.yml"


def entries(nav: Any) -> list[str]:
    """The files of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [name for part in parts for name in entries(part)]


def test_the_navigation_has_every_page_once() -> None:
    nav = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["nav"]
    assert sorted(entries(nav)) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(CONFIG), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_becomes_one(site: Path) -> None:
    for path in DOCS.glob("*.md"):
        html = (site / f"{path.stem}.html").read_text(encoding="utf-8")
        title = re.sub(r"`", "", path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))
        assert title in re.sub(r"</?code>", "", html)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Links to other hosts are for readers to follow; what a page loads by itself lies beside it."""
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)\s*=\s*["']?((?:https?:)?//[^"'>]+)""", re.I)
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text(encoding="utf-8")), page.name
    foreign = re.compile(r"""(?:@import|url\()\s*["']?(?:https?:)?//""")
    for sheet in site.rglob("*.css"):
        assert not foreign.findall(sheet.read_text(encoding="utf-8")), sheet.name
