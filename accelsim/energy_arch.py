"""What an action costs and how large a part is: the numbers of an energy table, as immutable values of a machine.

:data:`ENTRIES` is the only list of those numbers. A table file (``configs/energy``) gives each with a unit, a node and
a source; a machine holds them under ``energy.`` with the unit in the key. There are no values here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from accelsim.dram_arch import Problem, plain
from accelsim.spelling import suggest
from accelsim.units import parse_time_ns

FORMULA = "formula"  # the word for an optional entry that means: what the SRAM formula gives
AUTO = "auto"  # the word for a number of banks that means: as many as the row is wide
OPERANDS = ("int8", "int16", "fp16", "fp32")
TECHNOLOGIES = ("lpddr4", "ddr4", "ddr3", "hbm2", "generic")
CELLS = ("mixed", "lop", "lstp", "hp")
MEMORIES = ("ub", "wgt", "acc", "param")
PICOJOULE, MAC_ENERGY = UNITS = ("pJ", "MAC")  # what an energy is counted in
NODES_NM = (65, 45, 32, 28, 22, 16, 7)
PORT_BITS_LIMIT = 2**16
BANKS_LIMIT = 2**16
SUFFIXES: Mapping[str, str] = {
    "pJ": "_pj", "pJ/B": "_pj_per_byte", "uW": "_uw", "uW/KiB": "_uw_per_kib", "mW": "_mw", "um2": "_um2",
    "um2/bit": "_um2_per_bit", "mm2/MiB": "_mm2_per_mib", "1": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One number: its name in a table, the unit it is held in, what it is. ``optional``: a formula can stand in."""

    name: str
    unit: str
    meaning: str
    optional: bool = False

    @property
    def key(self) -> str:
        """The name with the unit: the key in a machine file, below ``energy``."""
        return self.name + SUFFIXES[self.unit]


def _macs() -> list[Entry]:
    return [Entry(f"mac_{word}", "pJ", f"a multiply-accumulate of {word} operands") for word in OPERANDS]


def _memories() -> list[Entry]:
    entries = []
    for memory in MEMORIES:
        for name, unit, text in (
            ("read", "pJ/B", "a byte read from"),
            ("write", "pJ/B", "a byte written to"),
            ("leakage", "uW/KiB", "leakage of a KiB of"),
            ("area", "mm2/MiB", "area of a MiB of"),
        ):
            meaning = f"{text} {memory.upper()}, instead of the SRAM formula"
            entries.append(Entry(f"{memory}_{name}", unit, meaning, optional=True))
    return entries


