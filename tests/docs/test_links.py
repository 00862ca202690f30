"""Links between pages lead somewhere, on a code host as well as in the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, Page

OTHERS = (ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", ROOT / "workloads" / "digits" / "README.md")
ALL = (*PAGES, *(path for path in OTHERS if path.is_file()))


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ALL, ids=page_id)
def test_every_link_has_its_target(path: Path) -> None:
    for link in Page(path).links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_relative_to(ROOT), f"{link} leaves the project"
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in Page(target).anchors, f"{link}: there is no such heading"


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=page_id)
def test_pages_of_the_site_link_inside_the_site(path: Path) -> None:
    """What lies outside docs/ is named by its path in code type, so that no link is dead in the site."""
    outside = [link for link in Page(path).links if "://" not in link and link.startswith((".", "/"))]
    assert not outside


def test_the_readme_lists_every_page() -> None:
    linked = set(Page(ROOT / "README.md").links)
    missing = {f"docs/{path.name}" for path in DOCS.glob("*.md")} - linked
    assert not missing


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=page_id)
def test_lists_and_tables_stand_apart(path: Path) -> None:
    """The site's Markdown takes a list or table right behind a line of text for more of that text."""
    before = ""
    for line in Page(path).prose.splitlines():
        item = line.startswith(("- ", "1. ")) and not before.startswith(("- ", "  ")) and not before[:1].isdigit()
        table = line.startswith("|") and not before.startswith("|")
        assert not ((item or table) and before.strip()), f"{before}\n{line}"
        before = line
