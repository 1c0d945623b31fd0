"""How large a fault must be to be heard: faults of known severity in normal recordings, with no anomaly at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethos.metrics.interval import proportion
from stethos.signal.clip import RATE
from stethos.study.detector import Detector
from stethos.study.progress import bar
from stethos.synth.faults import FAULTS, plant
from stethos.types import Estimate

SEVERITIES = (3.0, 6.0, 10.0, 15.0, 20.0)  # dB; standards call 6 unsatisfactory and 10 a reason to stop


@dataclass(frozen=True, eq=False)
class Sound:
    """A normal recording that no network was trained on.

    Args:
        windows: As prepared, `(W, 1, T)`.
        machine: Such as "fan/id_00".
        subject: Source recording.
    """

    windows: np.ndarray
    machine: str
    subject: str


def miss_rates(
    detector: Detector, sounds: Sequence[Sound], severities: Sequence[float] = SEVERITIES, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Share of recordings with a planted fault that stay at or below their machine's threshold.

    Args:
        detector: With a threshold for every machine.
        sounds: Normal recordings.
        severities: dB by which a fault alters the band it acts on; 0 dB is added: the share that no fault is heard in.
        seed: Of what is not known of the machines: phases, speeds, resonances.

    Returns:
        Fault → severity in words → miss rate.
    """
    found: dict[str, dict[str, Estimate]] = {}
    subject = np.array([sound.subject for sound in sounds])
    with bar("planting faults") as progress:
        for number, fault in enumerate(FAULTS):
            found[fault] = {}
            for place, severity in enumerate((0.0, *severities)):
                missed = [
                    not _heard(detector, sound, fault, severity, (seed, number, k)) for k, sound in enumerate(sounds)
                ]
                found[fault][f"{severity:g} dB"] = proportion(np.array(missed, float), subject)
                progress(number * (len(severities) + 1) + place + 1, len(FAULTS) * (len(severities) + 1))
    return found


def _heard(detector: Detector, sound: Sound, fault: str, severity: float, key: tuple[int, ...]) -> bool:
    """Whether a recording with a fault is above its machine's threshold; the same key plants the same fault."""
    windows = np.stack(
        [
            plant(window[0], RATE, fault, severity, np.random.default_rng((*key, place)))[None]
            for place, window in enumerate(sound.windows)
        ]
    )
    machine = detector.machine_of(sound.machine)
    score = detector.judge([item[None] for item in detector.heard(windows)], machine)[0]
    return bool(score > detector.memory.threshold[machine])
