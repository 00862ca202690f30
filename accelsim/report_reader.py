"""Reports that were saved as JSON: read, and checked as far as whatever shows them relies on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from accelsim.errors import ConfigError

TEXT, NUMBER, GROUP, LIST = "text", "a number", "keys", "a list"
KINDS: Mapping[str, type | tuple[type, ...]] = {TEXT: str, NUMBER: (int, float), GROUP: dict, LIST: list}

Expected = tuple[str, bool]
"""What a value is, and whether it may be null instead."""

SURE_TEXT, SURE_GROUP, SURE_NUMBER = (TEXT, False), (GROUP, False), (NUMBER, False)
PERHAPS_TEXT, PERHAPS_GROUP, PERHAPS_NUMBER = (TEXT, True), (GROUP, True), (NUMBER, True)

REPORT: Mapping[str, Expected] = {
    "accelsim": SURE_TEXT, "workload": SURE_TEXT, "arch": SURE_GROUP, "arch_hash": SURE_TEXT,
    "program_hash": PERHAPS_TEXT, "options": SURE_GROUP, "totals": SURE_GROUP, "layers": (LIST, False),
    "energy": PERHAPS_GROUP, "area": SURE_GROUP, "units": SURE_GROUP, "host": SURE_GROUP,
}  # fmt: skip
TRAFFIC: Mapping[str, Expected] = dict.fromkeys(
    ("cycles", "utilization", "dram_read_bytes", "dram_write_bytes", "energy_pj", "power_w"), PERHAPS_NUMBER
)
WORK: Mapping[str, Expected] = {"macs": SURE_NUMBER, "bound_cycles": SURE_NUMBER, "bound_by": SURE_TEXT, **TRAFFIC}
TOTALS: Mapping[str, Expected] = {
    **WORK, "instructions": SURE_NUMBER, "area_mm2": SURE_NUMBER,
    **dict.fromkeys(("time_us", "fetch_bytes", "energy_per_inference_pj", "tops", "tops_per_w", "edp_js"),
                    PERHAPS_NUMBER),
}  # fmt: skip
LAYER: Mapping[str, Expected] = {
    **WORK, "name": SURE_TEXT, "kind": SURE_TEXT, "host": PERHAPS_TEXT, "packing": PERHAPS_TEXT,
    "verdict": PERHAPS_TEXT, "cycle_split": PERHAPS_GROUP, "energy": PERHAPS_GROUP,
    **dict.fromkeys(("saturated", "zeros", "energy_percent"), PERHAPS_NUMBER),
}  # fmt: skip
OPTIONS: Mapping[str, Expected] = {"batch": SURE_NUMBER, "level": SURE_TEXT, "objective": SURE_TEXT}
ENERGY: Mapping[str, Expected] = {
    "table": SURE_TEXT, "node_nm": PERHAPS_NUMBER, "unit": SURE_TEXT, "components": SURE_GROUP, "terms": SURE_GROUP,
    "power": SURE_GROUP,
}  # fmt: skip
SHARES: Mapping[str, Expected] = {"percent": SURE_NUMBER}
UNIT: Mapping[str, Expected] = {"busy_cycles": PERHAPS_NUMBER, "wait_cycles": PERHAPS_GROUP}


def read_report(path: Path) -> dict[str, Any]:
    """A report that was saved as JSON. Raises ConfigError, with the key at fault if it is one that is wrong."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise ConfigError(str(path), "", f"the file cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):  # not UTF-8, or not JSON
        raise _incomplete(path) from None
    if not isinstance(report, dict) or report.get("schema") != 1 or not all(key in report for key in REPORT):
        raise _incomplete(path)
    try:
        _check_report(report)
    except _WrongError as wrong:
        raise ConfigError(str(path), wrong.key, wrong.problem, "run it again") from None
    return report


class _WrongError(Exception):
    """A value is not what it should be."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key
        self.problem = problem


def _incomplete(path: Path) -> ConfigError:
    return ConfigError(str(path), "", "is not a complete report of accelsim")


def _refuse(constant: str) -> NoReturn:
    """No report holds NaN or an infinity."""
    raise ValueError(constant)


def _check_report(report: dict[str, Any]) -> None:
    _check("", report, REPORT)
    _check("arch", report["arch"], {"name": SURE_TEXT})
    _check("options", report["options"], OPTIONS)
    _check("totals", report["totals"], TOTALS)
    if not report["layers"]:
        raise _WrongError("layers", "is empty")
    for index, row in enumerate(report["layers"]):
        _check_layer(f"layers[{index}]", row)
    if report["energy"] is not None:
        _check("energy", report["energy"], ENERGY)
        _check_each("energy.components", report["energy"]["components"], {"pj": SURE_NUMBER, **SHARES})
        _check_each("energy.terms", report["energy"]["terms"], {"component": SURE_TEXT, "pj": SURE_NUMBER})
        _check_numbers("energy.power", report["energy"]["power"])
    _check_each("area", report["area"], {"mm2": SURE_NUMBER, **SHARES})
    _check_each("units", report["units"], UNIT)
    for name, unit in report["units"].items():
        _check_numbers(f"units.{name}.wait_cycles", unit["wait_cycles"] or {})


def _check_layer(place: str, row: Any) -> None:
    _check(place, row, LAYER)
    for key in ("cycle_split", "energy"):
        _check_numbers(f"{place}.{key}", row[key] or {})


def _check(place: str, values: Any, wanted: Mapping[str, Expected]) -> None:
    """Keys and what they hold; more keys may be there."""
    _check_value(place, values, SURE_GROUP)
    for key, expected in wanted.items():
        where = f"{place}.{key}" if place else key
        if key not in values:
            raise _WrongError(where, "is missing")
        _check_value(where, values[key], expected)


def _check_each(place: str, groups: Mapping[str, Any], wanted: Mapping[str, Expected]) -> None:
    for name, values in groups.items():
        _check(f"{place}.{name}", values, wanted)


def _check_numbers(place: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        _check_value(f"{place}.{key}", value, SURE_NUMBER)


def _check_value(where: str, value: Any, expected: Expected) -> None:
    kind, perhaps = expected
    if value is None and perhaps:
        return
    if not isinstance(value, KINDS[kind]) or isinstance(value, bool):
        text = repr(value) if isinstance(value, str | int | float) or value is None else type(value).__name__
        raise _WrongError(where, f"expected {kind}{' or null' if perhaps else ''}, got {text[:40]}")
