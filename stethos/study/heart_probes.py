"""What a phase-aware autoencoder knows of ECGs: phase under noise, and what a linear model reads in its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import CohortError
from stethos.metrics.compare import paired_bootstrap
from stethos.metrics.continuous import pearson
from stethos.metrics.interval import bootstrap, clustered_auroc
from stethos.metrics.ranking import auroc
from stethos.signal.beats import r_peaks
from stethos.signal.phase import cardiac_phase
from stethos.study.controls import fit_logistic, fit_ridge
from stethos.study.hearts import LEADS
from stethos.train.dist import global_mean
from stethos.types import Estimate, Signal

CHANCE = 0.25  # of a cycle: the mean circular error of any guess that knows nothing
TARGETS = ("ef", "wall_thickness", "af")
ARMS = ("pretrained", "untrained", "scratch")


def noisy(ecg: np.ndarray, decibels: float, seed: int) -> np.ndarray:
    """Leads `(B, 12, T)` with white noise and slow wander, of equal power, so many decibels below the signal."""
    generator = np.random.default_rng(seed)
    size = np.sqrt(np.mean(ecg**2, axis=(1, 2), keepdims=True)) * 10 ** (-decibels / 20) / np.sqrt(2)
    white = generator.standard_normal(ecg.shape)
    time = np.arange(ecg.shape[2]) / ecg.shape[2]
    turns = generator.uniform(1, 6, (*ecg.shape[:2], 1))  # wander, in waves a recording
    wander = np.sqrt(2) * np.sin(2 * np.pi * (turns * time + generator.random((*ecg.shape[:2], 1))))
    return (ecg + size * (white + wander)).astype(np.float32)


def interpolated(ecg: np.ndarray, rate: float) -> np.ndarray:
    """The phase by lines between R peaks of lead II, `(B, T)`; NaN where there are none around."""
    place = LEADS.index("II")
    found = []
    for leads in ecg:
        peaks = r_peaks(Signal(leads[place : place + 1], rate, ("II",), "mV"))
        found.append(cardiac_phase(peaks, leads.shape[1]))
    return np.stack(found)


def circular_distance(truth: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Mean distance of phases in cycles, a row each, `(B,)`; a phase that is not said costs what a guess does.

    Args:
        truth: Radians, NaN where unknown, `(B, L)`.
        said: Radians, NaN where not said, `(B, L)`.
    """
    away = np.abs((said - truth + np.pi) % (2 * np.pi) - np.pi) / (2 * np.pi)
    away = np.where(np.isfinite(truth), np.where(np.isfinite(said), away, CHANCE), np.nan)
    return np.nanmean(away, axis=1)


def phase_numbers(
    truth: np.ndarray,
    said: Mapping[str, tuple[np.ndarray, np.ndarray]],
    subject: np.ndarray,
    hard: np.ndarray,
) -> dict[str, Estimate]:
    """Circular errors of the network and of lines between R peaks, and their paired difference, at each noise.

    Args:
        truth: Phase at the tokens, from the recording as it is, `(N, L)`.
        said: Noise → the network's phase and that by lines, `(N, L)` each.
        subject: `(N,)`.
        hard: Recordings in fibrillation or with ectopic beats, `(N,)` bool.
    """
    found = {}
    for noise, (network, lines) in said.items():
        errors = {name: circular_distance(truth, phase) for name, phase in (("network", network), ("lines", lines))}
        for name, error in errors.items():
            found[f"phase.{noise}.{name}.error"] = bootstrap(_second_mean, subject, error, error)
            if hard.sum() > 1:
                found[f"phase.{noise}.{name}.irregular.error"] = bootstrap(
                    _second_mean, subject[hard], error[hard], error[hard]
                )
        both = errors["network"], errors["lines"]
        found[f"phase.{noise}.network.minus_lines"] = paired_bootstrap(_second_mean, subject, both[0], *both).estimate
    return found


def _second_mean(_: np.ndarray, values: np.ndarray) -> float:
    return float(np.mean(values))


