"""The register moves of a gemm, counted in the registers of the array: what ``--level pe`` clocks."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.actions import Action, actions
from accelsim.arch import Arch
from accelsim.hw.array import Operands, RegisterArray
from accelsim.hw.pe import Skew, WeightStationary
from accelsim.isa.effects import effects, task
from accelsim.isa.instructions import Gemm
from accelsim.machine_file import load_arch


def machine(rows: int, cols: int, dataflow: str, weights: str) -> Arch:
    sizes = {"wgt.size": 4096 * cols, "acc.size": 4096 * cols, "param.size": 4096 * cols}
    shape = {"array.rows": rows, "array.cols": cols, "array.dataflow": dataflow, "array.weights": weights}
    return load_arch("tiny", {**shape, **sizes})


def inside(skew: Skew) -> int:
    """Values in the registers of a skew: a lane's entry is a wire, everything behind it a register."""
    depth = np.arange(len(skew._stages))[:, None]
    return int((skew._stages[depth > skew._entry[0]] != 0).sum())


def occupied(array: RegisterArray) -> Counter[Action]:
    """Values in registers that hold each for one cycle: each was written there by the last edge."""
    pes, seen = array._pes, Counter[Action]()
    seen[Action.OPERAND_REGISTER] = inside(pes._lanes) + inside(pes._columns)
    seen[Action.OPERAND_MOVE] = int((pes._activation[:, 1:] != 0).sum())
    if isinstance(pes, WeightStationary):
        seen[Action.SUM_MOVE] = int((pes._sum != 0).sum())
        seen[Action.SUM_REGISTER] = inside(array._accumulators._aligned)
    else:
        seen[Action.OPERAND_MOVE] += int((pes._weight[1:] != 0).sum())
    return seen


def counted(instr: Gemm, arch: Arch) -> Counter[Action]:
    """The registers that hold something while a gemm of ones runs, cycle by cycle.

    Everything that is valid is not zero: weights and activations are 1, so sums are at least 1 from the first row on.
    """
    tiles, rows = instr.r0 * instr.r1 * instr.r2, instr.m0 * instr.m1
    operands = Operands(
        x=np.ones((rows, tiles, instr.k), np.int8),
        w=np.ones((tiles, instr.k, instr.n), np.int8),
        rows=np.arange(rows),
        overwrite=True,
    )
    array = RegisterArray(arch.array, np.zeros((rows, arch.array.cols), np.int32))
    landed = array.accept(0, operands, 1).landed
    total: Counter[Action] = Counter()
    for cycle in range(2, landed + 1):
        array.run(cycle)
        total += occupied(array)
    return total


@given(
    st.integers(1, 5), st.integers(1, 5), st.sampled_from(["ws", "os"]), st.sampled_from(["shadow", "single"]),
    st.data(),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_moves_are_those_of_the_registers(
    rows: int, cols: int, dataflow: str, weights: str, data: st.DataObject
) -> None:
    arch = machine(rows, cols, dataflow, weights)
    instr = Gemm(
        overwrite=1, k=data.draw(st.integers(1, rows)), n=data.draw(st.integers(1, cols)),
        r0=data.draw(st.integers(1, 3)), m0=data.draw(st.integers(1, 7)), am0=1, xm0=1,
    )  # fmt: skip
    counts = actions(effects(instr, arch), task(instr, arch).work, arch)
    seen = counted(instr, arch)
    tiles, rows_in = instr.r0, instr.m0
    assert counts[Action.MAC] == instr.n * instr.k * tiles * rows_in
    if dataflow == "ws":
        # Weights in the chain keep their place: one of row r shifts r + 1 times and, with shadow registers, is copied.
        shifts = tiles * instr.n * sum(r + 1 for r in range(instr.k))
        copies = tiles * instr.n * instr.k if weights == "shadow" else 0
        assert counts[Action.OPERAND_MOVE] == seen[Action.OPERAND_MOVE] + shifts
        assert counts[Action.OPERAND_REGISTER] == seen[Action.OPERAND_REGISTER] + copies
        assert counts[Action.SUM_MOVE] == seen[Action.SUM_MOVE]
        assert counts[Action.SUM_REGISTER] == seen[Action.SUM_REGISTER]
    else:
        # Sums stay; then a row drains over those below it, and a column passes those behind it and the aligned row.
        # Drain registers show old sums too, so these are counted by their way.
        assert counts[Action.OPERAND_MOVE] == seen[Action.OPERAND_MOVE]
        assert counts[Action.OPERAND_REGISTER] == seen[Action.OPERAND_REGISTER]
        assert counts[Action.SUM_MOVE] == instr.n * sum(rows - 1 - row % rows for row in range(rows_in))
        handed = rows_in * instr.n if weights == "shadow" else 0
        aligned = rows_in * sum(cols - col for col in range(instr.n))
        assert counts[Action.SUM_REGISTER] == counts[Action.MAC] + handed + aligned
