"""Plans to instructions: walks images and chains, tile by tile, in the order of meaning.

Units run in order and loads find their place in rings, so this order decides who may run ahead of whom; tokens and
the order of words in the program are added afterwards (``sync.py``, ``order.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from accelsim.compiler.emitter import Emitter
from accelsim.compiler.matrix import matrix_jobs
from accelsim.compiler.ops import MatOp, Op
from accelsim.compiler.place import Chain
from accelsim.compiler.stream import Stream
from accelsim.compiler.vector import vector_jobs


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of an operation that is emitted at once: the input rows it needs, the output rows then complete."""

    needs: int
    gives: int
    emit: Callable[[], None]


def schedule(emitter: Emitter) -> Stream:
    """Emit every image of every chain."""
    for batched, chains in groupby(enumerate(emitter.placement.chains), key=lambda item: item[1].batched):
        group = [chain for _, chain in chains]
        for image in range(1 if batched else emitter.lowered.batch):
            for chain in group:
                _chain(emitter, chain, image)
    return emitter.stream


def _chain(emitter: Emitter, chain: Chain, image: int) -> None:
    queues = [list(_jobs(emitter, op, image)) for op in chain.ops]
    done = [0] * len(queues)
    given = [0] * len(queues)

    def advance(level: int) -> None:
        job = queues[level][done[level]]
        done[level] += 1
        emitter.stream.layer = chain.ops[level].layer
        job.emit()
        given[level] = job.gives

    while done[0] < len(queues[0]):
        emitter.stream.layer = chain.ops[0].layer
        emitter.ensure_input(chain.ops[0], image, queues[0][done[0]].needs)
        advance(0)
        for level in range(1, len(queues)):
            while done[level] < len(queues[level]) and queues[level][done[level]].needs <= given[level - 1]:
                advance(level)
    assert done == [len(q) for q in queues], "a chain's vector operations must be fed by their producer"
    emitter.store_output(chain.ops[-1], image)


def _jobs(emitter: Emitter, op: Op, image: int) -> Iterator[Job]:
    make = matrix_jobs if isinstance(op, MatOp) else vector_jobs
    for needs, gives, emit in make(emitter, op, image):
        yield Job(needs, gives, emit)
