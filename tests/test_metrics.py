"""Pinned numbers: what each network takes on each machine. A change moves them on purpose or not at all.

``REASON="why" pytest tests/test_metrics.py --update-golden`` pins what moved, with the reason and the date.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from accelsim import runner
from accelsim.isa.encoding import encode_all

FOLDER = Path(__file__).parent / "golden" / "metrics"
NETWORKS = ("lenet", "lenet_tanh")
MACHINES = ("tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1")
LARGE = (
    ("alexnet", "edge"), ("alexnet", "mid"), ("resnet18", "edge"), ("resnet18", "vta_like"), ("mobilenet_v2", "edge"),
    ("squeezenet", "edge"), ("squeezenet", "vta_like"), ("googlenet_block", "edge"), ("googlenet_block", "mid"),
)  # fmt: skip
CASES = [
    *((network, machine) for network in NETWORKS for machine in MACHINES),
    *(pytest.param(network, machine, marks=pytest.mark.slow) for network, machine in LARGE),
]


def measure(network: str, machine: str) -> dict[str, Any]:
    """The numbers that are pinned.

    ``words_hash`` covers the instructions alone. The report's ``program_hash`` covers the constants too, whose last
    bits may differ between processors: calibration adds float32 values in the order of the BLAS library.
    """
    result = runner.run(network, arch=machine, timing_only=True)
    totals = result.report["totals"]
    keys = ("cycles", "instructions", "dram_read_bytes", "dram_write_bytes")
    return {
        **{key: totals[key] for key in keys},
        "layer_cycles": {row["name"]: row["cycles"] for row in result.rows},
        "words_hash": hashlib.sha256(encode_all(result.program.instructions).tobytes()).hexdigest()[:16],
    }


def moved(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """One line per number that differs: name, before, after."""
    lines = []
    for key in dict.fromkeys((*before, *after)):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{key}.{line}" for line in moved(old, new)]
        elif old != new:
            numbers = isinstance(old, int) and isinstance(new, int) and old
            share = f" ({100 * (new - old) / old:+.2f} %)" if numbers else ""
            lines.append(f"{key}: {old} -> {new}{share}")
    return lines


def complaint(name: str, pinned: dict[str, Any], lines: list[str]) -> str:
    """What a developer reads when numbers moved."""
    return "\n  ".join((f"{name} moved since {pinned['date']} ({pinned['reason']}):", *lines)) + (
        "\nIf that is meant: REASON='why' pytest tests/test_metrics.py --update-golden, and give CHANGELOG.md a line "
        "with before, after and why."
    )


@pytest.mark.parametrize(("network", "machine"), CASES)
def test_pinned_metrics(network: str, machine: str, request: pytest.FixtureRequest) -> None:
    path, name = FOLDER / f"{network}-{machine}.json", f"{network} on {machine}"
    update, measured = request.config.getoption("--update-golden"), measure(network, machine)
    if not update:
        assert path.is_file(), f"{path} is missing; run pytest --update-golden and review it"
    pinned = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"metrics": {}}
    lines = moved(pinned["metrics"], measured)
    if update and lines:
        reason = os.environ.get("REASON", "").strip()
        assert reason, f"{name} moved; say why: REASON='...' pytest tests/test_metrics.py --update-golden"
        pinned = {"network": network, "machine": machine, "date": date.today().isoformat(), "reason": reason}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**pinned, "metrics": measured}, indent=2) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    assert not lines, complaint(name, pinned, lines)


def test_every_pinned_file_belongs_to_a_test_and_gives_a_reason() -> None:
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.iterdir()}
    small = {f"{network}-{machine}" for network in NETWORKS for machine in MACHINES}
    assert set(files) == small | {f"{network}-{machine}" for network, machine in LARGE}
    for pinned in files.values():
        assert len(pinned["reason"]) >= 10
        assert date.fromisoformat(pinned["date"])
        assert sum(pinned["metrics"]["layer_cycles"].values()) == pinned["metrics"]["cycles"]


def test_the_complaint_says_what_moved() -> None:
    before = {"cycles": 200, "layer_cycles": {"conv1": 150, "fc1": 50}, "words_hash": "aa"}
    after = {"cycles": 210, "layer_cycles": {"conv1": 160, "fc1": 50}, "words_hash": "bb"}
    pinned = {"date": "2026-01-02", "reason": "first numbers", "metrics": before}
    assert complaint("lenet on edge", pinned, moved(before, after)) == (
        "lenet on edge moved since 2026-01-02 (first numbers):\n"
        "  cycles: 200 -> 210 (+5.00 %)\n"
        "  layer_cycles.conv1: 150 -> 160 (+6.67 %)\n"
        "  words_hash: aa -> bb\n"
        "If that is meant: REASON='why' pytest tests/test_metrics.py --update-golden, and give CHANGELOG.md a line "
        "with before, after and why."
    )
    assert moved(before, dict(before)) == []
    assert moved({}, {"cycles": 3}) == ["cycles: None -> 3"]
