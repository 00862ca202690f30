"""The laws of time as a user sees them: `accelsim exec FILE.asm --timing-only --json -` against the laws restated here.

Nothing of the simulator is imported. Every program begins with a long instruction that holds the others back by a
token, so that their words are in the queues and nothing but the law itself decides.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import pytest

from tests.command_line import accelsim

MACHINE = {
    "queue.depth": 100, "fetch.prefetch_words": 200, "ub.size": 16384, "wgt.size": 7200, "acc.size": 28800,
    "param.size": 7200, "dram.bytes_per_cycle": 16, "dram.burst_bytes": 32, "dram.outstanding": 1000,
}  # fmt: skip
DATA = ".region data int8 [65536] = zeros scratch\n"


@dataclass(frozen=True)
class Seen:
    unit: str
    accepted: int
    start: int
    landed: int


def run(folder: Path, lines: list[str], **changes: object) -> list[Seen]:
    """Times of the program's instructions on a machine; keys of ``changes`` have ``__`` for the dot."""
    program = folder / "case.asm"
    program.write_text(DATA + "\n".join([*lines, "halt on=store"]) + "\n", encoding="utf-8")
    settings = {**MACHINE, **{key.replace("__", "."): value for key, value in changes.items()}}
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    result = accelsim("exec", str(program), "--arch", "tiny", *options, "--timing-only", "--json", "-")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["instructions"]
    assert [row["index"] for row in rows] == list(range(len(lines) + 1))
    return [Seen(row["unit"], row["accepted"], row["start"], row["landed"]) for row in rows]


# ------------------------------------------------------------------------------------------------ gemm


@dataclass(frozen=True)
class Gemm:
    tiles: int
    k: int
    m: int


def weight_stationary(gemms: list[Gemm], first: int, r: int, c: int, weights: str, overlap: str) -> list[Seen]:
    """Tile after tile by the recurrences; every gemm is accepted as early as it may be."""
    seen, accepted, stream, rows, landed = [], first, -(10**9), 0, -(10**9)
    for gemm in gemms:
        start, load, depth = None, 0, r if overlap == "none" else gemm.k
        for _ in range(gemm.tiles):
            if overlap == "none":
                load = max(accepted, landed + 1) + 1
            elif weights == "shadow":
                load = max(accepted + 1, stream)
            else:
                load = max(accepted + 1, stream + rows)
            waits = stream + rows if (weights, overlap) == ("shadow", "full") else 0
            stream, rows = max(load + depth, waits), gemm.m
            landed = stream + gemm.m + r + c
            start = load if start is None else start
        seen.append(Seen("gemm", accepted, start or 0, landed))
        accepted = landed + 1 if overlap == "none" else load + depth - 1
    return seen


def output_stationary(gemms: list[Gemm], first: int, r: int, c: int, weights: str, overlap: str) -> list[Seen]:
    """Block after block of r rows; the reduction is k times the number of tiles."""
    seen, accepted, stream, before, landed = [], first, -(10**9), 0, -(10**9)
    for gemm in gemms:
        start, reduction = None, gemm.k * gemm.tiles
        for _ in range(ceil(gemm.m / r)):
            if overlap == "none":
                stream = max(accepted, landed + 1) + 1
            else:
                drain = r if weights == "single" else max(0, r - reduction)
                stream = max(accepted + 1, stream + before + drain)
            before, landed = reduction, stream + reduction + 2 * r + c
            start = stream if start is None else start
        seen.append(Seen("gemm", accepted, start or 0, landed))
        accepted = landed + 1 if overlap == "none" else stream + reduction - 1
    return seen


