"""The whole page: one file with its styles, its program and its data, that asks the network for nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from accelsim.errors import ConfigError
from accelsim.page.compare import comparison, letters
from accelsim.page.markup import details
from accelsim.page.run import Run, sections
from accelsim.page.timeline import timeline

SCRIPTS = ("decode.js", "tables.js", "spans.js", "paint.js", "describe.js", "timeline.js", "listen.js", "main.js")
"""In this order in one function, so that none of their names leave it."""


def page(runs: Sequence[Run]) -> str:
    """The report page of a run, or of several in comparison with the first; equal runs give equal text.

    Raises ValueError without a run.
    """
    if not runs:
        raise ValueError("a page needs a run")
    data = [timeline(run.program, run.trace) for run in runs]
    script = "\n".join(_own(name) for name in SCRIPTS)
    return Template(_own("page.html")).substitute(
        title=escape(_title(runs)),
        style=_own("page.css"),
        body=_body(runs),
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        script=f'"use strict";\n(() => {{\n{script}\n}})();',
    )


def save_page(runs: Sequence[Run], path: str | Path) -> None:
    """Write the page; the file appears whole or not at all. Raises ConfigError when it cannot be written."""
    target = Path(path)
    partial = target.with_suffix(f"{target.suffix}.part")
    text = page(runs)
    try:
        try:
            partial.write_text(text, encoding="utf-8", newline="\n")
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(str(path), "", f"the file cannot be written: {error.strerror or error}") from None


def _title(runs: Sequence[Run]) -> str:
    return runs[0].title if len(runs) == 1 else f"{len(runs)} runs: {', '.join(run.title for run in runs)}"


def _body(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return sections(runs[0], 1)
    parts = [
        details(f"{letter}: {run.title}", sections(run, place), opened=False)
        for place, (letter, run) in enumerate(zip(letters(len(runs)), runs), 1)
    ]
    return comparison(runs) + f'<section class="runs">{"".join(parts)}</section>'


def _own(name: str) -> str:
    """A file beside this one."""
    return files("accelsim.page").joinpath(name).read_text(encoding="utf-8").strip()
