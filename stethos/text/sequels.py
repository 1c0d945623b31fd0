"""What one clause of a sentence means for the others: questions, lists, later and more precise words."""

from __future__ import annotations

from collections.abc import Sequence

from stethos.text.lexicon import Lexicon
from stethos.text.outcome import Outcome
from stethos.text.phrases import Token
from stethos.text.statements import Clause


def ask(clauses: Sequence[Clause], tokens: Sequence[Token], verbs: frozenset[str]) -> None:
    """Carry a question over the list behind it: "evaluate for MS, AR" asks for both."""
    if not any("ask" in clause.flags for clause in clauses):
        return
    asked = False
    for clause in clauses:
        stated = clause.denials or clause.denied or clause.numbers or "now" in clause.flags
        normal = any(phrase.role == "normal" for _, phrase in clause.findings)
        verb = any(token.small in verbs for token in tokens[clause.first : clause.stop])
        asked = "ask" in clause.flags or (asked and not (stated or normal or verb))
        if asked:
            clause.flags.add("history")


def settle(outcomes: Sequence[Outcome]) -> None:
    """What a later part of the sentence says more precisely: a grade, or doubt whether a raised quantity means it."""
    for number, outcome in enumerate(outcomes):
        for later in outcomes[number + 1 :]:
            if not outcome.concepts or not outcome.concepts & later.concepts or outcome.denied or outcome.normal:
                continue
            if later.rank and not outcome.rank and not later.denied and outcome.concepts <= later.concepts:
                outcome.rank = later.rank
            measured = any(topic.aspect is not None for topic in outcome.clause.topics)
            if measured and "hedge" in later.flags and later.clause is not outcome.clause:
                outcome.flags = outcome.flags | {"hedge"}


def opens_with_denial(clause: Clause) -> bool:
    """Whether a denial stands before all else: "未见二尖瓣反流和主动脉瓣反流"."""
    return clause.denials[:1] == [clause.first]


def alternative(clause: Clause, following: Sequence[Clause], lexicon: Lexicon) -> bool:
    """Whether a clause is in a list that ends in "or": "no A, B or C"."""
    for other in (clause, *following):
        if other.opener in lexicon.words["alternative"]:
            return True
        if other.opener not in (",", "、") or other.grades or other.denials or other.numbers:
            return False
    return False
