"""Vessels, pressure, breathing and perfusion: the state behind a pulse, and what of it shows there.

    age, sex, diseases → stiffness → pulse pressure ┐
    age, hypertension, drugs, ejection → mean pressure ┴→ systolic and diastolic pressure → the cuff's
    stiffness, mean pressure → velocity → delay of the reflected wave, notch, run-off

    systolic = mean + ⅔ pulse pressure,   diastolic = mean − ⅓ pulse pressure
    velocity = stiffness × exp(a (mean pressure − 95 mmHg))

What is measured (rhythm and heart rate; breathing; pressure) is the patient's own where the world is linked. Where
it is not, each of the three is somebody else's, and shows in the patient's pulse only through the world's effects.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stethos.synth.world import Draws, World

RHYTHM = ("rhythm", "heart_rate", "ectopic_share", "beat_jitter", "beat_drift", "fibrillation_spread")
BREATH = (
    *("breath_rate", "breath_jitter", "breath_pause", "breath_inspiration"),
    *("breath_beats", "breath_size", "breath_baseline"),
)
STIFFNESS = ("stiffness",)
PRESSURE = ("mean_pressure",)
VESSELS = (*STIFFNESS, *PRESSURE, "systolic", "diastolic")
SHOWS = {"rhythm": RHYTHM, "breath": BREATH, "stiffness": STIFFNESS, "pressure": PRESSURE}
SHAPE = (
    *("velocity", "transit", "electromechanical", "ejection", "upstroke"),
    *("reflection_delay", "reflection_size", "notch", "runoff"),
)
NEUTRAL = 95.0  # mmHg of mean pressure at which stiffness is stated

Columns = dict[str, np.ndarray]


def vessels(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """One row a patient: further diseases and a drug, and the usual state of vessels and pressure.

    Args:
        people: "age" (years), "sex", diseases, drugs and "lvef" of the hospital's patients.
        draws: Streams of these vessels.
        world: Constants.

    Returns:
        "atrial_fibrillation" (with what monitored patients have more of it), "peripheral_disease", "stroke",
        "calcium_antagonist" (0 or 1), and the usual "stiffness" (m/s), "mean_pressure", "pulse_pressure" (mmHg).
    """
    found = _diseases(people, draws, world)
    known = {**people, **found}
    found["calcium_antagonist"] = _calcium_antagonist(known, draws, world)
    known |= found
    state = {"stiffness": _stiffness(known, draws, world)}
    return found | state | _pressures(known | state, draws, world)


def circulation(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """The state at each visit.

    Args:
        rows: Visits with the columns of `vessels` and of `observables`.
        draws: Streams of this circulation.
        world: Constants.

    Returns:
        `RHYTHM`, `BREATH` and `VESSELS`; "perfusion" (relative amplitude), Mayer waves, what a nurse charted
        ("charted_systolic", …), and "usual_systolic" (mmHg, of the person).
    """
    state = _pressure_at_visit(rows, draws, world) | _breath(rows, draws, world)
    state |= _beat(rows, draws, world) | _mayer(rows, draws, world)
    state["perfusion"] = _perfusion(rows, draws, world)
    state["usual_systolic"] = rows["mean_pressure"] + 2 / 3 * rows["pulse_pressure"]
    return state | _charted({**rows, **state}, draws, world)


def shape(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """What an ideal reader would measure in the form of a pulse, `(visits,)` each.

    Args:
        rows: Visits with their circulation, as it shows.
        draws: Streams of the pulse.
        world: Constants.

    Returns:
        "velocity" (m/s); "transit" (heart to sensor), "electromechanical" (R to ejection), "ejection", "upstroke",
        "reflection_delay", "runoff" in s; "reflection_size" and "notch" relative to the first wave.
    """
    weak, own = np.maximum(50 - rows["lvef"], 0), _Personal(rows, draws)
    above, stiff = rows["mean_pressure"] - NEUTRAL, rows["stiffness"] - 8.4
    velocity = rows["stiffness"] * np.exp(world["vessel.velocity_per_pressure"] * above)
    finger, wrist = world["pulse.path"]
    path = rows["height"] / 100 * np.where(_at(rows, "pulse_wrist", world) == 1, wrist, finger)
    delays, between, within = world["pulse.reflection_delay"]
    scatter = between * own("delay") + within * draws.normal("delay at visit", len(weak))
    size, between, within, per_pressure = world["pulse.reflection_size"]
    reflected = between * own("reflection") + within * draws.normal("reflection at visit", len(weak))
    notch, spread, per_stiffness, _ = world["pulse.notch"]
    drain, drain_spread, drain_pressure, drain_stiffness = world["pulse.runoff"]
    form = {
        "velocity": velocity,
        "transit": path / velocity,
        "reflection_delay": delays * rows["height"] / 100 / velocity * np.exp(scatter),
        "reflection_size": size * np.exp(reflected + per_pressure * above),
        "notch": np.minimum(notch * np.exp(spread * own("notch") + per_stiffness * stiff), 0.4),
        "runoff": drain * np.exp(drain_spread * own("runoff") + drain_pressure * above + drain_stiffness * stiff),
    }
    return form | _ejection(rows, weak, own, world)


class _Personal:
    """Standard normal numbers that are the same at all visits of a person."""

    def __init__(self, rows: Mapping[str, np.ndarray], draws: Draws) -> None:
        self.patient, self.draws = rows["patient"], draws

    def __call__(self, name: str) -> np.ndarray:
        return self.draws.normal(name, int(self.patient.max()) + 1)[self.patient]


def _diseases(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    older = (people["age"] - 60) / 10

    def logit(entry: str, *causes: np.ndarray) -> np.ndarray:
        chance, per_decade, *weights = world[entry]
        added = sum((weight * cause for weight, cause in zip(weights, causes, strict=True)), np.zeros(len(older)))
        return np.log(chance / (1 - chance)) + per_decade * older + added

    new = draws.happens("fibrillation", logit("person.fibrillation", people["heart_failure"], people["hypertension"]))
    fibrillating = np.maximum(people["atrial_fibrillation"], new)
    narrow = logit("person.peripheral_disease", people["diabetes"], people["ckd"], people["hypertension"])
    stroke = logit("person.stroke", people["hypertension"], fibrillating, people["diabetes"])
    return {
        "atrial_fibrillation": fibrillating,
        "peripheral_disease": draws.happens("peripheral disease", narrow).astype(float),
        "stroke": draws.happens("stroke", stroke).astype(float),
    }


def _calcium_antagonist(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> np.ndarray:
    known = [np.ones(len(people["ckd"])), people["hypertension"], people["ckd"], people["heart_failure"]]
    return draws.happens("calcium antagonist", np.dot(world["person.calcium_antagonist"], known)).astype(float)


def _stiffness(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> np.ndarray:
    """Pulse wave velocity at a mean pressure of 95 mmHg, m/s, `(N,)`."""
    at_60, per_decade, women, *diseases = world["vessel.stiffness"]
    known = [people[name] for name in ("hypertension", "diabetes", "ckd", "dialysis")]
    usual = at_60 + per_decade * (people["age"] - 60) / 10 + women * (people["sex"] == "F") + np.dot(diseases, known)
    spread = world["vessel.stiffness_spread"][0] * draws.normal("stiffness", len(usual))
    return np.clip(np.maximum(usual, 4.5) * np.exp(spread), *world["vessel.stiffness_bounds"])


def _pressures(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """Usual mean and pulse pressure, mmHg, `(N,)`."""
    count, weak = len(people["age"]), np.maximum(50 - people["lvef"], 0)
    at_60, per_decade, spread, most = world["pressure.mean"]
    mean = at_60 - per_decade * np.clip((60 - people["age"]) / 10, 0, most) + spread * draws.normal("mean", count)
    untreated, differing = world["pressure.hypertension"]
    raised = untreated * np.exp(differing * draws.normal("severity", count)) * people["hypertension"]
    taken = [people[drug] for drug in ("raas_inhibitor", "beta_blocker", "mra", "loop_diuretic", "calcium_antagonist")]
    ill = [people["ckd"], people["dialysis"], people["diabetes"], weak]
    mean = mean + raised + np.dot(world["pressure.drugs"], taken) + np.dot(world["pressure.diseases"], ill)
    usual, per_stiffness, spread = world["pressure.pulse"]
    pulse = usual + per_stiffness * (people["stiffness"] - 8.4) + spread * draws.normal("pulse pressure", count)
    pulse = pulse + world["pressure.pulse_ejection"] * weak
    (low, high), (small, large) = world["pressure.bounds"]
    return {"mean_pressure": np.clip(mean, low, high), "pulse_pressure": np.clip(pulse, small, large)}


def _pressure_at_visit(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    count = len(rows["age"])
    (low, high), (small, large) = world["pressure.bounds"]
    of_mean, of_pulse, shared = world["pressure.within"]
    first, second = draws.normal("mean at visit", count), draws.normal("pulse at visit", count)
    mean = np.clip(rows["mean_pressure"] + of_mean * first, low, high)
    second = shared * first + np.sqrt(1 - shared**2) * second
    pulse = np.clip(rows["pulse_pressure"] + of_pulse * second, small, large)
    stiffness = rows["stiffness"] * np.exp(
        world["vessel.stiffness_spread"][1] * draws.normal("stiffness at visit", count)
    )
    return {
        "stiffness": stiffness,
        "mean_pressure": mean,
        "systolic": mean + 2 / 3 * pulse,
        "diastolic": mean - 1 / 3 * pulse,
    }


def _breath(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """Rate of breathing, how even it is, and how far it shows in beats, size and baseline."""
    own, count = _Personal(rows, draws), len(rows["age"])
    mean, between, within = world["breath.rate"]
    causes = [rows["copd"], rows["heart_failure"], np.maximum(50 - rows["lvef"], 0)]
    rate = mean + between * own("breath") + within * draws.normal("breath at visit", count)
    rate = np.clip(rate + np.dot(world["breath.rate_added"], causes), *world["breath.rate_bounds"])
    jitter, spread, _ = world["breath.jitter"]
    pause, failing, *_ = world["breath.pause"]
    healthy, obstructed = world["breath.inspiration"]
    return {
        "breath_rate": rate,
        "breath_jitter": np.minimum(jitter * np.exp(spread * own("jitter of breath")), 0.35),
        "breath_pause": pause + failing * rows["heart_failure"],
        "breath_inspiration": np.where(rows["copd"] == 1, obstructed, healthy),
    } | _swings(rows, (rate / 16) ** world["breath.faster"], draws, world)


def _swings(rows: Mapping[str, np.ndarray], slower: np.ndarray, draws: Draws, world: World) -> Columns:
    median, fall, spread, diabetic, failing = world["breath.beats"]
    beats = median * np.exp(-(rows["age"] - 20) / fall) * (1 - rows["paced"])
    beats = beats * np.where(rows["diabetes"] == 1, diabetic, 1) * np.where(rows["heart_failure"] == 1, failing, 1)
    swing = {"beats": (beats, spread)}
    for name in ("size", "baseline"):
        median, spread, obstructed = world[f"breath.{name}"]
        swing[name] = (median * np.where(rows["copd"] == 1, obstructed, 1), spread)
    *unseen, left = world["breath.unseen"]
    people, found = int(rows["patient"].max()) + 1, {}
    for (name, (usual, spread)), few in zip(swing.items(), unseen, strict=True):
        log = spread * draws.normal(f"swing of {name}", people)[rows["patient"]]
        log = log + world["breath.at_visit"] * draws.normal(f"swing of {name} at visit", len(usual))
        little = np.where(draws.uniform(f"{name} unseen", people) < few, left, 1.0)[rows["patient"]]
        found[f"breath_{name}"] = np.minimum(usual * np.exp(log) * little * slower, _MOST[name])
    return found


_MOST = {"beats": 0.25, "size": 0.45, "baseline": 1.2}


def _beat(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """How regular the beats are; rhythm and rate are `observables`'."""
    count, (chance, per_decade) = len(rows["age"]), world["beat.ectopy"]
    own, free = _Personal(rows, draws), 1 - rows["paced"]
    fewest, wider = world["rhythm.ectopic_share"]
    logit = np.log(chance / (1 - chance)) + per_decade * (rows["age"] - 60) / 10
    any_ectopic = draws.happens("ectopy", logit) & (rows["paced"] == 0)
    irregular = world["beat.fibrillation_spread"] * own("irregularity")
    return {
        "rhythm": rows["rhythm"],
        "heart_rate": rows["heart_rate"],
        "ectopic_share": any_ectopic * (fewest + wider * draws.uniform("share", count)),
        "beat_jitter": world["beat.jitter"] * free * np.exp(0.3 * own("jitter of beats")),
        "beat_drift": world["slow.drift"][0] * free * np.exp(0.3 * own("drift of beats")),
        "fibrillation_spread": world["beat.fibrillation_irregularity"] * np.exp(irregular),
    }


