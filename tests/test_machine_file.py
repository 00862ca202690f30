"""Machine files: the shipped machines, merging, units, overrides, cross checks, and a corpus of mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim import arch as arch_module
from accelsim.arch import Arch, flatten, unflatten
from accelsim.bundled import available, folder, resolve
from accelsim.energy_table import read_table
from accelsim.errors import AccelsimError, ConfigError, ConfigErrors
from accelsim.isa.fields import layout
from accelsim.isa.instructions import Alu, Gemm, Load, Store
from accelsim.machine_file import dump_arch, load_arch, parse_settings
from accelsim.yamlio import parse_document, read_document

CORPUS = Path(__file__).parent / "golden" / "errors" / "machine"
CASES = sorted(path.stem for path in CORPUS.glob("*.yaml") if path.stem != "cycle2")

KIB = 1024
SHIPPED = {  # rows, cols, MHz, UB, WGT, ACC, PARAM in KiB, bytes a cycle, latency, burst, outstanding
    "tiny": (4, 4, 500, 8, 4, 2, 2, Fraction(4), 10, 16, 4),
    "edge": (16, 16, 500, 256, 128, 64, 16, Fraction(8), 100, 64, 16),
    "mid": (32, 32, 500, 512, 256, 128, 32, Fraction(8), 100, 64, 16),
    "gemmini": (16, 16, 1000, 128, 128, 64, 16, Fraction(16), 100, 64, 32),
    "vta_like": (16, 16, 100, 32, 256, 128, 16, Fraction(8), 16, 64, 16),
    "tpu_v1": (256, 256, 700, 24576, 256, 4096, 256, Fraction(340, 7), 100, 64, 128),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_machines(name: str) -> None:
    arch = load_arch(name)
    rows, cols, mhz, ub, wgt, acc, param, rate, latency, burst, outstanding = SHIPPED[name]
    assert (arch.name, arch.array.rows, arch.array.cols) == (name, rows, cols)
    assert arch.clock_hz == mhz * 10**6
    assert (arch.ub_bytes, arch.wgt_bytes) == (ub * KIB, wgt * KIB)
    assert (arch.acc_bytes, arch.param_bytes) == (acc * KIB, param * KIB)
    dram = arch.dram
    assert (dram.bytes_per_cycle, dram.latency) == (rate, latency)
    assert (dram.burst_bytes, dram.outstanding) == (burst, outstanding)
    assert (arch.alu.lanes, arch.alu.latency, arch.queue_depth, arch.prefetch_words) == (cols, 4, 16, 16)
    assert (arch.array.dataflow, arch.array.weights, arch.array.overlap) == ("ws", "shadow", "full")
    assert arch.problems() == ()


def test_every_bundled_machine_is_tested_above() -> None:
    assert set(available("configs")) == {*SHIPPED, "base"}
    assert load_arch() == load_arch("edge")


def test_base_has_every_key_and_nothing_else() -> None:
    base = set(flatten(read_document(folder("configs") / "base.yaml").data))
    numbers = set(read_table("45nm").settings())  # what energy.table stands for
    assert base - {"energy.table"} | numbers | {"name"} == set(flatten(load_arch("edge").to_dict()))


@pytest.mark.parametrize("name", [*SHIPPED, "base"])
def test_dump_loads_back_to_the_same_machine(name: str, tmp_path: Path) -> None:
    arch = load_arch(name)
    path = tmp_path / "other_name.yaml"
    path.write_text(dump_arch(arch), encoding="utf-8")
    again = load_arch(path)
    assert again == arch
    assert (again.full_hash, again.shape_hash) == (arch.full_hash, arch.shape_hash)
    assert dump_arch(again) == dump_arch(arch)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_missing_keys_come_from_base_and_the_name_from_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.yaml", "schema: 1\narray: {rows: 8}\n")
    arch = load_arch(path)
    assert (arch.name, arch.array.rows, arch.array.cols) == ("mine", 8, 16)


def test_extends_looks_beside_the_file_then_among_the_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "parent.yaml", "schema: 1\nextends: mid\nclock: 200 MHz\nub: {size: 64 KiB}\n")
    write(tmp_path / "sub", "child.yaml", "schema: 1\nextends: parent\nclock: 300 MHz\n")
    monkeypatch.chdir(tmp_path)
    arch = load_arch("sub/child")
    assert (arch.name, arch.clock_hz) == ("child", 300 * 10**6)
    assert (arch.ub_bytes, arch.array.rows, arch.alu.lanes) == (64 * KIB, 32, 32)


def test_a_file_may_extend_the_bundled_one_of_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path, "edge.yaml", "schema: 1\nextends: edge\nqueue: {depth: 2}\n")
    assert load_arch(path) == load_arch("edge", {"queue.depth": 2})


def test_path_goes_before_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "tiny.yaml", "schema: 1\nqueue: {depth: 3}\n")
    (tmp_path / "mid").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_arch("tiny").queue_depth == 3
    assert load_arch("tiny.yaml").queue_depth == 3
    assert load_arch("mid").array.rows == 32  # a folder is no file
    assert resolve("edge.yaml", "configs") == folder("configs") / "edge.yaml"


def test_a_rate_in_seconds_is_divided_by_the_clock() -> None:
    assert load_arch("tpu_v1").dram.bytes_per_cycle == Fraction(34 * 10**9, 700 * 10**6)
    assert load_arch("tpu_v1", {"clock": "1 GHz"}).dram.bytes_per_cycle == 34
    assert load_arch("edge", {"dram.bytes_per_cycle": 0.1}).dram.bytes_per_cycle == Fraction(1, 10)
    assert load_arch("edge", {"dram.bytes_per_cycle": "340/7"}).dram.bytes_per_cycle == Fraction(340, 7)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("4 KiB", 4096), ("4KiB", 4096), ("4 kB", 4000), ("1.5 KiB", 1536), ("1 MiB", 1 << 20),
     ("1e3 B", 1000), ("4096 B", 4096)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    # 4 x array.cols = 4 bytes a row, so that any multiple of four will do.
    arch = load_arch("edge", {"array.cols": 1, **parse_settings([f"ub.size={text}"])})
    assert arch.ub_bytes == size


def test_settings_change_keys_and_lanes_follow_cols() -> None:
    arch = load_arch("edge", parse_settings(["array.cols=32", "name=wide", "array.dataflow=os", "clock=1 GHz"]))
    assert (arch.array.cols, arch.alu.lanes, arch.name) == (32, 32, "wide")
    assert (arch.array.dataflow, arch.clock_hz) == ("os", 10**9)
    assert load_arch("edge", {"array.cols": 32, "alu.lanes": 16}).alu.lanes == 16


def test_replace_agrees_with_settings() -> None:
    edge = load_arch("edge")
    changes: dict[str, Any] = {"array.cols": 32, "ub.size": "64 KiB", "dram.bytes_per_cycle": "4 GB/s"}
    assert edge.replace(changes) == load_arch("edge", changes) == load_arch(edge, changes)
    assert edge.replace() == edge
    assert edge.replace(name="x").full_hash == edge.full_hash
    assert edge.replace({"queue.depth": 3}).shape_hash == edge.shape_hash
    assert edge.replace({"array.rows": 8}).shape_hash != edge.shape_hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"array.row": 8}, "Arch.replace(array.row=8): array.row: unknown key (did you mean 'array.rows'? allowed: "),
        ({"array.rows": "8"}, "Arch.replace(array.rows='8'): array.rows: expected a whole number, got '8'"),
        ({"clock": "1 Ghz"}, "Arch.replace(clock): the unit 'Ghz' is not allowed (did you mean 'GHz'? allowed: "),
        ({"array.cols": 7}, "Arch.replace(array.cols): wgt.size: wgt.size 131,072 is not a whole number of rows of 7 "
         "bytes (array.cols) (the nearest are 131,068 and 131,075)"),
        ({"array.weights": "dual"}, "Arch.replace(array.weights): array.weights: 'dual' is not allowed "
         "(allowed: shadow, single)"),
        ({"queue.depth": 0}, "Arch.replace(queue.depth): queue.depth: must be in 1..1000000, got 0"),
    ],
)  # fmt: skip
def test_replace_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_arch("edge").replace(changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("case", CASES)
def test_corpus_of_mistakes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    for path in CORPUS.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AccelsimError) as caught:
        load_arch(f"{case}.yaml")
    assert caught.value.exit_code == 2
    golden(f"errors/machine/{case}.txt", f"{caught.value}\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("edgee", "edgee: no such machine: neither a file 'edgee' nor a bundled name "
         "(did you mean 'edge'? `accelsim list` shows the bundled ones)"),
        ("x/absent.yaml", "x/absent.yaml: no such machine: neither a file 'x/absent.yaml' nor a bundled name "
         "(`accelsim list` shows the bundled ones)"),
        ("folder", "folder: this is a directory, not a machine file (`accelsim list` shows the bundled ones)"),
        ("", "'': an empty machine name (`accelsim list` shows the bundled ones)"),
    ],
)  # fmt: skip
def test_missing_files(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_arch(name)
    assert str(caught.value).replace("\\\\", "/").replace("\\", "/") == message


def test_mistakes_in_settings(golden: Callable[[str, str], None]) -> None:
    texts = ["array.rows=abc", "array.row=3", "array=4", "clock=500 Mhz", "ub.size=-3", "alu.lanes=colz",
             "array.dataflow=wss", "queue={depth: 3}", "dram.latency=[1]", "schema=2", "extends=mid"]  # fmt: skip
    with pytest.raises(ConfigErrors) as caught:
        load_arch("edge", parse_settings(texts))
    golden("errors/settings.txt", f"{caught.value}\n")


def test_broken_rules_are_reported_at_the_last_word_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "m.yaml", "schema: 1\narray: {cols: 12}\nwgt: {size: 12 KiB}\nparam: {size: 48 KiB}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_arch("m", {"acc.size": 1000})
    assert [(e.where, e.key) for e in caught.value.errors] == [("--set acc.size=1000", "acc.size")]
    with pytest.raises(ConfigErrors) as caught:
        load_arch("m")
    assert [(e.where, e.key) for e in caught.value.errors] == [("m.yaml:2:15", "array.cols")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["array.rows"], "--set array.rows: expected key=value (for example --set array.rows=32)\n1 mistake found"),
        (["=3"], "--set =3: expected key=value (for example --set array.rows=32)\n1 mistake found"),
        (["a=1", "a=2"], "--set a=2: a: given twice\n1 mistake found"),
        (["a=[1", "b"], "--set a=[1: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow "
         "sequence that starts on line 1 (put the value in quotes)\n"
         "--set b: expected key=value (for example --set array.rows=32)\n2 mistakes found"),
    ],
)  # fmt: skip
def test_texts_that_are_no_settings(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_settings(texts)
    assert str(caught.value) == message


def test_setting_values_are_read_like_yaml() -> None:
    assert parse_settings(["a=1", "b= 256 KiB", "c='1'", "d=1e3", "e=no", "f=x=y"]) == {
        "a": 1, "b": "256 KiB", "c": "1", "d": 1000.0, "e": "no", "f": "x=y",
    }  # fmt: skip


def test_limits_are_those_of_the_instruction_fields() -> None:
    def width(cls: type, name: str) -> int:
        return next(slot.spec.width for slot in layout(cls) if slot.name == name)

    assert arch_module.ARRAY_LIMIT == 1 << width(Gemm, "k") == 1 << width(Gemm, "n") == 1 << width(Alu, "n")
    assert {1 << width(c, f) for c, f in ((Load, "local"), (Store, "local"), (Gemm, "x"), (Alu, "src"), (Alu, "dst"))} \
        == {arch_module.MEMORY_BYTES_LIMIT}  # fmt: skip
    assert 1 << width(Gemm, "wgt") == arch_module.WGT_ROWS_LIMIT
    assert 1 << width(Gemm, "a") == arch_module.ACC_ROWS_LIMIT
    assert 1 << width(Alu, "param") == arch_module.PARAM_ROWS_LIMIT


@st.composite
def settings_of_a_machine(draw: st.DrawFn) -> dict[str, Any]:
    cols = draw(st.integers(1, 256))
    return {
        "array.rows": draw(st.integers(1, 256)),
        "array.cols": cols,
        "array.dataflow": draw(st.sampled_from(["ws", "os"])),
        "ub.size": draw(st.integers(1, 1 << 25)),
        "wgt.size": cols * draw(st.integers(1, 1 << 17)),
        "acc.size": 4 * cols * draw(st.integers(1, 1 << 14)),
        "param.size": 4 * cols * draw(st.integers(1, 1 << 14)),
        "clock": draw(st.sampled_from(["1 MHz", "333.3 MHz", 7 * 10**6, "10000000/3"])),
        "dram.bytes_per_cycle": draw(st.sampled_from([1, 0.3, "340/7", "12.8 GB/s", 64])),
        "dram.burst_bytes": 1 << draw(st.integers(0, 12)),
        "dram.latency": draw(st.integers(0, 1000)),
        "dram.row_bytes": 1 << 14,
        "dram.kind": draw(st.sampled_from(["flat", "banked"])),
        "dram.peak": draw(st.sampled_from([10**9, "25.6 GB/s", "10000000/3"])),
        "dram.trcd": draw(st.sampled_from(["13.5 ns", "1/3 ns", "0.01 us", "1.0005 ns", "7 ns", "0.03 ns"])),
        "ub.ports": draw(st.sampled_from(["private", "shared"])),
        "ub.banks": draw(st.integers(1, 64)),
    }


@given(settings_of_a_machine())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_machine_survives_dump_and_load(changes: dict[str, Any]) -> None:
    arch = load_arch("edge", changes)
    again = Arch.from_dict(parse_document(dump_arch(arch), "f").data)
    assert again == arch
    assert again.full_hash == arch.full_hash


def test_flatten_and_unflatten_are_inverse() -> None:
    data = {"a": 1, "b": {"c": 2, "d": {"e": [3]}}}
    assert flatten(data) == {"a": 1, "b.c": 2, "b.d.e": [3]}
    assert unflatten(flatten(data)) == data
