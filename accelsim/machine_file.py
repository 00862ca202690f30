"""Reads machine files: ``extends`` chains, defaults of ``configs/base.yaml``, ``--set`` overrides, cross checks.

Every value of the merged machine remembers the layer it came from, so a rule between values that is broken is
reported where the last word was spoken: the option, the file, or the file it extends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.arch import FOLLOWS_COLS, Arch, flatten, unflatten
from accelsim.bundled import folder, presets, resolve
from accelsim.energy_arch import KEYS
from accelsim.energy_table import read_table
from accelsim.errors import ConfigError, ConfigErrors
from accelsim.machine_schema import MachineFile, Settings
from accelsim.spelling import suggest
from accelsim.validation import check_data, sort_by_line
from accelsim.yamlio import Document, dotted, dump_yaml, parse_value, read_document

PRESET = "dram.preset"
TABLE = "energy.table"
ENERGY = "energy."
_FRAME = frozenset({"schema", "extends"})  # keys about the file, not about the machine
_LISTED = 20  # keys of a group named in a message


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """Some keys with their values, and how to complain about one of them."""

    values: dict[str, Any]  # usable ones, by dotted key
    bad: frozenset[str]  # dotted keys whose values are not usable
    error: Callable[[str, str, str], ConfigError]  # (dotted key, problem, hint)


def load_arch(name_or_path: str | Path | Arch = "edge", set: Mapping[str, Any] | None = None) -> Arch:
    """The machine of a file, a bundled name or an :class:`Arch`, with the dotted keys of ``set`` changed.

    Raises :class:`ConfigErrors` with every mistake of every file involved and of ``set``, and :class:`ConfigError`
    when there is no such file.
    """
    errors: list[ConfigError] = []
    if isinstance(name_or_path, Arch):
        layers = [_arch_layer(name_or_path)]
    else:
        layers = _file_layers(resolve(name_or_path, "configs"), errors)
    layers.append(_set_layer(set or {}, layers[0].values, errors))
    arch = _build(layers, errors)
    errors += _idle_settings(set or {}, arch)
    if errors:
        raise ConfigErrors(sort_by_line(errors))
    return arch


def _idle_settings(settings: Mapping[str, Any], arch: Arch) -> list[ConfigError]:
    """Numbers of the energy table that an option changes although this machine does not use them."""
    found = []
    for key, value in settings.items():
        reason = arch.energy.idle_because(key.removeprefix(ENERGY))
        if key.startswith(ENERGY) and reason:
            found.append(ConfigError(f"--set {key}={_as_typed(value)}", key, f"has no effect: {reason}"))
    return found


def dump_arch(arch: Arch) -> str:
    """The effective machine as the text of a machine file, complete; it loads back to an equal ``Arch``."""
    return dump_yaml(arch.to_dict())


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """``key=value`` texts of ``--set`` as a dictionary for :func:`load_arch`; values are read like YAML.

    Raises :class:`ConfigErrors` for texts without a key or ``=`` and for keys given twice.
    """
    settings: dict[str, Any] = {}
    errors = []
    for text in texts:
        where = f"--set {text}"
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            errors.append(ConfigError(where, "", "expected key=value", "for example --set array.rows=32"))
        elif key in settings:
            errors.append(ConfigError(where, key, "given twice"))
        else:
            try:
                settings[key] = parse_value(value, where)
            except ConfigError as error:
                errors.append(error)
    if errors:
        raise ConfigErrors(tuple(errors))
    return settings


def _build(layers: list[_Layer], errors: list[ConfigError]) -> Arch:
    """Merge the layers, later ones over earlier ones; broken rules between usable values are added to ``errors``."""
    merged: dict[str, Any] = {}
    source: dict[str, int] = {}
    for rank, layer in enumerate(layers):
        merged.update(layer.values)
        source.update(dict.fromkeys(layer.values, rank))
    arch = Arch.from_dict(unflatten(merged))
    bad = frozenset().union(*(layer.bad for layer in layers))
    for problem in arch.problems():
        # A value that is not usable has been reported, and what stands in for it here is not what was meant.
        if not bad.intersection(problem.keys):
            culprit = max(problem.keys, key=lambda key: source[key])
            errors.append(layers[source[culprit]].error(culprit, problem.problem, problem.hint))
    return arch


def _file_layers(path: Path, errors: list[ConfigError]) -> list[_Layer]:
    """The layers of a file and of those it extends, defaults first; mistakes are added to ``errors``."""
    base = read_document(folder("configs") / "base.yaml")
    known = frozenset({"name", PRESET, *_table_keys(), *flatten(base.data)})
    chain = [path]
    layers = []
    while True:
        document = read_document(chain[-1])
        layers.append(_document_layer(document, known, errors))
        parent = _parent(document, chain, errors)
        if parent is None:
            break
        chain.append(parent)
    layers.append(_document_layer(base, known, errors))
    layers[0].values.setdefault("name", path.stem)
    return layers[::-1]


def _table_keys() -> list[str]:
    """The keys that ``energy.table`` sets."""
    return [f"{ENERGY}{key}" for key in ("name", "unit", "node_nm", *KEYS)]


def _parent(document: Document, chain: list[Path], errors: list[ConfigError]) -> Path | None:
    """The file that a file extends, if any; ``chain`` are those read so far."""
    extends = document.data.get("extends") if isinstance(document.data, dict) else None
    if not isinstance(extends, str) or not extends:
        return None
    try:
        parent = resolve(extends, "configs", beside=Path(document.path))
    except ConfigError as error:
        errors.append(document.error(("extends",), error.problem, error.hint))
        return None
    if parent.resolve() in [path.resolve() for path in chain]:
        names = " -> ".join(path.name for path in (*chain, parent))
        errors.append(document.error(("extends",), f"a machine cannot extend itself: {names}"))
        return None
    return parent


def _document_layer(document: Document, known: frozenset[str], errors: list[ConfigError]) -> _Layer:
    """Check one file by itself."""

    def error(key: str, problem: str, hint: str) -> ConfigError:
        return document.error(key.split("."), problem, hint)

    _, mistakes = check_data(document.data, MachineFile)
    errors += document.mistakes
    errors += [document.error(m.keys, m.problem, m.hint, key=m.at_key) for m in mistakes]
    wrong = {dotted(mistake.keys) for mistake in mistakes}
    flat = flatten(document.data) if isinstance(document.data, dict) else {}
    bad = {key for key in known if any(key == w or key.startswith(f"{w}.") for w in wrong)}
    values = {key: value for key, value in flat.items() if key in known - bad - _FRAME}
    layer = _with_preset(_Layer(values=values, bad=frozenset(bad), error=error), errors)
    return _with_table(layer, Path(document.path), errors)


def _with_table(layer: _Layer, beside: Path, errors: list[ConfigError]) -> _Layer:
    """The layer with its ``energy.table`` replaced by the numbers of that table, below the layer's own keys."""
    values = dict(layer.values)
    name = values.pop(TABLE, None)
    if name is None:
        return layer
    below: dict[str, Any] = {}
    try:
        below = read_table(name, beside=beside).settings()
    except ConfigErrors as mistakes:
        errors += mistakes.errors
    except ConfigError as mistake:
        errors.append(layer.error(TABLE, mistake.problem, mistake.hint))

    def error(key: str, problem: str, hint: str) -> ConfigError:
        return layer.error(TABLE if key in below and key not in values else key, problem, hint)

    order = {**values, **below}
    return _Layer(values={**order, **values}, bad=layer.bad, error=error)


