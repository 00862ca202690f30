"""UB banks with one port each (``ub.ports: shared``): an instruction has all it needs, or waits.

An instruction takes its banks together with its tokens in the cycle in which it is accepted, and keeps them up to and
including the cycle in which it lands. ``docs/timing.md`` says who goes first and why nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import NORMAL, EventPriority

from accelsim.hw.units import UnitState
from accelsim.isa.protocol import Unit


class Banks:
    """Which unit holds which banks. Instructions of one unit share: they go through the unit's one port in turn."""

    def __init__(self) -> None:
        self._held: list[list[tuple[int, int | None]]] = [[] for _ in Unit]  # (mask, landing if known)

    def take(self, unit: Unit, mask: int) -> None:
        """The unit holds the banks of ``mask`` until :meth:`land` says when."""
        self._held[unit].append((mask, None))

    def land(self, unit: Unit, landed: int) -> None:
        """What the unit took last is held up to and including cycle ``landed``."""
        mask, _ = self._held[unit].pop()
        self._held[unit].append((mask, landed))

    def free(self, unit: Unit, mask: int, cycle: int) -> bool:
        """Whether no other unit holds one of the banks in ``cycle``; asked in the order of cycles."""
        for other in Unit:
            held = [hold for hold in self._held[other] if hold[1] is None or hold[1] >= cycle]
            self._held[other] = held
            if other != unit and any(mask & taken for taken, _ in held):
                return False
        return True


class _EndOfCycle(simpy.Event):
    """Happens ``delay`` cycles from now, after everything else in that cycle."""

    def __init__(self, env: simpy.Environment, delay: int) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, priority=EventPriority(NORMAL + 1), delay=delay)


class Arbiter:
    """Lets units with all but their banks take them at the end of a cycle, in the order of units."""

    def __init__(self, env: simpy.Environment, accept: Callable[[UnitState], None]) -> None:
        self._env = env
        self._accept = accept
        self._banks = Banks()
        self._asking: list[tuple[UnitState, int]] = []

    def ask(self, state: UnitState, mask: int) -> None:
        """The unit's next instruction lacks nothing but these banks from now on."""
        self._asking.append((state, mask))
        self._look(0)

    def land(self, unit: Unit, landed: int) -> None:
        """The unit's last accepted instruction lands then; whoever waits for its banks may have them in the next."""
        self._banks.land(unit, landed)
        self._look(landed + 1 - int(self._env.now))

    def _look(self, delay: int) -> None:
        callbacks = _EndOfCycle(self._env, delay).callbacks
        assert callbacks is not None, "a new event has callbacks"
        callbacks.append(self._arbitrate)

    def _arbitrate(self, _: simpy.Event) -> None:
        now = int(self._env.now)
        for state, mask in sorted(self._asking, key=lambda asking: asking[0].unit):
            if self._banks.free(state.unit, mask, now):
                self._banks.take(state.unit, mask)
                self._asking.remove((state, mask))
                self._accept(state)
