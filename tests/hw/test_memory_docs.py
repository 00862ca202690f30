"""``docs/memory.md`` shows what the presets reach, measured here with the simulator."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import accelsim
from accelsim.arch import Arch
from accelsim.bundled import presets
from accelsim.execution import run_time
from accelsim.hw.machine import simulate
from accelsim.machine_file import load_arch
from tests.hw.cases import load

PATH = Path(__file__).parents[2] / "docs" / "memory.md"
PAGE = PATH.read_text(encoding="utf-8")
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


def lenet_cycles(machine: str, settings: dict[str, object]) -> int:
    return accelsim.run("lenet", arch=machine, set=settings, timing_only=True).report["totals"]["cycles"]


def test_the_cycles_of_lenet_with_each_device(request: pytest.FixtureRequest) -> None:
    flat = lenet_cycles("edge", {})
    cycles = {preset: lenet_cycles("edge", {"dram.preset": preset}) for preset in ("ddr4-2400", "lpddr4-2400", "hbm2")}
    told = [f"`{preset}`: {count:,}" for preset, count in cycles.items()]
    renew(request, r"LeNet, one image, on `edge`: .*? cycles\.", f"LeNet, one image, on `edge`: `flat`: {flat:,}, "
          f"{', '.join(told)} cycles.")  # fmt: skip


@pytest.mark.parametrize("machine", ["tiny", "edge"])
def test_the_cycles_of_lenet_with_shared_ports(machine: str, request: pytest.FixtureRequest) -> None:
    """The program is that of private ports, run on machines whose ports are shared."""
    private = accelsim.run("lenet", arch=machine, timing_only=True)
    assert private.trace is not None
    cycles = [private.trace.cycles]
    for banks in (16, 8, 4, 2, 1):
        shared = private.arch.replace({"ub.ports": "shared", "ub.banks": banks})
        cycles.append(run_time(private.program, shared, "cycle").cycles)
    assert cycles[0] <= cycles[1]
    row = f"| `{machine}` | {' | '.join(f'{count:,}' for count in cycles)} |"
    renew(request, rf"\| `{machine}` \| \d\d?,.*\|", row)


def renew(request: pytest.FixtureRequest, pattern: str, text: str) -> None:
    """The page says ``text`` where ``pattern`` matches; ``--update-golden`` makes it so."""
    page = PATH.read_text(encoding="utf-8")
    assert len(re.findall(pattern, page)) == 1
    if request.config.getoption("--update-golden"):
        page = re.sub(pattern, text, page)
        PATH.write_text(page, encoding="utf-8", newline="\n")
    assert text in page
