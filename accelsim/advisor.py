"""Explaining a run: the choices of its compiler, and the run repeated with one change of the machine at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelsim.arch import Arch, flatten
from accelsim.cache import Cache
from accelsim.errors import ConfigError
from accelsim.explain import Change, Explanation, standard_changes, try_changes
from accelsim.job import compile_for, placed
from accelsim.nn.loader import Network
from accelsim.runner import open_network, run
from accelsim.spelling import suggest

Progress = Callable[[str], None]
"""Told what is being done."""


def explain(
    report: Mapping[str, Any],
    *,
    workload: str | Path | None = None,
    tries: Mapping[str, Any] | None = None,
    cache: bool = True,
    progress: Progress = lambda text: None,
) -> Explanation:
    """Explain the run of a report: what bound each layer, what was chosen for it, and what changes of the machine do.

    The network is the one that was named when the report was made, or ``workload``. ``tries`` are changes by dotted
    key, each tried by itself after the standard ones. Raises ConfigError for a report without time, or of another
    network or version.
    """
    wanted = report["totals"]["cycles"]
    if wanted is None:
        raise ConfigError(report["workload"], "", "no time was simulated, so there is nothing to explain")
    arch, options = Arch.from_dict(report["arch"]), report["options"]
    batch, objective = options["batch"], options["objective"]
    name = workload if workload is not None else options.get("workload") or report["workload"]

    changes = [*standard_changes(arch), *_own(tries or {}, arch)]
    network = open_network(name)

    def again(machine: Arch) -> Mapping[str, Any]:
        progress(f"running {report['workload']} on {_difference(arch, machine)} ...")
        return run(
            network, arch=machine, batch=batch, objective=objective, timing_only=True, cache=cache
        ).report  # fmt: skip

    _check_same(report, again(arch), str(name))
    effects = try_changes(arch, changes, again)
    progress("asking the compiler for its choices ...")
    return Explanation(report=report, effects=effects, choices=_choices(network, arch, batch, objective, cache))


def _own(tries: Mapping[str, Any], arch: Arch) -> Sequence[Change]:
    """Changes that somebody asked for; a machine may turn out to be impossible, but its keys must exist."""
    known = [key for key in flatten(arch.to_dict()) if key not in ("schema", "name")]
    for key in tries:
        if key not in known:
            raise ConfigError(f"--try {key}={tries[key]}", key, "unknown key", suggest(key, known))
    return [Change(name=f"{key}={value}", settings={key: value}) for key, value in tries.items()]


def _check_same(report: Mapping[str, Any], again: Mapping[str, Any], name: str) -> None:
    """The same network gives the same layers and cycles."""
    layers = [[row["name"] for row in each["layers"]] for each in (report, again)]
    if layers[0] != layers[1]:
        raise ConfigError(name, "", f"is not the network of this result, {report['workload']}", "name it: --workload")
    before, now = report["totals"]["cycles"], again["totals"]["cycles"]
    if before != now:
        problem = f"takes {now:,} cycles, not the {before:,} of this result"
        raise ConfigError(name, "", problem, "it changed, or accelsim did: run it again")


def _choices(network: Network, arch: Arch, batch: int, objective: str, cache: bool) -> dict[str, list[str]]:
    """By layer, what the compiler says of it."""
    stages: dict[str, str] = {}
    with placed(network):
        graph = network.quantize()
        compile_for(graph, arch, batch, objective, Cache() if cache else None, stages.__setitem__, time_only=True)
    choices: dict[str, list[str]] = {}
    for line in stages["choose"].splitlines():
        layer, _, text = line.partition(": ")
        choices.setdefault(layer, []).append(text)
    return choices


def _difference(arch: Arch, machine: Arch) -> str:
    """How ``machine`` is called: by what differs."""
    one, other = arch.to_dict(), machine.to_dict()
    found = [
        f"{group}.{key}={value}"
        for group, keys in other.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
        if one[group][key] != value
    ]
    return f"{arch.name} with {', '.join(found)}" if found else arch.name
