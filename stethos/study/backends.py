"""From embeddings to anomaly scores, by the normal clips of the same class.

A back end is fitted on the embeddings of normal training clips, each with its class (machine and section, such as
"fan/id_00") and its domain ("source", "target" or ""), and scores others of known class and unknown domain: higher is
more anomalous. All compute in float64.

    nearest                 mean distance to the k nearest normals of the class
    mahalanobis             distance from the mean of the class in units of the scatter that all classes share
    mahalanobis-by-domain   the same from the nearer of the class's domain means
    domain-balanced         distance to the normals of each domain in units of how far these are apart, the smaller one
    local-density           distance to each normal in units of how far that one's neighbours are, the smallest
    own-class               minus the log probability that the clip is of its own class (`stethos.study.own_class`)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from stethos.errors import CohortError, RecipeError
from stethos.study.by_class import Backend, ByClass, Fitted, groups
from stethos.study.distances import Distance, apart, cosine, ledoit_wolf, nearest_mean, over_density

_AS_NOTHING = 1e-6  # of the usual distance: rounding, between clips that are the same


@dataclass(frozen=True)
class Nearest:
    """Mean distance to the k nearest normals of the same class, to all of them where there are fewer.

    Args:
        k: Number of neighbours.
        distance: Between embeddings.
    """

    k: int = 1
    distance: Distance = cosine

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Keep the normals of each class; the domain is not looked at.

        Raises:
            CohortError: An embedding is not finite, or there is none.
            RecipeError: k is below 1.
        """
        _at_least_one(self.k)
        return ByClass(
            {key[0]: ToNearest(rows, self.k, self.distance) for key, rows in groups(embedding, clazz).items()}
        )


@dataclass(frozen=True)
class DomainBalanced:
    """The nearest normals of source and of target, each in units of its own spread; the smaller one speaks.

        score(x) = min_d a_d(x) / s_d

    a_d is the mean distance to the k nearest normals of domain d, and s_d the median over these normals of the same
    distance to the others of d. Without the division ten target clips among a thousand of source are always far. A
    domain of one clip, or of copies of one, has no spread: the median over the others of its class stands in,
    then over all classes.

    Args:
        k: Number of neighbours.
        distance: Between embeddings.

    Reference:
        After the rescaling by local density of Wilkinghoff et al. 2025, arXiv:2503.10435, per domain in place of per
        clip.
    """

    k: int = 1
    distance: Distance = cosine

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Keep the normals of each class and domain, and how far apart they are.

        Raises:
            CohortError: An embedding is not finite, or there is none.
            RecipeError: k is below 1.
        """
        _at_least_one(self.k)
        held = groups(embedding, clazz, domain)
        spread = _stood_in({key: float(np.median(apart(rows, self.k, self.distance))) for key, rows in held.items()})
        parts: dict[Hashable, list[ToNearest]] = {}
        for key, rows in held.items():
            parts.setdefault(key[0], []).append(ToNearest(rows, self.k, self.distance, spread[key]))
        return ByClass({name: SmallestOf(tuple(several)) for name, several in parts.items()})


@dataclass(frozen=True)
class LocalDensity:
    """Distance to each normal of the class in units of how far that normal's own neighbours are, the smallest.

        score(x) = min_y D(x, y) / d(y)        d(y) = mean distance of y to its k nearest other normals

    No domain is needed: a normal in a sparse region reaches further. A d(y) of nothing, as of copies, is raised to
    the median of the class.

    Args:
        k: Number of neighbours.
        distance: Between embeddings.

    Reference:
        Wilkinghoff et al. 2025, arXiv:2503.10435.
    """

    k: int = 1
    distance: Distance = cosine

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Keep the normals of each class and the density around each; the domain is not looked at.

        Raises:
            CohortError: An embedding is not finite, or there is none.
            RecipeError: k is below 1.
        """
        _at_least_one(self.k)
        held = groups(embedding, clazz)
        around = {key: apart(rows, self.k, self.distance) for key, rows in held.items()}
        usual = _stood_in({key: float(np.median(values)) for key, values in around.items()})
        raised = {
            key: np.where(values > _AS_NOTHING * usual[key], values, usual[key]) for key, values in around.items()
        }
        return ByClass({key[0]: ToDensest(rows, raised[key], self.distance) for key, rows in held.items()})


