"""Which constants hold, and which effects are on."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from stethos.errors import RecipeError

WAVES = ("T", "QRS", "P")
PULSE = ("rhythm", "breath", "stiffness", "pressure")


@cache
def constants(name: str = "hospital") -> Mapping[str, Any]:
    """The values of a world's data file, "section.entry" → value."""
    text = files("stethos.synth").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    sections = tomllib.loads(text)
    return {f"{part}.{entry}": item["value"] for part, held in sections.items() for entry, item in held.items()}


@dataclass(frozen=True, eq=False)
class World:
    """Constants, and which effects are on.

    Args:
        name: How reports call it.
        constants: "section.entry" → value; units and sources stand in the data file.
        acts_on: In a hospital what potassium changes: any of "T", "QRS", "P" (P wave and PR interval) and "rate".
            In a factory the faults that are heard.
        linked: Whether potassium follows from the patient's own disease, drugs and site. Where it does not,
            it is drawn for another patient, so that it is unrelated to all that is seen but through `acts_on`.
            Means nothing in a factory.
        noise: Multiplies all that a recording adds: wander, mains, muscle, movement, steps; the background of a
            machine; 0 for none.
        structure: Whether hearts have valves, chambers and vessels, and a laboratory that reports on them. Where
            the world is not linked it looks at the heart of somebody else.
        shows_in: Waves in which that structure shows: any of "T", "QRS", "P".
        pulse: Whether a pulse is recorded, with a circulation behind it and notes about it. Where the world is
            not linked, rhythm, breathing and pressure in the table are those of other people.
        in_pulse: What of those who were measured shows in the pulse: any of "rhythm", "breath", "stiffness" and
            "pressure". Where the world is linked all of it does, since they are the patients themselves.
        own_records: Whether the coded events and notes are about the patient, or about somebody else.
        cine: Whether patients are examined in a magnet; an ECG then has twelve leads.
    """

    name: str
    constants: Mapping[str, Any]
    acts_on: frozenset[str]
    linked: bool
    noise: float = 1.0
    structure: bool = False
    shows_in: frozenset[str] = frozenset()
    pulse: bool = False
    in_pulse: frozenset[str] = frozenset()
    own_records: bool = True
    cine: bool = False

    def __getitem__(self, key: str) -> Any:
        return self.constants[key]

    def at_site(self, entry: str, site: str) -> Any:
        """An entry of section "site" at one of the sites."""
        return self.constants[f"site.{entry}"][self.constants["site.names"].index(site)]


def hospital_world() -> World:
    """All effects on."""
    return World("hospital", constants(), frozenset((*WAVES, "rate")), linked=True)


def null_world() -> World:
    """Potassium changes nothing that is recorded and follows from nothing that is known: a model can only guess."""
    return World("null", constants(), frozenset(), linked=False)


def echo_world() -> World:
    """The hospital with an echo laboratory: structure shows in the ECG, and in reports and measurements."""
    return replace(_with_laboratory("echo", WAVES), acts_on=hospital_world().acts_on, linked=True)


def null_echo_world() -> World:
    """Reports and measurements of somebody else: nothing in the ECG or the table tells a disease."""
    return _with_laboratory("null echo", ())


def knock_out_echo_world(*waves: str) -> World:
    """The null echo world, but the structure of the heart that was examined shows in the named waves.

    Args:
        waves: "T" (and ST), "QRS", or "P" (and PR interval).

    Raises:
        RecipeError: A name is none of these.
    """
    _refuse_strange(waves, WAVES, "null_echo_world()")
    return _with_laboratory("echo, only " + " ".join(sorted(waves)), waves)


def _with_laboratory(name: str, shows_in: tuple[str, ...]) -> World:
    both = {**constants(), **constants("echo")}
    return World(name, both, frozenset(), linked=False, structure=True, shows_in=frozenset(shows_in))


def knock_out_world(*waves: str) -> World:
    """The null world, but potassium acts on the named waves.

    Args:
        waves: "T", "QRS", or "P" (P wave and PR interval).

    Raises:
        RecipeError: A name is none of these.
    """
    _refuse_strange(waves, WAVES, "null_world()")
    return World("only " + " ".join(sorted(waves)), constants(), frozenset(waves), linked=False)


