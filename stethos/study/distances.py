"""How far embeddings are from normal ones: distances, their nearest, and a covariance that few clips suffice for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(M, D)` and `(N, D)` → `(M, N)`."""

_ROWS = 512  # at a time


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 minus the cosine of the angle, in [0, 2], `(M, D)` and `(N, D)` → `(M, N)`; 1 where a vector is zero."""
    one, two = (item / np.maximum(np.linalg.norm(item, axis=1, keepdims=True), 1e-300) for item in (first, second))
    return np.clip(1 - one @ two.T, 0, 2)


def euclidean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Length of the difference, `(M, D)` and `(N, D)` → `(M, N)`."""
    centre = second.mean(axis=0)  # the squares cancel better near the origin
    one, two = first - centre, second - centre
    square = np.sum(one**2, axis=1)[:, None] + np.sum(two**2, axis=1) - 2 * one @ two.T
    return np.sqrt(np.maximum(square, 0))


def nearest_mean(embedding: np.ndarray, normals: np.ndarray, k: int, distance: Distance) -> np.ndarray:
    """Mean distance to the k nearest normals, to all where there are fewer, `(M,)`.

    Args:
        embedding: `(M, D)`.
        normals: `(N, D)`, at least one.
        k: Number of neighbours.
        distance: Such as `cosine`.
    """
    parts = [_smallest(distance(part, normals), k) for part in _cut(embedding)]
    return np.concatenate(parts)


def apart(normals: np.ndarray, k: int, distance: Distance) -> np.ndarray:
    """Mean distance of each normal to the k nearest *others*, `(N,)`; NaN where there is no other.

    Args:
        normals: `(N, D)`.
        k: Number of neighbours.
        distance: Such as `cosine`.
    """
    if len(normals) < 2:
        return np.full(len(normals), np.nan)
    between = distance(normals, normals)
    np.fill_diagonal(between, np.inf)
    return _smallest(between, min(k, len(normals) - 1))


def over_density(embedding: np.ndarray, normals: np.ndarray, density: np.ndarray, distance: Distance) -> np.ndarray:
    """Smallest distance to a normal, each divided by the density's own length there, `(M,)`.

    Args:
        embedding: `(M, D)`.
        normals: `(N, D)`.
        density: How far neighbours are around each normal, above 0, `(N,)`.
        distance: Such as `cosine`.
    """
    return np.concatenate([(distance(part, normals) / density).min(axis=1) for part in _cut(embedding)])


def ledoit_wolf(residual: np.ndarray) -> np.ndarray:
    """Covariance of centred rows, drawn towards a multiple of the identity as far as their number asks for, `(D, D)`.

        Σ = (1 − λ) S + λ μ I        μ = tr S / D        λ = min(1, b² / d²)

        b² = (Σ_n |x_n|⁴ / N − |S|²) / N        d² = |S − μ I|²

    Args:
        residual: Rows less their mean, `(N, D)`.

    Reference:
        Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.
    """
    count, width = residual.shape
    sample = residual.T @ residual / count
    level = float(np.trace(sample)) / width
    off = float(np.sum((sample - level * np.eye(width)) ** 2))
    noise = (float(np.sum(np.sum(residual**2, axis=1) ** 2)) / count - float(np.sum(sample**2))) / count
    weight = min(1.0, max(0.0, noise) / off) if off > 0 else 0.0
    return (1 - weight) * sample + weight * level * np.eye(width)


def _smallest(distances: np.ndarray, k: int) -> np.ndarray:
    """Mean of the k smallest of each row."""
    k = min(k, distances.shape[1])
    return np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)


def _cut(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _ROWS] for start in range(0, max(1, len(rows)), _ROWS)]
