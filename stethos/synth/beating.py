"""Hearts that were examined in a magnet: how large they are, how they beat, and what of it the ECG shows.

    V(t) = EDV (1 − EF s(t)),    s(t) = sin²(π/2 · clip((t − delay) / LVET)) − fE S(early) − (1 − fE) S(late)

S(u) = 3u² − 2u³. The curve starts at the R peak and closes with the cycle. The ECG shows a heart that is like the
patient's, only so far as the world's observability says:

    shown = heart + spread √(1/o² − 1) · noise

Reference:
    Weissler 1968, doi:10.1161/01.CIR.37.2.149 (ejection time).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stethos.errors import RecipeError
from stethos.synth.patient import visits
from stethos.synth.world import Draws, World

Columns = dict[str, np.ndarray]

_SHAPES = ("lv_volume", "ejection", "lv_mass", "rv_volume", "rv_ejection", "rate", "early_filling")
_SHOWN = ("ejection", "lv_volume", "lv_mass", "rv_volume", "early_filling")


def examined(patients: int, seed: int, world: World) -> Columns:
    """One examination a patient: columns of `visits`, and the heart.

    Args:
        patients: How many people.
        seed: Of everything random.
        world: A world of cines.

    Returns:
        Columns `(patients,)`; beside those of `visits` "group" (str), "surface" (m²), "lv_volume", "rv_volume"
        (mL, end-diastolic), "lv_mass" (g), "ejection", "rv_ejection" (%), "early_filling" (0 to 1), "shown_…" as the
        ECG shows it, and the nuisances of the picture.

    Raises:
        RecipeError: The world has no magnet.
    """
    if not world.cine:
        raise RecipeError(f"needs a world with a magnet, such as cine_world(); got {world.name}")
    rows = visits(patients, seed, world)
    first = np.concatenate([[True], rows["patient"][1:] != rows["patient"][:-1]])
    rows = {name: column[first] for name, column in rows.items()}
    rows |= _hearts(patients, Draws(seed, "magnet"), world)
    rows |= _waves(rows, Draws(seed, "magnet's ECG"), world)
    return rows | _nuisances(patients, Draws(seed, "picture"))


def _hearts(count: int, draws: Draws, world: World) -> Columns:
    group = np.searchsorted(np.cumsum(world["group.share"])[:-1], draws.uniform("group", count), side="right")
    heart: Columns = {"group": np.array(world["group.names"])[group]}
    surface, spread = world["body.surface"]
    heart["surface"] = np.clip(surface + spread * draws.normal("surface", count), *world["body.bounds"])
    timed = group if world["ecg.observability"] > 0 else group[_somebody_else(count, draws)]
    for name in _SHAPES:
        of = timed if name == "rate" else group
        middle, width = (np.array(world[f"group.{name}{end}"])[of] for end in ("", "_spread"))
        heart[name] = middle + width * draws.normal(name, count)
    for name in ("ejection", "rv_ejection"):
        heart[name] = np.clip(heart[name], *world["heart.ejection_bounds"])
    heart["early_filling"] = np.clip(heart["early_filling"], 0.25, 0.9)
    heart["rhythm"] = np.where(
        draws.uniform("fibrillation", count) < np.array(world["group.fibrillation"])[timed], "AF", "sinus"
    )
    heart["heart_rate"] = np.clip(heart.pop("rate"), 42, 120)
    return heart | _shown(heart, draws, world) | _whole(heart)


def _whole(heart: Columns) -> Columns:
    """What was over body surface, as it is, mL and g."""
    return {name: np.maximum(heart[name], 25.0) * heart["surface"] for name in ("lv_volume", "lv_mass", "rv_volume")}


def _shown(heart: Columns, draws: Draws, world: World) -> Columns:
    """The heart that the ECG shows, over body surface."""
    seen = world["ecg.observability"]
    if seen <= 0:
        order = _somebody_else(len(heart["group"]), draws)
        return {f"shown_{name}": heart[name][order] for name in _SHOWN}
    blur = np.sqrt(1 / seen**2 - 1)
    spreads = dict(zip(_SHOWN, world["ecg.spread"], strict=True))
    count = len(heart["group"])
    return {
        f"shown_{name}": heart[name] + blur * spreads[name] * draws.normal(f"shown {name}", count) for name in _SHOWN
    }


def _somebody_else(count: int, draws: Draws) -> np.ndarray:
    """Whose heart an ECG shows that tells nothing: its waves, and the disease behind its rate and rhythm."""
    return np.argsort(draws.uniform("somebody else", count))


def _waves(rows: Columns, draws: Draws, world: World) -> Columns:
    """The waves of a visit's ECG, as the shown heart makes them."""
    count = len(rows["group"])
    middle, width = world["ecg.low"]
    low = 1 / (1 + np.exp((rows["shown_ejection"] - middle) / width))
    heavy = np.maximum(rows["shown_lv_mass"] / world["group.lv_mass"][0] - 1, -0.5)
    base, failing, by_mass, spread = world["ecg.qrs"]
    large = np.clip(rows["shown_lv_volume"] / 120, 0.5, 1.5)
    qrs = base + failing * low * large + by_mass * np.clip(heavy, 0, 2) + spread * draws.normal("qrs", count)
    block = (
        draws.uniform("block", count) < world["ecg.block"][1] + (world["ecg.block"][0] - world["ecg.block"][1]) * low
    )
    qrs = np.clip(qrs + 30 * block, 68, 200)
    return _amplitudes(rows, low, heavy, draws, world) | {
        "paced": np.zeros(count),
        "reversed_leads": np.zeros(count),
        "bundle_branch_block": block.astype(float),
        "qrs_rest_ms": qrs,
        "qrs_ms": qrs,
        "qt_corrected_ms": rows["qt_corrected_ms"] + 0.6 * (qrs - rows["qrs_rest_ms"]),
        "p_width_ms": np.clip(_p_width(rows, draws, world), 70, 150),
        "st_level": 0.012 - 0.02 * np.clip(heavy - world["ecg.t"][1], 0, 2),
    }


