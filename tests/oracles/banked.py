"""The DRAM device behind the port, cycle by cycle: banks that open and close rows, a bus and a refresh per channel.

Nothing is computed ahead: every cycle each bank looks at the oldest burst it has not served, the bus moves what it
can in that cycle, and the way back moves what has come off a bus in an earlier cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from accelsim.dram_arch import DramArch
from tests.oracles.port import Burst, SteppedPort


def at_least(time_ns: Fraction, clock_hz: Fraction) -> int:
    """Cycles that are no shorter than a time, found by counting."""
    cycles = 0
    while cycles * Fraction(10**9) / clock_hz < time_ns:
        cycles += 1
    return cycles


def at_most(time_ns: Fraction, clock_hz: Fraction) -> int:
    """Cycles that are no longer than a time, but at least one."""
    cycles = 1
    while (cycles + 1) * Fraction(10**9) / clock_hz <= time_ns:
        cycles += 1
    return cycles


@dataclass
class Access:
    """A burst on its way through the device; cycles are -1 until they are known."""

    burst: Burst | None  # None is a refresh
    bank: int = -1
    row: int = -1
    seen: int = 0
    column: int = -1
    parts_left: int = 0
    moved: int = -1


@dataclass
class Bank:
    """A row that is open since a cycle, or none since a cycle from which on one may be opened."""

    row: int = -1
    opened: int = -1
    usable: int = 0


@dataclass
class Path:
    """Moves parts of a byte, so many a cycle, one thing after the other; what a thing does not use is lost."""

    thing_parts: int
    parts_per_cycle: int
    left: list[int] = field(default_factory=list)  # parts left of the things in the queue

    def step(self, ready: Callable[[int], bool]) -> int:
        """Move for a cycle; ``ready(i)``: whether the i-th thing in the queue may move. Returns how many are done."""
        capacity, done = self.parts_per_cycle, 0
        while capacity > 0 and done < len(self.left) and ready(done):
            moved = min(capacity, self.left[done])
            capacity -= moved
            self.left[done] -= moved
            if self.left[done] > 0:
                break
            done += 1
        del self.left[:done]
        return done


class SteppedChannel:
    """A queue of bursts and refreshes, first come first served."""

    def __init__(self, dram: DramArch, clock_hz: Fraction) -> None:
        device = dram.device
        self.rcd, self.rp, self.ras, self.rfc, self.cas, self.cwl = (
            at_least(time, clock_hz)
            for time in (
                device.trcd_ns, device.trp_ns, device.tras_ns, device.trfc_ns, device.tcas_ns, device.tcwl_ns
            )
        )  # fmt: skip
        self.refi = at_most(device.trefi_ns, clock_hz)
        rate = device.peak_bytes_per_s / device.channels / clock_hz
        stripe = max(dram.burst_bytes, device.access_bytes)
        self.bus = Path(stripe * rate.denominator, rate.numerator)
        self.banks = [Bank() for _ in range(device.banks)]
        self.queue: list[Access] = []  # not all data moved yet; refreshes not begun
        self.coming: list[Access] = []

    def step(self, cycle: int) -> list[Access]:
        """One clock cycle; returns the bursts whose last data moved in it."""
        if cycle > 0 and cycle % self.refi == 0:
            self.queue.append(Access(None))
        for access in [access for access in self.coming if access.seen == cycle]:
            self.coming.remove(access)
            self.queue.append(access)
            self.bus.left.append(self.bus.thing_parts)
        if self.queue and self.queue[0].burst is None and self._refresh(cycle):
            self.queue.pop(0)
        for bank in range(len(self.banks)):
            self._command(bank, cycle)
        waiting = [access for access in self.queue if access.burst is not None]
        done = waiting[: self.bus.step(lambda i: self._data_there(waiting[i], cycle))]
        for access in done:
            access.moved = cycle
            self.queue.remove(access)
        return done

    def _refresh(self, cycle: int) -> bool:
        """Begin the refresh in front of the queue if every bank may be closed."""
        for bank in self.banks:
            if bank.row < 0 and cycle < bank.usable:
                return False
            if bank.row >= 0 and cycle < bank.opened + self.ras:
                return False
        begin = cycle + self.rp if any(bank.row >= 0 for bank in self.banks) else cycle
        for bank in self.banks:
            bank.row, bank.usable = -1, begin + self.rfc
        return True

    def _command(self, number: int, cycle: int) -> None:
        """Give the bank's oldest burst that has had no column command its next command, if it is time."""
        bank = self.banks[number]
        unmoved = False  # an older burst of this bank has data to move
        for access in self.queue:
            if access.burst is None:
                return
            if access.bank != number:
                continue
            if access.column >= 0:
                unmoved = True
            elif bank.row == access.row:
                if cycle < bank.opened + self.rcd:
                    return
                access.column = cycle
                unmoved = True
            elif bank.row < 0:
                if cycle >= bank.usable:
                    bank.row, bank.opened = access.row, cycle
                return
            else:
                if cycle >= bank.opened + self.ras and not unmoved:
                    bank.row, bank.usable = -1, cycle + self.rp
                return

    def _data_there(self, access: Access, cycle: int) -> bool:
        assert access.burst is not None
        wait = self.cwl if access.burst.requester == 2 else self.cas
        return access.column >= 0 and cycle >= access.column + wait


class SteppedBankedPort(SteppedPort):
    """``address(burst)`` is asked at the grant of each burst, before ``granted`` is told."""

    def __init__(self, dram: DramArch, clock_hz: Fraction, address: Callable[[Burst], int]) -> None:
        super().__init__(dram.burst_bytes, dram.bytes_per_cycle, dram.latency, dram.outstanding)
        self.dram, self.address = dram, address
        self.channels = [SteppedChannel(dram, clock_hz) for _ in range(dram.device.channels)]
        self.back = Path(self.burst_parts, self.parts_per_cycle)
        self.reads: list[Access] = []  # granted, not come back
        self.writes: list[Access] = []

    def step(self, cycle: int, wants: Callable[[int], bool], granted: Callable[[Burst], None]) -> None:
        def note(burst: Burst) -> None:
            burst.address = self.address(burst)
            if burst.requester != 2:
                self.reads.append(self._send(burst, cycle + 1))
                self.back.left.append(self.burst_parts)
            granted(burst)

        for channel in self.channels:
            channel.step(cycle)
        done = self.back.step(lambda i: 0 <= self.reads[i].moved < cycle)
        for _ in range(done):
            self._land(self.reads.pop(0), cycle)
        while self.writes and self.writes[0].moved >= 0:
            self._land(self.writes.pop(0), cycle)
        super().step(cycle, wants, note)

    def finished(self, burst: Burst, cycle: int) -> None:
        """The burst's time at the port is over; a write's data is seen by the controller from the next cycle on."""
        if burst.requester == 2:
            self.writes.append(self._send(burst, cycle + 1))

    def _land(self, access: Access, cycle: int) -> None:
        assert access.burst is not None
        access.burst.landed = cycle + self.latency

    def _send(self, burst: Burst, seen: int) -> Access:
        stripe = max(self.dram.burst_bytes, self.dram.device.access_bytes)
        rest = burst.address // stripe
        channel, rest = rest % self.dram.device.channels, rest // self.dram.device.channels
        rest //= self.dram.device.row_bytes // stripe
        bank, row = rest % self.dram.device.banks, rest // self.dram.device.banks
        access = Access(burst, bank, row, seen)
        self.channels[channel].coming.append(access)
        return access
