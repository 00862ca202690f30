"""Suggestions for misspelt words."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LIST_AT_MOST = 12  # allowed words named in a hint


def closest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word most like ``word``, whatever its case; None when none is similar."""
    folded = {name.casefold(): name for name in allowed}
    close = get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.65)
    return folded[close[0]] if close else None


def suggest(word: str, allowed: Iterable[str], label: str = "allowed") -> str:
    """A hint for a word that is none of the allowed ones: ``did you mean 'rows'? allowed: rows, cols``."""
    names = list(allowed)
    best = closest(word, names)
    parts = [f"did you mean {best!r}?"] if best else []
    if names:
        listed = ", ".join(names[:_LIST_AT_MOST]) + (", ..." if len(names) > _LIST_AT_MOST else "")
        parts.append(f"{label}: {listed}")
    return " ".join(parts)
