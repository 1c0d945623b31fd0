"""Patients and their visits: what is true of them, before anything is recorded.

A patient has a site, diseases and drugs; from them follow potassium, and the sizes and times of the waves that
`ecg` draws. Everything is a column with one row a visit, drawn from streams keyed by (seed, column), so that the
first patients are the same however many follow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stethos.synth.circulation import SHOWS, VESSELS, circulation, shape, vessels
from stethos.synth.echo import laboratory
from stethos.synth.heart import observables
from stethos.synth.imprint import imprint
from stethos.synth.structure import at_visit, hearts
from stethos.synth.world import Draws, World, hospital_world, knock_out_world, null_world, quiet

__all__ = ["World", "hospital_world", "knock_out_world", "null_world", "quiet", "visits"]

Columns = dict[str, np.ndarray]


def visits(patients: int, seed: int, world: World | None = None) -> Columns:
    """All visits of a simulated clinic, in order of patient and time.

    Args:
        patients: How many people.
        seed: Of everything random.
        world: Constants and effects; `hospital_world()` where not given.

    Returns:
        Columns `(visits,)`. Among them "subject" and "id" (str), "when" (datetime64[s]), "site", "sex" and
        "rhythm" ("sinus", "AF") as str; "age" (years), "height" (cm), "weight" (kg), "lvef" (%),
        "wall_thickness" (mm), "filtration" (mL/min/1.73 m²), diseases and drugs (0 or 1), "potassium" (mmol/L in
        the blood at the time of the ECG), "potassium_laboratory" (as reported; NaN where lost),
        "potassium_minutes" (sample after ECG), "heart_rate" (1/min), and the waves: "p_amplitude",
        "r_amplitude", "t_amplitude", … (mV), "pr_ms", "qrs_ms", "qt_ms", "t_width_ms". With an echo laboratory
        also "p_width_ms", and the columns "heart_…", "seen_…" and "told_…" of `structure` and `echo`. With a pulse
        also the columns of `circulation` and `shape`, and "measured_…" of those whom the table tells of.
    """
    world = world or hospital_world()
    people = _people(patients, Draws(seed), world)
    if world.structure:
        people |= _examined(people, seed, world)
    if world.pulse:
        people |= vessels(people, Draws(seed, "circulation"), world)
    calendar = _calendar(patients, Draws(seed), world)
    rows = {name: column[calendar["patient"]] for name, column in people.items()} | calendar
    rows["age"] = rows["age"] + rows.pop("years_on")
    if world.structure:
        rows |= _on_the_day(rows, seed, world)
    rows |= _potassium(rows, patients, seed, world)
    rows |= _laboratory(rows, Draws(seed), world)
    rows |= observables(rows, Draws(seed), world)
    rows |= _missing(len(rows["age"]), Draws(seed), world)
    if world.structure:
        rows |= imprint(rows, Draws(seed, "heart"), world)
        rows |= laboratory(rows, Draws(seed, "laboratory"), world)
    if world.pulse:
        rows |= _pulse(rows, patients, seed, world)
    return rows


def strangers(patients: int, seed: int, who: str, world: World) -> Columns:
    """Other people, all of one site, in the places of the patients: as many visits, at the same times.

    Args:
        patients: As of `visits`.
        seed: As of `visits`.
        who: Name of their random streams.
        world: One with a pulse.
    """
    draws = Draws(seed, who)
    people = _people(patients, draws, _of_one_site(world))
    people |= vessels(people, Draws(seed, f"{who}, circulation"), world)
    calendar = _calendar(patients, Draws(seed), world)
    rows = {name: column[calendar["patient"]] for name, column in people.items()} | calendar
    rows["age"] = rows["age"] + rows.pop("years_on")
    spread = world["potassium.between_persons"] + world["potassium.within_person"]
    rows["potassium"] = world["potassium.healthy"] + spread * draws.normal("potassium", len(rows["age"]))
    rows |= _laboratory(rows, draws, world)
    rows |= observables(rows, draws, world)
    return rows | circulation(rows, Draws(seed, f"{who}, circulation"), world)


def _pulse(rows: Columns, patients: int, seed: int, world: World) -> Columns:
    """The circulation, who was measured, and the form of the pulse with what of them shows in it."""
    found = circulation(rows, Draws(seed, "circulation"), world)
    found["respiratory_rate"] = found["charted_respiratory_rate"]
    for part, names in _MEASURED.items():
        owner = found if world.linked else strangers(patients, seed, f"another's {part}", world)
        found |= {f"measured_{name}": owner[name] for name in names}
    for effect in () if world.linked else sorted(world.in_pulse):
        found |= {name: found[f"measured_{name}"] for name in SHOWS[effect]}
    count = len(rows["age"])
    for name, spread in zip(("systolic", "diastolic"), world["pressure.cuff"], strict=True):
        error = spread * Draws(seed, "cuff").normal(name, count)
        found[f"{name}_cuff"] = np.round(found[f"measured_{name}"] + error)
    return found | shape({**rows, **found}, Draws(seed, "pulse"), world)


_MEASURED = {"rhythm": SHOWS["rhythm"], "breath": SHOWS["breath"], "vessels": VESSELS}


def _examined(people: Columns, seed: int, world: World) -> Columns:
    """The heart that the laboratory looks at: the patient's own, and then its diseases are the patient's."""
    if not world.linked:
        who = "somebody else's heart"
        others = _people(len(people["age"]), Draws(seed, who), _of_one_site(world))
        return hearts(others, Draws(seed, f"{who} itself"), world)
    examined = hearts(people, Draws(seed, "heart"), world)
    return examined | {"atrial_fibrillation": examined["heart_atrial_fibrillation"]}


def _on_the_day(rows: Columns, seed: int, world: World) -> Columns:
    """That heart at each visit; wall and ejection fraction are the patient's own where the heart is."""
    day = at_visit(rows, Draws(seed, "heart"), world)
    if not world.linked:
        return day
    return day | {name: day[f"heart_{name}"] for name in ("lvef", "wall_thickness")}


