"""The instruction stream under construction: instructions without tokens, their origin, probes, and on-chip rings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from accelsim.compiler.ops import Window
from accelsim.compiler.split import fitting
from accelsim.isa.instructions import Instr, Load, Store
from accelsim.isa.program import Probe
from accelsim.isa.protocol import Memory

MAX_RUN = 1 << 20


@dataclass(slots=True)
class Ring:
    """Rows of a scratchpad handed out in a circle; remembers what still lies intact, so that it is loaded once."""

    capacity: int
    base: int = 0
    _next: int = 0
    _live: OrderedDict[Hashable, tuple[int, int]] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, size: int) -> tuple[int, bool]:
        """(first row, whether it must be loaded) of ``size`` rows named ``key``."""
        held = self._live.get(key)
        if held is not None:
            return self.base + held[0], False
        start = self.take(size)
        self._live[key] = (start - self.base, size)
        return start, True

    def take(self, size: int) -> int:
        """First row of ``size`` rows that nobody looks up again."""
        assert size <= self.capacity, "more rows than a ring holds"
        if self._next + size > self.capacity:
            self._next = 0
        start, stop = self._next, self._next + size
        self._next = stop
        stale = [key for key, (row, rows) in self._live.items() if row < stop and row + rows > start]
        for key in stale:
            del self._live[key]
        return self.base + start


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Output rows ``row .. row + rows`` and columns ``col .. col + cols`` of image ``image``."""

    image: int
    row: int
    rows: int
    col: int
    cols: int


@dataclass(frozen=True, slots=True)
class View:
    """Addresses of pixels in unpadded coordinates: ``origin + line * row_pitch + col * pixel_pitch``.

    Of a tensor held whole, or of a strip, ``line`` is the row (``held`` is 0 then); of a ring of ``held`` lines it is
    ``(row + top) % held``. ``stride`` is how far the window moves per output row and column, in rows and pixels of the
    view; a strip that holds only the pixels under 1x1 windows has a stride of its own.
    """

    origin: int
    row_pitch: int
    pixel_pitch: int
    stride: tuple[int, int] = (1, 1)
    top: int = 0
    held: int = 0

    def at(self, row: int, col: int) -> int:
        """Byte address of a pixel; it may be in the border."""
        line = (row + self.top) % self.held if self.held else row
        return self.origin + line * self.row_pitch + col * self.pixel_pitch

    def runs(self, row: int, rows: int) -> list[tuple[int, int]]:
        """(first row, rows) of the stretches of ``rows`` rows whose lines follow each other."""
        if not self.held:
            return [(row, rows)]
        made = []
        while rows:
            count = min(rows, self.held - (row + self.top) % self.held)
            made.append((row, count))
            row, rows = row + count, rows - count
        return made

    def windows(
        self, row: int, rows: int, window: Window, taps: tuple[int, int] | None = None
    ) -> list[tuple[int, int, int, int]]:
        """(first output row, output rows, first kernel row, kernel rows) of parts whose lines follow each other.

        ``taps`` is the half-open range of kernel rows meant, all of them if missing. Parts of one output row come in
        the order of its kernel rows.
        """
        low, high = taps or (0, window.kernel[0])
        if not self.held:
            return [(row, rows, low, high - low)]
        made: list[tuple[int, int, int, int]] = []
        before = -1
        for out in range(row, row + rows):
            rounds = [self._round(out, k, window) for k in range(low, high)]
            cut = next((i for i, r in enumerate(rounds) if r != rounds[0]), len(rounds))
            if cut < len(rounds):
                made += [(out, 1, low, cut), (out, 1, low + cut, len(rounds) - cut)]
                before = -1
            elif before == rounds[0]:
                made[-1] = (made[-1][0], made[-1][1] + 1, low, high - low)
            else:
                made.append((out, 1, low, high - low))
                before = rounds[0]
        return made

    def _round(self, out: int, tap: int, window: Window) -> int:
        """How often the ring has been gone round where kernel row ``tap`` of output row ``out`` lies."""
        return (window.first_row(out) + tap * window.dilation[0] + self.top) // self.held


