"""Answers of a language model kept in a file, so that no question is paid for twice.

One JSON object a line, written when the answer comes: what was answered before a kill is there afterwards, and a line
that the kill cut short is passed over. The lines hold what patients' records say: the file belongs under `private/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from stethos.errors import FormatError
from stethos.io.endpoint import Question, Reply
from stethos.io.files import read_bytes

_NAMES = {field.name for field in fields(Reply)}
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "url": (str,),
    "model": (str,),
    "read": (int, type(None)),
    "written": (int, type(None)),
    "cut": (bool,),
}


def key_of(question: Question, model: str, seed: int) -> str:
    """What an answer is kept under: everything that it hangs on, and not the server's address."""
    asked = [model, seed, question.most, question.schema, list(question.messages)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Answers:
    """Answers of a file, and a way to keep more.

    Args:
        path: The file; it and its folder are made where there are none, readable by their owner alone.

    Raises:
        FormatError: It cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.spoiled = 0
        self._lock = threading.Lock()
        self._known: dict[str, Reply] = {}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise self._unwritable(error) from error
        data = read_bytes(self.path)
        for line in data.splitlines():
            self._take(line)
        if data and not data.endswith(b"\n"):  # cut short; what follows begins a line of its own
            self._append(b"\n")

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Reply:
        return self._known[key]

    def keep(self, key: str, reply: Reply) -> None:
        """Add an answer to the file; any thread may.

        Raises:
            FormatError: The disk is full, or the file cannot be written.
        """
        line = json.dumps({"key": key, **asdict(reply)}).encode() + b"\n"
        with self._lock:
            self._append(line)
            self._known[key] = reply

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            entry = json.loads(line)
            self._known[_text(entry["key"])] = _reply(entry)
        except (ValueError, LookupError, TypeError, RecursionError):
            self.spoiled += 1

    def _append(self, data: bytes) -> None:
        """Opened anew each time: after a crash nothing waits in a buffer."""
        try:
            with self.path.open("ab", buffering=0) as file:
                if file.write(data) != len(data):
                    raise OSError("only a part of a line was written")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> FormatError:
        return FormatError(
            f"{self.path}: the answers of the language model cannot be kept here ({error.strerror or error}); free "
            "space or choose another folder"
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _reply(entry: dict[str, Any]) -> Reply:
    found = {name: entry[name] for name in _NAMES}
    if not all(isinstance(found[name], _KINDS[name]) for name in _NAMES):
        raise TypeError
    return Reply(**found)
