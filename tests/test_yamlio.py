"""YAML reading: the 1.2 core scalars, places of keys and values, and texts of every refusal."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.bundled import folder
from accelsim.errors import ConfigError
from accelsim.yamlio import dump_yaml, parse_document, parse_value, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0), ("1.0e3", 1000.0), (".5", 0.5), ("-2.", -2.0), ("010", 10), ("-7", -7), ("+7", 7),
        ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"), ("12:30", "12:30"), ("no", "no"), ("on", "on"),
        ("yes", "yes"), ("y", "y"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("'12'", "12"), ('"true"', "true"), ("256 KiB", "256 KiB"), ("2001-01-01", "2001-01-01"), ("<<", "<<"),
        ("!!str 12", "12"), ("!!float 12", 12.0), (".inf", math.inf), ("340/7", "340/7"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    got = parse_document(f"v: {text}\n", "f")
    assert got.data == {"v": value}
    assert type(got.data["v"]) is type(value)


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12),
    st.sampled_from(["no", "1e3", "010", "0x1f", "12:30", "~", "", "null", "340/7", "256 KiB", "- a", "a: b"]),
)  # fmt: skip
_KEYS = st.text(alphabet=st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=5)


@given(
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_dump_reads_back_equal(value: object) -> None:
    text = dump_yaml({"v": value})
    assert parse_document(text, "f").data == {"v": value}


def test_nan_reads_as_nan() -> None:
    assert math.isnan(parse_document("v: .nan", "f").data["v"])




def test_marks_name_line_and_column_of_keys_and_values() -> None:
    document = parse_document("a: 1\nb:\n  - x\n  - {c: 2}\n", "m.yaml")
    assert document.located(("a",)) == "m.yaml:1:4"
    assert document.located(("b", 1, "c")) == "m.yaml:4:9"
    assert document.located(("b", 1, "c"), key=True) == "m.yaml:4:6"
    assert document.located(("b", 0)) == "m.yaml:3:5"


def test_absent_place_falls_back_to_the_nearest_parent_key() -> None:
    document = parse_document("a: 1\nb:\n  c: 2\n", "m.yaml")
    assert document.located(("b", "nothing", 3)) == "m.yaml:2:1"
    assert document.located(("nothing",)) == "m.yaml:1:1"


def test_error_shows_the_line_and_a_caret() -> None:
    document = parse_document("a:\n  b: wrong\n", "m.yaml")
    assert str(document.error(("a", "b"), "is wrong", "try right")) == (
        "m.yaml:2:6: a.b: is wrong (try right)\n      b: wrong\n         ^"
    )


def test_caret_keeps_tabs() -> None:
    document = parse_document('{a: "x\ty", b: 1}', "m")
    assert document.error(("b",), "x").source == '    {a: "x\ty", b: 1}\n          \t       ^'


def test_long_lines_are_cut_around_the_caret() -> None:
    document = parse_document("{k: " + "x" * 300 + ", z: 9}", "m")
    line, caret = document.error(("z",), "p").source.splitlines()
    assert len(line) <= 104
    assert line[caret.index("^")] == "9"


def test_repeated_keys_are_kept_as_mistakes_with_their_place() -> None:
    document = parse_document("a: 1\nb: {c: 1, c: 2}\na: 3\n", "m")
    assert [(e.where, e.key, e.problem) for e in document.mistakes] == [
        ("m:2:11", "b.c", "given twice, first on line 2"),
        ("m:3:1", "a", "given twice, first on line 1"),
    ]
    assert document.data == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize("key", ["1", "1.5", "true", "~", "[a]", "{a: 1}"])
def test_keys_must_be_text(key: str) -> None:
    document = parse_document(f"? {key}\n: 1\nb: 2\n", "m")
    assert [e.problem for e in document.mistakes] == ["a key must be text"]
    assert document.data == {"b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m: the file is empty"),
        ("# only a comment\n", "m: the file is empty"),
        (
            "a: [1, 2\nb: 3\n",
            "m:2:2: not YAML: expected ',' or ']', but got ':' while parsing a flow sequence that starts on line 1\n"
            "    b: 3\n     ^",
        ),
        ("a: b: c\n", "m:1:5: not YAML: mapping values are not allowed here\n    a: b: c\n        ^"),
        (
            "a:\n\tb: 1\n",
            "m:2:1: not YAML: found character '\\t' that cannot start any token "
            "(indent with spaces, not tabs)\n    \tb: 1\n    ^",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "m:2:1: not YAML: expected a single document in the stream, but found another document\n    ---\n    ^",
        ),
        ("a: *x\n", "m:1:4: not YAML: found undefined alias 'x'\n    a: *x\n       ^"),
        ("a: &x [*x]\n", "m:1:4: a[0]: not usable: the value contains itself\n    a: &x [*x]\n       ^"),
        ("a: !!python/name:os.system\n", "m:1:4: a: the tag '!!python/name:os.system' is not allowed\n"
         "    a: !!python/name:os.system\n       ^"),
        ("a: !!int x\n", "m:1:4: a: 'x' is not a usable number\n    a: !!int x\n       ^"),
        ("a: \x07\n", "m:1:4: not YAML: the character U+0007 is not allowed"),
        ("[" * 5000, "m: not usable: the file is nested too deeply"),
    ],
)  # fmt: skip
def test_unreadable_texts(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "m")
    assert str(caught.value) == message


def test_aliases_that_expand_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 200,000 values"):
        parse_document("\n".join(lines), "m")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"ab\xff\xfe")
    expected = {
        "absent.yaml": "absent.yaml: the file does not exist",
        "folder": "folder: this is a directory, not a file",
        "binary.yaml": "binary.yaml: not a text file: byte 2 is not UTF-8",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigError) as caught:
            read_document(name)
        assert str(caught.value) == message


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    document = read_document(path)
    assert document.data == {"a": 1, "b": "x"}
    assert document.error(("b",), "p").source == "    b: x\n       ^"


@pytest.mark.parametrize(("text", "value"), [("32", 32), ("256 KiB", "256 KiB"), ("no", "no"), ("", None)])
def test_single_values(text: str, value: object) -> None:
    assert parse_value(text, "--set") == value


def test_single_value_that_is_not_yaml() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value("[1", "--set a=[1")
    assert str(caught.value).startswith("--set a=[1: not YAML: ")
    assert caught.value.hint == "put the value in quotes"


def test_the_c_parser_reads_what_comes_with_the_package_alike() -> None:
    paths = [path for kind in ("configs", "workloads", "energy") for path in folder(kind).rglob("*.yaml")]
    assert len(paths) > 10
    for path in paths:
        assert read_document(path, known=True) == read_document(path)
