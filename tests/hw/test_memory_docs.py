"""``docs/memory.md`` shows what the presets reach, measured here with the simulator."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from accelsim.arch import Arch
from accelsim.bundled import presets
from accelsim.hw.machine import simulate
from accelsim.machine_file import load_arch
from tests.hw.cases import load

PAGE = (Path(__file__).parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")
WIDE = {  # the device is the bottleneck, not the port
    "clock": "1 GHz", "dram.bytes_per_cycle": 1024, "dram.latency": 20, "dram.outstanding": 1024,
}  # fmt: skip
STREAM_BYTES = 2 << 20
LOADS, SIDE, REACH = 64, 4, 1 << 20  # random access: loads of SIDE**3 bursts, strides below REACH bursts


@dataclass(frozen=True)
class Measured:
    """Bytes a second of the data asked for."""

    streaming: float
    random: float
    peak: float


def wide_machine(preset: str) -> Arch:
    return load_arch("edge", {**WIDE, "dram.preset": preset})


def measure(preset: str) -> Measured:
    arch = wide_machine(preset)
    burst = arch.dram.burst_bytes
    stream = simulate([load(STREAM_BYTES)], arch)
    dice = random.Random(7)
    scattered = []
    for _ in range(LOADS):
        loops = tuple((SIDE, burst * dice.randrange(1, REACH)) for _ in range(3))
        scattered.append(load(burst, start=burst * dice.randrange(REACH), loops=loops))
    scatter = simulate(scattered, arch)
    second = float(arch.clock_hz)
    return Measured(
        STREAM_BYTES * second / stream.cycles,
        LOADS * SIDE**3 * burst * second / scatter.cycles,
        float(arch.dram.device.peak_bytes_per_s),
    )


def row(preset: str, measured: Measured) -> str:
    cells = [f"`{preset}`", f"{measured.peak / 1e9:.1f}"]
    for rate in (measured.streaming, measured.random):
        cells += [f"{rate / 1e9:.1f}", f"{100 * rate / measured.peak:.1f} %"]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("preset", presets())
def test_the_table_of_bandwidths(preset: str) -> None:
    measured = measure(preset)
    assert row(preset, measured) in PAGE
    device = wide_machine(preset).dram.device
    refreshing = float(device.trfc_ns / device.trefi_ns)
    assert 0.97 * (1 - refreshing) < measured.streaming / measured.peak < 1 - refreshing + 0.02
    assert measured.random < 0.6 * measured.peak


@pytest.mark.parametrize("preset", presets())
def test_the_page_names_the_source_of_each_preset(preset: str) -> None:
    text = presets()[preset].read_text(encoding="utf-8")
    assert text.splitlines()[1].startswith("# Source: ")
    assert f"`{preset}`" in PAGE
