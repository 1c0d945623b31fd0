"""From a patient's state to the sizes and times of the waves.

Potassium works as the world allows, graded, and by each person's own sensitivity:

    T amplitude   × exp(s g (K − K₀))       T width × exp(−s w (K − K₀)⁺)
    QRS           + s (a (K − K₀)⁺ + b (K − 6)⁺)      PR likewise
    P amplitude   × exp(−s (a (K − K₀)⁺ + b (K − 6)⁺))
"""

from __future__ import annotations

import numpy as np

from stethos.synth.world import Draws, World

Columns = dict[str, np.ndarray]


def observables(rows: Columns, draws: Draws, world: World) -> Columns:
    """What an ideal reader would measure in lead I at each visit.

    Args:
        rows: Patients' and visits' columns, "potassium" among them.
        draws: Streams of the table.
        world: Constants and effects.

    Returns:
        Columns of the waves, and the rhythm and rates of the recording. Without a P wave (fibrillation, pacing)
        "p_amplitude" is 0 and "pr_ms" is NaN.
    """
    dose = _doses(rows, draws, world)
    shown = _rhythm(rows, draws, world, dose)
    no_p = (shown["rhythm"] == "AF") | (rows["paced"] == 1)
    waves = _atrium(rows, draws, world, dose) | _ventricle(rows, draws, world, dose)
    waves["p_amplitude"] = np.where(no_p, 0.0, waves["p_amplitude"])
    waves["pr_ms"] = np.where(no_p, np.nan, waves["pr_ms"])
    return shown | waves | _repolarisation(rows | shown | waves, draws, world, dose)


def _doses(rows: Columns, draws: Draws, world: World) -> Columns:
    """mmol/L that act on each wave, times the person's sensitivity: "T" (signed), others only upward."""
    people = int(rows["patient"].max()) + 1
    spread = world["effect.sensitivity_spread"]
    sensitivity = np.exp(spread * draws.normal("sensitivity", people) - spread**2 / 2)
    sensitivity[draws.uniform("insensitive", people) < world["effect.insensitive"]] = 0.0
    felt = sensitivity[rows["patient"]]
    away = rows["potassium"] - world["effect.neutral"]
    excess, severe = np.maximum(away, 0), np.maximum(rows["potassium"] - 6, 0)
    dose = {"T": felt * away, "excess": felt * excess, "severe": felt * severe, "deficit": np.maximum(-away, 0)}
    on = {wave: float(wave in world.acts_on) for wave in ("T", "QRS", "P", "rate")}
    return {
        "T": on["T"] * dose["T"],
        "T excess": on["T"] * dose["excess"],
        "T deficit": on["T"] * dose["deficit"],
        "QRS": on["QRS"] * _two_slopes(world["effect.qrs"], dose),
        "PR": on["P"] * _two_slopes(world["effect.pr"], dose),
        "P": on["P"] * _two_slopes(world["effect.p_loss"], dose),
        "rate": on["rate"] * world["effect.rate"] * dose["severe"],
    }


def _two_slopes(slopes: list[float], dose: Columns) -> np.ndarray:
    return slopes[0] * dose["excess"] + slopes[1] * dose["severe"]


def _rhythm(rows: Columns, draws: Draws, world: World, dose: Columns) -> Columns:
    count, people = len(rows["age"]), int(rows["patient"].max()) + 1
    present = draws.uniform("rhythm", count) < world["rhythm.atrial_fibrillation_at_visit"]
    fibrillating = (rows["atrial_fibrillation"] == 1) & present & (rows["paced"] == 0)
    mean, spread = world["heart.rate"]
    rate = mean + spread * draws.normal("heart rate", people)[rows["patient"]] + dose["rate"]
    raised = (rows["heart_failure"], fibrillating, rows["copd"], rows["diabetes"], rows["beta_blocker"])
    for added, cause in zip(world["heart.rate_added"], raised, strict=True):
        rate = rate + added * cause
    rate = np.clip(rate + world["heart.rate_within"] * draws.normal("heart rate at visit", count), 38, 150)
    rate = np.where(rows["paced"] == 1, np.clip(rate, 60, 100), rate)
    breath, breath_spread = world["person.respiratory_rate"]
    fewest, wider = world["rhythm.ectopic_share"]
    return {
        "rhythm": np.where(fibrillating, "AF", "sinus"),
        "heart_rate": rate,
        "charted_heart_rate": np.round(rate + world["heart.rate_charting"] * draws.normal("charted", count)),
        "respiratory_rate": np.round(np.clip(breath + breath_spread * draws.normal("breath", count), 8, 32)),
        "ectopic_share": (draws.uniform("ectopy", count) < world["rhythm.ectopy"])
        * (fewest + wider * draws.uniform("share", count)),
    }