def _people(count: int, draws: Draws, world: World) -> Columns:
    """One row a patient: site, body, diseases, drugs."""
    names = np.array(world["site.names"])
    place = np.searchsorted(np.cumsum(world["site.share"])[:-1], draws.uniform("site", count), side="right")
    at = {entry: np.array(world[f"site.{entry}"])[place] for entry in _PER_SITE}
    female = draws.uniform("sex", count) < at["female"]
    spread = world["person.age_spread"]
    age = np.clip(at["age"] + spread * draws.normal("age", count), 18, 92)
    height = np.array(world["person.height"])[female.astype(int)]
    height = height + world["person.height_spread"] * draws.normal("height", count)
    mass_index = world["person.mass_index"] * np.exp(world["person.mass_index_spread"] * draws.normal("bmi", count))
    rows = {"site": names[place], "sex": np.where(female, "F", "M"), "age": age, "height": height}
    rows["weight"] = mass_index * (height / 100) ** 2
    rows |= _diseases(age, at, draws, world)
    return rows | _drugs(rows, at, draws, world)


_PER_SITE = ("age", "female", "ckd", "dialysis", "heart_failure", "raas_inhibitor", "reversed", "crisis")


def _diseases(age: np.ndarray, at: Columns, draws: Draws, world: World) -> Columns:
    count, older = len(age), world["disease.per_decade"] * (age - 60) / 10
    ckd = draws.happens("ckd", _logit(at["ckd"]) + older)
    failing = _logit(at["heart_failure"]) + older + world["disease.heart_failure_with_ckd"] * ckd
    diabetic = _logit(world["disease.diabetes"]) + 0.5 * older + world["disease.diabetes_with_ckd"] * ckd
    pressure = _logit(world["disease.hypertension"]) + older + world["disease.hypertension_with_ckd"] * ckd
    rows = {
        "ckd": ckd,
        "dialysis": ckd & (draws.uniform("dialysis", count) < at["dialysis"]),
        "heart_failure": draws.happens("heart_failure", failing),
        "diabetes": draws.happens("diabetes", diabetic),
        "hypertension": draws.happens("hypertension", pressure),
        "copd": draws.happens("copd", _logit(world["disease.copd"]) + older),
    }
    rows |= _conduction(age, rows["heart_failure"], draws, world)
    rows = {name: column.astype(float) for name, column in rows.items()}
    return rows | _organs(rows, draws, world)


