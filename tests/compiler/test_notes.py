"""What the compiler says of its choices is what it did."""

from __future__ import annotations

import re

import pytest

import accelsim

BANDED = "lenet"


def choices(workload: str, arch: str, **changes: object) -> tuple[dict[str, list[str]], accelsim.Result]:
    stages: dict[str, str] = {}
    machine = accelsim.load_arch(arch, {key.replace("_", "."): value for key, value in changes.items()})
    accelsim.compile(workload, arch=machine, dump=stages.__setitem__)
    told: dict[str, list[str]] = {}
    for line in stages["choose"].splitlines():
        layer, _, text = line.partition(": ")
        told.setdefault(layer, []).append(text)
    return told, accelsim.run(workload, arch=machine, timing_only=True)


@pytest.mark.parametrize(("arch", "changes"), [("tiny", {}), ("edge", {}), ("tiny", {"ub_size": 4096})])
def test_tiles_and_packings_are_those_of_the_program(arch: str, changes: dict[str, object]) -> None:
    told, result = choices(BANDED, arch, **changes)
    program = result.program
    for row in result.rows:
        texts = told.get(row["name"], [])
        if not row["cycles"]:
            continue
        assert texts, row["name"]
        named = [text for text in texts if text.startswith("packing ")]
        if row["macs"]:
            assert named[0].startswith(f"packing {row['packing']}: ")
        layer = program.layers.index(row["name"])
        labels = {t for t, owner in zip(program.tile_of, program.layer_of) if owner == layer and "channels" in t}
        spots = {label.partition(" channels")[0] for label in labels}
        head = texts[0]
        if head.startswith("follows "):
            assert re.match(r"follows \w+ strip by strip, \d+ rows? at a time", head)
        else:
            count = re.match(r"(\d+) tiles of ", head)
            assert len(spots) == (int(count[1]) if count else 1), (row["name"], head)


def test_strips_from_dram_are_told() -> None:
    told, _ = choices(BANDED, "tiny", ub_size=1280)
    assert any("comes from DRAM in strips of" in text for texts in told.values() for text in texts)
    whole, _ = choices(BANDED, "edge")
    assert not any("comes from DRAM in strips of" in text for text in whole["conv2"])


def test_no_other_packing_is_cheaper_by_the_closed_form() -> None:
    told, _ = choices(BANDED, "edge")
    found = [text for texts in told.values() for text in texts if text.startswith("other packings")]
    assert found
    for text in found:
        assert all(float(ratio) >= 1 for ratio in re.findall(r"(\d+\.\d+)x", text))