def _atrium(rows: Columns, draws: Draws, world: World, dose: Columns) -> Columns:
    count, people = len(rows["age"]), int(rows["patient"].max()) + 1
    mean, spread = world["heart.pr"]
    per_decade, slowed = world["heart.pr_added"]
    pr = mean + spread * draws.normal("pr", people)[rows["patient"]] + per_decade * (rows["age"] - 60) / 10
    pr = pr + slowed * rows["beta_blocker"] + world["heart.interval_within"][0] * draws.normal("pr at visit", count)
    amplitude = _lognormal("p", rows, draws, world) * np.exp(-dose["P"])
    return {"p_amplitude": amplitude, "pr_ms": np.clip(pr, 108, 320) + dose["PR"]}


def _ventricle(rows: Columns, draws: Draws, world: World, dose: Columns) -> Columns:
    """QRS without potassium ("qrs_rest_ms") and with it; potassium widens its later half."""
    count, people = len(rows["age"]), int(rows["patient"].max()) + 1
    men, women, spread = world["heart.qrs"]
    rest = np.where(rows["sex"] == "F", women, men) + spread * draws.normal("qrs", people)[rows["patient"]]
    rest = rest + world["mimic.qrs_per_ejection"] * np.maximum(50 - rows["lvef"], 0)
    block, block_spread = world["mimic.qrs_bundle_branch_block"]
    wide = block + block_spread * draws.normal("block width", people)[rows["patient"]]
    rest = rest + rows["bundle_branch_block"] * wide + rows["paced"] * world["mimic.qrs_paced"]
    rest = np.clip(rest + world["heart.interval_within"][1] * draws.normal("qrs at visit", count), 68, 200)
    voltage = np.exp(world["mimic.r_per_wall"] * np.maximum(rows["wall_thickness"] - 10, 0))
    return {
        "qrs_rest_ms": rest,
        "qrs_ms": rest + dose["QRS"],
        "q_amplitude": -_lognormal("q", rows, draws, world),
        "r_amplitude": np.clip(_lognormal("r", rows, draws, world) * voltage, 0.12, 2.8),
        "s_amplitude": -np.minimum(_lognormal("s", rows, draws, world), 0.5),
    }


def _repolarisation(rows: Columns, draws: Draws, world: World, dose: Columns) -> Columns:
    """T, ST and QT; after a bundle branch block or a paced beat T points away from R."""
    people = int(rows["patient"].max()) + 1
    least, most, narrowest = world["effect.t_limits"]
    turned, displaced, longer = world["mimic.discordant"]
    healthy = _lognormal("t", rows, draws, world) * np.exp(np.clip(world["effect.t_gain"] * dose["T"], least, most))
    thick = np.maximum(rows["wall_thickness"] - 10.5, 0)
    strain = world["mimic.t_per_wall"] * thick + world["mimic.t_heart_failure"] * rows["heart_failure"]
    discordant = (rows["bundle_branch_block"] == 1) | (rows["paced"] == 1)
    shape = np.exp(-np.minimum(world["effect.t_narrowing"] * dose["T excess"], narrowest))
    width, between, within = world["heart.t_width"]
    widths = between * draws.normal("t width", people)[rows["patient"]]
    widths = width * np.exp(widths + within * draws.normal("t width at visit", len(thick)))
    widths = np.clip(widths, *world["heart.t_width_bounds"])
    men, women, spread = world["heart.qt"]
    corrected = np.where(rows["sex"] == "F", women, men) + spread * draws.normal("qt", people)[rows["patient"]]
    corrected = corrected + longer * np.maximum(rows["qrs_rest_ms"] - 100, 0)
    corrected = corrected + world["effect.qt_per_deficit"] * dose["T deficit"]
    return {
        "t_amplitude": np.where(discordant, turned, 1.0) * healthy + np.where(discordant, 0.0, strain),
        "t_shape": shape,
        "t_width_ms": widths * shape,
        "st_level": np.where(discordant, displaced, world["mimic.st_per_wall"] * thick + 0.012),
        "qt_corrected_ms": corrected,
        "qt_ms": corrected * np.cbrt(60 / rows["heart_rate"]),
    }


def _lognormal(wave: str, rows: Columns, draws: Draws, world: World) -> np.ndarray:
    """Amplitude of a wave, by person and by visit, mV; large bodies and electrode places shrink all waves alike."""
    people, count = int(rows["patient"].max()) + 1, len(rows["patient"])
    median, spread = world[f"heart.{wave}_amplitude"]
    within = world["heart.t_within" if wave == "t" else "heart.wave_within"]
    own, shared = np.sqrt(1 - world["heart.shared"]), np.sqrt(world["heart.shared"])
    personal = own * draws.normal(f"{wave} amplitude", people) + shared * draws.normal("habitus", people)
    at_visit = within * draws.normal(f"{wave} amplitude at visit", count)
    return median * np.exp(spread * personal[rows["patient"]] + at_visit)
