"""Fixtures for all tests: a small machine, and golden texts that ``--update-golden`` rewrites."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from accelsim.arch import Arch
from accelsim.cache import VARIABLE
from accelsim.machine_file import load_arch

# Nothing in a test depends on how fast the computer is.
settings.register_profile("accelsim", deadline=None)
settings.load_profile("accelsim")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected texts in tests/golden")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor leave plans in the user's cache; processes of one test run share theirs."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(shared / "accelsim-cache"))
        yield


@pytest.fixture(scope="session")
def arch() -> Arch:
    """The smallest shipped machine: 4x4."""
    return load_arch("tiny")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("errors/x.txt", text)`` compares a text with the committed one."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"{path} is missing; run pytest --update-golden and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare
