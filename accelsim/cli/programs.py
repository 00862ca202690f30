"""``accelsim compile``, ``exec``, ``asm``, ``disasm`` and ``check``: commands on programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.base import (
    check_folder,
    check_level,
    check_target,
    check_trace,
    json_text,
    level_options,
    load_machine,
    machine_options,
    progress,
    relocated,
    trace_option,
    write_file,
    write_text,
)
from accelsim.cli.targets import check_apart, inside, option, sources
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.arch import Arch
    from accelsim.isa.program import Program
    from accelsim.isa.state import MachineState
    from accelsim.trace import Trace

_ASSEMBLY = (".asm", ".s")


@click.command("exec")
@click.argument("program_file", metavar="PROGRAM")
@machine_options
@level_options
@click.option("--out", metavar="DIR", help="Save every output region there as NAME.npy.")
@click.option("--json", "json_file", metavar="FILE", help="Write every instruction's time; - prints nothing else.")
@click.option(
    "--input", "inputs", multiple=True, metavar="[NAME=]X.npy",
    help="Fill an input region: int8 of its shape, or floats to be quantised; repeatable.",
)
@trace_option
def execute(
    program_file: str,
    arch: str,
    settings: tuple[str, ...],
    level: str,
    timing_only: bool,
    out: str | None,
    json_file: str | None,
    trace_file: str | None,
    inputs: tuple[str, ...],
) -> None:
    """Run PROGRAM, a program file or assembly (.asm), on a machine."""
    _check_options(level, timing_only, out, json_file, trace_file, inputs)
    read = [option("PROGRAM", program_file), *sources(None, arch, inputs)]
    written = [option("--json", json_file), option("--trace", trace_file)]
    check_apart(read, written)
    machine = load_machine(arch, settings)
    program = read_program(program_file, machine)
    saved = [f"{region.name}.npy" for region in program.regions if region.role == "output"]
    check_apart(read, [*written, *inside(out, saved)])
    from accelsim.cli.inputs import note_zeros, read_inputs

    arrays, options = read_inputs(program, inputs)
    _check(program, program_file, machine, data=not timing_only)
    from accelsim import runner

    with progress(f"running {program_file} on {machine.name} ..."), relocated(options):
        trace, state = runner.execute(program, arch=machine, level=level, timing_only=timing_only, inputs=arrays)
    if out is not None:
        _save_outputs(program, state, out)
    if trace_file is not None and trace is not None:
        _save_trace(trace_file, Path(program_file).stem, program, trace, machine)
    if json_file is not None:
        write_text(json_file, json_text(_execution(program_file, program, machine, trace)))
    if program.full_hash and program.full_hash != machine.full_hash:
        click.echo(f"note: compiled for other timing than {machine.name}'s; values are the same", err=True)
    if not timing_only:
        note_zeros(program, arrays)
    if json_file != "-":
        _print_execution(program_file, program, machine, trace, timing_only)


def _check_options(
    level: str, timing_only: bool, out: str | None, json_file: str | None, trace_file: str | None, inputs: Sequence[str]
) -> None:
    """Refuse options that do not go together, and files that cannot be written."""
    check_level(level, timing_only)
    if inputs and timing_only:
        raise click.UsageError("--timing-only leaves out the values that --input gives; choose one.")
    check_target(json_file, "--json")
    check_folder(out, "--out")
    check_trace(trace_file, level)


@click.command("asm")
@click.argument("source", metavar="FILE.asm")
@machine_options
@click.option("-o", "--output", metavar="FILE.npz", help="The program; FILE.npz beside the source if not given.")
def assemble(source: str, arch: str, settings: tuple[str, ...], output: str | None) -> None:
    """Assemble FILE.asm into a program file."""
    target = output or str(Path(source).with_suffix(".npz"))
    check_target(target, "-o")
    check_apart([option("FILE.asm", source), *sources(None, arch)], [option("-o", target)])
    program = _parse(source, load_machine(arch, settings))
    save(program, target)
    click.echo(f"{target}: {describe(program)}")


@click.command("disasm")
@click.argument("program_file", metavar="PROGRAM")
@click.option("-o", "--output", metavar="FILE.asm", help="Write there, and the constants beside it.")
def disassemble(program_file: str, output: str | None) -> None:
    """Print a program file as assembly."""
    check_target(output, "-o")
    check_apart([option("PROGRAM", program_file)], [option("-o", output)])
    from accelsim.isa.asm import format_program
    from accelsim.isa.program import load_program

    program = load_program(program_file)
    if output is None:
        click.echo(format_program(program), nl=False)
        return
    import numpy as np

    constants = Path(output).with_suffix(".constants.npy")
    if program.image.size:
        write_file(constants, lambda file: np.save(file, program.image))
    write_text(output, format_program(program, image_file=constants.name if program.image.size else ""))


@click.command()
@click.argument("program_file", metavar="PROGRAM")
@machine_options
@click.option("--timing-only", is_flag=True, help="Accept reads of data that nobody wrote.")
def check(program_file: str, arch: str, settings: tuple[str, ...], timing_only: bool) -> None:
    """Check PROGRAM without running it: ranges, bounds, tokens, deadlock, races."""
    machine = load_machine(arch, settings)
    program = read_program(program_file, machine)
    _check(program, program_file, machine, data=not timing_only)
    click.echo(f"{program_file}: {describe(program)}, no faults on {machine.name}")


def read_program(path: str, machine: Arch) -> Program:
    """A program file, or assembly by its suffix."""
    if Path(path).suffix.lower() in _ASSEMBLY:
        return _parse(path, machine)
    from accelsim.isa.program import load_program

    return load_program(path)


def _parse(path: str, machine: Arch) -> Program:
    from accelsim.isa.asm import parse_program

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(path, "", f"the file cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", f"not a text file: byte {error.start} is not UTF-8") from None
    return parse_program(text, machine, where=path, base_dir=Path(path).parent)


def _check(program: Program, path: str, machine: Arch, *, data: bool) -> None:
    from accelsim.isa.check import check_program

    with progress(f"checking {path} ..."):
        check_program(program, machine, data=data)


def save(program: Program, target: str) -> None:
    from accelsim.isa.program import save_program

    write_file(target, lambda file: save_program(program, file))


def describe(program: Program) -> str:
    from accelsim.isa.program import program_hash

    count = len(program.instructions)
    return f"{count:,} instruction{'s' if count != 1 else ''}, program {program_hash(program)}"


def _save_outputs(program: Program, state: MachineState | None, folder: str) -> None:
    import numpy as np

    if state is None:
        raise ConfigError(f"--out {folder}", "", "there are no values to save", "leave out --timing-only")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for region in program.regions:
        if region.role == "output":
            values = state.read_region(region)
            write_file(Path(folder) / f"{region.name}.npy", lambda file, values=values: np.save(file, values))


def _save_trace(target: str, title: str, program: Program, trace: Trace, machine: Arch) -> None:
    from accelsim.isa.program import program_hash
    from accelsim.perfetto import trace_bytes, trace_text

    text = trace_text(
        program, trace, machine, title=title, version=version(), program_hash=program_hash(program)
    )
    write_file(target, lambda file: _write_bytes(file, trace_bytes(text, target)))


def _write_bytes(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def _execution(path: str, program: Program, machine: Arch, trace: Trace | None) -> dict[str, Any]:
    """The run as plain data: one entry per instruction; times are None when time was not simulated."""
    from accelsim.isa.program import program_hash

    rows = []
    for index, instr in enumerate(program.instructions):
        row: dict[str, Any] = {"index": index, "unit": instr.unit.name.lower()}
        for key, name in (("accepted", "accepted"), ("start", "started"), ("landed", "landed")):
            row[key] = None if trace is None else int(getattr(trace, name)[index])
        rows.append(row)
    return {
        "schema": 1,
        "accelsim": version(),
        "program": path,
        "program_hash": program_hash(program),
        "arch": machine.to_dict(),
        "arch_hash": machine.full_hash,
        "cycles": None if trace is None else trace.cycles,
        "instructions": rows,
    }


def version() -> str:
    """The installed version of accelsim."""
    from importlib.metadata import version as installed

    return installed("accelsim")


def _print_execution(path: str, program: Program, machine: Arch, trace: Trace | None, timing_only: bool) -> None:
    click.echo(f"{path} on {machine.name}: {describe(program)}")
    if trace is not None:
        from accelsim.cli.tables import print_table
        from accelsim.isa.protocol import Unit

        rows = []
        for unit in Unit:
            waits = ", ".join(f"{name} {cycles:,}" for name, cycles in trace.wait_cycles(unit).items())
            rows.append((unit.name.lower(), f"{trace.busy_cycles(unit):,}", waits))
        print_table(("unit", "busy cycles", "wait cycles"), rows, left=("unit", "wait cycles"))
        click.echo(f"{trace.cycles:,} cycles = {float(trace.cycles * 10**6 / machine.clock_hz):,.2f} us")
    if not timing_only:
        for region in program.regions:
            if region.role == "output":
                click.echo(f"output {region.name}: {region.dtype} {list(region.shape)}")
