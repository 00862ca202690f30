"""The DRAM port with a device of channels, banks and rows behind it (``dram.kind: banked``).

The port grants bursts as the flat one does. When a burst is granted, everything that happens to it is settled: the
controller serves a channel in the order of grants, so its registers tell when each command and each datum has its
turn. ``docs/memory.md`` states the rules in clock-edge terms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from accelsim.dram_arch import DramArch
from accelsim.hw.memory import Port
from accelsim.isa.protocol import Region
from accelsim.timing import DeviceCycles, burst_addresses, burst_ratio, device_cycles, fetch_address
from accelsim.trace import Requester


class Place(NamedTuple):
    """Where an address lies in the device."""

    channel: int
    bank: int
    row: int


class AddressMap:
    """row : bank : column : channel, from the top; a stripe is one burst on one channel."""

    def __init__(self, dram: DramArch) -> None:
        self._stripe = dram.stripe_bytes
        self._channels, self._banks = dram.device.channels, dram.device.banks
        self._columns = dram.device.row_bytes // dram.stripe_bytes

    def place(self, address: int) -> Place:
        """The channel, bank and row of a byte address."""
        above, channel = divmod(address // self._stripe, self._channels)
        row, bank = divmod(above // self._columns, self._banks)
        return Place(channel, bank, row)


class Lane:
    """A path that moves one thing after the other, ``over / under`` cycles each, without ever rounding."""

    __slots__ = ("_free", "_over", "_under")

    def __init__(self, over: int, under: int) -> None:
        self._over, self._under = over, under
        self._free = 0  # in parts of 1 / under of a cycle

    def move(self, ready: int) -> int:
        """Move the next thing, which is there from cycle ``ready`` on; returns the last cycle of its move."""
        self._free = max(ready * self._under, self._free) + self._over
        return -(-self._free // self._under) - 1


class _Bank:
    """``row`` is the open row, if any; the rest are the first cycles in which a command may be given."""

    __slots__ = ("activate", "column", "precharge", "row")

    def __init__(self) -> None:
        self.row: int | None = None
        self.activate = 0
        self.column = 0
        self.precharge = 0


class Channel:
    """One channel: its banks, its data bus, its refresh."""

    def __init__(self, banks: int, times: DeviceCycles) -> None:
        self._times = times
        self._banks = [_Bank() for _ in range(banks)]
        self._bus = Lane(times.over, times.under)
        self._refresh = times.refi  # cycle in which the next refresh takes its place in the queue

    def access(self, bank: int, row: int, present: int, write: bool) -> int:
        """Serve the next burst, seen from cycle ``present`` on; returns the last cycle of its data on the bus."""
        times, state = self._times, self._banks[bank]
        while self._refresh <= present:
            self._do_refresh()
        if state.row != row:
            if state.row is None:
                activate = max(present, state.activate)
            else:
                activate = max(present, state.precharge) + times.rp
            state.row, state.column, state.precharge = row, activate + times.rcd, activate + times.ras
        column = max(present, state.column)
        state.column = column
        moved = self._bus.move(column + (times.cwl if write else times.cas))
        state.precharge = max(state.precharge, moved + 1)
        return moved

    def _do_refresh(self) -> None:
        """Close every row, when those in use may be closed, and refresh all banks."""
        open_banks = [bank for bank in self._banks if bank.row is not None]
        start = max([self._refresh, *(bank.activate for bank in self._banks)])
        if open_banks:
            start = max([start, *(bank.precharge for bank in open_banks)]) + self._times.rp
        for bank in self._banks:
            bank.row, bank.activate = None, start + self._times.rfc
        self._refresh += self._times.refi


class BankedPort(Port):
    """The port of :class:`~accelsim.hw.memory.Port` with other landings. It steps from grant to grant."""

    def __init__(self, dram: DramArch, clock_hz: Fraction) -> None:
        super().__init__(dram)
        times = device_cycles(dram, clock_hz)
        self._throttled, self._foreseen = True, False
        self._map = AddressMap(dram)
        self._channels = [Channel(dram.device.banks, times) for _ in range(dram.device.channels)]
        self._return = Lane(*burst_ratio(dram))  # the way of read data to the accelerator
        self._written = 0  # last cycle of all writes so far
        self._burst_bytes = dram.burst_bytes
        self._words = 0  # fetch bursts granted
        self._addresses: list[deque[Iterator[int]]] = [deque() for _ in Requester]

    def submit(self, requester: Requester, bursts: int, present: int, region: Region | None = None) -> None:
        if region is not None:
            self._addresses[requester].append(burst_addresses(region, self._burst_bytes))
        super().submit(requester, bursts, present, region)

    def _lands(self, who: Requester, granted: int, ended: int) -> int:
        channel, bank, row = self._map.place(self._address(who))
        if who is Requester.STORE:
            moved = self._channels[channel].access(bank, row, ended + 1, write=True)
            self._written = max(self._written, moved)
            return self._written + self._latency
        moved = self._channels[channel].access(bank, row, granted + 1, write=False)
        return self._return.move(moved + 1) + self._latency

    def _address(self, who: Requester) -> int:
        """Where the burst that is being granted lies."""
        if who is Requester.FETCH:
            self._words += 1
            return fetch_address(self._words - 1, self._burst_bytes)
        waiting = self._addresses[who]
        address = next(waiting[0], None)
        while address is None:  # the transfer in front has been granted in full
            waiting.popleft()
            address = next(waiting[0], None)
        return address
