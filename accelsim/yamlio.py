"""Reading and writing YAML with places: the only module that knows the yaml library.

Scalars follow the YAML 1.2 core schema: ``1e3`` is a number, ``010`` is ten, ``no`` and ``12:30`` are text.
A :class:`Document` remembers where every key and value stands, so that a later check can point at it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.composer import ComposerError

from accelsim.errors import ConfigError

Keys: TypeAlias = tuple[str | int, ...]
"""The way to a value: mapping keys and list positions, outermost first."""

_TAG = "tag:yaml.org,2002:"
_NODE_LIMIT = 200_000  # values in one file; stops aliases that expand without end
_SHOWN_COLUMNS = 100  # of a very long source line
_CORE = (
    ("null", re.compile(r"(?:null|Null|NULL|~|)")),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)")),
    ("int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)")),
    ("float", re.compile(r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)")),
    ("float", re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))")),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """One YAML text as plain Python data, with the place of every key and value.

    ``mistakes`` holds what the text itself does wrong although it can be read (a key given twice). Whoever
    uses ``data`` reports them together with its own findings, as ``accelsim.validation.validate`` does.
    """

    path: str
    text: str
    data: Any
    key_marks: dict[Keys, Mark] = field(repr=False)
    value_marks: dict[Keys, Mark] = field(repr=False)
    mistakes: tuple[ConfigError, ...] = ()

    def mark(self, keys: Sequence[str | int], *, key: bool = False) -> Mark:
        """Where the value (or with ``key`` the key) at ``keys`` is; if absent, the nearest parent's key."""
        path = tuple(keys)
        if path in self.value_marks:
            return self.key_marks.get(path, self.value_marks[path]) if key else self.value_marks[path]
        while path not in self.value_marks:
            path = path[:-1]
        return self.key_marks.get(path, self.value_marks[path])

    def located(self, keys: Sequence[str | int], *, key: bool = False) -> str:
        """``file:line:col`` of the value (or key) at ``keys``."""
        mark = self.mark(keys, key=key)
        return f"{self.path}:{mark.line}:{mark.column}"

    def error(
        self, keys: Sequence[str | int], problem: str, hint: str = "", *, key: bool = False
    ) -> ConfigError:
        """A :class:`ConfigError` for the caller to raise, about the value (or with ``key`` the key) there."""
        mark = self.mark(keys, key=key)
        return error_at(self.path, self.text, mark, dotted(keys), problem, hint)


def dotted(keys: Sequence[str | int]) -> str:
    """The text form of a way to a value: ``layers[2].kernel``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def read_document(path: str | Path, *, known: bool = False) -> Document:
    """Read one YAML file. Raises :class:`ConfigError` if it is missing, unreadable, not text or not YAML.

    ``known`` files, which come with the package, are read by the C parser if there is one: seven times as fast.
    """
    return parse_document(read_text(path), str(path), known=known)


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file. Raises :class:`ConfigError` if it is missing, unreadable or not text."""
    shown = str(path)
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(shown, "", "the file does not exist") from None
    except IsADirectoryError:
        raise ConfigError(shown, "", "this is a directory, not a file") from None
    except OSError as error:
        raise ConfigError(shown, "", f"the file cannot be read: {error.strerror or error}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(shown, "", f"not a text file: byte {error.start} is not UTF-8") from None


def parse_document(text: str, path: str, *, known: bool = False) -> Document:
    """Like :func:`read_document` for a text in memory; ``path`` is only shown in messages."""
    builder = _Builder(text, path)
    try:
        node = (_QuickLoader if known else _CoreLoader)(text).get_single_node()
        if node is None:
            raise ConfigError(path, "", "the file is empty")
        data = builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, path, error) from None
    except yaml.reader.ReaderError as error:
        raise _character_error(text, path, error) from None
    except RecursionError:
        raise ConfigError(path, "", "not usable: the file is nested too deeply") from None
    return Document(
        path=path,
        text=text,
        data=data,
        key_marks=builder.key_marks,
        value_marks=builder.value_marks,
        mistakes=tuple(builder.mistakes),
    )


def parse_value(text: str, where: str) -> Any:
    """One value as a file would have it: ``32`` a number, ``256 KiB`` text. ``where`` is shown in errors."""
    if not text.strip():
        return None
    try:
        return parse_document(text, where).data
    except ConfigError as error:
        raise ConfigError(where, "", error.problem, "put the value in quotes") from None


def dump_yaml(data: Any) -> str:
    """Plain data as YAML text, keys in the given order; read back, it gives equal data."""
    return yaml.dump(
        data, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )


