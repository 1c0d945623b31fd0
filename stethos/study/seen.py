"""Names of files that were dealt with, on disk, so that neither memory nor the list grows with the years."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stethos.errors import FormatError
from stethos.io.files import write_atomic

_SLACK = 1000  # names of files that are gone which may stand in the list before it is written anew
_SLACK_EMPTY = 100_000  # the same where all are gone: it may be a drive that is not mounted


class SeenNames:
    """An append-only list, one name a line; names of files that are gone are forgotten now and then.

    A line that was cut off by a power failure is passed over.

    Args:
        path: Of the list; made when the first name is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def add(self, names: list[str]) -> None:
        """Put names on the list, safely on disk; one that stands there already does no harm.

        Raises:
            FormatError: The disk is full, or the folder cannot be written to.
        """
        if not names:
            return
        # a line break first: the line before may have been cut off
        lines = "".join(f"\n{json.dumps(name)}" for name in names) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="ascii") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FormatError(f"{self.path}: cannot be written ({error.strerror or error}); free some space") from error

    def unseen(self, present: set[str]) -> set[str]:
        """Those of the names that are not on the list, which is read line by line.

        Args:
            present: Names of the files that there are; used up.
        """
        kept: list[str] = []
        listed = 0
        if self.path.exists():
            with self.path.open(encoding="ascii", errors="replace") as file:
                for line in file:
                    name = _name(line)
                    listed += name is not None
                    if name in present:
                        present.discard(name)
                        kept.append(name)
        if listed > 2 * len(kept) + (_SLACK if kept else _SLACK_EMPTY):
            write_atomic(self.path, "".join(f"{json.dumps(name)}\n" for name in kept).encode("ascii"))
        return present


def _name(line: str) -> str | None:
    """The name in a line of the list; None in an empty line or one that was cut off."""
    try:
        name = json.loads(line)
    except ValueError:
        return None
    return name if isinstance(name, str) else None
