"""Logistic regression without a penalty, under many sets of weights at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

_LARGEST_STEP = 2.0  # on the scale of one standard deviation of the logit
_STEPS = 40


@dataclass(frozen=True, eq=False)
class Logistic:
    """Logistic regression of one set of rows, fitted by Newton's method under many sets of weights at once.

    Args:
        design: `(N, P)`.
        offset: Added to the linear predictor, `(N,)`.
        event: `(N,)`.
        start: First guess, `(P,)`.
    """

    design: np.ndarray
    offset: np.ndarray
    event: np.ndarray
    start: np.ndarray

    def fit(self, weight: np.ndarray) -> np.ndarray:
        """Coefficients for each row of weights `(D, N)` → `(D, P)`, NaN where there is no finite maximum."""
        width = self.design.shape[1]
        pairs = (self.design[:, :, None] * self.design[:, None, :]).reshape(len(self.design), -1)  # (N, P²)
        found = np.tile(self.start, (len(weight), 1))
        step = np.full_like(found, np.inf)
        for _ in range(_STEPS):
            share = expit(found @ self.design.T + self.offset)  # (D, N)
            slope = (weight * (self.event - share)) @ self.design
            bend = ((weight * share * (1 - share)) @ pairs).reshape(-1, width, width)
            step = np.linalg.solve(bend + 1e-12 * np.eye(width), slope[:, :, None])[:, :, 0]
            step *= np.minimum(1, _LARGEST_STEP / np.maximum(_LARGEST_STEP, np.abs(step).max(axis=1, keepdims=True)))
            found = found + step
            if np.abs(step).max() < 1e-8:
                break
        found[np.abs(step).max(axis=1) > 1e-6] = np.nan
        return found

    def from_all(self) -> Logistic:
        """The same, starting from the coefficients with equal weights: most draws end near them."""
        return replace(self, start=self.fit(np.ones((1, len(self.event))))[0])
