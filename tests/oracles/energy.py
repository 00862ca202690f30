"""Energy and area of a program, slow and obvious: one loop per thing that happens, every law written down again.

Nothing of ``accelsim.actions``, ``energy``, ``area`` or ``power`` is used; numbers of the table are looked up in the
effective machine file by their keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from accelsim.arch import Arch
from accelsim.isa.instructions import Alu, AluOp, Gemm, Instr, Load, Operand, Store
from accelsim.isa.protocol import Memory

NAMES = {Memory.UB: "ub", Memory.WGT: "wgt", Memory.ACC: "acc", Memory.PARAM: "param"}


def counts(instr: Instr, arch: Arch) -> Counter[str]:
    """How often an instruction does what, without its fetch; memories in bytes."""
    match instr:
        case Load() | Store():
            return _transfer(instr, arch)
        case Gemm():
            return _gemm_os(instr, arch) if arch.array.dataflow == "os" else _gemm_ws(instr, arch)
        case Alu():
            return _alu(instr, arch)
        case _:
            return Counter()


def _transfer(instr: Load | Store, arch: Arch) -> Counter[str]:
    seen: Counter[str] = Counter()
    write = isinstance(instr, Store)
    loops = [(instr.n2, instr.ds2), (instr.n1, instr.ds1), (instr.n0, instr.ds0)]
    runs = [0]
    for count, stride in loops:
        runs = [start + i * stride for start in runs for i in range(count)]
    memory = NAMES[Memory(instr.memory)]
    seen[f"{memory}_{'read' if write else 'write'}"] += len(runs) * instr.run
    if isinstance(instr, Load) and instr.fill:
        return seen
    joined = _joined(instr.run, [loop for loop in loops if loop[0] > 1])
    length, outer = joined
    starts = [instr.dram]
    for count, stride in outer:
        starts = [start + i * stride for start in starts for i in range(count)]
    burst = arch.dram.burst_bytes
    for start in starts:
        touched = {byte // burst for byte in range(start, start + length)}
        seen["dram_write" if write else "dram_read"] += burst * len(touched)
    return seen


def _joined(run: int, loops: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    while loops and loops[-1][1] == run:
        run *= loops[-1][0]
        loops = loops[:-1]
    return run, loops


def _gemm_ws(instr: Gemm, arch: Arch) -> Counter[str]:
    seen: Counter[str] = Counter()
    rows, cols = arch.array.rows, arch.array.cols
    for tile in range(instr.r0 * instr.r1 * instr.r2):
        for r in range(instr.k):
            for c in range(instr.n):
                seen["wgt_read"] += 1
                seen["operand_register"] += c + (arch.array.weights == "shadow")  # beside; the copy into the active one
                seen["operand_move"] += r + 1  # down
        for _ in range(instr.m0 * instr.m1):
            for r in range(instr.k):
                seen["ub_read"] += 1
                seen["operand_register"] += r
                seen["operand_move"] += cols - 1
                seen["mac"] += instr.n
            for c in range(instr.n):
                seen["sum_move"] += rows
                seen["sum_register"] += cols - c
                seen["acc_write"] += 4
                if tile or not instr.overwrite:
                    seen["acc_read"] += 4
                    seen["acc_add"] += 1
    seen["register_access"] = 4 * seen["mac"]
    return seen


def _gemm_os(instr: Gemm, arch: Arch) -> Counter[str]:
    seen: Counter[str] = Counter()
    rows, cols = arch.array.rows, arch.array.cols
    steps = instr.r0 * instr.r1 * instr.r2 * instr.k
    for row in range(instr.m0 * instr.m1):
        place = row % rows
        if place == 0:  # a block begins: all weights pass once more
            for c in range(instr.n):
                seen["wgt_read"] += steps
                seen["operand_register"] += steps * c
                seen["operand_move"] += steps * (rows - 1)
        seen["ub_read"] += steps
        seen["operand_register"] += steps * place
        seen["operand_move"] += steps * (cols - 1)
        for c in range(instr.n):
            seen["mac"] += steps
            seen["sum_register"] += steps + (arch.array.weights == "shadow") + (cols - c)
            seen["sum_move"] += rows - 1 - place
            seen["acc_write"] += 4
            if not instr.overwrite:
                seen["acc_read"] += 4
                seen["acc_add"] += 1
    seen["register_access"] = 4 * seen["mac"]
    return seen


def _alu(instr: Alu, arch: Arch) -> Counter[str]:
    seen: Counter[str] = Counter()
    op = AluOp(instr.op)
    src, dst = NAMES[Memory(instr.src_mem)], NAMES[Memory(instr.dst_mem)]
    width = {"ub": 1, "acc": 4}
    for _ in range(instr.m0 * instr.m1):
        for _ in range(instr.r0 * instr.r1):
            seen[f"{src}_read"] += instr.n * width[src]
            if instr.accumulate or instr.operand == Operand.DST:
                seen[f"{dst}_read"] += instr.n * width[dst]
            if instr.operand == Operand.PARAM and op not in (AluOp.RQ, AluOp.LUT):
                seen["param_read"] += 4 * instr.n
            for _ in range(instr.n):
                seen["alu_stage"] += arch.alu.latency
                if op == AluOp.RQ:
                    seen["fp32_multiply"] += 1
                    seen["fp32_convert"] += 2
                    seen["alu_add"] += 4
                elif op == AluOp.LUT:
                    seen["alu_lookup"] += 1
                else:
                    seen["alu_multiply"] += op in (AluOp.MUL, AluOp.MAC)
                    seen["alu_add"] += op != AluOp.MUL
        seen[f"{dst}_write"] += instr.n * width[dst]
    if op == AluOp.RQ:
        seen["param_read"] += 2 * 4 * instr.n
    elif op == AluOp.LUT:
        seen["param_read"] += 256
    return seen


def prices(arch: Arch) -> dict[str, float]:
    """pJ of each thing counted, from the effective machine file."""
    machine = arch.to_dict()
    table = machine["energy"]
    price = {
        "mac": table[f"mac_{table['operands']}_pj"],
        "instruction": table["instruction_pj"],
        **dict.fromkeys(("dram_read", "dram_write", "dram_fetch"), table[f"dram_{table['dram']}_pj_per_byte"]),
    }
    for name in (
        "register_access", "operand_move", "operand_register", "sum_move", "sum_register", "acc_add", "alu_add",
        "alu_multiply", "fp32_multiply", "fp32_convert", "alu_lookup", "alu_stage",
    ):  # fmt: skip
        price[name] = table[f"{name}_pj"]
    if table["unit"] == "pJ":
        for name in ("sum_move", "sum_register"):
            price[name] *= sum_width(machine) / 32
    rows, cols = machine["array"]["rows"], machine["array"]["cols"]
    row_bytes = {"ub": max(rows, cols), "wgt": cols, "acc": 4 * cols, "param": 4 * cols}
    for memory, wide in row_bytes.items():
        port, count = min(table["port_bits"], 8 * wide), table[f"{memory}_banks"]
        if count == "auto":
            count = (8 * wide + port - 1) // port
            if memory == "ub" and machine["ub"]["ports"] == "shared":
                count *= machine["ub"]["banks"]
        port = max(port, (8 * wide + count - 1) // count)
        for access in ("read", "write"):
            own = table[f"{memory}_{access}_pj_per_byte"]
            each = table[f"sram_{access}_pj_per_byte"] * table[f"sram_dynamic_{table['cell']}"]
            each *= (machine[memory]["size"] / count / 8192) ** table["sram_capacity_exponent"]
            each /= (port / 64) ** table["sram_width_exponent"]
            if memory == "ub" and machine["ub"]["ports"] == "private":
                each *= 1 + 3 * table["ub_port_energy_share"]
            price[f"{memory}_{access}"] = each if own == "formula" else own
    return price


def sum_width(machine: dict[str, Any]) -> int:
    """Bits that hold every sum of a column: the least power of two over rows x 128 x 128, and a sign."""
    if machine["array"]["dataflow"] == "os":
        return 32
    bits = 1
    while 2 ** (bits - 1) <= machine["array"]["rows"] * 128 * 128:
        bits += 1
    return bits


def static_mw(arch: Arch) -> dict[str, float]:
    """Constant power by component."""
    table = arch.to_dict()["energy"]
    kib = {"ub": arch.ub_bytes, "wgt": arch.wgt_bytes, "acc": arch.acc_bytes, "param": arch.param_bytes}
    leak = sum(
        size / 1024 * (table[f"sram_leakage_{table['cell']}_uw_per_kib"]
                       if table[f"{memory}_leakage_uw_per_kib"] == "formula" else table[f"{memory}_leakage_uw_per_kib"])
        for memory, size in kib.items()
    )  # fmt: skip
    leak += arch.array.rows * arch.array.cols * table["pe_leakage_uw"] + arch.alu.lanes * table["lane_leakage_uw"]
    return {"leakage": leak / 1000, "other": table["dram_background_mw"] + table["static_mw"]}


ARRAY = ("mac", "register_access", "operand_move", "operand_register", "sum_move", "sum_register", "acc_add")
ALU = ("alu_add", "alu_multiply", "fp32_multiply", "fp32_convert", "alu_lookup", "alu_stage")
COMPONENT = {
    **dict.fromkeys(ARRAY, "array"),
    **dict.fromkeys(ALU, "alu"),
    **dict.fromkeys(("dram_read", "dram_write", "dram_fetch"), "dram"),
    "instruction": "control",
}


def components_pj(instructions: Sequence[Instr], arch: Arch, cycles: int) -> dict[str, float]:
    """Energy of a whole run by component."""
    price = prices(arch)
    seen: Counter[str] = Counter()
    for instr in instructions:
        seen += counts(instr, arch)
    seen["instruction"] = len(instructions)
    burst = arch.dram.burst_bytes
    seen["dram_fetch"] = burst * ((32 * len(instructions) + burst - 1) // burst)
    energy: dict[str, float] = dict.fromkeys(("array", "buffers", "dram", "alu", "control"), 0.0)
    for name, count in seen.items():
        energy[COMPONENT.get(name, "buffers")] += count * price[name]
    seconds = cycles / float(arch.clock_hz)
    return energy | {name: power * 1e-3 * seconds * 1e12 for name, power in static_mw(arch).items()}


def area_mm2(arch: Arch) -> dict[str, float]:
    """Area by part."""
    machine: dict[str, Any] = arch.to_dict()
    table = machine["energy"]
    rows, cols = machine["array"]["rows"], machine["array"]["cols"]
    bit = table["register_area_um2_per_bit"]
    single, stationary = machine["array"]["weights"] == "single", machine["array"]["dataflow"] == "os"
    wide = sum_width(machine)
    pe_bits = 8 + 8 + wide + (0 if single else 32 if stationary else 8)
    array = rows * cols * (table[f"mac_{table['operands']}_area_um2"] + bit * pe_bits)
    array += bit * (sum(8 * r for r in range(rows)) + sum(8 * c + wide * (cols - c) for c in range(cols)))
    parts = {"array": array}
    for memory in ("ub", "wgt", "acc", "param"):
        density = table[f"{memory}_area_mm2_per_mib"]
        if density == "formula":
            density = table["sram_area_mm2_per_mib"]
            if memory == "ub" and machine["ub"]["ports"] == "private":
                density *= 1 + 3 * table["ub_port_area_share"]
        parts[memory] = 1e6 * machine[memory]["size"] / 2**20 * density
    lane = table["lane_area_um2"] + bit * (32 * machine["alu"]["latency"] + 8 * 256)
    parts["alu"] = machine["alu"]["lanes"] * lane
    parts["control"] = bit * 256 * (4 * machine["queue"]["depth"] + machine["fetch"]["prefetch_words"])
    parts = {name: table["layout_factor"] * size / 1e6 for name, size in parts.items()}
    control, other = table["control_area_share"], table["other_area_share"]
    whole = sum(parts.values()) / (1 - control - other)
    return parts | {"control": parts["control"] + control * whole, "other": other * whole}
