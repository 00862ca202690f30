"""``accelsim quantize`` and ``accelsim export``: float networks to int8 ones, and int8 ones to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.base import (
    check_target,
    json_text,
    progress,
    write_file,
    write_text,
)
from accelsim.cli.networks import array_places, calibration_options, opened
from accelsim.cli.targets import check_apart, option, sources
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.nn.graph import QGraph
    from accelsim.nn.quality import Quality
    from accelsim.quantizer import Quantized

_YAML = (".yaml", ".yml")
_HEADER = ("layer", "kind", "lowest", "highest", "scale", "zero", "saturated", "SNR dB", "alone dB")


@click.command()
@click.argument("workload")
@calibration_options
@click.option("-o", "--output", metavar="FILE.q.yaml", help="The int8 network; WORKLOAD.q.yaml here if not given.")
@click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON; - prints nothing else.")
def quantize(
    workload: str,
    calibrate: tuple[str, ...],
    method: str | None,
    dims: tuple[str, ...],
    output: str | None,
    json_file: str | None,
) -> None:
    """Make an int8 network of WORKLOAD, a workload file or an ONNX model, and say what that costs.

    Writes FILE.q.yaml and its arrays, FILE.q.npz; `accelsim run FILE.q.yaml` runs it.
    """
    target = Path(output or f"{Path(workload).stem}.q.yaml")
    arrays = _checked(target)
    written = [option("-o", str(target)), (f"-o {target} (arrays)", arrays), option("--json", json_file)]
    check_target(json_file, "--json")
    check_apart([*sources(workload, "edge")[:1], *array_places("calibrate", calibrate)], written)
    network = opened(workload, calibrate, dims, written)
    from accelsim import quantizer

    with progress(f"quantising {workload} ..."):
        result = quantizer.quantize(network, method)
    result.store(target, write_file)
    if network.note:
        click.echo(f"note: {network.note}", err=True)
    if json_file is not None:
        write_text(json_file, json_text(result.report()))
    if json_file != "-":
        _print(result, target, arrays)


@click.command()
@click.argument("workload")
@calibration_options
@click.option("-o", "--output", metavar="FILE.onnx", help="The model; WORKLOAD.int8.onnx here if not given.")
@click.option("--uint8", "unsigned", is_flag=True, help="Activations as uint8, which ONNX Runtime computes faster.")
def export(
    workload: str,
    calibrate: tuple[str, ...],
    method: str | None,
    dims: tuple[str, ...],
    output: str | None,
    unsigned: bool,
) -> None:
    """Write the int8 network of WORKLOAD as an ONNX model of quantised operators."""
    stem = Path(workload).name.removesuffix(".yaml").removesuffix(".onnx").removesuffix(".q")
    target = output or f"{stem}.int8.onnx"
    check_target(target, "-o")
    written = [option("-o", target)]
    check_apart([*sources(workload, "edge")[:1], *array_places("calibrate", calibrate)], written)
    network = opened(workload, calibrate, dims, written)
    from accelsim import quantizer

    with progress(f"exporting {workload} ..."):
        graph = quantizer.int8(network, method)
        model = quantizer.model_bytes(network, graph, unsigned=unsigned)
    write_file(target, lambda file: _write_bytes(file, model))
    if network.note:
        click.echo(f"note: {network.note}", err=True)
    click.echo(f"{target}: {_counted(graph)}, {len(model):,} bytes")


def _checked(target: Path) -> Path:
    """The file of arrays beside ``target``, after both were found writable."""
    if target.suffix not in _YAML:
        raise ConfigError(f"-o {target}", "", "expected a name that ends in .yaml", "such as model.q.yaml")
    from accelsim.nn.stored import arrays_name

    arrays = target.with_name(arrays_name(target))
    for path in (target, arrays):
        check_target(str(path), "-o")
    return arrays


def _print(result: Quantized, target: Path, arrays: Path) -> None:
    from accelsim.cli.tables import print_table

    rows = [_row(row) for row in result.fidelity.rows]
    print_table(_HEADER, rows, left=("layer", "kind"))
    fidelity, method = result.fidelity, result.network.method
    images = "1 image" if fidelity.images == 1 else f"{fidelity.images} images"
    click.echo(f"ranges by {method} over {images}; the last layer is {_decibel(fidelity.rows[-1].snr_db)} dB above "
               "its difference from float")  # fmt: skip
    if fidelity.agreement is not None:
        click.echo(f"largest output at the same place as in float: {100 * fidelity.agreement:.2f} % of the images")
    click.echo(f"{target}: {_counted(result.graph)}, arrays in {arrays.name}")


def _row(row: Quality) -> tuple[str, ...]:
    ends = (f"{row.low:.4g}", f"{row.high:.4g}", f"{row.scale:.4g}", str(row.zero))
    return (row.name, row.kind, *ends, f"{100 * row.saturated:.2f} %", _decibel(row.snr_db), _decibel(row.own_db))


def _decibel(value: float) -> str:
    """Infinite without an error, and nothing for a tensor of zeros."""
    return "exact" if value == float("inf") else "-" if value != value else f"{value:.1f}"


def _counted(graph: QGraph) -> str:
    count = len(graph.layers)
    return "1 layer" if count == 1 else f"{count} layers"


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
