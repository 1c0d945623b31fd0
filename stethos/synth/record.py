"""The record of the patients whose pulse is recorded: fragments of former admissions, and what visits add.

    diseases → coded at some admissions, in ICD-9 or ICD-10, by one code or another, or forgotten, or mistaken
    drugs → listed at some; notes → abbreviations, denials, doubts, relatives' diseases

An admission is a former one, or a visit. A visit's diagnoses are coded at its discharge, which is after the
recording; its notes and second vital signs are too. What was known before came from earlier admissions, a referral,
and the list of drugs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import poisson

from stethos.synth.notes import note, phrases, referral
from stethos.synth.rhythm import stream
from stethos.synth.world import Draws, World

DISEASES = (  # in the order of record.coded
    *("hypertension", "fibrillation", "failure", "copd", "diabetes", "kidney", "dialysis", "peripheral", "stroke"),
    "pacemaker",
)
_COLUMN = {
    "fibrillation": "atrial_fibrillation",
    "failure": "heart_failure",
    "kidney": "ckd",
    "peripheral": "peripheral_disease",
    "pacemaker": "paced",
}
PEPTIDE = "LAB//LOINC//33762-6//pg/mL"
GLYCATED = "LAB//LOINC//4548-4//%"
NOTE = "NOTE//PROGRESS"

Columns = dict[str, np.ndarray]
Event = tuple[np.ndarray, np.ndarray, np.ndarray | str, np.ndarray | float, np.ndarray | None]


def descriptions() -> dict[str, str]:
    """What the codes of diagnoses and drugs mean, code → words."""
    found: dict[str, str] = {}
    for kind in phrases()["diagnosis"].values():
        for version, family in ((10, "ten"), (9, "nine")):
            found |= {f"DIAGNOSIS//ICD//{version}//{code}": title for code, title in kind[family].items()}
    for kind in phrases()["unrelated"].values():
        found |= {f"DIAGNOSIS//ICD//{version}//{kind[family]}": kind["title"] for version, family in _FAMILIES}
    return found | {f"MEDICATION//ATC//{drug['code']}": drug["title"] for drug in phrases()["drug"].values()}


_FAMILIES = ((10, "ten"), (9, "nine"))


def written(rows: Mapping[str, np.ndarray], seed: int, world: World) -> list[list[Event]]:
    """Diagnoses, drugs, two laboratory values and notes of former admissions and visits.

    Args:
        rows: Visits of a world with a pulse; of those whom the record is about.
        seed: Of what the visits leave open.
        world: Constants.

    Returns:
        Kinds of events: subject, time, code, number, text.
    """
    draws = Draws(seed, "record")
    people = _people(rows, draws, world)
    stays = _admissions(rows, people, draws, world)
    listed = _listed(people, stays, draws, world)
    return [
        _diagnoses(people, stays, draws, world),
        _unrelated(people, stays, draws, world),
        [(stays["subject"][on], stays["listed"][on], code, np.nan, None) for code, on in listed.values()],
        _laboratory(people, stays, draws, world),
        _notes(rows, people, stays, listed, seed, world),
    ]


def _people(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """One row a patient: as at the first visit, with the dates from which diseases were known."""
    first = np.unique(rows["patient"], return_index=True)[1]
    people = {name: column[first] for name, column in rows.items()}
    people |= {name: people[_COLUMN.get(name, name)] for name in DISEASES}
    people["count"] = np.sum([people[name] for name in DISEASES], axis=0)
    known_for = world["chart.known_for"]
    for name, wrong in zip(DISEASES, world["record.miscoded"], strict=True):
        past = 1 + known_for * np.minimum(draws.exponential(f"known {name}", len(first)), 4)
        people[f"known {name}"] = people["when"] - _days(past)
        mistaken = draws.uniform(f"{name} mistaken", len(first)) < wrong
        people[f"mistaken {name}"] = mistaken & (people[name] == 0)
    for name, kinds in _kinds(people).items():
        people[f"kind {name}"] = kinds
    return people | _treated(people, draws, world)


def _kinds(people: Columns) -> dict[str, np.ndarray]:
    """Under which heading of the code book a disease is found, where one has several."""
    ckd, failing = people["ckd"] == 1, people["heart_failure"] == 1
    stage = [people["dialysis"] == 1, people["filtration"] < 30, people["filtration"] < 60]
    return {
        "hypertension": np.select([failing, ckd], ["hypertension_heart", "hypertension_kidney"], "hypertension"),
        "failure": np.where(people["lvef"] < 50, "failure_reduced", "failure_preserved"),
        "diabetes": np.where(ckd, "diabetes_kidney", "diabetes"),
        "kidney": np.select(stage, ["kidney_end", "kidney_severe", "kidney_moderate"], "kidney_mild"),
    }


def _treated(people: Columns, draws: Draws, world: World) -> Columns:
    """Which drugs beyond those of the world a patient takes, 0 or 1."""
    thin, relieved, maintained, sugar, insulin, statin, statin_ill = world["record.drugs"]
    other, count = world["record.other_drugs"], len(people["when"])
    vascular = np.maximum.reduce([people["diabetes"], people["peripheral"], people["stroke"]])
    chance = {
        "anticoagulant": thin * people["fibrillation"],
        "reliever": relieved * people["copd"],
        "maintainer": maintained * people["copd"],
        "metformin": sugar * people["diabetes"],
        "insulin": insulin * people["diabetes"],
        "statin": np.where(vascular == 1, statin_ill, statin),
    } | {name: np.full(count, other) for name in ("stomach", "thyroid", "pain")}
    return {name: (draws.uniform(name, count) < share).astype(float) for name, share in chance.items()}


def _admissions(rows: Mapping[str, np.ndarray], people: Columns, draws: Draws, world: World) -> Columns:
    """One row an admission, by patient and time: former ones, then visits.

    "visit" is the row of the visit, −1 for a former admission; "listed" when drugs were written down.
    """
    count = len(people["when"])
    few, more, most = world["record.admissions"]
    number = np.minimum(poisson.ppf(draws.uniform("admissions", count), few + more * people["count"]), most).astype(int)
    mean, least, longest = world["record.since"]
    ago = least - mean * np.log1p(-draws.uniform("since", count * most).reshape(count, most))
    ago = -np.sort(-np.minimum(ago, longest), axis=1)
    former = np.arange(most) >= most - number[:, None]
    person = np.concatenate([np.repeat(np.arange(count), number), rows["patient"]])
    came = np.concatenate([np.repeat(people["when"], number) - _days(ago[former]), rows["when"]])
    visit = np.concatenate([np.full(number.sum(), -1), np.arange(len(rows["when"]))])
    order = np.lexsort((came, person))
    person, came, visit = person[order], came[order], visit[order]
    stay, shortest = world["record.stay"]
    lasting = np.minimum(shortest + stay * draws.exponential("stay", len(person)), 20)
    listed = np.where(visit < 0, came + np.timedelta64(7200, "s"), came - np.timedelta64(86400, "s"))
    found = {"person": person, "came": came, "left": came + _days(lasting), "visit": visit, "listed": listed}
    return found | {"subject": people["subject"][person]}


def _diagnoses(people: Columns, stays: Columns, draws: Draws, world: World) -> list[Event]:
    """Each disease as it was coded at each admission, in the family of the day, at discharge."""
    found: list[Event] = []
    who = stays["person"]
    again, count = world["record.miscoded_again"], len(who)
    for name, coded in zip(DISEASES, world["record.coded"], strict=True):
        there = (people[name][who] == 1) & (stays["left"] > people[f"known {name}"][who])
        chance = np.where(there, coded, again * people[f"mistaken {name}"][who])
        on = draws.uniform(f"{name} coded", count) < chance
        pick = draws.uniform(f"{name} picked", count)[on]
        kinds = people[f"kind {name}"][who][on] if f"kind {name}" in people else np.full(on.sum(), name)
        codes = [
            _code(phrases()["diagnosis"][kind], late, part)
            for kind, late, part in zip(kinds, _tenth(stays["left"][on], world), pick, strict=True)
        ]
        found.append((stays["subject"][on], stays["left"][on], np.array(codes, dtype=object), np.nan, None))
    return found


def _code(kind: Mapping[str, Mapping[str, str]], tenth: bool, part: float) -> str:
    codes = list(kind["ten" if tenth else "nine"])
    # most often the first, so that people differ by how rare a code they get
    return f"DIAGNOSIS//ICD//{10 if tenth else 9}//{codes[int(part**2 * len(codes))]}"


def _unrelated(people: Columns, stays: Columns, draws: Draws, world: World) -> list[Event]:
    found: list[Event] = []
    who = stays["person"]
    years = (stays["came"] - people["when"][who]) / np.timedelta64(365 * 86400, "s")
    age, sex = people["age"][who] + years, people["sex"][who]
    for name, entry in phrases()["unrelated"].items():
        fits = (age >= entry["from"]) & (sex == entry["sex"]) if entry["sex"] != "both" else age >= entry["from"]
        on = (draws.uniform(name, len(who)) < entry["weight"] * world["record.unrelated"]) & fits
        tenth = _tenth(stays["left"][on], world)
        late, early = (f"DIAGNOSIS//ICD//{version}//{entry[family]}" for version, family in _FAMILIES)
        codes = np.where(tenth, late, early).astype(object)
        found.append((stays["subject"][on], stays["left"][on], codes, np.nan, None))
    return found


def _tenth(time: np.ndarray, world: World) -> np.ndarray:
    return time >= np.datetime64(world["record.ninth_until"])


def _listed(people: Columns, stays: Columns, draws: Draws, world: World) -> dict[str, tuple[str, np.ndarray]]:
    """Drug → its code, and at which admissions it stands on the list."""
    share, found = world["record.drug_listed"], {}
    for name, drug in phrases()["drug"].items():
        taken = people[name][stays["person"]] == 1
        on = taken & (draws.uniform(f"{name} listed", len(taken)) < share)
        found[name] = (f"MEDICATION//ATC//{drug['code']}", on)
    return found


def _laboratory(people: Columns, stays: Columns, draws: Draws, world: World) -> list[Event]:
    """Natriuretic peptide and glycated haemoglobin some hours after admission; a visit's are after its recording."""
    who, count = stays["person"], len(stays["person"])
    time = stays["came"] + _days((1 + 6 * draws.uniform("blood", count)) / 24)
    mean, spread, failing, fibrillating, per_decade = world["record.peptide"]
    log = mean + failing * people["failure"][who] + fibrillating * people["fibrillation"][who]
    log = log + per_decade * (people["age"][who] - 60) / 10 + spread * draws.normal("peptide", count)
    usual, scatter, added, more = world["record.glycated"]
    sugar = usual + scatter * draws.normal("glycated", count)
    high = np.maximum(added + more * draws.normal("sugar", len(people["when"])), 0.2)
    sugar = sugar + (high * people["diabetes"])[who]
    asked = draws.uniform("asked", count) < np.where(people["diabetes"][who] == 1, 0.8, 0.25)
    return [
        (stays["subject"], time, PEPTIDE, np.round(np.exp(np.clip(log, 2, 10.4))), None),
        (stays["subject"][asked], time[asked], GLYCATED, np.round(np.clip(sugar[asked], 4, 15), 1), None),
    ]


