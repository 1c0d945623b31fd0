"""How the areas under several ROC curves become one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics.curves import Areas, Kind

Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Areas `(…, K)` and the machine of each `(K,)` → `(…)`."""


def harmonic_mean(values: np.ndarray) -> np.ndarray:
    """K / Σ 1/v over the last axis, `(…, K)` → `(…)`; 0 where a value is 0."""
    zero = np.any(values <= 0, axis=-1)
    inverse = np.sum(1 / np.where(values > 0, values, 1), axis=-1)
    return np.where(zero, 0.0, values.shape[-1] / inverse)


def harmonic(values: np.ndarray, machine: np.ndarray) -> np.ndarray:
    """`harmonic_mean`, whatever the machine."""
    return harmonic_mean(values)


def mean(values: np.ndarray, machine: np.ndarray) -> np.ndarray:
    """Mean over machines of the mean of each."""
    return np.mean([values[..., machine == name].mean(axis=-1) for name in np.unique(machine)], axis=0)


def mean_of_least(values: np.ndarray, machine: np.ndarray) -> np.ndarray:
    """Mean over machines of the smallest of each."""
    return np.mean([values[..., machine == name].min(axis=-1) for name in np.unique(machine)], axis=0)


@dataclass(frozen=True)
class Rule:
    """How the areas of curves become one number.

    Args:
        auc: Kind of curve whose whole areas go in; None for none.
        pauc: Kind of curve whose partial areas go in; None for none.
        combine: Of those areas.
    """

    auc: Kind | None
    pauc: Kind | None
    combine: Combine

    def __call__(self, areas: Areas) -> np.ndarray:
        """The number, `(K,)` → `()`, or of each draw, `(D, K)` → `(D,)`.

        Raises:
            ScoreError: No curve of the kind has an area, or the domains that it needs are unknown.
        """
        whole, partial = self.curves(areas)
        values = np.concatenate([areas.auc[..., whole], areas.pauc[..., partial]], axis=-1)
        return self.combine(values, np.array([areas.curves[number].machine for number in whole + partial]))

    def curves(self, areas: Areas) -> tuple[list[int], list[int]]:
        """Numbers of the curves whose whole, and whose partial areas go in.

        Raises:
            ScoreError: There are none of a kind that is asked for.
        """
        return _numbers(areas, self.auc), _numbers(areas, self.pauc)


def _numbers(areas: Areas, kind: Kind | None) -> list[int]:
    through = [number for number, curve in enumerate(areas.curves) if curve.kind == kind]
    good = [number for number in through if not areas.curves[number].reason]
    if kind is None or good:
        return good
    if not through:
        raise ScoreError(
            "this score needs the domain (source or target) of each clip; none is known: take official_2020"
        )
    first = areas.curves[through[0]]
    raise ScoreError(
        f"this score needs normal and anomalous clips; {first.name} has {first.reason}, and {len(through) - 1} other "
        "curves are no better"
    )
