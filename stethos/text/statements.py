"""A sentence cut into clauses: places, quantities and findings, and what is done to them.

A clause ends at a comma, at a bracket, at a joining word ("and", "with", "但"), and where a new place follows a whole
statement without any of these ("MR mild TR moderate").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from stethos.text.lexicon import Lexicon
from stethos.text.phrases import Item, Phrase, Token

FLAGS = ("hedge", "borderline", "unclear", "history", "ask", "now", "same", "diffuse", "upper", "no_more")
_MARKS = frozenset(".,;:()[]'-/+°<>=%*#")
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Topic:
    """A place, a quantity, or a quantity of a place.

    Args:
        place: Concepts that the place can mean; None where no place is named.
        aspect: Concepts that the quantity can mean; None where none is named.
        alone: Concepts that the quantity means without a place.
    """

    place: frozenset[str] | None
    aspect: frozenset[str] | None = None
    alone: frozenset[str] = _NOTHING

    @property
    def concepts(self) -> frozenset[str]:
        """Concepts that can be meant."""
        if self.place is None:
            return self.alone
        return self.place if self.aspect is None else self.place & self.aspect


@dataclass
class Clause:
    """A part of a sentence with at most one statement about its topics.

    Args:
        link: What stands before it: "join", "break", or "" for nothing.
        opener: The word that does.
        topics: Places and quantities, in order.
        findings: Place in the sentence and phrase, in order.
        grades: Place, rank, and the phrase where the grade can be a finding too ("large").
        flags: Of `FLAGS`.
        denials: Places of words that deny what follows.
        denied: Whether something denies what went before.
        recovered: Place and phrase of a word that says that it is normal again.
        topic_first: Whether the topic stood before the finding.
        foreign: Unknown words.
        numbers: How many.
        strange: Place of the last unknown word.
        first: Number of its first token.
        stop: Number of the token behind it.
    """

    link: str = ""
    opener: str = ""
    topics: list[Topic] = field(default_factory=list)
    findings: list[tuple[int, Phrase]] = field(default_factory=list)
    grades: list[tuple[int, float, Phrase]] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    denials: list[int] = field(default_factory=list)
    denied: bool = False
    recovered: tuple[int, Phrase] | None = None
    topic_first: bool = False
    foreign: int = 0
    numbers: int = 0
    strange: int = -1
    first: int = 0
    stop: int = 0


def cut(items: Sequence[Item], tokens: Sequence[Token], lexicon: Lexicon) -> list[Clause]:
    """Clauses of a sentence, in order, none of them empty."""
    found = [Clause()]
    behind_of = False
    for item in _graded(items, tokens, lexicon):
        phrase, clause = item.phrase, found[-1]
        role = phrase.role if phrase else ""
        whole = bool(clause.findings or clause.flags - {"now", "diffuse"})
        if role in ("break", "join") or (tokens[item.first].text == ":" and whole):
            found.append(Clause(role or "break", tokens[item.first].small, first=item.stop, stop=item.stop))
        elif phrase is None or role == "skip":
            _pass(clause, item, tokens)
        else:
            if clause.findings and (role == "no" or (role == "now" and "history" in clause.flags)):
                clause = Clause("break", tokens[item.first].small, first=item.first)
                found.append(clause)
            if _begins(clause, phrase, behind_of or _next_to_normal(clause, phrase, item)):
                clause = _apart(found, item)
            _add(clause, phrase, item, lexicon)
            clause.stop = item.stop
        behind_of = role == "of" or (behind_of and (phrase is None or role == "filler" or not phrase.is_topic))
    for clause in found:
        _recover(clause)
    return [clause for clause in found if clause.stop > clause.first]


def _recover(clause: Clause) -> None:
    """What is normal again: the finding before it is gone; without one, its place is normal."""
    if clause.recovered is None:
        return
    if clause.findings or not clause.topics:
        clause.denied = True
        return
    clause.findings.append(clause.recovered)
    clause.topic_first = True


def _pass(clause: Clause, item: Item, tokens: Sequence[Token]) -> None:
    """Count what says nothing of any concept."""
    if _is_word(tokens[item.first]):
        clause.foreign, clause.strange = clause.foreign + 1, item.first
    clause.numbers += tokens[item.first].text[0].isdigit()
    clause.stop = item.stop


def _is_word(token: Token) -> bool:
    return token.text not in _MARKS and not token.text[0].isdigit()


def _graded(items: Sequence[Item], tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[Item]:
    """Items, with two grades joined by a range made one: the lower of "mild to moderate", the second of a change."""
    place = 0
    while place < len(items):
        item = items[place]
        other = _other_grade(items, place, tokens, lexicon) if item.phrase and item.phrase.rank else 0
        if other and item.phrase:
            between = {_word(between, tokens) for between in items[place + 1 : other]}
            before = _word(items[place - 1], tokens) if place else ""
            changed = between & lexicon.words["become"] or before in lexicon.words["change"]
            rank = _rank(items[other]) if changed else min(_rank(item), _rank(items[other]))
            item = Item(replace(item.phrase, rank=rank), item.first, items[other].stop)
            place = other
        yield item
        place += 1


def _other_grade(items: Sequence[Item], place: int, tokens: Sequence[Token], lexicon: Lexicon) -> int:
    """Number of the grade that ends a range, such as "mild-to-moderate"; 0 if none begins here."""
    joining = lexicon.words["range"] | lexicon.words["become"]
    for other in range(place + 1, min(place + 5, len(items))):
        if _rank(items[other]):
            return other if other > place + 1 else 0
        if _word(items[other], tokens) not in joining:
            return 0
    return 0


def _word(item: Item, tokens: Sequence[Token]) -> str:
    return "".join(token.small for token in tokens[item.first : item.stop])


def _rank(item: Item) -> float:
    return item.phrase.rank if item.phrase else 0.0


def is_term(phrase: Phrase) -> bool:
    """Whether a phrase is a place and a finding in one."""
    return bool(phrase.of("term") or phrase.of("graded_term"))


def _next_to_normal(clause: Clause, phrase: Phrase, item: Item) -> bool:
    """Whether a quantity stands right behind "normal": "LV normal size"."""
    if not clause.findings or phrase.of("anatomy") or not phrase.of("aspect"):
        return False
    place, last = clause.findings[-1]
    return last.role == "normal" and place == item.first - 1


def _begins(clause: Clause, phrase: Phrase, behind_of: bool) -> bool:
    """Whether a phrase begins another statement: a place behind a whole one, or a second term."""
    if not clause.findings or phrase.rank or behind_of:
        return False
    if is_term(phrase):
        return True
    last = clause.findings[-1][1]
    if phrase.is_topic:
        return clause.topic_first or is_term(last)
    if not phrase.of("finding") or is_term(last):
        return False
    if not clause.topics:  # "severe regurgitation into a dilated left atrium"
        return clause.strange > clause.findings[-1][0]
    return not clause.topic_first


def _apart(found: list[Clause], item: Item) -> Clause:
    """A new clause from an item on; what stands before it and belongs to no finding yet goes along."""
    before = found[-1]
    last = before.findings[-1][0]
    clause = Clause(first=item.first, stop=item.first)
    loose = [grade for grade in before.grades if grade[0] > last]
    if loose and (len(loose) > 1 or len(before.grades) > len(loose)):
        clause.grades = loose[-1:]
        before.grades = [grade for grade in before.grades if grade not in clause.grades]
    clause.denials = [place for place in before.denials if place > last]
    before.denials = [place for place in before.denials if place < last]
    found.append(clause)
    return clause


def _add(clause: Clause, phrase: Phrase, item: Item, lexicon: Lexicon) -> None:
    """Put a phrase into a clause, as what it is there."""
    if phrase.role in FLAGS:
        clause.flags.add(phrase.role)
        clause.flags |= {"borderline": {"hedge"}, "ask": {"history"}}.get(phrase.role, set())
    elif phrase.role == "recovered":
        clause.recovered = (item.first, replace(phrase, role="normal"))
    elif phrase.role == "no":
        clause.denials.append(item.first)
    elif phrase.role == "none":
        clause.denied = True
    elif phrase.rank:
        clause.grades.append((item.first, phrase.rank, phrase))
    elif phrase.is_finding:
        clause.findings.append((item.first, phrase))
        clause.topic_first = clause.topic_first or bool(clause.topics)
    elif phrase.is_topic:
        clause.topics = _with_topic(clause.topics, phrase, lexicon)


def _with_topic(topics: list[Topic], phrase: Phrase, lexicon: Lexicon) -> list[Topic]:
    """Topics and one more phrase: a quantity of the places before it, a part of the last place, or a new one."""
    place, aspect = phrase.of("anatomy"), phrase.of("aspect")
    if aspect and not place:
        return _with_aspect(topics, aspect, phrase.of("alone"))
    last = topics[-1] if topics else None
    if last and aspect and last.place is not None and last.aspect is None and last.place & aspect:
        return [*topics[:-1], replace(last, aspect=aspect)]
    if last and last.place is None and last.aspect and last.aspect & place:
        return [*topics[:-1], Topic(place, last.aspect)]
    if last and last.aspect is None and last.place:
        regional = any(lexicon.known[name].diffuse in last.place for name in place if lexicon.known[name].diffuse)
        if last.place & place or regional:
            return [*topics[:-1], Topic((last.place & place) or place)]
    return [*topics, Topic(place or (None if aspect else place), aspect or None, phrase.of("alone"))]


def _with_aspect(topics: list[Topic], aspect: frozenset[str], alone: frozenset[str]) -> list[Topic]:
    last = topics[-1] if topics else None
    if last is None or last.place is None:
        return [*topics, Topic(None, aspect, alone & aspect)]
    if last.aspect is not None:
        narrower = last.aspect & aspect
        return [*topics[:-1], replace(last, aspect=narrower)] if narrower else [*topics, Topic(last.place, aspect)]
    return [
        replace(topic, aspect=aspect) if topic.aspect is None and topic.place is not None else topic for topic in topics
    ]
