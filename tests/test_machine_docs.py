"""``docs/machines.md`` states every key of a machine file, its values, its default and its meaning."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from accelsim.arch import flatten
from accelsim.bundled import available, folder
from accelsim.machine_file import load_arch
from accelsim.machine_schema import machine_json_schema
from accelsim.units import CLOCK_UNITS, SIZE_UNITS
from accelsim.yamlio import read_document

PAGE = (Path(__file__).parents[1] / "docs" / "machines.md").read_text(encoding="utf-8")


def keys_table() -> str:
    schema = machine_json_schema()
    defaults = flatten(read_document(folder("configs") / "base.yaml").data)
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, entry in schema["properties"].items():
        if name == "energy":
            rows.append(f"| `energy` | keys of [energy.md](energy.md) |  | {entry['description']} |")
            continue
        group = schema["$defs"].get(entry.get("$ref", "").rpartition("/")[2])
        if group is None:
            rows.append(row(name, entry, entry["description"], defaults))
            continue
        for key, inner in group["properties"].items():
            text = entry["description"] if key == "size" else inner["description"]
            rows.append(row(f"{name}.{key}", inner, text, defaults))
    return "\n".join(rows) + "\n"


def row(key: str, entry: dict[str, Any], text: str, defaults: dict[str, Any]) -> str:
    default = "required" if key == "schema" else defaults.get(key, "")
    return f"| `{key}` | {values(entry)} | {default} | {text} |"


def values(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        return " or ".join(values(part) for part in entry["anyOf"])
    if "examples" in entry:
        return ", ".join(f"`{example}`" for example in entry["examples"])
    if "enum" in entry:
        return ", ".join(f"`{word}`" for word in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    return f"{entry['minimum']}..{entry['maximum']}" if entry["type"] == "integer" else "text"


def machines_table() -> str:
    rows = [
        "| machine | array | MHz | UB / WGT / ACC / PARAM, KiB | DRAM B/cycle | latency | burst B | outstanding |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("tiny", "edge", "mid", "gemmini", "vta_like", "tpu_v1"):
        arch = load_arch(name)
        memories = (arch.ub_bytes, arch.wgt_bytes, arch.acc_bytes, arch.param_bytes)
        sizes, dram = " / ".join(str(Fraction(size, 1024)) for size in memories), arch.dram
        rows.append(
            f"| `{name}` | {arch.array.rows}x{arch.array.cols} | {arch.clock_hz / 10**6} | {sizes} | "
            f"{dram.bytes_per_cycle} | {dram.latency} | {dram.burst_bytes} | {dram.outstanding} |"
        )
    return "\n".join(rows) + "\n"


def test_the_page_has_every_key() -> None:
    assert keys_table() in PAGE


def test_the_page_has_the_shipped_machines() -> None:
    assert machines_table() in PAGE
    assert all(f"`{name}`" in PAGE for name in available("configs"))


def test_the_page_names_every_unit() -> None:
    assert all(f"`{unit}`" in PAGE for unit in (*SIZE_UNITS, *CLOCK_UNITS))


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text(PAGE.split("```yaml\n", 1)[1].split("```", 1)[0], encoding="utf-8")
    arch = load_arch(path)
    assert (arch.name, arch.array.rows, arch.array.cols, arch.alu.lanes) == ("wide", 16, 64, 64)
    assert arch.dram.bytes_per_cycle == Fraction(128, 5)
