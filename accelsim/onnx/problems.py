"""What is wrong with a model: every node that cannot be run, gathered into one error."""

from __future__ import annotations

from dataclasses import dataclass, field

from accelsim.errors import ConfigError, ConfigErrors

SHOWN_NAME = 80


class Refusal(Exception):
    """One node cannot be run: why, and what would help; ``label`` names it if it is not the one being read."""

    def __init__(self, problem: str, hint: str = "", label: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.label = label


class Skipped(Exception):
    """A node reads what an earlier node failed to give; there is nothing to say about it."""


@dataclass
class Problems:
    """The mistakes of one file."""

    path: str
    errors: list[ConfigError] = field(default_factory=list)

    def add(self, key: str, problem: str, hint: str = "") -> None:
        """One more; ``key`` is the node, input or weight at fault, or empty for the whole file."""
        self.errors.append(ConfigError(self.path, key, problem, hint))

    def finish(self) -> None:
        """Raises ConfigErrors if there are any."""
        if self.errors:
            raise ConfigErrors(tuple(self.errors))


def shown(name: str) -> str:
    """A name from the file as a message may print it: no control characters, not too long."""
    text = "".join(char if char.isprintable() else "?" for char in name)
    return text if len(text) <= SHOWN_NAME else text[: SHOWN_NAME - 3] + "..."
