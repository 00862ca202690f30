"""Checks the data of a file against a pydantic model and says every mistake at its place.

pydantic finds the mistakes; here they get the line and column, the allowed values and a suggestion.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from accelsim.errors import ConfigError, ConfigErrors
from accelsim.spelling import suggest
from accelsim.yamlio import Document, Keys, dump_yaml

_SHOWN_VALUE = 40  # characters of a wrong value repeated in a message


class FileModel(BaseModel):
    """Base of all models of files: no unknown keys, no silent conversion of types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _integer(value: Any) -> Any:
    """The value, unless it only equals a version: ``true`` and 1.0 are 1 to Python."""
    if type(value) is not int:
        raise ValueError(f"{show(value)} is not allowed\nallowed: 1")
    return value


Version: TypeAlias = Annotated[Literal[1], BeforeValidator(_integer)]
"""The version of a file's layout."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with some data. ``at_key`` says that the key is meant, not its value."""

    keys: Keys
    problem: str
    hint: str = ""
    at_key: bool = False


def validate(document: Document, model: type[Model]) -> Model:
    """The document as an instance of ``model``. Raises :class:`ConfigErrors` with all mistakes, by line."""
    instance, mistakes = check_data(document.data, model)
    errors = list(document.mistakes)
    errors += [document.error(m.keys, m.problem, m.hint, key=m.at_key) for m in mistakes]
    if errors or instance is None:
        raise ConfigErrors(sort_by_line(errors))
    return instance


def check_data(data: Any, model: type[Model]) -> tuple[Model | None, tuple[Mistake, ...]]:
    """The data as an instance of ``model``, or None and everything that is wrong with it."""
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        return None, _mistakes(data, model, error)


def sort_by_line(errors: Iterable[ConfigError]) -> tuple[ConfigError, ...]:
    """The errors of one or several files, by file, line and column; those without a line first."""

    def place(error: ConfigError) -> tuple[str, int, int]:
        match = re.fullmatch(r"(.*):(\d+):(\d+)", error.where)
        return (match[1], int(match[2]), int(match[3])) if match else (error.where, 0, 0)

    return tuple(sorted(errors, key=place))


def show(value: Any) -> str:
    """A value as a file would write it, shortened."""
    match value:
        case str():
            text = repr(value)
        case dict():
            text = "a group of keys"
        case list():
            text = f"a list of {len(value)}"
        case _:
            text = dump_yaml(value).splitlines()[0]
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 3] + "..."


def _mistakes(data: Any, model: type[BaseModel], error: ValidationError) -> tuple[Mistake, ...]:
    """All mistakes pydantic found; those of several alternatives at one place become one."""
    groups: dict[Keys, list[_Finding]] = {}
    for details in error.errors(include_url=False):
        keys = _keys_in(data, details["loc"], missing=details["type"] == "missing")
        groups.setdefault(keys, []).append(_Finding(details, keys, data, model))
    found = []
    for keys, findings in groups.items():
        alternatives = len(findings) > 1
        # One alternative went deeper and names the very element: the others only repeat "not my type".
        deeper = any(len(other) > len(keys) and other[: len(keys)] == keys for other in groups)
        if deeper and all(f.is_type_error for f in findings):
            continue
        if alternatives and all(f.is_type_error for f in findings):
            expected = " or ".join(dict.fromkeys(f.expected for f in findings))
            found.append(Mistake(keys, f"expected {expected}, got {show(_value_at(data, keys))}"))
        else:
            found += [f.mistake() for f in _most_telling(findings)]
    return tuple(found)


def _most_telling(findings: list[_Finding]) -> list[_Finding]:
    """Of several alternatives' complaints about one value, those that accepted its type."""
    telling = [f for f in findings if not f.is_type_error]
    return telling or findings


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a group of keys",
    "mapping_type": "a group of keys",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "none_required": "nothing",
}
_LIMIT = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
    "multiple_of": ("multiple_of", "must be a multiple of"),
}


