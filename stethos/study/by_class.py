"""Normal clips, class by class: what every way to score an embedding is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stethos.errors import CohortError

Score = Callable[[np.ndarray], np.ndarray]
"""Embeddings of one class `(M, D)` → `(M,)`."""


class Fitted(Protocol):
    """What knows what is normal."""

    def score(self, embedding: np.ndarray, clazz: np.ndarray) -> np.ndarray:
        """Anomaly scores, `(M, D)` and `(M,)` → `(M,)`; NaN where an embedding is not finite.

        Raises:
            CohortError: A class has no normal clip in training.
        """
        ...


class Backend(Protocol):
    """A way to score."""

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Learn what is normal, `(N, D)`, `(N,)` and `(N,)`.

        Raises:
            CohortError: The clips do not allow it.
        """
        ...


@dataclass(frozen=True)
class ByClass:
    """Scores the clips of each class by a function of its own.

    Args:
        scores: Class → embeddings `(M, D)` to scores `(M,)`.
    """

    scores: Mapping[Hashable, Score]

    def score(self, embedding: np.ndarray, clazz: np.ndarray) -> np.ndarray:
        """Anomaly scores, `(M, D)` and `(M,)` → `(M,)`; NaN where an embedding is not finite.

        Raises:
            CohortError: A class has no normal clip in training.
        """
        values, clazz = np.asarray(embedding, np.float64), np.asarray(clazz)
        refuse_unknown(clazz, self.scores)
        found, heard = np.full(len(values), np.nan), np.isfinite(values).all(axis=1)
        for name in np.unique(clazz[heard]).tolist():
            rows = np.flatnonzero(heard & (clazz == name))
            found[rows] = self.scores[name](values[rows])
        return found


def refuse_unknown(clazz: np.ndarray, known: Mapping[Hashable, object]) -> None:
    """Raise where a class is not among those that are known.

    Args:
        clazz: Class of each clip, `(M,)`.
        known: By class.

    Raises:
        CohortError: A class is not.
    """
    new = [name for name in np.unique(clazz).tolist() if name not in known]
    if new:
        raise CohortError(
            f"needs normal training clips of {', '.join(map(str, new))}; there are none, but of {len(known)} other "
            "classes: add some to the training part"
        )


def groups(embedding: np.ndarray, *keys: np.ndarray) -> dict[tuple[Hashable, ...], np.ndarray]:
    """Embeddings that agree in all keys, float64, in the order of the keys.

    Args:
        embedding: `(N, D)`.
        keys: Class, and domain where it matters, `(N,)` each.

    Raises:
        CohortError: There is no clip, or an embedding is not finite.
    """
    values = np.asarray(embedding, np.float64)
    if not len(values):
        raise CohortError("needs normal training clips; got none")
    broken = int(np.sum(~np.isfinite(values).all(axis=1)))
    if broken:
        raise CohortError(
            f"needs a finite embedding for every normal training clip; {broken} of {len(values)} have none: leave the "
            "refused recordings out"
        )
    columns = [np.asarray(key).tolist() for key in keys]
    member: dict[tuple[Hashable, ...], list[int]] = {}
    for row, *key in zip(range(len(values)), *columns, strict=True):
        member.setdefault(tuple(key), []).append(row)
    return {key: values[member[key]] for key in sorted(member, key=str)}


def machines_of(clazz: Iterable[Hashable]) -> np.ndarray:
    """Machine type of each class, "fan/id_00" → "fan", `(N,)`."""
    return np.array([str(name).rpartition("/")[0] or str(name) for name in clazz])
