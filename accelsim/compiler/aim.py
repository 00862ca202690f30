"""What plans are ranked by: cycles, energy, or their product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelsim.errors import ConfigError

OBJECTIVES = ("cycles", "energy", "edp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What the search pays for in pJ: bytes by where they move, and time. Work that no plan avoids is left out."""

    dram_byte_pj: float
    ub_byte_pj: float
    wgt_byte_pj: float
    acc_byte_pj: float
    cycle_pj: float  # leakage and other static power


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """An objective. ``edp`` weighs both against a plan for cycles: to first order, the product changes by the sum of
    the relative changes, and sums can be added up over chains.
    """

    objective: str = "cycles"
    prices: Prices | None = None
    cycles: float = 1.0  # of the network with the best plan for cycles
    energy_pj: float = 1.0

    @property
    def weighs_energy(self) -> bool:
        """Whether energy counts at all."""
        return self.objective != "cycles"

    def cost(self, cycles: Any, energy_pj: Any) -> Any:
        """The rank of a plan, or of an array of plans; less is better. Without prices energy is not looked at."""
        if self.objective == "cycles":
            return cycles
        if self.objective == "energy":
            return energy_pj
        return cycles / self.cycles + energy_pj / self.energy_pj


CYCLES = Aim()


def check_objective(objective: str) -> None:
    """Raises ConfigError for an objective that does not exist."""
    if objective not in OBJECTIVES:
        allowed = " or ".join((", ".join(OBJECTIVES[:-1]), OBJECTIVES[-1]))
        raise ConfigError("objective", "", f"expected {allowed}, got {objective!r}")
