"""The local laws of time: how long an instruction takes alone, as exact integer arithmetic on cycles.

Who waits for whom is ``accelsim.hw``'s affair; nothing here knows a queue or a token. Cycle numbers count from 0 and
``docs/timing.md`` derives every law in clock-edge terms. All functions are closed forms: no loop over tiles, bursts
or rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import ceil, floor, gcd
from typing import NamedTuple

import numpy as np

from accelsim.arch import AluArch, ArrayArch
from accelsim.dram_arch import DeviceArch, DramArch
from accelsim.isa.fields import WORD_BYTES
from accelsim.isa.protocol import ArrayWork, FillWork, Region, VectorWork

DATA_LIMIT = 2**32  # the DRAM address of load and store: 4 GiB of data
NS_PER_S = 10**9

# ---------------------------------------------------------------------------------------------- the array


@dataclass(frozen=True, slots=True)
class ArrayState:
    """What the array remembers of its last gemm: the cycles its last tile (ws) or row block (os) went through.

    ``load`` and ``stream`` are the first tile's (os: ``load == stream``); ``last_stream`` is the cycle in which the
    last tile's first activation row enters, ``stop`` the first cycle in which the next one's could, ``landed`` the
    cycle in which the last ACC row is written.
    """

    load: int = 0
    stream: int = 0
    last_stream: int = 0
    stop: int = 0
    landed: int = -1


IDLE_ARRAY = ArrayState()


class Rhythm(NamedTuple):
    """How a gemm's equal tiles (ws) or row blocks (os) follow each other.

    ``parts`` of them stream for ``streaming`` cycles each, one every ``period`` cycles; the last ``loading`` cycles
    of a period are spent on weights alone.
    """

    parts: int
    period: int
    streaming: int
    loading: int


def rhythm(work: ArrayWork, arch: ArrayArch) -> Rhythm:
    """The repetition inside one gemm."""
    if arch.dataflow == "os":
        count, reduction = -(-work.m // arch.rows), work.k * work.tiles
        if arch.overlap == "none":
            return Rhythm(count, reduction + 2 * arch.rows + arch.cols + 2, reduction, 0)
        drain = arch.rows if arch.weights == "single" else max(0, arch.rows - reduction)
        return Rhythm(count, reduction + drain, reduction, 0)
    if arch.overlap == "none":
        return Rhythm(work.tiles, 2 * arch.rows + work.m + arch.cols + 2, work.m, arch.rows)
    if arch.weights == "single":
        return Rhythm(work.tiles, work.k + work.m, work.m, work.k)
    return Rhythm(work.tiles, max(work.k, work.m), work.m, max(0, work.k - work.m))


def advance(
    state: ArrayState, work: ArrayWork, accepted: int, arch: ArrayArch
) -> tuple[int, int, ArrayState]:
    """Take a gemm in cycle ``accepted``; returns ``(free, landed, state)``.

    ``free`` is the earliest cycle in which the next gemm may be accepted, ``landed`` the cycle of this one's last
    ACC write. ``accepted`` must not lie before the previous gemm's ``free``.
    """
    beat = rhythm(work, arch)
    behind = (beat.parts - 1) * beat.period
    if arch.dataflow == "os":
        return _advance_os(state, work, accepted, arch, behind)
    depth = arch.rows if arch.overlap == "none" else work.k
    shadow = arch.weights == "shadow" and arch.overlap == "full"
    load = max(accepted + 1, state.last_stream if shadow else state.stop)
    stream = max(load + depth, state.stop)
    last = stream + behind
    landed = last + work.m + arch.rows + arch.cols
    if arch.overlap == "none":
        free = landed + 1
    elif beat.parts == 1:
        free = load + depth - 1
    elif shadow:  # the last tile's weights follow the stream of the tile before it
        free = last - beat.period + depth - 1
    else:
        free = last - 1
    return free, landed, ArrayState(load, stream, last, last + work.m, landed)


def _advance_os(
    state: ArrayState, work: ArrayWork, accepted: int, arch: ArrayArch, behind: int
) -> tuple[int, int, ArrayState]:
    reduction = work.k * work.tiles
    drain = arch.rows if arch.weights == "single" else max(0, arch.rows - reduction)
    # Before the first gemm nothing drains.
    ready = state.stop + drain if state.landed >= 0 else 0
    stream = max(accepted + 1, ready)
    last = stream + behind
    landed = last + reduction + 2 * arch.rows + arch.cols
    free = landed + 1 if arch.overlap == "none" else last + reduction - 1
    return free, landed, ArrayState(stream, stream, last, last + reduction, landed)


def streamed(work: Rhythm, offset: int) -> int:
    """Of the first ``offset`` cycles after a gemm's first activation row enters, how many stream rows."""
    whole, part = divmod(max(0, offset), work.period)
    if whole >= work.parts:
        return work.parts * work.streaming
    return whole * work.streaming + min(part, work.streaming)


