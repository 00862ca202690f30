"""Tier 1, formula: the array's laws and sums against the array built of registers."""

from __future__ import annotations

import random

import pytest

from accelsim.arch import ArrayArch
from accelsim.isa.protocol import ArrayWork
from accelsim.timing import IDLE_ARRAY, advance
from tests.oracles.array import Gemm, run

KINDS = [(d, w, o) for d in ("ws", "os") for w in ("shadow", "single") for o in ("full", "none")]


def random_gemm(rng: random.Random, rows: int, cols: int, ready: int, value) -> Gemm:
    tiles, k, m, n = rng.randint(1, 4), rng.randint(1, rows), rng.randint(1, 7), rng.randint(1, cols)
    # Rows of ACC may repeat: accumulating into the row written the cycle before is legal.
    acc = [rng.randrange(4) for _ in range(m)] if rng.random() < 0.4 else list(range(m))
    return Gemm(
        ready=ready,
        w=[[[value() for _ in range(n)] for _ in range(k)] for _ in range(tiles)],
        x=[[[value() for _ in range(k)] for _ in range(m)] for _ in range(tiles)],
        acc=acc,
        overwrite=rng.random() < 0.5,
    )


def expected_acc(gemms: list[Gemm], cols: int, rows: int, dataflow: str) -> dict[int, list[int]]:
    """Row by row in the order of the loops; an os block finishes bottom row first."""
    acc: dict[int, list[int]] = {}
    for gemm in gemms:
        if dataflow == "ws":
            order = [([t], j) for t in range(len(gemm.w)) for j in range(len(gemm.acc))]
        else:
            every = list(range(len(gemm.w)))
            blocks = [range(at, min(at + rows, len(gemm.acc))) for at in range(0, len(gemm.acc), rows)]
            order = [(every, j) for block in blocks for j in reversed(block)]
        for tiles, j in order:
            row = [0] * cols
            for t in tiles:
                for c in range(len(gemm.w[t][0])):
                    row[c] += sum(x * w[c] for x, w in zip(gemm.x[t][j], gemm.w[t]))
            old = acc.get(gemm.acc[j], [0] * cols)
            keep = not (gemm.overwrite and tiles[0] == 0)
            acc[gemm.acc[j]] = [row[c] + old[c] * keep for c in range(cols)]
    return acc


def law(gemms: list[Gemm], arch: ArrayArch) -> tuple[list[int], list[int]]:
    accepted, landings, free, state = [], [], 0, IDLE_ARRAY
    for gemm in gemms:
        accepted.append(max(gemm.ready, free))
        work = ArrayWork(len(gemm.w), len(gemm.w[0]), len(gemm.acc))
        free, landed, state = advance(state, work, accepted[-1], arch)
        landings.append(landed)
    return accepted, landings


@pytest.mark.parametrize(("dataflow", "weights", "overlap"), KINDS)
@pytest.mark.parametrize("seed", range(30))
def test_registers_agree_with_the_law_and_the_sums(dataflow: str, weights: str, overlap: str, seed: int):
    rng = random.Random(f"{dataflow} {weights} {overlap} {seed}")
    value = {0: lambda: 127, 1: lambda: -128}.get(seed, lambda: rng.randint(-128, 127))
    rows, cols, ready, gemms = rng.randint(1, 5), rng.randint(1, 5), 0, []
    for _ in range(rng.randint(1, 5)):
        ready += rng.choice([0, 0, 0, 1, 3, 20])
        gemms.append(random_gemm(rng, rows, cols, ready, value))
    arch = ArrayArch(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap)
    seen = run(rows, cols, gemms, dataflow=dataflow, weights=weights, overlap=overlap)
    assert (seen.accepted, seen.landed) == law(gemms, arch)
    assert seen.acc == expected_acc(gemms, cols, rows, dataflow)


@pytest.mark.parametrize(("dataflow", "weights", "overlap"), KINDS)
@pytest.mark.parametrize(("rows", "cols", "tiles", "k", "m"), [(4, 3, 3, 4, 5), (3, 4, 2, 2, 1), (2, 5, 4, 1, 7)])
def test_equal_gemms_back_to_back(dataflow, weights, overlap, rows, cols, tiles, k, m):
    rng = random.Random(7)
    gemms = []
    for _ in range(4):
        w = [[[rng.randint(-9, 9) for _ in range(cols)] for _ in range(k)] for _ in range(tiles)]
        x = [[[rng.randint(-9, 9) for _ in range(k)] for _ in range(m)] for _ in range(tiles)]
        gemms.append(Gemm(0, w, x, list(range(m)), False))
    arch = ArrayArch(rows=rows, cols=cols, dataflow=dataflow, weights=weights, overlap=overlap)
    seen = run(rows, cols, gemms, dataflow=dataflow, weights=weights, overlap=overlap)
    assert (seen.accepted, seen.landed) == law(gemms, arch)
    assert seen.acc == expected_acc(gemms, cols, rows, dataflow)
    if dataflow == "ws" and (weights, overlap) == ("shadow", "full") and m >= k:
        first, last = seen.writes[0], seen.writes[-1]
        assert seen.writes == list(range(first, last + 1)), "one row a cycle, without a bubble"
