"""What a sentence says about which finding.

A concept is meant where the concepts of a place, of a quantity and of a finding meet. Clauses that lack a part take it
from their neighbours: places alone wait for the next finding ("mitral and tricuspid regurgitation") or join the last
one ("regurgitation of the mitral and tricuspid valves"), findings alone take the last place, and grades and denials
alone go to the last finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from stethos.text.lexicon import Lexicon
from stethos.text.meeting import anything, grade_of, is_denied, met, plain_concepts, spread
from stethos.text.outcome import Outcome, Said
from stethos.text.phrases import Phrase, Token
from stethos.text.sequels import alternative, ask, opens_with_denial, settle
from stethos.text.statements import Clause, Topic, is_term


@dataclass
class Reading:
    """A sentence being read.

    Args:
        lexicon: The table of findings.
        tokens: Of the sentence.
        text: Of the sentence.
        history: Topics of the clauses before, the last first.
        earlier: Topics of the sentence before on the same line, for findings that cannot do without a place.
        pending: Clauses with places that wait for their finding.
        outcomes: So far.
        doubts: What is said of places without a finding.
    """

    lexicon: Lexicon
    tokens: Sequence[Token]
    text: str
    history: list[list[Topic]]
    earlier: list[list[Topic]] = field(default_factory=list)
    pending: list[Clause] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    doubts: list[Said] = field(default_factory=list)

    def read(self, clauses: Sequence[Clause]) -> list[Said]:
        """Everything that the clauses say, in order."""
        ask(clauses, self.tokens, self.lexicon.words["ellipsis"])
        for number, clause in enumerate(clauses):
            following = clauses[number + 1 :]
            if not clause.findings and clause.topics:
                self._large(clause)
            if not clause.findings and self._again(clause):
                continue
            if clause.findings:
                self._state(clause, clauses[number - 1] if number else None, following)
            elif clause.topics:
                self._wait(clause, following)
            else:
                self._modify(clause, following)
        if self.pending and self.outcomes:
            self._join_last(self.pending)
        settle(self.outcomes)
        return self.doubts + [said for outcome in self.outcomes for said in self._finish(outcome)]

    def _large(self, clause: Clause) -> None:
        """A grade that is a finding where nothing else is: "LA is large"."""
        for place, _, phrase in clause.grades:
            said = phrase.of("finding") | phrase.of("normal")
            if any(topic.concepts & said for topic in clause.topics):
                clause.findings = [(place, phrase)]
                clause.topic_first = True

    def _again(self, clause: Clause) -> bool:
        """The last finding said or denied of another place: "LV is not dilated, LA is", "RA too"."""
        ends = self.tokens[clause.stop - 1].small in self.lexicon.words["ellipsis"]
        if not self.outcomes or not clause.topics or not (ends or clause.denials or "same" in clause.flags):
            return False
        last = self.outcomes[-1]
        concepts = met(clause.topics, last.phrase, self.lexicon)
        if not concepts or clause.foreign or clause.numbers or clause.grades:
            return False
        denied = bool(clause.denials) or ("same" in clause.flags and last.denied)
        flags = clause.flags
        self.outcomes.append(replace(last, concepts=concepts, clause=clause, denied=denied, rank=0.0, flags=flags))
        self._remember([clause])
        return True

    def _wait(self, clause: Clause, following: Sequence[Clause]) -> None:
        """Places without a finding: kept for the next one, joined to the last one, or only remembered."""
        if clause.flags & {"unclear", "hedge"}:
            self._doubt(clause)
        joined = bool(following) and following[0].link == "join"
        doubtful = clause.flags & {"hedge", "unclear", "history"} and not joined
        named = any(topic.concepts or topic.place or topic.aspect for topic in clause.topics)
        foreign = clause.foreign and not (joined and clause.strange == clause.first)  # "Doppler: mild mitral and ..."
        pure = named and not (foreign or clause.numbers or clause.denied or doubtful)
        if pure and self._backward(clause, following):
            self._join_last([clause])
        elif pure:
            self.pending.append(clause)
            return
        if clause.link == "" and "history" in clause.flags and self.outcomes:
            self.outcomes[-1].flags = self.outcomes[-1].flags | {"history"}
        self._remember([*self.pending, clause])
        self.pending = []

    def _doubt(self, clause: Clause) -> None:
        near = "borderline" if "borderline" in clause.flags and clause.numbers else "hedged"
        why = "not assessable" if "unclear" in clause.flags else near
        phrase = self._words(clause)
        for topic in self._placed(clause.topics):
            named = topic.concepts if topic.aspect is not None else plain_concepts(topic, self.lexicon)
            self.doubts += [Said(name, None, why, phrase) for name in sorted(named)]

    def _backward(self, clause: Clause, following: Sequence[Clause]) -> bool:
        """Whether places go to the finding before them: "dilated LA and LV", not "LA dilated, LV and RV normal"."""
        if not self.outcomes or self.pending:
            return False
        last = self.outcomes[-1].clause
        if last.topic_first or not last.topics:
            return False
        ahead = next((other for other in following if other.findings or not other.topics), None)
        forward = ahead is not None and ahead.topic_first and bool(ahead.topics)
        return clause.link == "join" or not forward

    def _join_last(self, clauses: Iterable[Clause]) -> None:
        last = self.outcomes[-1]
        topics = self._placed([topic for clause in clauses for topic in clause.topics])
        last.concepts |= met(topics, last.phrase, self.lexicon)

    def _remember(self, clauses: Iterable[Clause]) -> None:
        topics = [topic for clause in clauses for topic in clause.topics]
        if topics:
            self.history.insert(0, topics)

    def _state(self, clause: Clause, before: Clause | None, following: Sequence[Clause]) -> None:
        """Findings of a clause, met with its own places and those that wait."""
        waiting, self.pending = self._graded_apart(clause), []
        topics = spread([topic for other in waiting for topic in other.topics], clause.topics)
        topics = self._placed(topics)
        shared = before if before and clause.link == "join" and before not in waiting else None
        for number, (_, phrase) in enumerate(clause.findings):
            rank = grade_of(clause, number) or next((grade[1] for other in waiting for grade in other.grades), 0.0)
            denied = is_denied(clause, number) or any(other.denials for other in waiting)
            flags = clause.flags.union(*(other.flags for other in waiting))
            outcome = Outcome(frozenset(), phrase.role == "normal", clause, denied, rank, flags, phrase)
            if number == 0:
                self._carry(outcome, shared, before, alternative(clause, following, self.lexicon))
            outcome.concepts = self._concepts(topics, clause, phrase, outcome)
            self._complete(before, clause, topics)
            self.outcomes.append(outcome)
            terms = phrase.of("term") | phrase.of("graded_term")
            topics = topics or ([Topic(terms)] if terms else [])
        self._remember([*waiting, clause])
        if not clause.topics and not waiting and topics:
            self.history.insert(0, topics)

    def _placed(self, topics: list[Topic]) -> list[Topic]:
        """Quantities without a place are given the last one that has such a quantity."""
        found: list[Topic] = []
        for topic in topics:
            earlier = [*reversed(found), *(past for group in self.history for past in group)]
            found.append(topic if topic.place is not None else self._at(topic, earlier))
        return found

    def _at(self, topic: Topic, earlier: list[Topic]) -> Topic:
        """A quantity at the first of earlier places that has it."""
        aspect = topic.aspect or frozenset()
        for other in earlier:
            if other.place and other.place & aspect:
                return replace(topic, place=other.place)
        elsewhere = self.history and any(other.place == frozenset() for other in self.history[0])
        if elsewhere and len(aspect) > 1:  # "prosthesis in place, function good"
            return replace(topic, alone=frozenset())
        return topic

    def _complete(self, before: Clause | None, clause: Clause, topics: list[Topic]) -> None:
        """A finding that had no place is given that of the next clause: "dilated, hypokinetic left ventricle"."""
        last = self.outcomes[-1] if self.outcomes else None
        if last and last.clause is before and not (last.concepts or before.topics or clause.topic_first):
            last.concepts = met(topics, last.phrase, self.lexicon)

    def _graded_apart(self, clause: Clause) -> list[Clause]:
        """Waiting clauses without those whose grade is their own: "mild aortic and moderate mitral regurgitation"."""
        place, phrase = clause.findings[0]
        own = any(where < place for where, _, _ in clause.grades)
        graded = [other for other in self.pending if own and other.grades and other.topics]
        for other in graded:
            alike = replace(other, findings=[(place, phrase)], topic_first=False)
            rank, denied = other.grades[-1][1], bool(other.denials)
            concepts = met(self._placed(other.topics), phrase, self.lexicon)
            self.outcomes.append(Outcome(concepts, False, alike, denied, rank, other.flags | clause.flags, phrase))
        return [other for other in self.pending if other not in graded]

    def _carry(self, outcome: Outcome, shared: Clause | None, before: Clause | None, listed: bool) -> None:
        """What a joined clause shares with the one before: denial, doubt and grade, in both directions."""
        last = self.outcomes[-1] if self.outcomes else None
        clause = outcome.clause
        says_normal = not outcome.phrase.of("finding") and outcome.phrase.of("normal")
        if last is None or last.clause is not before or outcome.normal or last.normal or says_normal:
            return
        bare = clause.opener == "," and not clause.topics and not clause.foreign and not outcome.flags
        own = outcome.rank or clause.denials or clause.topic_first
        outcome.listed = last.listed or opens_with_denial(last.clause)
        if outcome.listed and last.denied and clause.opener in self.lexicon.words["list"]:
            own = outcome.rank or clause.denials
        denied = last.clause.denials or (listed and last.denied and not last.clause.denied)
        denied = last.denied if outcome.listed and not own else denied
        if denied and (((shared or bare) and not own) or (listed and not outcome.rank and not clause.denials)):
            outcome.denied = True
        if not shared:
            return
        if not own and not outcome.denied:
            outcome.flags = outcome.flags | (last.flags & {"hedge", "history"})
        if not own and not clause.topics and not is_term(outcome.phrase) and last.rank:
            outcome.rank = last.rank
        if not last.rank and not last.denied and not last.clause.topic_first:
            last.denied = clause.denied
            last.flags = last.flags | (outcome.flags & {"hedge"})

    def _concepts(self, topics: list[Topic], clause: Clause, phrase: Phrase, outcome: Outcome) -> frozenset[str]:
        """Concepts that a finding means at these places, or else at the last place that fits."""
        terms = phrase.of("term") | (phrase.of("graded_term") if outcome.rank else frozenset())
        if terms or phrase.of("graded_term"):
            return self._diffuse(terms, outcome)
        said = met(topics, phrase, self.lexicon)
        if not said and not any(topic.place is not None for topic in topics):
            soft = not phrase.of("finding") or bool(phrase.of("aspect_finding"))
            if not (soft and clause.foreign):
                said = next(
                    (found for group in self.history if (found := met(group, phrase, self.lexicon))), frozenset()
                )
                said = said or self._elsewhere(phrase)
            said = said or (phrase.of("alone") & anything(phrase))
            if not (said or soft or topics):
                said = next(
                    (found for group in self.earlier if (found := met(group, phrase, self.lexicon))), frozenset()
                )
        return self._diffuse(said, outcome)

    def _first_met(self, groups: Sequence[list[Topic]], phrase: Phrase) -> frozenset[str]:
        """Concepts that a finding means at the first of some groups of places where it means any."""
        return next((said for group in groups if (said := met(group, phrase, self.lexicon))), frozenset())

    def _elsewhere(self, phrase: Phrase) -> frozenset[str]:
        """A finding at the last place, whatever quantity was named there: "mitral area 1.1, mild regurgitation"."""
        for group in self.history:
            places = [Topic(topic.place) for topic in group if topic.place and topic.aspect is not None]
            if phrase.of("finding") and (said := met(places, phrase, self.lexicon)):
                return said
        return frozenset()

    def _diffuse(self, concepts: frozenset[str], outcome: Outcome) -> frozenset[str]:
        if "diffuse" not in outcome.flags or outcome.denied or outcome.normal:
            return concepts
        return frozenset(self.lexicon.known[name].diffuse or name for name in concepts)

    def _modify(self, clause: Clause, following: Sequence[Clause]) -> None:
        """Grades, denials and doubts without a finding go to the last one, or to the next that is joined."""
        if (clause.denials or clause.grades) and not clause.denied and following and following[0].link == "join":
            self.pending.append(clause)
            return
        if not self.outcomes or not self.outcomes[-1].concepts:
            self._near_limit(clause)
        if not self.outcomes:
            return
        last = self._last()
        graded = last.rank and clause.grades  # "mild MR, previously moderate"
        current = graded or last.denied or last.normal or "now" in last.flags
        if "unclear" in clause.flags:
            self._ungraded(last, clause)
        elif not ("history" in clause.flags and current and "now" not in clause.flags):
            self._change(last, clause)

    def _change(self, last: Outcome, clause: Clause) -> None:
        """Another grade, denial or doubt for the last finding: "MR, formerly severe, now mild"."""
        if clause.grades and (
            clause.opener in self.lexicon.words["change"] or "now" in clause.flags or not clause.foreign
        ):
            last.rank = clause.grades[-1][1]
        elif clause.foreign:
            return
        if "now" in clause.flags:
            last.flags = last.flags - {"history", "hedge"}
        if clause.foreign:
            return
        if clause.denied or clause.denials:
            last.denied, last.flags = True, last.flags - {"hedge", "history"}
        last.flags = last.flags | clause.flags

    def _ungraded(self, last: Outcome, clause: Clause) -> None:
        """What could not be judged: the last finding, or only its grade; nothing where a grade is given."""
        if last.rank or last.denied or last.normal or (last.concepts and clause.grades):
            return
        grade = any(token.small in self.lexicon.words["severity"] for token in self.tokens[clause.first : clause.stop])
        last.flags = last.flags | {"ungraded" if grade or clause.foreign else "unclear"}

    def _last(self) -> Outcome:
        """The last outcome, or the one before it in its clause where it means nothing: "MR has decreased from"."""
        last = self.outcomes[-1]
        alike = [other for other in self.outcomes if other.clause is last.clause and other.concepts]
        return last if last.concepts or not alike else alike[-1]

    def _near_limit(self, clause: Clause) -> None:
        """A measurement called borderline: "aortic root 38 mm, borderline"."""
        if "borderline" in clause.flags and not clause.foreign and self.history:
            place = Clause(topics=self.history[0], flags=clause.flags, numbers=1, first=clause.first, stop=clause.stop)
            self._doubt(place)

    def _finish(self, outcome: Outcome) -> list[Said]:
        """The values of an outcome's concepts."""
        phrase = self._words(outcome.clause)
        found = []
        for name in sorted(outcome.concepts):
            denies = outcome.normal or name in outcome.phrase.of("normal")
            value, why = outcome.value(denies, self.lexicon.known[name].least)
            found.append(Said(name, value, why, phrase, "now" in outcome.flags))
        return found

    def _words(self, clause: Clause) -> str:
        if clause.stop <= clause.first:
            return ""
        return self.text[self.tokens[clause.first].start : self.tokens[clause.stop - 1].end]
