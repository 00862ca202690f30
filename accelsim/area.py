"""Area of a machine from its sizes and the numbers of its energy table; ``docs/energy.md`` describes the parts.

Parts are rounded to 2^-20 mm2 (about 1 um2), so that they add up exactly to the total in double precision.
"""

from __future__ import annotations

from accelsim.arch import Arch
from accelsim.energy import SUM_BITS, sum_bits, ub_ports
from accelsim.energy_arch import MEMORIES
from accelsim.isa.fields import WORD_BYTES
from accelsim.isa.protocol import Unit

PARTS = ("array", "ub", "wgt", "acc", "param", "alu", "control", "other")
BUFFER_PARTS = MEMORIES
_QUANTA = 2**20
_UM2_PER_MM2 = 10**6
_OPERAND_BITS = 8
_TABLE_BITS = 256 * 8  # of lut, in every lane


def area_mm2(arch: Arch) -> dict[str, float]:
    """Square millimetres by part; they sum to the area of the machine."""
    energy = arch.energy
    factor = energy["layout_factor"]
    register = energy["register_area"] / _UM2_PER_MM2
    lane = energy["lane_area"] / _UM2_PER_MM2 + register * (SUM_BITS * arch.alu.latency + _TABLE_BITS)
    queued = arch.queue_depth * len(Unit) + arch.prefetch_words
    parts = {
        "array": _pes(arch) + register * _skew_bits(arch),
        **{memory: _memory(arch, memory) for memory in MEMORIES},
        "alu": lane * arch.alu.lanes,
        "control": register * queued * 8 * WORD_BYTES,
    }
    placed = {name: factor * size for name, size in parts.items()}
    shares = {name: energy[f"{name}_area_share"] for name in ("control", "other")}
    whole = sum(placed.values()) / (1 - sum(shares.values()))
    placed["control"] += shares["control"] * whole
    placed["other"] = shares["other"] * whole
    return {name: round(placed[name] * _QUANTA) / _QUANTA for name in PARTS}


def _pes(arch: Arch) -> float:
    """The processing elements: multiplier and adder, and every register of ``hw/pe.py``."""
    energy, array = arch.energy, arch.array
    bits = 2 * _OPERAND_BITS + sum_bits(arch)
    if array.weights == "shadow":  # a second weight, or under os a drain register
        bits += sum_bits(arch) if array.dataflow == "os" else _OPERAND_BITS
    pe_um2 = energy[f"mac_{energy.operands}_area"] + energy["register_area"] * bits
    return array.rows * array.cols * pe_um2 / _UM2_PER_MM2


def _skew_bits(arch: Arch) -> int:
    """Registers around the array: lanes of activations and weights coming in, columns of sums going out."""
    rows, cols = arch.array.rows, arch.array.cols
    entering = rows * (rows - 1) // 2 + cols * (cols - 1) // 2
    return _OPERAND_BITS * entering + sum_bits(arch) * cols * (cols + 1) // 2


def _memory(arch: Arch, memory: str) -> float:
    own = arch.energy.get(f"{memory}_area")
    mib = getattr(arch, f"{memory}_bytes") / 2**20
    if own is not None:
        return mib * own
    ports = ub_ports(arch) if memory == "ub" else 1
    return mib * arch.energy["sram_area"] * (1 + arch.energy["ub_port_area_share"] * (ports - 1))
