"""Whole files: read with one clear error, written all or nothing."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import uuid
from pathlib import Path

from stethos.errors import FormatError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        FormatError: There is no such file, or it cannot be opened.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error


def read_text(path: Path) -> str:
    """A text file's content in whichever of the usual encodings: UTF-8, UTF-16 with its mark, Windows-1252.

    Raises:
        FormatError: There is no such file, or it cannot be opened.
    """
    return decoded(read_bytes(path))


def decoded(data: bytes) -> str:
    """Bytes as text in whichever of the usual encodings: UTF-8, UTF-16 with its mark, Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV as cells; empty lines are left out.

    Raises:
        FormatError: There is no such file, it cannot be opened, or it is no CSV.
    """
    try:
        return [cells for cells in csv.reader(read_text(path).splitlines()) if any(cells)]
    except csv.Error as error:
        raise FormatError(f"{path}: cannot be read as CSV ({error}); export it again") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    The bytes go to a hidden file in the same folder, reach the disk, and take the name in one step. Missing
    folders are made.

    Args:
        path: Where the file shall lie.
        data: All of its content.

    Raises:
        FormatError: The disk is full, or the folder cannot be written to; what lay there before is untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        why = "the disk is full" if error.errno in _FULL else f"it cannot be written ({error.strerror or error})"
        raise FormatError(f"{path}: needs {len(data)} bytes and {why}; free space or choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
