"""Leaves the large weights of a model file on disk.

The library parses a file into a second copy of its weights, and every look at one makes a third. So the bytes of large
weights are cut out before, and replaced by what the format has for weights in another file: place and length, here
of the file itself (an empty location). Only the outline of the format is read: fields, and how long they are.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAPH, INITIALIZER = 7, 5  # field numbers of ModelProto.graph, GraphProto.initializer
RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 9, 13, 14  # of TensorProto
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
SMALLEST = 1 << 14  # bytes of a weight worth the trouble


def outline(data: memoryview) -> bytes:
    """The model without the bytes of large weights. Raises ValueError when ``data`` is not such a file."""
    return b"".join(_model(data))


def _model(data: memoryview) -> Iterator[bytes | memoryview]:
    for number, start, body, end in _fields(data, 0, len(data)):
        if number != GRAPH:
            yield data[start:end]
            continue
        parts = list(_graph(data, body, end))
        yield from _message(GRAPH, parts)


def _graph(data: memoryview, first: int, last: int) -> Iterator[bytes | memoryview]:
    for number, start, body, end in _fields(data, first, last):
        if number == INITIALIZER and end - body >= SMALLEST:
            yield from _message(INITIALIZER, list(_tensor(data, body, end)))
        else:
            yield data[start:end]


def _tensor(data: memoryview, first: int, last: int) -> Iterator[bytes | memoryview]:
    for number, start, body, end in _fields(data, first, last):
        if number != RAW_DATA or end - body < SMALLEST:
            yield data[start:end]
            continue
        for key, value in (("location", ""), ("offset", str(body)), ("length", str(end - body))):
            entry = [*_message(1, [key.encode()]), *_message(2, [value.encode()])]
            yield from _message(EXTERNAL_DATA, entry)
        yield _varint(DATA_LOCATION << 3 | VARINT) + _varint(1)


def _message(number: int, parts: list[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield _varint(number << 3 | BYTES) + _varint(sum(len(part) for part in parts))
    yield from parts


def _fields(data: memoryview, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, where it starts, where its content starts, where it ends) of each field."""
    while position < end:
        start = position
        tag, position = _read_varint(data, position, end)
        body = position
        match tag & 7:
            case 0:
                _, position = _read_varint(data, position, end)
            case 1:
                position += 8
            case 2:
                length, body = _read_varint(data, position, end)
                position = body + length
            case 5:
                position += 4
            case _:
                raise ValueError("no such wire type")
        if position > end:
            raise ValueError("cut short")
        yield tag >> 3, start, body, position


def _read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError("cut short")


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