class _Finding:
    """One pydantic error, with what is needed to put it into words."""

    def __init__(self, details: Any, keys: Keys, data: Any, model: type[BaseModel]) -> None:
        self.kind: str = details["type"]
        self.context: Mapping[str, Any] = details.get("ctx", {})
        self.text: str = details["msg"]
        self.location: tuple[int | str, ...] = details["loc"]
        self.keys = keys
        self.value = _value_at(data, keys)
        self.model = model

    @property
    def is_type_error(self) -> bool:
        return self.kind in _EXPECTED

    @property
    def expected(self) -> str:
        return _EXPECTED[self.kind]

    def mistake(self) -> Mistake:
        if self.kind in _EXPECTED:
            return Mistake(self.keys, f"expected {self.expected}, got {show(self.value)}")
        if self.kind in _LIMIT:
            name, words = _LIMIT[self.kind]
            return Mistake(self.keys, f"{words} {self.context[name]}, got {show(self.value)}")
        return self._special()

    def _special(self) -> Mistake:
        match self.kind:
            case "extra_forbidden":
                allowed = _fields_at(self.model, self.location[:-1])
                return Mistake(self.keys, "unknown key", suggest(str(self.keys[-1]), allowed), at_key=True)
            case "missing":
                return Mistake(self.keys, "is missing")
            case "literal_error" | "enum":
                return self._not_one_of(self.keys, self.value, self.context["expected"])
            case "union_tag_invalid":
                name = self.context["discriminator"].strip("'")
                tags = self.context["expected_tags"]
                return self._not_one_of((*self.keys, name), self.context["tag"], tags)
            case "union_tag_not_found":
                return Mistake((*self.keys, self.context["discriminator"].strip("'")), "is missing")
            case "too_short" | "too_long":
                low, high = self.context.get("min_length"), self.context.get("max_length")
                words = f"at least {low}" if self.kind == "too_short" else f"at most {high}"
                return Mistake(self.keys, f"must have {words} elements, got {self.context['actual_length']}")
            case "string_too_short":
                return Mistake(self.keys, "must not be empty")
            case "value_error" | "assertion_error":
                problem, _, hint = str(self.context["error"]).partition("\n")
                return Mistake(self.keys, problem, hint)
        return Mistake(self.keys, f"{self.text[:1].lower()}{self.text[1:]}, got {show(self.value)}")

    @staticmethod
    def _not_one_of(keys: Keys, value: Any, expected: str) -> Mistake:
        allowed = re.findall(r"'([^']*)'", expected) or re.findall(r"[^\s,]+", expected.replace(" or ", ", "))
        word = value if isinstance(value, str) else ""
        return Mistake(keys, f"{show(value)} is not allowed", suggest(word, allowed))


def _keys_in(data: Any, location: Sequence[int | str], *, missing: bool) -> Keys:
    """The parts of a pydantic location that exist in the data; names of alternatives are left out."""
    keys: list[int | str] = []
    for part in location:
        if _holds(data, part):
            keys.append(part)
            data = data[part]
    if missing:
        keys.append(location[-1])
    return tuple(keys)


def _holds(data: Any, part: int | str) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _value_at(data: Any, keys: Keys) -> Any:
    for key in keys:
        if not _holds(data, key):
            return None
        data = data[key]
    return data


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys allowed at a pydantic location below ``model``."""
    types_here = _models_or_containers(model)
    for part in location:
        inner = [t for here in types_here for t in _descend(here, part)]
        if inner:
            types_here = inner
        else:  # the part names an alternative of a union: keep the one meant, if it can be told
            types_here = [t for t in types_here if _is_alternative(t, part)] or types_here
    names = [name for here in types_here if _is_model(here) for name in _field_types(here)]
    return list(dict.fromkeys(names))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _field_types(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _descend(kind: Any, part: int | str) -> list[Any]:
    if _is_model(kind):
        fields = _field_types(kind)
        return _models_or_containers(fields[str(part)]) if part in fields else []
    arguments = get_args(kind)
    if isinstance(part, int) and get_origin(kind) in (list, tuple):
        return [t for a in arguments for t in _models_or_containers(a)]
    if get_origin(kind) is dict:
        return _models_or_containers(arguments[1])
    return []


def _models_or_containers(annotation: Any) -> list[Any]:
    """The alternatives of a type annotation, with ``Annotated`` and unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models_or_containers(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [t for a in get_args(annotation) for t in _models_or_containers(a)]
    return [annotation]


def _is_alternative(kind: Any, tag: int | str) -> bool:
    if not _is_model(kind):
        return False
    values: Callable[[Any], tuple[Any, ...]] = get_args
    literals = [v for t in _field_types(kind).values() if get_origin(t) is Literal for v in values(t)]
    return kind.__name__ == tag or tag in literals
