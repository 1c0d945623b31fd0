"""Prepared arrays of one shape in memory-mapped shards, and an index.

    shard-00000.bin …        rows one after the other, little-endian, no header
    shard-00000.json …       the ids of its rows and the writer's note
    writing.json             key, shape and dtype, before the first row
    index.json               written last: a folder without it does not open

A writer that is killed loses the shard it was in; the next one goes on after the last whole shard.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from stethos.errors import CohortError
from stethos.io.files import write_atomic

_SHARD_BYTES = 2**28
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, eq=False)
class Store:
    """Rows of one shape, read from disk when they are asked for.

    Args:
        folder: Where it is.
        ids: Identifier of every row, `(N,)`.
        shape: Of one row.
        dtype: Of the values.
        notes: What the writer noted with each shard.
        shards: One memory map a shard, `(rows, *shape)`, read-only.
        starts: Number of the first row of each shard.
    """

    folder: Path
    ids: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    notes: tuple[Any, ...]
    shards: tuple[np.ndarray, ...] = field(repr=False)
    starts: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> np.ndarray:
        """One row, read-only, not copied, `shape`."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)}")
        number = row % len(self)
        shard = int(np.searchsorted(self.starts, number, "right")) - 1
        values: np.ndarray = self.shards[shard][number - self.starts[shard]]
        return values

    def take(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Copies of the given rows, `(B, *shape)`."""
        chosen = np.asarray(rows, np.int64)
        values = np.empty((len(chosen), *self.shape), self.dtype)
        for place, row in enumerate(chosen.tolist()):
            values[place] = self[row]
        return values


class StoreWriter:
    """Writes a store row by row; goes on where a killed writer stopped.

    Args:
        folder: Made if missing.
        shape: Of one row.
        key: What the rows were made from and how, as JSON; another key in the folder is refused.
        dtype: Of the values.

    Raises:
        CohortError: The folder holds a store of another key, shape or dtype.
    """

    def __init__(self, folder: Path, shape: Sequence[int], key: object = None, dtype: type = np.float32) -> None:
        self.folder, self.shape, self.dtype = Path(folder), tuple(shape), np.dtype(dtype).newbyteorder("<")
        self._about = {"key": key, "shape": list(self.shape), "dtype": self.dtype.str}
        if (self.folder / "writing.json").exists():
            _refuse_other(self.folder, self._about)
        else:
            write_atomic(self.folder / "writing.json", json.dumps(self._about).encode())
        self.shards = list(_whole_shards(self.folder))
        self._ids: list[str] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            # what is still buffered belongs to a shard that will never be whole
            with suppress(OSError):
                self._file.close()

    @property
    def done(self) -> int:
        """Rows in whole shards."""
        return sum(len(shard["ids"]) for shard in self.shards)

    @property
    def open_bytes(self) -> int:
        """Bytes in the shard that is being written."""
        return len(self._ids) * int(np.prod(self.shape)) * self.dtype.itemsize

    def append(self, name: str, values: np.ndarray) -> None:
        """Add a row to the open shard.

        Raises:
            CohortError: The row has another shape, or the disk is full.
        """
        if values.shape != self.shape:
            raise CohortError(f"{name}: a row of this store has shape {self.shape}; got {values.shape}")
        with _disk(self.folder):
            if self._file is None:
                self._file = self._path(".part").open("wb")
            self._file.write(np.ascontiguousarray(values, self.dtype).data)
        self._ids.append(name)

    def close_shard(self, note: object = None) -> None:
        """Make the open shard whole: what is in it survives.

        Raises:
            CohortError: The disk is full.
        """
        with _disk(self.folder):
            with self._file or self._path(".part").open("wb") as file:
                self._file = None
                file.flush()
                os.fsync(file.fileno())
            self._path(".part").replace(self._path(".bin"))
            shard = {"ids": self._ids, "note": note}
            write_atomic(self._path(".json"), json.dumps(shard).encode())
        self.shards.append(shard)
        self._ids = []

    def finish(self) -> Store:
        """Write the index; only now does the store open.

        Raises:
            CohortError: The disk is full.
        """
        if self._ids:
            self.close_shard()
        write_atomic(self.folder / "index.json", json.dumps({**self._about, "shards": len(self.shards)}).encode())
        return open_store(self.folder)

    def _path(self, suffix: str) -> Path:
        return self.folder / f"shard-{len(self.shards):05d}{suffix}"


def write_store(
    folder: Path,
    rows: Iterable[tuple[str, np.ndarray]],
    shape: Sequence[int],
    key: object = None,
    dtype: type = np.float32,
    shard_rows: int | None = None,
) -> Store:
    """Write rows to a store, or go on writing them.

    Args:
        folder: Made if missing.
        rows: (identifier, values of `shape`), the same in the same order when a killed writing is repeated.
        shape: Of one row.
        key: What the rows were made from and how, as JSON.
        dtype: Of the values.
        shard_rows: Rows a shard; None for about 256 MiB.

    Raises:
        CohortError: The folder holds a store of another key, shape or dtype, or the disk is full.
    """
    with StoreWriter(folder, shape, key, dtype) as writer:
        if (writer.folder / "index.json").exists():
            return open_store(folder)
        size = shard_rows or max(1, _SHARD_BYTES // max(1, int(np.prod(shape)) * writer.dtype.itemsize))
        done = writer.done
        for row, (name, values) in enumerate(rows, start=1):
            if row > done:
                writer.append(name, values)
                if row % size == 0:
                    writer.close_shard()
        return writer.finish()


def open_store(folder: Path, key: object = None) -> Store:
    """Open a whole store.

    Args:
        folder: Where it is.
        key: What its rows must have been made from and how; None to take what is there.

    Raises:
        CohortError: There is none, it is not whole, or its key is another.
    """
    folder = Path(folder)
    if not (folder / "index.json").is_file():
        raise CohortError(f"{folder}: needs a whole store; writing was not finished: prepare it again")
    about = json.loads((folder / "index.json").read_text("utf8"))
    if key is not None:
        _refuse_other(folder, {**about, "key": key})
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    whole = list(_whole_shards(folder))
    sizes = [len(shard["ids"]) for shard in whole]
    shards = tuple(_map(folder / f"shard-{n:05d}.bin", (size, *shape), dtype) for n, size in enumerate(sizes))
    if len(shards) != about["shards"]:
        raise CohortError(
            f"{folder}: {about['shards']} shards were written, {len(shards)} are there; delete the folder"
        )
    ids = np.array([name for shard in whole for name in shard["ids"]], dtype=str)
    starts = np.cumsum([0, *sizes])[:-1]
    return Store(folder, ids, shape, dtype, tuple(shard["note"] for shard in whole), shards, starts)


def _whole_shards(folder: Path) -> Iterator[dict[str, Any]]:
    """What the note beside each shard says, up to the first that is not there."""
    number = 0
    while (note := folder / f"shard-{number:05d}.json").is_file():
        yield json.loads(note.read_text("utf8"))
        number += 1


def _map(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if 0 in shape:
        return np.empty(shape, dtype)
    expected, held = int(np.prod(shape)) * dtype.itemsize, path.stat().st_size if path.is_file() else 0
    if held != expected:
        raise CohortError(f"{path}: needs {expected} bytes, holds {held}; delete the folder and prepare it again")
    # a plain view: slicing np.memmap itself costs several times as much
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))


def _refuse_other(folder: Path, about: dict[str, Any]) -> None:
    written = json.loads((folder / "writing.json").read_text("utf8"))
    wanted = json.loads(json.dumps(about))
    other = [name for name in ("key", "shape", "dtype") if written[name] != wanted[name]]
    if other:
        name = other[0]
        raise CohortError(
            f"{folder}: holds a store of another {name} ({json.dumps(written[name])[:200]}, now "
            f"{json.dumps(wanted[name])[:200]}); delete the folder or choose another"
        )


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise CohortError(f"{folder}: the disk is full; free some space and repeat: it goes on") from None
        raise
