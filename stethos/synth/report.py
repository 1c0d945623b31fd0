"""Reports of the echo laboratory, in the words of five writers, and what can go wrong in them.

    what a reader saw → statements (mentioned, graded, hedged, denied) → a writer's layout → slips of spelling

A report is the same for the same seed and visit. Its words follow what was seen, not the heart itself: numbers have
errors, a disease may go unmentioned, a template may contradict the conclusion, and then the conclusion is right.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

import numpy as np

from stethos.synth.layout import LANGUAGES, laid_out, slipped
from stethos.synth.structure import DISEASES
from stethos.synth.world import World

_LEAKS = ("mitral_regurgitation", "aortic_regurgitation", "tricuspid_regurgitation")
_AMOUNTS = ("trace", "mild", "mild_moderate", "moderate", "moderate_severe", "severe")
_GRADES = ("mild", "moderate", "severe")
_EXCLUDED = ("mitral_stenosis", "aortic_stenosis", "mitral_regurgitation", "aortic_dilation", "lv_wall_thickening")
_REPLACED = ((), ("mitral_stenosis", "mitral_regurgitation"), ("aortic_stenosis", "aortic_regurgitation"))
_PARTS = ("la_enlargement", "lv_enlargement", "right_heart_enlargement")
_READ = ("seen_", "told_", "found_", "near_", "heart_")


@cache
def phrases() -> Mapping[str, Any]:
    """The words of each language: "english", "short", "chinese", and "numbers"."""
    return tomllib.loads(files("stethos.synth").joinpath("phrases.toml").read_text(encoding="utf-8"))


def reports(rows: Mapping[str, np.ndarray], seed: int, world: World) -> np.ndarray:
    """The report of each visit, None where no echocardiogram was done, `(visits,)` of object.

    Args:
        rows: Visits of a world with an echo laboratory.
        seed: Of the writers.
        world: Constants.
    """
    named = {name: column.tolist() for name, column in rows.items() if name.startswith(_READ) or name in ("id", "site")}
    written = np.full(len(rows["id"]), None, dtype=object)
    for row in np.flatnonzero(rows["echo_missing"] == 0):
        written[row] = report({name: column[row] for name, column in named.items()}, seed, world)
    return written


def report(visit: Mapping[str, Any], seed: int, world: World) -> str:
    """What the laboratory writes about a visit.

    Args:
        visit: One row of `visits`.
        seed: Of the writer and of chance.
        world: Constants.
    """
    key = int.from_bytes(blake2b(str(visit["id"]).encode(), digest_size=8).digest(), "little")
    rng = np.random.default_rng([seed, key, 3])
    writer = int(np.searchsorted(np.cumsum(world.at_site("writers", visit["site"]))[:-1], rng.random(), side="right"))
    pen = _Pen(rng, LANGUAGES[writer], world)
    statements = _statements(visit, pen) + _extras(visit, pen)
    conclusion = [statement.conclusion for statement in statements if statement.conclusion]
    conclusion = conclusion or [pen.frame("normal")]
    prosthesis = _prosthesis(visit, pen)
    text = laid_out(
        writer,
        _asked(visit, pen),
        prosthesis + [statement.finding for statement in statements],
        _numbers(visit, pen, centimetres=pen.happens(world["writer.centimetres"][writer])),
        prosthesis + conclusion,
        rng,
    )
    return slipped(text, rng) if pen.happens(world["writer.typo"]) else text


@dataclass(frozen=True)
class _Pen:
    """Chance, a language, and the constants."""

    rng: np.random.Generator
    language: str
    world: World

    def happens(self, chance: float) -> bool:
        return bool(self.rng.random() < chance)

    def pick(self, options: list[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def frame(self, name: str) -> str:
        return self.pick(self.words("frame")[name])

    def words(self, concept: str) -> Mapping[str, Any]:
        return phrases()[self.language][concept]


@dataclass(frozen=True)
class _Statement:
    """A finding, and how the conclusion lists it; "" where it does not."""

    finding: str
    conclusion: str


def _statements(visit: Mapping[str, Any], pen: _Pen) -> list[_Statement]:
    """What is said about each disease that is mentioned."""
    silent = set(_REPLACED[int(visit["heart_prosthesis"])])
    seen_rarely, unseen = pen.world["writer.silent"]
    said = []
    for disease in reversed(DISEASES):  # four chambers before each
        if disease in silent or pen.happens(seen_rarely if visit[f"found_{disease}"] else unseen):
            continue
        if disease == "global_enlargement" and visit["found_global_enlargement"]:
            silent |= {part for part in _PARTS if pen.happens(0.5)}
        said.append(_statement(disease, visit, pen))
    return said[::-1]


def _statement(disease: str, visit: Mapping[str, Any], pen: _Pen) -> _Statement:
    grade, words = _grade(disease, visit, pen.world), pen.words(disease)
    found, near = bool(visit[f"found_{disease}"]), bool(visit[f"near_{disease}"])
    at_limit, anywhere = pen.world["writer.hedged"]
    if not found and disease in _LEAKS and grade:
        mild = _filled(pen.pick(words.get("present", words["noun"])), disease, grade, visit, pen)
        return _Statement(mild, mild if pen.happens(0.3) else "")
    if not found:
        if near and pen.happens(at_limit):
            noun = _filled(pen.pick(words["noun"]), disease, "", visit, pen)
            return _Statement(pen.frame("unsure").format(noun), "")
        return _Statement(pen.pick(words["absent"]), "")
    noun = _filled(pen.pick(words["noun"]), disease, grade, visit, pen)
    if pen.happens(at_limit if near else anywhere):
        hedged = pen.frame("hedged").format(noun)
        return _Statement(hedged, hedged)
    if pen.happens(pen.world["writer.disagreement"]):
        return _Statement(pen.pick(words["absent"]), noun)
    return _Statement(_filled(pen.pick(words.get("present", words["noun"])), disease, grade, visit, pen), noun)


def _filled(template: str, concept: str, grade: str, visit: Mapping[str, Any], pen: _Pen) -> str:
    """A phrase with its grade; without one where there is none, and in about a third of those that need none."""
    if "{territory}" in template:
        where = "facing" if visit["heart_anterior"] else "elsewhere"
        template = template.replace("{territory}", pen.pick(pen.words("territories")[where]))
    table = "amounts" if concept in _LEAKS else "effusions" if concept == "pericardial_effusion" else "grades"
    if not grade or (table == "grades" and pen.happens(0.3)):
        bare = template.replace("({grade})", "").replace("{gradely}", "").replace("{grade}", "")
        return " ".join(bare.split())
    if "{gradely}" in template:
        return template.replace("{gradely}", pen.pick(pen.words("adverbs")[grade]))
    return template.replace("{grade}", pen.pick(pen.words(table)[grade]))


def _grade(disease: str, visit: Mapping[str, Any], world: World) -> str:
    """How severe what was seen is; "" where nothing is, or no grade is usual."""
    if disease in _LEAKS:
        step = sum(visit[f"seen_{disease}"] >= least for least in world["limit.regurgitation"])
        return ("", *_AMOUNTS)[step]
    if disease == "lv_systolic_reduced":
        return _GRADES[sum(visit["seen_lvef"] < least for least in world["limit.lvef"][1:])]
    if disease == "mitral_stenosis":
        return _GRADES[sum(visit["seen_mitral_area"] < least for least in world["limit.mitral_area"][1:])]
    if disease == "aortic_stenosis":
        return _GRADES[sum(visit["seen_aortic_velocity"] >= least for least in world["limit.aortic_velocity"][1:])]
    if disease not in _SIZES:
        return ""
    part, name = _SIZES[disease]
    *limits, width = world[f"limit.{part}"]
    beyond = visit[f"seen_{name}"] - limits[int(visit["heart_female"])]
    return _GRADES[int(np.clip(beyond // width, 0, 2))]


_SIZES = {
    "lv_wall_thickening": ("wall", "wall_thickness"),
    "la_enlargement": ("atrium", "la_diameter"),
    "lv_enlargement": ("ventricle", "lvedd"),
    "right_heart_enlargement": ("right", "rv_diameter"),
    "aortic_dilation": ("aorta", "aorta_diameter"),
}


def _extras(visit: Mapping[str, Any], pen: _Pen) -> list[_Statement]:
    """Pulmonary hypertension, relaxation, pericardium."""
    small, large, relaxation = pen.world["writer.extras"]
    pressure = sum(visit["told_pasp"] >= least for least in pen.world["limit.pressure"])
    said = []
    if pressure or pen.happens(0.3):
        said.append(_extra("pulmonary_hypertension", ("", *_GRADES)[pressure], visit, pen))
    old = visit["found_la_enlargement"] or visit["heart_age"] > 65
    if pen.happens(relaxation if old else 0.15):
        said.append(_extra("diastolic_dysfunction", "mild" if old else "", visit, pen))
    chance = pen.rng.random()
    if chance < large + small or pen.happens(0.5):
        amount = "moderate" if chance < large else "mild" if chance < large + small else ""
        said.append(_extra("pericardial_effusion", amount, visit, pen))
    return said


def _extra(concept: str, grade: str, visit: Mapping[str, Any], pen: _Pen) -> _Statement:
    words = pen.words(concept)
    if not grade:
        return _Statement(pen.pick(words["absent"]), "")
    noun = _filled(pen.pick(words["noun"]), concept, grade, visit, pen)
    return _Statement(_filled(pen.pick(words.get("present", words["noun"])), concept, grade, visit, pen), noun)


def _prosthesis(visit: Mapping[str, Any], pen: _Pen) -> list[str]:
    which = int(visit["heart_prosthesis"])
    return [pen.frame(("mitral_prosthesis", "aortic_prosthesis")[which - 1])] if which else []


def _asked(visit: Mapping[str, Any], pen: _Pen) -> list[str]:
    """Why the patient came: history, a disease to be excluded, a disease of a relative or of the past."""
    known, excluded, past = pen.world["writer.history"]
    causes = [pen.pick(words) for cause, words in pen.words("causes").items() if visit[f"heart_{cause}"]]
    join = "、" if pen.language == "chinese" else ", "
    said = [pen.frame("history").format(join.join(causes))] if causes and pen.happens(known) else []
    for chance, frame in ((excluded, "indication"), (past, "past")):
        if pen.happens(chance):
            disease = pen.pick(list(_EXCLUDED))
            noun = _filled(pen.pick(pen.words(disease)["noun"]), disease, "", visit, pen)
            said.append(pen.frame(frame).format(noun))
    return said


def _numbers(visit: Mapping[str, Any], pen: _Pen, centimetres: bool) -> list[str]:
    """The numbers of the table that stand in the text, each with its name and unit."""
    names = phrases()["numbers"][pen.language]
    told = [name for name in names if visit[f"told_{name}"] == visit[f"told_{name}"]]
    told = [name for name in told if pen.happens(pen.world["writer.numbers"])]
    slip = pen.pick(told) if told and pen.happens(pen.world["writer.conflict"]) else ""
    gap = "" if pen.language == "chinese" else " "
    as_range = pen.happens(pen.world["writer.ejection_range"])
    said = []
    for name in told:
        value = visit[f"told_{name}"]
        value = _slip_of_the_keyboard(name, value) if name == slip else value
        said.append(pen.pick(names[name]).format(_quantity(name, value, gap, centimetres, as_range)))
    return said


def _quantity(name: str, value: float, gap: str, centimetres: bool, as_range: bool) -> str:
    if name == "lvef":
        low = int(value // 5) * 5
        return f"{low}-{low + 5}%" if as_range else f"{value:.0f}%"
    if name in ("pasp", "mitral_area", "aortic_velocity"):
        unit = {"pasp": "mmHg", "mitral_area": "cm2", "aortic_velocity": "m/s"}[name]
        return f"{value:.{0 if name == 'pasp' else 1}f}{gap}{unit}"
    wall = name in ("ivs", "lvpw")
    if centimetres:
        return f"{value / 10:.{2 if wall else 1}f}{gap}cm"
    return f"{value:.{1 if wall else 0}f}{gap}mm"


def _slip_of_the_keyboard(name: str, value: float) -> float:
    """Another number that could be true, on the other side of the limit."""
    if name == "lvef":
        return 100.0 - value
    high = {"pasp": 45, "mitral_area": 2.5, "aortic_velocity": 2.6, "ivs": 12, "lvpw": 12, "lvedd": 55}.get(name, 40)
    return round(value * (0.6 if value >= high else 1.5), 1)
