"""What a monitor hears from: a source gives blocks of sound, and says where sound is missing.

A source is asked for its next piece and never waits: it gives a `Block`, a `Missing`, or nothing for now. Where it
stands is told by `to_json`, so that it goes on from there after a restart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stethos.errors import RecipeError
from stethos.types import Origin, Signal

LACKING = 0.01  # of a block's length: so much may be lacking at the end of a recording


@dataclass(frozen=True, eq=False)
class Block:
    """A stretch of sound to be judged.

    Args:
        sound: One channel at the rate it was recorded at.
        start: Seconds; POSIX time where `stated`, otherwise on from the block before.
        stated: Whether the recording says when it began.
        file: Name of the file; "" for a stream.
        offset: Seconds from the start of the file or stream.
        left_out: Seconds of the file after this block that are too short for another one.
        origin: "synthetic" or "generated" where the recording says so.
    """

    sound: Signal
    start: float
    stated: bool = False
    file: str = ""
    offset: float = 0.0
    left_out: float = 0.0
    origin: Origin = "real"


@dataclass(frozen=True)
class Missing:
    """Sound that should have been there.

    Args:
        reason: Why it is not, as a phrase.
        file: Name of the file; "" for a stream.
        seconds: How much; None where nobody can tell.
    """

    reason: str
    file: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Cut:
    """How sound is cut into blocks.

    Args:
        seconds: Length of a block.
        channel: Name of the channel that is heard; None for the first.
        gap: Seconds without sound that count as missing.

    Raises:
        RecipeError: A length is not positive.
    """

    seconds: float
    channel: str | None = None
    gap: float = 5.0

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.gap > 0):
            raise RecipeError(f"a block and a gap need positive seconds; got {self.seconds:g} and {self.gap:g}")


class Source(Protocol):
    """What a monitor asks of a source."""

    name: str

    @property
    def finished(self) -> bool:
        """Whether nothing will ever come again."""

    @property
    def waiting(self) -> int:
        """Files that are there and not complete, or not heard yet."""

    def next(self, now: float) -> Block | Missing | None:
        """The next piece; None where there is nothing for now.

        Args:
            now: POSIX time in seconds; it may jump.
        """

    def to_json(self) -> dict[str, Any]:
        """Where it stands, as plain values."""

    def restore(self, saved: dict[str, Any] | None, folder: Path) -> None:
        """Go on from there, or begin.

        Args:
            saved: What `to_json` gave; None to begin.
            folder: Where the monitor keeps its state.
        """

    def settle(self) -> None:
        """Be told that what `to_json` gave last is safely on disk."""


def refuse_name(name: str) -> None:
    """Raise where a source cannot have a name, which is also that of a file.

    Raises:
        RecipeError: It is empty, or holds something else than letters, digits, dot, dash and underscore.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise RecipeError(f"the name of a source needs letters, digits, dot, dash or underscore; got {name!r}")
