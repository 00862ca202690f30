"""``docs/explain.md`` has every sentence that the compiler says of a choice, every verdict, and every change tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelsim import runner, verdict
from accelsim.explain import standard_changes
from accelsim.machine_file import load_arch
from tests.docs.pages import DOCS

TEXT = (DOCS / "explain.md").read_text(encoding="utf-8")
SENTENCES = re.findall(r"^\| `([^`]+)` \|", TEXT.partition("## Choices")[2].partition("## JSON")[0], re.MULTILINE)
WIDE = """\
schema: 1
input: {shape: [40, 40, 48]}
layers:
  - {name: c1, kind: conv, channels: 64, kernel: 3, padding: 1, activation: relu}
  - {name: d, kind: conv, channels: 64, kernel: 3, groups: 64, padding: 1}
  - {name: p, kind: conv, channels: 40, kernel: 1}
  - {name: g, kind: conv, channels: 20, kernel: 3, groups: 4, padding: 1}
  - {name: fc, kind: fc, channels: 40}
"""


def patterns() -> list[str]:
    """The sentences as regular expressions: capitals stand for numbers and names, so does 1.55x."""
    found = []
    for sentence in SENTENCES:
        text = re.sub(r"([^\w ,:;])", r"\\\1", sentence)
        text = text.replace("NAME 1\\.55x", ".+").replace("NAME", r"[\w+ ]+").replace("LAYER", r"[\w-]+")
        text = text.replace("RxC", "Nx[0-9]+").replace("HxW", "Nx[0-9]+").replace("rows", "rows?")
        found.append(re.sub(r"\b(?<!N )[NAKTBGPCR](?=\b|x)", "[0-9,]+", text))  # "N B" are bytes
    return found


@pytest.mark.parametrize("arch", ["tiny", "edge", "vta_like"])
@pytest.mark.parametrize("workload", ["lenet", "wide"])
def test_every_choice_is_described(workload: str, arch: str, tmp_path: Path) -> None:
    file = tmp_path / "wide.yaml"
    file.write_text(WIDE, encoding="utf-8")
    stages: dict[str, str] = {}
    runner.compile_file(file if workload == "wide" else workload, arch=arch, batch=2, dump=stages.__setitem__)
    known = patterns()
    for line in stages["choose"].splitlines():
        rest = line.partition(": ")[2]
        for pattern in sorted(known, key=len, reverse=True):
            rest = re.sub(pattern, "", rest)
        rest = re.sub(r"[\d,]+ x [\d,]+|[\d,]+|\bas\b|[ ;+,]|B\b|rows?\b", "", rest)
        assert not rest, (line, rest)


def test_every_verdict_is_described() -> None:
    table = TEXT.partition("## Verdicts")[2].partition("## Changes")[0]
    source = Path(verdict.__file__).read_text(encoding="utf-8")
    told = re.findall(r'"((?:waits|hidden|bound) [^"{]+?)"', source) + re.findall(r'f"(bound by [a-zA-Z ]+?):', source)
    assert len(told) > 7
    for text in told:
        assert f"| {text} " in table or text in table, text
    for kind in (verdict.WEIGHT, verdict.ACTIVATION, verdict.PARAMETER, verdict.OUTPUT, verdict.INSTRUCTION):
        assert kind in table


def test_every_change_is_described() -> None:
    table = TEXT.partition("## Changes")[2].partition("## Choices")[0]
    for machine in (load_arch("edge"), load_arch("edge", {"dram.preset": "hbm2"})):
        for change in standard_changes(machine):
            (row,) = re.findall(rf"^\| {re.escape(change.name)} \|(.*)$", table, re.MULTILINE)
            assert all(f"`{key}`" in table for key in change.settings)
            own = set(change.settings) - {"dram.bytes_per_cycle", "dram.channels", "dram.peak"}
            assert all(f"`{key}`" in row for key in own)
