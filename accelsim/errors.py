"""Every fault that accelsim can name, with fields instead of prose; the sentence is composed here only.

Exit codes: ``MismatchError`` is 1, every other :class:`AccelsimError` is the user's input (2),
and anything that is not an ``AccelsimError`` is our own bug (3).
"""

from __future__ import annotations

from dataclasses import dataclass, field


class AccelsimError(Exception):
    """Base of all faults accelsim raises on purpose."""

    exit_code = 2


@dataclass(eq=False)
class ConfigError(AccelsimError):
    """A file or an option is wrong; ``where`` is ``file:line:col`` or the option, ``key`` a dotted path."""

    where: str
    key: str
    problem: str
    hint: str = ""
    source: str = ""  # the offending line with a caret below it, ready to print

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        text = f"{self.where}: {key}{self.problem}"
        if self.hint:
            text += f" ({self.hint})"
        return text + (f"\n{self.source}" if self.source else "")


@dataclass(eq=False)
class ConfigErrors(AccelsimError):
    """All mistakes of one file, in the order of its lines."""

    errors: tuple[ConfigError, ...]

    def __str__(self) -> str:
        count = len(self.errors)
        return "\n".join(str(e) for e in self.errors) + f"\n{count} mistake{'s' if count != 1 else ''} found"


@dataclass(eq=False)
class GraphError(AccelsimError):
    """A layer of the network is impossible or not supported; ``place`` is ``file:line:col`` or the file, if known."""

    layer: str
    problem: str
    hint: str = ""
    place: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.layer}: {self.problem}" + (f" ({self.hint})" if self.hint else "")


@dataclass(eq=False)
class CapacityError(AccelsimError):
    """Something does not fit: by how much, made of what, and what would help; ``place`` as in :class:`GraphError`."""

    where: str
    resource: str  # "UB", "WGT", ...
    demand_bytes: int
    limit_bytes: int
    terms: tuple[tuple[str, int], ...] = ()
    levers: tuple[str, ...] = ()
    place: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        demand = f"needs {self.demand_bytes:,} bytes of {self.resource}"
        place = f"{self.place}: " if self.place else ""
        text = f"{place}{self.where}: {demand} and the machine has {self.limit_bytes:,}"
        if self.terms:
            text += "; made of " + ", ".join(f"{name} {size:,}" for name, size in self.terms)
        if self.levers:
            text += " (" + "; ".join(self.levers) + ")"
        return text


@dataclass(eq=False)
class EncodingError(AccelsimError):
    """A value does not fit its instruction field."""

    instruction: str
    field: str
    value: int
    bits: int
    low: int = 0
    problem: str = ""  # said instead of the range, where the range is not the reason

    def __str__(self) -> str:
        if self.problem:
            return f"{self.instruction}.{self.field}: {self.value} {self.problem}"
        high = self.low + (1 << self.bits) - 1
        return f"{self.instruction}.{self.field}: {self.value} is outside {self.low}..{high} ({self.bits} bits)"


@dataclass(eq=False)
class AsmError(AccelsimError):
    """A line of assembly cannot be read."""

    where: str
    problem: str
    hint: str = ""
    source: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" + (f" ({self.hint})" if self.hint else "")
        return text + (f"\n{self.source}" if self.source else "")


@dataclass(eq=False)
class AsmErrors(AccelsimError):
    """All mistakes of one file of assembly, in the order of its lines."""

    errors: tuple[AsmError, ...]

    def __str__(self) -> str:
        count = len(self.errors)
        return "\n".join(str(e) for e in self.errors) + f"\n{count} mistake{'s' if count != 1 else ''} found"


@dataclass(eq=False)
class ProgramError(AccelsimError):
    """A program breaks a rule of the instruction set."""

    index: int
    text: str
    problem: str
    origin: str = ""
    hint: str = ""

    def __str__(self) -> str:
        origin = f" [{self.origin}]" if self.origin else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"instruction {self.index}{origin}: {self.problem}{hint}\n    {self.text}"


@dataclass(eq=False)
class RaceError(ProgramError):
    """Two instructions touch the same place and nothing orders them."""

    other: int = -1
    other_text: str = ""
    place: str = ""
    other_origin: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        first = f"{self.other}{f' [{self.other_origin}]' if self.other_origin else ''}: {self.other_text}"
        second = f"{self.index}{f' [{self.origin}]' if self.origin else ''}: {self.text}"
        return (
            f"race: instructions {self.other} and {self.index} both touch {self.place}: "
            f"{self.problem}{hint}\n    {first}\n    {second}"
        )


@dataclass(eq=False)
class DeadlockError(AccelsimError):
    """The machine stopped: per unit, the instruction and what it waits for."""

    cycle: int
    waiting: tuple[str, ...]

    def __str__(self) -> str:
        return f"deadlock in cycle {self.cycle}: " + "; ".join(self.waiting)


@dataclass(eq=False)
class MismatchError(AccelsimError):
    """The accelerator's values differ from the golden model's."""

    exit_code = 1

    layer: str
    index: tuple[int, ...]
    expected: int
    got: int
    differ: int
    total: int

    def __str__(self) -> str:
        return (
            f"{self.layer}: {self.differ} of {self.total} values differ from the golden model; "
            f"first at {list(self.index)}: expected {self.expected}, got {self.got}"
        )


@dataclass(eq=False)
class MissingExtraError(AccelsimError):
    """An optional library is needed and not installed."""

    feature: str
    extra: str

    def __str__(self) -> str:
        return f"{self.feature} needs the extra '{self.extra}': pip install 'accelsim[{self.extra}]'"
