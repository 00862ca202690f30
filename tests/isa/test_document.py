"""``docs/isa.md`` is what the instruction table says, and its examples do what they claim."""

from __future__ import annotations

import re

import numpy as np
import pytest

from accelsim.isa.asm import parse_program
from accelsim.isa.check import check_program
from accelsim.isa.document import PAGE, main, page
from accelsim.isa.fields import layout
from accelsim.isa.functional import run
from accelsim.isa.instructions import CLASSES
from accelsim.isa.state import MachineState
from tests.isa.strategies import small_arch

ARCH = small_arch(4, 4, ub=1024, acc_rows=64)


def test_the_page_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m accelsim.isa.document`"


def test_the_command_writes_the_page(tmp_path):
    main([str(tmp_path / "isa.md")])
    assert (tmp_path / "isa.md").read_bytes() == page().encode()


def test_every_field_has_a_row():
    text = page()
    for cls in CLASSES.values():
        for slot in layout(cls):
            assert f"| `{slot.name}` |" in text
            assert slot.spec.doc in text


def examples():
    return re.findall(r"```asm\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_examples_pass_the_check(number):
    check_program(parse_program(examples()[number], ARCH), ARCH)
    assert len(examples()) == 3


def finished(number, contents):
    """DRAM regions by name after running an example on the given contents."""
    program = parse_program(examples()[number], ARCH)
    state = MachineState(ARCH, program.dram_bytes, poison=True)
    state.load_program(program)
    regions = {region.name: region for region in program.regions}
    for name, array in contents.items():
        state.write_region(regions[name], array)
    run(program, state)
    return state.read_region(regions["y"])


def test_the_fully_connected_example():
    rng = np.random.default_rng(1)
    weights, x = rng.integers(-128, 128, (8, 4)).astype(np.int8), rng.integers(-128, 128, (1, 8)).astype(np.int8)
    bias, scale = np.array([5, -7, 900, 0], np.int32), np.full(4, 2.0**-8, np.float32)
    got = finished(0, {"weights": weights, "x": x, "bias": bias, "scale": scale})
    exact = (x.astype(np.int64) @ weights + bias) / 256
    assert (got == np.clip(np.rint(exact), 0, 127)).all()


def test_the_convolution_example():
    rng = np.random.default_rng(2)
    weights = rng.integers(-128, 128, (9, 4)).astype(np.int8)
    x = rng.integers(-128, 128, (1, 8, 8, 1)).astype(np.int8)
    got = finished(1, {"weights": weights, "x": x})
    padded = np.full((10, 10), -128, np.int64)
    padded[1:9, 1:9] = x[0, :, :, 0]
    for row in range(8):
        for column in range(8):
            window = padded[row : row + 3, column : column + 3].reshape(-1)
            assert (got[0, row, column] == window @ weights).all()


def test_the_pooling_example():
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)
    table = rng.permutation(np.arange(-128, 128)).astype(np.int8)
    pooled = x.reshape(4, 2, 4, 2, 4).max(axis=(1, 3))
    assert (finished(2, {"table": table, "x": x})[0] == table[pooled.astype(int) + 128]).all()
