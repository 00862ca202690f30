"""docs/compiler.md names every stage that can be dumped, and modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

from accelsim import runner

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "compiler.md").read_text(encoding="utf-8")


def test_the_stages_of_dump():
    stages = {}
    runner.compile_file("lenet", arch="edge", dump=stages.__setitem__)
    (sentence,) = re.findall(r"--dump STAGE` prints what a pass made: (.*?)\.", TEXT, re.DOTALL)
    assert re.findall(r"`(\w+)`", sentence) == list(stages)
    assert all(text.strip() for text in stages.values())


def test_the_modules_of_the_table():
    named = re.findall(r"`([\w/]+\.py)`", TEXT.partition("## Lower")[0])
    files = {path.name for path in (ROOT / "accelsim" / "compiler").glob("*.py")} - {"__init__.py"}
    assert {name for name in named if "/" not in name} == files
    assert all((ROOT / "accelsim" / name).is_file() for name in named if "/" in name and "accelsim" not in name)
