"""Where every tensor lives: on chip for the next operation when it fits, in DRAM otherwise; UB addresses by lifetime.

Time is counted in *chains*: an operation and the vector operations that follow it strip by strip. Tensors that live
in the same chain never share bytes. When a chain does not fit, its largest tensor is moved to DRAM and everything is
placed again; what is left after that is workspace for strips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.arch import Arch
from accelsim.compiler.ops import Lowered, MatOp, Op, VecOp
from accelsim.compiler.tile import Room, least_strip_bytes, plan_op
from accelsim.errors import CapacityError, GraphError
from accelsim.nn.graph import Pads


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a tensor lies in UB. ``base`` is the byte of image 0's first stored pixel, border included.

    ``images`` slots are used in turn, ``image_bytes`` apart; ``border`` rows and columns around each image hold the
    zero point.
    """

    tensor: str
    base: int
    height: int
    width: int
    channels: int
    border: Pads
    image_bytes: int
    images: int

    @property
    def filled(self) -> bool:
        """Whether a slot must be filled before it is written, so that its border holds the zero point."""
        return any(self.border)

    @property
    def pitch(self) -> int:
        """Bytes from one row of pixels to the next."""
        return (self.width + self.border[2] + self.border[3]) * self.channels

    def pixel(self, image: int, row: int, col: int) -> int:
        """Address of a pixel; rows and columns may reach into the border."""
        slot = self.base + image % self.images * self.image_bytes
        return slot + (row + self.border[0]) * self.pitch + (col + self.border[2]) * self.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Operations emitted strip by strip together: the first feeds the second on chip, and so on."""

    ops: tuple[Op, ...]
    batched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Homes of all stored tensors on chip, the chains in order, and the strip workspace (base, bytes) of each."""

    homes: dict[str, Home]  # tensors on chip only
    chains: tuple[Chain, ...]
    workspace: tuple[tuple[int, int], ...]


def place(lowered: Lowered, arch: Arch) -> Placement:
    """Keep as much on chip as fits. Raises CapacityError when an operation cannot run even from strips."""
    spilled = _reshaped_with_border(lowered)
    ahead = 2  # images of the network's input held at a time, so that the next one loads early
    while True:
        chains = _chains(lowered, spilled)
        wanted = [h for h in _homes(lowered, chains, ahead) if h.tensor not in spilled]
        lives = _lifetimes(lowered, chains)
        homes, crowded = _assign(wanted, lives, chains, lowered, arch)
        if crowded is None:
            gaps = tuple(_largest_gap(homes, lives, t, arch) for t in range(len(chains)))
            return Placement(homes=homes, chains=chains, workspace=gaps)
        alive = [h for h in wanted if lives[h.tensor][0] <= crowded <= lives[h.tensor][1]]
        if not alive:
            _refuse(chains[crowded], lowered, arch)
        if ahead > 1 and any(h.tensor == lowered.input and h.images == ahead for h in alive):
            ahead = 1  # cheaper than moving a tensor to DRAM
            continue
        spilled.add(max(alive, key=lambda h: (h.image_bytes * h.images, h.tensor)).tensor)


def _reshaped_with_border(lowered: Lowered) -> set[str]:
    """Tensors that one operation pads while another sees them dense, as a vector or as a row of the batch.

    A border would tear the dense view apart, so these go through DRAM, where tensors are always dense.
    """
    torn: set[str] = set()
    for root in set(lowered.root.values()):
        users = [op for op in lowered.ops if root in (lowered.root[op.input], lowered.root[op.output])]
        padded = any(isinstance(op, MatOp) and any(op.window.pads) for op in _consumers(lowered, root))
        names = {name for op in users for name in (op.input, op.output) if lowered.root[name] == root}
        shapes = {lowered.tensors[name].shape for name in names} | {lowered.tensors[root].shape}
        if padded and (len(shapes) > 1 or any(op.batched for op in users)):
            torn.add(root)
    return torn


def _refuse(chain: Chain, lowered: Lowered, arch: Arch) -> None:
    """Nothing is left to move to DRAM: planning the operation with the whole UB says what is missing."""
    enough = max(least_strip_bytes(op, input_on_chip=False, output_on_chip=False) for op in lowered.ops)
    for op in chain.ops:
        try:
            plan_op(op, arch, Room(input_on_chip=False, output_on_chip=False, ub_bytes=arch.ub_bytes), 1.0)
        except CapacityError as error:
            error.levers = (f"ub.size of at least {enough} bytes fits",)  # this operation and all others
            raise
    raise GraphError(layer=chain.ops[0].layer, problem="no placement in UB was found", hint="use a larger ub.size")


def _consumers(lowered: Lowered, tensor: str) -> list[Op]:
    return [op for op in lowered.ops if lowered.root[op.input] == tensor]


def _chains(lowered: Lowered, spilled: set[str]) -> tuple[Chain, ...]:
    chains: list[list[Op]] = []
    for op in lowered.ops:
        source = lowered.root[op.input]
        if chains and isinstance(op, VecOp) and not op.batched:
            last = chains[-1][-1]
            alone = len(_consumers(lowered, source)) == 1
            joined = lowered.root[last.output] == source and not last.batched
            if joined and alone and source not in spilled:
                chains[-1].append(op)
                continue
        chains.append([op])
    return tuple(Chain(ops=tuple(ops), batched=ops[0].batched) for ops in chains)


