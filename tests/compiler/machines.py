"""Random small machines for property tests of the compiler."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from accelsim.arch import AluArch, Arch, ArrayArch
from tests.devices import ENERGY, flat_dram


@st.composite
def machines(draw: st.DrawFn) -> Arch:
    """Arrays from 1x1 to 16x16 with scratchpads from hardly anything to roomy; rational DRAM rates."""
    rows = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16]), label="rows")
    cols = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 16]), label="cols")
    table_rows = -(-256 // (4 * cols))
    return Arch(
        name="random",
        clock_hz=Fraction(500_000_000),
        array=ArrayArch(rows=rows, cols=cols, dataflow="ws", weights="shadow", overlap="full"),
        alu=AluArch(lanes=draw(st.sampled_from([1, 3, cols])), latency=draw(st.integers(1, 6))),
        ub_bytes=draw(st.sampled_from([256, 512, 1024, 2048, 8192]), label="ub"),
        ub_ports="private",
        ub_banks=4,
        wgt_bytes=cols * draw(st.sampled_from([4, 8, 32, 128, 512]), label="wgt rows"),
        acc_bytes=4 * cols * draw(st.sampled_from([2, 4, 16, 64, 256]), label="acc rows"),
        param_bytes=4 * cols * (table_rows + draw(st.sampled_from([0, 2, 16, 64]), label="param rows")),
        dram=flat_dram(
            bytes_per_cycle=draw(st.sampled_from([Fraction(4), Fraction(8), Fraction(3), Fraction(34, 7)])),
            latency=draw(st.sampled_from([1, 10, 60])), burst_bytes=draw(st.sampled_from([8, 16, 64])),
            outstanding=draw(st.sampled_from([1, 4, 16])),
        ),
        queue_depth=draw(st.sampled_from([1, 2, 16])),
        prefetch_words=draw(st.sampled_from([2, 16])),
        energy=ENERGY,
    )  # fmt: skip