ENTRIES: tuple[Entry, ...] = (
    *_macs(),
    Entry("register_access", "pJ", "an access to a PE's local store, four a MAC (operand, weight, sum in, sum out)"),
    Entry("operand_move", "pJ", "an 8-bit value moves into the next PE"),
    Entry("operand_register", "pJ", "an 8-bit value is written beside the array, or copied within a PE"),
    Entry("sum_move", "pJ", "a sum of 32 bits moves into the next PE; narrower ones cost in proportion"),
    Entry("sum_register", "pJ", "a sum of 32 bits is written beside the array, or where it stays; likewise"),
    Entry("acc_add", "pJ", "a sum is added to what ACC holds"),
    Entry("sram_read", "pJ/B", "a byte read from a bank of 8 KiB with a port of 64 bits"),
    Entry("sram_write", "pJ/B", "a byte written to such a bank"),
    Entry("sram_capacity_exponent", "1", "energy a byte grows with (bank / 8 KiB) to this power"),
    Entry("sram_width_exponent", "1", "and falls with (port / 64 bits) to this power"),
    *(Entry(f"sram_dynamic_{cell}", "1", f"factor of an access with {cell} cells") for cell in CELLS),
    Entry("ub_port_energy_share", "1", "energy of an access to UB that each port beyond one adds"),
    *(Entry(f"dram_{name}", "pJ/B", f"a byte moved to or from {name} DRAM") for name in TECHNOLOGIES),
    Entry("alu_add", "pJ", "a lane adds, compares, shifts or moves 32 bits"),
    Entry("alu_multiply", "pJ", "a lane multiplies two 32-bit integers"),
    Entry("fp32_multiply", "pJ", "a float32 multiplication of rq"),
    Entry("fp32_convert", "pJ", "a conversion between int32 and float32, two an rq"),
    Entry("alu_lookup", "pJ", "a lane looks a byte up in its table"),
    Entry("alu_stage", "pJ", "a value of 32 bits passes a pipeline register of the vector unit"),
    Entry("instruction", "pJ", "a 32-byte instruction is buffered, queued and decoded"),
    *(Entry(f"sram_leakage_{cell}", "uW/KiB", f"leakage of {cell} cells") for cell in CELLS),
    Entry("pe_leakage", "uW", "leakage of a PE"),
    Entry("lane_leakage", "uW", "leakage of a lane of the vector unit"),
    Entry("dram_background", "mW", "power of the DRAM device without traffic"),
    Entry("static", "mW", "any other constant power: clock tree, control, I/O"),
    *(Entry(f"mac_{word}_area", "um2", f"multiplier and adder of a PE for {word}") for word in OPERANDS),
    Entry("register_area", "um2/bit", "a register bit"),
    Entry("lane_area", "um2", "a lane of the vector unit without its table"),
    Entry("sram_area", "mm2/MiB", "SRAM with one port"),
    Entry("ub_port_area_share", "1", "area of UB that each port beyond one adds"),
    Entry("layout_factor", "1", "placed and routed area over that of the parts"),
    Entry("control_area_share", "1", "share of the whole that is control"),
    Entry("other_area_share", "1", "share of the whole that is none of this: I/O, clock, filler"),
    *_memories(),
)
KEYS: Mapping[str, Entry] = {entry.key: entry for entry in ENTRIES}
_PLACE = {entry.name: place for place, entry in enumerate(ENTRIES)}
_WORDS = (("operands", OPERANDS), ("dram", TECHNOLOGIES), ("cell", CELLS), ("unit", UNITS))
_SHARES = ("control_area_share", "other_area_share")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyArch:
    """The ``energy`` group of a machine: where its numbers come from, what is chosen among them, and the numbers.

    ``window_ns`` is the length of the peak power window, ``banks`` the banks of UB, WGT, ACC and PARAM (None: as many
    as the row is wide), ``port_bits`` the width of a bank's port where that follows from nothing else. ``values`` are
    those of :data:`ENTRIES`, in order; None for an optional one that the SRAM formula gives.
    """

    name: str
    unit: str
    node_nm: int
    operands: str
    dram: str
    cell: str
    window_ns: Fraction
    port_bits: int
    banks: tuple[int | None, ...]
    values: tuple[float | None, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EnergyArch:
        """From the keys of a machine file. Raises ``ValueError`` for a quantity that cannot be read."""
        return cls(
            **{key: data[key] for key in ("name", "unit", "node_nm", "operands", "dram", "cell", "port_bits")},
            window_ns=parse_time_ns(data["window"]),
            banks=tuple(_word_or_number(data[f"{memory}_banks"], AUTO) for memory in MEMORIES),
            values=tuple(_value(entry, data[entry.key]) for entry in ENTRIES),
        )

    def to_dict(self) -> dict[str, Any]:
        """The inverse of :meth:`from_dict`."""
        return {
            **{key: getattr(self, key) for key in ("name", "unit", "node_nm", "operands", "dram", "cell")},
            "window": f"{plain(self.window_ns)} ns",
            "port_bits": self.port_bits,
            **{f"{m}_banks": AUTO if banks is None else banks for m, banks in zip(MEMORIES, self.banks)},
            **{entry.key: FORMULA if value is None else value for entry, value in zip(ENTRIES, self.values)},
        }

    def get(self, name: str) -> float | None:
        """The value of an optional entry; None means the formula."""
        return self.values[_PLACE[name]]

    def __getitem__(self, name: str) -> float:
        value = self.values[_PLACE[name]]
        assert value is not None, f"{name} is optional"
        return value

    def problems(self) -> list[Problem]:
        """Every rule these values break."""
        found = []
        for key, words in _WORDS:
            if (word := getattr(self, key)) not in words:
                found.append(Problem((f"energy.{key}",), f"{word!r} is not allowed", suggest(str(word), words)))
        if self.node_nm not in NODES_NM:
            allowed = ", ".join(str(node) for node in NODES_NM)
            found.append(Problem(("energy.node_nm",), f"{self.node_nm} is no known node", f"allowed: {allowed}"))
        counts = [("port_bits", self.port_bits, PORT_BITS_LIMIT)]
        counts += [(f"{m}_banks", 1 if banks is None else banks, BANKS_LIMIT) for m, banks in zip(MEMORIES, self.banks)]
        for key, value, limit in counts:
            if not 1 <= value <= limit:
                found.append(Problem((f"energy.{key}",), f"must be in 1..{limit}, got {value}"))
        for entry, value in zip(ENTRIES, self.values):
            if value is not None and not (value >= 0 and math.isfinite(value)):
                found.append(Problem((f"energy.{entry.key}",), f"must be a finite number of at least 0, got {value}"))
        if not found and sum(self[share] for share in _SHARES) >= 1:
            keys = tuple(f"energy.{share}" for share in _SHARES)
            found.append(Problem(keys, "the shares of control and other area leave nothing of the whole"))
        return found

    def idle_because(self, key: str) -> str:
        """Why the number under ``key`` (without ``energy.``) does not act on this machine; empty if it does."""
        entry = KEYS.get(key)
        if entry is None:
            return ""
        for group, prefix, words in (
            ("operands", "mac_", OPERANDS),
            ("dram", "dram_", TECHNOLOGIES),
            ("cell", "sram_dynamic_", CELLS),
            ("cell", "sram_leakage_", CELLS),
        ):
            word, chosen = entry.name.removeprefix(prefix).removesuffix("_area"), getattr(self, group)
            if entry.name.startswith(prefix) and word in words and word != chosen:
                return f"energy.{group} is {chosen}"
        return ""


def _word_or_number(value: Any, word: str) -> Any:
    return None if value == word else value


def _value(entry: Entry, value: Any) -> float | None:
    if entry.optional and value == FORMULA:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        words = f"a number or the word {FORMULA}" if entry.optional else "a number"
        raise ValueError(f"expected {words}, got {value!r}")
    return float(value)
