"""Columns and texts come back as they were, read by a decoder that shares nothing with the packer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accelsim.page.pack import Packer, varints
from tests.page.reading import Columns

LARGE = st.integers(0, 2**53 - 1)
TEXTS = st.lists(st.text(st.sampled_from("ab=+-. 0123456789\u0663"), max_size=24), max_size=30)


@given(st.lists(LARGE), st.lists(st.integers(-(2**51), 2**51)))
def test_columns_come_back(plain: list[int], rising: list[int]) -> None:
    packer = Packer()
    packer.plain(plain)
    packer.rising(rising)
    columns = Columns(packer.text())
    assert (columns.plain(), columns.rising()) == (plain, rising)
    assert columns.end()


@given(TEXTS)
@example(["gemm k=16 a=007", "gemm k=0 a=12", "", "x" * 3 + "1" * 15, "1" * 16])
def test_texts_come_back(texts: list[str]) -> None:
    packer = Packer()
    templates = packer.texts(texts)
    columns = Columns(packer.text())
    assert columns.texts(templates) == texts
    assert columns.end()


def test_texts_that_differ_in_numbers_share_a_template() -> None:
    packer = Packer()
    assert packer.texts(["load run=4", "load run=16 wait=gemm", "load run=9"]) == [
        ["load run=", ""], ["load run=", " wait=gemm"],
    ]  # fmt: skip


def test_a_varint_is_seven_bits_a_byte_lowest_first() -> None:
    assert varints(np.array([0, 127, 128, 300])) == bytes([0, 127, 0x80, 1, 0xAC, 2])
    assert varints(np.array([], np.int64)) == b""
    with pytest.raises(ValueError, match="cannot be -1"):
        varints(np.array([4, -1]))
