"""The patient record of the simulated clinic, as coded events in the MEDS layout.

Codes: LOINC for laboratory and vital signs, ICD-10 for diagnoses, ATC for drugs. Where a pulse is recorded the record
is kept as `record` says: in fragments, with notes, and with all vital signs.

Reference:
    Medical Event Data Standard, schema 0.4: subject_id, time, code, numeric_value, text_value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stethos.errors import RecipeError
from stethos.synth.patient import strangers
from stethos.synth.record import Event, written
from stethos.synth.world import Draws, World, constants

if TYPE_CHECKING:
    import polars

POTASSIUM = "LAB//LOINC//2823-3//mmol/L"
CREATININE = "LAB//LOINC//14682-9//umol/L"
SODIUM = "LAB//LOINC//2951-2//mmol/L"
HAEMOGLOBIN = "LAB//LOINC//718-7//g/dL"
HEART_RATE = "VITAL//LOINC//8867-4//bpm"
RESPIRATORY_RATE = "VITAL//LOINC//9279-1//bpm"
SYSTOLIC = "VITAL//LOINC//8480-6//mmHg"
DIASTOLIC = "VITAL//LOINC//8462-4//mmHg"
SATURATION = "VITAL//LOINC//59408-5//%"
DRUGS = {
    "raas_inhibitor": "MEDICATION//ATC//C09AA05",
    "mra": "MEDICATION//ATC//C03DA01",
    "beta_blocker": "MEDICATION//ATC//C07AB07",
    "loop_diuretic": "MEDICATION//ATC//C03CA01",
}

Columns = Mapping[str, np.ndarray]


def events(visits: Columns, seed: int, world: World | None = None) -> polars.DataFrame:
    """Everything that was coded of these visits, by subject and time.

    Args:
        visits: Columns as `visits` returns them.
        seed: Of what the visits leave open: when a disease was first coded, sodium, haemoglobin.
        world: Where the visits are of a world with a pulse, that world; others need none.

    Returns:
        Columns subject_id (int64), time (µs; null for the sex), code, numeric_value (float32), text_value.

    Raises:
        RecipeError: The visits have a pulse, and the world was not given.
    """
    import polars

    if "perfusion" in visits and (world is None or not world.pulse):
        raise RecipeError("events of visits with a pulse need their world: events(visits, seed, ppg_world())")
    parts = _of_the_hospital(visits, seed) if world is None or not world.pulse else _of_the_pulse(visits, seed, world)
    subject, time, code, number, text = (
        np.concatenate(column) for column in zip(*(_flat(part) for part in parts), strict=True)
    )
    frame = polars.DataFrame(
        {
            "subject_id": polars.Series(subject, dtype=polars.Int64),
            "time": polars.Series(time.astype("datetime64[us]")),
            "code": polars.Series(code.tolist(), dtype=polars.String),
            "numeric_value": polars.Series(number).cast(polars.Float32),
            "text_value": polars.Series(text.tolist(), dtype=polars.String),
        }
    )
    frame = frame.with_columns(polars.col("numeric_value").fill_nan(None))
    return frame.sort("subject_id", "time", "code", nulls_last=False, maintain_order=True)


def _of_the_hospital(visits: Columns, seed: int) -> list[list[Event]]:
    draws = Draws(seed, "chart")
    return [_person(visits), _diagnoses(visits, draws), _laboratory(visits, draws), _vitals(visits), _drugs(visits)]


def _of_the_pulse(visits: Columns, seed: int, world: World) -> list[list[Event]]:
    """In fragments and with notes; about somebody else where the world says so."""
    if not world.own_records:
        visits = strangers(int(visits["patient"].max()) + 1, seed, "another's record", world)
    draws = Draws(seed, "chart")
    return [
        _person(visits),
        _laboratory(visits, draws),
        _all_vitals(visits, draws, world),
        *written(visits, seed, world),
    ]


def _flat(part: list[Event]) -> list[np.ndarray]:
    """Kinds of events as five long columns."""
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for subject, time, code, number, text in part:
        count = len(subject)
        columns[0].append(subject.astype(np.int64))
        columns[1].append(time.astype("datetime64[s]"))
        columns[2].append(np.broadcast_to(np.asarray(code, dtype=object), count))
        columns[3].append(np.broadcast_to(np.asarray(number, dtype=np.float64), count))
        columns[4].append(np.full(count, None, dtype=object) if text is None else text)
    return [np.concatenate(column) for column in columns]


def _person(visits: Columns) -> list[Event]:
    """Sex, and birth to the day."""
    first = _first_visits(visits)
    subject = visits["subject"][first]
    birth = (visits["when"][first] - _seconds(visits["age"][first] * 365.25 * 86400)).astype("datetime64[D]")
    sex = np.char.add("GENDER//", visits["sex"][first].astype(str)).astype(object)
    never = np.full(len(first), np.datetime64("NaT", "s"))
    return [(subject, never, sex, np.nan, None), (subject, birth, "MEDS_BIRTH", np.nan, None)]


def _diagnoses(visits: Columns, draws: Draws) -> list[Event]:
    """Each disease once, some time before the first visit."""
    first = _first_visits(visits)
    known_for = constants()["chart.known_for"] * 86400
    found: list[Event] = []
    for name, code in _icd({column: visits[column][first] for column in _CODED}):
        has = code != ""
        past = 86400 + known_for * np.minimum(draws.exponential(f"known {name}", len(first)), 4)  # at most 16 years
        time = visits["when"][first] - _seconds(past)
        codes = np.char.add("DIAGNOSIS//ICD//10//", code[has].astype(str)).astype(object)
        found.append((visits["subject"][first][has], time[has], codes, np.nan, None))
    return found


_CODED = (
    *("ckd", "dialysis", "filtration", "heart_failure", "lvef"),
    *("diabetes", "copd", "hypertension", "atrial_fibrillation", "paced"),
)


def _icd(person: Columns) -> list[tuple[str, np.ndarray]]:
    """ICD-10 of each disease, "" without it."""
    stage = np.select(
        [person["dialysis"] == 1, person["filtration"] < 15, person["filtration"] < 30, person["filtration"] < 60],
        ["N186", "N185", "N184", "N183"],
        "N182",
    )
    failing = np.where(person["lvef"] < 50, "I5022", "I5032")
    diabetes = np.where(person["ckd"] == 1, "E1122", "E119")
    return [
        ("ckd", np.where(person["ckd"] == 1, stage, "")),
        ("dialysis", np.where(person["dialysis"] == 1, "Z992", "")),
        ("heart failure", np.where(person["heart_failure"] == 1, failing, "")),
        ("diabetes", np.where(person["diabetes"] == 1, diabetes, "")),
        ("copd", np.where(person["copd"] == 1, "J449", "")),
        ("hypertension", np.where(person["hypertension"] == 1, "I10", "")),
        ("fibrillation", np.where(person["atrial_fibrillation"] == 1, "I4891", "")),
        ("pacemaker", np.where(person["paced"] == 1, "Z950", "")),
    ]


def _laboratory(visits: Columns, draws: Draws) -> list[Event]:
    """One blood sample a visit; where potassium was lost the others are there."""
    world, count = constants(), len(visits["id"])
    time = visits["when"] + _seconds(visits["potassium_minutes"] * 60)
    remark = np.full(count, None, dtype=object)
    remark[visits["haemolysed"] == 1] = "haemolysed"
    there = ~np.isnan(visits["potassium_laboratory"])
    sodium, sodium_spread, dilution = world["chart.sodium"]
    sodium = sodium + sodium_spread * draws.normal("sodium", count) + dilution * visits["heart_failure"]
    men, women, spread, anaemia = world["chart.haemoglobin"]
    haemoglobin = np.where(visits["sex"] == "F", women, men) + spread * draws.normal("haemoglobin", count)
    haemoglobin = haemoglobin + anaemia * np.maximum(60 - visits["filtration"], 0) / 10
    subject = visits["subject"]
    return [
        (subject[there], time[there], POTASSIUM, visits["potassium_laboratory"][there], remark[there]),
        (subject, time, CREATININE, np.round(_creatinine(visits)), None),
        (subject, time, SODIUM, np.round(sodium), None),
        (subject, time, HAEMOGLOBIN, np.round(np.maximum(haemoglobin, 5), 1), None),
    ]


def _creatinine(visits: Columns) -> np.ndarray:
    """µmol/L that gives the filtration by CKD-EPI 2021 (Inker, doi:10.1056/NEJMoa2102953)."""
    female = visits["sex"] == "F"
    scale, power = np.where(female, 0.7, 0.9), np.where(female, -0.241, -0.302)
    relative = visits["filtration"] / (142 * 0.9938 ** visits["age"] * np.where(female, 1.012, 1.0))
    return 88.42 * scale * np.where(relative < 1, relative ** (-1 / 1.2), relative ** (1 / power))


def _vitals(visits: Columns) -> list[Event]:
    """What a nurse charted at the time of the ECG."""
    return [
        (visits["subject"], visits["when"], HEART_RATE, visits["charted_heart_rate"], None),
        (visits["subject"], visits["when"], RESPIRATORY_RATE, visits["respiratory_rate"], None),
    ]


def _all_vitals(visits: Columns, draws: Draws, world: World) -> list[Event]:
    """Vital signs some minutes before each recording, and again after it."""
    count, (least, most, spread, of_saturation) = len(visits["id"]), world["record.again"]
    found: list[Event] = []
    for when, way in (("before", -1), ("after", 1)):
        minutes = least + (most - least) * draws.uniform(f"vitals {when}", count) ** 2
        time = visits["when"] + _seconds(way * 60 * minutes)
        for name, code in _CHARTED.items():
            size = of_saturation if code == SATURATION else spread
            changed = size * draws.normal(f"{name} again", count) * (when == "after")
            top = 100 if code == SATURATION else np.inf
            found.append((visits["subject"], time, code, np.minimum(np.round(visits[name] + changed), top), None))
    return found


_CHARTED = {
    "charted_heart_rate": HEART_RATE,
    "charted_respiratory_rate": RESPIRATORY_RATE,
    "charted_systolic": SYSTOLIC,
    "charted_diastolic": DIASTOLIC,
    "charted_saturation": SATURATION,
}


def _drugs(visits: Columns) -> list[Event]:
    """Drugs on the list at each visit, charted a day before."""
    day = visits["when"] - np.timedelta64(86400, "s")
    taken = {name: visits[name] == 1 for name in DRUGS}
    return [(visits["subject"][taken[name]], day[taken[name]], code, np.nan, None) for name, code in DRUGS.items()]


def _first_visits(visits: Columns) -> np.ndarray:
    """Row of each patient's first visit."""
    return np.unique(visits["patient"], return_index=True)[1]


def _seconds(value: np.ndarray) -> np.ndarray:
    return np.round(value).astype("timedelta64[s]")