def array_interval_cycles(work: ArrayWork, arch: ArrayArch) -> int:
    """Cycles from the acceptance of one gemm to the next when equal gemms follow each other without a pause."""
    beat = rhythm(work, arch)
    return beat.parts * beat.period


# ------------------------------------------------------------------------------------- the vector unit, fill


def vector_cycles(work: VectorWork, alu: AluArch) -> int:
    """``landed - accepted`` of an alu instruction; the next one is accepted no earlier than ``landed + 1``."""
    return work.steps * max(1, work.reads) * -(-work.lanes // alu.lanes) + alu.latency


def fill_cycles(work: FillWork) -> int:
    """``landed - accepted`` of a lone fill, which is also when the next instruction may be accepted."""
    return work.rows


# ------------------------------------------------------------------------------------------- the DRAM port


def burst_ratio(dram: DramArch) -> tuple[int, int]:
    """Cycles per burst as the reduced fraction ``(numerator, denominator)``."""
    rate = dram.bytes_per_cycle
    over, under = dram.burst_bytes * rate.denominator, rate.numerator
    common = gcd(over, under)
    return over // common, under // common


def port_end(start: int, bursts: int, dram: DramArch) -> int:
    """Last cycle of burst number ``bursts`` (from 1) of a busy period that starts in cycle ``start``."""
    over, under = burst_ratio(dram)
    return start - (-bursts * over // under) - 1


def transfer_cycles(bursts: int, dram: DramArch) -> int:
    """``landed - accepted`` of a load or store of ``bursts`` bursts that has the port for itself."""
    return port_end(1, bursts, dram) + dram.latency


def never_throttled(dram: DramArch) -> bool:
    """Whether the limit on outstanding bursts can never hold a burst back, whatever the traffic.

    Let x = burst_bytes / bytes_per_cycle, cycles per burst. Burst i of a requester (its own count) ends no later
    than t_i + x cycles after the real-valued instant t_i in which it may take the port: e_i < t_i + x, because the
    slot's last cycle is a rounded-up end minus one. Each burst takes x of port time, so t_{i+o} >= t_i + o*x; a new
    busy period only adds time. Burst i+o is decided in cycle floor(t_{i+o}) > t_{i+o} - 1. Its room is visible if
    burst i landed before: e_i + latency <= floor(t_{i+o}) - 1. That follows from t_i + x + latency <= t_i + o*x - 2,
    that is latency + 2 <= (o - 1) * x.
    """
    over, under = burst_ratio(dram)
    return (dram.outstanding - 1) * over >= (dram.latency + 2) * under


def burst_count(region: Region, burst_bytes: int) -> int:
    """Aligned bursts a DRAM region costs: loops that continue the run join it, every other run is on its own.

    Runs are requested one after the other; two runs that touch the same burst pay it twice.
    """
    run, outer = _runs(region)
    start = region.start % burst_bytes
    if not outer:
        return (start + run - 1) // burst_bytes + 1
    return _scattered_bursts(
        start, run, tuple((count, stride % burst_bytes) for count, stride in outer), burst_bytes
    )


def burst_addresses(region: Region, burst_bytes: int) -> Iterator[int]:
    """Where those bursts start, in the order in which they are requested."""
    run, outer = _runs(region)
    for steps in product(*(range(count) for count, _ in outer)):
        start = region.start + sum(step * stride for step, (_, stride) in zip(steps, outer))
        yield from range(start // burst_bytes * burst_bytes, start + run, burst_bytes)


def _runs(region: Region) -> tuple[int, list[tuple[int, int]]]:
    """The contiguous run with the loops that continue it joined, and the loops left, outermost first."""
    run = region.run
    outer = [loop for loop in region.loops if loop[0] > 1]
    while outer and outer[-1][1] == run:
        run *= outer.pop()[0]
    return run, outer


@lru_cache(maxsize=4096)
def _scattered_bursts(start: int, run: int, loops: tuple[tuple[int, int], ...], burst_bytes: int) -> int:
    """Sum of the bursts of all runs. Only run starts modulo the burst matter, so count how often each occurs."""
    residues = np.array([start], dtype=np.int64)
    counts = np.ones(1, dtype=np.int64)
    for count, stride in loops:
        period = burst_bytes // gcd(stride, burst_bytes)  # the starts of this loop repeat after so many rounds
        steps = np.arange(min(count, period), dtype=np.int64)
        weights = (count - 1 - steps) // period + 1
        sums = (residues[:, None] + steps * stride) % burst_bytes
        totals = np.zeros(burst_bytes, dtype=np.int64)
        np.add.at(totals, sums, counts[:, None] * weights)
        residues = np.flatnonzero(totals)
        counts = totals[residues]
    return int((((residues + run - 1) // burst_bytes + 1) * counts).sum())


# ------------------------------------------------------------------------------------------ the DRAM device


class DeviceCycles(NamedTuple):
    """The times of a DRAM device in cycles of the machine. ``over / under`` cycles move a burst on a channel."""

    rcd: int
    rp: int
    cas: int
    cwl: int
    ras: int
    rfc: int
    refi: int
    over: int
    under: int


def device_cycles(dram: DramArch, clock_hz: Fraction) -> DeviceCycles:
    """Each time is rounded once: up, as they are the least allowed, but tREFI, the most allowed, down (at least 1)."""
    device: DeviceArch = dram.device

    def up(time_ns: Fraction) -> int:
        return ceil(time_ns * clock_hz / NS_PER_S)

    rate = device.peak_bytes_per_s / device.channels / clock_hz
    busy = dram.stripe_bytes / rate
    return DeviceCycles(
        rcd=up(device.trcd_ns),
        rp=up(device.trp_ns),
        cas=up(device.tcas_ns),
        cwl=up(device.tcwl_ns),
        ras=up(device.tras_ns),
        rfc=up(device.trfc_ns),
        refi=max(1, floor(device.trefi_ns * clock_hz / NS_PER_S)),
        over=busy.numerator,
        under=busy.denominator,
    )


# ------------------------------------------------------------------------------------------------- fetch


def fetch_bursts(words: int, burst_bytes: int) -> int:
    """Bursts that bring in a program of ``words`` instructions; the program starts on a burst boundary."""
    return -(-words * WORD_BYTES // burst_bytes)


def fetch_address(burst: int, burst_bytes: int) -> int:
    """Where fetch burst ``burst`` (from 0) lies: instruction words have an address range above that of data."""
    return DATA_LIMIT + burst * burst_bytes


def word_burst(word: int, burst_bytes: int) -> int:
    """The burst (from 0) that carries the last byte of instruction ``word``."""
    return ((word + 1) * WORD_BYTES - 1) // burst_bytes


def fetch_trigger(burst: int, burst_bytes: int, prefetch_words: int) -> int:
    """How many words must have been dispatched before fetch burst ``burst`` (from 0) may be requested.

    It must fit the prefetch buffer beside what was requested and not yet dispatched, or the buffer must hold less
    than one whole word (else a burst larger than the buffer would never come).
    """
    fits = -(-(burst + 1) * burst_bytes // WORD_BYTES) - prefetch_words
    empty = burst * burst_bytes // WORD_BYTES
    return max(0, min(fits, empty))
