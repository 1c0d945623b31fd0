"""How the structure of a heart shows in lead I, beyond what `heart` draws from wall and ejection fraction.

    left atrium, mitral stenosis    P wider, notched, taller; PR longer
    dilated, thick, weak ventricle  QRS wider, R taller or lower, T lower, QT longer
    right heart, pressure           R lower, S deeper, QRS wider
    infarction                      where it faces the lead: Q deeper, R and T lower

All of it is scaled by how much the person's heart shows at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stethos.synth.world import Draws, World

Columns = dict[str, np.ndarray]


def imprint(rows: Mapping[str, np.ndarray], draws: Draws, world: World) -> Columns:
    """The waves of `observables` after the structure of the heart has changed them.

    Args:
        rows: Visits with their waves, and the columns `heart_…`.
        draws: Streams of the hearts.
        world: Constants, and in which waves structure shows.

    Returns:
        The changed columns, and "p_width_ms" (NaN without P) and "p_notch" (how far its humps part, relative).
    """
    people = int(rows["patient"].max()) + 1
    spread, silent = world["shows.sensitivity"]
    felt = np.exp(spread * draws.normal("shows", people) - spread**2 / 2)
    felt[draws.uniform("silent", people) < silent] = 0.0
    shown = {wave: felt[rows["patient"]] * (wave in world.shows_in) for wave in ("P", "QRS", "T")}
    above = _above(rows)
    changed = _p_wave(rows, above, shown["P"], draws, world) | _qrs(rows, above, shown["QRS"], world)
    return changed | _repolarisation(rows, above, shown["T"], world)


def _above(rows: Mapping[str, np.ndarray]) -> Columns:
    """How far each part is beyond where it starts to show."""

    def over(name: str, least: float) -> np.ndarray:
        return np.maximum(rows[f"heart_{name}"] - least, 0)

    facing = rows["heart_anterior"] == 1
    return {
        "atrium": over("la_diameter", 38),
        "narrow": np.maximum(2.2 - rows["heart_mitral_area"], 0),
        "weak": np.maximum(50 - rows["heart_lvef"], 0),
        "ventricle": over("lvedd", 50),
        "wall": over("wall_thickness", 11),
        "velocity": over("aortic_velocity", 2.5),
        "regurgitation": over("aortic_regurgitation", 20),
        "right": over("rv_diameter", 36),
        "right late": over("rv_diameter", 38),
        "pressure": over("pasp", 35),
        "facing": np.where(facing, rows["heart_segments"], 0.0),
        "elsewhere": np.where(facing, 0.0, rows["heart_segments"]),
    }


def _p_wave(rows: Mapping[str, np.ndarray], above: Columns, felt: np.ndarray, draws: Draws, world: World) -> Columns:
    people, count, own = int(rows["patient"].max()) + 1, len(felt), rows["patient"]
    mean, between, within = world["shows.p_width"]
    per_mm, per_area = world["shows.p_width_causes"]
    width = mean + between * draws.normal("p width", people)[own] + within * draws.normal("p width at visit", count)
    width = width + felt * (per_mm * (rows["heart_la_diameter"] - 36) + per_area * above["narrow"])
    width = np.clip(width, 70, 180)
    per_mm, per_area, most, spread = world["shows.p_notch"]
    notch = spread * draws.normal("p notch", people)[own]
    notch = np.clip(notch + felt * (per_mm * above["atrium"] + per_area * above["narrow"]), 0, most)
    taller = np.dot(world["shows.p_amplitude"], [above["atrium"], above["narrow"], above["right late"]])
    there = rows["p_amplitude"] > 0
    interval = np.maximum(rows["pr_ms"] + world["shows.pr_per_p"] * (width - mean), width + 4)
    return {
        "p_amplitude": rows["p_amplitude"] * np.exp(felt * taller),
        "p_width_ms": np.where(there, width, np.nan),
        "p_notch": np.where(there, notch, 0.0),
        "pr_ms": np.where(there, interval, np.nan),
    }


def _qrs(rows: Mapping[str, np.ndarray], above: Columns, felt: np.ndarray, world: World) -> Columns:
    dilated, thick, right = world["shows.ventricle"], world["shows.wall"], world["shows.right"]
    pressure, infarct = world["shows.pressure"], world["shows.infarction"]
    slower = dilated[0] * above["ventricle"] + thick[0] * above["wall"] + right[2] * above["right"]
    rest = np.clip(rows["qrs_rest_ms"] + felt * slower, 68, 200)
    taller = world["shows.ejection"][0] * above["weak"] + dilated[1] * above["ventricle"]
    taller = taller + world["shows.regurgitation"] * above["regurgitation"] + right[0] * above["right"]
    taller = taller + pressure[0] * above["pressure"] + infarct[1] * above["facing"]
    low, high, deep_s, deep_q, _ = world["shows.limits"]
    deeper = right[1] * above["right"] + pressure[1] * above["pressure"]
    return {
        "qrs_rest_ms": rest,
        "qrs_ms": rows["qrs_ms"] + rest - rows["qrs_rest_ms"],
        "r_amplitude": np.clip(rows["r_amplitude"] * np.exp(felt * taller), low, high),
        "s_amplitude": np.maximum(rows["s_amplitude"] * np.exp(felt * deeper), -deep_s),
        "q_amplitude": np.maximum(rows["q_amplitude"] * np.exp(felt * infarct[0] * above["facing"]), -deep_q),
    }


def _repolarisation(rows: Mapping[str, np.ndarray], above: Columns, felt: np.ndarray, world: World) -> Columns:
    """T, ST and QT; a broad complex decides its T by itself."""
    conducted = felt * ((rows["bundle_branch_block"] == 0) & (rows["paced"] == 0))
    stenosis, infarct = world["shows.stenosis"], world["shows.infarction"]
    lower = world["shows.ejection"][1] * above["weak"] + world["shows.ventricle"][2] * above["ventricle"]
    lower = lower + world["shows.wall"][1] * above["wall"] + stenosis[0] * above["velocity"]
    lower = lower + infarct[2] * above["facing"] + world["shows.infarction_elsewhere"] * above["elsewhere"]
    depressed = stenosis[1] * above["velocity"] + infarct[3] * above["facing"]
    corrected = rows["qt_corrected_ms"] + felt * world["shows.ejection"][2] * above["weak"]
    least = np.minimum(rows["t_amplitude"], world["shows.limits"][4])
    return {
        "t_amplitude": np.maximum(rows["t_amplitude"] + conducted * lower, least),
        "st_level": rows["st_level"] + conducted * depressed,
        "qt_corrected_ms": corrected,
        "qt_ms": corrected * np.cbrt(60 / rows["heart_rate"]),
    }
