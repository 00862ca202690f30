"""Functions of single values, in float: what each pointwise kind computes, and normalisation's factor."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Limits: TypeAlias = tuple[float, float]
"""Lowest and highest value; infinite where there is none."""

UNLIMITED: Limits = (-inf, inf)

CLAMPS = ("relu", "relu6", "clip")
"""Functions that requantisation does by its limits."""
POINTWISE = (*CLAMPS, "tanh", "sigmoid", "leaky_relu", "hard_swish", "hard_sigmoid")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of every value: its kind, one of ``POINTWISE``, and what that kind leaves open."""

    kind: str
    slope: float = 0.0  # leaky_relu: factor of negative values; hard_sigmoid: slope around 0
    limits: Limits = UNLIMITED  # clip

    @property
    def clamp(self) -> Limits | None:
        """Lowest and highest result, if values in between stay as they are."""
        return {"relu": (0.0, inf), "relu6": (0.0, 6.0), "clip": self.limits}.get(self.kind)

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """The function of every element, in the type of ``x``. Raises ValueError when there is no such kind."""
        if self.clamp:
            return np.clip(x, *self.clamp)
        match self.kind:
            case "tanh":
                return np.tanh(x)
            case "sigmoid":
                return 0.5 * np.tanh(0.5 * x) + 0.5
            case "leaky_relu":
                return np.where(x < 0, x * self.slope, x)
            case "hard_sigmoid":
                return np.clip(self.slope * x + 0.5, 0, 1)
            case "hard_swish":
                return x * np.clip(x / 6 + 0.5, 0, 1)
            case _:
                raise ValueError(f"no pointwise function '{self.kind}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """Local response normalisation: ``x / (k + alpha / size * sum(x**2)) ** beta``, the sum over ``size`` channels."""

    size: int
    alpha: float
    beta: float
    k: float


def lrn_factor(norm: Norm, total: NDArray[Any]) -> NDArray[Any]:
    """What local response normalisation multiplies by where the squares of the window sum to ``total``."""
    return (norm.k + norm.alpha / norm.size * total) ** -norm.beta
