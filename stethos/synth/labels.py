"""What the table says of a pulse, and what an ideal reader would measure in it.

Heart and breathing rates are means over the recording, counted in the course that was drawn, never in the waveform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from stethos.synth.circulation import BREATH, RHYTHM, SHAPE
from stethos.synth.ppg import Pulses, pulses
from stethos.synth.rhythm import Breathing, beats, breathing, heart_rate, slow_wave
from stethos.synth.world import World

FELT = 0.25  # size, relative to a pulse after a mean interval, below which a pulse is missed
_MAYER = ("mayer_frequency", "mayer_baseline", "mayer_size", "mayer_beats")
_AS_THEY_ARE = (
    *("breath_beats", "breath_size", "breath_baseline", "mayer_baseline", "mayer_size", "mayer_beats", "perfusion"),
    *("beat_jitter", "beat_drift", "stiffness", "mean_pressure"),
)

Columns = dict[str, np.ndarray]


def labels(rows: Mapping[str, np.ndarray], seed: int, world: World) -> Columns:
    """What was measured at each visit, `(visits,)` each.

    Args:
        rows: Visits of a world with a pulse.
        seed: Of the recordings.
        world: Constants and effects.

    Returns:
        "af" (1 where the rhythm of the recording is atrial fibrillation), "hr" and "resp_rate" (1/min, means over
        the recording), "sbp" and "dbp" (mmHg, the cuff's).
    """
    seconds = world["recording.seconds"]
    shown = {part: world.linked or part in world.in_pulse for part in ("rhythm", "breath")}
    own, other = _courses(rows, "", ""), _courses(rows, "measured_", "another's ")
    rates = np.empty((len(rows["id"]), 2))
    for row, (here, there) in enumerate(zip(own, other, strict=True)):
        of_beats, of_breath = (here if shown[part] else there for part in ("rhythm", "breath"))
        rates[row, 0] = heart_rate(beats(of_beats, seed, world, seconds), seconds)
        rates[row, 1] = breathing(of_breath, seed, world, seconds).rate(seconds)
    hr, breath = np.round(rates.T, 2)
    fibrillating = (rows["measured_rhythm"] == "AF").astype(float)
    return {
        "af": fibrillating,
        "hr": hr,
        "resp_rate": breath,
        "sbp": rows["systolic_cuff"],
        "dbp": rows["diastolic_cuff"],
    }


def readings(rows: Mapping[str, np.ndarray], seed: int, world: World) -> Columns:
    """What an ideal reader would measure in each pulse, and what is true of the one whose pulse it is.

    Args:
        rows: Visits of a world with a pulse.
        seed: Of the recordings.
        world: Constants and effects.

    Returns:
        `SHAPE`; depths of breathing and Mayer waves, "perfusion"; "hr" and "resp_rate" (1/min) of the recording;
        "pulse_rate" of the pulses that are felt, "pulse_irregularity" (relative standard deviation of their
        intervals), "pulse_successive" (of successive differences) and "pulse_unevenness" (of their sizes);
        "stiffness" (m/s), "mean_pressure", "systolic" and "diastolic" (mmHg).
    """
    seconds = world["recording.seconds"]
    names = (*RHYTHM, *BREATH, *_MAYER, "electromechanical", "transit", "ejection", "id")
    found: dict[str, list[float]] = {}
    for visit in _each(rows, names):
        breath = breathing(visit, seed, world, seconds)
        pulse = pulses(visit, seed, world, seconds, breath, slow_wave(visit, seed, world, seconds))
        for name, value in _read(pulse, breath, seconds).items():
            found.setdefault(name, []).append(value)
    kept = {name: rows[name] for name in (*SHAPE, *_AS_THEY_ARE)}
    # pulse pressure does not show by itself: systolic and diastolic pressure are those of the measured
    pressures = {name: rows[f"measured_{name}"] for name in ("systolic", "diastolic")}
    return kept | pressures | {name: np.array(values) for name, values in found.items()}


def _read(pulse: Pulses, breath: Breathing, seconds: float) -> dict[str, float]:
    felt = (pulse.size > FELT) & (pulse.onset >= 0) & (pulse.onset < seconds)
    onset, size = pulse.onset[felt], pulse.size[felt]
    interval = np.diff(onset)
    return {
        "hr": heart_rate(pulse.beat, seconds),
        "resp_rate": breath.rate(seconds),
        "pulse_rate": float(60 / interval.mean()),
        "pulse_irregularity": float(interval.std() / interval.mean()),
        "pulse_successive": float(np.diff(interval).std() / interval.mean()),
        "pulse_unevenness": float(size.std() / size.mean()),
    }


def _courses(rows: Mapping[str, np.ndarray], prefix: str, who: str) -> Iterator[dict[str, object]]:
    """What beats and breaths of each visit follow from: the recording's, or those of the people measured."""
    named = {name: rows[f"{prefix}{name}"] for name in (*RHYTHM, *BREATH)}
    named |= {name: rows[name] for name in _MAYER}
    named["id"] = np.char.add(who, rows["id"].astype(str))
    return _each(named, tuple(named))


def _each(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> Iterator[dict[str, object]]:
    """One dictionary a row."""
    held = [columns[name].tolist() for name in names]
    return (dict(zip(names, values, strict=True)) for values in zip(*held, strict=True))
