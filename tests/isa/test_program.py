"""Program files and hashes."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest

from accelsim.errors import ConfigError
from accelsim.isa.encoding import encode_all
from accelsim.isa.instructions import Alu, Halt, Load
from accelsim.isa.program import DramRegion, Probe, Program, load_program, program_hash, save_program

PROGRAM = Program(
    instructions=(Load(run=5, dram=3), Alu(n=4, m0=7), Halt(on=3)),
    image=np.arange(7, dtype=np.uint8),
    dram_bytes=100,
    regions=(
        DramRegion(name="x", role="input", dtype="int8", shape=(1, 2, 3), address=8, scale=0.5, zero=-3),
        DramRegion(name="c", role="constant", dtype="float32", shape=(1,), address=0),
    ),
    layers=("conv1", "fc"),
    layer_of=(0, 1, -1),
    tile_of=("t0", "", ""),
    probes=(Probe(index=1, tensor="y", run=3, ub=16, at=0, count0=2, us0=4, ts0=3),),
    shape_hash="abc",
    full_hash="def",
    meta={"workload": "lenet", "batch": 1},
)


def test_a_program_file_holds_everything(tmp_path):
    path = tmp_path / "p.npz"
    save_program(PROGRAM, path)
    again = load_program(path)
    for field in dataclasses.fields(Program):
        if field.name != "image":
            assert getattr(again, field.name) == getattr(PROGRAM, field.name), field.name
    assert (again.image == PROGRAM.image).all()
    assert again.image.dtype == np.uint8
    assert program_hash(again) == program_hash(PROGRAM)


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": (Load(run=5, dram=3), Alu(n=4, m0=8), Halt(on=3))},
        {"image": np.arange(1, 8, dtype=np.uint8)},
        {"dram_bytes": 101},
        {"regions": PROGRAM.regions[:1]},
        {"layers": ("conv1", "fc2")},
        {"layer_of": (0, 0, -1)},
        {"tile_of": ("t1", "", "")},
        {"probes": ()},
        {"shape_hash": "abd"},
        {"meta": {"workload": "lenet", "batch": 2}},
    ],
)
def test_the_hash_covers_contents(change):
    assert program_hash(dataclasses.replace(PROGRAM, **change)) != program_hash(PROGRAM)


def test_the_hash_is_the_same_in_every_process_and_for_every_timing():
    assert program_hash(dataclasses.replace(PROGRAM, full_hash="other")) == program_hash(PROGRAM)
    assert program_hash(dataclasses.replace(PROGRAM, meta={"batch": 1, "workload": "lenet"})) == program_hash(PROGRAM)
    assert program_hash(PROGRAM) == "41287fdf7bcf6e11"


def test_a_truncated_or_damaged_file_is_refused(tmp_path):
    path = tmp_path / "p.npz"
    save_program(PROGRAM, path)
    data = path.read_bytes()
    for length in range(0, len(data), 13):
        path.write_bytes(data[:length])
        with pytest.raises(ConfigError, match="is not a complete accelsim program file"):
            load_program(path)
    for place in range(0, len(data), 11):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        try:
            again = load_program(path)
        except ConfigError:
            continue
        assert program_hash(again) == program_hash(PROGRAM)  # only a byte that means nothing may change unseen


def rewritten(change=None, **arrays):
    """The bytes of PROGRAM's file with some of its arrays or some of its text replaced."""
    buffer = io.BytesIO()
    text = {
        "format": "accelsim-program", "version": 1, "dram_bytes": 100, "regions": [], "layers": [], "layer_of": [],
        "tile_of": [], "probes": [], "shape_hash": "", "full_hash": "", "meta": {}, **(change or {}),
    }  # fmt: skip
    contents = {
        "words": encode_all(PROGRAM.instructions),
        "image": PROGRAM.image,
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
        **arrays,
    }
    np.savez(buffer, **contents)
    return buffer.getvalue()


REGION = {"name": "x", "role": "input", "dtype": "int8", "shape": [2], "address": 8}
GENERAL = ": is not a complete accelsim program file (programs are written by `accelsim compile`)"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", GENERAL),
        (b"name: lenet\n", GENERAL),
        (rewritten(text=np.zeros(3, np.uint8)), GENERAL),
        (rewritten(words=np.array([{}], object)), GENERAL),
        (rewritten({"layers": 3}), GENERAL),
        (rewritten({"probes": [{"index": 1}]}), GENERAL),
        (rewritten({"format": "zip"}), ": format: is 'zip', expected 'accelsim-program'"),
        (rewritten({"version": 2}), ": version: is 2, this accelsim reads version 1"),
        (rewritten(words=np.zeros((2, 31), np.uint8)), ": words: are uint8 [2, 31], expected uint8 [n, 32]"),
        (rewritten(image=np.zeros(101, np.uint8)), ": image: is uint8 [101] in 100 bytes of DRAM"),
        (rewritten(image=np.zeros(4, np.int32)), ": image: is int32 [4] in 100 bytes of DRAM"),
        (rewritten({"layer_of": [1, 2]}), ": layer_of: has 2 entries for 3 instructions"),
        (rewritten({"tile_of": ["a"]}), ": tile_of: has 1 entries for 3 instructions"),
        (
            rewritten(words=np.full((2, 32), 7, np.uint8)),
            ": instruction 0: unknown opcode 7: " + "07" * 32,
        ),
        (rewritten({"regions": [REGION | {"address": "8"}]}), ": DramRegion.address: is '8', expected int"),
        (
            rewritten({"regions": [REGION | {"dtype": "int9"}]}),
            ": DramRegion.dtype: is 'int9', expected one of int8, uint8, int32, float32",
        ),
        (rewritten({"regions": [REGION | {"shape": [-1]}]}), ": DramRegion.shape: is [-1]"),
    ],
)
def test_the_text_of_files_that_are_no_program(tmp_path, data, text):
    path = tmp_path / "p.npz"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_program(path)
    assert str(caught.value) == f"{path}{text}"


def test_a_file_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_program(tmp_path / "none.npz")
    assert str(caught.value) == f"{tmp_path / 'none.npz'}: cannot be read: No such file or directory"
    with pytest.raises(ConfigError) as caught:
        save_program(PROGRAM, tmp_path / "none" / "p.npz")
    assert str(caught.value) == f"{tmp_path / 'none' / 'p.npz'}: cannot be written: No such file or directory"


def test_origin():
    assert [PROGRAM.origin(index) for index in range(3)] == ["conv1 t0", "fc", ""]
    assert dataclasses.replace(PROGRAM, layer_of=(), tile_of=()).origin(0) == ""