def _with_preset(layer: _Layer, errors: list[ConfigError]) -> _Layer:
    """The layer with its ``dram.preset`` replaced by what it stands for, below the layer's own keys."""
    values = dict(layer.values)
    name = values.pop(PRESET, None)
    if name is None:
        return layer
    known = presets()
    if name not in known:
        errors.append(layer.error(PRESET, f"no such preset: {name!r}", suggest(name, known)))
        return _Layer(values=values, bad=layer.bad | {PRESET}, error=layer.error)
    preset = flatten(read_document(known[name]).data)

    def error(key: str, problem: str, hint: str) -> ConfigError:
        return layer.error(key if key in values else PRESET, problem, hint)

    below = {key: value for key, value in preset.items() if key not in _FRAME}
    return _Layer(values={**below, **values}, bad=layer.bad, error=error)


def _arch_layer(arch: Arch) -> _Layer:
    """An ``Arch`` as the lowest layer; ``alu.lanes`` follows ``array.cols`` as in :meth:`Arch.replace`."""
    values = {k: v for k, v in flatten(arch.to_dict()).items() if k not in _FRAME}
    if arch.alu.lanes == arch.array.cols:
        values["alu.lanes"] = FOLLOWS_COLS
    return _Layer(
        values=values,
        bad=frozenset(),
        error=lambda key, problem, hint: ConfigError(f"arch {arch.name}", key, problem, hint),
    )


def _set_layer(settings: Mapping[str, Any], known: Mapping[str, Any], errors: list[ConfigError]) -> _Layer:
    """The overrides as the highest layer; mistakes are added to ``errors``."""

    def error(key: str, problem: str, hint: str) -> ConfigError:
        return ConfigError(f"--set {key}={_as_typed(settings[key])}", key, problem, hint)

    allowed = ["name", *(key for key in known if key != "name"), PRESET, TABLE]
    good: dict[str, Any] = {}
    for key, value in settings.items():
        if key in allowed:
            good[key] = value
            continue
        group = [other for other in allowed if other.startswith(f"{key}.")]
        if group:
            listed = ", ".join(group[:_LISTED]) + (", ..." if len(group) > _LISTED else "")
            errors.append(error(key, "names a group of keys", f"set one of {listed}"))
        else:
            errors.append(error(key, "unknown key", suggest(key, allowed)))
    _, mistakes = check_data(unflatten(good), Settings)
    bad = {_set_key(good, mistake.keys) for mistake in mistakes}
    errors += [error(_set_key(good, m.keys), m.problem, m.hint) for m in mistakes]
    values = {key: value for key, value in good.items() if key not in bad}
    layer = _with_preset(_Layer(values=values, bad=frozenset(bad), error=error), errors)
    return _with_table(layer, Path(), errors)


def _set_key(settings: Mapping[str, Any], keys: Iterable[str | int]) -> str:
    """The override that a place in the nested data belongs to: a wrong value may itself be a group or a list."""
    parts = [str(key) for key in keys]
    while ".".join(parts) not in settings:
        parts.pop()
    return ".".join(parts)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
