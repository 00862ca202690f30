"""Energy: one layer by hand, every program by an oracle, exact sums, and every number of the table seen to act."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accelsim
from accelsim.actions import Action, actions, count_actions
from accelsim.energy import COMPONENTS, banks_of, measure, program_energy_pj
from accelsim.energy_arch import ENTRIES, FORMULA, KEYS
from accelsim.errors import ConfigErrors
from accelsim.isa.asm import parse_program
from accelsim.isa.effects import effects, task
from accelsim.isa.instructions import Alu, Gemm, Instr, Load, Store
from accelsim.isa.program import Program
from accelsim.machine_file import dump_arch, load_arch
from accelsim.result import Result
from tests.isa.strategies import arches, instructions
from tests.oracles import energy as oracle

LAYER = """
.region weights int8 [8, 4] = zeros constant
.region bias int32 [4] = zeros constant
.region scale float32 [4] = zeros constant
.region x int8 [1, 8] = zeros input
.region y int8 [1, 4] = zeros output
load memory=param dram=bias run=16 signal=alu
load memory=param dram=scale local=16 run=16 signal=alu
load memory=wgt dram=weights run=32
load memory=ub dram=x run=8 signal=gemm
gemm overwrite k=4 n=4 r0=2 xr0=4 wait=load signal=alu
sync on=alu wait=load
alu op=rq operand=param param=0 lo=0 hi=127 src_mem=acc dst_mem=ub dst=16 n=4 wait=load,gemm signal=store
store memory=ub local=16 dram=y run=4 wait=alu
halt on=store
"""
MACHINES: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("tiny", ()),
    ("edge", ()),
    ("edge", (("array.dataflow", "os"),)),
    ("tiny", (("array.weights", "single"), ("ub.ports", "shared"), ("energy.cell", "lstp"))),
    ("mid", (("energy.table", "7nm"), ("energy.dram", "hbm2"), ("energy.acc_banks", 128), ("energy.static_mw", 3.5))),
)


@cache
def run(machine: str, changes: tuple[tuple[str, Any], ...] = (), workload: str = "lenet", batch: int = 1) -> Result:
    return accelsim.run(workload, arch=load_arch(machine, dict(changes)), batch=batch, timing_only=True)


def test_one_layer_by_hand() -> None:
    """A fully connected layer of 8 inputs and 4 outputs on the 4x4 array: two weight tiles, one row."""
    arch = load_arch("tiny")
    program = parse_program(LAYER, arch)
    cycles = 1000
    moves = 2 * (4 * (1 + 2 + 3 + 4) + 4 * 3)  # weights down the columns, activations through them
    beside = 2 * (4 * (0 + 1 + 2 + 3) + 16 + (0 + 1 + 2 + 3))  # weights, their copies, activations
    sums, aligned = 2 * 4 * 4, 2 * (4 + 3 + 2 + 1)  # through four rows, then to the aligned row
    array = 32 * 0.3 + moves * 0.092 + beside * 0.072 + 4 * 0.1
    array += (sums * 0.368 + aligned * 0.288) * 18 / 32  # four products of 16 bits reach 18
    ub = 1.25 * 0.5**-0.41 * 1.15  # a bank of 8 KiB, a port of 32 bits, three more ports
    wgt = 1.25 * 0.5**0.475 * 0.5**-0.41  # 4 KiB, 32 bits
    narrow = 1.25 * (1 / 8) ** 0.475  # ACC and PARAM: two banks of 1 KiB, 64 bits each
    buffers = (8 + 4 + 8 + 4) * ub + (32 + 32) * wgt + (16 + 16 + 32) * narrow + (32 + 32) * narrow
    bursts = 1 + 1 + 2 + 1 + 1 + 9 * 32 // 16
    expected = {
        "array": array,
        "buffers": buffers,
        "dram": bursts * 16 * 64,
        "alu": 4 * (3.7 + 2 * 0.9 + 4 * 0.1 + 4 * 0.288),
        "control": 9 * 5.1,
        "leakage": ((8 + 4 + 2 + 2) * 22 + 16 * 10 + 4 * 320) * 1e-6 * cycles / 500e6 * 1e12,
        "other": 0,
    }
    energy = measure(count_actions(program.instructions, arch), arch, [0] * 9, [cycles])
    for name, pj in expected.items():
        assert energy.component_pj(name) == pytest.approx(pj, rel=1e-5, abs=0.01), name
    assert energy.total_pj == pytest.approx(sum(expected.values()), rel=1e-5)


@pytest.mark.parametrize(("machine", "changes"), MACHINES)
def test_a_run_costs_what_the_oracle_says(machine: str, changes: tuple[tuple[str, Any], ...]) -> None:
    result = run(machine, changes)
    expected = oracle.components_pj(result.program.instructions, result.arch, result.report["totals"]["cycles"])
    for name, part in result.report["energy"]["components"].items():
        assert part["pj"] == pytest.approx(expected[name], rel=1e-5, abs=0.01), name


@st.composite
def programs(draw: st.DrawFn) -> tuple[Any, Instr]:
    arch = draw(arches())
    if draw(st.booleans()):
        arch = arch.replace({"array.dataflow": "os", "array.weights": draw(st.sampled_from(["shadow", "single"]))})
    return arch, draw(instructions(arch))


@given(programs())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_instruction_counts_as_the_oracle_counts(case: tuple[Any, Instr]) -> None:
    arch, instr = case
    got = actions(effects(instr, arch), task(instr, arch).work, arch)
    expected = oracle.counts(instr, arch)
    assert {action.name.lower(): got[action] for action in Action if got[action]} == dict(+expected)


@pytest.mark.parametrize(("machine", "changes"), MACHINES)
@pytest.mark.parametrize("batch", [1, 3])
def test_sums_are_exact(machine: str, changes: tuple[tuple[str, Any], ...], batch: int) -> None:
    report = run(machine, changes, "lenet_tanh", batch).report
    total, layers, energy = report["totals"]["energy_pj"], report["layers"], report["energy"]
    assert total == sum(row["energy_pj"] for row in layers)
    assert total == sum(part["pj"] for part in energy["components"].values())
    assert total == sum(term["pj"] for term in energy["terms"].values())
    for name, part in energy["components"].items():
        assert part["pj"] == sum(row["energy"][name] for row in layers)
        assert part["pj"] == sum(term["pj"] for term in energy["terms"].values() if term["component"] == name)
    assert all(row["energy_pj"] == sum(row["energy"].values()) for row in layers)
    assert sum(row["energy_percent"] for row in layers) == pytest.approx(100, abs=0.001)
    assert sum(part["percent"] for part in energy["components"].values()) == pytest.approx(100, abs=0.001)
    assert report["totals"]["energy_per_inference_pj"] == total / batch


def test_leakage_follows_the_cycles_of_a_layer() -> None:
    report = run("edge").report
    total, cycles = report["energy"]["components"]["leakage"]["pj"], report["totals"]["cycles"]
    for row in report["layers"]:
        assert row["energy"]["leakage"] == pytest.approx(total * row["cycles"] / cycles, abs=0.01)


def test_a_layer_that_another_one_does_costs_nothing() -> None:
    rows = {row["name"]: row for row in run("edge").report["layers"]}
    assert rows["flatten"]["energy_pj"] == 0
    assert rows["flatten"]["power_w"] is None


DEPTHWISE = """
.region table int8 [256] = zeros constant
.region x int8 [1, 8, 8, 4] = zeros input
.region y int8 [1, 4, 4, 4] = zeros output
load memory=param dram=table run=256
load memory=ub dram=x run=256 signal=alu
alu op=mac operand=imm imm=3 n=4 m0=4 sm0=8 dm0=4 m1=4 sm1=64 dm1=16 r0=2 sr0=4 r1=2 sr1=32 dst=256 wait=load
alu op=lut operand=param n=4 m0=16 src=256 sm0=4 dst=256 dm0=4 signal=store
store local=256 dram=y run=64 wait=alu
halt on=store
"""


def both() -> list[Instr]:
    """Instructions that between them do everything that costs energy."""
    arch = load_arch("tiny")
    programs: list[Program] = [parse_program(text, arch) for text in (LAYER, DEPTHWISE)]
    return [instr for program in programs for instr in program.instructions]


def components(arch: Any) -> dict[str, float]:
    counts = count_actions(both(), arch)
    energy = measure(counts, arch, [0] * len(counts), [1000])
    return {name: energy.component_pj(name) for name in COMPONENTS}


def home(name: str) -> str:
    """The component that an entry belongs to."""
    for prefix, component in (
        ("mac_", "array"), ("register_access", "array"), ("operand_", "array"), ("sum_", "array"), ("acc_add", "array"),
        ("dram_background", "other"), ("static", "other"), ("dram_", "dram"), ("alu_", "alu"), ("fp32_", "alu"),
        ("instruction", "control"), ("pe_leakage", "leakage"), ("lane_leakage", "leakage"), ("sram_leakage", "leakage"),
    ):  # fmt: skip
        if name.startswith(prefix):
            return component
    return "leakage" if name.endswith("_leakage") else "buffers"


def needed(name: str) -> dict[str, Any]:
    """What a machine must choose for an entry to act."""
    for prefix, key in (("mac_", "operands"), ("sram_dynamic_", "cell"), ("sram_leakage_", "cell"), ("dram_", "dram")):
        word = name.removeprefix(prefix).removesuffix("_area")
        if name.startswith(prefix) and word != "background":
            return {f"energy.{key}": word}
    return {}


PRICES = [entry for entry in ENTRIES if "area" not in entry.name and entry.name != "layout_factor"]


@pytest.mark.parametrize("entry", PRICES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("table", ["45nm", "eyeriss_normalized"])
def test_doubling_a_number_moves_its_component_alone(entry: Any, table: str) -> None:
    chosen = {"energy.table": table, **needed(entry.name)}
    base = load_arch("tiny", chosen)
    value = base.energy.get(entry.name)
    started = value or 1.0  # what is free, or left to a formula, gets a price first
    before = components(load_arch("tiny", {**chosen, f"energy.{entry.key}": started}))
    after = components(load_arch("tiny", {**chosen, f"energy.{entry.key}": 2 * started}))
    assert {name for name in COMPONENTS if before[name] != after[name]} == {home(entry.name)}


def test_doubling_doubles_what_is_priced_by_one_number() -> None:
    before = components(load_arch("tiny"))
    after = components(load_arch("tiny", {"energy.dram_lpddr4_pj_per_byte": 128, "energy.instruction_pj": 10.2}))
    for name in ("dram", "control"):
        assert after[name] == pytest.approx(2 * before[name], rel=1e-6)


def test_an_override_is_seen_in_the_report() -> None:
    plain = run("edge").report
    dear = run("edge", (("energy.mac_int8_pj", 1.3),)).report
    assert dear["arch"]["energy"]["mac_int8_pj"] == 1.3
    macs = plain["energy"]["terms"]["mac"]
    assert dear["energy"]["terms"]["mac"] == {**macs, "pj_each": 1.3, "pj": pytest.approx(macs["count"] * 1.3)}
    difference = dear["totals"]["energy_pj"] - plain["totals"]["energy_pj"]
    assert difference == pytest.approx(macs["count"] * 1.0, rel=1e-6)
    assert dear["totals"]["cycles"] == plain["totals"]["cycles"]
    assert dear["arch_hash"] == plain["arch_hash"]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("mac_int16_pj", "energy.operands is int8"),
        ("dram_ddr3_pj_per_byte", "energy.dram is lpddr4"),
        ("sram_leakage_hp_uw_per_kib", "energy.cell is mixed"),
        ("mac_fp32_area_um2", "energy.operands is int8"),
    ],
)
def test_an_override_without_effect_is_refused(key: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_arch("edge", {f"energy.{key}": 5})
    assert [error.problem for error in caught.value.errors] == [f"has no effect: {reason}"]
    assert load_arch("edge", {f"energy.{key}": 5, **needed(KEYS[key].name)}).energy[KEYS[key].name] == 5


def test_a_program_costs_the_same_for_the_compiler_and_the_report() -> None:
    result = run("edge")
    totals = result.report["totals"]
    quick = program_energy_pj(result.program.instructions, result.arch, totals["cycles"])
    assert quick == pytest.approx(totals["energy_pj"], abs=0.5)


def test_dram_energy_is_that_of_the_traffic_in_the_report() -> None:
    for name in ("edge", "tiny"):
        report = run(name).report
        terms, totals = report["energy"]["terms"], report["totals"]
        assert terms["dram_read"]["count"] + terms["dram_fetch"]["count"] == totals["dram_read_bytes"]
        assert terms["dram_fetch"]["count"] == totals["fetch_bytes"]
        assert terms["dram_write"]["count"] == totals["dram_write_bytes"]


def test_power_and_rates_follow_from_energy_and_time() -> None:
    report = run("edge").report
    totals, energy = report["totals"], report["energy"]
    seconds = totals["time_us"] * 1e-6
    assert totals["power_w"] == pytest.approx(totals["energy_pj"] * 1e-12 / seconds)
    assert totals["tops"] == pytest.approx(2 * totals["macs"] / seconds / 1e12)
    assert totals["tops_per_w"] == pytest.approx(totals["tops"] / totals["power_w"])
    assert totals["edp_js"] == pytest.approx(totals["energy_pj"] * 1e-12 * seconds)
    assert energy["power"]["average_w"] == totals["power_w"]
    assert energy["power"]["peak_w"] >= totals["power_w"]
    for row in report["layers"]:
        if row["cycles"]:
            assert row["power_w"] == pytest.approx(row["energy_pj"] * 1e-12 / (row["cycles"] * 2e-9))
    assert "factor of 2" in energy["trust"]
    assert len(energy["left_out"]) >= 5


def test_without_time_there_is_no_energy_but_an_area() -> None:
    report = accelsim.run("lenet", arch="tiny", level="functional").report
    totals = report["totals"]
    names = ("energy_pj", "energy_per_inference_pj", "power_w", "tops", "tops_per_w", "edp_js")
    assert [totals[name] for name in names] == [None] * 6
    assert report["energy"] is None
    assert {row["energy_pj"] for row in report["layers"]} == {None}
    assert totals["area_mm2"] == sum(part["mm2"] for part in report["area"].values()) > 0


def test_normalised_energies_are_no_watts() -> None:
    report = run("edge", (("energy.table", "eyeriss_normalized"),)).report
    totals = report["totals"]
    assert report["energy"]["unit"] == "MAC"
    assert totals["energy_pj"] > totals["macs"]
    assert (totals["power_w"], totals["tops_per_w"], totals["edp_js"]) == (None, None, None)
    assert totals["tops"] is not None


def test_a_rerun_from_the_effective_machine_gives_the_same_report(tmp_path: Path) -> None:
    changes = (("energy.table", "16nm"), ("energy.ub_read_pj_per_byte", 0.1), ("energy.window", "0.3 us"))
    first = run("tiny", changes)
    (tmp_path / "again.yaml").write_text(dump_arch(first.arch), encoding="utf-8")
    second = accelsim.run("lenet", arch=tmp_path / "again.yaml", timing_only=True)
    assert second.arch == first.arch
    texts = [json.dumps({k: v for k, v in result.report.items() if k != "host"}) for result in (first, second)]
    assert texts[0] == texts[1]


def test_banks() -> None:
    arch = load_arch("tpu_v1")
    assert banks_of(arch, "ub") == (32, 24 * 2**20 // 32, 64)
    assert banks_of(arch, "acc") == (128, 32 * 1024, 64)
    assert banks_of(load_arch("tiny"), "ub") == (1, 8192, 32)
    assert banks_of(load_arch("edge", {"ub.ports": "shared"}), "ub") == (8, 32 * 1024, 64)
    assert banks_of(load_arch("edge", {"energy.acc_banks": 1}), "acc") == (1, 64 * 1024, 512)
    assert banks_of(load_arch("edge", {"energy.wgt_banks": 3}), "wgt") == (3, Fraction(128 * 1024, 3), 64)
    assert load_arch("edge").to_dict()["energy"]["ub_read_pj_per_byte"] == FORMULA


def test_every_kind_of_instruction_is_in_the_small_programs() -> None:
    kinds = {type(instr) for instr in both()}
    assert kinds >= {Load, Store, Gemm, Alu}
    counts = sum(count_actions(both(), load_arch("tiny", {"array.dataflow": word})) for word in ("ws", "os"))
    assert {action.name for action in Action if not counts[:, action].any()} == set()
