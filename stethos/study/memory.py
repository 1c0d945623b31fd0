"""What a monitor remembers on disk: how far it has come, and what maintenance was reported to it.

state.json         all that is needed to go on; written anew, all or nothing
rebaseline.jsonl   one line a report, only ever added to
seen/NAME.txt      the files of a folder that were heard
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stethos.errors import FormatError, RecipeError, RunError
from stethos.io.files import write_atomic
from stethos.study.judging import moment

VERSION = 1


def new_state(folder: Path) -> dict[str, Any]:
    """Of a monitor that has heard nothing; older reports do not concern it."""
    return {"version": VERSION, "heeded": _size(_reports(folder)), "sources": {}}


def read_state(folder: Path) -> dict[str, Any] | None:
    """What was written last; None where nothing was.

    Raises:
        RunError: It is broken, or of another version.
    """
    path = Path(folder) / "state.json"
    if not path.exists():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        version = held["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no monitor's state ({error}); restore it, or name another folder") from error
    if version != VERSION:
        raise RunError(f"{path} is of version {version}, needs {VERSION}; name another folder")
    return held


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state, all or nothing.

    Raises:
        FormatError: The disk is full, or the folder cannot be written to.
    """
    write_atomic(Path(folder) / "state.json", json.dumps(state, allow_nan=False).encode())


def rebaseline(
    state: Path, reason: str, sources: Sequence[str] = (), clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Report maintenance: what is usual is learnt anew, and persistence begins afresh; the threshold stays.

    A monitor that runs heeds the report at its next block, another when it is started.

    Args:
        state: Folder of the monitor.
        reason: What was done to the machine.
        sources: That were touched; all where empty.
        clock: POSIX time in seconds.

    Returns:
        The report as it was added to the log.

    Raises:
        RecipeError: The reason is empty.
        RunError: The folder is not a monitor's, or has no such source.
        FormatError: The report cannot be written.
    """
    if not reason.strip():
        raise RecipeError('a new baseline needs the reason, such as "bearing changed"; got none')
    held = read_state(state)
    if held is None:
        raise RunError(f"{state} holds no state.json; name the folder of a monitor")
    unknown = sorted(set(sources) - set(held["sources"]))
    if unknown:
        raise RunError(f"{state} has no source {', '.join(unknown)}; it has {', '.join(held['sources'])}")
    report = {"time": moment(clock()), "reason": reason.strip(), "sources": list(sources)}
    _append(_reports(state), json.dumps(report, ensure_ascii=False) + "\n")
    return report


def new_reports(folder: Path, heeded: int) -> tuple[list[dict[str, Any]], int]:
    """Reports since the last look, each with a reason and sources, and what to give next time.

    Args:
        folder: Of the monitor.
        heeded: Bytes of the log that were dealt with; a log that is shorter has been replaced and is read whole.
    """
    path = _reports(folder)
    size = _size(path)
    if size == heeded:
        return [], heeded
    start = heeded if heeded < size else 0
    with path.open("rb") as file:
        file.seek(start)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]  # a line that is being written comes later
    return [_report(line) for line in whole.splitlines() if line.strip()], start + len(whole)


def _report(line: bytes) -> dict[str, Any]:
    """A line of the log; one that somebody wrote by hand is a reason that concerns all sources."""
    text = line.decode("utf-8", "replace").strip()
    try:
        report = json.loads(text)
        return {"reason": str(report["reason"]), "sources": list(report["sources"])}
    except (ValueError, KeyError, TypeError):
        return {"reason": text, "sources": []}


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FormatError(f"{path}: cannot be written ({error.strerror or error}); check the folder") from error


def _reports(folder: Path) -> Path:
    return Path(folder) / "rebaseline.jsonl"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
