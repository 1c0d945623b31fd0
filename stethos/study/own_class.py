"""Anomaly as the doubt of a classifier about which machine it hears."""

from __future__ import annotations

import numpy as np


def own_class(cosine: np.ndarray, owner: np.ndarray, machine: np.ndarray, scale: float, margin: float) -> np.ndarray:
    """Negative log-probability that a recording is of its own machine.

        −log Σ_{k of the machine} p_k,   p = softmax(s · φ(cos θ)),   φ(cos θ) = cos(θ + m) for the own class

    Args:
        cosine: Of every recording to every class, `(N, K)`.
        owner: Machine of the first classes; those that follow are copies and nobody's, `(≤ K,)`.
        machine: Own machine of every recording, −1 for unknown (NaN comes back), `(N,)`.
        scale: s.
        margin: m in radians; of several own classes the nearest has it.

    Reference:
        Deng et al. 2019, arXiv:1801.07698, and the anomaly score of arXiv:2509.13853.
    """
    from scipy.special import logsumexp

    mine = np.zeros(cosine.shape, bool)
    mine[:, : len(owner)] = machine[:, None] == owner[None]
    nearest = np.argmax(np.where(mine, cosine, -np.inf), axis=1)
    logits, rows = scale * cosine, np.arange(len(cosine))
    angle = np.arccos(np.clip(cosine[rows, nearest], -1, 1))
    turned = np.where(angle + margin <= np.pi, np.cos(angle + margin), np.cos(angle) - np.sin(margin) * margin)
    logits[rows, nearest] = scale * np.where(margin > 0, turned, cosine[rows, nearest])
    with np.errstate(divide="ignore"):
        own = logsumexp(np.where(mine, logits, -np.inf), axis=1)
    return np.where(machine >= 0, logsumexp(logits, axis=1) - own, np.nan)
