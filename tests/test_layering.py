"""The walls of the house: who may import whom, where libraries may be used, and no numbers in ``hw``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import accelsim

ROOT = Path(accelsim.__file__).parent

ALLOWED = {
    "errors": set(),
    "numerics": set(),
    "spelling": set(),
    "units": {"spelling"},
    "dram_arch": {"spelling", "units"},
    "energy_arch": {"dram_arch", "spelling", "units"},
    "arch": {"dram_arch", "energy_arch", "errors", "spelling", "units"},
    "bundled": {"errors", "spelling"},
    "yamlio": {"errors"},
    "validation": {"errors", "spelling", "yamlio"},
    "energy_schema": {"energy_arch", "spelling", "units", "validation"},
    "energy_table": {"bundled", "energy_arch", "energy_schema", "errors", "spelling", "validation", "yamlio"},
    "cacti": {"energy_arch", "errors", "spelling", "yamlio"},
    "machine_schema": {"arch", "dram_arch", "energy_schema", "units", "validation"},
    "machine_file": {"arch", "bundled", "energy_arch", "energy_table", "errors", "machine_schema", "spelling",
                     "validation", "yamlio"},
    "isa": {"isa", "errors", "numerics", "arch", "spelling"},
    "nn": {"nn", "errors", "numerics", "spelling", "validation", "yamlio"},
    "onnx": {"onnx", "errors", "nn", "numerics", "spelling"},
    "timing": {"arch", "dram_arch", "isa"},
    "cyclesplit": {"isa.protocol"},
    "trace": {"arch", "cyclesplit", "isa"},
    "verdict": {"arch", "isa.protocol", "trace"},
    "occupancy": {"arch", "isa", "trace"},
    "perfetto": {"arch", "isa", "occupancy", "trace"},
    "hw": {"hw", "errors", "arch", "dram_arch", "isa.protocol", "timing", "trace"},
    "cache": set(),
    "compiler": {"compiler", "cache", "energy", "errors", "arch", "isa", "numerics", "timing", "nn.graph", "nn.shapes"},
    "prepared": {"arch", "cache", "compiler", "errors", "isa", "nn.facts", "nn.graph"},
    "actions": {"arch", "isa", "timing"},
    "energy": {"actions", "arch", "energy_arch", "isa"},
    "area": {"arch", "energy", "energy_arch", "isa"},
    "power": {"actions", "arch", "cyclesplit", "energy", "timing", "trace"},
    "energy_report": {"actions", "arch", "area", "energy", "energy_arch", "power", "trace"},
    "report": {"actions", "arch", "cyclesplit", "energy_report", "isa.protocol", "trace", "verdict"},
    "execution": {"arch", "errors", "hw", "isa", "nn.dataset", "nn.feeds", "nn.graph", "nn.scales",
                  "spelling", "trace"},
    "page": {"page", "arch", "energy_report", "errors", "isa", "machine_file", "plots", "trace"},
    "views": {"arch", "errors", "execution", "isa", "page", "plots", "trace"},
    "report_reader": {"errors"},
    "result": {"arch", "errors", "isa", "machine_file", "nn.dataset", "perfetto", "report", "report_reader", "trace",
               "views"},
    "job": {"actions", "arch", "cache", "compiler", "energy", "errors", "execution", "hw", "isa", "nn", "prepared",
            "report", "result", "trace"},
    "networks": {"bundled", "errors", "nn", "onnx"},
    "runner": {"arch", "cache", "compiler", "errors", "execution", "isa", "job", "machine_file", "networks", "nn",
               "result"},
    "quantizer": {"errors", "job", "nn", "onnx", "yamlio"},
    "plots": {"plots", "arch", "cyclesplit", "errors", "isa", "occupancy", "trace"},
    "explain": {"arch", "cyclesplit", "dram_arch", "errors", "spelling"},
    "advisor": {"arch", "cache", "errors", "explain", "job", "nn.loader", "runner", "spelling"},
    "compare": {"arch"},
    "dse": {"dse", "arch", "area", "bundled", "cache", "compiler", "dram_arch", "errors", "execution", "job",
            "machine_file", "machine_schema", "networks", "nn", "plots", "prepared", "spelling", "units", "validation",
            "yamlio"},
    "cli": {"cli", "advisor", "arch", "bundled", "cache", "cacti", "compare", "dse", "energy_arch", "energy_report",
            "energy_table", "errors", "isa", "machine_file", "machine_schema", "networks", "nn", "page", "perfetto",
            "plots", "quantizer", "report", "report_reader", "result", "runner", "spelling", "trace"},
    "__main__": {"cli"},
    "__init__": {"arch", "dse", "machine_file", "nn", "report", "result", "runner"},
}  # fmt: skip
"""What each module or package may import, as names below ``accelsim``; a package stands for all it holds."""

LIBRARIES = {
    "simpy": {"hw"},
    "onnx": {"onnx/library"},
    "google": {"onnx/library"},  # the parser under onnx
    "yaml": {"yamlio"},
    "pydantic": {"validation", "machine_schema", "energy_schema", "nn/schema", "nn/schema_values",
                 "nn/stored_schema", "dse/schema"},
    "click": {"cli"},
    "rich": {"cli/tables"},
    "matplotlib": {"plots"},
    "numpy": {"numerics", "isa", "nn", "onnx", "timing", "cyclesplit", "trace", "hw", "compiler", "report", "result",
              "execution", "job", "networks", "prepared", "runner", "cli", "verdict", "occupancy", "perfetto",
              "actions", "energy", "power", "dse/explore", "page", "plots"},
}  # fmt: skip
"""Third-party libraries and the only modules or packages that may import them."""

LATE_IMPORTS = {"cli", "__init__"}
EXTRAS = {"pandas", "onnx", "google"}  # of optional extras: slow or absent, so imported where they are used


@dataclass(frozen=True)
class Import:
    """One imported module by its dotted name; ``late``: inside a function."""

    line: int
    module: str
    late: bool


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """``isa/asm`` for ``accelsim/isa/asm.py``; a package's ``__init__`` has the package's name."""
    relative = path.relative_to(ROOT).with_suffix("")
    return "/".join(relative.parts[:-1] if relative.name == "__init__" and len(relative.parts) > 1 else relative.parts)


def imports(path: Path) -> Iterator[Import]:
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), late=False)


def _imports(node: ast.AST, *, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(child.lineno, alias.name, late)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import in line {child.lineno}"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield Import(child.lineno, whole if _is_module(whole) else str(child.module), late)
        inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _imports(child, late=inside)


def _is_module(dotted: str) -> bool:
    if not dotted.startswith("accelsim."):
        return False
    path = ROOT.joinpath(*dotted.split(".")[1:])
    return path.with_suffix(".py").is_file() or path.is_dir()


def _covers(allowed: set[str], name: str) -> bool:
    return any(name == entry or name.startswith(f"{entry}.") for entry in allowed)


def test_every_module_has_a_place() -> None:
    assert {name_of(path).split("/")[0] for path in modules()} <= set(ALLOWED)


def test_the_allowed_directions_hold_no_circle() -> None:
    graph = {module: {name.split(".")[0] for name in allowed} - {module} for module, allowed in ALLOWED.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("isa") < order.index("hw") < order.index("runner") < order.index("cli")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_downwards(path: Path) -> None:
    allowed = ALLOWED[name_of(path).split("/")[0]]
    for found in imports(path):
        package, _, name = found.module.partition(".")
        if package == "accelsim":
            assert _covers(allowed, name), f"line {found.line}: may not import accelsim.{name}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_libraries_stay_in_their_place(path: Path) -> None:
    module = name_of(path)
    for found in imports(path):
        library = found.module.split(".")[0]
        if library == "accelsim" or library in sys.stdlib_module_names:
            continue
        assert library in LIBRARIES, f"line {found.line}: {library} has no place"
        homes = LIBRARIES[library]
        assert module in homes or module.split("/")[0] in homes, f"line {found.line}: {library} may not be used here"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_late_imports(path: Path) -> None:
    if name_of(path).split("/")[0] not in LATE_IMPORTS:
        late = [found for found in imports(path) if found.late and found.module.split(".")[0] not in EXTRAS]
        assert [found.line for found in late] == []


@pytest.mark.parametrize("path", [p for p in modules() if name_of(p).startswith("hw")], ids=name_of)
def test_hw_holds_no_cycle_constants(path: Path) -> None:
    """Times belong to ``timing``: in ``hw`` only 0, 1 and -1 are written, and 2 never as a number of cycles."""
    numbers = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
    ]
    assert [(line, value) for line, value in numbers if value not in (0, 1)] == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_errors_are_not_hidden(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None] == []
    raised = [ast.unparse(n.exc) for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.exc is not None]
    assert [text for text in raised if "NotImplementedError" in text] == []


def test_oracles_use_nothing_they_judge() -> None:
    """Oracles may know the shared types and declared effects (which have a witness), never code that computes."""
    judged = {"timing", "hw", "compiler", "nn.golden", "nn.quality", "nn.quantize", "nn.ranges", "nn.scales",
              "nn.tables", "isa.semantics",
              "isa.functional", "isa.check", "isa.races", "isa.order", "numerics", "trace", "cyclesplit",
              "actions", "energy", "area", "power", "energy_table", "energy_report"}  # fmt: skip
    for path in sorted((Path(__file__).parent / "oracles").glob("*.py")):
        for found in imports(path):
            package, _, name = found.module.partition(".")
            types = name in {f"compiler.{module}" for module in ("bands", "chain", "ops", "packing", "plan", "work")}
            assert package != "accelsim" or types or not _covers(judged, name), f"{path.name}: imports {found.module}"
