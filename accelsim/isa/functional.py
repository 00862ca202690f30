"""Values without time: a program executed one instruction at a time in program order."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.isa.program import Program
from accelsim.isa.semantics import execute
from accelsim.isa.state import MachineState


def run(program: Program, state: MachineState, on_land: Callable[[int], None] | None = None) -> None:
    """Execute every instruction on ``state``; ``on_land(index)`` is called after each.

    The program must have passed ``check_program`` for the machine of ``state``.
    """
    for index, instr in enumerate(program.instructions):
        execute(instr, state)
        if on_land is not None:
            on_land(index)
