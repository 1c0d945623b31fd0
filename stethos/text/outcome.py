"""What is said about a finding: stated, denied, graded, in doubt, past."""

from __future__ import annotations

from dataclasses import dataclass

from stethos.text.phrases import Phrase
from stethos.text.statements import Clause

_DOUBTS = {"hedge": "hedged", "unclear": "not assessable", "history": "history"}


@dataclass(frozen=True)
class Said:
    """One thing said about one concept.

    Args:
        concept: Its name.
        value: 1.0 present, 0.0 absent, None uncertain.
        why: "stated", "stated normal", "denied", "below grade", "hedged", "borderline", "not assessable" or "history".
        phrase: The words.
        now: Whether it overrides what the sentence said before.
    """

    concept: str
    value: float | None
    why: str
    phrase: str
    now: bool = False


@dataclass
class Outcome:
    """A finding met with its places, before the rest of the sentence is known.

    Args:
        concepts: That are meant.
        normal: Whether the finding is that there is nothing.
        clause: Where it stands.
        denied: Whether it is denied.
        rank: Its grade; 0 if none.
        flags: As those of a clause.
        phrase: The finding.
        listed: Whether it stands in a list that a denial opened.
    """

    concepts: frozenset[str]
    normal: bool
    clause: Clause
    denied: bool
    rank: float
    flags: set[str]
    phrase: Phrase
    listed: bool = False

    def value(self, denies: bool, least: float) -> tuple[float | None, str]:
        """Value and reason.

        Args:
            denies: Whether the finding is a normal one.
            least: Least grade that counts as present.
        """
        if self.clause.denied and "history" in self.flags and not denies:
            return 0.0, "denied"
        if "borderline" in self.flags and not self.clause.topics and self.normal:
            return None, "borderline"
        for flag in ("history", "unclear", "hedge"):
            if flag in self.flags:
                return None, _DOUBTS[flag]
        if denies:
            return (None, "not assessable") if self.denied else (0.0, "stated normal")
        bounded = self.flags & {"upper", "no_more"}
        if self.denied and not bounded:
            return 0.0, "denied"
        if self.rank and self.rank < least:
            return 0.0, "below grade"
        if "ungraded" in self.flags and least > 1.0:
            return None, _DOUBTS["unclear"]
        return (None, "hedged") if "upper" in self.flags else (1.0, "stated")
