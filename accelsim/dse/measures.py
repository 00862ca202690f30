"""Names that objectives and constraints may use: totals of the report, and what is known of a machine beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.arch import Arch
from accelsim.area import area_mm2
from accelsim.spelling import suggest

TOTALS = (
    "cycles", "time_us", "energy_pj", "edp", "area_mm2", "utilization", "macs", "bound_cycles", "instructions",
    "dram_read_bytes", "dram_write_bytes", "fetch_bytes", "energy_per_inference_pj", "power_w", "tops", "tops_per_w",
    "edp_js",
)  # fmt: skip
"""Numbers of a report's totals; ``edp`` is another name of ``edp_js``."""

MORE_IS_BETTER = frozenset({"utilization", "tops", "tops_per_w", "macs"})
BEFOREHAND = ("area_mm2", "on_chip_bytes")
_ALIAS = {"edp": "edp_js"}
_WORDS = {"min": 1, "max": -1}


@dataclass(frozen=True, slots=True)
class Objective:
    """What points are compared by; ``sign`` is 1 where less is better, else -1."""

    name: str
    sign: int

    @classmethod
    def parse(cls, text: str) -> Objective:
        """``cycles``, ``max tops`` or ``min energy_pj``. Raises ``ValueError`` for a name that no total has."""
        *word, name = text.split()
        if len(word) > 1 or any(w not in _WORDS for w in word):
            raise ValueError(f"expected a total, or min or max and a total, got {text!r}\nfor example: max tops_per_w")
        if name not in (*TOTALS, *BEFOREHAND):
            raise ValueError(f"no such total: {name!r}\n{suggest(name, (*TOTALS, 'on_chip_bytes'))}")
        natural = -1 if name in MORE_IS_BETTER else 1
        return cls(name, _WORDS[word[0]] if word else natural)

    @property
    def word(self) -> str:
        """``min`` or ``max``."""
        return "min" if self.sign > 0 else "max"

    def cost(self, row: Mapping[str, Any]) -> float | None:
        """What is minimised, of a row of results; None where the row has no such number."""
        value = row.get(self.name)
        return None if value is None else self.sign * float(value)


def beforehand(arch: Arch) -> dict[str, Any]:
    """What is known without compiling: mm2, and bytes of all memories on the chip."""
    return {
        "area_mm2": sum(area_mm2(arch).values()),
        "on_chip_bytes": arch.ub_bytes + arch.wgt_bytes + arch.acc_bytes + arch.param_bytes,
    }


def measured(totals: Mapping[str, Any]) -> dict[str, Any]:
    """The totals of a report under every name they have here."""
    return {**totals, **{alias: totals.get(name) for alias, name in _ALIAS.items()}}
