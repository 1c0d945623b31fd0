"""A simulated factory: machines of several types and identities, recorded sound and faulty, laid out as DCASE does.

    Plan + seed + world → latents → sound → faults → room, microphone, background → Cohort

A clip depends on the seed, the world and its own row of latents alone: it is the same however many others there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.fft import next_fast_len

from stethos.synth.anatomy import identity
from stethos.synth.faults import FAULTS
from stethos.synth.plan import SHIFTS, Columns, Plan, factory_world, latents, where_known
from stethos.synth.running import sound
from stethos.synth.surroundings import background, heard, settling
from stethos.synth.world import World
from stethos.types import Cohort, Fact, Record, Signal

_TOLD = ("machine", "section", "split", "domain", "anomaly", "year", "attributes", "fault", "severity")


def factory(plan: Plan | None = None, seed: int = 0, world: World | None = None) -> Cohort:
    """A simulated factory: a table now, the sound of a clip on demand.

    Args:
        plan: Machines and numbers of clips; `Plan()` where not given.
        seed: Of everything random; another seed is another factory, with other machines.
        world: Constants and the faults that are heard; `factory_world()` where not given.

    Returns:
        Cohort with "machine", "section", "split", "domain" (None in 2020), "anomaly" (0 or 1), "year",
        "attributes", "attr_vel", "attr_load", "attr_loc", "attr_noise", "fault" (None for normal clips) and
        "severity" (dB). A record holds one channel in fractions of full scale, in steps of 16 bit.
    """
    plan, world = plan or Plan(), world or factory_world()
    rows = latents(plan, seed, world)
    table = {name: rows[name] for name in ("id", *_TOLD)} | {"subject": rows["id"]}
    table |= {f"attr_{name}": where_known(rows["shift"] == name, rows[name]) for name in SHIFTS}
    return Cohort(
        table, partial(_open, table, rows, (seed, plan.seconds), world), "synthetic", "simulated; free to use"
    )


def _open(table: Mapping[str, np.ndarray], rows: Columns, how: tuple[int, float], world: World, row: int) -> Record:
    """One row of the table with its sound; `how` is the seed, and the length in seconds."""
    seed, seconds = how
    values = clip({name: column[row] for name, column in rows.items()}, seed, seconds, world)
    facts = {name: _fact(column[row]) for name, column in table.items() if name not in ("id", "subject")}
    return Record(
        subject=str(table["subject"][row]),
        id=str(table["id"][row]),
        signals=(Signal(values[None], world["layout.rate"], ("1",), "1"),),
        facts=facts,
        origin="synthetic",
    )


def clip(row: Mapping[str, Any], seed: int, seconds: float, world: World) -> np.ndarray:
    """The sound of a clip in fractions of full scale, in steps of 16 bit, `(T,)`.

    Args:
        row: One row of `latents`.
        seed: Of the factory.
        seconds: Length.
        world: Constants and noise.
    """
    which = identity(str(row["machine"]), int(row["number"]), seed, world)
    key = int.from_bytes(blake2b(str(row["id"]).encode(), digest_size=8).digest(), "little")
    count = round(seconds * world["layout.rate"])
    long = next_fast_len(count + settling(which, world), real=True)
    running = {"speed": row["speed"], "load": row["load_true"], "tones": row["tones"]}
    values, turning = sound(which, running, long, world, np.random.default_rng([seed, key, 0]))
    for number, (name, fault) in enumerate(FAULTS.items(), start=1):
        if row[f"shown_{name}"] > 0:  # not where it is NaN
            values = fault(values, turning, float(row[f"shown_{name}"]), np.random.default_rng([seed, key, number]))
    values = heard(values, which, str(row["loc"]), seed, world)[:count] * np.float32(10 ** (row["level"] / 20))
    values = values + _hall(row, key, seed, count, world)
    return np.clip(np.rint(values * 32768), -32768, 32767).astype(np.float32) / np.float32(32768)


def _hall(row: Mapping[str, Any], key: int, seed: int, count: int, world: World) -> np.ndarray:
    """The background of a clip, `(count,)`."""
    rng = np.random.default_rng([seed, key, len(FAULTS) + 1])
    long = next_fast_len(count, real=True)
    return background(str(row["noise"]), float(row["hall"]), long, world, rng)[:count]


def _fact(value: object) -> Fact:
    return value if value is None or isinstance(value, str) else float(value)  # type: ignore[arg-type]
