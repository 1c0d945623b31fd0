"""Where the waves of LUDB begin, peak and end, against the marks of cardiologists.

Lead I of each recording is delineated by a network that was trained without that recording (ten folds by recording,
the recipe of `benchmarks.delineation.train`), and by three methods of neurokit2 given the same R peaks. Found and
marked times are matched one to one, the closest first, within 150 ms; what is found outside of the first and the last
mark and matches nothing does not count, because nothing is marked there. Intervals are over recordings.

On the strips of CinC 2017, which nothing was fitted to, the network that ships is asked how many beats of atrial
fibrillation and of normal rhythm have a P wave.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import wfdb
from scipy.io import loadmat

from benchmarks.delineation.train import STEPS, Lead, leads_of, records_of, trained
from stethos.metrics.interval import bootstrap, proportion
from stethos.report.words import spoken
from stethos.signal.beats import inverted, r_peaks
from stethos.signal.delineator import Weights
from stethos.signal.filter import bandpass
from stethos.signal.marks import marked
from stethos.signal.waves import waves
from stethos.types import Signal

FOLDS = 10
TOLERANCE = 0.15  # seconds
POINTS = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_on", "t_peak", "t_off")
SYMBOLS = {"p": POINTS[:3], "N": POINTS[3:6], "t": POINTS[6:]}
KEYS = {
    **{
        f"{wave.lower()}_{short}": f"ECG_{wave}_{long}"
        for wave in "PT"
        for short, long in (("on", "Onsets"), ("peak", "Peaks"), ("off", "Offsets"))
    },
    "qrs_on": "ECG_R_Onsets",
    "qrs_off": "ECG_R_Offsets",
}
Times = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Marked:
    """Lead I of a recording and what the cardiologists marked in it.

    Args:
        record: Its number.
        lead: The signal.
        times: Point → seconds.
        span: The first and the last mark, seconds.
    """

    record: int
    lead: Signal
    times: Times
    span: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of one point by one method, over all recordings.

    Args:
        met: 1 for a mark that was found, 0 for one that was not.
        met_record: Recording of each mark.
        true: 1 for a found time that is a mark, 0 for one that is none.
        true_record: Recording of each found time.
        error: Found minus marked, ms, of each pair.
        error_record: Recording of each pair.
    """

    met: np.ndarray
    met_record: np.ndarray
    true: np.ndarray
    true_record: np.ndarray
    error: np.ndarray
    error_record: np.ndarray


def marked_lead(folder: Path, record: int) -> Marked:
    """Lead I of a recording of LUDB."""
    path = str(folder / str(record))
    held, marks = wfdb.rdrecord(path, channel_names=["i"]), wfdb.rdann(path, "i")
    times: dict[str, list[float]] = {name: [] for name in POINTS}
    padded = ["", *marks.symbol, ""]
    for i, symbol in enumerate(marks.symbol):
        if symbol in SYMBOLS:
            start, peak, stop = SYMBOLS[symbol]
            times[peak].append(marks.sample[i] / held.fs)
            if padded[i] == "(":
                times[start].append(marks.sample[i - 1] / held.fs)
            if padded[i + 2] == ")":
                times[stop].append(marks.sample[i + 1] / held.fs)
    span = (marks.sample[0] / held.fs, marks.sample[-1] / held.fs)
    lead = Signal(held.p_signal.T, held.fs, ("I",), "mV")
    return Marked(record, lead, {name: np.array(value) for name, value in times.items()}, span)


def by_neurokit(method: str) -> Callable[[Signal, np.ndarray], Times]:
    """A method of neurokit2 on its own cleaned lead."""
    import neurokit2

    def found(lead: Signal, beats: np.ndarray) -> Times:
        trace = neurokit2.ecg_clean(lead.values[0].astype(np.float64), sampling_rate=int(lead.rate))
        return _neurokit(trace, beats, lead.rate, method)

    return found


