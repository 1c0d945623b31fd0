"""Progress notes in the hurried English of a ward: abbreviations, denials, doubts, relatives.

A note says most of what is there, denies some of what is not, asks now and then, and is sometimes wrong.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from stethos.synth.world import World


@cache
def phrases() -> Mapping[str, Any]:
    """Codes ("diagnosis", "unrelated", "drug"), and how things are said ("said", "asked", "note")."""
    return tomllib.loads(files("stethos.synth").joinpath("record.toml").read_text(encoding="utf-8"))


def note(about: Mapping[str, Any], visit: Mapping[str, Any] | None, rng: np.random.Generator, world: World) -> str:
    """A progress note.

    Args:
        about: Diseases (0 or 1, and since when), "age", "sex", "usual_systolic", "drugs" by name, "came".
        visit: The visit that it is about, whose rhythm and pressure it tells; None for a former admission.
        rng: Of the writer.
        world: Constants.
    """
    pen = _Pen(rng)
    mentioned = _mentioned(about, pen, world)
    parts = [_person(about, pen), _complaint(about, pen, world), _history(mentioned, about, pen, world)]
    parts.append(_negatives(mentioned, about, pen, world))
    parts += [_habits(about, pen, world), _drugs(about, pen, world), _findings(about, visit, pen, world)]
    if pen.happens(world["record.plan"]):
        parts.append(pen.frame("plan"))
    return " ".join(part for part in parts if part)


def referral(about: Mapping[str, Any], rng: np.random.Generator, world: World) -> str:
    """A few words with which a patient is sent; arguments as of `note`."""
    pen = _Pen(rng)
    parts = [pen.frame("referral"), _person(about, pen), _complaint(about, pen, world)]
    parts += [_history(_mentioned(about, pen, world), about, pen, world), _drugs(about, pen, world)]
    return " ".join(parts).strip()


class _Pen:
    """Chance and phrases."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def happens(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def pick(self, options: list[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def frame(self, name: str) -> str:
        return self.pick(phrases()["note"][name])


def _person(about: Mapping[str, Any], pen: _Pen) -> str:
    years = (about["came"] - about["when"]) / np.timedelta64(1, "s") / (365.25 * 86400)
    return pen.frame("person").format(age=int(about["age"] + years), sex=about["sex"])


def _complaint(about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    """Why the patient came; a disease has a say in it now and then."""
    there, absent = world["record.complaint"]
    for name in ("fibrillation", "failure", "copd"):
        if pen.happens(there if about[name] else absent):
            return pen.frame("complaint").format(pen.frame(f"reason_{name}"))
    return pen.frame("complaint").format(pen.frame("reason"))


def _mentioned(about: Mapping[str, Any], pen: _Pen, world: World) -> list[str]:
    told = world["record.told"][0]
    return [name for name in _NAMED if _known(name, about) and pen.happens(told)]


def _history(mentioned: list[str], about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    said = [_said(name, about, pen, world) for name in mentioned]
    return pen.frame("history").format(", ".join(said)) if said else pen.frame("no_history")


_NAMED = (
    *("hypertension", "fibrillation", "failure", "copd", "diabetes", "kidney", "dialysis", "peripheral", "stroke"),
    "pacemaker",
)


def _known(name: str, about: Mapping[str, Any]) -> bool:
    return bool(about[name]) and about["came"] > about[f"known {name}"]


def _said(name: str, about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    heading = about["kind failure"] if name == "failure" else name
    words = pen.pick(phrases()["said"][str(heading)])
    if name != "hypertension":
        return words
    limit, unsure = world["record.uncontrolled"]
    above = about["usual_systolic"] + unsure * pen.rng.standard_normal() - limit
    if above > 0:
        return pen.frame("uncontrolled").format(words)
    return pen.frame("controlled").format(words) if above < -20 and pen.happens(0.6) else words


def _negatives(mentioned: list[str], about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    """Denials, doubts, and what relatives had; a few denials of what was not mentioned are wrong."""
    _, denied, family, doubted, wrong = world["record.told"]
    asked = phrases()["asked"]
    absent = [name for name in asked if not about[name]]
    forgotten = [name for name in asked if about[name] and name not in mentioned]
    names = [name for name in absent if pen.happens(denied)] + [name for name in forgotten if pen.happens(wrong)]
    denials = [pen.frame("denied").format(pen.pick(asked[name])) for name in names]
    parts = [_sentence(pen.frame("denials").format(", ".join(denials)))] if denials else []
    if absent and pen.happens(doubted):
        parts.append(pen.frame("doubted").format(pen.pick(asked[pen.pick(absent)])))
    if pen.happens(family):
        words = pen.pick(asked[pen.pick(list(asked))])
        parts.append(_sentence(pen.frame("family").format(words, relative=pen.frame("relative"))))
    return " ".join(parts)


def _habits(about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    told, ill, well = world["record.habits"]
    if not pen.happens(told):
        return ""
    return pen.frame("smoker" if pen.happens(ill if about["copd"] or about["peripheral"] else well) else "never_smoked")


def _drugs(about: Mapping[str, Any], pen: _Pen, world: World) -> str:
    told, each = world["record.drugs_told"]
    named = [drug for drug in about["drugs"] if pen.happens(each)]
    return pen.frame("drugs").format(", ".join(named)) if named and pen.happens(told) else ""


def _findings(about: Mapping[str, Any], visit: Mapping[str, Any] | None, pen: _Pen, world: World) -> str:
    """Pressure; of a visit also its rhythm and breathing."""
    former, of_systolic, of_diastolic, rhythm, breath = world["record.findings"]
    if visit is None:
        if not pen.happens(former):
            return ""
        high = about["usual_systolic"] + of_systolic * pen.rng.standard_normal()
        low = about["usual_systolic"] - about["pulse_pressure"] + of_diastolic * pen.rng.standard_normal()
        return pen.frame("pressure").format(round(high), round(min(low, high - 20)))
    parts = [pen.frame("pressure").format(int(visit["charted_systolic"]), int(visit["charted_diastolic"]))]
    if pen.happens(rhythm):
        parts.append(pen.frame("today").format(pen.frame("fibrillating" if visit["rhythm"] == "AF" else "sinus")))
    if pen.happens(breath):
        parts.append(pen.frame("breaths").format(int(visit["charted_respiratory_rate"])))
    return " ".join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
