"""Reads what CACTI 7 says of a memory: its table (``*.out``, one line a run) or what it prints.

CACTI is not needed; only its figures are. Energies are per access of the whole port, leakage is that of a bank.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from accelsim.energy_arch import KEYS, MEMORIES
from accelsim.errors import ConfigError
from accelsim.spelling import suggest
from accelsim.yamlio import read_text

COLUMNS = {  # the columns that matter, by their heading in the table
    "node_nm": "Tech node (nm)",
    "capacity_bytes": "Capacity (bytes)",
    "banks": "Number of banks",
    "port_bits": "Output width (bits)",
    "read_nj": "Dynamic read energy (nJ)",
    "write_nj": "Dynamic write energy (nJ)",
    "leakage_mw": "Standby leakage per bank(mW)",
    "area_mm2": "Area (mm2)",
}
_NUMBER = r"([-+0-9.eE]+)"
_PRINTED = {
    "node_nm": rf"Technology size \(nm\): {_NUMBER}",
    "capacity_bytes": rf"Total cache size \(bytes\): {_NUMBER}",
    "banks": rf"Number of banks: {_NUMBER}",
    "block_bytes": rf"Block size \(bytes\): {_NUMBER}",
    "read_nj": rf"Total dynamic read energy per access \(nJ\): {_NUMBER}",
    "write_nj": rf"Total dynamic write energy per access \(nJ\): {_NUMBER}",
    "leakage_mw": rf"Total leakage power of a bank \(mW\): {_NUMBER}",
    "height_mm": rf"Cache height x width \(mm\): {_NUMBER} x",
    "width_mm": rf"Cache height x width \(mm\): [-+0-9.eE]+ x {_NUMBER}",
}
_GATE_LEAKAGE = re.compile(rf"Total gate leakage power of a bank \(mW\): {_NUMBER}")
_PRINTED_MARK = "CACTI (version"


@dataclass(frozen=True, slots=True, kw_only=True)
class CactiResult:
    """One memory as CACTI sees it."""

    node_nm: float
    capacity_bytes: float
    banks: float
    port_bits: float
    read_nj: float
    write_nj: float
    leakage_mw: float
    area_mm2: float

    def settings(self, memory: str) -> dict[str, float]:
        """The numbers of ``ub``, ``wgt``, ``acc`` or ``param`` as keys of the ``energy`` group."""
        access_bytes = self.port_bits / 8
        values = {
            "read_pj_per_byte": 1000 * self.read_nj / access_bytes,
            "write_pj_per_byte": 1000 * self.write_nj / access_bytes,
            "leakage_uw_per_kib": 1000 * self.leakage_mw * self.banks / (self.capacity_bytes / 1024),
            "area_mm2_per_mib": self.area_mm2 / (self.capacity_bytes / 2**20),
        }
        found = {f"{memory}_{name}": float(f"{value:.6g}") for name, value in values.items()}
        assert set(found) <= set(KEYS)
        return found

    def describe(self) -> str:
        """Node, size and port in words."""
        banks = "1 bank" if self.banks == 1 else f"{self.banks:g} banks"
        return f"{self.node_nm:g} nm, {self.capacity_bytes:,.0f} bytes in {banks}, port of {self.port_bits:g} bits"


def read_results(path: str | Path) -> list[CactiResult]:
    """Every run in a file, in its order. Raises :class:`ConfigError` for another file and for unusable figures."""
    text = read_text(path)
    results = _printed(text, str(path)) if _PRINTED_MARK in text else _table(text, str(path))
    if not results:
        raise ConfigError(str(path), "", "holds no run of CACTI", "expected its table (*.out) or what it prints")
    return results


def check_memory(name: str) -> None:
    """Refuse a name that is no memory."""
    if name not in MEMORIES:
        raise ConfigError(name, "", "no such memory", suggest(name, MEMORIES))


def _table(text: str, path: str) -> list[CactiResult]:
    headings: list[str] = []
    results = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if cells[0] == COLUMNS["node_nm"]:
            headings = cells
        elif headings and line.strip():
            where = f"{path}:{number}"
            found = {key: _cell(cells, headings, name, where) for key, name in COLUMNS.items()}
            results.append(_usable(CactiResult(**found), where))
    return results


def _cell(cells: list[str], headings: list[str], name: str, where: str) -> float:
    if name not in headings:
        raise ConfigError(where, name, "the table has no such column")
    place = headings.index(name)
    if place >= len(cells):
        raise ConfigError(where, name, "the line is cut short")
    return _float(cells[place], where, name)


def _printed(text: str, path: str) -> list[CactiResult]:
    results = []
    starts = [match.start() for match in re.finditer(re.escape(_PRINTED_MARK), text)]
    for start, stop in zip(starts, [*starts[1:], len(text)]):
        where = f"{path}:{text.count(chr(10), 0, start) + 1}"
        found = {}
        for key, pattern in _PRINTED.items():
            match = re.search(pattern, text[start:stop])
            if match is None:
                raise ConfigError(where, key, "is missing in what CACTI printed")
            found[key] = _float(match[1], where, key)
        gate = _GATE_LEAKAGE.search(text, start, stop)
        found["leakage_mw"] += _float(gate[1], where, "leakage_mw") if gate else 0
        area_mm2 = found.pop("height_mm") * found.pop("width_mm")
        port_bits = 8 * found.pop("block_bytes")
        results.append(_usable(CactiResult(**found, area_mm2=area_mm2, port_bits=port_bits), where))
    return results


def _float(text: str, where: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(where, key, f"expected a number, got {text!r}") from None
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(where, key, f"must be a finite number of at least 0, got {text}")
    return value


def _usable(result: CactiResult, where: str) -> CactiResult:
    for key in ("capacity_bytes", "banks", "port_bits"):
        if not getattr(result, key):
            raise ConfigError(where, key, "must be greater than 0")
    return result
