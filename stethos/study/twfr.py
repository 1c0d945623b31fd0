"""TWFR-GMM: time-weighted spectra and a mixture of Gaussians, without a network.

In every band the levels over time are ordered from the loudest x_1 down and averaged with falling weights,

    R(r) = Σ_n r^{n−1} x_n / Σ_n r^{n−1}

so r = 0 keeps the loudest frame (impulses) and r = 1 the mean over time (steady sound). A mixture of Gaussians is
fitted to R of the normal clips of each class; the score is minus the log density of its nearest component.

The authors take r for each machine type from labelled test clips. Here nothing but normal clips decides. R changes
with r, so likelihoods under different r cannot be compared; what can be is how well one identity's normals are told
from those of its sisters: each identity in turn is normal, one Gaussian (`ledoit_wolf`) is fitted to half of its
clips, the other half is ranked against the clips of each other identity, and the r with the largest mean AUROC is
taken, of equal ones the nearest to 0.99. A machine type of one identity gets 0.99. Once r is fixed likelihoods can be
compared, and those of held-out normals choose the number of components and how much is added to the variances.

Reference:
    Guan, Liu, Zhu, Zheng, Han and Wang 2023, arXiv:2305.03328.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stethos.errors import RecipeError
from stethos.metrics.ranking import auroc
from stethos.study.by_class import groups, machines_of, refuse_unknown
from stethos.study.distances import ledoit_wolf

STEADY = 0.99  # r of a machine type of one identity
DECAYS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_SHARES = (1e-3, 1e-2, 1e-1)  # of the mean variance of a band, added to each variance
_FEWEST = 4  # clips of a class that can be halved


def ranked_mean(mel: np.ndarray, decays: Sequence[float]) -> np.ndarray:
    """R of each r, `(bands, frames)` → `(r, bands)`.

    Args:
        mel: Log-mel spectrogram, dB.
        decays: r in [0, 1].
    """
    falling = -np.sort(-np.asarray(mel, np.float64), axis=1)
    weight = np.asarray(decays, np.float64)[:, None] ** np.arange(falling.shape[1])  # (r, frames); 0⁰ is 1
    return (weight / weight.sum(axis=1, keepdims=True)) @ falling.T


@dataclass(frozen=True)
class TwfrGmm:
    """The baseline of the module's docstring.

    Args:
        decays: r tried; a single one is taken as it is.
        components: Most components of a mixture.
        seed: Of the halves and of the mixtures' first means.
    """

    decays: Sequence[float] = DECAYS
    components: int = 2
    seed: int = 0

    def fit(self, mel: Iterable[np.ndarray], clazz: np.ndarray, domain: np.ndarray) -> FittedTwfr:
        """Choose r for each machine type and fit a mixture to each class; the domain is not looked at.

        Args:
            mel: Log-mel spectrograms of N normal clips, `(bands, frames)` each, dB.
            clazz: Machine and section, such as "fan/id_00", `(N,)`.
            domain: `(N,)`.

        Raises:
            CohortError: There is no clip, or a level is not finite.
            RecipeError: r is outside [0, 1], or there is no component.
        """
        if not self.decays or not all(0 <= r <= 1 for r in self.decays) or self.components < 1:
            raise RecipeError(f"needs r in [0, 1] and at least 1 component; got {self.decays} and {self.components}")
        ranked = np.array([ranked_mean(item, self.decays) for item in mel])  # (N, r, bands)
        held = groups(ranked.reshape(len(ranked), int(np.prod(ranked.shape[1:]))), clazz)
        shape = (-1, *ranked.shape[1:])
        normals = {key[0]: rows.reshape(shape) for key, rows in held.items()}
        chosen: dict[str, float] = {}
        mixtures: dict[Hashable, Any] = {}
        for machine in np.unique(machines_of(clazz)).tolist():
            own = {name: rows for name, rows in normals.items() if machines_of([name])[0] == machine}
            place = choose_decay(own, self.decays, self.seed)
            chosen[machine] = float(self.decays[place])
            mixtures |= _mixtures({name: rows[:, place] for name, rows in own.items()}, self.components, self.seed)
        return FittedTwfr(chosen, mixtures)


@dataclass(frozen=True)
class FittedTwfr:
    """Mixtures of the normal clips of each class.

    Args:
        decay: Machine type → the r that was taken.
        mixtures: Class → fitted scikit-learn mixture.
    """

    decay: Mapping[str, float]
    mixtures: Mapping[Hashable, Any]

    def score(self, mel: Iterable[np.ndarray], clazz: np.ndarray) -> np.ndarray:
        """Anomaly scores, `(M,)`; NaN where a level is not finite.

        Args:
            mel: Log-mel spectrograms of M clips, `(bands, frames)` each, dB.
            clazz: Class of each, `(M,)`.

        Raises:
            CohortError: A class has no normal clip in training.
        """
        refuse_unknown(np.asarray(clazz), self.mixtures)
        names, machines = np.asarray(clazz).tolist(), machines_of(clazz)
        ranked = [
            ranked_mean(item, [self.decay[machine]])[0] for item, machine in zip(mel, machines.tolist(), strict=True)
        ]
        return np.array([_surprise(self.mixtures[name], row) for name, row in zip(names, ranked, strict=True)])


def choose_decay(normals: Mapping[Hashable, np.ndarray], decays: Sequence[float], seed: int) -> int:
    """Place of the r that tells the identities of one machine type apart best, by their normal clips alone.

    Args:
        normals: Identity → R of its normal clips, `(N, r, bands)`.
        decays: r, as many.
        seed: Of the halves.
    """
    several = {name: rows for name, rows in normals.items() if len(rows) >= _FEWEST}
    nearness = -np.abs(np.asarray(decays) - STEADY)
    if len(several) < 2 or len(decays) == 1:
        return int(np.argmax(nearness))
    apart = [separation({name: rows[:, place] for name, rows in several.items()}, seed) for place in range(len(decays))]
    return max(range(len(decays)), key=lambda place: (round(apart[place], 9), nearness[place]))


def separation(normals: Mapping[Hashable, np.ndarray], seed: int) -> float:
    """Mean AUROC of the clips of another identity against held-out ones, each identity in turn taken for normal.

    Args:
        normals: Identity → features of its normal clips, `(N, D)`, four at least.
        seed: Of the halves.
    """
    found = []
    for name, rows in normals.items():
        order = np.random.default_rng(seed).permutation(len(rows))
        fitted, kept = rows[order[::2]], rows[order[1::2]]
        mean = fitted.mean(axis=0)
        scatter = ledoit_wolf(fitted - mean)
        inverse = np.linalg.pinv(scatter, hermitian=True)
        for other, strange in normals.items():
            if other != name:
                rest = np.concatenate([kept, strange]) - mean
                far = np.einsum("nd,de,ne->n", rest, inverse, rest, optimize=True)
                found.append(auroc(np.arange(len(rest)) >= len(kept), far))
    return float(np.mean(found))


def _mixtures(normals: Mapping[Hashable, np.ndarray], most: int, seed: int) -> dict[Hashable, Any]:
    """A mixture for each class of one machine type."""
    spread = float(np.mean([rows.var(axis=0).mean() for rows in normals.values()])) or 1.0  # dB²
    return {name: _mixture(rows, most, spread, seed) for name, rows in normals.items()}


def _mixture(rows: np.ndarray, most: int, spread: float, seed: int) -> Any:
    """The mixture under which held-out normals are likeliest."""
    if len(rows) < _FEWEST:
        return _fitted(rows, 1, _SHARES[-1] * spread, seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    halves = rows[order[::2]], rows[order[1::2]]
    best = max(
        itertools.product(range(1, min(most, len(rows) // _FEWEST) + 1), _SHARES),
        key=lambda how: sum(
            _fitted(halves[side], how[0], how[1] * spread, seed).score(halves[1 - side]) for side in (0, 1)
        ),
    )
    return _fitted(rows, best[0], best[1] * spread, seed)


def _fitted(rows: np.ndarray, components: int, added: float, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = np.repeat(rows, 2, axis=0) if len(rows) == 1 else rows  # scikit-learn asks for two
    mixture = GaussianMixture(components, reg_covar=added, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies of a clip cannot be parted, and need not be
        return mixture.fit(rows)


def _surprise(mixture: Any, row: np.ndarray) -> float:
    """Minus the log density of the nearest component."""
    white = [(row - mean) @ root for mean, root in zip(mixture.means_, mixture.precisions_cholesky_, strict=True)]
    volume = np.log(np.diagonal(mixture.precisions_cholesky_, axis1=1, axis2=2)).sum(axis=1)
    density = volume - (np.sum(np.square(white), axis=1) + len(row) * np.log(2 * np.pi)) / 2
    return -float(density.max())
