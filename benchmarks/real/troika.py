"""Heart rate at the wrist of runners, with and without an accelerometer to refuse what moved.

TROIKA: windows of 8 s with the heart rate of the ECG, every fourth of them, so that none overlap. Beats are counted;
and a linear model reads the row of an encoder that was pretrained on a simulated hospital, one subject left out at a
time. Each is told for all windows, for those that the quality of the pulse alone leaves, and for those that its quality
and the accelerometer leave. Intervals of 90 % draw subjects.

    python -m benchmarks.real.troika TROIKA_FOLDER RUN
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.real.marsh import by_subject, interval, left_out, ridge
from stethos.data.cohort import open_cohort
from stethos.data.pulse_studies import import_troika
from stethos.errors import QualityError
from stethos.io.arrays import read_arrays
from stethos.report.words import spoken
from stethos.signal.pulse import pulse_onsets, pulse_rate
from stethos.signal.pulse_quality import pulse_windows
from stethos.study.ensemble import scorer
from stethos.study.pulses import MOTION
from stethos.systems import cap
from stethos.types import Signal

WINDOW, SHIFT, EVERY = 8.0, 2.0, 4  # s, s, windows


@dataclass(frozen=True)
class Window:
    """A stretch of a run, and the heart rate in it, 1/min."""

    subject: str
    pulse: Signal
    motion: Signal
    heart: float


def windows(folder: Path, scratch: Path) -> list[Window]:
    """Every fourth window of every run."""
    import_troika(folder, scratch)
    found = []
    for record in open_cohort(scratch):
        truth = read_arrays(folder / f"REF_{record.id}.mat", rate=0.5, unit="1").signals[0].values[0]
        for number in range(0, len(truth), EVERY):
            start = number * SHIFT
            part = [record.pick(*names).crop(start, start + WINDOW) for names in (("PLETH",), MOTION)]
            found.append(Window(record.subject, part[0], part[1], float(truth[number])))
    return found


def main(folder: Path, run: Path) -> None:
    """Errors and coverage, printed."""
    held = windows(folder, run / "private" / "troika")
    subject, heart = np.array([each.subject for each in held]), np.array([each.heart for each in held])
    alone = np.array([pulse_windows(each.pulse, WINDOW)[0].ok for each in held])
    both = np.array([pulse_windows(each.pulse, WINDOW, each.motion)[0].ok for each in held])
    said = {
        "counting beats": np.array([pulse_rate(pulse_onsets(each.pulse), each.pulse.rate) for each in held]),
        "encoder": left_out(encoded(run, held), heart, subject, ridge),
        "mean of the others": np.array([heart[subject != person].mean() for person in subject]),
    }
    print(f"{len(held)} windows of {len(np.unique(subject))} runs")
    for words, kept in (("all", np.ones(len(held), bool)), ("by quality", alone), ("and the accelerometer", both)):
        print(f"{words}: {kept.mean():.1%} of the windows, {len(np.unique(subject[kept]))} runs")
        for name, estimate in said.items():
            error = np.where(kept & np.isfinite(estimate), np.abs(estimate - heart), np.nan)
            own = by_subject(error[kept], subject[kept])
            print(f"  {name:20} {spoken(interval(own[np.isfinite(own)]))}", flush=True)


def encoded(run: Path, held: list[Window]) -> np.ndarray:
    """The frozen encoder's row of each window; NaN where there is no pulse in it."""
    model = cap.load(run)
    rows = []
    for each in held:
        try:
            rows.append(scorer(model.pulse.describe)(model.prepare(each.pulse).numpy())[0])
        except QualityError:
            rows.append(np.full(model.pulse.width, np.nan))
    return np.stack(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
