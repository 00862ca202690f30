"""The order of words in the program: by the cycle in which each instruction is expected to be accepted.

Instructions are fetched and dispatched in program order into bounded queues, so a word that comes much earlier than
its unit can take it blocks the words behind it, and one that comes late starves its unit. The expectation is a plain
recurrence over the local laws with an uncontended port; the simulator, not this, says how long a program takes.
Acceptance never precedes the landing of what is waited for, so the sorted order is a valid program.
"""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.arch import Arch
from accelsim.compiler.sync import Edges
from accelsim.isa.protocol import ArrayWork, FillWork, Task, TransferWork, Unit, VectorWork
from accelsim.timing import IDLE_ARRAY, advance, burst_count, fill_cycles, vector_cycles


def expected_acceptance(tasks: Sequence[Task], edges: Edges, arch: Arch) -> list[int]:
    """The cycle in which each instruction would be accepted with all words at hand."""
    free = [0] * len(Unit)
    landed_before = [-1] * len(Unit)
    array = IDLE_ARRAY
    per_burst = float(arch.dram.burst_bytes / arch.dram.bytes_per_cycle)
    accepted: list[int] = []
    landed: list[int] = []
    for task, producers in zip(tasks, edges.producers):
        unit = task.unit
        at = max([free[unit], *(landed[p] + 1 for p in producers)])
        match task.work:
            case ArrayWork() as work:
                free[unit], end, array = advance(array, work, at, arch.array)
            case VectorWork() as work:
                end = at + vector_cycles(work, arch.alu)
                free[unit] = end + 1
            case TransferWork() as work:
                bursts = burst_count(work.region, arch.dram.burst_bytes)
                free[unit] = at + 1 + int((bursts - 1) * per_burst)
                end = at + int(bursts * per_burst) + arch.dram.latency
            case FillWork() as work:
                free[unit] = end = at + fill_cycles(work)
            case _:
                end = free[unit] = max(at, landed_before[unit] + 1)
        end = max(end, landed_before[unit])
        landed_before[unit] = end
        accepted.append(at)
        landed.append(end)
    return accepted


def program_order(tasks: Sequence[Task], edges: Edges, arch: Arch) -> list[int]:
    """Positions of a stream's instructions, of which the tasks are given, in program order."""
    accepted = expected_acceptance(tasks, edges, arch)
    return sorted(range(len(tasks)), key=accepted.__getitem__)  # of equal ones the first stays first
