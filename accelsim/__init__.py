"""accelsim: a cycle-level simulator of a systolic-array DNN accelerator with a matching compiler.

``accelsim.run("lenet", arch="edge")`` compiles, simulates and checks a network and returns a :class:`Result`.
Names are imported when they are first used, so that ``import accelsim`` and the command line start quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.arch import Arch as Arch
    from accelsim.dse.explore import sweep as sweep
    from accelsim.dse.result import SweepResult as SweepResult
    from accelsim.machine_file import load_arch as load_arch
    from accelsim.result import Result as Result
    from accelsim.runner import compile_file as compile  # noqa: A004
    from accelsim.runner import evaluate as evaluate
    from accelsim.runner import execute as simulate
    from accelsim.runner import open_network as load_network
    from accelsim.runner import run as run

_PUBLIC = {
    "Arch": ("accelsim.arch", "Arch"),
    "Result": ("accelsim.result", "Result"),
    "SweepResult": ("accelsim.dse.result", "SweepResult"),
    "compile": ("accelsim.runner", "compile_file"),
    "evaluate": ("accelsim.runner", "evaluate"),
    "load_arch": ("accelsim.machine_file", "load_arch"),
    "load_network": ("accelsim.runner", "open_network"),
    "run": ("accelsim.runner", "run"),
    "simulate": ("accelsim.runner", "execute"),
    "sweep": ("accelsim.dse.explore", "sweep"),
}

__all__ = [
    "Arch", "Result", "SweepResult", "compile", "evaluate", "load_arch", "load_network", "run", "simulate", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