def narrow_prominence(lead: Signal, beats: np.ndarray) -> Times:
    """neurokit2's prominence method on 0.5 to 25 Hz, upright, R moved to the highest sample near it."""
    trace = bandpass(lead, 0.5, 25.0, order=2).values[0].astype(np.float64) * (-1 if inverted(lead, beats) else 1)
    reach = round(0.04 * lead.rate)
    near = np.clip(beats[:, None] + np.arange(-reach, reach + 1), 0, len(trace) - 1)
    tops = near[np.arange(len(beats)), trace[near].argmax(axis=1)]
    return _neurokit(trace, tops, lead.rate, "prominence")


def _neurokit(trace: np.ndarray, beats: np.ndarray, rate: float, method: str) -> Times:
    import neurokit2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _, said = neurokit2.ecg_delineate(trace, beats, sampling_rate=int(rate), method=method)
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return {}
    return {name: np.asarray(said[key], dtype=np.float64) / rate for name, key in KEYS.items() if key in said}


def fold_weights(leads: Mapping[int, list[Lead]], fold: int, kept: Path | None) -> dict[str, np.ndarray]:
    """Of the network trained without the recordings of a fold; read from `kept` where they lie there."""
    path = kept / f"fold-{fold}.npz" if kept else None
    if path is None or not path.is_file():
        own = [lead for record, held in leads.items() if record not in held_out(list(leads), fold) for lead in held]
        weights = trained(own, fold, STEPS).folded()
        if path is None:
            return _single(weights)
        np.savez(path, **weights)
    with np.load(path) as held:
        return _single(dict(held))


def held_out(records: list[int], fold: int) -> set[int]:
    """Recordings of a fold; the folds are drawn once from a seed."""
    return set(np.random.default_rng(0).permutation(sorted(records))[fold::FOLDS].tolist())


def _single(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(np.float32) for name, value in weights.items()}


def pairs(marked_times: np.ndarray, found: np.ndarray) -> list[tuple[int, int]]:
    """Indices of times that belong together: the closest first, each once, none further than the tolerance."""
    apart = np.abs(marked_times[:, None] - found)
    chosen = []
    while apart.size and apart.min() <= TOLERANCE:
        row, column = divmod(int(apart.argmin()), apart.shape[1])
        chosen.append((row, column))
        apart[row], apart[:, column] = np.inf, np.inf
    return chosen


def agreement(records: list[Marked], found: list[Times], name: str) -> Agreement:
    """How one point agrees over all recordings."""
    columns: list[list[float]] = [[] for _ in range(6)]
    for item, times in zip(records, found, strict=True):
        got = times.get(name, np.empty(0))
        got = got[np.isfinite(got)]
        own = pairs(item.times[name], got)
        matched = {column for _, column in own}
        counted = [i for i, t in enumerate(got) if i in matched or item.span[0] <= t <= item.span[1]]
        met = {row for row, _ in own}
        parts = (
            [float(row in met) for row in range(len(item.times[name]))],
            [float(i in matched) for i in counted],
            [1000 * (got[column] - item.times[name][row]) for row, column in own],
        )
        for i, part in enumerate(parts):
            columns[2 * i] += part
            columns[2 * i + 1] += [item.record] * len(part)
    return Agreement(*map(np.array, columns))


def timed(
    method: Callable[[Signal, np.ndarray], Times], records: list[Marked], beats: list[np.ndarray]
) -> tuple[list[Times], float]:
    """What a method finds, and the processor's ms a recording."""
    method(records[0].lead, beats[0])  # what is loaded once is not counted
    start = time.process_time()
    found = [
        dict(method(item.lead, own)) | {"r": own / item.lead.rate} for item, own in zip(records, beats, strict=True)
    ]
    return found, 1000 * (time.process_time() - start) / len(records)


def compared(found: Mapping[str, list[Times]], cost: Mapping[str, float], records: list[Marked]) -> list[str]:
    """All methods in Markdown: sensitivity / predictive value, mean ± SD of the error in ms."""
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for name in POINTS:
        cells = []
        for times in found.values():
            own = agreement(records, times, name)
            share = f"{100 * own.met.mean():.1f} / {100 * own.true.mean():.1f}" if len(own.true) else "–"
            cells.append(f"{share}, {own.error.mean():+.1f} ± {own.error.std():.1f}" if len(own.error) else share)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, f"| CPU ms a recording | {' | '.join(f'{value:.1f}' for value in cost.values())} |"]


