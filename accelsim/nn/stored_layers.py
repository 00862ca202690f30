"""The layers of a stored int8 network from their entries and arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accelsim.nn import stored_schema as keys
from accelsim.nn.graph import Pads, QConv, QLayer, QLrn, QLut, QPool, QReshape, Tensor
from accelsim.nn.layouts import Layout, Port
from accelsim.nn.tables import add_layer, concat_layer
from accelsim.spelling import suggest
from accelsim.yamlio import Keys

Report: TypeAlias = Callable[[Keys, str, str], None]

TABLE = (256,)
WEIGHTED = ("conv", "depthwise", "fc", "gemm")


def parts(kind: str) -> tuple[str, ...]:
    """The arrays that a kind of layer has."""
    if kind in WEIGHTED:
        return ("weights", "bias", "scale")
    return {"table": ("table",), "lrn": ("square", "factor")}.get(kind, ())


class LayerMaker:
    """Takes arrays out of a file of that ``name`` and says what is wrong with them; None: it cannot be read."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None, name: str, report: Report) -> None:
        self.arrays = arrays
        self.name = name
        self.report = report

    def make(self, place: Keys, entry: Any, sources: list[Tensor], result: Tensor) -> QLayer | None:
        """The layer of an entry whose shapes fit, or None when an array does not."""
        first, name = sources[0], entry.name
        match entry:
            case keys.ConvKeys() | keys.MatrixKeys():
                return self._conv(place, entry, first, result)
            case keys.PoolKeys():
                return QPool(
                    name=name, kind=entry.kind, input=first.name, output=result.name, kernel=pair(entry.kernel),
                    stride=pair(entry.stride), pads=four(entry.padding), count_include_pad=entry.count_include_pad,
                    lo=entry.limits[0], hi=entry.limits[1],
                )  # fmt: skip
            case keys.AddKeys():
                return add_layer(name, (first, sources[1]), result, pair(entry.limits))
            case keys.ConcatKeys():
                return concat_layer(name, sources, result)
            case keys.LrnKeys():
                return self._lrn(place, entry, first, result)
            case keys.TableKeys():
                table = self._take(place, f"{name}.table", np.int8, TABLE)
                if table is None:
                    return None
                return QLut(name=name, kind=entry.function, input=first.name, output=result.name, table=table)
            case _:
                return QReshape(name=name, kind="flatten", input=first.name, output=result.name)

    def _conv(
        self, place: Keys, entry: keys.ConvKeys | keys.MatrixKeys, source: Tensor, result: Tensor
    ) -> QConv | None:
        h, w, c = source.shape
        plain = isinstance(entry, keys.MatrixKeys)
        groups = 1 if plain else entry.groups
        kernel = ((h, w) if entry.kind == "fc" else (1, 1)) if plain else pair(entry.kernel)
        depthwise = 1 < groups == entry.channels == c
        if not plain and depthwise != (entry.kind == "depthwise"):
            self.report((*place, "kind"), f"{groups} groups of {c} channels to {entry.channels} are "
                        f"{'depthwise' if depthwise else 'conv'}", "")  # fmt: skip
            return None
        weights = self._take(place, f"{entry.name}.weights", np.int8, (entry.channels, *kernel, c // groups))
        bias = self._take(place, f"{entry.name}.bias", np.int32, (entry.channels,))
        scale = self._take(place, f"{entry.name}.scale", np.float32, (entry.channels,))
        if weights is None or bias is None or scale is None:
            return None
        return QConv(
            name=entry.name, kind=entry.kind, input=source.name, output=result.name, weights=weights, bias=bias,
            scale=scale, stride=(1, 1) if plain else pair(entry.stride),
            pads=(0, 0, 0, 0) if plain else four(entry.padding),
            dilation=(1, 1) if plain else pair(entry.dilation), groups=groups, lo=entry.limits[0], hi=entry.limits[1],
        )  # fmt: skip

    def _lrn(self, place: Keys, entry: keys.LrnKeys, source: Tensor, result: Tensor) -> QLrn | None:
        square = self._take(place, f"{entry.name}.square", np.int8, TABLE)
        factor = self._take(place, f"{entry.name}.factor", np.int8, TABLE)
        for part, table in (("square", square), ("factor", factor)):
            if table is not None and table.min() < 0:
                self.report(place, f"{self.name} array '{entry.name}.{part}' holds values below 0", "")
        if square is None or factor is None:
            return None
        return QLrn(
            name=entry.name, kind="lrn", input=source.name, output=result.name, size=entry.size, square=square,
            index_scale=np.float32(entry.index_scale), index_zero=entry.index_zero, factor=factor,
            scale=np.float32(entry.scale),
        )  # fmt: skip

    def port(self, place: Keys, entry: keys.PortKeys, tensor: Tensor) -> Port | None:
        """Where the elements of an input or output lie, or None when that is no order of its elements."""
        h, w, c = tensor.shape
        shape, name = tuple(entry.shape), f"{entry.tensor}.order"
        if prod(shape) != tensor.size:
            self.report((*place, "shape"), f"{list(shape)} does not hold the {tensor.size} elements of the tensor", "")
            return None
        index = None
        if self.arrays is not None and name in self.arrays:
            index = self._take(place, name, np.int64, shape)
            if index is not None and not np.array_equal(np.sort(index, axis=None), np.arange(tensor.size)):
                self.report(place, f"{self.name} array {name!r} is no order of {tensor.size} elements", "")
                return None
        elif shape not in ((c, h, w), *([(c, w)] if h == 1 else []), *([(c,)] if h == w == 1 else [])):
            self.report((*place, "shape"), f"needs an array {name!r} that says where its elements lie", "")
            return None
        return Port(name=entry.name, layout=Layout(shape=shape, hwc=tensor.shape, index=index))

    def _take(self, place: Keys, name: str, dtype: type, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """An array of the file, or None when it is missing or another than expected."""
        if self.arrays is None:
            return None
        if name not in self.arrays:
            hint = suggest(name, self.arrays, "in the file")
            self.report((*place, "name"), f"{self.name} has no array {name!r}", hint)
            return None
        array = self.arrays[name]
        if array.dtype != dtype or array.shape != shape:
            wanted, got = (f"{np.dtype(t)} {list(s)}" for t, s in ((dtype, shape), (array.dtype, array.shape)))
            self.report((*place, "name"), f"{self.name} array {name!r}: expected {wanted}, got {got}", "")
            return None
        if array.dtype.kind == "f" and not (np.isfinite(array).all() and array.min() >= 0):
            problem = f"{self.name} array {name!r}: holds values that are not finite or below 0"
            self.report((*place, "name"), problem, "")
            return None
        return array


def pair(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]


def four(values: list[int]) -> Pads:
    return values[0], values[1], values[2], values[3]
