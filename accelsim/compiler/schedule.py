"""Plans to instructions: walks images and chains, job by job, in the order of meaning.

Units run in order and loads find their place in rings, so this order decides who may run ahead of whom; tokens and
the order of words in the program are added afterwards (``sync.py``, ``order.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from accelsim.compiler.chain import Chain, flow, images_of
from accelsim.compiler.emitter import Emitter
from accelsim.compiler.matrix import Work, matrix_jobs
from accelsim.compiler.norm import norm_tile
from accelsim.compiler.ops import LrnOp, MatOp, Op
from accelsim.compiler.outputs import finish_rows, prepare_output, store_output
from accelsim.compiler.plan import jobs_of
from accelsim.compiler.stream import Ring, Stream, Tile, tiles_of
from accelsim.compiler.vector import vector_tile


def schedule(emitter: Emitter) -> Stream:
    """Emit every image of every chain."""
    for batched, chains in groupby(enumerate(emitter.placement.chains), key=lambda item: item[1].batched):
        group = [number for number, _ in chains]
        for image in range(1 if batched else emitter.lowered.batch):
            for number in group:
                run_chain(emitter, number, image)
    return emitter.stream


def run_chain(s: Emitter, number: int, image: int) -> None:
    """Emit one image of a chain, or the whole batch."""
    chain = s.placement.chains[number]
    s.begin_chain(number)
    head = chain.ops[0]
    plan = s.plans[head.name]
    images = range(images_of(chain, s.lowered)) if chain.batched else (image,)
    jobs = jobs_of(head, plan, len(images))
    work = list(matrix_jobs(s, head, images)) if isinstance(head, MatOp) else _vector_jobs(s, head, images)
    steps = list(flow(chain, jobs, [s.plans[op.name].rows for op in chain.ops]))
    following = _next_tiles(work) if plan.strips_in != 1 and plan.planes != 1 else {}
    given = 0
    for step in steps:
        op = chain.ops[step.level]
        s.stream.layer = op.layer
        if step.level:
            _behind(s, op, image, step.at, step.rows)
            continue
        if step.at == 0:
            for each in images:
                prepare_output(s, op, each)
        _, prepare, emit = work[step.at]
        prepare()
        emit()
        if step.at in following:
            following[step.at]()
        gives = jobs[step.at].gives
        if gives > given:
            finish_rows(s, op, image, given, gives - given)
            given = gives
    s.stream.layer = chain.ops[-1].layer
    for each in images:
        _flush(s, chain, each)


def _next_tiles(work: list[Work]) -> dict[int, Callable[[], object]]:
    """After the first job of a tile, what the next tile reads is brought in: its loads and copies go before the rest
    of this tile's."""
    starts = [n for n, (tile, *_) in enumerate(work) if n == 0 or work[n - 1][0] != tile]
    return {start: work[after][1] for start, after in pairwise(starts)}


def _flush(s: Emitter, chain: Chain, image: int) -> None:
    for op in chain.ops:
        store_output(s, op, image)


def _behind(s: Emitter, op: Op, image: int, row: int, rows: int) -> None:
    """A step of an operation behind the first."""
    w = op.window
    tile = Tile(image=image, row=row, rows=rows, col=0, cols=w.out_w)
    if row == 0:
        prepare_output(s, op, image)
    for tensor in op.inputs:
        s.ensure_rows(op, tensor, image, w.last_row(row + rows))
    _compute(s, op, tile, s.side)
    finish_rows(s, op, image, row, rows)


def _compute(s: Emitter, op: Op, tile: Tile, sums: Ring) -> None:
    if isinstance(op, LrnOp):
        norm_tile(s, op, tile, sums)
    else:
        vector_tile(s, op, tile, sums)


def _vector_jobs(s: Emitter, op: Op, images: Sequence[int]) -> list[Work]:
    """The jobs of vector work that leads a chain."""
    w, plan = op.window, s.plans[op.name]

    def prepare(tile: Tile) -> Callable[[], None]:
        def load() -> None:
            for number, tensor in enumerate(op.inputs):
                s.ensure_rows(op, tensor, tile.image, w.last_row(tile.row + tile.rows))
                s.input_view(op, tile, number)

        return load

    def emit(tile: Tile) -> Callable[[], None]:
        return lambda: _compute(s, op, tile, s.acc)

    tiles = [tile for image in images for tile in tiles_of(w, plan.rows, plan.cols, image)]
    return [(tile, prepare(tile), emit(tile)) for tile in tiles]
