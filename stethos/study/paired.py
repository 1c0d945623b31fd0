"""Recordings and the texts about them: which pairs are learned from, and which one finds the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stethos.metrics.clusters import Clusters
from stethos.metrics.interval import resampled
from stethos.study.several import Case
from stethos.text.overlap import Shared, shared_phrases
from stethos.types import Estimate

ALONE = -1  # an id that is kin to none


@dataclass(frozen=True, eq=False)
class Pairs:
    """Windows, what is said of each, and who is kin to whom.

    Args:
        take: Window numbers `(B,)` → prepared windows `(B, 1, T)`.
        text: Row of `(N, …)` text of each window, `(W,)`.
        kin: Ids of subject, text and labels of each window, `(W, 3)`.
        truth: Labels of each window, `(W, K)`; NaN where unknown.
    """

    take: Callable[[np.ndarray], np.ndarray]
    text: np.ndarray
    kin: np.ndarray
    truth: np.ndarray


def pairs_of(case: Case, rows: np.ndarray) -> Pairs:
    """The windows of some of a case's records; `text` numbers the case's records."""
    windows = np.flatnonzero(np.isin(case.prepared.window_record, rows))
    record = case.prepared.window_record[windows]
    kin = kinship_of(case)[record]
    return Pairs(lambda chosen: case.prepared.store.take(windows[chosen]), record, kin, case.told.truth[record])


def kinship_of(case: Case) -> np.ndarray:
    """Ids of subject, text and labels of a case's records, `(N, 3)`."""
    return kinship(case.told.cohort.subjects, case.told.text, case.told.truth)


def kinship(subject: np.ndarray, text: Sequence[str], truth: np.ndarray) -> np.ndarray:
    """Ids of each record's subject, text and labels; records that share one must not be told apart, `(N, 3)`.

    Two recordings of a person, two copies of a text, two reports that state the same labels: in none of these is the
    one text wrong for the other recording. A report that states no label is of no kind.

    Args:
        subject: `(N,)`.
        text: N texts.
        truth: 1, 0 or NaN for not stated, `(N, K)`.
    """
    stated = np.where(np.isnan(truth), 2, truth).astype(np.int8)
    _, label = np.unique(stated, axis=0, return_inverse=True)
    label = np.where(np.isfinite(truth).any(axis=1), label.ravel(), ALONE)
    columns = [np.unique(np.asarray(item).astype(str), return_inverse=True)[1].ravel() for item in (subject, text)]
    return np.stack([*columns, label], axis=1).astype(np.int64)


def copied(case: Case, rows: dict[str, np.ndarray]) -> tuple[np.ndarray, list[Shared]]:
    """Training rows without those whose report shares a long phrase with one tested report alone, and the phrases.

    Args:
        case: Records and their texts.
        rows: Row numbers of every part; "train" is cleaned, "valid" may share.
    """
    train = rows["train"]
    tested = np.concatenate([part for name, part in rows.items() if name not in ("train", "valid")] or [train[:0]])
    text, subject = case.told.text, case.told.cohort.subjects
    found = shared_phrases([text[i] for i in train], [text[i] for i in tested], subject[train], subject[tested])
    return np.delete(train, sorted({item.train for item in found})), found


def recall_at(
    one: np.ndarray, other: np.ndarray, kin: np.ndarray, subject: np.ndarray, ks: Sequence[int] = (1, 5, 10)
) -> dict[int, tuple[Estimate, float]]:
    """How often the own counterpart, or a kin one, is among the k nearest, and how often it would be by chance.

    Args:
        one: Rows of unit length that ask, `(N, D)`.
        other: Rows of unit length that are asked, in the same order, `(N, D)`.
        kin: Ids, `(N, k)`; a counterpart with an id in common is as good as the own one.
        subject: Subject of each row, `(N,)`.
        ks: Ranks.

    Returns:
        k → share of the rows with its interval over subjects, and the share that a random order finds.
    """
    alike = ((kin[:, None] == kin[None]) & (kin[:, None] >= 0)).any(axis=2)
    np.fill_diagonal(alike, True)
    near = np.argsort(-(one @ other.T), axis=1, kind="stable")
    hit = np.take_along_axis(alike, near, axis=1)
    clusters, count = Clusters.of(subject), len(one)
    found = {}
    for k in ks:
        success = hit[:, :k].any(axis=1).astype(float)
        totals = np.stack([clusters.total(success), clusters.total(np.ones(count))], axis=1)
        share = resampled(lambda times, t=totals: _ratio(times @ t), clusters, None, 1000, 0.95, 0)[0]  # type: ignore[misc]
        found[k] = share, float(np.mean([_chance(count, int(good), k) for good in alike.sum(axis=1)]))
    return found


def retrieval_lines(
    recordings: np.ndarray, texts: np.ndarray, kin: np.ndarray, subject: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Recall at 1, 5 and 10 both ways, with what chance would find; arguments as for `recall_at`."""
    for way, one, other in (
        ("report by recording", recordings, texts),
        ("recording by report", texts, recordings),
    ):
        for k, (share, chance) in recall_at(one, other, kin, subject).items():
            yield {"way": way, "k": k, "recall": share.value, "low": share.low, "high": share.high, "chance": chance}


def _ratio(pair: np.ndarray) -> np.ndarray:
    return pair[:, :1] / pair[:, 1:]


def _chance(count: int, good: int, k: int) -> float:
    """1 − C(count − good, k) / C(count, k): that k of `count` drawn without replacement hold one of the good."""
    left = np.arange(min(k, count))
    return float(1 - np.prod(np.clip(count - good - left, 0, None) / (count - left)))
