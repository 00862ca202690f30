"""Long columns of numbers and lists of similar texts as few bytes, for a page that unpacks them in the browser.

A column is its length and then its numbers, each a varint: seven bits a byte, lowest first, the eighth bit set in all
bytes but the last. Numbers that may fall are stored as differences (the first one from 0), and a difference ``d`` as
``2d`` or, if negative, ``-2d - 1``. All columns of a page's run stand one after the other, compressed with zlib, in
base64. ``decode.js`` reads them; its numbers are exact below 2^53.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
_BITS, _LEVEL = 7, 6
_NUMBER = re.compile(r"(?<![0-9])(?:0|[1-9][0-9]{0,14})(?![0-9])")
"""A number that reads the same after a round trip, and that a browser holds exactly."""


class Packer:
    """Collects columns."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def plain(self, values: ArrayLike) -> None:
        """A column of numbers from 0 to below 2^53."""
        column = np.asarray(values, np.int64)
        self._parts += [varints(np.array([len(column)])), varints(column)]

    def rising(self, values: ArrayLike) -> None:
        """A column of numbers near their predecessors, of any sign, stored as differences."""
        self.plain(folded(np.diff(np.asarray(values, np.int64), prepend=0)))

    def texts(self, texts: Sequence[str]) -> list[list[str]]:
        """Two columns: the template of each text; the numbers in the gaps of all texts of a template, gap by gap,
        as differences within a gap. Returns the templates: the pieces of text between the gaps.
        """
        templates, numbers = split(texts)
        self.plain(numbers.template)
        gaps = [np.diff(column, prepend=0) for table in numbers.tables for column in table.T]
        self.plain(folded(np.concatenate(gaps) if gaps else np.zeros(0, np.int64)))
        return templates

    def text(self) -> str:
        """Everything, compressed, in base64."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), _LEVEL)).decode()


@dataclass(frozen=True, slots=True)
class Numbers:
    """What distinguishes texts of few templates: the template of each text, and for each template a table with a row
    for every text and a column for every gap.
    """

    template: Integers
    tables: list[Integers]


def split(texts: Iterable[str]) -> tuple[list[list[str]], Numbers]:
    """The distinct texts without their numbers, in the order of first use, and the numbers.

    A template is the pieces around its gaps, so it has one more piece than gaps.
    """
    places: dict[tuple[str, ...], int] = {}
    rows: list[list[list[int]]] = []
    template: list[int] = []
    for text in texts:
        pieces = tuple(_NUMBER.split(text))
        place = places.setdefault(pieces, len(places))
        if place == len(rows):
            rows.append([])
        rows[place].append([int(number) for number in _NUMBER.findall(text)])
        template.append(place)
    tables = [np.array(table, np.int64).reshape(len(table), -1) for table in rows]
    return [list(pieces) for pieces in places], Numbers(np.array(template, np.int64), tables)


def folded(differences: Integers) -> Integers:
    """Numbers of any sign as numbers from 0 on: 0, -1, 1, -2 ... become 0, 1, 2, 3 ..."""
    return np.where(differences < 0, -2 * differences - 1, 2 * differences)


def varints(values: Integers) -> bytes:
    """Numbers from 0 on in seven-bit pieces, lowest first. Raises ValueError for a negative one."""
    if len(values) and int(values.min()) < 0:
        raise ValueError(f"a varint cannot be {int(values.min())}")
    left = values.astype(np.uint64)
    pieces, more = [], np.ones(len(values), np.bool_)
    used = []
    while more.any():
        used.append(more)
        low, left = left & np.uint64(2**_BITS - 1), left >> np.uint64(_BITS)
        following = more & (left > 0)
        pieces.append((low | following.astype(np.uint64) << np.uint64(_BITS)).astype(np.uint8))
        more = following
    if not pieces:
        return b""
    return np.stack(pieces, axis=1)[np.stack(used, axis=1)].tobytes()
