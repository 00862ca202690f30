"""Which instructions have certainly landed before another starts, as vector clocks over the tokens.

Instruction j starts after everything known through its waits has landed: ``clock[j]`` is the maximum of the clock of
the previous instruction of its unit and, for every wait, of the matching signaller's clock, the signaller itself and
all earlier instructions of the signaller's unit (a unit's instructions land, and give their signals, in order).
The n-th wait of a pair takes the n-th signal of that pair.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

from accelsim.errors import ProgramError
from accelsim.isa.instructions import members
from accelsim.isa.program import Program
from accelsim.isa.protocol import Unit
from accelsim.isa.text import format_instruction

MAX_TOKENS = 255
"""What the counter of an ordered pair of units holds."""


@dataclass(frozen=True, slots=True)
class Order:
    """``of_unit[u]`` lists the instructions of unit u; ``position[i]`` is 1 + the place of i in its unit's list.

    ``clock[i][u]`` counts the instructions of unit u that have landed before i starts, under any timing.
    """

    of_unit: tuple[list[int], ...]
    position: list[int]
    clock: list[tuple[int, ...]]


def order(program: Program) -> Order:
    """Match waits with signals and build the clocks.

    Raises ProgramError for a wait without an earlier signal (executing in program order would block), a token that
    nobody takes, or a pair that can hold more than 255 tokens under some timing.
    """
    of_unit: tuple[list[int], ...] = ([], [], [], [])
    position: list[int] = []
    clocks: list[tuple[int, ...]] = []
    waiting: dict[tuple[Unit, Unit], deque[int]] = {(a, b): deque() for a in Unit for b in Unit}
    for index, instr in enumerate(program.instructions):
        unit = instr.unit
        own = of_unit[unit]
        clock = clocks[own[-1]] if own else (0, 0, 0, 0)
        if instr.wait:
            latest = list(clock)
            for giver in members(instr.wait):
                tokens = waiting[giver, unit]
                if not tokens:
                    raise _unmatched_wait(program, index, giver)
                signaller = tokens.popleft()
                latest = list(map(max, latest, clocks[signaller]))
                latest[giver] = max(latest[giver], position[signaller])
            clock = tuple(latest)
        for taker in members(instr.signal):
            waiting[unit, taker].append(index)
        own.append(index)
        position.append(len(own))
        clocks.append(clock)
    for (giver, taker), tokens in waiting.items():
        if tokens:
            raise _unused_token(program, tokens[0], giver, taker)
    result = Order(of_unit, position, clocks)
    _check_counters(program, result)
    return result


def _check_counters(program: Program, known: Order) -> None:
    """Refuse a pair whose counter can exceed its limit: tokens given, less those certainly taken by then."""
    instrs = program.instructions
    for giver in Unit:
        for taker in Unit:
            takes = [
                place for place, index in enumerate(known.of_unit[taker], 1) if instrs[index].wait >> giver & 1
            ]
            given = 0
            for index in known.of_unit[giver]:
                if not instrs[index].signal >> taker & 1:
                    continue
                given += 1
                held = given - bisect_right(takes, known.clock[index][taker])
                if held > MAX_TOKENS:
                    raise _overflow(program, index, giver, taker, held)


def _unmatched_wait(program: Program, index: int, giver: Unit) -> ProgramError:
    taker = program.instructions[index].unit.name.lower()
    name = giver.name.lower()
    return _error(
        program, index, f"waits for a token from {name} that no earlier instruction gives",
        f"an earlier {name} instruction needs signal={taker}",
    )  # fmt: skip


def _unused_token(program: Program, index: int, giver: Unit, taker: Unit) -> ProgramError:
    name = taker.name.lower()
    return _error(
        program, index, f"gives {name} a token that no instruction takes",
        f"a later {name} instruction needs wait={giver.name.lower()}",
    )  # fmt: skip


def _overflow(program: Program, index: int, giver: Unit, taker: Unit, held: int) -> ProgramError:
    pair = f"{giver.name.lower()} to {taker.name.lower()}"
    return _error(
        program, index, f"tokens from {pair} can reach {held}, and a counter holds {MAX_TOKENS}",
        f"{giver.name.lower()} must wait for {taker.name.lower()} now and then",
    )  # fmt: skip


def _error(program: Program, index: int, problem: str, hint: str) -> ProgramError:
    text = format_instruction(program.instructions[index])
    return ProgramError(index, text, problem, program.origin(index), hint)
