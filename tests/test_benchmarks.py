"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from accelsim.nn.facts import layer_facts
from accelsim.runner import open_network

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("scalesim_peer", FOLDER / "scalesim_peer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_small_network_is_measured_in_every_case(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    command = [sys.executable, str(FOLDER / "alexnet.py"), "--workload", "lenet", "--repeats", "1"]
    done = subprocess.run([*command, "--json", str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lenet on edge, median of 1\n")
    figures = json.loads(target.read_text(encoding="utf-8"))
    assert set(figures["stages_s"]) == {
        "import", "load", "quantise", "compile", "check", "timing", "functional", "golden", "report",
    }  # fmt: skip
    assert len(figures["cases"]) == 6
    assert all(case["peak_bytes"] > 1 << 20 for case in figures["cases"].values())
    assert figures["matmul_s"] > 0


def test_the_peer_gets_the_same_multiplications(peer: ModuleType, tmp_path: Path) -> None:
    shapes = subprocess.run(
        [sys.executable, "-c", peer.SHAPES, "alexnet"], capture_output=True, text=True, check=True
    )
    rows = peer.topology(json.loads(shapes.stdout))
    macs = sum(
        ((height - r) // stride + 1) * ((width - s) // stride + 1) * r * s * channels * filters
        for _, height, width, r, s, channels, filters, stride in rows
    )
    facts = layer_facts(open_network("alexnet").quantize(), 1)
    assert macs == sum(row.macs for row in facts if row.kind == "conv")
    peer.write_inputs(tmp_path, 32, rows)
    assert (tmp_path / "peer.csv").read_text(encoding="utf-8").count(",\n") == len(rows) + 1


def test_a_peer_that_cannot_be_installed_is_skipped(peer: ModuleType, monkeypatch, capsys) -> None:
    monkeypatch.setattr(peer, "install", lambda folder: (folder, "no index"))
    monkeypatch.setattr(sys, "argv", ["scalesim_peer.py"])
    peer.main()
    assert capsys.readouterr().out == "skipped: SCALE-Sim cannot be installed: no index\n"


def test_the_peer_s_figures_are_told_as_ratios(peer: ModuleType) -> None:
    run = {"cpu_s": 2.0, "peak_bytes": 200 << 20, "convolution_cycles": 700, "bit_exact": True}
    scalesim = {"cpu_s": 90.0, "peak_bytes": 2000 << 20, "cycles": 800, "rows": 8}
    text = peer.report({"scalesim": scalesim, "values, time and check": run, "time alone": run})
    assert "45.0" in text
    assert "10.0" in text
