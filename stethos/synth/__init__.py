"""Worlds with known truth: a seed becomes records.

    World + seed → visits (latent) → ecg, pulse, chart, echo report → Cohort
    World + seed + Plan → latents → machine sounds → Cohort

Nothing here reads a label back out of a waveform, and every number is synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from stethos.errors import RecipeError
from stethos.synth.beating import chambers, examined
from stethos.synth.cine import cine
from stethos.synth.ecg import LEADS, ecg
from stethos.synth.echo import truths
from stethos.synth.faults import plant
from stethos.synth.labels import labels, readings
from stethos.synth.machine import factory
from stethos.synth.patient import visits
from stethos.synth.plan import Plan, factory_world, latents, null_factory_world, only_faults_world
from stethos.synth.ppg import accelerometer, ppg
from stethos.synth.report import reports
from stethos.synth.structure import MEASUREMENTS
from stethos.synth.world import (
    World,
    cine_world,
    echo_world,
    hospital_world,
    knock_out_echo_world,
    knock_out_ppg_world,
    knock_out_world,
    lasting,
    null_echo_world,
    null_ppg_world,
    null_world,
    ppg_world,
    quiet,
    strangers_records_world,
)
from stethos.types import Cohort, Record, Signal, Volume

__all__ = [
    "Plan",
    "World",
    "accelerometer",
    "cine_world",
    "department",
    "ecg",
    "echo_truth",
    "echo_world",
    "factory",
    "factory_world",
    "hospital",
    "hospital_world",
    "knock_out_echo_world",
    "knock_out_ppg_world",
    "knock_out_world",
    "lasting",
    "latents",
    "null_echo_world",
    "null_factory_world",
    "null_ppg_world",
    "null_world",
    "only_faults_world",
    "plant",
    "ppg",
    "ppg_truth",
    "ppg_world",
    "quiet",
    "strangers_records_world",
    "truth",
    "visits",
]

_LATENT = (
    *("p_amplitude", "pr_ms", "q_amplitude", "r_amplitude", "s_amplitude", "qrs_ms", "st_level"),
    *("t_amplitude", "t_width_ms", "qt_ms", "potassium"),
)
_AS_THEY_ARE = (
    *("age", "respiratory_rate", "potassium_minutes", "haemolysed", "paced", "ckd", "dialysis", "heart_failure"),
    *("diabetes", "hypertension", "copd", "atrial_fibrillation"),
    *("raas_inhibitor", "mra", "beta_blocker", "loop_diuretic"),
)


def hospital(patients: int, seed: int = 0, world: World | None = None) -> Cohort:
    """A simulated clinic: a table now, an ECG on demand.

    Args:
        patients: How many people; each has one to six visits.
        seed: Of everything random.
        world: Constants and effects; `hospital_world()` where not given.

    Returns:
        Cohort with "sex" ("F", "M"), "age" (years), "heart_rate" (1/min, as charted by a nurse), "potassium"
        (mmol/L, the laboratory's), "lvef" (%), "wall_thickness" (mm), "height" (cm), "weight" (kg), diseases and
        drugs (0 or 1); NaN where not measured. A record holds lead I at the site's rate, in mV. A world with an
        echo laboratory adds "report" (None where no echocardiogram was done; also the record's text) and what was
        measured: "ivs", "lvpw", "lvedd", "la_diameter", "rv_diameter", "aorta_diameter",
        "pulmonary_artery_diameter" (mm), "pasp" (mmHg), "mitral_area" (cm²), "aortic_velocity" (m/s). In a world
        with a pulse a record holds "PLETH" in the device's unit in place of the ECG, and at a site that wears it
        at the wrist "ACC_X", "ACC_Y", "ACC_Z" in g; the table adds "af" (1 where the recording is in atrial
        fibrillation), "hr" and "resp_rate" (1/min, means over the recording), "sbp" and "dbp" (mmHg, the cuff's),
        "peripheral_disease", "stroke" and "calcium_antagonist".
    """
    world = world or hospital_world()
    latent = visits(patients, seed, world)
    table = _table(latent)
    if world.structure:
        table |= {name: latent[f"told_{name}"] for name in MEASUREMENTS} | {"report": reports(latent, seed, world)}
    if world.pulse:
        table |= {name: latent[name] for name in _WITH_A_PULSE} | labels(latent, seed, world)
    return Cohort(table, partial(_open, table, latent, seed, world), "synthetic", "simulated; free to use")


def truth(patients: int, seed: int = 0, world: World | None = None) -> dict[str, np.ndarray]:
    """What an ideal reader would measure, in the order of the rows of `hospital` with the same arguments.

    Returns:
        "id", the waves ("t_amplitude" in mV, "qrs_ms", …; see `visits`), and "potassium" in the blood itself.
    """
    latent = visits(patients, seed, world)
    return {name: latent[name] for name in ("id", *_LATENT)}


def echo_truth(patients: int, seed: int, world: World) -> dict[str, np.ndarray]:
    """The hearts that the echo laboratory looked at, in the order of the rows of `hospital`.

    Args:
        patients: As of `hospital`.
        seed: As of `hospital`.
        world: One with an echo laboratory.

    Returns:
        "id", the 13 diseases (1 or 0), and the true values of the 12 measurements, whether an echo was done or not.

    Raises:
        RecipeError: The world has no echo laboratory.
    """
    if not world.structure:
        raise RecipeError(f"needs a world with an echo laboratory, such as echo_world(); got {world.name}")
    latent = visits(patients, seed, world)
    return {"id": latent["id"]} | truths(latent, world)


def ppg_truth(patients: int, seed: int, world: World) -> dict[str, np.ndarray]:
    """What an ideal reader would measure in the pulses, in the order of the rows of `hospital`.

    Args:
        patients: As of `hospital`.
        seed: As of `hospital`.
        world: One with a pulse.

    Returns:
        "id", and the columns of `readings`: the form of the pulse, its rate and irregularity, the depths of
        breathing, the recording's own "hr" and "resp_rate", stiffness, and the pressures without the cuff's error.

    Raises:
        RecipeError: The world has no pulse.
    """
    if not world.pulse:
        raise RecipeError(f"needs a world with a pulse, such as ppg_world(); got {world.name}")
    latent = visits(patients, seed, world)
    return {"id": latent["id"]} | readings(latent, seed, world)


def department(
    patients: int, seed: int = 0, world: World | None = None, size: int = 48, frames: int = 16, view: str = "sax"
) -> Cohort:
    """A simulated imaging department: one examination a patient, a twelve-lead ECG and a cine on demand.

    Args:
        patients: How many people.
        seed: Of everything random.
        world: A world of cines; `cine_world()` where not given.
        size: H = W of the cines, pixels.
        frames: F, over one RR interval.
        view: "sax" or "4ch".

    Returns:
        Cohort with "group", "age", "sex", "heart_rate" (1/min), and the truth: "ef" (%), "lvedv" and "rvedv" (mL),
        "lv_mass" (g), "wall_thickness" (mm, end-diastolic), "af" (1 in fibrillation), "es_phase" (of the smallest
        volume, share of the RR interval). A record's ECG is in mV at the site's rate.
    """
    world = world or cine_world()
    rows = examined(patients, seed, world)
    visits_ = [{name: column[row] for name, column in rows.items()} for row in range(patients)]
    sizes = [chambers(visit, 200, world) for visit in visits_]
    table = {name: rows[name] for name in ("id", "subject", "when", "site", "heart_rate")}
    table |= {"age": np.floor(rows["age"]), "sex": rows["sex"].astype(object), "group": rows["group"].astype(object)}
    table |= {
        "ef": rows["ejection"],
        "lvedv": rows["lv_volume"],
        "rvedv": rows["rv_volume"],
        "lv_mass": rows["lv_mass"],
    }
    table["wall_thickness"] = np.array([held["outer"][0] - held["radius"][0] for held in sizes])
    table["af"] = (rows["rhythm"] == "AF").astype(float)
    table["es_phase"] = np.array([np.argmin(held["lv"]) / 200 for held in sizes])
    return Cohort(
        table, Examination(visits_, table, seed, world, (size, frames, view)), "synthetic", "simulated; free to use"
    )


@dataclass(frozen=True, eq=False)
class Examination:
    """Opens one examination of `department`.

    Args:
        visits: Rows of `examined`.
        table: What the department knows of them.
        seed: Of everything random.
        world: A world of cines.
        form: Pixels, frames and view of the cines.
    """

    visits: list[dict[str, Any]]
    table: Mapping[str, np.ndarray]
    seed: int
    world: World
    form: tuple[int, int, str]

    def __call__(self, row: int) -> Record:
        """Row number → `Record` with a twelve-lead ECG and a cine."""
        return replace(self.without_cine(row), volume=self.pictures(row)[0])

    def without_cine(self, row: int) -> Record:
        """The same without the cine."""
        visit = self.visits[row]
        return Record(
            subject=str(visit["subject"]),
            id=str(visit["id"]),
            signals=(ecg(visit, self.seed, self.world, leads=LEADS),),
            when=visit["when"].astype("datetime64[s]").item(),
            site=str(visit["site"]),
            facts={name: _plain(column[row]) for name, column in self.table.items() if name not in _WHO},
            origin="synthetic",
        )

    def pictures(self, row: int) -> tuple[Volume, np.ndarray]:
        """The cine of a row, and its label map `(F, H, W)`."""
        return cine(self.visits[row], self.seed, self.world, *self.form)


_WHO = ("id", "subject", "when", "site")
_WITH_A_PULSE = ("peripheral_disease", "stroke", "calcium_antagonist")


def _table(latent: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a hospital knows of its visits."""
    known = {name: latent[name] for name in ("id", "subject", "when", "site", *_AS_THEY_ARE)}
    known["sex"] = latent["sex"].astype(object)
    known["heart_rate"] = latent["charted_heart_rate"]
    known["potassium"] = latent["potassium_laboratory"]
    for name in ("lvef", "wall_thickness"):
        known[name] = np.where(latent["echo_missing"] == 1, np.nan, np.round(latent[name], 1))
    for name in ("height", "weight"):
        known[name] = np.where(latent["size_missing"] == 1, np.nan, np.round(latent[name]))
    known["age"] = np.floor(latent["age"])
    return known


def _open(
    table: Mapping[str, np.ndarray], latent: Mapping[str, np.ndarray], seed: int, world: World, row: int
) -> Record:
    """One row of the table with its ECG."""
    facts = {
        name: None if _unknown(column[row]) else _plain(column[row])
        for name, column in table.items()
        if name not in ("id", "subject", "when", "site", "report")
    }
    visit = {name: column[row] for name, column in latent.items()}
    return Record(
        subject=str(table["subject"][row]),
        id=str(table["id"][row]),
        signals=_signals(visit, seed, world),
        when=table["when"][row].astype("datetime64[s]").item(),
        site=str(table["site"][row]),
        text=table["report"][row] if "report" in table else None,
        facts=facts,
        origin="synthetic",
    )


def _signals(visit: Mapping[str, Any], seed: int, world: World) -> tuple[Signal, ...]:
    """What was recorded at a visit."""
    if not world.pulse:
        return (ecg(visit, seed, world),)
    if not world.at_site("pulse_wrist", visit["site"]):
        return (ppg(visit, seed, world),)
    return ppg(visit, seed, world), accelerometer(visit, seed, world)


def _unknown(value: object) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _plain(value: object) -> float | str:
    return value if isinstance(value, str) else float(value)  # type: ignore[arg-type]
