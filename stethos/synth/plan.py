"""Which clips a simulated factory records, and what is true of each before anything sounds.

A sound machine shows a little of every fault of its type (its residual severity); a faulty one shows more of one.
So grades overlap and nobody can tell all of them. Everything is a column with one row a clip, drawn from streams
keyed by (seed, group, column), so that the first clips of a group are the same however many follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from stethos.errors import RecipeError
from stethos.synth.anatomy import MACHINES, MOST_SECTIONS
from stethos.synth.faults import FAULTS
from stethos.synth.world import Draws, World, constants

Columns = dict[str, np.ndarray]
Group = tuple[str, int, str, str, int, int]  # machine, section, split, domain, anomaly, number of clips

SHIFTS = ("vel", "load", "loc", "noise")


@dataclass(frozen=True)
class Plan:
    """What a simulated factory records.

    Args:
        machines: Types, any of fan, pump, gearbox, bearing, valve, slider.
        sections: Identities of each type, 1 to 7.
        train: Normal training clips of each section, at least 4; as of 2022 about 1 in 100 is of the target domain.
        test: Test clips of each section, at least 4; half are anomalous, and as of 2022 half of each are of
            the target domain.
        seconds: Length of a clip.
        layout: Year of the DCASE challenge whose folders, names and domains are used: 2020 (identities, no
            domains) or 2022 (sections whose domains differ in speed, load, microphone or background).
    """

    machines: tuple[str, ...] = MACHINES
    sections: int = 3
    train: int = 100
    test: int = 50
    seconds: float = 10.0
    layout: Literal[2020, 2022] = 2020

    def __post_init__(self) -> None:
        unknown = sorted(set(self.machines) - set(MACHINES))
        if unknown or not self.machines or len(set(self.machines)) < len(self.machines):
            raise RecipeError(f"a factory has machines of {', '.join(MACHINES)}, each once; got {self.machines}")
        if not 1 <= self.sections <= MOST_SECTIONS or min(self.train, self.test) < 4:
            raise RecipeError(
                f"a factory needs 1 to {MOST_SECTIONS} sections and 4 clips or more to train on and to test; "
                f"got {self.sections}, {self.train} and {self.test}"
            )
        if not 1 <= self.seconds <= 600 or self.layout not in (2020, 2022):
            raise RecipeError(
                f"a clip lasts 1 to 600 s, in the layout of 2020 or 2022; got {self.seconds:g} s, {self.layout}"
            )


def factory_world() -> World:
    """All faults sound as they do."""
    return World("factory", constants("factory"), frozenset(FAULTS), linked=False)


def null_factory_world() -> World:
    """No fault is heard: clips labelled anomalous are drawn as normal ones are, and a detector can only guess."""
    return World("null factory", constants("factory"), frozenset(), linked=False)


def only_faults_world(*faults: str) -> World:
    """Only the named faults occur; machines that cannot have any of them have faults that are not heard.

    Args:
        faults: Any of "imbalance", "looseness", "spall", "leak", "clogging".

    Raises:
        RecipeError: A name is none of these.
    """
    unknown = sorted(set(faults) - set(FAULTS))
    if unknown or not faults:
        raise RecipeError(
            f"faults are {', '.join(FAULTS)}; got {', '.join(unknown) or 'none'}; "
            "for a factory without any use null_factory_world()"
        )
    return World("only " + " ".join(sorted(faults)), constants("factory"), frozenset(faults), linked=False)


def latents(plan: Plan | None = None, seed: int = 0, world: World | None = None) -> Columns:
    """What is true of every clip, and what an ideal listener would measure, in the order of `factory`'s rows.

    Returns:
        Columns `(N,)`: those of the table; "vel", "load" (percent), "loc", "noise" as set; "speed", "load_true"
        (of nominal), "level", "tones", "hall" (dB by which machine, tones and background are louder than usual);
        and for each fault "shown_<fault>": its severity in dB as the clip has it, residual and grown together,
        NaN where the machine's type cannot have it. Without room and background, and with unlimited skill, one
        would measure just these.
    """
    plan, world = plan or Plan(), world or factory_world()
    groups = [_group(group, plan, seed, world) for group in _groups(plan, world)]
    return {name: np.concatenate([rows[name] for rows in groups]) for name in groups[0]}


def _groups(plan: Plan, world: World) -> list[Group]:
    """Machine, section, split, domain, anomaly, and number of clips, in the order of the table."""
    found = []
    for machine, section in product(plan.machines, range(plan.sections)):
        target = max(world["layout.target_least"], round(world["layout.target_share"] * plan.train))
        faulty = round(world["layout.anomalous"] * plan.test)
        counts = {("train", 0): plan.train, ("test", 0): plan.test - faulty, ("test", 1): faulty}
        for (split, anomaly), count in counts.items():
            if plan.layout == 2020:
                found.append((machine, section, split, "", anomaly, count))
                continue
            other = target if split == "train" else count // 2
            found.append((machine, section, split, "source", anomaly, count - other))
            found.append((machine, section, split, "target", anomaly, other))
    return found


def _group(group: Group, plan: Plan, seed: int, world: World) -> Columns:
    """All clips of one machine, section, split, domain and label."""
    machine, section, split, domain, anomaly, count = group
    draws = Draws(seed, "/".join(str(part) for part in group[:-1]))
    shift = world["shift.order"][section % len(world["shift.order"])] if domain else ""
    rows = _operation(shift, domain, draws, count, world) | _severities(machine, anomaly, draws, count, world)
    said = [f"{shift}_{value}" if shift else "" for value in rows.get(shift, np.zeros(count))]
    written = f"{'section' if domain else 'id'}_{section:02d}"
    words = {"machine": machine, "section": written, "split": split, "domain": domain or None, "shift": shift}
    numbers = {"anomaly": float(anomaly), "year": float(plan.layout), "number": float(section)}
    rows |= {name: np.full(count, word, object) for name, word in words.items()}
    rows |= {name: np.full(count, value) for name, value in numbers.items()}
    names = [_name(group, number, attributes) for number, attributes in enumerate(said)]
    rows["id"] = np.array([f"dev_data/{machine}/{split}/{name}" for name in names])
    return rows | {"attributes": where_known(np.full(count, shift != ""), np.array(said))}


def _name(group: Group, number: int, attributes: str) -> str:
    """The name of a clip's file as DCASE spells it, without its suffix."""
    _, section, split, domain, anomaly, _ = group
    label = ("normal", "anomaly")[anomaly]
    if not domain:
        return f"{label}_id_{section:02d}_{number:08d}"
    return "_".join((f"section_{section:02d}", domain, split, label, f"{number:04d}", attributes))