@dataclass(frozen=True)
class Mahalanobis:
    """Distance from the mean of the class, in units of the scatter within classes, shared and shrunk.

    score(x)² = (x − m)ᵀ Σ⁻¹ (x − m), with Σ of `ledoit_wolf` of all clips less the means of their classes.
    """

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Means and scatter; the domain is not looked at.

        Raises:
            CohortError: An embedding is not finite, or no class has two different clips.
        """
        return _whitened(embedding, clazz, np.zeros(len(clazz)))


@dataclass(frozen=True)
class MahalanobisByDomain:
    """As `Mahalanobis`, with a mean for each domain of a class; the nearer one speaks."""

    def fit(self, embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
        """Means and scatter.

        Raises:
            CohortError: An embedding is not finite, or no class has two different clips of one domain.
        """
        return _whitened(embedding, clazz, domain)


BACKENDS: Mapping[str, Callable[[], Backend]] = {
    "nearest": Nearest,
    "mahalanobis": Mahalanobis,
    "mahalanobis-by-domain": MahalanobisByDomain,
    "domain-balanced": DomainBalanced,
    "local-density": LocalDensity,
}
NAMES = (*BACKENDS, "own-class", "own-class-margin")


def _at_least_one(k: int) -> None:
    if k < 1:
        raise RecipeError(f"a back end needs at least 1 nearest normal; got k = {k}")


@dataclass(frozen=True, eq=False)
class ToNearest:
    """Mean distance to the k nearest of some normals, in units of their spread.

    Args:
        normals: `(N, D)`.
        k: Number of neighbours.
        distance: Between embeddings.
        spread: What distances are divided by.
    """

    normals: np.ndarray
    k: int
    distance: Distance
    spread: float = 1.0

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Scores, `(M, D)` to `(M,)`."""
        return nearest_mean(embedding, self.normals, self.k, self.distance) / self.spread


@dataclass(frozen=True, eq=False)
class ToDensest:
    """Smallest distance to a normal, each in units of the density there.

    Args:
        normals: `(N, D)`.
        density: How far neighbours are around each, `(N,)`.
        distance: Between embeddings.
    """

    normals: np.ndarray
    density: np.ndarray
    distance: Distance

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Scores, `(M, D)` to `(M,)`."""
        return over_density(embedding, self.normals, self.density, self.distance)


@dataclass(frozen=True, eq=False)
class ToMeans:
    """Euclidean distance to the nearest mean once the scatter is that of the identity.

    Args:
        means: Whitened, `(N, D)`.
        white: What whitens, `(D, D)`.
    """

    means: np.ndarray
    white: np.ndarray

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Scores, `(M, D)` to `(M,)`."""
        return np.linalg.norm((embedding @ self.white)[:, None] - self.means, axis=2).min(axis=1)


@dataclass(frozen=True, eq=False)
class SmallestOf:
    """The smallest of several scores.

    Args:
        scores: Embeddings to scores each.
    """

    scores: tuple[ToNearest, ...]

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Scores, `(M, D)` to `(M,)`."""
        return np.min([score(embedding) for score in self.scores], axis=0)


def _stood_in(spread: dict[tuple[Hashable, ...], float]) -> dict[tuple[Hashable, ...], float]:
    """Each group's spread; where it has none the median over the others of its class, then over all, then 1."""
    usual = np.nanmax([*spread.values(), 0.0])
    good = {key: value for key, value in spread.items() if value > _AS_NOTHING * usual}  # NaN is not

    def of(key: tuple[Hashable, ...]) -> float:
        own = [value for other, value in good.items() if other[0] == key[0]]
        return good.get(key) or float(np.median(own or list(good.values()) or [1.0]))

    return {key: of(key) for key in spread}


def _whitened(embedding: np.ndarray, clazz: np.ndarray, domain: np.ndarray) -> Fitted:
    """Euclidean distance to the means of a class's domains once the shared scatter is that of the identity."""
    held = groups(embedding, clazz, domain)
    residual = np.concatenate(
        [rows - rows.mean(axis=0) for rows in held.values() if len(rows) > 1] or [np.empty((0, 1))]
    )
    level = float(np.mean(residual**2)) if len(residual) else 0.0
    if level <= 0:
        raise CohortError(
            "a Mahalanobis distance needs a class with two different normal clips; every class here has one, or copies "
            "of one: add clips or take the nearest normal"
        )
    scatter = ledoit_wolf(residual) + _AS_NOTHING * level * np.eye(residual.shape[1])  # so that it has an inverse
    white = np.linalg.inv(np.linalg.cholesky(scatter)).T
    means: dict[Hashable, list[np.ndarray]] = {}
    for key, rows in held.items():
        means.setdefault(key[0], []).append(rows.mean(axis=0) @ white)
    return ByClass({name: ToMeans(np.array(several), white) for name, several in means.items()})
