"""Which operations form a chain."""

from __future__ import annotations

from collections.abc import Set

from accelsim.arch import Arch
from accelsim.compiler.chain import Chain, chain_of
from accelsim.compiler.home import makers_of, readers_of
from accelsim.compiler.ops import AddOp, DepthwiseOp, Lowered, LrnOp, MatOp, Op, VecOp, needs_acc


def chains_of(
    lowered: Lowered, arch: Arch, off_chip: set[str], apart: set[str], together: Set[str] = frozenset()
) -> tuple[Chain, ...]:
    """Operations join the chain before them when it feeds them and nobody else needs what passes between them."""
    chains: list[list[Op]] = []
    alone = apart | together
    for op in lowered.ops:
        free = chains and op.name not in alone and chains[-1][0].name not in together
        if free and _joins(op, chains[-1], lowered, arch, off_chip):
            chains[-1].append(op)
        else:
            chains.append([op])
    return tuple(chain_of(ops, lowered, whole=ops[0].name in together) for ops in chains)


def _joins(op: Op, chain: list[Op], lowered: Lowered, arch: Arch, off_chip: set[str]) -> bool:
    if op.batched or chain[0].batched or isinstance(op, MatOp) or (needs_acc(op) and arch.acc_rows < 2):
        return False
    made = {lowered.root[member.output] for member in chain}
    inside = {lowered.root[t] for t in op.inputs} & made
    if lowered.root[chain[-1].output] not in inside or inside & off_chip:
        return False
    if inside & set(lowered.outputs) or any(len(makers_of(lowered, tensor)) > 1 for tensor in inside):
        return False
    members = {*(member.name for member in chain), op.name}
    for tensor in inside:
        others = [reader for reader in readers_of(lowered, tensor) if reader.name not in members]
        # The squares come before the normalisation that reads the same tensor, which will join too.
        if any(not _partner(op, other, lowered) for other in others):
            return False
        if any(lowered.tensors[t].shape != lowered.tensors[tensor].shape for t in _names(op, tensor, lowered)):
            return False  # a view of another shape
    return isinstance(op, VecOp | DepthwiseOp | AddOp | LrnOp)


def _partner(op: Op, other: Op, lowered: Lowered) -> bool:
    return isinstance(other, LrnOp) and lowered.root[other.inputs[1]] == lowered.root[op.output]


def _names(op: Op, tensor: str, lowered: Lowered) -> list[str]:
    return [t for t in op.inputs if lowered.root[t] == tensor]
