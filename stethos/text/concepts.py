"""What the table of findings holds: concepts, measurements, and the limits that join the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """From where on a measurement is abnormal.

    Args:
        measure: Its name.
        side: "above", "below", "from" (or equal) or "upto" (or equal).
        men: The limit for men, in the measure's unit.
        women: For women.
        absent: From here back the finding is absent, `(men, women)`; None if the same number says both.
        one_sided: Whether a number never says that the finding is absent.
        citation: Whose limit it is.
    """

    measure: str
    side: str
    men: float
    women: float
    absent: tuple[float, float] | None
    one_sided: bool
    citation: str

    def beyond(self, value: float, sex: str | None) -> float | None:
        """1.0 beyond the limit, 0.0 within, None where men and women, or the two limits, disagree."""
        chosen = {"m": (0,), "f": (1,)}.get((sex or "")[:1].lower(), (0, 1))
        found = {self._of(value, (self.men, self.women)[who], (self.absent or (None, None))[who]) for who in chosen}
        return found.pop() if len(found) == 1 else None

    def _of(self, value: float, limit: float, absent: float | None) -> float | None:
        beyond = {"above": value > limit, "below": value < limit, "from": value >= limit, "upto": value <= limit}
        if beyond[self.side]:
            return 1.0
        upward = self.side in ("above", "from")
        within = absent is None or (value <= absent if upward else value >= absent)
        return 0.0 if within and not self.one_sided else None


@dataclass(frozen=True)
class Concept:
    """A finding that a report can state or deny.

    Args:
        name: Key, such as "mitral_stenosis".
        words: To show.
        group: "myocardial", "chamber", "valvular", "great vessel" or "extra".
        status: "published" or "inferred".
        waves: Waves of the ECG that it is expected to change.
        prompts: By language, sentences of those who have it and of those who do not.
        least: Least grade that counts as present, 0.5 (trace) to 3 (severe).
        limits: Of measurements.
        plain: Whether the bare place called normal denies it.
        diffuse: Concept that is meant instead where the finding is diffuse; empty if none.
        any_of: Concepts of which one suffices.
        all_of: Concepts that it is made of.
    """

    name: str
    words: str
    group: str
    status: str
    waves: tuple[str, ...]
    prompts: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    least: float
    limits: tuple[Limit, ...]
    plain: bool
    diffuse: str
    any_of: tuple[str, ...]
    all_of: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """A number that reports give.

    Args:
        name: Key, such as "lvef".
        words: To show.
        unit: Of the value; reports may use another of the same dimension.
        low: Least plausible value.
        high: Greatest.
        bare: Whether reports leave the unit away.
        at: Concept whose place a generic name must follow; empty if there are no generic names.
        largest: Whether the largest of several counts, instead of the last.
        largest_of: Measures of which this is the largest.
    """

    name: str
    words: str
    unit: str
    low: float
    high: float
    bare: bool
    at: str
    largest: bool
    largest_of: tuple[str, ...]
