"""Labelled images from an ``.npz`` file, brought to a network's input size."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError

DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, TypeError, SyntaxError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and zipfile raise for damaged files: their headers are Python text, their versions and flags bytes."""

SPLITS = ("train", "val", "test")
RESIZE_METHODS = ("bilinear", "nearest")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images in three splits. Pixels are stored small and brought to size when asked for.

    ``pixels`` (n, h, w, c) of any real type, ``classes`` (n,) integers, ``splits`` name -> indices into both.
    An image is ``pixels / divide``, resized to ``size`` (h, w), framed by ``border`` zeros on each side.
    """

    pixels: NDArray[Any]
    classes: NDArray[np.int64]
    splits: dict[str, NDArray[np.int64]]
    divide: float
    size: tuple[int, int]
    method: str
    border: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of one prepared image."""
        return (self.size[0] + 2 * self.border, self.size[1] + 2 * self.border, self.pixels.shape[3])

    def count(self, split: str) -> int:
        """Number of images in ``split``."""
        return len(self.splits[split])

    def images(self, split: str, count: int | None = None) -> NDArray[np.float32]:
        """float32 (count, h, w, c): the first ``count`` images, from the start again when there are fewer."""
        chosen = self.pixels[self._indices(split, count)].astype(np.float32) / np.float32(self.divide)
        n, h, w, c = chosen.shape
        if (h, w) != self.size:
            rows = resize_matrix(h, self.size[0], self.method)
            cols = resize_matrix(w, self.size[1], self.method)
            chosen = np.matmul(rows, chosen.reshape(n, h, w * c)).reshape(n, self.size[0], w, c)
            chosen = np.matmul(cols, chosen)
        border = (self.border, self.border)
        return np.pad(chosen, ((0, 0), border, border, (0, 0)))

    def labels(self, split: str, count: int | None = None) -> NDArray[np.int64]:
        """int64 (count,): the class of each image that :meth:`images` gives."""
        return self.classes[self._indices(split, count)]

    def _indices(self, split: str, count: int | None) -> NDArray[np.int64]:
        indices = self.splits[split]
        return indices if count is None else indices[np.arange(count) % len(indices)]


def resize_matrix(size: int, target: int, method: str) -> NDArray[np.float32]:
    """float32 (target, size): the weights that resize one axis, pixel centres aligned, edges repeated."""
    centre = (np.arange(target) + 0.5) * size / target - 0.5
    if method == "nearest":
        centre = np.rint(centre)
    low = np.floor(centre).astype(np.int64)
    part = centre - low
    matrix = np.zeros((target, size))
    row = np.arange(target)
    np.add.at(matrix, (row, np.clip(low, 0, size - 1)), 1 - part)
    np.add.at(matrix, (row, np.clip(low + 1, 0, size - 1)), part)
    return matrix.astype(np.float32)


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32 of the same shape; what is too large becomes infinite, to be refused as not finite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def given_feeds(
    given: Any, inputs: Sequence[tuple[str, tuple[int, ...]]], batch: int | None, where: str = "input"
) -> dict[str, NDArray[np.float32]]:
    """A caller's values of every input by name: one array for a network with one input, else a mapping by name.

    ``inputs`` are (name, shape of one image), mostly (h, w, c). Raises ConfigError (at ``where``, or ``where NAME``)
    for anything else.
    """
    names = [name for name, _ in inputs]
    known = ", ".join(names)
    if not isinstance(given, Mapping):
        if len(names) > 1:
            problem = f"the network has {len(names)} inputs and needs an array for each"
            raise ConfigError(where, "", problem, f"NAME=X.npy; in Python, a dictionary by name: {known}")
        return {names[0]: given_images(given, inputs[0][1], batch, where)}
    for name in given:
        if name not in names:
            raise ConfigError(f"{where} {name}", "", "the network has no such input", f"it has: {known}")
    feeds: dict[str, NDArray[np.float32]] = {}
    for name, shape in inputs:
        if name not in given:
            raise ConfigError(f"{where} {name}", "", "has no values", "every input needs an array")
        feeds[name] = given_images(given[name], shape, batch, f"{where} {name}")
        batch = len(feeds[name])
    return feeds


