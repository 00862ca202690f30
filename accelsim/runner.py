"""From a workload file to a report, and to accuracies; what the command line and ``import accelsim`` offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import Arch
from accelsim.cache import Cache
from accelsim.compiler.aim import check_objective
from accelsim.compiler.pipeline import Observer
from accelsim.errors import ConfigError
from accelsim.execution import check_level, execute, outputs_of, run_program
from accelsim.isa.program import Program
from accelsim.job import Clock, Job, compare, compile_for, placed, quantized
from accelsim.machine_file import load_arch
from accelsim.networks import Images, given_values, open_network
from accelsim.nn import golden
from accelsim.nn.forward import forward
from accelsim.nn.graph import Graph, QGraph
from accelsim.nn.loader import Network
from accelsim.result import Result

__all__ = ["compile_file", "evaluate", "execute", "open_network", "run"]

EVALUATION_BATCH = 60


def run(
    workload: str | Path | Network,
    *,
    arch: str | Path | Arch = "edge",
    set: Mapping[str, Any] | None = None,
    batch: int | None = None,
    objective: str = "cycles",
    level: str = "cycle",
    timing_only: bool = False,
    input: Images | None = None,
    calibrate: Images | None = None,
    dims: Mapping[str, int] | None = None,
    cache: bool = True,
) -> Result:
    """Compile and simulate a workload and check every layer bit for bit.

    ``workload`` and ``arch`` are paths or bundled names, or a network that :func:`open_network` gave; ``set`` changes
    keys of the machine (``{"array.rows": 32}``). ``input`` is float32 (batch, h, w, c), or such arrays by name for a
    network with several inputs, else the workload's own images, ``batch`` of them (1); for an ONNX model it has the
    model's own layout, and so have the outputs. ``calibrate`` and ``dims`` are those of :func:`open_network`.
    ``level`` is ``cycle`` (values and time), ``functional`` (values alone) or ``pe`` (values and time of every gemm
    from the registers of the array: equal to ``cycle``, and slow); ``timing_only`` leaves the values out. ``cache``
    keeps what the compiler found for later runs (see ``accelsim.cache``). Raises an AccelsimError for wrong input; a
    difference from the golden model is not raised but reported (``report["bit_exact"]``, ``mismatch``).
    """
    clock = Clock()
    check_level(level, timing_only)
    check_objective(objective)
    _check_batch(batch)
    machine = load_arch(arch, dict(set or {}))
    network = _opened(workload, calibrate, dims)
    feeds = network.feeds(batch or 1) if input is None else given_values(network, input, batch)
    size = len(feeds[network.shapes[0][0]])
    job = Job(network, network.given or network.path, machine, size, objective, Cache() if cache else None, clock)
    if timing_only:
        return job.time(level)
    return job.values(feeds, level)


def _opened(workload: str | Path | Network, calibrate: Images | None, dims: Mapping[str, int] | None) -> Network:
    """The network itself, if it is open already."""
    if not isinstance(workload, Network):
        return open_network(workload, calibrate=calibrate, dims=dims)
    if calibrate is not None or dims:
        raise ConfigError("calibrate", "", "an open network has its ranges and dimensions", "give both to load_network")
    return workload


def compile_file(
    workload: str | Path | Network,
    *,
    arch: str | Path | Arch = "edge",
    set: Mapping[str, Any] | None = None,
    batch: int = 1,
    objective: str = "cycles",
    dump: Observer | None = None,
    calibrate: Images | None = None,
    dims: Mapping[str, int] | None = None,
    cache: bool = True,
) -> Program:
    """Compile a workload; ``dump(stage, text)`` receives the text form of every stage, others as in :func:`run`."""
    check_objective(objective)
    _check_batch(batch)
    machine = load_arch(arch, dict(set or {}))
    network = _opened(workload, calibrate, dims)
    with placed(network):
        return compile_for(network.quantize(), machine, batch, objective, Cache() if cache else None, dump).program


def evaluate(
    workload: str | Path | Network,
    *,
    arch: str | Path | Arch = "edge",
    set: Mapping[str, Any] | None = None,
    batch: int = EVALUATION_BATCH,
    level: str = "functional",
) -> dict[str, Any]:
    """Accuracy over the whole test split: float model, int8 golden model and accelerator, compared image by image.

    Values are computed by the instruction stream in batches, at ``level`` as in :func:`run`; a stored int8 network has
    no float accuracy (None). Raises ConfigError for a workload without a data set, or whose output is not one vector
    per image.
    """
    check_level(level, False)
    _check_batch(batch)
    machine = load_arch(arch, dict(set or {}))
    network = _opened(workload, None, None)
    if network.dataset is None:
        raise ConfigError(network.path, "dataset", "this workload has no labelled images to evaluate")
    images, labels = network.dataset.images("test"), network.dataset.labels("test")
    with placed(network):
        graph = network.quantize()
    shape = graph.tensors[graph.output].shape
    if shape[:2] != (1, 1):
        problem = f"accuracy needs one vector of outputs per image, the last layer gives {list(shape)}"
        raise ConfigError(network.path, "layers", problem)
    right = None if network.graph is None else _float_accuracy(network.graph, images, labels)
    found = list(_guesses(graph, network, machine, images, (batch, level)))
    accelerator, reference = (np.concatenate([guesses[side] for guesses in found]) for side in (0, 1))
    return {
        "images": len(images),
        "float_accuracy": right,
        "int8_accuracy": float((reference == labels).mean()),
        "accelerator_accuracy": float((accelerator == labels).mean()),
        "bit_exact": all(exact for *_, exact in found),
    }


def _guesses(
    graph: QGraph, network: Network, machine: Arch, images: NDArray[np.float32], how: tuple[int, str]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], bool]]:
    """Of ``how`` = (batch, level): the classes that accelerator and golden model see, and whether all values agree."""
    batch, level = how
    programs: dict[int, Program] = {}
    for first in range(0, len(images), batch):
        inputs = quantized(graph, {graph.input: images[first : first + batch]})
        size = len(inputs[graph.input])
        if size not in programs:
            with placed(network):
                programs[size] = compile_for(graph, machine, size, "cycles", Cache()).program
        values, _, state = run_program(graph, programs[size], machine, inputs, level)
        wanted = golden.run(graph, inputs)
        got = outputs_of(graph, programs[size], state)
        classes = [found[graph.output].reshape(size, -1).argmax(axis=1) for found in (got, wanted)]
        yield classes[0], classes[1], compare(graph, values, wanted, got) is None


def _float_accuracy(graph: Graph, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    scores = forward(graph, images)[graph.results[-1]].reshape(len(images), -1)
    return float((scores.argmax(axis=1) == labels).mean())


def _check_batch(batch: int | None) -> None:
    if batch is not None and (not isinstance(batch, int) or isinstance(batch, bool) or batch < 1):
        raise ConfigError(where="batch", key="", problem=f"expected a whole number of at least 1, got {batch!r}")
