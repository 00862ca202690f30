"""Quantities that no machine has: refused with the limits, before any arithmetic overflows."""

from __future__ import annotations

import pytest

from accelsim import runner
from accelsim.errors import ConfigErrors
from accelsim.machine_file import load_arch, parse_settings

RATE = "dram.bytes_per_cycle: must be from 0.0001 to 1e+06 bytes a cycle"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("dram.bytes_per_cycle=1e-30", f"{RATE}, got 1E-30"),
        ("dram.bytes_per_cycle=1e+300", f"{RATE}, got 1E+300"),
        ("dram.bytes_per_cycle=1 B/s", f"{RATE}, got 2E-9"),
        ("dram.peak=1 B/s", "dram.peak: must be from 1e+06 to 1e+15 bytes a second, got 1"),
        ("clock=1e-300 Hz", "clock: a clock must be from 1 kHz to 1000 GHz, got 1e-300 Hz"),
        ("clock=1001 GHz", "clock: a clock must be from 1 kHz to 1000 GHz, got 1001 GHz"),
        ("dram.trcd=1e300 ns", "dram.trcd: a time must be from 0.000001 ns to 1000 ms, got 1e300 ns"),
    ],
)
def test_rates_and_times_beyond_reason_are_refused_with_the_limits(setting: str, text: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_arch("tiny", parse_settings([setting]))
    assert str(caught.value.errors[0]) == f"--set {setting}: {text}"


def test_rates_at_the_limits_are_simulated() -> None:
    for rate in ("1/10000", 10**6):
        arch = load_arch("tiny", {"dram.bytes_per_cycle": rate})
        assert runner.run("lenet_tanh", arch=arch, timing_only=True).report["totals"]["cycles"] > 0