def _conduction(age: np.ndarray, heart_failure: np.ndarray, draws: Draws, world: World) -> Columns:
    """Atrial fibrillation (the diagnosis), pacing, bundle branch block."""
    fibrillating = _logit(world["rhythm.atrial_fibrillation"])
    fibrillating = fibrillating + world["rhythm.atrial_fibrillation_per_decade"] * (age - 60) / 10
    fibrillating = fibrillating + world["rhythm.atrial_fibrillation_with_heart_failure"] * heart_failure
    chances = (world["rhythm.bundle_branch_block_with_heart_failure"], world["rhythm.bundle_branch_block"])
    return {
        "atrial_fibrillation": draws.happens("atrial_fibrillation", fibrillating),
        "paced": draws.uniform("paced", len(age)) < world["rhythm.paced"],
        "bundle_branch_block": draws.uniform("block", len(age)) < np.where(heart_failure, *chances),
    }


def _organs(rows: Columns, draws: Draws, world: World) -> Columns:
    """Kidney function, ejection fraction, wall thickness."""
    count = len(rows["ckd"])
    healthy = _normal(world["disease.filtration"], draws, "filtration", count)
    ill = np.clip(_normal(world["disease.filtration_ckd"], draws, "filtration", count), 12, 62)
    filtration = np.where(rows["ckd"] == 1, ill, np.clip(healthy, 58, 130))
    filtration = np.where(rows["dialysis"] == 1, 5 + 7 * draws.uniform("residual", count), filtration)
    reduced = (rows["heart_failure"] == 1) & (draws.uniform("reduced", count) < world["disease.reduced_share"])
    low = _normal(world["disease.ejection_fraction_reduced"], draws, "lvef", count)
    lvef = np.where(reduced, low, _normal(world["disease.ejection_fraction"], draws, "lvef", count))
    wall = _normal(world["disease.wall_thickness"], draws, "wall", count)
    for disease in ("hypertension", "ckd", "dialysis"):
        wall = wall + world[f"disease.wall_{disease}"] * rows[disease]
    return {"filtration": filtration, "lvef": np.clip(lvef, 10, 78), "wall_thickness": np.clip(wall, 6, 22)}


def _drugs(rows: Columns, at: Columns, draws: Draws, world: World) -> Columns:
    known = [np.ones(len(rows["ckd"])), rows["hypertension"], rows["ckd"], rows["heart_failure"]]
    given = {}
    for drug in ("raas_inhibitor", "mra", "beta_blocker", "loop_diuretic"):
        logit = np.dot(world[f"drug.{drug}"], known) + at.get(drug, 0.0)
        given[drug] = draws.happens(drug, logit).astype(float)
    reversed_leads = draws.uniform("reversed", len(at["reversed"])) < at["reversed"]
    return given | {"reversed_leads": reversed_leads.astype(float), "crisis": at["crisis"]}