@pytest.mark.parametrize("overlap", ["full", "none"])
@pytest.mark.parametrize("weights", ["shadow", "single"])
@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize(("rows", "cols", "seed"), [(4, 4, 1), (3, 6, 2), (8, 2, 3), (1, 5, 4)])
def test_gemms_back_to_back(tmp_path: Path, dataflow, weights, overlap, rows, cols, seed):
    rng = random.Random(seed)
    gemms = [Gemm(rng.randint(1, 4), rng.randint(1, rows), rng.randint(1, 20)) for _ in range(30)]
    lines = ["load memory=ub dram=0 run=1 n0=1000 ds0=32 signal=gemm"]
    for place, gemm in enumerate(gemms):
        r0, r1 = (gemm.tiles // 2, 2) if gemm.tiles % 2 == 0 else (gemm.tiles, 1)
        m0, m1 = (gemm.m // 3, 3) if gemm.m % 3 == 0 else (gemm.m, 1)
        wait = " wait=load" if place == 0 else ""
        overwrite = "overwrite " if rng.random() < 0.5 else ""
        n = rng.randint(1, cols)
        lines.append(f"gemm {overwrite}k={gemm.k} n={n} r0={r0} r1={r1} m0={m0} m1={m1} am0=1 am1={m0} xm0=3{wait}")
    seen = run(
        tmp_path, lines, array__rows=rows, array__cols=cols, array__dataflow=dataflow, array__weights=weights,
        array__overlap=overlap,
    )  # fmt: skip
    law = weight_stationary if dataflow == "ws" else output_stationary
    assert seen[1:-1] == law(gemms, seen[0].landed + 1, rows, cols, weights, overlap)
    assert seen[-1].accepted == max(one.landed for one in seen[:-1]) + 1


@pytest.mark.parametrize(
    ("dataflow", "weights", "k", "m", "alone", "period"),
    [
        ("ws", "shadow", 4, 7, 4 + 7 + 10 + 2, 7),
        ("ws", "shadow", 4, 1, 4 + 1 + 10 + 2, 4),
        ("ws", "single", 4, 7, 4 + 7 + 10 + 2, 11),
        ("os", "shadow", 4, 4, 4 + 2 * 4 + 6 + 2, 4),
        ("os", "shadow", 2, 4, 2 + 2 * 4 + 6 + 2, 4),
        ("os", "single", 4, 4, 4 + 2 * 4 + 6 + 2, 8),
    ],
)
def test_equal_tiles_follow_at_their_period(tmp_path: Path, dataflow, weights, k, m, alone, period):
    """On 4 rows and 6 columns: k + m + R + C + 2 or k + 2R + C + 2 alone; then one tile a period."""
    gemms = [f"gemm overwrite k={k} n=6 m0={m} am0=1{' wait=load' if i == 0 else ''}" for i in range(9)]
    lines = ["load memory=ub dram=0 run=1 n0=500 ds0=32 signal=gemm", *gemms]
    seen = run(tmp_path, lines, array__rows=4, array__cols=6, array__dataflow=dataflow, array__weights=weights)[1:-1]
    assert seen[0].landed - seen[0].accepted + 1 == alone
    assert {later.landed - earlier.landed for earlier, later in pairwise(seen)} == {period}


# ------------------------------------------------------------------------------------------- alu, sync


@pytest.mark.parametrize(("lanes", "latency", "seed"), [(4, 4, 1), (3, 0, 2), (1, 9, 3)])
def test_alu_and_sync(tmp_path: Path, lanes: int, latency: int, seed: int):
    rng = random.Random(seed)
    lines, steps = ["load memory=ub dram=0 run=1 n0=400 ds0=32 signal=alu"], []
    for place in range(30):
        wait = " wait=load" if place == 0 else ""
        if place and rng.random() < 0.2:
            lines.append("sync on=alu")
            steps.append(None)
            continue
        n, m0, m1, r0, r1 = (rng.randint(1, top) for top in (4, 5, 3, 3, 2))
        head, operands = rng.choice(
            [
                ("op=max src_mem=ub dst_mem=ub accumulate", 2),  # source and old destination from UB
                ("op=add src_mem=acc dst_mem=acc accumulate", 2),
                ("op=add src_mem=acc dst_mem=ub accumulate", 1),  # one operand from each
                ("op=max src_mem=ub dst_mem=ub", 1),
            ]
        )
        if r0 * r1 > 1 and "accumulate" not in head:
            r0 = r1 = 1
        lines.append(f"alu {head} n={n} m0={m0} m1={m1} r0={r0} r1={r1} sm0=4 dm0=4 sr0=1 dm1=20{wait}")
        steps.append(m0 * m1 * r0 * r1 * operands * ceil(n / lanes))
    seen = run(tmp_path, lines, alu__lanes=lanes, alu__latency=latency)
    expected, accepted = [], seen[0].landed + 1
    for step in steps:
        landed = accepted if step is None else accepted + step + latency
        expected.append((accepted, landed))
        accepted = landed + 1
    assert [(one.accepted, one.landed) for one in seen[1:-1]] == expected


# ------------------------------------------------------------------------------------------- the port


@dataclass
class Item:
    """An instruction of load or store: bursts of the port, or rows of a fill, or a sync."""

    text: str
    bursts: int = 0
    rows: int = 0


@dataclass
class Side:
    """One unit as the port sees it."""

    items: list[Item]
    place: int = 0
    free: int | None = 0
    left: int = 0
    shows: int = 0
    landed: int = -1
    flying: list[int] = field(default_factory=list)
    seen: list[tuple[int, int]] = field(default_factory=list)

    def accept(self, cycle: int) -> None:
        """Take the next instruction if this is its cycle."""
        if self.place == len(self.items) or self.free is None or cycle < self.free:
            return
        item = self.items[self.place]
        if item.bursts:
            self.left, self.shows, self.free = item.bursts, cycle + 1, None
        elif item.rows:
            self.free, self.landed = cycle + item.rows, max(cycle + item.rows, self.landed)
        elif cycle > self.landed:
            self.free, self.landed = cycle + 1, cycle
        else:
            return
        self.seen.append((cycle, self.landed))
        self.place += 1


def share(sides: list[Side], first: list[int], rate: Fraction, burst: int, latency: int, outstanding: int) -> None:
    """Fill in ``seen``, cycle by cycle: (accepted, landed) of every item. ``sides`` are load and store."""
    for side, cycle in zip(sides, first):
        side.free = cycle
    now, start, count, due, last = min(first), 0, 0, -1, 1  # as if store had been last: load before store
    while any(side.place < len(side.items) or side.left for side in sides):
        while True:
            due = start + floor(count * burst / rate) if count else now
            if due > now:
                break
            ready = [
                who for who in ((last + 1) % 2, last)
                if sides[who].left and sides[who].shows <= now
                and sum(landed >= now for landed in sides[who].flying) < outstanding
            ]  # fmt: skip
            if not ready:
                count = 0  # the busy period is over, the next one starts in a later cycle
                break
            if count == 0:
                start = now
            last, count = ready[0], count + 1
            side = sides[last]
            end = start + ceil(count * burst / rate) - 1
            side.flying.append(end + latency)
            side.left -= 1
            if side.left == 0:
                side.free = now
                side.landed = max(side.landed, end + latency)
                side.seen[-1] = (side.seen[-1][0], side.landed)
        for side in sides:
            side.accept(now)
        now += 1


def items(rng: random.Random, unit: str, burst: int) -> list[Item]:
    """Loads take from the first half of DRAM, stores go to the second; bursts are counted byte by byte."""
    found = []
    for _ in range(14):
        kind = rng.random()
        if kind < 0.15:
            found.append(Item(f"sync on={unit}"))
            continue
        if unit == "load" and kind < 0.3:
            n0, n1 = rng.randint(1, 9), rng.randint(1, 9)
            found.append(Item(f"load fill memory=ub dram=7 run=5 n0={n0} n1={n1} ls0=5", rows=n0 * n1))
            continue
        run, n0, n1 = rng.choice([1, 5, 16, 32, 100]), rng.randint(1, 6), rng.randint(1, 3)
        ds0 = rng.choice([run, run + 3, 64, 100])  # equal to the run: one long run
        ds1 = rng.choice([run * n0, 700, ds0])
        at = rng.randint(0, 200) + (32768 if unit == "store" else 0)
        base = 0 if unit == "load" else 8192
        text = f"{unit} memory=ub dram={at} local={base} run={run} n0={n0} n1={n1} ds0={ds0} ds1={ds1} ls0={run}"
        found.append(Item(text, bursts=touched(at, run, n0, ds0, n1, ds1, burst)))
    return found


def touched(at: int, run: int, n0: int, ds0: int, n1: int, ds1: int, burst: int) -> int:
    """Bursts of every contiguous run. A loop of one round joins nothing and separates nothing."""
    runs = [(at + i * ds1 + j * ds0, run) for i in range(n1) for j in range(n0)]
    if n0 == 1 or ds0 == run:
        runs = [(at + i * ds1, run * n0) for i in range(n1)]
        if n1 == 1 or ds1 == run * n0:
            runs = [(at, run * n0 * n1)]
    return sum(len({byte // burst for byte in range(start, start + size)}) for start, size in runs)


@pytest.mark.parametrize(
    ("rate", "burst", "latency", "outstanding"),
    [(8, 64, 100, 1000), (4, 16, 10, 1000), ("34/7", 64, 30, 1000), (40, 16, 5, 1000), (8, 64, 100, 2), (4, 16, 0, 1)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_load_and_store_share_the_port(tmp_path: Path, rate, burst, latency, outstanding, seed):
    rng = random.Random(seed)
    loads, stores = items(rng, "load", burst), items(rng, "store", burst)
    lines = ["alu op=mov src_mem=ub dst_mem=ub src=12000 dst=13000 n=1 m0=3000 signal=load,store"]
    for place, pair in enumerate(zip(loads, stores)):
        lines += [item.text + (" wait=alu" if place == 0 else "") for item in pair]
    seen = run(
        tmp_path, lines, dram__bytes_per_cycle=rate, dram__burst_bytes=burst, dram__latency=latency,
        dram__outstanding=outstanding, array__cols=4,
    )  # fmt: skip
    sides = [Side(loads), Side(stores)]
    held = seen[0].landed + 1
    share(sides, [held, held], Fraction(rate), burst, latency, outstanding)
    for side, unit in zip(sides, ("load", "store")):
        assert [(one.accepted, one.landed) for one in seen[1:-1] if one.unit == unit] == side.seen


# ------------------------------------------------------------------------------------- fetch and dispatch


@pytest.mark.parametrize(
    ("rate", "burst", "latency"), [(4, 16, 10), (8, 64, 100), ("34/7", 64, 3), (32, 32, 0), (100, 16, 7), (3, 32, 1)]
)
def test_the_first_words(tmp_path: Path, rate, burst: int, latency: int):
    """Bursts come one after the other; a word leaves the cycle after its last byte is in, one word a cycle."""
    lines = [f"sync on={unit}" for unit in ("load", "gemm", "alu", "store") * 5]
    seen = run(tmp_path, lines, dram__bytes_per_cycle=rate, dram__burst_bytes=burst, dram__latency=latency)
    dispatched, expected = -1, []
    for word in range(len(lines)):
        bursts = ceil(32 * (word + 1) / burst)
        arrived = ceil(bursts * burst / Fraction(rate)) - 1 + latency
        dispatched = max(dispatched + 1, arrived + 1)
        expected.append(dispatched + 1)
    assert [one.accepted for one in seen[:-1]] == expected
    assert [one.landed for one in seen[:-1]] == expected
    # The first: its last byte is in after the latency and its bursts; one cycle to dispatch, one to accept.
    assert seen[0].accepted == latency + ceil(max(burst, 32) / Fraction(rate)) + 1


# ------------------------------------------------------------------- the examples of docs/timing.md, sections 6 and 7


@pytest.mark.parametrize(
    ("line", "cycles"),
    [
        ("op=rq operand=param lo=-128 hi=127 src_mem=acc dst_mem=ub m0=100 dm0=4", 104),
        ("op=add accumulate src_mem=ub dst_mem=ub dst=500 r0=32 sr0=4", 68),
        ("op=add accumulate src_mem=acc dst_mem=acc dst=100 r0=32 sr0=1", 68),
        ("op=add accumulate src_mem=ub dst_mem=acc dst=100 r0=32 sr0=4", 36),
        ("op=add src_mem=ub dst_mem=ub dst=500 r0=32 sr0=4", 36),
        ("op=mac operand=dst accumulate src_mem=ub dst_mem=ub dst=500 m0=32 sm0=4 dm0=4", 68),
    ],
)
def test_what_counts_as_an_operand_of_alu(tmp_path: Path, line: str, cycles: int) -> None:
    seen = run(tmp_path, [f"alu n=4 {line}"], alu__latency=4)[0]
    assert seen.landed - seen.accepted == cycles


def test_joining_stops_at_the_first_loop_that_does_not_continue_the_run(tmp_path: Path) -> None:
    """On a port with the bursts of edge: 8 cycles each."""
    edge = {"dram__burst_bytes": 64, "dram__bytes_per_cycle": 8, "dram__latency": 100}
    line = "load memory=ub dram=data run=16 ls0=16 ls1=32"
    for loops, bursts in (("n0=2 ds0=100 n1=2 ds1=16", 5), ("n0=2 ds0=16 n1=2 ds1=100", 3)):
        seen = run(tmp_path, [f"{line} {loops}"], **edge)[0]
        assert seen.landed - seen.accepted == 8 * bursts + 100


@pytest.mark.parametrize(("rate", "gap"), [(32, 1), (64, 1), (16, 2)])
def test_a_cycle_of_several_bursts_is_not_shared_by_instructions(tmp_path: Path, rate: int, gap: int) -> None:
    """Loads of one burst of 32 bytes: with two bursts a cycle they still start in different cycles."""
    lines = [f"load memory=ub dram=data+{32 * i} local={32 * i} run=32{' wait=alu' if not i else ''}" for i in range(5)]
    hold = "alu op=add src_mem=ub dst_mem=ub dst=500 n=4 m0=100 signal=load"
    starts = [seen.start for seen in run(tmp_path, [hold, *lines], dram__bytes_per_cycle=rate) if seen.unit == "load"]
    assert [after - before for before, after in pairwise(starts)] == [gap] * 4
