"""Every cycle of a run in the form that ``decode.js`` unpacks and ``timeline.js`` draws."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.isa.instructions import members
from accelsim.isa.program import Program
from accelsim.isa.protocol import Unit
from accelsim.isa.text import format_instruction
from accelsim.page.pack import Packer
from accelsim.plots import style
from accelsim.plots.timeline import WAIT_COLORS
from accelsim.trace import Trace

NO_LAYER = style.GREY


def timeline(program: Program, trace: Trace) -> dict[str, Any]:
    """Plain data. ``columns`` holds, in this order:

    - the assembly of each instruction, then the text of its tile (:meth:`Packer.texts`: two columns each),
    - its layer (+ 1; 0: none), cycles from acceptance to landing, and how many instructions before it stands the one
      whose token it was given last (0: it took none),
    - for each unit its spans: instruction (-1: none), place in ``waits`` (0: busy), cycles. They tile the run, so that
      a busy span starts in the cycle in which its instruction was accepted.
    """
    count = len(program.instructions)
    packer = Packer()
    asm = packer.texts([format_instruction(instr) for instr in program.instructions])
    tile = packer.texts(program.tile_of if len(program.tile_of) == count else [""] * count)
    layer_of = np.array(program.layer_of if len(program.layer_of) == count else [-1] * count, np.int64)
    packer.rising(layer_of + 1)
    packer.plain(trace.landed - trace.accepted)
    packer.plain(_back_to_giver(program, trace))
    waits = _spans(packer, trace)
    return {
        "cycles": trace.cycles,
        "layers": list(program.layers),
        "ends": trace.layer_ends(program.layer_of, len(program.layers)).tolist(),
        "colors": list(style.layer_colors(program.layers).values()),
        "noLayer": NO_LAYER,
        "units": [unit.name.lower() for unit in Unit],
        "waits": waits,
        "waitColors": ["", *(_wait_color(wait) for wait in waits[1:])],
        "asm": asm,
        "tile": tile,
        "columns": packer.text(),
    }


def _spans(packer: Packer, trace: Trace) -> list[str]:
    """Packs the spans of all units; returns the reasons to wait, before them an empty one."""
    waits = {"": 0}
    for unit in Unit:
        spans = trace.spans(unit)
        packer.rising([span.index for span in spans])
        packer.plain([waits.setdefault(span.wait, len(waits)) for span in spans])
        packer.plain([span.stop - span.start for span in spans])
    return list(waits)


def _wait_color(wait: str) -> str:
    """As in the plot of a timeline; what is over for good is left white there."""
    return style.hex_color(WAIT_COLORS.get(wait.partition(":")[0], "1.0"))


def _back_to_giver(program: Program, trace: Trace) -> NDArray[np.int64]:
    """The n-th token that a unit takes of another is the n-th that was given."""
    given: defaultdict[tuple[Unit, Unit], deque[int]] = defaultdict(deque)
    back = [0] * len(program.instructions)
    last: Sequence[int] = trace.token_unit.tolist()
    for index, instr in enumerate(program.instructions):
        for giver in members(instr.wait):
            source = given[giver, instr.unit].popleft()
            if giver == last[index]:
                back[index] = index - source
        for taker in members(instr.signal):
            given[instr.unit, taker].append(index)
    return np.array(back, np.int64)
