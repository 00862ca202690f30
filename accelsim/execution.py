"""Running a program: values in program order, values and time together, or time alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.errors import ConfigError
from accelsim.hw.array import Operands
from accelsim.hw.machine import simulate
from accelsim.hw.units import RegisterArrayUnit
from accelsim.isa import functional
from accelsim.isa.effects import effects, tasks
from accelsim.isa.instructions import Gemm, Instr, Load
from accelsim.isa.probes import Recorder
from accelsim.isa.program import DramRegion, Program
from accelsim.isa.protocol import Memory
from accelsim.isa.semantics import execute as execute_instruction
from accelsim.isa.state import MachineState
from accelsim.isa.windows import strided
from accelsim.nn.dataset import as_float32
from accelsim.nn.feeds import Feeds, by_name
from accelsim.nn.graph import QGraph, Tensor
from accelsim.nn.scales import quantize_values
from accelsim.spelling import suggest
from accelsim.trace import Trace

LEVELS = ("cycle", "functional", "pe")


def check_level(level: str, timing_only: bool) -> None:
    """Raises ConfigError for a level that does not exist, or that leaves nothing to simulate."""
    if level not in LEVELS:
        raise ConfigError(where="level", key="", problem=f"expected {' or '.join(LEVELS)}, got {level!r}")
    if timing_only and level == "functional":
        raise ConfigError(where="level", key="", problem="functional leaves out the time and timing_only the values")


def execute(
    program: Program,
    *,
    arch: Arch,
    level: str = "cycle",
    timing_only: bool = False,
    inputs: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[Trace | None, MachineState | None]:
    """Run a checked program; returns (trace, final memories), each None when not simulated.

    ``inputs`` are the values of input regions by name, of the region's shape and type, or floating-point to be
    quantised as the region says; a region that is not named keeps the program's own data, or zeros. Raises ConfigError
    for inputs that do not fit (at ``input NAME``), and when the program was compiled for a machine of another shape.
    """
    check_level(level, timing_only)
    if timing_only and inputs:
        raise ConfigError("inputs", "", "timing_only leaves out the values")
    written = [(_input_region(program, name), array) for name, array in (inputs or {}).items()]
    contents = [(region, region_values(region, array)) for region, array in written]
    if program.shape_hash and program.shape_hash != arch.shape_hash:
        raise ConfigError(
            where="--arch",
            key="",
            problem=f"the program was compiled for another machine than {arch.name}",
            hint="sizes and dataflow must be those it was compiled for; timing may differ",
        )
    if timing_only:
        return run_time(program, arch, level), None
    state = MachineState(arch, program.dram_bytes)
    state.load_program(program)
    for region, values in contents:
        state.write_region(region, values)
    return run_values(program, arch, state, level, None), state


def _input_region(program: Program, name: str) -> DramRegion:
    regions = {region.name: region for region in program.regions if region.role == "input"}
    if name not in regions:
        raise ConfigError(f"input {name}", "", "the program has no such input region", suggest(name, regions))
    return regions[name]


def region_values(region: DramRegion, array: NDArray[Any]) -> NDArray[Any]:
    """An array in the type of a region. Raises ConfigError when its shape or type does not fit."""
    where = f"input {region.name}"
    array = np.asarray(array)
    if array.shape != region.shape:
        raise ConfigError(where, "", f"expected shape {list(region.shape)}, got {list(array.shape)}")
    if array.dtype == region.dtype:
        return array
    if array.dtype.kind != "f" or region.scale is None or region.zero is None:
        quantised = "" if region.scale is None else " or floating-point values, which are quantised"
        raise ConfigError(where, "", f"expected {region.dtype} values{quantised}, got {array.dtype}")
    values = as_float32(array)
    if not np.isfinite(values).all():
        raise ConfigError(where, "", "holds values that are not finite")
    tensor = Tensor(name=region.name, shape=(1, 1, 1), scale=np.float32(region.scale), zero=region.zero)
    return quantize_values(values, tensor)


def run_program(
    graph: QGraph, program: Program, machine: Arch, feeds: Feeds, level: str
) -> tuple[dict[str, NDArray[np.int8]], Trace | None, MachineState]:
    """Values of every tensor as they were completed, the trace, the final memories.

    ``feeds`` is one int8 array (n, h, w, c), or one by name for each input of the network.
    """
    inputs = by_name(feeds, [(name, graph.tensors[name].shape) for name in graph.inputs], "int8")
    state = MachineState(machine, program.dram_bytes)
    state.load_program(program)
    for name in graph.inputs:
        state.write_region(_region_of(program, "input", name, graph), inputs[name])
    batch = len(inputs[graph.input])
    shapes = {name: (batch, *tensor.shape) for name, tensor in graph.tensors.items()}
    recorder = Recorder(program, state, shapes)
    return recorder.tensors, run_values(program, machine, state, level, recorder), state


def run_values(
    program: Program, machine: Arch, state: MachineState, level: str, recorder: Recorder | None
) -> Trace | None:
    """Execute on ``state``: in program order, or each instruction in the cycle in which it lands.

    With level ``pe`` the values and cycles of every gemm come out of the registers of the array.
    """
    if level == "functional":
        functional.run(program, state, recorder.land if recorder else None)
        return None

    def land(index: int) -> None:
        instr = program.instructions[index]
        if array is not None and isinstance(instr, Gemm):
            array.land(index)
        else:
            execute_instruction(instr, state)
        if recorder is not None:
            recorder.land(index)

    array = None
    if level == "pe":
        array = RegisterArrayUnit(machine, state.acc, lambda index: _operands(program.instructions[index], state))
        return simulate(tasks(program, machine), machine, on_land=land, array=array)
    # No cycle depends on a value, so time can come first; taking turns would be a quarter slower.
    trace = simulate(tasks(program, machine), machine)
    for index in trace.landings():
        land(index)
    return trace


def run_time(program: Program, machine: Arch, level: str) -> Trace:
    """The time of a program without its values; with level ``pe`` the array's registers move zeros."""
    work = tasks(program, machine)
    if level != "pe":
        return simulate(work, machine)
    nothing = MachineState(machine, 0)
    array = RegisterArrayUnit(machine, nothing.acc, lambda index: _operands(program.instructions[index], nothing))

    def land(index: int) -> None:
        if isinstance(program.instructions[index], Gemm):
            array.land(index)

    return simulate(work, machine, on_land=land, array=array)


