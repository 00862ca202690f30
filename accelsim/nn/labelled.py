"""The data set that a file names for its network, checked against what the network reads and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from accelsim.nn.dataset import Dataset, read_dataset
from accelsim.nn.schema import DatasetKeys
from accelsim.nn.shapes import Shape
from accelsim.yamlio import Keys

Report: TypeAlias = Callable[[Keys, str, str], None]
Inputs: TypeAlias = Sequence[tuple[str, Shape]]


def read_labelled(
    report: Report, keys: DatasetKeys, folder: Path, inputs: Inputs, output: Shape | None
) -> Dataset | None:
    """The data set of the key ``dataset``, or None after a ``report`` of what is wrong with it.

    ``inputs`` are (name, (h, w, c)); ``output`` is the shape of the last output, None if it is unknown.
    """
    if several_inputs(report, ("dataset",), inputs):
        return None
    try:
        dataset = read_dataset(folder / keys.file, keys.divide, keys.resize, keys.method, keys.border)
    except ValueError as error:
        report(("dataset", "file"), f"{keys.file}: {error}", "")
        return None
    wanted = list(inputs[0][1]) if inputs else list(dataset.shape)
    if list(dataset.shape) != wanted:
        report(("dataset",), f"gives images of shape {list(dataset.shape)}, the input is {wanted}", "")
        return None
    return dataset if _labels_fit(report, keys, dataset, output) else None


def several_inputs(report: Report, place: Keys, inputs: Inputs) -> bool:
    """Refuse files of images for a network that needs several arrays."""
    names = [name for name, _ in inputs]
    if len(names) > 1:
        report(place, "only a network with one input can read images from a file", ", ".join(names))
    return len(names) > 1


def _labels_fit(report: Report, keys: DatasetKeys, dataset: Dataset, shape: Shape | None) -> bool:
    """Labels are indices into the outputs of a network that gives one vector."""
    low, high = int(dataset.classes.min()), int(dataset.classes.max())
    if shape is None or shape[:2] != (1, 1) or 0 <= low <= high < shape[2]:
        return True
    wrong = low if low < 0 else high
    problem = f"{keys.file}: the label {wrong} is outside 0..{shape[2] - 1}"
    report(("dataset", "file"), problem, f"the network has {shape[2]} outputs")
    return False
