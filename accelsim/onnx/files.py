"""Model files: read, checked for damage, and their weights as arrays that stay on disk until they are used."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError
from accelsim.onnx.library import decode_error, inlined, library
from accelsim.onnx.problems import Refusal, shown
from accelsim.onnx.wire import outline

OLDEST_OPSET = 11
MAPPED = 1 << 20  # bytes from which on a weight is mapped into memory instead of read


class ModelFile:
    """A parsed model without its large weights.

    Raises ConfigError when the file is missing, damaged, or of a version that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.onnx = library()
        self.model = inlined(self._checked(_parsed(path, self.onnx)))
        self.files: dict[Path, None] = {path: None}  # with those that hold weights

    def _checked(self, model: Any) -> Any:
        if not model.ir_version or not (model.graph.node or model.graph.output):
            raise _damaged(self.path)
        if not all(isinstance(text, str) for text in _texts(model)):
            raise _damaged(self.path)
        self.opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
        version, newest = self.opset, self.onnx.defs.onnx_opset_version()
        where = str(self.path)
        if version < OLDEST_OPSET:
            hint = "onnx.version_converter.convert_version(model, 17) brings it up to date"
            raise ConfigError(where, "", f"opset {version} is too old: {OLDEST_OPSET} is the oldest", hint)
        if version > newest:
            hint = "a newer onnx may know it: pip install --upgrade onnx"
            raise ConfigError(
                where, "", f"opset {version} is newer than the installed onnx, which knows {newest}", hint
            )
        return model

    @property
    def opset(self) -> int:
        """Version of the standard operators; 1 if the file does not say, as the format has it."""
        return self.opsets.get("", 1)

    def array(self, tensor: Any) -> NDArray[Any]:
        """A weight, read-only. Raises Refusal when its data are missing or do not fit its shape."""
        numbers, types = self.onnx.TensorProto, self.onnx.helper.get_all_tensor_dtypes()
        if tensor.data_type not in types or tensor.data_type == numbers.STRING or min(tensor.dims, default=1) < 0:
            raise Refusal(f"the weight {shown(tensor.name)!r} does not hold numbers")
        dtype = np.dtype(self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        shape = tuple(tensor.dims)
        packed = dtype.name[-4:] in ("int4", "int2", "e2m1")  # several in a byte
        if tensor.data_location == numbers.EXTERNAL and not packed:
            return self._external(tensor, dtype).reshape(shape)
        if not tensor.HasField("raw_data") or packed:
            try:
                return self.onnx.numpy_helper.to_array(tensor)
            except (ValueError, TypeError) as error:
                raise Refusal(f"the weight {shown(tensor.name)!r} is damaged: {error}") from None
        data = np.frombuffer(tensor.raw_data, np.uint8)
        _check_size(tensor.name, len(data), shape, dtype)
        return data.view(dtype).reshape(shape)

    def _external(self, tensor: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._data_file(tensor.name, entries.get("location", ""))
        size, wanted = path.stat().st_size, prod(tensor.dims) * dtype.itemsize
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries.get("length") or wanted)
        except ValueError:
            raise Refusal(f"the weight {shown(tensor.name)!r} says no number for its place in {path.name}") from None
        if min(offset, length) < 0 or offset + length > size:
            problem = (
                f"{path.name} is cut short: the weight {shown(tensor.name)!r} needs bytes up to {offset + length:,}"
            )
            raise Refusal(problem, f"the file has {size:,}")
        _check_size(tensor.name, length, tuple(tensor.dims), dtype)
        self.files[path] = None
        if length < MAPPED:
            return np.fromfile(path, np.uint8, length, offset=offset).view(dtype)
        return np.asarray(np.memmap(path, np.uint8, "r", offset, (length,))).view(dtype)

    def _data_file(self, name: str, location: str) -> Path:
        if not location:  # see wire.outline
            return self.path
        folder = self.path.parent.resolve()
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            problem = f"the weight {shown(name)!r} points out of the model's folder, to {shown(location)!r}"
            raise Refusal(problem, "external data must lie beside the model or below it")
        if not path.is_file():
            problem = f"the weight {shown(name)!r} is in the file {shown(location)!r}, which does not exist"
            raise Refusal(problem, "a model with external data needs both files in one folder")
        return path


def _parsed(path: Path, onnx: Any) -> Any:
    """The ModelProto, its large weights left in the file."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return onnx.ModelProto.FromString(outline(memoryview(data)))
    except OSError as error:
        raise ConfigError(str(path), "", f"the file cannot be read: {error.strerror or error}") from None
    except (ValueError, decode_error()):  # an empty file cannot be mapped
        raise _damaged(path) from None


def _texts(model: Any) -> Iterator[Any]:
    """Every name that the readers use; the parser gives bytes for what is not UTF-8."""
    graph = model.graph
    for opset in model.opset_import:
        yield opset.domain
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.t.name)


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        str(path), "", "not an ONNX model, or damaged", "is it whole? onnx.checker.check_model says more"
    )


def _check_size(name: str, got: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    wanted = prod(shape) * dtype.itemsize
    if got != wanted:
        raise Refusal(f"the weight {shown(name)!r} of shape {list(shape)} needs {wanted:,} bytes and has {got:,}")
