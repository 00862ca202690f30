"""Area against the oracle, by hand for the smallest machine, and every number of it seen to act."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.area import PARTS, area_mm2
from accelsim.energy_arch import ENTRIES
from accelsim.machine_file import load_arch
from tests.oracles import energy as oracle

AREAS = [entry for entry in ENTRIES if "area" in entry.name or entry.name == "layout_factor"]


def test_the_smallest_machine_by_hand() -> None:
    """4x4, 8 + 4 + 2 + 2 KiB, four lanes, queues of 16 and 16 words of prefetch."""
    area = area_mm2(load_arch("tiny"))
    bit = 5.98
    array = 16 * (419 + bit * (8 + 8 + 8 + 18)) + bit * (8 * 6 + 8 * 6 + 18 * 10)  # sums of 16 + 2 bits
    lanes = 4 * (19837 + bit * (4 * 32 + 256 * 8))
    queues = bit * 256 * (4 * 16 + 16)
    sram = {"ub": 8 / 1024 * 3.4e6 * 1.15, "wgt": 4 / 1024 * 3.4e6, "acc": 2 / 1024 * 3.4e6, "param": 2 / 1024 * 3.4e6}
    whole = 2 * (array + lanes + queues + sum(sram.values())) / 0.98
    expected = {"array": 2 * array, "alu": 2 * lanes, "control": 2 * queues + 0.02 * whole, "other": 0}
    expected |= {name: 2 * size for name, size in sram.items()}
    for name in PARTS:
        assert area[name] == pytest.approx(expected[name] / 1e6, abs=1e-6), name
    assert sum(area.values()) == pytest.approx(whole / 1e6, abs=1e-5)


@given(
    st.fixed_dictionaries({
        "array.rows": st.integers(1, 64), "array.dataflow": st.sampled_from(["ws", "os"]),
        "array.weights": st.sampled_from(["shadow", "single"]), "alu.lanes": st.integers(1, 64),
        "alu.latency": st.integers(0, 20), "ub.ports": st.sampled_from(["private", "shared"]),
        "queue.depth": st.integers(1, 64), "energy.operands": st.sampled_from(["int8", "fp32"]),
        "energy.table": st.sampled_from(["65nm", "7nm"]), "energy.other_area_share": st.floats(0, 0.9),
        "energy.acc_area_mm2_per_mib": st.sampled_from(["formula", 0.5]),
    })
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_machine_has_the_area_of_the_oracle(changes: dict[str, Any]) -> None:
    arch = load_arch("mid", changes)
    got, expected = area_mm2(arch), oracle.area_mm2(arch)
    for name in PARTS:
        assert got[name] == pytest.approx(expected[name], rel=1e-9, abs=2**-20), name


@pytest.mark.parametrize("entry", AREAS, ids=lambda entry: entry.name)
def test_doubling_a_number_moves_its_part(entry: Any) -> None:
    word = entry.name.removeprefix("mac_").removesuffix("_area")
    chosen = {"energy.operands": word} if entry.name.startswith("mac_") else {}
    # What is a share of the whole moves with everything else.
    chosen |= {"energy.control_area_share": 0, "energy.other_area_share": 0} if "share" not in entry.name else {}
    base = load_arch("edge", chosen)
    started = base.energy.get(entry.name) or 0.25
    key = f"energy.{entry.key}"
    before = area_mm2(load_arch("edge", {**chosen, key: started}))
    after = area_mm2(load_arch("edge", {**chosen, key: 2 * started}))
    moved = {name for name in PARTS if before[name] != after[name]}
    parts = {
        "register_area": {"array", "alu", "control"}, "lane_area": {"alu"}, "ub_port_area_share": {"ub"},
        "sram_area": {"ub", "wgt", "acc", "param"}, "layout_factor": set(PARTS) - {"other"},
    }  # fmt: skip
    if entry.name in ("control_area_share", "other_area_share"):
        assert {entry.name.removesuffix("_area_share"), "control"} >= moved > set()
    elif entry.name == "ub_port_area_share":
        assert moved == {"ub", "control"}  # control is 2 % of the whole
    else:
        assert moved == parts.get(entry.name, {entry.name.removesuffix("_area") if entry.optional else "array"})


def test_more_of_anything_is_larger() -> None:
    base = sum(area_mm2(load_arch("edge")).values())
    for changes in ({"array.rows": 17}, {"ub.size": "512 KiB"}, {"alu.lanes": 32}, {"queue.depth": 17}):
        assert sum(area_mm2(load_arch("edge", changes)).values()) > base
