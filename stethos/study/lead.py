"""From a cohort of recordings to the windows of one lead that a network reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stethos.data.prepared import Preparation, Prepared, prepare_cohort
from stethos.errors import QualityError, UnitError
from stethos.metrics.clusters import cluster_means
from stethos.signal.beats import heart_rate, inverted, r_peaks
from stethos.signal.prepare import PREPARATIONS, prepare_windows
from stethos.signal.quality import windows as judge_windows
from stethos.study.classical import wave_features
from stethos.study.progress import bar
from stethos.types import Cohort, Predictions, Record, Signal

VOLTAGES = ("mV", "V", "uV", "µV", "1", "a.u.")
_NO_FACTS = ("id", "subject", "path", "report")  # a report is text about a person, and no column of a table


@dataclass(frozen=True)
class LeadWindows:
    """Cuts a record into windows of one lead, refuses the poor ones, prepares the rest.

    Args:
        lead: Name of the lead, such as "I".
        preparation: A name in `stethos.signal.prepare.PREPARATIONS`.
        correct_polarity: Turn inverted strips round, as handheld devices are often held the wrong way.
        measure: Measure PR, QRS, QTc and amplitudes of every record too, for the control that knows nothing else.
    """

    lead: str
    preparation: str
    correct_polarity: bool = False
    measure: bool = False

    def __call__(self, record: Record) -> tuple[np.ndarray, dict[str, Any], list[float]]:
        """Prepared windows `(W, 1, T)`, what was seen on the way, and each window's quality, above 0 and up to 1.

        Raises:
            ChannelError: The lead is missing.
            QualityError: No window is usable; the message names the reasons.
            UnitError: The lead is not a voltage.
        """
        return self.of(record.pick(self.lead))

    def first(self, lead: Signal) -> Signal:
        """The first usable window of a lead, unprepared but the right way up; the whole lead where none is usable."""
        upright = self.upright(lead)
        usable = [window for window in judge_windows(upright, PREPARATIONS[self.preparation].seconds) if window.ok]
        return upright.crop(usable[0].start, usable[0].stop) if usable else upright

    def upright(self, lead: Signal) -> Signal:
        """The lead, turned round where it is inverted and that is to be corrected."""
        turned = self.correct_polarity and inverted(lead, r_peaks(lead))
        return replace(lead, values=-lead.values) if turned else lead

    def of(self, lead: Signal) -> tuple[np.ndarray, dict[str, Any], list[float]]:
        """The same for a lead that is at hand."""
        if lead.unit not in VOLTAGES:
            raise UnitError(f"an ECG lead needs a voltage (mV, uV, V) or no unit; {lead.channels[0]} is in {lead.unit}")
        values, windows = prepare_windows(lead, PREPARATIONS[self.preparation], correct_polarity=self.correct_polarity)
        if not len(values):
            raise QualityError(f"no usable window: {', '.join(sorted({window.reason for window in windows}))}")
        peaks = r_peaks(lead)
        found = wave_features(self.upright(lead), peaks) if self.measure else {}
        found["ecg_heart_rate"] = heart_rate(peaks, lead.rate)
        weights = [window.score for window in windows if window.ok]
        quality = ", ".join(window.reason or "ok" for window in windows)
        counts = {"windows": float(len(windows)), "windows_used": float(len(values))}
        return values, {**found, "quality": quality, **counts}, weights


def prepare_lead(cohort: Cohort, windows: LeadWindows, folder: Path, workers: int = 1) -> Prepared:
    """Prepare every record of a cohort once, into memory-mapped shards that a later call finds again."""
    shape = (1, PREPARATIONS[windows.preparation].samples)
    with bar("preparing") as progress:
        preparation = Preparation(windows, shape, {**asdict(windows), "weights": "quality"})
        return prepare_cohort(cohort, preparation, folder, workers, progress)


def record_scores(
    score: Callable[[np.ndarray], np.ndarray], prepared: Prepared, rows: np.ndarray, chunk: int = 256
) -> np.ndarray:
    """Mean logit over a record's windows, each weighing as much as its quality; NaN where every window was refused.

    Args:
        score: Prepared windows `(W, 1, T)` to logits `(W, K)`.
        prepared: Windows of a cohort.
        rows: Row numbers in that cohort, `(N,)`.
        chunk: Windows scored at a time.

    Returns:
        `(N, K)`.
    """
    wanted = np.flatnonzero(np.isin(prepared.window_record, rows))
    pieces = [score(prepared.store.take(wanted[i : i + chunk])) for i in range(0, len(wanted), chunk)]
    logits = np.concatenate(pieces) if pieces else np.zeros((0, 1))
    owner = np.searchsorted(np.sort(rows), prepared.window_record[wanted])
    weight = None if prepared.weight is None else prepared.weight[wanted]
    return cluster_means(logits, owner, len(rows), weight)[np.argsort(np.argsort(rows))]


def mean_of_windows(logits: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The same of one record: logits of its windows `(W, K)` and what each weighs to `(K,)`."""
    return cluster_means(logits, np.zeros(len(logits), int), 1, weights)[0]


def as_predictions(
    cohort: Cohort, score: np.ndarray, truth: np.ndarray, *, split: str, seed: int, name: str | tuple[str, ...]
) -> Predictions:
    """Scored records of a cohort as `Predictions`; refused records (NaN score) are left out.

    Args:
        cohort: The records, N of them.
        score: `(N, K)`.
        truth: `(N, K)`, or `(N,)` of one class; NaN for unknown.
        split: Name of this part.
        seed: Training seed of the model.
        name: What each class is called.
    """
    kept = np.isfinite(score[:, 0])
    facts = {key: column[kept] for key, column in cohort.rows.items() if key not in _NO_FACTS}
    return Predictions(
        score=score[kept],
        truth=truth.reshape(len(truth), -1)[kept],
        record=cohort.rows["id"][kept],
        subject=cohort.subjects[kept],
        split=np.full(int(kept.sum()), split),
        seed=np.full(int(kept.sum()), seed),
        facts=facts,
        names=(name,) if isinstance(name, str) else name,
        origin=cohort.origin,
    )


def joined(parts: list[Predictions]) -> Predictions:
    """Predictions one below the other; a fact that a part lacks is unknown there."""
    names = sorted({name for part in parts for name in part.facts})

    def stack(field: str) -> np.ndarray:
        return np.concatenate([getattr(part, field) for part in parts])

    return Predictions(
        **{field: stack(field) for field in ("score", "truth", "record", "subject", "split", "seed")},
        facts={name: _stacked([part.facts.get(name) for part in parts], parts) for name in names},
        names=parts[0].names,
        origin=parts[0].origin,
    )


def _stacked(columns: list[np.ndarray | None], parts: list[Predictions]) -> np.ndarray:
    """Columns one below the other: numbers if all that are there are numbers, text otherwise."""
    plain = [None if column is None else _text_or_number(column) for column in columns]
    numbers = all(column is None or column.dtype.kind in "fiub" for column in plain)
    filled = [
        np.full(len(part), np.nan if numbers else "") if column is None else column
        for column, part in zip(plain, parts, strict=True)
    ]
    return np.concatenate([column if numbers else column.astype(str) for column in filled])


def _text_or_number(column: np.ndarray) -> np.ndarray:
    """Object columns and dates as text, so that parts can be stacked and stored."""
    if column.dtype == object:
        return np.array(["" if item is None else str(item) for item in column])
    return column.astype(str) if column.dtype.kind == "M" else column
