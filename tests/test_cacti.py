"""CACTI 7's figures as numbers of a machine: both of its forms, against the figures read by hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accelsim.cacti import read_results
from accelsim.energy import banks_of, sram_pj_per_byte
from accelsim.errors import ConfigError
from accelsim.machine_file import load_arch
from tests.command_line import accelsim

FILES = Path(__file__).parent / "golden" / "cacti"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of CACTI 7 in an empty folder: two runs as a table, the first of them as printed."""
    for path in FILES.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_and_what_is_printed_say_the_same() -> None:
    table, printed = read_results("cache.cfg.out"), read_results("printed.txt")
    assert (len(table), len(printed)) == (2, 1)
    assert printed[0].settings("ub") == pytest.approx(table[0].settings("ub"), rel=1e-4)
    assert table[1].describe() == "45 nm, 16,384 bytes in 1 bank, port of 32 bits"


def test_figures_by_hand() -> None:
    # 0.00997801 nJ for 4 bytes, 0.000471185 mW for 16 KiB, 0.0500177 mm2 for 16 KiB
    assert read_results("cache.cfg.out")[1].settings("acc") == {
        "acc_read_pj_per_byte": 2.4945,
        "acc_write_pj_per_byte": 1.71689,
        "acc_leakage_uw_per_kib": 0.0294491,
        "acc_area_mm2_per_mib": 3.20113,
    }


def test_the_command_makes_a_group_that_acts() -> None:
    result = accelsim("import", "cacti", "ub=cache.cfg.out", "acc=printed.txt", "-o", "energy.yaml")
    assert result.exit_code == 0, result.output
    assert "the last of 2 runs is taken" in result.stderr
    text = Path("energy.yaml").read_text(encoding="utf-8")
    Path("mine.yaml").write_text(f"schema: 1\nextends: edge\n{text}", encoding="utf-8")
    mine, edge = load_arch("mine"), load_arch("edge")
    assert float(sram_pj_per_byte(mine, "ub", "read")) == pytest.approx(2.4945)
    assert float(sram_pj_per_byte(mine, "acc", "write")) == pytest.approx(0.702375)
    assert sram_pj_per_byte(mine, "wgt", "read") == sram_pj_per_byte(edge, "wgt", "read")
    assert accelsim("import", "cacti", "wgt=printed.txt").stdout.startswith("energy:\n  # CACTI: 45 nm, 32,768 bytes")


def test_the_formula_is_of_the_size_of_cacti() -> None:
    """A bank of 32 KiB with 64 bits: the page says 0.28 to 1.12 of the formula, depending on the cells."""
    arch = load_arch("edge", {"wgt.size": "64 KiB"})
    assert banks_of(arch, "wgt") == (2, 32768, 64)
    ratio = read_results("printed.txt")[0].settings("wgt")["wgt_read_pj_per_byte"] / float(
        sram_pj_per_byte(arch, "wgt", "read")
    )
    assert 0.28 < ratio < 0.49  # low operating power


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ub"], "ub: expected MEMORY=FILE (for example ub=cache.cfg.out)\n"),
        (["accu=printed.txt"], "accu: no such memory (did you mean 'acc'? allowed: ub, wgt, acc, param)\n"),
        (["ub=printed.txt", "ub=cache.cfg.out"], "ub=cache.cfg.out: this memory is given twice\n"),
        (["ub=absent"], "absent: the file does not exist\n"),
        (["ub=other.txt"], "other.txt: holds no run of CACTI (expected its table (*.out) or what it prints)\n"),
        (["ub=cut.out"], "cut.out:2: Dynamic write energy (nJ): the line is cut short\n"),
        (["ub=word.out"], "word.out:2: Capacity (bytes): expected a number, got '32k'\n"),
        (["ub=old.out"], "old.out:2: Area (mm2): the table has no such column\n"),
        (["ub=below.out"], "below.out:2: Dynamic read energy (nJ): must be a finite number of at least 0, got -0.1\n"),
        (["ub=none.out"], "none.out:2: port_bits: must be greater than 0\n"),
        (["ub=short.txt"], "short.txt:1: read_nj: is missing in what CACTI printed\n"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    head, line, _ = Path("cache.cfg.out").read_text(encoding="utf-8").splitlines()
    cells = line.split(", ")
    texts = {
        "other.txt": "nothing of the kind\n",
        "cut.out": f"{head}\n{', '.join(cells[:9])}\n",
        "word.out": f"{head}\n45, 32k, {', '.join(cells[2:])}\n",
        "old.out": f"{head.replace('Area (mm2), ', '')}\n{line}\n",
        "below.out": f"{head}\n{line.replace('0.00723311', '-0.1')}\n",
        "none.out": f"{head}\n{', '.join([*cells[:4], '0', *cells[5:]])}\n",
        "short.txt": "-- CACTI (version 7\n" + "".join(
            f"{word}\n" for word in ("Technology size (nm): 45", "Total cache size (bytes): 8", "Number of banks: 1",
                                     "Block size (bytes): 8")
        ),
    }  # fmt: skip
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    result = accelsim("import", "cacti", *arguments)
    assert (result.exit_code, result.stderr) == (2, message)


def test_a_result_is_not_written_over() -> None:
    result = accelsim("import", "cacti", "ub=printed.txt", "-o", "printed.txt")
    assert result.exit_code == 2
    assert "would be written over" in result.stderr
    with pytest.raises(ConfigError, match="does not exist"):
        read_results("absent")