def _group_bounds(chains: tuple[Chain, ...], index: int) -> tuple[int, int]:
    """First and last chain of the run of chains that share one loop over images."""
    first = last = index
    while first > 0 and chains[first - 1].batched == chains[index].batched:
        first -= 1
    while last + 1 < len(chains) and chains[last + 1].batched == chains[index].batched:
        last += 1
    return first, last


def _users(lowered: Lowered, chains: tuple[Chain, ...], tensor: str) -> tuple[list[int], list[int]]:
    makers = [t for t, c in enumerate(chains) if any(lowered.root[op.output] == tensor for op in c.ops)]
    readers = [t for t, c in enumerate(chains) if any(lowered.root[op.input] == tensor for op in c.ops)]
    return makers, readers


def _crosses(lowered: Lowered, chains: tuple[Chain, ...], tensor: str) -> bool:
    """Whether all images of the batch must be held: the tensor leaves the loop over images it was made in."""
    makers, readers = _users(lowered, chains, tensor)
    return any(chains[t].batched for t in makers + readers)


def _lifetimes(lowered: Lowered, chains: tuple[Chain, ...]) -> dict[str, tuple[int, int]]:
    lives: dict[str, tuple[int, int]] = {}
    for tensor in set(lowered.root.values()):
        makers, readers = _users(lowered, chains, tensor)
        used = sorted(makers + readers)
        if not used:
            continue
        first, last = used[0], used[-1]
        if lowered.batch > 1 and _crosses(lowered, chains, tensor):
            if not chains[first].batched:
                first = _group_bounds(chains, first)[0]
            if not chains[last].batched:
                last = _group_bounds(chains, last)[1]
        lives[tensor] = (first, last)
    return lives


def _homes(lowered: Lowered, chains: tuple[Chain, ...], ahead: int) -> list[Home]:
    """The on-chip form of every stored tensor (base still 0)."""
    homes: list[Home] = []
    for tensor in dict.fromkeys(lowered.root[t] for t in lowered.tensors):
        readers = _consumers(lowered, tensor)
        makers = [op for op in lowered.ops if lowered.root[op.output] == tensor]
        if not readers and not makers:
            continue
        padded = [op.window.pads for op in readers if isinstance(op, MatOp)]
        border: Pads = tuple(max((p[i] for p in padded), default=0) for i in range(4))  # type: ignore[assignment]
        height, width, channels = lowered.tensors[tensor].shape
        pixels = (height + border[0] + border[1]) * (width + border[2] + border[3])
        crossing = lowered.batch > 1 and _crosses(lowered, chains, tensor)
        images = lowered.batch if crossing else min(lowered.batch, ahead) if tensor == lowered.input else 1
        homes.append(
            Home(
                tensor=tensor,
                base=0,
                height=height,
                width=width,
                channels=channels,
                border=border,
                image_bytes=pixels * channels,
                images=images,
            )
        )
    return homes


def _assign(
    wanted: list[Home], lives: dict[str, tuple[int, int]], chains: tuple[Chain, ...], lowered: Lowered, arch: Arch
) -> tuple[dict[str, Home], int | None]:
    """First-fit addresses in order of first use; or the first chain that does not fit."""
    homes: dict[str, Home] = {}
    for home in sorted(wanted, key=lambda h: (lives[h.tensor], h.tensor)):
        first, last = lives[home.tensor]
        size = home.image_bytes * home.images
        base = _first_fit(size, first, last, homes, lives)
        if base + size > arch.ub_bytes:
            return {}, first
        homes[home.tensor] = replace(home, base=base)
    for t, chain in enumerate(chains):
        room = _largest_gap(homes, lives, t, arch)[1]
        if sum(_least(op, lowered, homes) for op in chain.ops) > room:
            return {}, t
    return homes, None


def _least(op: Op, lowered: Lowered, homes: dict[str, Home]) -> int:
    return least_strip_bytes(
        op,
        input_on_chip=lowered.root[op.input] in homes,
        output_on_chip=lowered.root[op.output] in homes,
    )


def _taken(homes: dict[str, Home], lives: dict[str, tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Address ranges in use at some time in ``first .. last``, by address."""
    return sorted(
        (h.base, h.base + h.image_bytes * h.images)
        for h in homes.values()
        if lives[h.tensor][0] <= last and lives[h.tensor][1] >= first
    )


def _first_fit(size: int, first: int, last: int, homes: dict[str, Home], lives: dict[str, tuple[int, int]]) -> int:
    base = 0
    for start, stop in _taken(homes, lives, first, last):
        if base + size <= start:
            return base
        base = max(base, stop)
    return base


def _largest_gap(homes: dict[str, Home], lives: dict[str, tuple[int, int]], time: int, arch: Arch) -> tuple[int, int]:
    """(base, bytes) of the largest range free in chain ``time``."""
    best, base = (0, 0), 0
    for start, stop in [*_taken(homes, lives, time, time), (arch.ub_bytes, arch.ub_bytes)]:
        if start - base > best[1]:
            best = (base, start - base)
        base = max(base, stop)
    return best