def probe_numbers(
    tables: Mapping[str, tuple[np.ndarray, np.ndarray]],
    truths: Mapping[str, tuple[np.ndarray, np.ndarray]],
    subjects: tuple[np.ndarray, np.ndarray],
    scratch: Mapping[str, np.ndarray],
) -> dict[str, Estimate]:
    """Linear probes of every target: r of a measured one, AUROC of fibrillation, and paired differences.

    Args:
        tables: Arm → rows of training and tested recordings.
        truths: Target → known values of both.
        subjects: Of both.
        scratch: Target → what the network trained from scratch says of the tested, `(N,)`.
    """
    found: dict[str, Estimate] = {}
    for target, (known, asked) in truths.items():
        if np.isfinite(known).sum() < 20 or np.nanstd(asked) == 0:
            continue
        graded = target != "af"
        said = {arm: _probed(*table, known, subjects[0], graded) for arm, table in tables.items()}
        said["scratch"] = scratch[target]
        for arm, column in said.items():
            found[f"probe.{target}.{arm}.{'r' if graded else 'auroc'}"] = _worth(asked, column, subjects[1], graded)
        measure: Callable[..., float] = pearson if graded else auroc
        for other in ("untrained", "scratch"):
            pair = said["pretrained"], said[other]
            gap = paired_bootstrap(measure, subjects[1], asked, *pair)
            found[f"probe.{target}.pretrained.minus_{other}"] = gap.estimate
    return found


def _probed(train: np.ndarray, asked: np.ndarray, known: np.ndarray, subject: np.ndarray, graded: bool) -> np.ndarray:
    there = np.isfinite(known)
    if graded:
        return np.asarray(fit_ridge(train[there], known[there], subject[there]).predict(asked))
    return np.asarray(fit_logistic(train[there], known[there], subject[there]).decision_function(asked))


def _worth(truth: np.ndarray, said: np.ndarray, subject: np.ndarray, graded: bool) -> Estimate:
    return bootstrap(pearson, subject, truth, said) if graded else clustered_auroc(truth, said, subject)


def refuse_no_targets(truths: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Raise where no target is known.

    Raises:
        CohortError: None is.
    """
    if not any(np.isfinite(known).sum() >= 20 for known, _ in truths.values()):
        raise CohortError(f"a probe needs a column {', '.join(TARGETS)} of 20 training records; none has one")


class Labelled(NamedTuple):
    """What a step of `EndToEnd` sees."""

    ecg: Tensor  # (B, 12, T) each lead of unit size
    truth: Tensor  # (B, K) of unit spread, or 0 and 1; NaN unknown


class EndToEnd(nn.Module):
    """The same encoder from random weights, trained on the targets themselves: what a pretraining must beat.

    Args:
        encoder: Leads `(B, 12, T)` → tokens `(B, D, L)`.
        width: D.
        graded: Which targets are measured, `(K,)`.
    """

    def __init__(self, encoder: nn.Module, width: int, graded: tuple[bool, ...]) -> None:
        super().__init__()
        self.encoder, self.graded = encoder, graded
        self.head = nn.Linear(2 * width, len(graded))

    def forward(self, batch: Labelled) -> dict[str, Tensor]:
        """Squared errors of measured targets and cross-entropy of the others, over what is known."""
        said, truth = self.score(batch.ecg), torch.nan_to_num(batch.truth)
        graded = torch.tensor(self.graded, device=said.device)
        crossed = nn.functional.binary_cross_entropy_with_logits(said, truth.clamp(0, 1), reduction="none")
        each = torch.where(graded, (said - truth).square(), crossed)
        return {"targets": global_mean(each, torch.isfinite(batch.truth))}

    def score(self, ecg: Tensor) -> Tensor:
        """Leads to the targets, `(B, K)`."""
        return self.head(pooled(self.encoder(ecg)))


def pooled(tokens: Tensor) -> Tensor:
    """Mean and spread of tokens over a recording, `(B, D, L)` to `(B, 2 D)`."""
    return torch.cat([tokens.mean(2), tokens.std(2)], dim=1)
