"""A live stream of the pulse: every so often the stretch since the last time is judged as a recording of its own.

A network of the pulse joins the patches of a recording, so that no part of a long recording has an answer of its own.
Of the answers about stretches the means are told, each stretch weighing as much as its quality; they are not what
`predict` says of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stethos.errors import RecipeError
from stethos.signal.pulse import RATES
from stethos.study.pulses import PulseWindows
from stethos.study.stream import Line
from stethos.types import Signal


@dataclass(frozen=True)
class LivePulse:
    """What is known of a stream of the pulse and of the model.

    Args:
        windows: How recordings are cut and judged, and which channel it is.
        tasks: What the model tells.
        every: Length of a stretch in seconds.
        rate: Hz; taken from the times where None.
        unit: Of the values; none where None.

    Raises:
        RecipeError: A stretch is shorter than a patch.
    """

    windows: PulseWindows
    tasks: Sequence[str]
    every: float
    rate: float | None = None
    unit: str | None = None
    usual_unit: str = "1"
    lowest: float = RATES[0]

    def __post_init__(self) -> None:
        if not self.every >= self.windows.seconds:
            raise RecipeError(f"--every is at least a patch of {self.windows.seconds:g} s; got {self.every:g}")

    @property
    def lead(self) -> str:
        """Name of the channel."""
        return self.windows.channel

    @property
    def seconds(self) -> float:
        """Length of a stretch."""
        return self.every

    def quality(self, lead: Signal, told: Line) -> tuple[str, float]:
        """What became of each patch of a stretch, and their mean quality; 0 where none was used."""
        return told.get("quality") or told["reason"], float(told.get("pulse_quality", 0.0))

    def numbers(self, told: Line) -> dict[str, float]:
        """Estimates by name, of yes-or-no tasks the probability; none where the stretch was refused."""
        names = [name for task in self.tasks for name in (task, f"{task}_estimate")]
        return {name: float(told[name]) for name in names if told.get(name) is not None}

    def words(self, means: dict[str, float]) -> Line:
        """The means as they are."""
        return dict(means)