def given_images(
    given: Any, shape: tuple[int, ...], batch: int | None, where: str = "input"
) -> NDArray[np.float32]:
    """A caller's images, one of ``shape`` (mostly (h, w, c)) or several (n, *shape), as finite float32 (n, *shape).

    Raises ConfigError (at ``where``) for anything else, and when ``batch`` is another number than n.
    """
    images = np.asarray(given)
    if images.dtype.kind not in "fiub":
        raise ConfigError(where, "", "expected an array of numbers")
    images = as_float32(images)
    if images.shape == shape:
        images = images[None]
    if images.shape[1:] != shape or images.ndim != len(shape) + 1 or len(images) == 0:
        wanted = ", ".join(map(str, shape))
        raise ConfigError(where, "", f"expected (batch, {wanted}), got {np.shape(given)}")
    if not np.isfinite(images).all():
        raise ConfigError(where, "", "holds values that are not finite")
    if batch not in (None, len(images)):
        count = "1 image" if len(images) == 1 else f"{len(images)} images"
        raise ConfigError(where, "", f"holds {count} and the batch is {batch}")
    return images


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` file. Raises ``ValueError`` whose text says what is wrong with the file."""
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for name in archive.namelist():
                with archive.open(name) as member:
                    arrays[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
            return arrays
    except DAMAGE:
        raise ValueError("not an .npz file, or cut short") from None


def read_array(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file. Raises ``ValueError`` whose text says what is wrong with the file."""
    _check_file(path)
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except DAMAGE:
        raise ValueError("not an .npy file, or cut short") from None


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError("this is a directory, not a file")
    if not path.is_file():
        raise ValueError("no such file")


def read_dataset(
    path: Path, divide: float, size: tuple[int, int] | None, method: str, border: int
) -> Dataset:
    """Read ``images`` (n, h, w) or (n, h, w, c), ``labels`` (n,) and the index arrays ``train``, ``val``, ``test``.

    Raises ``ValueError`` whose text says what is wrong with the file.
    """
    arrays = read_arrays(path)
    missing = [name for name in ("images", "labels", *SPLITS) if name not in arrays]
    if missing:
        raise ValueError(f"has no array {missing[0]!r}")
    pixels, labels = arrays["images"], arrays["labels"]
    if pixels.ndim not in (3, 4) or 0 in pixels.shape or pixels.dtype.kind not in "uif":
        got = f"{pixels.dtype} {list(pixels.shape)}"
        raise ValueError(f"images must be numbers of shape (n, h, w) or (n, h, w, c), got {got}")
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "ui":
        raise ValueError(f"labels must be {len(pixels)} integers, got {labels.dtype} {list(labels.shape)}")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        extremes = np.array([pixels.min(), pixels.max()]).astype(np.float32) / np.float32(divide)
    if not np.isfinite(extremes).all():
        raise ValueError(f"images divided by {divide:g} hold values that are not finite")
    splits = {}
    for name in SPLITS:
        index = arrays[name]
        if index.ndim != 1 or index.dtype.kind not in "ui" or not len(index):
            raise ValueError(f"{name} must be a list of integers, got {index.dtype} {list(index.shape)}")
        if index.min() < 0 or index.max() >= len(pixels):
            raise ValueError(f"{name} holds an index outside 0..{len(pixels) - 1}")
        splits[name] = index.astype(np.int64)
    return Dataset(
        pixels=pixels if pixels.ndim == 4 else pixels[..., None], classes=labels.astype(np.int64), splits=splits,
        divide=divide, size=size or (pixels.shape[1], pixels.shape[2]), method=method, border=border,
    )  # fmt: skip
