"""What every stage made, as text for ``--dump``."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil

from accelsim.arch import Arch
from accelsim.compiler.aim import Aim
from accelsim.compiler.notes import choice_lines
from accelsim.compiler.ops import DepthwiseOp, Lowered, MatOp, Op
from accelsim.compiler.search import Found
from accelsim.isa.asm import format_program
from accelsim.isa.instructions import Instr, members
from accelsim.isa.program import Program


def report_stages(
    observe: Callable[[str, str], None], lowered: Lowered, found: Found, program: Program, arch: Arch, aim: Aim
) -> None:
    """Call ``observe`` with the name and text of every stage."""
    observe("lower", "\n".join(f"{op.name}: {', '.join(op.inputs)} -> {op.output} {op.window}" for op in lowered.ops))
    homes = found.placement.homes.values()
    observe("place", "\n".join(f"{h.tensor}: UB {h.base}..{h.base + h.bytes}" for h in homes))
    observe("tile", "\n".join(_tile_lines(lowered, found, arch)))
    observe("choose", "\n".join(choice_lines(lowered, found, arch, aim)))
    observe(
        "schedule",
        "\n".join(
            f"{i}: {program.layers[layer]} {tile}"
            for i, (layer, tile) in enumerate(zip(program.layer_of, program.tile_of))
        ),
    )
    observe("sync", "\n".join(_token_text(i, instr) for i, instr in enumerate(program.instructions)))
    observe("emit", format_program(program))


def _tile_lines(lowered: Lowered, found: Found, arch: Arch) -> list[str]:
    """Per chain its closed form against what no plan can beat and against the best in the space; per operation a
    plan."""
    lines = []
    for chain, plan, ranked in zip(found.placement.chains, found.plans, found.placement.plans):
        names = " + ".join(op.name for op in chain.ops)
        bound = _bound(chain.ops, lowered, arch)
        against = f", {plan.cycles / bound:.3f}x its bound of {bound:,}" if bound else ""
        best = plan.cost / ranked[0].cost if ranked[0].cost else 1.0
        lines.append(f"{names}: ~{plan.cycles:,.0f} cycles{against}, {best:.3f}x the best plan in closed form")
        for op in chain.ops:
            rings = [f"{name} {rows} rows" for name, rows in plan.held.items() if name == lowered.root[op.output]]
            lines.append(f"  {op.name}: {plan.plans[op.name].text()}{' ring of ' if rings else ''}{', '.join(rings)}")
    return lines


def _bound(ops: tuple[Op, ...], lowered: Lowered, arch: Arch) -> int:
    """Cycles that no plan of a chain can beat: the array's peak, or its weights through the port."""
    macs = weights = 0
    for op in ops:
        w = op.window
        if isinstance(op, MatOp):
            macs += w.out_h * w.out_w * op.weights.size
        if isinstance(op, MatOp | DepthwiseOp):
            weights += op.weights.size
    peak = arch.array.rows * arch.array.cols
    return max(-(-macs // peak), ceil(Fraction(weights) / arch.dram_bytes_per_cycle))


def _token_text(index: int, instr: Instr) -> str:
    wait, signal = (",".join(u.name.lower() for u in members(m)) or "-" for m in (instr.wait, instr.signal))
    return f"{index}: {instr.unit.name.lower()} waits for {wait}, signals {signal}"