def _mayer(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    own = _Personal(rows, draws)
    frequency, between, _ = world["slow.mayer"]
    baseline, size, beats, spread = world["slow.mayer_depth"]
    depth = np.minimum(np.exp(spread * own("Mayer depth")), 3.5)
    return {
        "mayer_frequency": frequency + between * np.clip(own("Mayer frequency"), -2.5, 2.5),
        "mayer_baseline": baseline * depth,
        "mayer_size": size * depth,
        "mayer_beats": beats * depth * (1 - rows["paced"]),
    }


def _perfusion(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> np.ndarray:
    """Amplitude of the pulse relative to the median's, `(visits,)`."""
    count, (between, within) = len(rows["age"]), world["perfusion.level"]
    causes = [rows["diabetes"], rows["peripheral_disease"], (rows["age"] - 60) / 10]
    chance, lower, women = world["perfusion.cold"]
    cold = draws.happens("cold", np.log(chance / (1 - chance)) + women * (rows["sex"] == "F"))
    log = between * _Personal(rows, draws)("perfusion") + within * draws.normal("perfusion at visit", count)
    return np.exp(log + np.dot(world["perfusion.causes"], causes) + lower * cold)


def _charted(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """What a nurse wrote down about the time of the visit."""
    count, (of_systolic, of_diastolic) = len(rows["age"]), world["pressure.charted"]
    usual, spread, obstructed, failing = world["pressure.saturation"]
    saturation = usual + spread * draws.normal("saturation", count)
    saturation = saturation + obstructed * rows["copd"] + failing * rows["heart_failure"]
    return {
        "charted_systolic": np.round(rows["systolic"] + of_systolic * draws.normal("systolic charted", count)),
        "charted_diastolic": np.round(rows["diastolic"] + of_diastolic * draws.normal("diastolic charted", count)),
        "charted_respiratory_rate": np.round(rows["breath_rate"] + draws.normal("breath charted", count)),
        "charted_saturation": np.clip(np.round(saturation), 80, 100),
    }


def _ejection(rows: Mapping[str, np.ndarray], weak: np.ndarray, own: _Personal, world: World) -> Columns:
    """How the ventricle starts a pulse, s."""
    at_0, per_rate, per_weak, spread, _ = world["pulse.electromechanical"]
    rate = rows["heart_rate"]
    delay = at_0 + per_rate * rate + per_weak * weak + spread * own("electromechanical")
    long, shorter, weaker = world["pulse.ejection"]
    width, per_decade, slow, differing = world["pulse.upstroke"]
    upstroke = per_decade * (rows["age"] - 60) / 10 + slow * weak + differing * own("upstroke")
    return {
        "electromechanical": np.maximum(delay, 50) / 1e3,
        "ejection": np.maximum(long + shorter * rate + weaker * weak, 160) / 1e3,
        "upstroke": width * np.exp(upstroke),
    }


def _at(rows: Mapping[str, np.ndarray], entry: str, world: World) -> np.ndarray:
    """An entry of section "site" at each visit's site."""
    place = np.array([world["site.names"].index(site) for site in rows["site"]])
    return np.array(world[f"site.{entry}"])[place]
