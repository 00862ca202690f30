"""pydantic's findings in words: place, allowed values, suggestion, one message for alternatives."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from accelsim.errors import ConfigErrors
from accelsim.validation import FileModel, Version, check_data, validate
from accelsim.yamlio import parse_document


class Conv(FileModel):
    kind: Literal["conv"]
    kernel: int | list[int] = 1
    channels: Annotated[int, Field(gt=0)]


class Fc(FileModel):
    kind: Literal["fc"]
    units: int


class Range(FileModel):
    low: float
    high: float

    @model_validator(mode="after")
    def ordered(self) -> Range:
        if self.low > self.high:
            raise ValueError("low is above high\nswap them")
        return self


class Net(FileModel):
    schema_: Version = Field(alias="schema")
    layers: list[Annotated[Conv | Fc, Field(discriminator="kind")]] = Field(min_length=1)
    method: Literal["max", "percentile"] = "max"
    limits: dict[str, Range] = Field(default_factory=dict)
    exact: bool = True
    name: Annotated[str, Field(min_length=1)] = "n"


def messages(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        validate(parse_document(text, "n"), Net)
    return [f"{e.where}: {e.key}: {e.problem}" + (f" ({e.hint})" if e.hint else "") for e in caught.value.errors]


def test_a_right_file_becomes_an_instance() -> None:
    net = validate(parse_document("schema: 1\nlayers: [{kind: fc, units: 3}]\n", "n"), Net)
    assert net.layers == [Fc(kind="fc", units=3)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("methods: max", "n:3:1: methods: unknown key (did you mean 'method'? "
         "allowed: schema, layers, method, limits, exact, name)"),
        ("method: maxx", "n:3:9: method: 'maxx' is not allowed (did you mean 'max'? allowed: max, percentile)"),
        ("method: 3", "n:3:9: method: 3 is not allowed (allowed: max, percentile)"),
        ("method: [max]", "n:3:9: method: a list of 1 is not allowed (allowed: max, percentile)"),
        ("exact: 1", "n:3:8: exact: expected true or false, got 1"),
        ("exact: 'true'", "n:3:8: exact: expected true or false, got 'true'"),
        ("name: 12", "n:3:7: name: expected text, got 12"),
        ("name: ''", "n:3:7: name: must not be empty"),
        ("name:", "n:3:6: name: expected text, got null"),
        ("limits: {a: {low: 2, high: 1}}", "n:3:13: limits.a: low is above high (swap them)"),
        ("limits: {a: {low: x, high: 1}}", "n:3:19: limits.a.low: expected a number, got 'x'"),
        ("limits: {a: {low: 1}}", "n:3:10: limits.a.high: is missing"),
        ("limits: {a: {lo: 1, low: 1, high: 2}}",
         "n:3:14: limits.a.lo: unknown key (did you mean 'low'? allowed: low, high)"),
        ("limits: [1]", "n:3:9: limits: expected a group of keys, got a list of 1"),
    ],
)  # fmt: skip
def test_one_mistake(line: str, message: str) -> None:
    assert messages(f"schema: 1\nlayers: [{{kind: fc, units: 3}}]\n{line}\n") == [message]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("{kind: cnv}", "n:2:17: layers[0].kind: 'cnv' is not allowed (did you mean 'conv'? allowed: conv, fc)"),
        ("{units: 1}", "n:2:10: layers[0].kind: is missing"),
        ("{kind: fc, units: 1.0}", "n:2:28: layers[0].units: expected a whole number, got 1.0"),
        ("{kind: fc, units: '1'}", "n:2:28: layers[0].units: expected a whole number, got '1'"),
        ("{kind: fc, units: true}", "n:2:28: layers[0].units: expected a whole number, got true"),
        ("{kind: fc, units: 1, kernel: 2}", "n:2:31: layers[0].kernel: unknown key (allowed: kind, units)"),
        ("{kind: conv, channels: -1}", "n:2:33: layers[0].channels: must be greater than 0, got -1"),
        ("{kind: conv, channels: 1, kernel: x}",
         "n:2:44: layers[0].kernel: expected a whole number or a list, got 'x'"),
        ("{kind: conv, channels: 1, kernel: [1, x]}",
         "n:2:48: layers[0].kernel[1]: expected a whole number, got 'x'"),
        ("conv", "n:2:10: layers[0]: expected a group of keys, got 'conv'"),
        ("", "n:2:9: layers: must have at least 1 elements, got 0"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_list_of_alternatives(layer: str, message: str) -> None:
    assert messages(f"schema: 1\nlayers: [{layer}]\n") == [message]


def test_everything_at_once_in_the_order_of_lines() -> None:
    text = "method: maxx\nmethod: max\nlayers:\n  - {kind: fc}\n  - {kind: conv, channels: 0}\nextra: 1\n"
    assert [m.split(": ")[0] for m in messages(text)] == ["n:1:1", "n:1:9", "n:2:1", "n:4:5", "n:5:28", "n:6:1"]


def test_a_text_that_is_no_mapping() -> None:
    assert messages("just text") == ["n:1:1: : expected a group of keys, got 'just text'"]


def test_check_data_needs_no_file() -> None:
    instance, mistakes = check_data({"low": 1, "high": 2.5}, Range)
    assert (instance, mistakes) == (Range(low=1, high=2.5), ())
    _, mistakes = check_data({"low": 1, "hihg": 2.5}, Range)
    assert [(m.keys, m.problem, m.at_key) for m in mistakes] == [
        (("high",), "is missing", False),
        (("hihg",), "unknown key", True),
    ]


@pytest.mark.parametrize("value", ["true", "1.0", "'1'", "2", "null"])
def test_a_version_is_the_whole_number(value: str) -> None:
    assert messages(f"schema: {value}\nlayers: [{{kind: fc, units: 3}}]\n") == [
        f"n:1:9: schema: {value} is not allowed (allowed: 1)"
    ]