@dataclass(slots=True)
class Stream:
    """Instructions in sequential order of meaning; tokens and the final order come later."""

    instructions: list[Instr] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    tiles: list[str] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    layer: str = ""
    tile: str = ""

    def add(self, instr: Instr) -> int:
        """Append one instruction of the current layer and tile, in parts if it exceeds its fields; returns the index
        of the last part. All parts are on one unit, so they have landed when the last one has."""
        for part in fitting(instr):
            self.instructions.append(part)
            self.layers.append(self.layer)
            self.tiles.append(self.tile)
        return len(self.instructions) - 1

    def load_rows(
        self, memory: Memory, *, dram: int, local: int, rows: int, run: int, dram_pitch: int, local_pitch: int
    ) -> None:
        """DRAM -> scratchpad, ``rows`` runs of ``run`` bytes."""
        self.load_block(
            memory, dram=dram, local=local, rows=rows, cols=1, run=run, dram_pitch=(dram_pitch, run),
            local_pitch=(local_pitch, run),
        )  # fmt: skip

    def load_block(
        self,
        memory: Memory,
        *,
        dram: int,
        local: int,
        rows: int,
        cols: int,
        run: int,
        dram_pitch: tuple[int, int],
        local_pitch: tuple[int, int],
    ) -> None:
        """DRAM -> scratchpad: ``rows`` x ``cols`` runs of ``run`` bytes; pitches are (row, column)."""
        for fields in _transfers(dram, local, rows, cols, run, dram_pitch, local_pitch):
            self.add(Load(memory=memory, **fields))

    def fill(self, local: int, rows: int, run: int, value: int) -> None:
        """Write ``rows`` rows of ``run`` bytes of UB, one after the other, with one value; each takes a cycle."""
        self.add(
            Load(
                memory=Memory.UB,
                fill=1,
                dram=value & 0xFF,
                local=local,
                run=run,
                n0=rows,
                ls0=run if rows > 1 else 0,
            )
        )

    def store_rows(
        self,
        *,
        dram: int,
        local: int,
        rows: int,
        cols: int,
        run: int,
        dram_pitch: tuple[int, int],
        local_pitch: tuple[int, int],
    ) -> None:
        """UB -> DRAM: ``rows`` x ``cols`` runs of ``run`` bytes; pitches are (row, column)."""
        for fields in _transfers(dram, local, rows, cols, run, dram_pitch, local_pitch):
            self.add(Store(memory=Memory.UB, **fields))

    def probe(
        self,
        index: int,
        tensor: str,
        run: int,
        ub: int,
        at: int,
        inner: tuple[int, int, int],
        outer: tuple[int, int, int],
    ) -> None:
        """Note that instruction ``index`` leaves part of ``tensor`` in UB; loops are (count, UB step, tensor step)."""
        self.probes.append(
            Probe(
                index=index,
                tensor=tensor,
                run=run,
                ub=ub,
                at=at,
                count0=inner[0],
                us0=inner[1],
                ts0=inner[2],
                count1=outer[0],
                us1=outer[1],
                ts1=outer[2],
            )
        )


def _transfers(
    dram: int,
    local: int,
    rows: int,
    cols: int,
    run: int,
    dram_pitch: tuple[int, int],
    local_pitch: tuple[int, int],
) -> Iterator[dict[str, int]]:
    """The fields of the fewest transfers that move a block."""
    if run == dram_pitch[1] == local_pitch[1]:
        run, cols, dram_pitch, local_pitch = run * cols, 1, (dram_pitch[0], 0), (local_pitch[0], 0)
    per = rows  # rows of one transfer
    if cols == 1 and run == dram_pitch[0] == local_pitch[0]:
        per = max(1, MAX_RUN // run)
    for first in range(0, rows, per):
        count, length = min(per, rows - first), run
        if per != rows or (cols == 1 and run == dram_pitch[0] == local_pitch[0]):
            count, length = 1, count * run
        yield {
            "dram": dram + first * dram_pitch[0],
            "local": local + first * local_pitch[0],
            "run": length,
            "n0": cols if cols > 1 else count,
            "ds0": dram_pitch[1] if cols > 1 else dram_pitch[0] if count > 1 else 0,
            "ls0": local_pitch[1] if cols > 1 else local_pitch[0] if count > 1 else 0,
            "n1": count if cols > 1 else 1,
            "ds1": dram_pitch[0] if count > 1 and cols > 1 else 0,
            "ls1": local_pitch[0] if count > 1 and cols > 1 else 0,
        }


def tensor_pixel(window: Window, image: int, row: int, col: int) -> int:
    """Number of an output pixel in the dense (batch, h, w) tensor."""
    return (image * window.out_h + row) * window.out_w + col


def tiles_of(window: Window, rows: int, cols: int, image: int) -> list[Tile]:
    """All tiles of one image, row by row; ragged ones last."""
    return [
        Tile(image=image, row=r, rows=min(rows, window.out_h - r), col=c, cols=min(cols, window.out_w - c))
        for r in range(0, window.out_h, rows)
        for c in range(0, window.out_w, cols)
    ]
