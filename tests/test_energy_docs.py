"""``docs/energy.md`` states every key of the energy group, and every number of the bundled tables."""

from __future__ import annotations

import re
from pathlib import Path

from accelsim.bundled import available, folder
from accelsim.energy_arch import ENTRIES, FORMULA, KEYS
from accelsim.energy_report import LEFT_OUT
from accelsim.energy_table import read_table
from accelsim.machine_schema import machine_json_schema
from accelsim.yamlio import read_document
from tests.test_machine_docs import values

PAGE = (Path(__file__).parents[1] / "docs" / "energy.md").read_text(encoding="utf-8")
TABLES = ("65nm", "45nm", "28nm", "16nm", "7nm", "eyeriss_normalized")


def choices_table() -> str:
    """The keys that are no numbers of the table."""
    properties = machine_json_schema()["$defs"]["EnergyKeys"]["properties"]
    defaults = read_document(folder("configs") / "base.yaml").data["energy"]
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for key, entry in properties.items():
        if key not in KEYS:
            rows.append(f"| `energy.{key}` | {values(entry)} | {defaults.get(key, '')} | {entry['description']} |")
    return "\n".join(rows) + "\n"


def numbers_table() -> str:
    """Every number that has no formula, in every bundled table."""
    tables = [read_table(name) for name in TABLES]
    rows = [f"| key, below `energy.` | {' | '.join(TABLES)} | meaning |", "|---" * (len(TABLES) + 2) + "|"]
    for entry in ENTRIES:
        if not entry.optional:
            cells = " | ".join(f"{table.rows[entry.name].value:g}" for table in tables)
            rows.append(f"| `{entry.key}` | {cells} | {entry.meaning} |")
    return "\n".join(rows) + "\n"


def factors_table() -> str:
    """The scaling rules of the tables."""
    scaling = read_document(available("energy")["45nm"]).data["scaling"]
    nodes = list(next(iter(scaling.values())))
    rows = [f"| rule | {' | '.join(nodes)} |", "|---" * (len(nodes) + 1) + "|"]
    for rule, factors in scaling.items():
        cells = (f"{factors[node]['factor']:g} (x{factors[node].get('trust', 1):g})" for node in nodes)
        rows.append(f"| `{rule}` | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_every_choice() -> None:
    assert choices_table() in PAGE


def test_the_page_has_every_number() -> None:
    assert sorted(TABLES) == sorted(available("energy"))
    assert numbers_table() in PAGE


def test_the_page_has_the_scaling_factors() -> None:
    assert factors_table() in PAGE


def test_the_page_names_the_optional_numbers_and_what_is_left_out() -> None:
    for name in ("read_pj_per_byte", "write_pj_per_byte", "leakage_uw_per_kib", "area_mm2_per_mib"):
        assert f"`MEMORY_{name}`" in PAGE
    assert f"`{FORMULA}`" in PAGE
    flat = re.sub(r"\s+", " ", PAGE)
    assert all(text in flat for text in LEFT_OUT)


def test_the_example_table_of_the_page_is_read(tmp_path: Path) -> None:
    text = PAGE.split("```yaml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "mine.yaml")
    assert (table.name, table.node_nm, table.rows["mac_int8"].value) == ("mine", 28, 0.12)
    assert table.rows["sram_read"].value == read_table("28nm").rows["sram_read"].value
