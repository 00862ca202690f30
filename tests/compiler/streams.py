"""Random instruction streams without tokens, and programs made of streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from accelsim.arch import Arch
from accelsim.isa.instructions import Halt, Instr
from accelsim.isa.program import Program
from tests.isa.strategies import DRAM_BYTES, instructions


@st.composite
def streams(draw: st.DrawFn, arch: Arch, max_length: int = 12) -> list[Instr]:
    """Legal instructions of all units in any order; small memories make most of them conflict."""
    return draw(st.lists(instructions(arch), min_size=2, max_size=max_length))


def program_of(words: Sequence[Instr], dram_bytes: int = DRAM_BYTES) -> Program:
    """The words and a halt, on a DRAM without constants."""
    return Program(instructions=(*words, Halt(on=3)), image=np.zeros(0, np.uint8), dram_bytes=dram_bytes)


def bare(words: Sequence[Instr]) -> list[Instr]:
    """The words without tokens."""
    return [dataclasses.replace(word, wait=0, signal=0) for word in words]
