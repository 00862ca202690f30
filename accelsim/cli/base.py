"""What all commands share: exit codes, options, progress, and files that appear whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from accelsim.errors import AccelsimError, ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from accelsim.arch import Arch

WRONG_INPUT = 2
BUG = 3
CLOSED_PIPE = 141  # the shell's code for a closed pipe; 1 would say that values differ
INTERRUPTED = 130  # the shell's code for Ctrl-C
_F = TypeVar("_F", bound=Callable[..., Any])


class Commands(click.Group):
    """A group that turns every fault into one message and an exit code."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **more)  # prints --help and --version
        except OSError as error:
            sys.exit(_stdout_failed(error))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except AccelsimError as error:
            click.echo(str(error), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit):
            raise  # click knows what to do
        except Exception as error:
            if isinstance(error, OSError) and error.filename is None:  # files have names
                ctx.exit(_stdout_failed(error))
            if ctx.params.get("debug"):
                traceback.print_exc()
            if isinstance(error, MemoryError):
                click.echo(f"too large for the memory of this computer{f': {error}' if str(error) else ''}", err=True)
                ctx.exit(WRONG_INPUT)
            click.echo(_bug_text(error), err=True)
            ctx.exit(BUG)


def _stdout_failed(error: OSError) -> int:
    """The exit code when results cannot be printed; a reader that has seen enough (`| head`) needs no message."""
    with suppress(OSError, ValueError):  # what is still buffered must not fail once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    click.echo(f"the output cannot be written: {error.strerror or error}", err=True)
    return WRONG_INPUT


def _bug_text(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return (
        f"accelsim has a bug: {type(error).__name__}: {first}\n"
        "Please report it, with the command and its files; `accelsim --debug ...` shows the traceback."
    )


def machine_options(command: _F) -> _F:
    """``--arch`` and ``--set``."""
    command = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the machine, e.g. array.rows=32."
    )(command)
    return click.option("--arch", default="edge", show_default=True, metavar="FILE|NAME", help="The machine.")(command)


def compile_options(command: _F) -> _F:
    """``--batch``, ``--objective`` and ``--no-cache``."""
    command = click.option(
        "--no-cache", "cache", flag_value=False, default=True, help="Neither use nor keep plans of other runs."
    )(command)
    command = click.option(
        "--objective",
        type=click.Choice(["cycles", "energy", "edp"]),
        default="cycles",
        show_default=True,
        help="What the compiler minimises; edp is energy times time.",
    )(command)
    return click.option(
        "--batch", type=click.IntRange(min=1), help="Images at a time; 1, or as many as --input holds."
    )(command)


def level_options(command: _F) -> _F:
    """``--level`` and ``--timing-only``; use :func:`check_level` on what they give."""
    command = click.option("--timing-only", is_flag=True, help="Simulate time without values.")(command)
    return click.option(
        "--level",
        type=click.Choice(["cycle", "functional", "pe"]),
        default="cycle",
        show_default=True,
        help="cycle: values and time; functional: values alone; pe: as cycle, by every register of the array (slow).",
    )(command)


def check_level(level: str, timing_only: bool) -> None:
    """Refuse to simulate neither values nor time."""
    if timing_only and level == "functional":
        raise click.UsageError("--timing-only leaves out the values and --level functional the time; choose one.")


