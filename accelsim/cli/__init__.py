"""The command line. Only click and the standard library are imported here; every command imports the rest itself.

That keeps ``accelsim --help`` quick: a test looks at the imported modules.
"""

from __future__ import annotations

import gc
import os

import click

from accelsim.cli.base import Commands
from accelsim.cli.caches import cache_commands
from accelsim.cli.compile import compile_program
from accelsim.cli.energy import energy
from accelsim.cli.explain import diff, explain
from accelsim.cli.imports import import_files
from accelsim.cli.info import list_files, schema
from accelsim.cli.plot import plot
from accelsim.cli.programs import assemble, check, disassemble, execute
from accelsim.cli.quantize import export, quantize
from accelsim.cli.report import report
from accelsim.cli.results import results
from accelsim.cli.run import run
from accelsim.cli.sweeps import sweep


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="accelsim", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the Python traceback of an internal error.")
def main(debug: bool) -> None:
    """Compile int8 networks for a systolic-array accelerator and simulate them cycle by cycle.

    WORKLOAD and --arch take a path or a bundled name, see `accelsim list`. Exit codes: 0 good, 1 the values differ
    from the golden model, 2 wrong input, 3 a bug in accelsim.
    """
    # Set before numpy is imported. The products here are narrow: threads would wait for each other more than they add.
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # Hundreds of thousands of small objects live to the end: looking for cycles among them costs a twentieth of a run.
    gc.set_threshold(1_000_000, 50, 1000)


_COMMANDS = (
    run, quantize, export, explain, diff, report, plot, sweep, results, compile_program, execute, assemble, disassemble,
    check, energy, list_files, schema, import_files, cache_commands,
)  # fmt: skip
for _command in _COMMANDS:
    main.add_command(_command)
