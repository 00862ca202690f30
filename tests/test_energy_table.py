"""Energy tables: units, scaling from node to node, sources, and a corpus of mistakes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from accelsim.bundled import available
from accelsim.energy_arch import ENTRIES, KEYS, NODES_NM, SUFFIXES
from accelsim.energy_table import UNIT_FACTORS, read_table
from accelsim.errors import AccelsimError, ConfigErrors
from accelsim.machine_file import load_arch
from tests.command_line import accelsim

CORPUS = Path(__file__).parent / "golden" / "errors" / "energy"
CASES = sorted(path.stem for path in CORPUS.glob("*.yaml") if path.stem != "circle2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in CORPUS.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_corpus_of_mistakes(case: str, folder: Path, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(AccelsimError) as caught:
        read_table(f"{case}.yaml")
    assert caught.value.exit_code == 2
    golden(f"errors/energy/{case}.txt", f"{caught.value}\n")


def test_a_machine_reports_the_mistakes_of_its_table_with_its_own(folder: Path) -> None:
    Path("mine.yaml").write_text(
        "schema: 1\narray: {row: 8}\nenergy: {table: negative_value.yaml, mac_int8_pj: x}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigErrors) as caught:
        load_arch("mine")
    assert [error.where for error in caught.value.errors] == [
        "mine.yaml:2:9", "mine.yaml:3:51", "negative_value.yaml:4:21",
    ]  # fmt: skip
    result = accelsim("run", "lenet", "--set", "energy.table=unknown_action.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("unknown_action.yaml:4:3: entries.mac_int9: unknown key (did you mean 'mac_int8'? ")


def test_a_table_is_found_beside_the_machine_and_goes_below_its_keys(folder: Path) -> None:
    (folder / "sub").mkdir()
    table = "schema: 1\nextends: 28nm\nentries:\n"
    table += "  sum_move: {value: 150, unit: fJ, node: 28 nm, scaling: none, source: s}\n"
    (folder / "sub" / "mine.yaml").write_text(table, encoding="utf-8")
    machine = "schema: 1\nextends: tpu_v1\nenergy: {acc_add_pj: 9, table: mine}\n"
    (folder / "sub" / "machine.yaml").write_text(machine, encoding="utf-8")
    energy = load_arch("sub/machine").energy
    assert (energy.name, energy.node_nm, energy["sum_move"], energy["acc_add"]) == ("mine", 28, 0.15, 9)
    assert energy["mac_int8"] == 0.153
    assert energy["other_area_share"] == 0  # tpu_v1's own went with its table
    assert energy.dram == "ddr3"


def test_every_entry_of_the_bundled_tables_has_an_origin() -> None:
    for name in available("energy"):
        table = read_table(name)
        assert {entry.name for entry in ENTRIES if not entry.optional} <= set(table.rows)
        for row in table.rows.values():
            assert len(row.origin) >= 5, row
            assert row.origin.startswith("derived: ") == (row.trust is not None), row
            assert row.trust is None or row.trust >= 1


def test_published_figures_at_45_nm() -> None:
    rows = read_table("45nm").rows
    expected = {
        "mac_int8": 0.3, "mac_fp16": 1.5, "mac_fp32": 4.6, "fp32_multiply": 3.7, "sram_read": 1.25, "dram_lpddr4": 64,
        "dram_ddr4": 68, "dram_ddr3": 560, "dram_hbm2": 31.2, "dram_generic": 162.5, "sram_leakage_lop": 22,
    }  # fmt: skip
    assert {name: rows[name].value for name in expected} == expected


@pytest.mark.parametrize(
    ("table", "entry", "value"),
    [
        ("65nm", "mac_int8", 0.3 * 1.25), ("28nm", "mac_int8", 0.3 * 0.51), ("16nm", "mac_int8", 0.3 * 0.42),
        ("7nm", "mac_int8", 0.1), ("65nm", "sram_read", 1.25 * 1.85), ("28nm", "sram_read", 1.25 * 0.42),
        ("7nm", "sram_read", 7.5 / 8), ("28nm", "dram_lpddr4", 64), ("65nm", "sram_area", 3.4 * 2.03),
        ("28nm", "register_area", 5.98 * 0.387), ("7nm", "fp32_multiply", 1.31), ("7nm", "fp32_convert", 0.9 * 0.33),
    ],
)  # fmt: skip
def test_other_nodes_are_scaled_by_their_rule(table: str, entry: str, value: float) -> None:
    row = read_table(table).rows[entry]
    assert row.value == pytest.approx(value, rel=1e-5)
    if "x" in row.origin:
        assert row.trust is not None


def test_eyeriss_set() -> None:
    rows = read_table("eyeriss_normalized").rows
    got = [rows[name].value for name in ("mac_int8", "register_access", "operand_move", "sram_read", "dram_lpddr4")]
    assert got == [1, 1, 2, 6, 200]


def test_units() -> None:
    assert set(UNIT_FACTORS) == set(SUFFIXES) == {entry.unit for entry in ENTRIES}
    assert len(KEYS) == len(ENTRIES)
    assert list(NODES_NM) == sorted(NODES_NM, reverse=True)


def test_the_command_shows_every_number_with_its_origin() -> None:
    result = accelsim("energy", "--arch", "tpu_v1", "--set", "energy.mac_int8_pj=0.25")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "tpu_v1: table 28nm, 28 nm"
    text = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert set(text) >= {entry.key for entry in ENTRIES if not entry.optional}
    assert text["mac_int8_pj"].split()[1] == "0.25"
    assert text["mac_int8_pj"].endswith("the machine's own, 0.153 in the table")
    assert text["dram_lpddr4_pj_per_byte"].endswith("[not used: energy.dram is ddr3]")
    assert "Stillmaker" in text["acc_add_pj"]
    assert text["total"].split()[2] == "mm2"
    assert any(line.startswith("Trust: absolute energy and power to within about a factor of 2") for line in lines)
    assert accelsim("energy", "--set", "energy.table=eyeriss_normalized").stdout.startswith(
        "edge: table eyeriss_normalized, 65 nm; pj stands for the energy of a MAC\n"
    )