def with_intervals(times: list[Times], records: list[Marked]) -> list[str]:
    """The network's own figures with intervals over recordings."""
    lines = ["| | sensitivity | predictive value | mean error, ms | SD of error, ms |", "|---|---|---|---|---|"]
    for name in POINTS:
        own = agreement(records, times, name)
        parts = [
            spoken(proportion(own.met, own.met_record)),
            spoken(proportion(own.true, own.true_record)),
            *(spoken(bootstrap(statistic, own.error_record, own.error)) for statistic in (np.mean, np.std)),
        ]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return lines


def handheld(folder: Path) -> list[str]:
    """Share of the beats of CinC 2017 that have a P wave, by the label of their strip, in Markdown."""
    lines = ["| CinC 2017 | strips | beats | beats with P | strips with P in half of the beats | beats, prominence |"]
    lines.append("|---|---|---|---|---|---|")
    with (folder / "REFERENCE.csv").open() as file:
        listed = list(csv.reader(file))
    for label, words in (("A", "atrial fibrillation"), ("N", "normal rhythm")):
        strips = [name for name, said in listed if said == label]
        ours, other = zip(*(_has_p(folder / f"{name}.mat") for name in strips), strict=True)
        most = np.array([float(item.mean() >= 0.5) for item in ours if len(item)])
        shares = [_by_strip(ours), spoken(proportion(most, np.arange(len(most)))), _by_strip(other)]
        lines.append(f"| {words} | {len(strips)} | {sum(map(len, ours))} | {' | '.join(shares)} |")
    return lines


def _by_strip(having: tuple[np.ndarray, ...]) -> str:
    strip = np.repeat(np.arange(len(having)), [len(item) for item in having])
    return spoken(proportion(np.concatenate(having), strip))


def _has_p(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """1 for each beat of a strip with a P wave by the network that ships, and by the prominence method."""
    lead = Signal(loadmat(path)["val"] / 1000, 300, ("I",), "mV")
    beats = r_peaks(lead)
    none = np.full(len(beats), np.nan)
    other = narrow_prominence(lead, beats).get("p_on", none) if len(beats) > 1 else none
    return np.isfinite(waves(lead, beats).p_on).astype(float), np.isfinite(other).astype(float)


def study(folder: Path, kept: Path | None = None) -> list[str]:
    """The tables of LUDB.

    Args:
        folder: Holds the recordings.
        kept: Where the networks of the folds lie, or are put.
    """
    numbers = records_of(folder)
    leads = {number: leads_of(folder, number) for number in numbers}
    weights: dict[int, Weights] = {}
    for fold in range(FOLDS):
        weights |= dict.fromkeys(held_out(numbers, fold), fold_weights(leads, fold, kept))
    records = [marked_lead(folder, number) for number in numbers]
    beats = [r_peaks(item.lead) for item in records]
    own = iter([weights[records[0].record], *(weights[item.record] for item in records)])
    methods: dict[str, Callable[[Signal, np.ndarray], Times]] = {
        "ours": lambda lead, beats: marked(lead, beats, next(own)),
        **{method: by_neurokit(method) for method in ("prominence", "dwt", "cwt")},
        "prominence, 0.5–25 Hz": narrow_prominence,
    }
    results = {name: timed(method, records, beats) for name, method in methods.items()}
    found, cost = ({name: result[i] for name, result in results.items()} for i in (0, 1))
    return [*compared(found, cost, records), "", *with_intervals(found["ours"], records)]


def main() -> None:
    """Print the studies of the recordings in the folder named by STETHOS_DATA."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--weights", type=Path, help="folder of the folds' networks; trained and put there if missing")
    given = asked.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ.get("STETHOS_DATA", "."), "ecg")
    if not (data / "ludb").is_dir():
        print("delineation: skipped, STETHOS_DATA names no folder with ecg/ludb")
        return
    if given.weights:
        given.weights.mkdir(parents=True, exist_ok=True)
    print("\n".join(study(data / "ludb" / "data", given.weights)), end="\n\n")
    if (data / "cinc2017").is_dir():
        print("\n".join(handheld(data / "cinc2017")))


if __name__ == "__main__":
    main()
