"""What the header of a sound file promises, and whether the file holds it.

A decoder reads a file that was cut off as a shorter sound and says nothing. So the promise is compared with the
bytes that are there before anything is decoded. WAV and AIFF are chunks, each a name of four letters and a
length; an Ogg stream ends with a page that says so; what a FLAC file lacks its decoder finds.

Reference:
    Kabal, Audio file format specifications, McGill University; RFC 3533 (Ogg), section 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from stethos.errors import FormatError

Container = Literal["WAV", "AIFF", "FLAC", "OGG"]

_UNKNOWN_LENGTH = 0xFFFFFFFF  # what a recorder writes that cannot go back to its header; in RF64: see ds64
_COMPRESSED = frozenset((0x02, 0x11, 0x31, 0x38, 0x45, 0x55, 0x64))  # ADPCM, GSM, MP3, …: blocks, not frames
_LAST_PAGE = 0x04
_LONGEST_PAGE = 65_307  # bytes


def container_of(start: bytes) -> Container | None:
    """The kind of sound file that the first twelve bytes announce; None where they announce none."""
    outer, inner = start[:4], start[8:12]
    if outer in (b"RIFF", b"RIFX", b"RF64") and inner == b"WAVE":
        return "WAV"
    if outer == b"FORM" and inner in (b"AIFF", b"AIFC"):
        return "AIFF"
    return {b"fLaC": "FLAC", b"OggS": "OGG"}.get(outer)  # type: ignore[return-value]


def refuse_cut_off(file: BinaryIO, path: Path) -> Container:
    """Compare what the header promises with what is there.

    Args:
        file: Open for reading, seekable.
        path: Of the file, for the message.

    Returns:
        The kind of the file.

    Raises:
        FormatError: It is no sound file, its header is broken, or it holds less than the header promises.
    """
    file.seek(0)
    start = file.read(12)
    kind = container_of(start)
    if kind is None:
        seen = f"it begins with {start!r}" if start else "it is empty"
        raise FormatError(f"{path}: not a sound; {seen}; needs WAV, FLAC, OGG or AIFF")
    size = file.seek(0, 2)
    if kind == "WAV":
        _check_wav(file, size, path)
    elif kind == "AIFF":
        _check_aiff(file, size, path)
    elif kind == "OGG":
        _check_ogg(file, size, path)
    return kind


def _chunks(file: BinaryIO, order: str, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and stated length of each chunk."""
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == bytes(4):  # what is left is blank
            return
        yield name, place + 8, length
        place += 8 + length + length % 2


def _check_wav(file: BinaryIO, size: int, path: Path) -> None:
    """Raise unless the data chunk is whole."""
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    code, frame, long = 0, 0, None
    for name, start, length in _chunks(file, order, size):
        if name == b"ds64" and length >= 16:  # the 64-bit lengths of RF64
            long = struct.unpack("<Q", _part(file, start + 8, 8, path))[0]
        elif name == b"fmt ":
            code, frame = _wav_format(_part(file, start, min(length, 26), path), order, path)
        elif name == b"data":
            promised = long if length == _UNKNOWN_LENGTH and long is not None else length
            if promised != _UNKNOWN_LENGTH:
                _refuse_less(path, promised, size - start, 0 if code in _COMPRESSED else frame)
            return
    raise FormatError(f"{path}: a WAV header without sound data behind it; copy or export the file again")


def _wav_format(body: bytes, order: str, path: Path) -> tuple[int, int]:
    """Code of the coding, and bytes of a frame or block."""
    if len(body) < 16:
        raise FormatError(f"{path}: the WAV header states no format; copy or export the file again")
    code, frame = struct.unpack_from(f"{order}H10xH", body)
    if code == 0xFFFE and len(body) >= 26:  # extensible: the code proper comes later
        code = struct.unpack_from(f"{order}H", body, 24)[0]
    return code, frame


def _check_aiff(file: BinaryIO, size: int, path: Path) -> None:
    """Raise unless the sound chunk is whole."""
    kind, frame = b"NONE", 0
    for name, start, length in _chunks(file, ">", size):
        if name == b"COMM":
            body = _part(file, start, min(length, 22), path)
            if len(body) < 18:
                raise FormatError(f"{path}: the AIFF header states no format; copy or export the file again")
            channels, bits = struct.unpack_from(">h4xh", body)
            kind, frame = body[18:22] or kind, channels * ((bits + 7) // 8)
        elif name == b"SSND":
            plain = kind in (b"NONE", b"sowt", b"twos", b"fl32", b"fl64", b"FL32", b"FL64", b"raw ")
            _refuse_less(path, length - 8, size - start - 8, frame if plain else 0)  # 8: offset and block size
            return
    raise FormatError(f"{path}: an AIFF header without sound data behind it; copy or export the file again")


def _check_ogg(file: BinaryIO, size: int, path: Path) -> None:
    """Raise unless the file ends with a whole page that is marked as the last."""
    file.seek(max(0, size - _LONGEST_PAGE))
    tail = file.read()
    page = tail.rfind(b"OggS")
    head = tail[page : page + 27] if page >= 0 else b""
    if len(head) == 27 and head[5] & _LAST_PAGE:
        lengths = tail[page + 27 : page + 27 + head[26]]
        if len(tail) - page >= 27 + head[26] + sum(lengths):
            return
    raise FormatError(f"{path}: the stream stops before its last page; copy the file again")


def _part(file: BinaryIO, start: int, length: int, path: Path) -> bytes:
    """Bytes of the header."""
    file.seek(start)
    part = file.read(length)
    if len(part) < length:
        raise FormatError(f"{path}: the file ends within its header; copy it again")
    return part


def _refuse_less(path: Path, promised: int, held: int, frame: int) -> None:
    """Raise where fewer bytes follow than the header promises; in frames where they all have one size."""
    if held >= promised:
        return
    what, size = ("frames", frame) if frame > 0 else ("bytes of sound", 1)
    raise FormatError(
        f"{path}: header promises {promised // size} {what}, the file holds {max(held, 0) // size}; copy it again"
    )