def _notes(
    rows: Mapping[str, np.ndarray],
    people: Columns,
    stays: Columns,
    listed: Mapping[str, tuple[str, np.ndarray]],
    seed: int,
    world: World,
) -> list[Event]:
    """Notes of admissions and visits, some hours after they came, and referrals some days before a visit."""
    told = [name for name in people if name in _TOLD or name.removeprefix("known ") in DISEASES]
    persons = [{name: people[name][person] for name in told} for person in range(len(people["when"]))]
    found: list[tuple[int, np.datetime64, str]] = []
    for stay, (person, came, visit) in enumerate(zip(stays["person"], stays["came"], stays["visit"], strict=True)):
        drugs = [phrases()["drug"][name]["title"] for name, (_, on) in listed.items() if on[stay]]
        about = persons[person] | {"drugs": drugs, "came": came}
        seen = None if visit < 0 else {name: rows[name][visit] for name in _SEEN}
        for hours, text in _written_at(about, seen, seed, world):
            found.append((person, came + _days(np.array(hours / 24)), text))
    who = np.array([person for person, *_ in found], dtype=int)
    time = np.array([time for _, time, _ in found], dtype="datetime64[s]")
    texts = np.array([text for *_, text in found], dtype=object)
    return [(people["subject"][who], time, NOTE, np.nan, texts)]


def _written_at(
    about: Mapping[str, Any], visit: Mapping[str, Any] | None, seed: int, world: World
) -> list[tuple[float, str]]:
    """Notes of one admission: hours from its start, and the text."""
    usual, before = world["record.note"]
    rng = stream({"id": f"{about['subject']} {about['came']}"}, seed, 30)
    chance = rng.random(4)
    found = []
    if visit is not None and chance[1] < before:
        found.append((-24 * (1 + 4 * chance[3]), referral(about, rng, world)))
    if chance[0] < usual:
        found.append((1 + 7 * float(chance[2]), note(about, visit, rng, world)))
    return found


_TOLD = ("subject", "when", "age", "sex", "usual_systolic", "pulse_pressure", "kind failure")
_SEEN = ("charted_systolic", "charted_diastolic", "charted_respiratory_rate", "rhythm")


def _days(days: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(days) * 86400).astype("timedelta64[s]")