def _operation(shift: str, domain: str, draws: Draws, count: int, world: World) -> Columns:
    """How the machines run and are recorded; `shift` names what differs between the domains, if anything does."""
    usual = {"vel": "100", "load": f"{world['run.load']:g}", "loc": "A", "noise": "A"}
    rows: Columns = {name: np.full(count, value) for name, value in usual.items()}
    if shift:
        values = np.array([str(item) for item in world[f"shift.{shift}"][domain == "target"]])
        rows[shift] = values[(draws.uniform("shift", count) * len(values)).astype(int)]
    load = rows["load"].astype(float) + world["run.load_spread"] * draws.normal("load", count)
    slowed = 1 - world["run.slip"] * (load - world["run.load"]) / 100
    speed = rows["vel"].astype(float) / 100 * slowed * (1 + world["run.speed_spread"] * draws.normal("speed", count))
    return rows | {
        "speed": speed,
        "load_true": np.maximum(load, 10) / world["run.load"],
        "level": world["run.level_spread"] * draws.normal("level", count),
        "tones": world["run.part_spread"] * draws.normal("tones", count),
        "hall": world["background.spread"] * draws.normal("hall", count),
    }


def _severities(machine: str, anomaly: int, draws: Draws, count: int, world: World) -> Columns:
    """The fault of each clip and how far it has gone, and what is to be heard of every fault."""
    own = world[f"{machine}.faults"]
    occurring = [fault for fault in own if fault in world.acts_on] or own
    which = np.array(occurring)[(draws.uniform("fault", count) * len(occurring)).astype(int)]
    worst = np.array([world[f"fault.{fault}_worst"] for fault in which])
    severity = anomaly * worst * draws.uniform("severity", count)
    rows: Columns = {"fault": where_known(np.full(count, bool(anomaly)), which), "severity": severity}
    for fault in FAULTS:
        residual = world["fault.residual"] * np.abs(draws.normal(fault, count))
        grown = severity * (which == fault) * (fault in world.acts_on)
        rows[f"shown_{fault}"] = residual + grown if fault in own else np.full(count, np.nan)
    return rows


def where_known(so: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Words where it is so, None elsewhere, `(N,)` object."""
    return np.array([str(word) if shown else None for shown, word in zip(so, words, strict=True)], object)
