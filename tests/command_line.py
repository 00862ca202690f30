"""Running the command line inside a test."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from accelsim.cli import main

PROGRAM = """\
# copies four bytes through the chip
.region source int8 [4] = zeros input
.region result int8 [4] = zeros output
load memory=ub dram=source run=4 signal=store
store memory=ub dram=result run=4 wait=load
halt on=store
"""


def accelsim(*arguments: str) -> Result:
    """``accelsim ARGUMENTS`` in the current folder."""
    return CliRunner().invoke(main, arguments, prog_name="accelsim")


def written(folder: Path) -> set[str]:
    """Every file and folder below ``folder``."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
