"""One network on one machine: quantised, compiled, simulated, compared with the golden model, reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.actions import Action, count_actions
from accelsim.arch import Arch
from accelsim.cache import Cache
from accelsim.compiler.aim import Aim, Prices
from accelsim.compiler.pipeline import Compiled, Observer, compile_network
from accelsim.energy import program_energy_pj, terms_of
from accelsim.errors import CapacityError, GraphError, MismatchError
from accelsim.execution import loaded_into, outputs_of, run_program, run_time
from accelsim.hw.machine import simulate as simulate_tasks
from accelsim.isa.effects import tasks
from accelsim.nn import golden
from accelsim.nn.graph import QGraph, QReshape, QSoftmax
from accelsim.nn.layouts import to_model
from accelsim.nn.liveness import liveness
from accelsim.nn.loader import Network
from accelsim.nn.scales import dequantize, quantize_values
from accelsim.prepared import Prepared, find, time_key
from accelsim.report import build_report
from accelsim.result import Result, first_mismatch, refuse_unobserved
from accelsim.trace import Trace


@dataclass(slots=True)
class Clock:
    """Seconds of this computer spent per stage, wall time."""

    seconds: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.perf_counter)

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """Run ``work`` and add its time to ``name``."""
        begin = time.perf_counter()
        value = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
        return value

    def report(self) -> dict[str, float]:
        """The ``host`` part of the report; a stage that did not run took 0 s."""
        stages = {name: self.seconds.get(name, 0.0) for name in ("compile_s", "simulate_s", "golden_s")}
        return {
            name: round(value, 6) for name, value in {**stages, "total_s": time.perf_counter() - self._start}.items()
        }


@contextmanager
def placed(network: Network) -> Iterator[None]:
    """Say where in the workload file the layer at fault stands."""
    try:
        yield
    except (GraphError, CapacityError) as error:
        layer = error.layer if isinstance(error, GraphError) else error.where
        error.place = error.place or network.places.get(layer, network.path)
        raise


def compile_for(
    graph: QGraph,
    machine: Arch,
    batch: int,
    objective: str,
    cache: Cache | None,
    observe: Observer | None = None,
    *,
    time_only: bool = False,
) -> Compiled:
    """Compile a quantised network with the simulator as judge of the last few plans."""
    return compile_network(
        graph,
        machine,
        batch=batch,
        aim=Aim(objective=objective, prices=prices_of(machine) if objective != "cycles" else None),
        observe=observe,
        evaluate=lambda program: simulate_tasks(tasks(program, machine), machine).cycles,
        energy=lambda program, cycles: program_energy_pj(program.instructions, machine, cycles),
        cache=cache,
        time_only=time_only,
    )


def prices_of(machine: Arch) -> Prices:
    """What the compiler's closed form pays for, from the machine's energy table."""
    per_action: dict[Action, float] = {}
    per_cycle = 0.0
    for term in terms_of(machine):
        if term.action is None:
            per_cycle += float(term.pj)
        else:
            per_action[term.action] = float(term.pj)
    return Prices(
        dram_byte_pj=per_action[Action.DRAM_READ],
        ub_byte_pj=(per_action[Action.UB_READ] + per_action[Action.UB_WRITE]) / 2,
        wgt_byte_pj=per_action[Action.WGT_READ] + per_action[Action.WGT_WRITE],
        acc_byte_pj=(per_action[Action.ACC_READ] + per_action[Action.ACC_WRITE]) / 2,
        cycle_pj=per_cycle,
    )


@dataclass(slots=True)
class Job:
    """One network on one machine; ``given`` is the workload as it was named."""

    network: Network
    given: str
    machine: Arch
    batch: int
    objective: str
    cache: Cache | None
    clock: Clock

    def compile(self) -> tuple[QGraph, Prepared]:
        """Quantise and compile."""
        with placed(self.network):
            graph = self.network.quantize()
            compiled = self.clock.measure(
                "compile_s", lambda: compile_for(graph, self.machine, self.batch, self.objective, self.cache)
            )
        return graph, Prepared.of(compiled, graph, self.batch)

    def time(self, level: str) -> Result:
        """Time alone: values and so weights are needed only if this network was not compiled before."""
        key = time_key(self.network.digest(), self.machine, (self.batch, self.objective)) if self.cache else ""
        prepared = find(self.cache, key)
        if prepared is None:
            prepared = self.compile()[1]
            if self.cache is not None:
                self.cache.write(key, prepared.pack())
        program = prepared.program
        trace = self.clock.measure("simulate_s", lambda: run_time(program, self.machine, level))
        complete = None if prepared.constants else lambda: self.compile()[1].program
        return Result(
            report=self.report(prepared, trace, level, timing_only=True), outputs={}, program=program,
            arch=self.machine, trace=trace, complete=complete,
        )  # fmt: skip

    def values(self, feeds: Mapping[str, NDArray[np.float32]], level: str) -> Result:
        """Values, and time unless ``level`` leaves it out, compared with the golden model."""
        graph, prepared = self.compile()
        program, inputs = prepared.program, quantized(graph, feeds)
        values, trace, state = self.clock.measure(
            "simulate_s", lambda: run_program(graph, program, self.machine, inputs, level)
        )
        wanted = self.clock.measure("golden_s", lambda: golden.run(graph, inputs))
        outputs = outputs_of(graph, program, state)
        mismatch = compare(graph, values, wanted, outputs)
        alive = liveness(graph, wanted)
        labels = _classify(self.network, graph, outputs)
        report = self.report(prepared, trace, level, alive=alive, bit_exact=mismatch is None)
        return Result(
            report=report, outputs=to_model(outputs, self.network.ports), program=program, arch=self.machine,
            trace=trace, labels=labels, mismatch=mismatch,
        )  # fmt: skip

    def report(
        self,
        prepared: Prepared,
        trace: Trace | None,
        level: str,
        *,
        timing_only: bool = False,
        alive: Mapping[str, tuple[float, float]] | None = None,
        bit_exact: bool | None = None,
    ) -> dict[str, Any]:
        """The run as JSON data."""
        program = prepared.program
        return build_report(
            workload=self.network.name,
            arch=self.machine,
            program_hash=prepared.program_hash or None,
            instructions=len(program.instructions),
            trace=trace,
            layers=program.layers,
            layer_of=program.layer_of,
            facts=prepared.facts,
            network=prepared.network,
            packing=prepared.packing,
            bit_exact=bit_exact,
            host=self.clock.report(),
            version=version("accelsim"),
            fused=prepared.fused,
            loaded_into=loaded_into(program, self.machine),
            liveness=alive,
            actions=count_actions(program.instructions, self.machine),
            options={
                "workload": self.given, "batch": self.batch, "level": level, "timing_only": timing_only,
                "objective": self.objective,
            },
        )  # fmt: skip


def quantized(graph: QGraph, feeds: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.int8]]:
    return {name: quantize_values(feeds[name], graph.tensors[name]) for name in graph.inputs}


def compare(
    graph: QGraph,
    values: dict[str, NDArray[np.int8]],
    wanted: dict[str, NDArray[np.int8]],
    outputs: dict[str, NDArray[Any]],
) -> MismatchError | None:
    """Every layer's tensor as the instructions completed it, then what arrived in DRAM."""
    names = _observed(graph)
    refuse_unobserved(names, values)
    arrived = {f"{name} in DRAM": array for name, array in outputs.items()}
    expected = {f"{name} in DRAM": wanted[name].reshape(array.shape) for name, array in outputs.items()}
    return first_mismatch({**values, **arrived}, {**wanted, **expected}, {**names, **{name: name for name in arrived}})


def _observed(graph: QGraph) -> dict[str, str]:
    """Every tensor that instructions compute, with its layer."""
    return {
        layer.output: graph.row_of[layer.name] for layer in graph.layers if not isinstance(layer, QReshape | QSoftmax)
    }


def _classify(network: Network, graph: QGraph, outputs: dict[str, NDArray[Any]]) -> list[str] | None:
    """Softmax over the channels of every pixel (on the host), as ``probabilities``: (batch, c), or (batch, h, w, c).

    Returns the class names of a network that ends in softmax and gives one vector per image.
    """
    if not any(isinstance(layer, QSoftmax) for layer in graph.layers):
        return None
    tensor = graph.tensors[graph.output]
    values = outputs[graph.output].reshape(-1, *tensor.shape)  # a flatten before the softmax moves nothing
    outputs["probabilities"] = golden.softmax(dequantize(values, tensor))
    if tensor.shape[:2] != (1, 1):
        return None
    outputs["probabilities"] = outputs["probabilities"].reshape(len(values), -1)
    names = network.classes or tuple(str(i) for i in range(tensor.shape[2]))
    return [names[i] for i in values.reshape(len(values), -1).argmax(axis=1)]
