"""Breath and heart rate of real pulses from an encoder that was pretrained on a simulated hospital.

MARSH: 15 minutes at the finger of volunteers who breathe at many rates. Windows of 32 s every 16 s; one subject is left
out at a time, and every choice is made on inner folds of the others. What is compared, in breaths a minute:

    opponent   log power from 0.05 to 0.7 Hz of beat amplitude, baseline and beat interval, with their peaks and
               centroids, and gradient boosting of 200 rounds on the absolute error; fixed before anything was tried
    encoder    a linear model, or boosting, on the frozen encoder's row of a window
    tuned      the encoder trained on, 200 steps from the pretraining, the step chosen by three of the other subjects
    beside     as `encoder`, on the row and the breath features of the library together; how those features fuse their
               spectra was chosen on this data set once, which flatters them here

Encoders come from several seeds; the error of a window is their mean. Differences are per subject; intervals of 90 %
draw subjects. Heart rate from the encoder stands beside counting beats.

    python -m benchmarks.real.marsh MARSH_FOLDER RUN [RUN …]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stethos.augment.pulse import as_seen_by
from stethos.data.cohort import open_cohort
from stethos.data.pulse_studies import import_marsh
from stethos.errors import QualityError
from stethos.io.arrays import read_arrays
from stethos.report.words import spoken
from stethos.signal.modulation import breath_features
from stethos.signal.patches import resample_long
from stethos.signal.pulse import pulse_beats, pulse_rate
from stethos.study.ensemble import scorer
from stethos.systems import cap
from stethos.types import Estimate, Signal

WINDOW, STEP = 32.0, 16.0  # s
BAND = (0.05, 0.7)  # Hz
RATE = 4.0  # Hz, of the traces of beats
DRAWS = 4000
TUNE_STEPS, TUNE_BATCH, TUNE_RATE = 200, 64, 1e-3
FAST_NASAL = ("8000", "8722")


def windows(folder: Path, scratch: Path) -> dict[str, Any]:
    """Every window: its pulse, its subject, breaths and beats a minute by the marks; NaN where too few lie in it."""
    import_marsh(folder, scratch)
    held: dict[str, list[Any]] = {"subject": [], "pulse": [], "breath": [], "heart": []}
    for record in open_cohort(scratch):
        name = record.subject
        pulse = resample_long(record.signals[0], 125.0)
        breaths = marks(folder / name / "NASAL_annot.mat", 1000.0 if name in FAST_NASAL else 250.0)
        if breaths is None:
            breaths = marks(folder / name / "IP_annot.mat", 250.0)
        beats = marks(folder / name / "ECG_annot.mat", 250.0)
        for start in np.arange(0, pulse.duration - WINDOW, STEP):
            held["subject"].append(name)
            held["pulse"].append(pulse.crop(start, start + WINDOW))
            held["breath"].append(a_minute(breaths, start))
            held["heart"].append(a_minute(beats, start))
    return {name: column if name == "pulse" else np.array(column) for name, column in held.items()}


def marks(path: Path, rate: float) -> np.ndarray | None:
    """Seconds of the marks in a file; None where it is not there."""
    if not path.is_file():
        return None
    return np.sort(read_arrays(path, rate=rate, unit="1").signals[0].values[0].astype(float)) / rate


def a_minute(times: np.ndarray | None, start: float) -> float:
    """Marks a minute in a window, by the mean interval of those in it."""
    if times is None:
        return float("nan")
    inside = times[(times >= start) & (times < start + WINDOW)]
    return 60 * (len(inside) - 1) / (inside[-1] - inside[0]) if len(inside) > 2 else float("nan")


def opponent_features(pulse: Signal) -> np.ndarray:
    """Log power of three traces of beats, with their peak and centroid; NaN where there are too few beats."""
    count = 3 * (len(bins()) + 2)
    try:
        beats = pulse_beats(pulse)
    except QualityError:
        return np.full(count, np.nan)
    if len(beats) < 6:
        return np.full(count, np.nan)
    at, values, places = beats.peak / pulse.rate, pulse.values[0], np.arange(pulse.values.shape[1])
    base, top = np.interp(beats.onset, places, values), np.interp(beats.peak, places, values)
    traces = (top - base, base, np.diff(at, prepend=2 * at[0] - at[1]))
    return np.concatenate([spectrum(at, trace) for trace in traces])


def bins() -> np.ndarray:
    """Frequencies within the band, Hz."""
    every = np.fft.rfftfreq(256, 1 / RATE)
    return every[(every >= BAND[0]) & (every <= BAND[1])]


def spectrum(at: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Log power of a trace of beats in the band, its peak and its centroid."""
    grid = np.arange(at[0], at[-1], 1 / RATE)
    values = np.interp(grid, at, trace)
    values = values - np.polyval(np.polyfit(grid, values, 1), grid)
    power = np.abs(np.fft.rfft(values * np.hanning(len(values)), 256)) ** 2
    every = np.fft.rfftfreq(256, 1 / RATE)
    inside = power[(every >= BAND[0]) & (every <= BAND[1])] + 1e-12
    return np.concatenate([np.log(inside), [bins()[inside.argmax()], np.average(bins(), weights=inside)]])


