"""The numeric arrays of a MATLAB 5 file.

`scipy.io.loadmat` ends the whole process on some damaged files (a segmentation fault in its compiled part, seen
with scipy 1.17 when one byte of a length is wrong), which a reader of other people's files must not. A file is
a header and a row of elements: a tag with type and length, then the content, padded to 8 bytes.

Reference:
    MathWorks, MAT-File Format, version 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from stethos.errors import FormatError

_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC = range(6, 16)  # the classes double, single and the integers
_COMPLEX = 0x0800
_LARGEST = 2**31  # bytes that one compressed element may unfold to


def numeric_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Every real numeric array of a MATLAB 5 file by its name; texts, structures and cells are left out.

    Raises:
        FormatError: The file ends early, or an element is not what its tag says.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise FormatError("not a MATLAB 5 file: it does not say in which order its bytes are")
    arrays: dict[str, np.ndarray] = {}
    for kind, content in _elements(data[128:], order):
        if kind == _COMPRESSED:
            found = [each for each in _elements(_unfolded(content), order) if each[0] == _MATRIX]
        else:
            found = [(kind, content)] if kind == _MATRIX else []
        arrays.update(named for _, matrix in found if (named := _array(matrix, order)))
    return arrays


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of one element after another."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}2I", data, at)
        start = at + 8
        if kind >> 16:  # up to 4 bytes lie in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(data):
            raise FormatError(f"an element promises {size} bytes where the file holds {len(data) - start}")
        yield kind, data[start : start + size]
        at = at + 8 if start == at + 4 else start + size + (0 if kind == _COMPRESSED else -size % 8)


def _unfolded(content: bytes) -> bytes:
    """A compressed element's content, up to a limit."""
    try:
        unfolded = zlib.decompressobj().decompress(content, _LARGEST)
    except zlib.error as error:
        raise FormatError(f"a compressed element is damaged ({error})") from error
    return unfolded


def _array(matrix: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and values of a matrix element, or None where it is not numeric and real."""
    parts = list(_elements(matrix, order))
    if len(parts) < 4 or len(parts[0][1]) < 8:
        return None
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    kind, content = parts[3]
    if flags & 0xFF not in _NUMERIC or flags & _COMPLEX or kind not in _TYPES:
        return None
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist()) if len(parts[1][1]) % 4 == 0 else ()
    item = np.dtype(order + _TYPES[kind])
    count = int(np.prod(shape, dtype=object)) if shape else 0
    if min(shape, default=-1) < 0 or count * item.itemsize != len(content):
        raise FormatError(f"an array of shape {shape} does not fit its {len(content)} bytes")
    return parts[2][1].decode("latin-1"), np.frombuffer(content, item).reshape(shape, order="F")
