"""What does not fit: which memory, by how much, made of what, and what would help."""

from __future__ import annotations

from accelsim.arch import Arch
from accelsim.compiler.chain import Chain
from accelsim.compiler.ops import DepthwiseOp, Lowered, LrnOp, MatOp, Op, VecOp, needs_acc
from accelsim.compiler.plan import strip_shape
from accelsim.errors import CapacityError


def check_capacity(lowered: Lowered, arch: Arch) -> None:
    """Every program needs one accumulator row, one bias and scale pair, and a whole table at a time.

    Raises CapacityError for the first operation that does not find them, with the sizes that fit the whole network.
    """
    limits = {"ACC": arch.acc_bytes, "PARAM": arch.param_bytes, "WGT": arch.wgt_bytes}
    demands = [(op, *demand) for op in lowered.ops for demand in _demands(op, arch)]
    enough: dict[str, int] = {}
    for _, resource, need, _ in demands:
        enough[resource] = max(need, enough.get(resource, 0))
    for op, resource, need, term in demands:
        if need > limits[resource]:
            raise CapacityError(
                where=op.layer,
                resource=resource,
                demand_bytes=need,
                limit_bytes=limits[resource],
                terms=((term, need),),
                levers=tuple(
                    f"{name.lower()}.size of at least {size} bytes fits"
                    for name, size in enough.items()
                    if size > limits[name]
                ),
            )


def _demands(op: Op, arch: Arch) -> list[tuple[str, int, str]]:
    """(memory, bytes, what for) that an operation cannot do without, however it is cut."""
    row = 4 * arch.array.cols
    found: list[tuple[str, int, str]] = []
    if needs_acc(op):
        found += [("ACC", row, "one accumulator row"), ("PARAM", 2 * row, "bias and scale rows")]
    if isinstance(op, MatOp | LrnOp):
        found.append(("WGT", arch.array.cols, "one row of weights"))
    if op.table is not None or isinstance(op, LrnOp):
        found.append(("PARAM", arch.lut_rows * row, "a table"))
    return found


def least_terms(op: Op, arch: Arch) -> tuple[tuple[str, int], ...]:
    """UB bytes of the smallest strips of an operation whose tensors are all in DRAM: one output pixel, one of each.

    Matrix work can take one input channel at a time and give one block of channels at a time, pooling take one, and a
    depthwise convolution as many as there are lanes.
    """
    w = op.window
    (tall, wide), _ = strip_shape(w, 1, 1)
    channels, out = w.in_c, w.out_c
    if isinstance(op, MatOp):
        channels = 1 if op.groups == 1 else w.in_c
        out = min(arch.array.cols, w.out_c // op.groups)
    elif isinstance(op, VecOp) and op.kind in ("max", "avg"):
        channels = 1
    elif isinstance(op, DepthwiseOp):
        channels = min(arch.array.cols, w.in_c)
    count = len(dict.fromkeys(op.inputs))
    terms = [("input under one output pixel", count * tall * wide * channels), ("one output pixel", out)]
    if isinstance(op, LrnOp):
        terms.append(("its factors", w.out_c))
    return tuple(terms)


def refuse(chain: Chain, lowered: Lowered, arch: Arch) -> CapacityError:
    """Nothing is left to move to DRAM: the smallest strips of a chain of one operation exceed UB."""
    (op,) = chain.ops
    terms = least_terms(op, arch)
    enough = max(sum(size for _, size in least_terms(other, arch)) for other in lowered.ops)
    return CapacityError(
        where=op.layer,
        resource="UB",
        demand_bytes=sum(size for _, size in terms),
        limit_bytes=arch.ub_bytes,
        terms=terms,
        levers=(f"ub.size of at least {enough} bytes fits",),  # this operation and all others
    )
