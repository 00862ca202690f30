"""Bundled DRAM devices: how they get into a machine, and that values do not depend on them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import accelsim
from accelsim.arch import flatten
from accelsim.bundled import available, presets
from accelsim.dram_arch import TIMES
from accelsim.errors import ConfigError, ConfigErrors
from accelsim.machine_file import dump_arch, load_arch
from accelsim.timing import device_cycles
from accelsim.yamlio import read_document

KEYS = {"kind", "channels", "banks", "row_bytes", "access_bytes", "peak", *TIMES}


def test_the_presets() -> None:
    assert sorted(presets()) == ["ddr4-2400", "hbm2", "lpddr4-2400"]
    assert not set(presets()) & set(available("configs"))
    for name, path in presets().items():
        assert {key.removeprefix("dram.") for key in flatten(read_document(path).data)} == {"schema", *KEYS}
        arch = load_arch("edge", {"dram.preset": name})
        assert arch.dram.kind == "banked"
        assert arch.problems() == ()


@pytest.mark.parametrize(
    ("name", "cycles"),
    [  # tRCD, tRP, tCAS, tCWL, tRAS, tRFC, tREFI at 1 GHz, and cycles per burst of 64 bytes
        ("ddr4-2400", (14, 14, 14, 14, 33, 350, 7800, 10, 3)),
        ("lpddr4-2400", (19, 17, 21, 12, 43, 180, 3904, 40, 3)),
        ("hbm2", (14, 14, 14, 4, 34, 260, 3900, 2, 1)),
    ],
)
def test_times_in_cycles(name: str, cycles: tuple[int, ...]) -> None:
    dram = load_arch("edge", {"dram.preset": name}).dram
    assert device_cycles(dram, Fraction(10**9)) == cycles


def test_the_default_device_is_ddr4() -> None:
    assert load_arch("edge", {"dram.kind": "banked"}) == load_arch("edge", {"dram.preset": "ddr4-2400"})
    assert load_arch("edge").dram.kind == "flat"


def test_a_preset_in_a_file_gives_way_to_the_files_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "schema: 1\nextends: edge\ndram: {preset: hbm2, banks: 4, trcd: 20 ns}\n", encoding="utf-8"
    )
    Path("flat.yaml").write_text("schema: 1\nextends: mine\ndram: {kind: flat}\n", encoding="utf-8")
    mine = load_arch("mine")
    assert (mine.dram.kind, mine.dram.device.channels, mine.dram.device.banks) == ("banked", 8, 4)
    assert (mine.dram.device.trcd_ns, mine.dram.device.trp_ns) == (20, 14)
    assert load_arch("flat").dram.kind == "flat"
    assert load_arch("flat").dram.device == mine.dram.device
    assert load_arch("mine", {"dram.preset": "ddr4-2400"}).dram.device.banks == 16
    Path("dumped.yaml").write_text(dump_arch(mine), encoding="utf-8")
    assert "preset" not in dump_arch(mine)
    assert load_arch("dumped") == mine


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dram.preset": "ddr5"}, "--set dram.preset=ddr5: dram.preset: no such preset: 'ddr5' (allowed: "),
        ({"dram.preset": "hmb2"}, "--set dram.preset=hmb2: dram.preset: no such preset: 'hmb2' (did you mean 'hbm2'?"),
        ({"dram.preset": 3}, "--set dram.preset=3: dram.preset: expected text, got 3"),
        ({"dram.preset": "hbm2", "dram.row_bytes": 100},
         "--set dram.row_bytes=100: dram.row_bytes: dram.row_bytes 100 is not a whole number of bursts of 64 bytes"),
        ({"dram.preset": "hbm2", "dram.trefi": "200 ns"}, "--set dram.trefi=200 ns: dram.trefi: dram.trefi must be"),
        ({"dram.trcd": 13}, "--set dram.trcd=13: dram.trcd: expected a time like 13.5 ns, got 13 (write the unit"),
        ({"dram.trcd": "0 ns"}, "--set dram.trcd=0 ns: dram.trcd: a time must be greater than 0, got 0 ns"),
        ({"dram.access_bytes": 48}, "--set dram.access_bytes=48: dram.access_bytes: must be a power of two, got 48"),
        ({"ub.ports": "both"}, "--set ub.ports=both: ub.ports: 'both' is not allowed (allowed: private, shared)"),
    ],
)  # fmt: skip
def test_mistakes(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_arch("edge", changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dram.kind": "both"}, "'both' is not allowed"),
        ({"dram.channels": 0}, "must be in 1..1024, got 0"),
        ({"dram.access_bytes": 48}, "must be a power of two, got 48"),
        ({"ub.ports": "both"}, "'both' is not allowed"),
        ({"ub.banks": 65}, "must be in 1..64, got 65"),
        ({"dram.channels": "2"}, "expected a whole number, got '2'"),
    ],
)
def test_replace_keeps_the_same_rules(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_arch("edge").replace(changes)
    assert caught.value.problem == problem


def test_replace_takes_quantities() -> None:
    arch = load_arch("edge").replace({"dram.kind": "banked", "dram.peak": "25.6 GB/s", "dram.trefi": "3.9 us"})
    assert arch.dram.device.peak_bytes_per_s == 25_600_000_000
    assert arch.dram.device.trefi_ns == 3900
    assert load_arch(arch) == arch


def test_values_and_programs_do_not_depend_on_the_device() -> None:
    program = accelsim.compile("lenet", arch="edge")
    cycles = []
    for changes in ({}, *({"dram.preset": name} for name in presets())):
        report = accelsim.run("lenet", arch="edge", set=changes).report
        assert report["bit_exact"]
        assert report["totals"]["cycles"] >= report["totals"]["bound_cycles"]
        trace, _ = accelsim.simulate(program, arch=load_arch("edge", changes), timing_only=True)
        assert trace is not None
        cycles.append(trace.cycles)
    assert len(set(cycles)) == len(cycles)
    assert min(cycles) == cycles[0]  # the flat model on top of whose latency the devices' own times come


def test_the_bound_knows_the_slower_of_port_and_device() -> None:
    slow = {"dram.preset": "lpddr4-2400", "dram.peak": "2 GB/s"}
    report = accelsim.run("lenet", arch="edge", set=slow, timing_only=True).report
    assert load_arch("edge", slow).dram_bytes_per_cycle == 4
    assert report["totals"]["bound_by"] == "dram"
    assert report["totals"]["bound_cycles"] > 1.9 * 7813
    assert report["totals"]["cycles"] >= report["totals"]["bound_cycles"]
