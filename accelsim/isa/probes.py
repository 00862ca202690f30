"""Copies of tensors that never leave the chip, taken when the instructions that complete them land."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.program import Probe, Program
from accelsim.isa.state import MachineState
from accelsim.isa.windows import strided


class Recorder:
    """Fills ``tensors`` (name to dense int8 array of the shape given in ``shapes``) as instructions land.

    Raises KeyError when a probe names a tensor without a shape and IndexError when a piece lies outside.
    """

    def __init__(self, program: Program, state: MachineState, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.tensors: dict[str, NDArray[np.int8]] = {
            probe.tensor: np.zeros(shapes[probe.tensor], np.int8) for probe in program.probes
        }
        self._state = state
        self._probes: dict[int, list[Probe]] = {}
        for probe in program.probes:
            self._probes.setdefault(probe.index, []).append(probe)

    def land(self, index: int) -> None:
        """Copy the pieces of every probe on this instruction."""
        for probe in self._probes.get(index, ()):
            source = strided(
                self._state.ub, probe.ub, ((probe.count1, probe.us1), (probe.count0, probe.us0)), probe.run
            )
            target = strided(
                self.tensors[probe.tensor].reshape(-1), probe.at,
                ((probe.count1, probe.ts1), (probe.count0, probe.ts0)), probe.run,
            )  # fmt: skip
            target[...] = source
