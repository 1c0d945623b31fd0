"""What is heard of the recordings of a cohort of machine sounds, and what its table says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stethos.errors import CohortError, RecipeError
from stethos.signal.clip import ClipWindows
from stethos.types import Cohort

FACTS = ("machine", "section", "domain", "attributes")
TOLD = (*FACTS, "year", "fault", "severity")  # follow into the predictions, "" where unknown


@dataclass(frozen=True)
class Listening:
    """What is heard of every recording, and what the recordings are divided into.

    Args:
        seconds: Length of the windows that a network hears; a shorter recording is repeated.
        channel: Name of the channel, "1" for the first.
        level: "as-is", or "rms" where the level of the recordings means nothing.
        classes: What is told apart: each machine and section, also their attributes, or transformed copies of
            the recordings; "auto" takes the first of these that gives two classes.
        valid_fraction: Share of the normal training recordings that stop the training and set thresholds.
        test_fraction: Share of the normal recordings that are tested, where the cohort has no column split.
        split_seed: Of the division.
    """

    seconds: float = 10.0
    channel: str = "1"
    level: Literal["as-is", "rms"] = "as-is"
    classes: Literal["auto", "section", "attributes", "copies"] = "auto"
    valid_fraction: float = 0.1
    test_fraction: float = 0.3
    split_seed: int = 0

    @property
    def windows(self) -> ClipWindows:
        """How a recording is cut."""
        return ClipWindows(self.seconds, self.channel, self.level)


def refuse_impossible(listening: Listening) -> None:
    """Raise where a recipe asks for what cannot be.

    Raises:
        RecipeError: The window is shorter than 0.2 s, or a fraction leaves nothing.
    """
    if not 0.2 <= listening.seconds <= 60:
        raise RecipeError(f"--seconds, the window, lies between 0.2 and 60; got {listening.seconds:g}")
    if not 0 < listening.valid_fraction < 1 or not 0 <= listening.test_fraction < 1:
        raise RecipeError(
            "--valid-fraction lies between 0 and 1 and --test-fraction from 0 to below 1; "
            f"got {listening.valid_fraction:g} and {listening.test_fraction:g}"
        )


def words(cohort: Cohort, name: str) -> np.ndarray:
    """A text column, "" where unknown or absent, `(N,)`."""
    if name not in cohort.rows:
        return np.full(len(cohort), "", dtype="<U1")
    column = cohort.rows[name]
    if column.dtype.kind == "f":
        return np.array(["" if np.isnan(item) else f"{item:.15g}" for item in column])
    return np.array(["" if item is None else str(item) for item in column])


def anomaly_of(cohort: Cohort) -> np.ndarray:
    """1 for anomalous, 0 for normal, NaN where unknown or without such a column, `(N,)`.

    Raises:
        CohortError: The column holds anything else.
    """
    said = words(cohort, "anomaly")
    strange = sorted(set(said.tolist()) - {"", "0", "1"})
    if strange:
        raise CohortError(f"the column anomaly holds 0, 1 or nothing; got {', '.join(strange[:3])}")
    return np.where(said == "", np.nan, said == "1")


def identity_of(machine: np.ndarray, section: np.ndarray) -> np.ndarray:
    """Machine and section in one word, such as "fan/id_00"; the machine alone where it has no sections, `(N,)`."""
    return np.where(section == "", machine, np.char.add(np.char.add(machine, "/"), section))
