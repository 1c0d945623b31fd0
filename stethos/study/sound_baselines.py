"""What a detector of anomalous sound must beat: three ways to score a log-mel spectrogram without its network.

    nearest-mean-mel   distance of the mean spectrum to the nearest normal one of the same class
    twfr-gmm           time-weighted spectra and a mixture of Gaussians for each class (`stethos.study.twfr`)
    autoencoder        error of drawing five frames anew, one network for each machine type
                       (`stethos.study.reconstruction`)

All are fitted on the log-mel spectrograms of normal training clips, with classes such as "fan/id_00", and score
others; higher is more anomalous. Spectrograms come one by one, `(bands, frames)` in dB, from an array
`(N, bands, frames)` or from anything that can be gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stethos.study.backends import Nearest
from stethos.study.by_class import Fitted
from stethos.study.distances import euclidean
from stethos.study.reconstruction import Autoencoder
from stethos.study.twfr import TwfrGmm


class FittedBaseline(Protocol):
    """What knows how normal clips sound."""

    def score(self, mel: Iterable[np.ndarray], clazz: np.ndarray) -> np.ndarray:
        """Anomaly scores of M spectrograms `(bands, frames)` of known class, `(M,)`.

        Raises:
            CohortError: A class has no normal clip in training.
        """
        ...


class Baseline(Protocol):
    """A way to score spectrograms."""

    def fit(self, mel: Iterable[np.ndarray], clazz: np.ndarray, domain: np.ndarray) -> FittedBaseline:
        """Learn from N spectrograms `(bands, frames)` of normal clips, with class and domain `(N,)`.

        Raises:
            CohortError: The clips do not allow it.
        """
        ...


@dataclass(frozen=True)
class NearestMeanMel:
    """Euclidean distance of the mean level of each band to the k nearest normal clips of the class, dB.

    Args:
        k: Number of neighbours.
    """

    k: int = 1

    def fit(self, mel: Iterable[np.ndarray], clazz: np.ndarray, domain: np.ndarray) -> FittedMeanMel:
        """Keep the mean spectra; the domain is not looked at.

        Args:
            mel: Log-mel spectrograms of N normal clips, `(bands, frames)` each, dB.
            clazz: Class of each, `(N,)`.
            domain: `(N,)`.

        Raises:
            CohortError: There is no clip, or a level is not finite.
        """
        return FittedMeanMel(Nearest(self.k, euclidean).fit(mean_spectra(mel), clazz, domain))


@dataclass(frozen=True)
class FittedMeanMel:
    """Mean spectra of normal clips.

    Args:
        nearest: What compares with them.
    """

    nearest: Fitted

    def score(self, mel: Iterable[np.ndarray], clazz: np.ndarray) -> np.ndarray:
        """Anomaly scores in dB, `(M,)`; NaN where a level is not finite.

        Args:
            mel: Log-mel spectrograms of M clips, `(bands, frames)` each, dB.
            clazz: Class of each, `(M,)`.

        Raises:
            CohortError: A class has no normal clip in training.
        """
        return self.nearest.score(mean_spectra(mel), clazz)


def mean_spectra(mel: Iterable[np.ndarray]) -> np.ndarray:
    """Mean over time of each band, N times `(bands, frames)` → `(N, bands)`."""
    return np.array([np.asarray(item, np.float64).mean(axis=1) for item in mel])


BASELINES: Mapping[str, Callable[[], Baseline]] = {
    "nearest-mean-mel": NearestMeanMel,
    "twfr-gmm": TwfrGmm,
    "autoencoder": Autoencoder,
}
