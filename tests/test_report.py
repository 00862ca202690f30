"""The report's numbers, counted by hand on a run of five instructions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch import Arch
from accelsim.area import area_mm2
from accelsim.machine_file import load_arch
from accelsim.report import TABLE_HEADER, bound, build_report, table, utilization
from accelsim.trace import ArrayPhases, Kind, Trace


@dataclass(frozen=True)
class Row:
    """Facts of a layer, or of a network."""

    name: str
    kind: str
    host: str
    macs: int
    compulsory_bytes: int


CONV = Row("conv", "conv", "conv", 800, 100)
RELU = Row("relu", "relu", "conv", 0, 0)
POOL = Row("pool", "maxpool", "pool", 0, 64)
FLAT = Row("flat", "flatten", "flat", 0, 0)
ROWS = (CONV, RELU, POOL, FLAT)
EDGE = load_arch("edge")
WHOLE = Row("net", "", "", 800, 120)


def cycles(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def trace() -> Trace:
    """load (3 bursts), gemm, alu for conv; alu, store (2 bursts) for pool; 100 cycles in all."""
    accepted = cycles(2, 20, 45, 61, 90)
    return Trace(
        unit=cycles(0, 1, 2, 2, 3),
        kind=cycles(Kind.TRANSFER, Kind.ARRAY, Kind.VECTOR, Kind.VECTOR, Kind.TRANSFER),
        requested=cycles(0, 0, 0, 0, 0),
        arrived=cycles(0, 0, 0, 0, 0),
        dispatched=cycles(1, 1, 1, 1, 1),
        token_ready=cycles(-1, 20, 45, -1, 90),
        token_unit=cycles(0, 0, 1, 0, 2),
        asked=accepted,
        accepted=accepted,
        started=accepted + 1,
        free=accepted + 1,
        landed=cycles(19, 44, 59, 89, 99),
        bursts=cycles(3, 0, 0, 0, 2),
        port_bursts=(10, 3, 2),
        array=ArrayPhases(
            index=cycles(1), load=cycles(21), stream=cycles(25), count=cycles(1), period=cycles(12),
            streaming=cycles(12), loading=cycles(0),
        ),
    )  # fmt: skip


def report(arch: Arch, measured: Trace | None, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "workload": "net", "arch": arch, "program_hash": "p", "instructions": 5, "trace": measured,
        "layers": ("conv", "pool"), "layer_of": (0, 0, 0, 1, 1), "facts": ROWS, "network": WHOLE,
        "packing": {"conv": "row"}, "bit_exact": True, "host": {"total_s": 1.5}, "version": "9",
    }  # fmt: skip
    return build_report(**{**arguments, **changes})


def test_totals(arch: Arch) -> None:
    got = report(arch, trace())
    assert {k: got[k] for k in ("schema", "accelsim", "workload", "program_hash", "bit_exact", "host")} == {
        "schema": 1, "accelsim": "9", "workload": "net", "program_hash": "p", "bit_exact": True,
        "host": {"total_s": 1.5},
    }  # fmt: skip
    assert (got["arch"], got["arch_hash"]) == (arch.to_dict(), arch.full_hash)
    assert got["totals"] == {
        "cycles": 100, "macs": 800, "utilization": 800 / (16 * 100), "bound_cycles": 50, "bound_by": "array",
        "instructions": 5, "dram_read_bytes": 16 * 13, "dram_write_bytes": 16 * 2, "fetch_bytes": 160,
        "energy_pj": None, "energy_per_inference_pj": None, "power_w": None, "tops": None, "tops_per_w": None,
        "edp_js": None, "time_us": 0.2, "area_mm2": sum(area_mm2(arch).values()),
    }  # fmt: skip


def test_layers_share_the_cycles_and_fused_ones_name_their_host(arch: Arch) -> None:
    conv, relu, pool, flat = report(arch, trace())["layers"]
    assert (conv["cycles"], relu["cycles"], pool["cycles"], flat["cycles"]) == (60, 0, 40, 0)
    assert conv == {
        "name": "conv", "kind": "conv", "host": None, "cycles": 60, "macs": 800, "utilization": 800 / (16 * 60),
        "bound_cycles": 50, "bound_by": "array", "dram_read_bytes": 48, "dram_write_bytes": 0, "energy_pj": None,
        "energy_percent": None, "energy": None, "power_w": None, "packing": "row", "cycle_split": {
            "array": 12, "weight_load": 4, "alu": 15, "dram": 18, "fill_drain": 9, "store": 0, "dispatch": 2,
        },
        # Three bursts of four cycles, each of ten fetch bursts four cycles; the alu is busy from 45 to 59.
        "verdict": conv["verdict"], "saturated": None, "zeros": None,
    }  # fmt: skip
    assert (pool["dram_read_bytes"], pool["dram_write_bytes"], pool["packing"]) == (0, 32, None)
    assert (pool["bound_cycles"], pool["bound_by"], pool["utilization"]) == (16, "dram", 0.0)
    assert (relu["host"], relu["bound_cycles"], relu["bound_by"]) == ("conv", 0, "array")
    assert (flat["host"], flat["utilization"]) == (None, 0.0)
    assert set(flat["cycle_split"].values()) == {0}
    for row in (conv, relu, pool, flat):
        assert sum(row["cycle_split"].values()) == row["cycles"]


def test_shares_of_values_stand_in_the_row_that_computes_them(arch: Arch) -> None:
    conv, relu, *_ = report(arch, trace(), liveness={"conv": (0.25, 0.5)})["layers"]
    assert (conv["saturated"], conv["zeros"]) == (0.25, 0.5)
    assert (relu["saturated"], relu["zeros"]) == (None, None)


def test_layers_that_the_compiler_merged_name_their_host(arch: Arch) -> None:
    got = report(arch, trace(), layers=("conv",), layer_of=(0, 0, 0, 0, 0), fused={"pool": "conv"})
    assert [(row["name"], row["host"], row["cycles"], row["bound_cycles"]) for row in got["layers"]] == [
        ("conv", None, 100, 50), ("relu", "conv", 0, 0), ("pool", "conv", 0, 0), ("flat", None, 0, 0),
    ]  # fmt: skip


def test_instructions_of_no_layer_count_in_the_totals_only(arch: Arch) -> None:
    got = report(arch, trace(), layer_of=(-1, 0, 0, 1, -1))
    assert [row["dram_read_bytes"] + row["dram_write_bytes"] for row in got["layers"]] == [0, 0, 0, 0]
    assert got["totals"]["dram_read_bytes"] == 208
    assert sum(row["cycles"] for row in got["layers"]) == 100


def test_units(arch: Arch) -> None:
    units = report(arch, trace())["units"]
    assert list(units) == ["load", "gemm", "alu", "store"]
    assert units["alu"]["busy_cycles"] == 15 + 29
    assert units["gemm"]["wait_cycles"]["token:load"] == 18
    for unit in units.values():
        assert unit["busy_cycles"] + sum(unit["wait_cycles"].values()) == 100


def test_without_a_trace_times_are_null_and_bounds_are_not(arch: Arch) -> None:
    got = report(arch, None, options={"batch": 2})
    assert got["options"] == {"batch": 2}
    totals = got["totals"]
    for key in ("cycles", "utilization", "time_us", "dram_read_bytes", "dram_write_bytes", "fetch_bytes"):
        assert totals[key] is None
    assert (totals["macs"], totals["bound_cycles"]) == (800, 50)
    assert [row["cycles"] for row in got["layers"]] == [None] * 4
    assert got["layers"][0]["cycle_split"] is None
    assert got["units"]["gemm"] == {"busy_cycles": None, "wait_cycles": None}


@pytest.mark.parametrize("measured", [trace(), None], ids=["timed", "values"])
def test_the_report_is_plain_json(arch: Arch, measured: Trace | None) -> None:
    got = report(arch, measured)
    assert json.loads(json.dumps(got, allow_nan=False)) == got


@given(
    st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 256),
    st.fractions(min_value=Fraction(1, 10), max_value=100, max_denominator=1000),
)  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_bound_is_the_least_whole_number_above_both_roofs(
    macs: int, moved: int, rows: int, rate: Fraction
) -> None:
    arch = EDGE.replace({"array.rows": rows, "dram.bytes_per_cycle": rate})
    got, by = bound(arch, Row("", "", "", macs, moved))
    array, dram = Fraction(macs, rows * 16), Fraction(moved) / rate
    assert got - 1 < max(array, dram) <= got
    assert got == ceil(max(array, dram))
    assert by == ("array" if array >= dram else "dram")


def test_a_rate_that_does_not_divide_stays_exact() -> None:
    arch = load_arch("tpu_v1")
    # 340/7 bytes a cycle: 340 bytes take exactly 7 cycles, one more byte an eighth one.
    assert bound(arch, Row("", "", "", 0, 340)) == (7, "dram")
    assert bound(arch, Row("", "", "", 0, 341)) == (8, "dram")
    assert bound(arch, Row("", "", "", 0, 340 * 10**15)) == (7 * 10**15, "dram")


def test_utilization_of_nothing(arch: Arch) -> None:
    assert utilization(arch, 10, None) is None
    assert utilization(arch, 10, 0) is None
    assert utilization(arch, 0, 0) == 0.0


def test_table(arch: Arch) -> None:
    rows = table(report(arch, trace()))
    assert all(len(row) == len(TABLE_HEADER) for row in rows)
    assert rows[0] == ("conv", "conv", "60", "800", "83.3", "50", "array", "48", "0", "row")
    assert rows[1][-1] == "in conv"
    assert rows[-1] == ("total", "", "100", "800", "50.0", "50", "array", "208", "32", "")
    assert table(report(arch, None))[-1] == ("total", "", "-", "800", "-", "50", "array", "-", "-", "")