class _CoreResolver:
    """Replaces the YAML 1.1 rules for unquoted scalars."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            if implicit[0]:
                return _TAG + next((tag for tag, pattern in _CORE if pattern.fullmatch(value)), "str")
            return f"{_TAG}str"
        return f"{_TAG}seq" if kind is yaml.SequenceNode else f"{_TAG}map"


class _CoreLoader(_CoreResolver, yaml.SafeLoader):
    # The pure Python parser on purpose: files are small and its messages are the same everywhere. The C parser also
    # takes a few texts that this one refuses, and places empty values elsewhere.
    pass


# PyYAML can be built without the C parser.
_QuickLoader: Any = (
    type("_QuickLoader", (_CoreResolver, yaml.CSafeLoader), {}) if hasattr(yaml, "CSafeLoader") else _CoreLoader
)


class _CoreDumper(_CoreResolver, yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Builder:
    """Turns the node tree into data and writes down where everything stands."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.key_marks: dict[Keys, Mark] = {}
        self.value_marks: dict[Keys, Mark] = {}
        self.mistakes: list[ConfigError] = []
        self._open: set[int] = set()

    def build(self, node: yaml.Node, keys: Keys) -> Any:
        self.value_marks[keys] = _mark(node)
        if len(self.value_marks) > _NODE_LIMIT:
            raise self._error(node, keys, f"not usable: more than {_NODE_LIMIT:,} values")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, keys)
        if id(node) in self._open:
            raise self._error(node, keys, "not usable: the value contains itself")
        self._open.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, keys, "seq")
            data: Any = [self.build(child, (*keys, index)) for index, child in enumerate(node.value)]
        else:
            self._refuse_tag(node, keys, "map")
            data = self._mapping(node, keys)
        self._open.remove(id(node))
        return data

    def _mapping(self, node: yaml.Node, keys: Keys) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.build(key_node, ("",)) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.mistakes.append(self._error(key_node, keys, "a key must be text", "put it in quotes"))
                continue
            path = (*keys, key)
            if key in data:
                first = self.key_marks[path].line
                self.mistakes.append(self._error(key_node, path, f"given twice, first on line {first}"))
                continue
            self.key_marks[path] = _mark(key_node)
            data[key] = self.build(value_node, path)
        return data

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        text = node.value
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float" as kind:
                try:
                    return _integer(text) if kind == "int" else _float(text)
                except ValueError:
                    raise self._error(node, keys, f"{text[:40]!r} is not a usable number") from None
        raise self._error(node, keys, f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed")

    def _refuse_tag(self, node: yaml.Node, keys: Keys, expected: str) -> None:
        if node.tag != _TAG + expected:
            raise self._error(node, keys, f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed")

    def _error(self, node: yaml.Node, keys: Keys, problem: str, hint: str = "") -> ConfigError:
        return error_at(self.path, self.text, _mark(node), dotted(keys), problem, hint)


def _integer(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(text: str) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _syntax_error(text: str, path: str, error: yaml.MarkedYAMLError) -> ConfigError:
    place = error.problem_mark or error.context_mark
    mark = Mark(place.line + 1, place.column + 1) if place else Mark(1, 1)
    problem = f"not YAML: {error.problem or error.context}"
    if isinstance(error, ComposerError) and error.context and error.context_mark:
        problem = f"not YAML: {error.context}, {error.problem}"
    elif error.problem and error.context and error.context_mark:
        problem += f" {error.context} that starts on line {error.context_mark.line + 1}"
    hint = "indent with spaces, not tabs" if "'\\t'" in problem else ""
    return error_at(path, text, mark, "", problem, hint)


def _character_error(text: str, path: str, error: yaml.reader.ReaderError) -> ConfigError:
    start = text.rfind("\n", 0, error.position) + 1
    mark = Mark(text.count("\n", 0, error.position) + 1, error.position - start + 1)
    char = error.character
    code = char if isinstance(char, int) else ord(char)
    # No excerpt: such a character may do anything to a terminal.
    return error_at(path, "", mark, "", f"not YAML: the character U+{code:04X} is not allowed", "")


def error_at(path: str, text: str, mark: Mark, key: str, problem: str, hint: str = "") -> ConfigError:
    """A :class:`ConfigError` about a place in a text, with an excerpt of it."""
    return ConfigError(f"{path}:{mark.line}:{mark.column}", key, problem, hint, _excerpt(text, mark))


def _excerpt(text: str, mark: Mark) -> str:
    """The line of ``mark`` with a caret below it, indented by four."""
    lines = text.splitlines()
    if mark.line > len(lines):
        return ""
    line, caret = lines[mark.line - 1], mark.column - 1
    if len(line) > _SHOWN_COLUMNS:
        first = max(0, caret - _SHOWN_COLUMNS // 2)
        line, caret = line[first : first + _SHOWN_COLUMNS], caret - first
    # Tabs stay tabs below the line, so that the caret stands right in any terminal.
    below = "".join("\t" if char == "\t" else " " for char in line[:caret])
    return f"    {line.rstrip()}\n    {below}^"
