"""Two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.arch import flatten

TOTALS = (
    "cycles", "bound_cycles", "utilization", "instructions", "dram_read_bytes", "dram_write_bytes", "energy_pj",
    "time_us", "area_mm2",
)  # fmt: skip
COLUMNS = ("cycles", "utilization", "dram_read_bytes", "dram_write_bytes", "energy_pj")


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from report ``a`` to report ``b``, as JSON data.

    ``machine`` and ``options``: dotted key to [a, b] where they differ. ``totals``: name to ``a``, ``b`` and ``ratio``
    (b / a; None where there is nothing to divide). ``layers``: one entry per layer of either, in the order of ``a``,
    each column like a total; a layer that one of them lacks has None there.
    """
    rows = [{row["name"]: row for row in report["layers"]} for report in (a, b)]
    names = list(dict.fromkeys([*rows[0], *rows[1]]))
    return {
        "schema": 1,
        "a": _title(a),
        "b": _title(b),
        "machine": _differences(a["arch"], b["arch"]),
        "options": _differences(a["options"], b["options"]),
        "totals": {name: _pair(a["totals"], b["totals"], name) for name in TOTALS},
        "layers": [
            {
                "name": name,
                **{column: _pair(rows[0].get(name), rows[1].get(name), column) for column in COLUMNS},
                "packing": [row.get(name, {}).get("packing") for row in rows],
                "verdict": [row.get(name, {}).get("verdict") for row in rows],
            }
            for name in names
        ],
    }  # fmt: skip


def _title(report: Mapping[str, Any]) -> str:
    return f"{report['workload']} on {report['arch']['name']}"


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    one, other = flatten(a), flatten(b)
    keys = dict.fromkeys([*one, *other])
    return {key: [one.get(key), other.get(key)] for key in keys if one.get(key) != other.get(key)}


def _pair(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    before, after = (None if row is None else row[name] for row in (a, b))
    return {"a": before, "b": after, "ratio": after / before if before and after is not None else None}
