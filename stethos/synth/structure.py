"""The structure of a heart: from causes through valves, muscle and chambers to what counts as disease.

    valves → muscle → left chambers → rhythm → pressure in the lung → right chambers → the tricuspid valve
    age, pressure, aortic valve → aorta

Everything is a column with one row a patient, then one row a visit. Names of a heart's columns start with `heart_`:
in a world without links the heart that is examined is not the one whose ECG is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stethos.synth.world import Draws, World

DISEASES = (
    *("lv_systolic_reduced", "lv_wall_thickening", "regional_wall_motion", "la_enlargement", "lv_enlargement"),
    *("right_heart_enlargement", "global_enlargement", "mitral_stenosis", "mitral_regurgitation", "aortic_stenosis"),
    *("aortic_regurgitation", "tricuspid_regurgitation", "aortic_dilation"),
)
MEASUREMENTS = (
    *("lvef", "ivs", "lvpw", "wall_thickness", "lvedd", "la_diameter", "rv_diameter", "aorta_diameter"),
    *("pulmonary_artery_diameter", "pasp", "mitral_area", "aortic_velocity"),
)
VALUES = (
    *MEASUREMENTS,
    *("mitral_regurgitation", "aortic_regurgitation", "tricuspid_regurgitation", "segments"),
)
_OF_THE_PERSON = ("hypertension", "copd", "heart_failure", "diabetes", "atrial_fibrillation")

Columns = dict[str, np.ndarray]


def hearts(people: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """One row a patient: the heart at rest, before it varies from visit to visit.

    Args:
        people: "site", "sex", "age" (years), "lvef" (%), "wall_thickness" (mm) and diseases of the hospital's patients.
        draws: Streams of these hearts.
        world: Constants.

    Returns:
        Columns that start with `heart_`: the values of `VALUES` (mm, %, mmHg, cm², m/s; regurgitation as % of the
        stroke), "wall" and "asymmetry" behind the walls, "female", "age", "prosthesis" (0 none, 1 mitral,
        2 aortic), "anterior" (the infarction faces lead I), and diseases (0 or 1).
    """
    heart = {name: people[name] for name in _OF_THE_PERSON}
    heart |= {"female": people["sex"] == "F", "age": people["age"], "decades": (people["age"] - 60) / 10}
    place = np.array([world["site.names"].index(site) for site in people["site"]])
    at = {entry: np.array(world[f"site.{entry}"])[place] for entry in ("valve", "severity")}
    heart |= _valves(heart, at, draws, world)
    heart |= _muscle(heart | {"rest": people["lvef"]}, at, draws, world)
    heart["mitral_regurgitation"] = _functional(heart, draws, world)
    heart["wall"] = _wall(heart, people["wall_thickness"], draws, world)
    heart |= _left(heart, draws, world)
    heart |= _right(heart, at, draws, world)
    heart |= _vessels(heart, draws, world)
    heart |= _operated(heart, draws, world)
    return {f"heart_{name}": np.asarray(column, dtype=float) for name, column in heart.items()}


def at_visit(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """The heart on the day of a visit: `heart_` columns of `rows` with the variation within a patient.

    Args:
        rows: Hearts, one row a visit.
        draws: Streams of these hearts.
        world: Constants.

    Returns:
        Those of `VALUES` that vary, as `heart_` columns, `(visits,)`.
    """
    count, spread = len(rows["heart_lvef"]), world["chamber.at_visit"]
    names = ("lvef", "wall", "la_diameter", "lvedd", "rv_diameter", "pasp")
    day = {
        name: rows[f"heart_{name}"] + size * draws.normal(f"{name} at visit", count)
        for name, size in zip(names, spread, strict=True)
    }
    wall, half = np.clip(day.pop("wall"), 6, 26), rows["heart_asymmetry"]
    day |= {"ivs": wall * (1 + half), "lvpw": wall * (1 - half)}
    day["wall_thickness"] = np.maximum(day["ivs"], day["lvpw"])
    day["lvef"] = np.clip(day["lvef"], 10, 78)
    day["pasp"] = np.clip(day["pasp"], 12, 130)
    return {f"heart_{name}": column for name, column in day.items()}


def diseases(values: Mapping[str, np.ndarray], female: np.ndarray, world: World) -> Columns:
    """Which of `DISEASES` a heart with these values has, 0 or 1, `(N,)` each.

    Args:
        values: The names of `VALUES`, without prefix, `(N,)` each.
        female: 1 for women, `(N,)`.
        world: Limits.
    """
    moderate = world["limit.regurgitation"][3]
    large = {
        chamber: values[name] > limit(chamber, female, world)
        for chamber, name in (("atrium", "la_diameter"), ("ventricle", "lvedd"), ("right", "rv_diameter"))
    }
    held = (
        values["lvef"] < world["limit.lvef"][0],
        values["wall_thickness"] >= limit("wall", female, world),
        values["segments"] >= world["limit.segments"],
        *large.values(),
        large["atrium"] & large["ventricle"] & large["right"],
        values["mitral_area"] <= world["limit.mitral_area"][0],
        values["mitral_regurgitation"] >= moderate,
        values["aortic_velocity"] >= world["limit.aortic_velocity"][0],
        values["aortic_regurgitation"] >= moderate,
        values["tricuspid_regurgitation"] >= moderate,
        values["aorta_diameter"] > limit("aorta", female, world),
    )
    return {name: column.astype(float) for name, column in zip(DISEASES, held, strict=True)}


def limit(part: str, female: np.ndarray, world: World) -> np.ndarray:
    """Where enlargement starts, mm, `(N,)`: "wall", "atrium", "ventricle", "right" or "aorta", by sex."""
    men, women, _ = world[f"limit.{part}"]
    return np.where(female == 1, women, men)


def _valves(heart: Columns, at: Columns, draws: Draws, world: World) -> Columns:
    """Diseases of the valves themselves: area, velocity, and regurgitant fractions."""
    count, harder = len(heart["age"]), at["severity"]
    older = np.multiply.outer(world["valve.per_decade"], heart["decades"]) + at["valve"]  # (4, N)
    chance, women = world["valve.mitral_stenosis"]
    rheumatic = draws.happens("rheumatic", _logit(chance) + women * heart["female"] + older[0])
    median, spread, low, high = world["valve.mitral_stenosis_area"]
    narrow = np.clip(median * np.exp(spread * draws.normal("narrow area", count)), low, high)
    chance, narrows, leaks = world["valve.bicuspid"]
    bicuspid = draws.uniform("bicuspid", count) < chance
    calcified = draws.happens("calcified", _logit(world["valve.aortic_stenosis"]) + narrows * bicuspid + older[1])
    mean, between, least, more = world["valve.aortic_velocity"]
    fast = least + harder * more * draws.exponential("velocity excess", count)
    healthy = mean + between * draws.normal("velocity", count)
    shut = world["valve.mitral_area"]
    return {
        "rheumatic": rheumatic,
        "bicuspid": bicuspid,
        "mitral_area": np.where(rheumatic, high - harder * (high - narrow), _normal(shut, draws, "area", count)),
        "aortic_velocity": np.clip(np.where(calcified, fast, healthy), 0.7, 6.5),
        "aortic_regurgitation": _leak("aortic", leaks * bicuspid + older[2], harder, draws, world),
        "mitral_regurgitation": _leak("mitral", older[3], harder, draws, world),
    }


def _leak(valve: str, logit: np.ndarray, harder: np.ndarray, draws: Draws, world: World) -> np.ndarray:
    """Regurgitant fraction in % of a valve that is diseased with some probability, and trivial otherwise."""
    chance, least, more = world[f"valve.{valve}_regurgitation"]
    scale = world["valve.trivial"][("aortic", "mitral", "tricuspid").index(valve)]
    trivial = scale * np.abs(draws.normal(f"trivial {valve}", len(logit)))
    ill = draws.happens(f"{valve} leaks", _logit(chance) + logit)
    return np.where(ill, least + harder * more * draws.exponential(f"{valve} excess", len(logit)), trivial)


def _muscle(heart: Columns, at: Columns, draws: Draws, world: World) -> Columns:
    """Infarction and ejection fraction."""
    count = len(heart["age"])
    chance, per_decade, *causes = world["muscle.infarction"]
    known = (1 - heart["female"], heart["diabetes"], heart["hypertension"], heart["heart_failure"])
    infarcted = draws.happens("infarction", _logit(chance) + per_decade * heart["decades"] + np.dot(causes, known))
    least, more, most = world["muscle.infarction_size"]
    size = np.minimum(least + at["severity"] * more * draws.exponential("infarction size", count), most)
    segments = infarcted * size
    lost = world["muscle.ejection_per_segment"] * segments
    lost = lost + world["muscle.ejection_per_velocity"] * np.maximum(heart["aortic_velocity"] - 4, 0)
    overload = np.maximum(heart["aortic_regurgitation"] - 45, 0) + np.maximum(heart["mitral_regurgitation"] - 45, 0)
    lost = lost + world["muscle.ejection_per_regurgitation"] * overload
    usual = world["disease.ejection_fraction"][0]
    rest = np.where(heart["rest"] < 50, usual - at["severity"] * (usual - heart["rest"]), heart["rest"])
    return {
        "segments": segments,
        "anterior": draws.uniform("anterior", count) < world["muscle.anterior"],
        "lvef": np.clip(rest - lost, 12, 78),
    }


def _functional(heart: Columns, draws: Draws, world: World) -> np.ndarray:
    """Mitral regurgitant fraction in % with what a failing ventricle and a rheumatic valve add."""
    count, (slope, rheumatic) = len(heart["age"]), world["valve.mitral_regurgitation_functional"]
    added = slope * draws.exponential("functional", count) * np.maximum(50 - heart["lvef"], 0)
    added = added + rheumatic * draws.exponential("rheumatic leak", count) * heart["rheumatic"]
    return np.minimum(heart["mitral_regurgitation"] + added, 80)


def _wall(heart: Columns, wall: np.ndarray, draws: Draws, world: World) -> np.ndarray:
    """Mean of septum and posterior wall, mm."""
    count = len(wall)
    wall = wall + world["muscle.wall_mean"] + world["muscle.wall_women"] * heart["female"]
    wall = wall + world["muscle.wall_pressure"] * draws.exponential("pressure", count) * heart["hypertension"]
    wall = wall + world["muscle.wall_per_velocity"] * np.maximum(heart["aortic_velocity"] - 2.2, 0)
    chance, *added, asymmetry = world["muscle.hypertrophic"]
    hypertrophic = draws.uniform("hypertrophic", count) < chance
    wall = wall + hypertrophic * np.maximum(_normal(added, draws, "hypertrophy", count), 2)
    heart["asymmetry"] = _normal(world["muscle.asymmetry"], draws, "asymmetry", count) + asymmetry * hypertrophic
    return np.clip(wall, 6, 24)


def _left(heart: Columns, draws: Draws, world: World) -> Columns:
    """Left atrium, the rhythm it can keep, and left ventricle."""
    count, weak = len(heart["age"]), np.maximum(50 - heart["lvef"], 0)
    men, women, spread, per_decade = world["chamber.atrium"]
    causes = world["chamber.atrium_causes"]
    load = (heart["hypertension"], weak, np.maximum(heart["mitral_regurgitation"] - 15, 0), _narrowed(heart))
    atrium = np.where(heart["female"], women, men) + spread * draws.normal("atrium", count)
    atrium = atrium + per_decade * heart["decades"] + np.dot(causes[:4], load)
    atrium = atrium + causes[4] * np.maximum(heart["wall"] - 10, 0)
    chance, added, _, _, more = world["chamber.biventricular"]
    both = (heart["lvef"] < 45) & (draws.uniform("biventricular", count) < chance)
    atrium = atrium + more * both
    at_38, per_mm, rheumatic = world["chamber.fibrillation"]
    new = draws.happens("fibrillation", at_38 + per_mm * (atrium - 38) + rheumatic * heart["rheumatic"])
    fibrillating = np.maximum(heart["atrial_fibrillation"], new)
    return {
        "atrial_fibrillation": fibrillating,
        "la_diameter": np.clip(atrium + causes[5] * fibrillating, 22, 75),
        "lvedd": np.clip(_ventricle(heart, weak, draws, world) + added * both, 34, 85),
        "biventricular": both,
    }


def _ventricle(heart: Columns, weak: np.ndarray, draws: Draws, world: World) -> np.ndarray:
    """Left ventricle at the end of diastole, mm."""
    men, women, spread = world["chamber.ventricle"]
    load = [weak] + [np.maximum(heart[f"{valve}_regurgitation"] - 20, 0) for valve in ("aortic", "mitral")]
    load.append(np.maximum(heart["wall"] - 11, 0))
    size = np.where(heart["female"], women, men) + spread * draws.normal("ventricle", len(weak))
    return size + np.dot(world["chamber.ventricle_causes"], load)


def _right(heart: Columns, at: Columns, draws: Draws, world: World) -> Columns:
    """Pressure in the pulmonary artery, right ventricle, tricuspid valve."""
    count, harder, on = len(heart["age"]), at["severity"], draws.exponential
    chance, least, more, wide, wider = world["chamber.pulmonary_disease"]
    own = draws.uniform("pulmonary disease", count) < chance
    pressure = _pressure(heart, draws, world) + own * (least + harder * more * on("pulmonary pressure", count))
    above = np.maximum(pressure - 35, 0)
    _, _, both, both_more, _ = world["chamber.biventricular"]
    men, women, spread = world["chamber.right"]
    size = np.where(heart["female"], women, men) + spread * draws.normal("right ventricle", count)
    causes = world["chamber.right_causes"]
    size = size + np.dot([causes[0], causes[1], causes[3]], [above, heart["copd"], heart["atrial_fibrillation"]])
    size = size + own * (wide + harder * wider * on("right excess", count))
    size = size + heart["biventricular"] * (both + both_more * on("biventricular excess", count))
    per_pressure, per_mm, fibrillating = world["valve.tricuspid_regurgitation_functional"]
    leak = _leak("tricuspid", at["valve"], harder, draws, world)
    leak = leak + per_pressure * on("tricuspid pressure", count) * above + per_mm * np.maximum(size - 38, 0)
    leak = leak + fibrillating * on("tricuspid fibrillation", count) * heart["atrial_fibrillation"]
    leak = np.minimum(leak, 80)
    size = np.clip(size + causes[2] * np.maximum(leak - 20, 0), 22, 70)
    return {"pasp": pressure, "rv_diameter": size, "tricuspid_regurgitation": leak}


def _pressure(heart: Columns, draws: Draws, world: World) -> np.ndarray:
    """Systolic pressure in the pulmonary artery from age, lung and left heart, mmHg."""
    count, (mean, spread, per_decade) = len(heart["age"]), world["chamber.pressure"]
    causes = world["chamber.pressure_causes"]
    load = (
        heart["copd"] * draws.exponential("lung", count),
        np.maximum(heart["la_diameter"] - 40, 0),
        _narrowed(heart),
        np.maximum(50 - heart["lvef"], 0),
        np.maximum(heart["mitral_regurgitation"] - 30, 0),
    )
    return (
        mean + spread * draws.normal("pressure at rest", count) + per_decade * heart["decades"] + np.dot(causes, load)
    )


def _vessels(heart: Columns, draws: Draws, world: World) -> Columns:
    """Ascending aorta and main pulmonary artery, mm."""
    count = len(heart["age"])
    men, women, spread, per_decade = world["vessel.aorta"]
    load = (
        heart["hypertension"],
        heart["bicuspid"],
        np.maximum(heart["aortic_velocity"] - 2.5, 0),
        np.maximum(heart["aortic_regurgitation"] - 20, 0),
        np.maximum(heart["wall"] - 11, 0),
    )
    aorta = np.where(heart["female"], women, men) + spread * draws.normal("aorta", count)
    aorta = aorta + per_decade * heart["decades"] + np.dot(world["vessel.aorta_causes"], load)
    chance, least, more = world["vessel.aneurysm"]
    diseased = draws.uniform("aneurysm", count) < chance
    aorta = aorta + diseased * (least + more * draws.exponential("aneurysm size", count))
    mean, spread, per_pressure = world["vessel.pulmonary"]
    pulmonary = mean + spread * draws.normal("pulmonary", count) + per_pressure * np.maximum(heart["pasp"] - 30, 0)
    return {"aorta_diameter": np.clip(aorta, 22, 75), "pulmonary_artery_diameter": np.clip(pulmonary, 14, 50)}


def _operated(heart: Columns, draws: Draws, world: World) -> Columns:
    """Valves after surgery: the valve works again, the chambers stay as they had become."""
    count = len(heart["age"])
    treated = draws.uniform("operated", count) < world["valve.operated"]
    severe = world["limit.regurgitation"][5]
    mitral = (heart["mitral_area"] < world["limit.mitral_area"][1]) | (heart["mitral_regurgitation"] > severe)
    aortic = (heart["aortic_velocity"] > world["limit.aortic_velocity"][2]) | (heart["aortic_regurgitation"] > severe)
    which = np.select([treated & mitral, treated & aortic], [1, 2], 0)
    area, area_spread, velocity, velocity_spread = world["valve.prosthesis"]
    new_area = np.maximum(_normal([area, area_spread], draws, "prosthesis", count), 2.05)
    new_velocity = np.minimum(_normal([velocity, velocity_spread], draws, "prosthesis", count), 2.5)
    return {
        "prosthesis": which,
        "mitral_area": np.where(which == 1, new_area, heart["mitral_area"]),
        "mitral_regurgitation": np.where(which == 1, 5.0, heart["mitral_regurgitation"]),
        "aortic_velocity": np.where(which == 2, new_velocity, heart["aortic_velocity"]),
        "aortic_regurgitation": np.where(which == 2, 5.0, heart["aortic_regurgitation"]),
    }


def _narrowed(heart: Columns) -> np.ndarray:
    """How much mitral area is missing, cm² below 2.2."""
    return np.maximum(2.2 - heart["mitral_area"], 0)


def _normal(mean_and_spread: list[float], draws: Draws, name: str, count: int) -> np.ndarray:
    return mean_and_spread[0] + mean_and_spread[1] * draws.normal(name, count)


def _logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))
