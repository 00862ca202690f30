"""DRAM and energy parts of hand-made machines."""

from __future__ import annotations

from fractions import Fraction

from accelsim.dram_arch import DeviceArch, DramArch
from accelsim.machine_file import load_arch

ENERGY = load_arch("tiny").energy

DEVICE = DeviceArch(
    channels=2,
    banks=4,
    row_bytes=1024,
    access_bytes=32,
    peak_bytes_per_s=Fraction(8 * 10**9),
    trcd_ns=Fraction(10),
    trp_ns=Fraction(12),
    tcas_ns=Fraction(14),
    tcwl_ns=Fraction(8),
    tras_ns=Fraction(30),
    trfc_ns=Fraction(100),
    trefi_ns=Fraction(1000),
)


def flat_dram(*, bytes_per_cycle: Fraction, latency: int, burst_bytes: int, outstanding: int) -> DramArch:
    """A port with the flat model behind it."""
    return DramArch(
        kind="flat",
        bytes_per_cycle=bytes_per_cycle,
        latency=latency,
        burst_bytes=burst_bytes,
        outstanding=outstanding,
        device=DEVICE,
    )