def _amplitudes(rows: Columns, low: np.ndarray, heavy: np.ndarray, draws: Draws, world: World) -> Columns:
    """MV in lead I; size of body and place of electrodes act on all waves alike."""
    count = len(low)
    power, lost, spread = world["ecg.r"]
    torso = np.exp(spread * draws.normal("torso", count))
    start, slope = world["ecg.s"]
    right = np.clip(rows["shown_rv_volume"] / world["group.rv_volume"][0] - start, 0, 1.5)
    failing, from_, strain = world["ecg.t"]
    upright = (1 - failing * low) * (1 - strain * np.clip(heavy - from_, 0, 1.2))
    no_p = rows["rhythm"] == "AF"
    medians = {wave: world[f"heart.{wave}_amplitude"][0] for wave in "pqrst"}
    own = {wave: torso * np.exp(0.12 * draws.normal(f"{wave} height", count)) for wave in "pqrst"}
    discordant = world["mimic.discordant"][0]
    return {
        "p_amplitude": np.where(no_p, 0.0, medians["p"] * own["p"]),
        "pr_ms": np.where(no_p, np.nan, np.nan_to_num(rows["pr_ms"], nan=160.0)),
        "q_amplitude": -medians["q"] * own["q"],
        "r_amplitude": np.clip(medians["r"] * own["r"] * (1 + heavy) ** power * (1 - lost * low), 0.1, 3.0),
        "s_amplitude": -medians["s"] * own["s"] * (1 + slope * right),
        "t_amplitude": medians["t"] * own["t"] * np.where(rows["bundle_branch_block"] == 1, discordant, upright),
    }


def _p_width(rows: Columns, draws: Draws, world: World) -> np.ndarray:
    base, slope, spread = world["ecg.p"]
    return base + slope * (0.70 - rows["shown_early_filling"]) + spread * draws.normal("p width", len(rows["group"]))


def _nuisances(count: int, draws: Draws) -> Columns:
    """What has nothing to do with the ECG: where the heart lies and how bright it is, standard normal."""
    names = ("turn", "right", "down", "gain", "oval", "oval turn", "sphericity")
    return {f"picture_{name}": draws.normal(name, count) for name in names}


def ejected(visit: Mapping[str, Any], frames: int, world: World) -> np.ndarray:
    """s: share of the stroke that has left the left ventricle at each frame of an RR interval, `(frames,)`.

    Frame f is at f / frames of the interval. In fibrillation the atria add nothing.
    """
    length = 60 / visit["heart_rate"]
    time = np.arange(frames) / frames * length
    delay, first = world["timing.delay"], 1.0 if visit["rhythm"] == "AF" else visit["early_filling"]
    base, slope = world["timing.ejection"]
    ejection = (base - slope * visit["heart_rate"]) * (0.85 + 0.15 * visit["ejection"] / 60)
    longest, before, atrial = world["timing.filling"]
    opens = delay + ejection + world["timing.relaxation"]
    late = max(length - before, opens + 0.04)
    out = np.sin(np.pi / 2 * np.clip((time - delay) / ejection, 0, 1)) ** 2
    early_ends = opens + max(min(longest, (length if first == 1 else late) - opens), 0.05)
    late_ends = min(late + atrial, length)
    return out - first * _smooth(time, opens, early_ends) - (1 - first) * _smooth(time, late, late_ends)


def _smooth(time: np.ndarray, start: float, end: float) -> np.ndarray:
    part = np.clip((time - start) / (end - start), 0, 1)
    return 3 * part**2 - 2 * part**3


def chambers(visit: Mapping[str, Any], frames: int, world: World) -> dict[str, np.ndarray]:
    """Sizes of the chambers at each frame, `(frames,)`.

    Returns:
        "lv" and "rv" (mL), "length" (mm, long axis), "radius" (mm, of the cavity in the middle), "outer" (mm, of the
        muscle's outside, whose volume is constant), "rv_width" (mm, of the crescent in the middle).
    """
    share = ejected(visit, frames, world)
    lv = visit["lv_volume"] * (1 - visit["ejection"] / 100 * share)
    rv = visit["rv_volume"] * (1 - visit["rv_ejection"] / 100 * share)
    rest = world["form.length"] * np.cbrt(visit["surface"] / 1.9) * (visit["lv_volume"] / 150) ** 0.2
    rest = rest * np.exp(0.04 * visit["picture_sphericity"])
    shortening = world["form.shortening"] / 60 * visit["ejection"]
    length = rest * (1 - shortening * share)
    radius = np.sqrt(6 * lv * 1e3 / (5 * np.pi * length))
    muscle, wall = visit["lv_mass"] / world["form.density"] * 1e3, np.full(frames, 8.0)
    for _ in range(12):
        outer = np.sqrt((6 * muscle / (5 * np.pi) + radius**2 * length) / (length + wall))
        wall = outer - radius
    area = rv * 1e3 / (0.66 * world["form.rv_length"] * length)
    span = np.deg2rad(world["form.rv_span"])
    width = (-outer + np.sqrt(outer**2 + 1.5 * area / span)) / 0.75
    return {"lv": lv, "rv": rv, "length": length, "radius": radius, "outer": outer, "rv_width": width}
