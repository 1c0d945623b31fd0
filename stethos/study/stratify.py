"""A small share of labelled subjects in which every label can still be learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stethos.errors import SplitError

LEAST = 5


@dataclass(frozen=True, eq=False)
class Share:
    """Subjects whose labels are known to a model.

    Args:
        subjects: Their names, `(n,)`.
        kept: Labels that have enough subjects with and without among them, `(K,)` bool.
    """

    subjects: np.ndarray
    kept: np.ndarray


def stratified_share(subject: np.ndarray, truth: np.ndarray, fraction: float, seed: int, least: int = LEAST) -> Share:
    """A share of the subjects, drawn so that as many labels as can be have `least` subjects with and without.

    First come subjects who serve a label that is still short, the one with the fewest such subjects in the cohort
    first, in random order; then anybody. So rare diseases are commoner in the share than in the cohort, as in a set
    that was gathered to be labelled.

    Args:
        subject: Subject of each row, `(N,)`.
        truth: 1, 0 or NaN for unknown, `(N, K)`; a subject has a label if one of its rows does.
        fraction: Share of the subjects, in (0, 1].
        seed: Of the draw.
        least: Subjects with, and without, each label.

    Raises:
        SplitError: The fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise SplitError(f"a share of the subjects must be above 0 and at most 1; got {fraction:g}")
    people, member = np.unique(subject, return_inverse=True)
    sides = np.concatenate([_has(truth == 1, member, len(people)), _has(truth == 0, member, len(people))], axis=1)
    count = max(1, round(fraction * len(people)))
    order = np.random.default_rng(seed).permutation(len(people))
    sides = sides[order]  # (S, 2 K)
    chosen = np.zeros(len(people), dtype=bool)
    for side in np.argsort(sides.sum(axis=0), kind="stable"):
        short = least - int(sides[chosen, side].sum())
        room = count - int(chosen.sum())
        chosen[np.flatnonzero(sides[:, side] & ~chosen)[: max(0, min(short, room))]] = True
    chosen[np.flatnonzero(~chosen)[: count - int(chosen.sum())]] = True
    held = (sides[chosen].sum(axis=0) >= least).reshape(2, -1)
    return Share(np.sort(people[order][chosen]), held.all(axis=0))


def _has(rows: np.ndarray, member: np.ndarray, people: int) -> np.ndarray:
    """Which subjects have any such row, `(S, K)`."""
    found = np.zeros((people, rows.shape[1]), dtype=bool)
    np.logical_or.at(found, member.ravel(), rows)
    return found
