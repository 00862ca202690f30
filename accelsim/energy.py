"""Energy of a run: action counts times the numbers of the machine's energy table, and constant power times time.

Every cell (one layer, one term) is rounded to 1/1024 pJ; sums of cells, in whatever order, are then exact in double
precision up to 8 J. ``docs/energy.md`` describes the terms; nothing in ``hw`` knows of energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accelsim.actions import Action, Counts, count_actions
from accelsim.arch import Arch
from accelsim.energy_arch import MEMORIES, PICOJOULE
from accelsim.isa.instructions import Instr

ARRAY, BUFFERS, DRAM, ALU, CONTROL, LEAKAGE, OTHER = COMPONENTS = (
    "array", "buffers", "dram", "alu", "control", "leakage", "other",
)  # fmt: skip
STATIC = (LEAKAGE, OTHER)
"""Components that cost with time; the others cost with work."""

QUANTA = 1024  # parts of a pJ to which cells are rounded
REFERENCE_BANK_BYTES = 8192
REFERENCE_PORT_BITS = 64
SUM_BITS = 32  # of ACC
UB_PORTS = 4  # gemm read, alu read, alu write, DMA; one if units share the banks' ports
_DIGITS = 6  # significant digits of a derived price, so that no power law depends on the last bit of a library
_PJ_PER_UJ = 10**6

_PRICES: tuple[tuple[Action, str, str], ...] = (
    (Action.REGISTER_ACCESS, ARRAY, "register_access"),
    (Action.OPERAND_MOVE, ARRAY, "operand_move"),
    (Action.OPERAND_REGISTER, ARRAY, "operand_register"),
    (Action.SUM_MOVE, ARRAY, "sum_move"),
    (Action.SUM_REGISTER, ARRAY, "sum_register"),
    (Action.ACC_ADD, ARRAY, "acc_add"),
    (Action.ALU_ADD, ALU, "alu_add"),
    (Action.ALU_MULTIPLY, ALU, "alu_multiply"),
    (Action.FP32_MULTIPLY, ALU, "fp32_multiply"),
    (Action.FP32_CONVERT, ALU, "fp32_convert"),
    (Action.ALU_LOOKUP, ALU, "alu_lookup"),
    (Action.ALU_STAGE, ALU, "alu_stage"),
    (Action.INSTRUCTION, CONTROL, "instruction"),
)


class Term(NamedTuple):
    """One line of the bill: what is counted (``cycles`` if ``action`` is None), where it belongs, pJ each."""

    name: str
    component: str
    action: Action | None
    pj: Fraction


class Banks(NamedTuple):
    """How a memory is built: ``number`` banks of ``bank_bytes`` with a port of ``port_bits`` each."""

    number: int
    bank_bytes: Fraction
    port_bits: int


@dataclass(frozen=True)
class Energy:
    """The bill of a run: ``cells[layer][term]`` in pJ, ``counts`` of every term, over the whole run."""

    terms: tuple[Term, ...]
    cells: tuple[tuple[float, ...], ...]
    counts: tuple[int, ...]

    @cached_property
    def total_pj(self) -> float:
        """Everything; exactly the sum of the layers, of the components and of the terms."""
        return sum(self.layer_pj(layer) for layer in range(len(self.cells)))

    def layer_pj(self, layer: int, component: str | None = None) -> float:
        """One layer, or one component of it."""
        cells = zip(self.terms, self.cells[layer])
        return sum(cell for term, cell in cells if component in (None, term.component))

    def component_pj(self, component: str) -> float:
        """One component over all layers."""
        return sum(self.layer_pj(layer, component) for layer in range(len(self.cells)))

    def term_pj(self, place: int) -> float:
        """One term over all layers."""
        return sum(cells[place] for cells in self.cells)


def banks_of(arch: Arch, memory: str) -> Banks:
    """The banks of ``ub``, ``wgt``, ``acc`` or ``param``: side by side as wide as the memory's widest access."""
    cols, rows = arch.array.cols, arch.array.rows
    size, row_bits = {
        "ub": (arch.ub_bytes, 8 * max(rows, cols)),
        "wgt": (arch.wgt_bytes, 8 * cols),
        "acc": (arch.acc_bytes, 32 * cols),
        "param": (arch.param_bytes, 32 * cols),
    }[memory]
    narrowest = min(arch.energy.port_bits, row_bits)
    count = arch.energy.banks[MEMORIES.index(memory)]
    if count is None:
        count = -(-row_bits // narrowest)
        count *= arch.ub_banks if memory == "ub" and arch.ub_ports == "shared" else 1
    return Banks(count, Fraction(size, count), max(narrowest, -(-row_bits // count)))


def ub_ports(arch: Arch) -> int:
    """Ports of every UB bank."""
    return UB_PORTS if arch.ub_ports == "private" else 1


def sum_bits(arch: Arch) -> int:
    """Width of the sums in and beside the array: a sign, and what ``rows`` products of -128 x -128 reach; os: all."""
    return SUM_BITS if arch.array.dataflow == "os" else 1 + (arch.array.rows * 2**14).bit_length()


def sram_pj_per_byte(arch: Arch, memory: str, access: str) -> Fraction:
    """Energy of a byte ``read`` from or ``write`` to a memory: the machine's own number, else the SRAM formula."""
    energy = arch.energy
    own = energy.get(f"{memory}_{access}")
    if own is not None:
        return Fraction(own)
    banks = banks_of(arch, memory)
    value = energy[f"sram_{access}"] * energy[f"sram_dynamic_{energy.cell}"]
    value *= float(banks.bank_bytes / REFERENCE_BANK_BYTES) ** energy["sram_capacity_exponent"]
    value *= (banks.port_bits / REFERENCE_PORT_BITS) ** -energy["sram_width_exponent"]
    if memory == "ub":
        value *= 1 + energy["ub_port_energy_share"] * (ub_ports(arch) - 1)
    return Fraction(f"{value:.{_DIGITS}g}")


def leakage_uw(arch: Arch, memory: str) -> Fraction:
    """Leakage of a memory."""
    energy = arch.energy
    own = energy.get(f"{memory}_leakage")
    per_kib = energy[f"sram_leakage_{energy.cell}"] if own is None else own
    return Fraction(per_kib) * getattr(arch, f"{memory}_bytes") / 1024


def terms_of(arch: Arch) -> tuple[Term, ...]:
    """What every action, and every cycle, costs on a machine."""
    energy = arch.energy
    width = Fraction(sum_bits(arch), SUM_BITS) if energy.unit == PICOJOULE else Fraction(1)
    terms = [Term("mac", ARRAY, Action.MAC, Fraction(energy[f"mac_{energy.operands}"]))]
    for action, group, name in _PRICES:
        share = width if action in (Action.SUM_MOVE, Action.SUM_REGISTER) else 1
        terms.append(Term(action.name.lower(), group, action, Fraction(energy[name]) * share))
    for memory in MEMORIES:
        for access in ("read", "write"):
            action = Action[f"{memory}_{access}".upper()]
            terms.append(Term(action.name.lower(), BUFFERS, action, sram_pj_per_byte(arch, memory, access)))
    dram = Fraction(energy[f"dram_{energy.dram}"])
    terms += [
        Term(action.name.lower(), DRAM, action, dram)
        for action in (Action.DRAM_READ, Action.DRAM_WRITE, Action.DRAM_FETCH)
    ]
    powers_uw = [(f"{memory}_leakage", LEAKAGE, leakage_uw(arch, memory)) for memory in MEMORIES]
    pes = arch.array.rows * arch.array.cols
    powers_uw += [
        ("pe_leakage", LEAKAGE, Fraction(energy["pe_leakage"]) * pes),
        ("lane_leakage", LEAKAGE, Fraction(energy["lane_leakage"]) * arch.alu.lanes),
        ("dram_background", OTHER, Fraction(energy["dram_background"]) * 1000),
        ("static", OTHER, Fraction(energy["static"]) * 1000),
    ]
    terms += [Term(name, group, None, power * _PJ_PER_UJ / arch.clock_hz) for name, group, power in powers_uw]
    return tuple(terms)


def measure(counts: Counts, arch: Arch, layer_of: Sequence[int], layer_cycles: Sequence[int]) -> Energy:
    """The bill of a run from the actions of its instructions and the cycles of its layers.

    Work counts for the layer of its instruction (``layer_of``, -1: for the last one, which ends the run), constant
    power for the layer in whose cycles it flows. Without layers the whole run counts as one.
    """
    cycles = [int(value) for value in layer_cycles] or [0]
    owner = np.asarray(layer_of, dtype=np.int64).copy()
    owner[owner < 0] = len(cycles) - 1
    sums = np.zeros((len(cycles), len(Action)), dtype=np.int64)
    np.add.at(sums, owner, counts)
    return _bill(sums.tolist(), arch, cycles)


def program_energy_pj(instructions: Sequence[Instr], arch: Arch, cycles: int) -> float:
    """Energy of a program that takes ``cycles``, in pJ (or the table's unit): what a compiler may minimise."""
    counts = count_actions(instructions, arch).sum(axis=0)
    return _bill([counts.tolist()], arch, [cycles]).total_pj


def _bill(sums: list[list[int]], arch: Arch, cycles: list[int]) -> Energy:
    terms = terms_of(arch)
    amounts = [
        [time if term.action is None else row[term.action] for term in terms] for row, time in zip(sums, cycles)
    ]
    cells = tuple(tuple(_rounded(amount * term.pj) for amount, term in zip(row, terms)) for row in amounts)
    return Energy(terms, cells, tuple(map(sum, zip(*amounts))))


def _rounded(pj: Fraction) -> float:
    """To the nearest 1/1024 pJ, exactly representable."""
    return float(Fraction(round(pj * QUANTA), QUANTA))