def ppg_world() -> World:
    """The hospital with a pulse: pressure, rhythm and breathing show in it, and in the patients' records."""
    return replace(_with_pulse("ppg", PULSE), acts_on=hospital_world().acts_on, linked=True)


def null_ppg_world() -> World:
    """Pressure, rhythm and breathing of other people: nothing in the pulse or in the records tells them."""
    return _with_pulse("null ppg", ())


def knock_out_ppg_world(*effects: str) -> World:
    """The null world of the pulse, but the named things of those who were measured show in it.

    Args:
        effects: "rhythm" (fibrillation, heart rate, ectopic beats), "breath" (rate, and how it shows), "stiffness"
            (of arteries), "pressure" (on velocity and resistance). Rhythm, breathing and pressure are measured in
            three different people, so that one effect tells nothing of the others.

    Raises:
        RecipeError: A name is none of these.
    """
    _refuse_strange(effects, PULSE, "null_ppg_world()")
    return _with_pulse("ppg, only " + " ".join(sorted(effects)), effects)


def strangers_records_world() -> World:
    """The world of the pulse, but coded events and notes are about other people: records are worth nothing."""
    return replace(ppg_world(), name="ppg, strangers' records", own_records=False)


def cine_world(observability: float | None = None) -> World:
    """An imaging department: hearts in a magnet, and their ECGs.

    Args:
        observability: Correlation of each property of the heart with what the ECG shows of it, 0 to 1; the data
            file's where None.

    Raises:
        RecipeError: It is not between 0 and 1.
    """
    both = {**constants(), **constants("cine")}
    if observability is not None:
        if not 0 <= observability <= 1:
            raise RecipeError(f"observability must be between 0 (none) and 1 (all); got {observability:g}")
        both["ecg.observability"] = observability
    return World("cine", both, hospital_world().acts_on, linked=True, cine=True)


def lasting(world: World, seconds: float) -> World:
    """The same world with recordings of another length; labels are means over it.

    Args:
        world: One with a pulse.
        seconds: Length of every recording.

    Raises:
        RecipeError: The world records no pulse, or the length is below 10 s.
    """
    if not world.pulse or not seconds >= 10:
        raise RecipeError(f"needs a world with a pulse and at least 10 s; got {world.name} and {seconds:g} s")
    return replace(world, constants={**world.constants, "recording.seconds": float(seconds)})


def _with_pulse(name: str, in_pulse: tuple[str, ...]) -> World:
    both = {**constants(), **constants("ppg")}
    return World(name, both, frozenset(), linked=False, pulse=True, in_pulse=frozenset(in_pulse))


def _refuse_strange(named: tuple[str, ...], known: tuple[str, ...], null: str) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown or not named:
        raise RecipeError(
            f"an effect can show in {', '.join(known)}; got {', '.join(unknown) or 'nothing'}; "
            f"for a world without any effect use {null}"
        )


def quiet(world: World) -> World:
    """The same world recorded without noise."""
    return replace(world, noise=0.0)


@dataclass(frozen=True)
class Draws:
    """Random columns, each from a stream of its own name.

    A column's first rows do not depend on how many follow, nor on which other columns are drawn.

    Args:
        seed: Of the whole table.
        who: Prefix of the names, so that another population can be drawn from the same seed.
    """

    seed: int
    who: str = ""

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.who}/{name}".encode())])

    def uniform(self, name: str, count: int) -> np.ndarray:
        """Numbers in [0, 1), `(count,)`."""
        return self._stream(name).random(count)

    def normal(self, name: str, count: int) -> np.ndarray:
        """Standard normal numbers, `(count,)`."""
        return self._stream(name).standard_normal(count)

    def happens(self, name: str, logit: np.ndarray) -> np.ndarray:
        """True with the probability of the given log odds, `(N,)`."""
        return self.uniform(name, len(logit)) < 1 / (1 + np.exp(-logit))

    def exponential(self, name: str, count: int) -> np.ndarray:
        """Exponential numbers of mean 1, `(count,)`."""
        return -np.log1p(-self.uniform(name, count))