def _calendar(patients: int, draws: Draws, world: World) -> Columns:
    """One row a visit: whose, the how manieth, when."""
    again = np.log(world["visit.patients_seen_again"])
    counts = 1 + np.minimum(np.log(1 - draws.uniform("visits", patients)) // again, 5).astype(int)
    patient = np.repeat(np.arange(patients), counts)
    first, last = (np.datetime64(f"{world[f'visit.{end}_year']}-01-01", "s") for end in ("first", "last"))
    stop = (last - first).astype(float) + 365 * 86400
    start = draws.uniform("start", patients) * stop
    window = np.minimum(start + world["visit.follow_up"] * 365.25 * 86400, stop)
    seconds = (start + (window - start) * draws.uniform("when", 6 * patients).reshape(patients, 6).T).T  # (patients, 6)
    seconds = np.concatenate([np.sort(row[:count]) for row, count in zip(seconds, counts, strict=True)])
    number = np.concatenate([np.arange(count) for count in counts]) + 1
    # two hospitals share nobody, so that one can be external to the other
    subject = np.char.mod("%d", 1_000_000 * (draws.seed + 1) + 1 + patient)
    return {
        "patient": patient,
        "subject": subject,
        "id": np.char.add(np.char.add(subject, "-"), number.astype(str)),
        "when": first + seconds.astype("timedelta64[s]"),
        "years_on": (seconds - start[patient]) / (365.25 * 86400),
    }


def _potassium(rows: Columns, patients: int, seed: int, world: World) -> Columns:
    """Potassium in the blood when the ECG is taken.

    Where the world is not linked, it follows from the diseases and drugs of somebody else, all of one site.
    """
    draws, causes = Draws(seed), rows
    if not world.linked:
        draws = Draws(seed, who="somebody else")
        others = _people(patients, draws, _of_one_site(world))
        causes = {name: column[rows["patient"]] for name, column in others.items()}
    personal = draws.normal("potassium", patients)[rows["patient"]]
    mean = world["potassium.healthy"] + world["potassium.between_persons"] * personal + _drift(causes, world)
    spread = world["potassium.within_person"] + world["potassium.within_ckd"] * causes["ckd"]
    crisis, small = world["potassium.crisis"], world["potassium.crisis_size"]
    raised = np.maximum(causes["raas_inhibitor"], causes["mra"])
    logit = (
        crisis[0] + causes["crisis"] + crisis[1] * causes["ckd"] + crisis[2] * causes["dialysis"] + crisis[3] * raised
    )
    rise = small[0] + small[1] * draws.exponential("crisis size", len(mean))
    value = mean + spread * draws.normal("potassium at visit", len(mean)) + rise * draws.happens("crisis", logit)
    return {"potassium": np.clip(value, *world["potassium.bounds"])}


def _of_one_site(world: World) -> World:
    """The same world, all of its patients at the first site."""
    first = world["site.names"][0]
    share = [float(name == first) for name in world["site.names"]]
    return replace(world, constants={**world.constants, "site.share": share})


def _drift(causes: Columns, world: World) -> np.ndarray:
    """What kidneys and drugs add, mmol/L."""
    added = world["potassium.per_filtration"] * np.maximum(60 - causes["filtration"], 0) / 10
    added = added + world["potassium.raas_inhibitor_ckd"] * causes["raas_inhibitor"] * causes["ckd"]
    for cause in ("dialysis", "raas_inhibitor", "mra", "beta_blocker", "loop_diuretic", "diabetes"):
        added = added + world[f"potassium.{cause}"] * causes[cause]
    return added


def _laboratory(rows: Columns, draws: Draws, world: World) -> Columns:
    """What the laboratory reports of it, to a tenth, and when the blood was drawn."""
    count = len(rows["potassium"])
    place = np.array([world["site.names"].index(site) for site in rows["site"]])
    delay, flagging = (np.array(world[f"site.{entry}"])[place] for entry in ("sampling_delay", "haemolysis_noticed"))
    minutes = delay * np.exp(world["laboratory.delay_spread"] * draws.normal("delay", count))
    minutes = np.minimum(minutes, 720) * np.where(draws.uniform("before", count) < 0.5, -1, 1)
    drift = world["laboratory.drift"] * np.sqrt(np.abs(minutes) / 60) * draws.normal("drift", count)
    error = world["laboratory.analytical"] * rows["potassium"] * draws.normal("analyser", count)
    burst = draws.uniform("haemolysed", count) < world["laboratory.haemolysed"]
    rise = burst * world["laboratory.haemolysis_rise"] * draws.exponential("haemolysis", count)
    noticed = burst & (draws.uniform("noticed", count) < flagging)
    reported = np.round(rows["potassium"] + drift + error + rise, 1)
    reported[draws.uniform("sample lost", count) < world["visit.potassium_missing"]] = np.nan
    return {
        "potassium_laboratory": reported,
        "potassium_minutes": np.round(minutes),
        "haemolysed": noticed.astype(float),
    }


def _missing(count: int, draws: Draws, world: World) -> Columns:
    """What was never measured at a visit, as 0 or 1."""
    kinds = {"echo_missing": "visit.echo_missing", "size_missing": "visit.size_missing"}
    return {name: (draws.uniform(name, count) < world[entry]).astype(float) for name, entry in kinds.items()}


def _normal(mean_and_spread: list[float], draws: Draws, name: str, count: int) -> np.ndarray:
    return mean_and_spread[0] + mean_and_spread[1] * draws.normal(name, count)


def _logit(probability: np.ndarray | float) -> np.ndarray:
    return np.log(probability) - np.log1p(-np.asarray(probability))
