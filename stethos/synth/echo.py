"""The echo laboratory: whose heart is looked at, what a reader sees of it, and which numbers end in the table.

heart_…   the heart itself          (structure)
seen_…    as a reader measured it: rounded, with the reader's own error
told_…    seen, NaN where the laboratory gives no number
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stethos.synth.structure import DISEASES, MEASUREMENTS, VALUES, diseases, limit
from stethos.synth.world import Draws, World

_MEASURED = (  # in the order of reader.spread
    *("lvef", "ivs", "lvpw", "lvedd", "la_diameter", "rv_diameter", "aorta_diameter", "pulmonary_artery_diameter"),
    *("pasp", "mitral_area", "aortic_velocity"),
)
_TENTHS = ("ivs", "lvpw", "mitral_area", "aortic_velocity")
_LEAKS = ("mitral_regurgitation", "aortic_regurgitation", "tricuspid_regurgitation")

Columns = dict[str, np.ndarray]


def laboratory(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """What the laboratory makes of each visit.

    Args:
        rows: Visits with the columns `heart_…`.
        draws: Streams of the laboratory.
        world: Constants.

    Returns:
        "echo_missing" (1 where none was done), "seen_…" for `VALUES`, "told_…" for `MEASUREMENTS`, and for
        `DISEASES` "found_…" (the reader sees it) and "near_…" (within the reader's error of the limit), 0 or 1.
    """
    place = np.array([world["site.names"].index(site) for site in rows["site"]])
    asked = np.maximum(rows["heart_failure"], rows["atrial_fibrillation"])
    chance = np.array(world["site.echo_done"])[place]
    done = draws.happens("echo", np.log(chance / (1 - chance)) + world["reader.asked"] * asked)
    seen = _seen(rows, place, draws, world)
    told = {f"told_{name}": np.where(done, column, np.nan) for name, column in _told(seen, draws, world).items()}
    female = rows["heart_female"]
    columns = {f"seen_{name}": seen[name] for name in VALUES} | told | {"echo_missing": (~done).astype(float)}
    columns |= {f"found_{name}": column for name, column in diseases(seen, female, world).items()}
    return columns | {f"near_{name}": column for name, column in _near(seen, female, world).items()}


def truths(rows: Mapping[str, np.ndarray], world: World) -> Columns:
    """The diseases and measurements of the hearts themselves, `DISEASES` (0 or 1) and `MEASUREMENTS`."""
    values = {name: rows[f"heart_{name}"] for name in VALUES}
    return diseases(values, rows["heart_female"], world) | {name: values[name] for name in MEASUREMENTS}


def _seen(rows: Mapping[str, np.ndarray], place: np.ndarray, draws: Draws, world: World) -> Columns:
    """Every value with its reader's error, rounded as it is written down."""
    count = len(place)
    wider, shift = (np.array(world[f"site.{entry}"])[place] for entry in ("reader_spread", "reader_shift"))
    seen = {}
    for name, spread in zip(_MEASURED, world["reader.spread"], strict=True):
        error = spread * (wider * draws.normal(f"{name} read", count) + shift)
        true = rows[f"heart_{name}"]
        value = true * np.exp(error) if name == "mitral_area" else true + error
        seen[name] = np.round(np.maximum(value, 0.5), 1 if name in _TENTHS else 0)
    seen["lvef"] = np.clip(seen["lvef"], 8, 80)
    seen["wall_thickness"] = np.maximum(seen["ivs"], seen["lvpw"])
    for name in _LEAKS:
        error = world["reader.regurgitation"] * wider * draws.normal(f"{name} read", count)
        seen[name] = np.clip(rows[f"heart_{name}"] + error, 0, 85)
    spread, invented = world["reader.segments"]
    moving, segments = draws.uniform("motion", count), rows["heart_segments"]
    ill = np.maximum(np.round(segments + spread * wider * draws.normal("segments read", count)), 0)
    seen["segments"] = np.where(segments > 0, ill, np.where(moving < invented, 2.0, 0.0))
    return seen


def _near(seen: Columns, female: np.ndarray, world: World) -> Columns:
    """Whether each disease is within the reader's error of its limit; four chambers never are."""
    error = dict(zip(_MEASURED, world["reader.spread"], strict=True))
    leak = world["reader.regurgitation"]
    moderate = world["limit.regurgitation"][3]
    area = np.abs(np.log(seen["mitral_area"] / world["limit.mitral_area"][0]))
    away = (
        np.abs(seen["lvef"] - world["limit.lvef"][0]) / error["lvef"],
        np.abs(seen["wall_thickness"] - limit("wall", female, world)) / error["ivs"],
        np.abs(seen["segments"] - world["limit.segments"]),
        np.abs(seen["la_diameter"] - limit("atrium", female, world)) / error["la_diameter"],
        np.abs(seen["lvedd"] - limit("ventricle", female, world)) / error["lvedd"],
        np.abs(seen["rv_diameter"] - limit("right", female, world)) / error["rv_diameter"],
        np.full(len(area), np.inf),
        area / error["mitral_area"],
        np.abs(seen["mitral_regurgitation"] - moderate) / leak,
        np.abs(seen["aortic_velocity"] - world["limit.aortic_velocity"][0]) / error["aortic_velocity"],
        np.abs(seen["aortic_regurgitation"] - moderate) / leak,
        np.abs(seen["tricuspid_regurgitation"] - moderate) / leak,
        np.abs(seen["aorta_diameter"] - limit("aorta", female, world)) / error["aorta_diameter"],
    )
    return {name: (column < 1).astype(float) for name, column in zip(DISEASES, away, strict=True)}


def _told(seen: Columns, draws: Draws, world: World) -> Columns:
    """Numbers of the table; NaN where the laboratory gives none."""
    count = len(seen["lvef"])
    chance: Columns = {name: np.array(share) for name, share in zip(_TOLD, world["reader.told"], strict=True)}
    least, per_leak, most = world["reader.pressure_told"]
    chance["pasp"] = np.minimum(least + per_leak * seen["tricuspid_regurgitation"], most)
    narrow = seen["mitral_area"] <= world["limit.mitral_area"][0]
    chance["mitral_area"] = np.where(narrow, world["reader.area_told"], chance["mitral_area"])
    told = {
        name: np.where(draws.uniform(f"{name} told", count) < chance[name], seen[name], np.nan) for name in _MEASURED
    }
    told["wall_thickness"] = np.fmax(told["ivs"], told["lvpw"])
    return {name: told[name] for name in MEASUREMENTS}


_TOLD = (*_MEASURED[:8], "mitral_area", "aortic_velocity")