def encoded(run: Path, pulses: list[Signal]) -> np.ndarray:
    """The frozen encoder's row of the middle 30 s of each window; NaN where there is no pulse in it."""
    model = cap.load(run)
    rows = []
    for pulse in pulses:
        try:
            x = model.prepare(pulse.crop(1.0, 31.0))
            rows.append(scorer(model.pulse.describe)(x.numpy())[0])
        except QualityError:
            rows.append(np.full(model.pulse.width, np.nan))
    return np.stack(rows)


def opponent(features: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> Any:
    """The fixed opponent."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=200, loss="absolute_error", random_state=0).fit(features, truth)


def chosen(features: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> Any:
    """Ridge or boosting on the absolute error, whichever errs less on inner folds of whole subjects."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import GroupKFold

    def trees(x: np.ndarray, y: np.ndarray, who: np.ndarray) -> Any:
        return HistGradientBoostingRegressor(max_iter=100, loss="absolute_error", random_state=0).fit(x, y)

    makers: list[Callable[..., Any]] = [ridge, trees]
    errors = np.zeros(len(makers))
    for inside, outside in GroupKFold(3, shuffle=True, random_state=0).split(features, truth, subject):
        for place, make in enumerate(makers):
            model = make(features[inside], truth[inside], subject[inside])
            errors[place] += np.abs(truth[outside] - model.predict(features[outside])).sum()
    return makers[int(errors.argmin())](features, truth, subject)


def ridge(features: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> Any:
    """Ridge, its penalty from inner folds of whole subjects."""
    from stethos.study.controls import STRENGTHS, fit_ridge

    return fit_ridge(features, truth, subject, STRENGTHS[::3])


def left_out(features: np.ndarray, truth: np.ndarray, subject: np.ndarray, make: Callable[..., Any]) -> np.ndarray:
    """What is said of each window by a model of the other subjects; NaN where it has no features."""
    said = np.full(len(truth), np.nan)
    usable = np.isfinite(features).any(axis=1)
    for person in np.unique(subject):
        inside = (subject != person) & np.isfinite(truth) & usable
        outside = (subject == person) & usable
        if outside.any():
            said[outside] = make(features[inside], truth[inside], subject[inside]).predict(features[outside])
    return said


def tuned_left_out(run: Path, pulses: list[Signal], truth: np.ndarray, subject: np.ndarray, seed: int) -> np.ndarray:
    """What is said of each window by an encoder that was trained on the other subjects; NaN where there is no pulse."""
    model = cap.load(run)
    parts = [_prepared(model, pulse) for pulse in pulses]
    usable = np.array([part is not None for part in parts])
    x = torch.stack([torch.zeros(1, 2, 1200) if part is None else part for part in parts])
    said = np.full(len(truth), np.nan)
    for number, person in enumerate(np.unique(subject)):
        others = np.random.default_rng((seed, number)).permutation(np.setdiff1d(np.unique(subject), [person]))
        known = usable & np.isfinite(truth)
        looked = known & np.isin(subject, others[:3])
        train = known & np.isin(subject, others[3:])
        tests = usable & (subject == person)
        said[tests] = tuned(cap.load(run).pulse, (x, truth), (train, looked, tests), seed)
    return said


def tuned(
    pulse: cap.Pulse, data: tuple[torch.Tensor, np.ndarray], rows: tuple[np.ndarray, ...], seed: int
) -> np.ndarray:
    """Train on the first rows, keep the step that errs least on the second, answer for the third."""
    (x, truth), (train, looked, tests) = data, rows
    torch.manual_seed(seed)
    centre, spread = float(truth[train].mean()), float(truth[train].std())
    head = torch.nn.Linear(pulse.width, 1)
    weights = [*pulse.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=TUNE_RATE, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, TUNE_RATE, TUNE_STEPS)
    target = torch.from_numpy((truth - centre) / spread).float()
    where, best, kept = np.flatnonzero(train), np.inf, np.full(int(tests.sum()), centre)
    for step in range(TUNE_STEPS):
        chosen_rows = where[torch.randint(len(where), (TUNE_BATCH,)).numpy()]
        seen = as_seen_by(0, x[chosen_rows], seed, step, torch.arange(TUNE_BATCH), 1.0)
        pulse.train()
        loss = (head(pulse.describe(seen))[:, 0] - target[chosen_rows]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        if step % 20 == 19:
            pulse.eval()
            with torch.inference_mode():
                error = float((head(pulse.describe(x[looked]))[:, 0] - target[looked]).abs().mean())
                if error < best:
                    best, kept = error, head(pulse.describe(x[tests]))[:, 0].numpy() * spread + centre
    return kept


def _prepared(model: Any, pulse: Signal) -> torch.Tensor | None:
    try:
        part: torch.Tensor = model.prepare(pulse.crop(1.0, 31.0))[0]
        return part
    except QualityError:
        return None


def by_subject(error: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Mean error of each subject, `(S,)`."""
    return np.array([np.nanmean(error[subject == person]) for person in np.unique(subject)])


def interval(values: np.ndarray, level: float = 0.9) -> Estimate:
    """Mean over subjects with the interval of drawing them."""
    draws = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), ((1 - level) / 2, (1 + level) / 2))
    return Estimate(float(values.mean()), float(low), float(high), len(values), None, level)


def main(folder: Path, runs: list[Path]) -> None:
    """Everything, printed; nothing is kept of the recordings but a table beside the first run."""
    held = windows(folder, runs[0] / "private" / "marsh")
    subject, breath, heart = held["subject"], held["breath"], held["heart"]
    features = np.stack([opponent_features(pulse) for pulse in held["pulse"]])
    extra = np.stack([_breath(pulse) for pulse in held["pulse"]])
    counted = np.array([_counted(pulse) for pulse in held["pulse"]])
    rows = [encoded(run, held["pulse"]) for run in runs]
    common = np.isfinite(features).any(axis=1) & np.all([np.isfinite(row).any(axis=1) for row in rows], axis=0)
    common &= np.isfinite(breath)
    print(f"{len(subject)} windows of {len(np.unique(subject))} subjects, {int(common.sum())} compared")
    base = np.abs(left_out(features, breath, subject, opponent) - breath)
    said = {
        "encoder": [left_out(row, breath, subject, chosen) for row in rows],
        "tuned": [tuned_left_out(run, held["pulse"], breath, subject, seed) for seed, run in enumerate(runs)],
        "beside": [left_out(np.hstack([row, extra]), breath, subject, chosen) for row in rows],
        "breath features": [left_out(extra, breath, subject, chosen)],
        "mean": [np.array([np.nanmean(breath[subject != person]) for person in subject])],
    }
    told = {"opponent": interval(by_subject(np.where(common, base, np.nan), subject))}
    for name, each in said.items():
        error = np.where(common, np.mean([np.abs(one - breath) for one in each], axis=0), np.nan)
        own = by_subject(error, subject)
        told[name] = interval(own)
        told[f"{name} minus opponent"] = interval(own - by_subject(np.where(common, base, np.nan), subject))
    there = common & np.isfinite(heart) & np.isfinite(counted)
    beats = {"counting beats": [counted], "encoder, heart": [left_out(row, heart, subject, ridge) for row in rows]}
    for name, each in beats.items():
        error = np.where(there, np.mean([np.abs(one - heart) for one in each], axis=0), np.nan)
        told[name] = interval(by_subject(error, subject))
    for name, item in told.items():
        print(f"{name:28} {spoken(item)}", flush=True)
    path = runs[0] / "private" / "marsh" / "told.json"
    path.write_text(json.dumps({name: [item.value, item.low, item.high] for name, item in told.items()}, indent=1))


def _breath(pulse: Signal) -> np.ndarray:
    """The library's breath features; NaN where there is no pulse."""
    try:
        return np.array(list(breath_features(pulse).values()), float)
    except QualityError:
        return np.full(71, np.nan)


def _counted(pulse: Signal) -> float:
    """Heart rate by counting beats, 1/min."""
    beats = pulse_beats(pulse)
    return pulse_rate(beats.onset, pulse.rate)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