def _operands(instr: Instr, state: MachineState) -> Operands:
    """What a gemm works on, as it lies in the memories. Nothing it reads changes before it lands: no races."""
    assert isinstance(instr, Gemm), "only gemms are accepted by the array"
    tiles, k, rows = instr.r0 * instr.r1 * instr.r2, instr.k, instr.m0 * instr.m1
    loops = ((instr.m1, instr.xm1), (instr.m0, instr.xm0))
    loops += ((instr.r2, instr.xr2), (instr.r1, instr.xr1), (instr.r0, instr.xr0))
    outer, inner = np.arange(instr.m1)[:, None] * instr.am1, np.arange(instr.m0) * instr.am0
    return Operands(
        x=strided(state.ub, instr.x, loops, k).reshape(rows, tiles, k),
        w=state.wgt[instr.wgt : instr.wgt + tiles * k].reshape(tiles, k, -1)[:, :, : instr.n],
        rows=(instr.a + outer + inner).reshape(-1),
        overwrite=bool(instr.overwrite),
    )


def loaded_into(program: Program, machine: Arch) -> list[Memory | None]:
    """The memory that each load fills, None for other instructions."""
    return [
        effects(instr, machine).writes[0].memory if isinstance(instr, Load) else None for instr in program.instructions
    ]  # fmt: skip


def outputs_of(graph: QGraph, program: Program, state: MachineState) -> dict[str, NDArray[Any]]:
    """Every output tensor as it lies in DRAM, by name."""
    return {name: state.read_region(_region_of(program, "output", name, graph)) for name in graph.outputs}


def _region_of(program: Program, role: str, tensor: str, graph: QGraph) -> DramRegion:
    """The region of an input or output; a tensor that is another one's flat view may go by that one's name."""
    regions = {region.name: region for region in program.regions if region.role == role}
    return regions[tensor] if tensor in regions else regions[graph.roots[tensor]]
