"""Sweep files: axes, links, derived keys, constraints; every mistake at once, before any work."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.bundled import available
from accelsim.dse import explore
from accelsim.dse.expression import Expression
from accelsim.dse.load import load_sweep
from accelsim.errors import ConfigError, ConfigErrors
from tests.command_line import accelsim
from tests.dse.cases import LENET

BAD = """\
schema: 1
workloads: [lennet, lenet, lenet]
arch: edje
axis: {}
axes:
  array.rows: [8, 0, "x"]
  array.colums: [8]
  array: [8]
  ub.size: {range: {from: 64 KiB, to: 32 KiB, step: 8 KiB}}
  dram.latency: {powers_of_two: [1, 8], range: {from: 1, to: 2, step: 1}}
  dram.burst_bytes: [64, 48, 64]
  batch: [0]
  objective: [cycle]
linked:
  - {wgt.size: [64 KiB, 128 KiB], acc.size: [16 KiB]}
  - {array.rows: [8]}
derived:
  array.cols: rowz * 2
  param.size: __import__('os')
  alu.lanes: array.cols <= 3
  queue.depth: queue.depth + 1
points: []
strategy: {kind: nsga3, seed: -1}
objectives: [cycels, max tops, best power_w]
constraints: [area_mm2, area_mm3 <= 5, "on_chip_bytes <= 512 KiB"]
verify: x
"""


def sweep_of(**changes: Any):
    return load_sweep({**LENET, **changes})


def values(sweep, key: str) -> list[Any]:
    return [sweep.point(sweep.choice(number)).settings.get(key) for number in range(sweep.size)]


def test_every_mistake_is_reported_before_any_work(tmp_path: Path, golden, monkeypatch) -> None:
    (tmp_path / "bad.yaml").write_text(BAD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explore, "Pool", None)  # nothing is started
    result = accelsim("sweep", "bad.yaml")
    assert result.exit_code == 2
    golden("errors/sweep.txt", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"strategy": {"kind": "random"}}, "is missing: random needs a number"),
        ({"strategy": {"kind": "grid", "points": 3}}, "means nothing for grid"),
        ({"strategy": "list"}, "means nothing for the strategy list"),
        ({"points": [{"array.rows": 4}]}, "belongs to the strategy list"),
        ({"set": {"array.rows": 8}}, "is set twice"),
        ({"set": {"array.rowz": 8}}, "unknown key"),
        ({"axes": {"array.rows": {"range": {"from": 1, "to": 10**9, "step": 1}}}}, "values are too many"),
        ({"constraints": ["x ++"]}, "cannot be read"),
    ],
)
def test_mistakes_between_keys(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigErrors, match=problem):
        sweep_of(**change)


def test_an_axis_of_the_wrong_form_hides_no_mistake_of_another() -> None:
    with pytest.raises(ConfigErrors) as caught:
        sweep_of(axes={"array.row": [4], "array.cols": [], "ub.size": 7, 5: [1]})
    found = "\n".join(str(error) for error in caught.value.errors)
    for part in ("axes.array.row: unknown key", "axes.array.cols: must have", "axes.ub.size: ", "a key must be text"):
        assert part in found


def test_mistakes_in_the_machine_and_in_workloads_are_among_them(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("schema: 1\nlayers: []\n", encoding="utf-8")
    (tmp_path / "box.yaml").write_text("schema: 1\narray: {rows: 0}\n", encoding="utf-8")
    (tmp_path / "all.yaml").write_text("schema: 1\nworkloads: [net]\narch: box\nverify: -1\n", encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        load_sweep(tmp_path / "all.yaml")
    told = {Path(error.where.split(":")[0]).name for error in caught.value.errors}
    assert told == {"net.yaml", "box.yaml", "all.yaml"}
    with pytest.raises(ConfigError, match="no such sweep"):
        load_sweep("nowhere")


def test_axes_of_every_form() -> None:
    axes = {
        "array.rows": {"powers_of_two": [4, 20]},
        "ub.size": {"range": {"from": "4 KiB", "to": "9 KiB", "step": "2 KiB"}},
        "dram.latency": [0, 7],
    }
    sweep = sweep_of(axes=axes, derived={"array.cols": "rows", "wgt.size": "2 * ub.size + 512 B * dram.latency"})
    assert sweep.size == 3 * 3 * 2
    assert sorted(set(values(sweep, "array.rows"))) == [4, 8, 16]
    assert sorted(set(values(sweep, "ub.size"))) == [4096, 6144, 8192]
    assert values(sweep, "array.cols") == values(sweep, "array.rows")
    expected = [2 * ub + 512 * latency for ub, latency in zip(values(sweep, "ub.size"), values(sweep, "dram.latency"))]
    assert values(sweep, "wgt.size") == expected
    point = sweep.point(sweep.choice(17))
    assert point.arch is not None
    assert (point.arch.array.cols, point.arch.wgt_bytes) == (16, 2 * 8192 + 7 * 512)


def test_linked_axes_go_in_step() -> None:
    sweep = sweep_of(axes={"batch": [1, 2]}, linked=[{"array.rows": [4, 8], "array.cols": [8, 4]}])
    found = [tuple(sweep.point(sweep.choice(n)).settings.items()) for n in range(sweep.size)]
    assert found[:2] == [
        (("batch", 1), ("array.rows", 4), ("array.cols", 8)), (("batch", 1), ("array.rows", 8), ("array.cols", 4)),
    ]  # fmt: skip
    assert len(found) == 4


def test_a_list_of_points() -> None:
    points = [{"array.rows": 4, "ub.size": "8 KiB"}, {"array.rows": 8, "ub.size": 4096}]
    sweep = load_sweep({k: v for k, v in LENET.items() if k != "axes"} | {"strategy": "list", "points": points})
    assert [tuple(sweep.point(sweep.choice(n)).settings.values()) for n in range(2)] == [(4, 8192), (8, 4096)]


def test_a_rate_follows_the_clock_of_the_point() -> None:
    sweep = sweep_of(arch="tpu_v1", axes={"clock": ["350 MHz", "700 MHz"]})
    rates = [sweep.point(sweep.choice(n)).arch.dram.bytes_per_cycle for n in range(2)]
    assert rates == [Fraction(680, 7), Fraction(340, 7)]


def test_what_cannot_be_a_machine_is_infeasible_with_its_reason() -> None:
    sweep = sweep_of(axes={"array.cols": [3, 4]}, constraints=["area_mm2 <= 1000", "on_chip_bytes <= 1 KiB"])
    assert "not a whole number of rows" in sweep.point((0, 0)).reason
    assert sweep.point((0, 1)).reason == "on_chip_bytes <= 1 KiB: on_chip_bytes is 16,384"


def test_equal_points_have_equal_keys_and_others_do_not() -> None:
    one, other = sweep_of(), sweep_of(axes={"array.rows": [8, 4], "dram.bytes_per_cycle": [4]}, name="x")
    keys = {one.point(one.choice(n)).key for n in range(6)}
    assert len(keys) == 6
    assert {other.point(other.choice(n)).key for n in range(2)} < keys
    assert not keys & {p.key for n in range(6) for p in [sweep_of(batch=2).point(one.choice(n))]}
    assert not keys & {p.key for n in range(6) for p in [sweep_of(objective="edp").point(one.choice(n))]}


@given(st.integers(-9, 9), st.integers(1, 9), st.integers(0, 4))
def test_expressions_are_exact(a: int, b: int, c: int) -> None:
    names = {"a": Fraction(a), "b.c": Fraction(b), "d": Fraction(c)}
    text = "min(a / b.c, d) * 2 - -a // b.c + d ** 2 % 3 + 1.1"
    expected = min(Fraction(a, b), c) * 2 - (-a // b) + c**2 % 3 + Fraction(11, 10)
    expression = Expression.parse(text)
    assert expression.names == ("a", "b.c", "d")
    assert expression.evaluate(names.__getitem__) == expected
    assert Expression.parse("1 <= d < a").evaluate(names.__getitem__) == (1 <= c < a)


@pytest.mark.parametrize("text", ["", "a b", "f(a)", "a[0]", "lambda: 1", "a if b else c", "(1).real", "x" * 600, "~a"])
def test_expressions_are_only_arithmetic(text: str) -> None:
    with pytest.raises(ValueError):
        Expression.parse(text)


@pytest.mark.parametrize(("text", "value"), [("2 KiB", 2048), ("1.5MiB-512 B", 1572352), ("500 MHz", 500 * 10**6)])
def test_units(text: str, value: int) -> None:
    assert Expression.parse(text).evaluate(lambda _: Fraction(0)) == value


@pytest.mark.parametrize("name", available("sweeps"))
def test_every_bundled_sweep_loads_and_has_points_that_can_be_run(name: str) -> None:
    sweep = load_sweep(name)
    numbers = range(0, sweep.size, max(1, sweep.size // 16))
    assert any(not sweep.point(sweep.choice(number)).reason for number in numbers)


def test_a_store_lies_beside_a_file_of_ones_own_and_never_beside_a_bundled_one(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("schema: 1\nworkloads: [lenet]\n", encoding="utf-8")
    assert explore.default_store(load_sweep(own)) == str(tmp_path / "mine.sqlite")
    assert explore.default_store(load_sweep("dataflows")) == "dataflows.sqlite"