def load_machine(arch: str, settings: tuple[str, ...]) -> Arch:
    """The machine of ``--arch`` and ``--set``."""
    from accelsim.machine_file import load_arch, parse_settings

    return load_arch(arch, parse_settings(settings))


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Say on stderr what is being done, if somebody watches; the line disappears afterwards."""
    watched = sys.stderr.isatty()
    if watched:
        click.echo(text, err=True, nl=False)
    try:
        yield
    finally:
        if watched:
            click.echo("\r" + " " * len(text) + "\r", err=True, nl=False)


def check_target(path: str | None, option: str) -> None:
    """Refuse a file that could not be written, before any work is done. ``-`` is stdout."""
    if path is None or path == "-":
        return
    where = f"{option} {path}"
    if Path(path).is_dir():
        raise ConfigError(where, "", "this is a directory, not a file")
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(where, "", f"the folder {str(Path(path).parent)!r} does not exist")
    if not _is_device(Path(path)):
        _try_folder(folder, where, "the file")


def check_trace(path: str | None, level: str) -> None:
    """Refuse ``--trace`` where no time is simulated or no file can be written."""
    if path is None:
        return
    if path == "-":
        raise click.UsageError("--trace writes a file; give it a name, with .gz at the end to compress it.")
    if level == "functional":
        raise click.UsageError("--trace shows the time that --level functional leaves out; choose one.")
    check_target(path, "--trace")


def check_folder(path: str | None, option: str) -> None:
    """Refuse a folder that could not be made or filled."""
    if path is None:
        return
    where = f"{option} {path}"
    if Path(path).exists() and not Path(path).is_dir():
        raise ConfigError(where, "", "this is a file, not a folder")
    folder = Path(path).absolute()
    _try_folder(next(part for part in (folder, *folder.parents) if part.exists()), where, "the folder")


def _try_folder(folder: Path, where: str, what: str) -> None:
    """Refuse a folder in which nothing can be created, by creating something."""
    try:
        with tempfile.TemporaryDirectory(prefix=".accelsim-", dir=folder):
            pass
    except OSError as error:
        raise ConfigError(where, "", f"{what} cannot be written: {error.strerror or error}") from None


def _is_device(path: Path) -> bool:
    """``/dev/stdout`` and the like, which must never be replaced by a file."""
    return path.exists() and not path.is_file() and not path.is_dir()


def given(name: str) -> bool:
    """Whether an option of the running command was given, rather than left at its default."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


@contextmanager
def relocated(places: Mapping[str, str]) -> Iterator[None]:
    """Let messages about an argument name the option it came from; of one that is missing, the option it lacks."""
    try:
        yield
    except ConfigError as error:
        lacking = f"--{error.where}" if error.where.partition(" ")[0] in places else error.where
        error.where = places.get(error.where, lacking)
        raise


def read_numbers(path: str, option: str = "--input") -> NDArray[Any]:
    """The array of the ``.npy`` file of ``option``. Raises ConfigError."""
    import numpy as np

    from accelsim.nn.dataset import DAMAGE

    where = f"{option} {path}"
    try:
        with Path(path).open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise ConfigError(where, "", f"the file cannot be read: {error.strerror or error}") from None
    except DAMAGE:
        raise ConfigError(where, "", "not a .npy file of numbers, or cut short") from None
    if values.dtype.kind not in "fiu":
        raise ConfigError(where, "", "not a .npy file of numbers", "save one array with numpy.save")
    return values


def write_file(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path`` and then move it there: whole or not at all."""
    target = Path(path)
    device = _is_device(target)
    try:
        with tempfile.TemporaryDirectory(
            prefix=".accelsim-", dir=None if device else target.absolute().parent
        ) as folder:
            temporary = Path(folder) / target.name
            write(temporary)
            if device:
                target.write_bytes(temporary.read_bytes())
            else:
                os.replace(temporary, target)
    except OSError as error:
        raise ConfigError(str(path), "", f"the file cannot be written: {error.strerror or error}") from None


def trace_option(command: _F) -> _F:
    """``--trace``; use :func:`check_trace` on what it gives."""
    return click.option(
        "--trace", "trace_file", metavar="FILE", help="Write the timeline for the Perfetto viewer; .gz compresses it."
    )(command)


def write_text(path: str | Path, text: str) -> None:
    """:func:`write_file` for a text; ``-`` is stdout."""
    if str(path) == "-":
        click.echo(text, nl=False)
    else:
        write_file(path, lambda file: _write_utf8(file, text))


def _write_utf8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def json_text(data: Any) -> str:
    """JSON as accelsim writes it: keys in order of meaning, indented, a final newline."""
    import json

    return json.dumps(data, indent=2, allow_nan=False) + "\n"
