"""What a detector of anomalous sound does at its thresholds, and how well it hears each named fault."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stethos.errors import ScoreError
from stethos.metrics import dcase
from stethos.metrics.curves import Clips
from stethos.metrics.interval import fraction
from stethos.study.listening import identity_of
from stethos.types import Estimate, Predictions

ALL = ""
"""Stands for all machines together."""

KINDS = {"false_positive_rate": 0.0, "sensitivity": 1.0}


def threshold_rates(said: Predictions, threshold: Mapping[str, float]) -> dict[str, dict[str, Estimate]]:
    """Share of the normal and of the anomalous recordings above the threshold of their machine, with Wilson's interval.

    Args:
        said: Recordings whose truth is known.
        threshold: Of every machine, such as "fan/id_00".

    Returns:
        Type of machine, or `ALL`, → "false_positive_rate" and "sensitivity"; a kind that was not tested is missing.
    """
    name = identity_of(said.facts["machine"], said.facts["section"])
    limit = np.array([threshold.get(item, np.nan) for item in name.tolist()])
    above, truth, found = said.score[:, 0] > limit, said.truth[:, 0], {}
    for machine in (ALL, *np.unique(said.facts["machine"]).tolist()):
        here = np.isfinite(limit) & ((said.facts["machine"] == machine) | (machine == ALL))
        parts = {rate: here & (truth == kind) for rate, kind in KINDS.items()}
        found[machine] = {
            rate: fraction(above[part].astype(float), said.subject[part]) for rate, part in parts.items() if part.any()
        }
    return found


def fault_areas(
    said: Predictions, clips: Clips, scores: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Estimate | None]]:
    """AUC of the recordings with each named fault against all normal ones of the same identities.

    Args:
        said: N recordings, with the fact "fault" where a cohort names faults.
        clips: The same.
        scores: Name of a system → scores, `(N,)`.

    Returns:
        Fault → system → mean AUC over identities, then machines; None where no identity has both kinds.
    """
    fault = np.asarray(said.facts.get("fault", np.full(len(said), ""))).astype(str)
    found: dict[str, dict[str, Estimate | None]] = {}
    for name in sorted(set(fault[clips.truth == 1].tolist()) - {""}):
        chosen = ((fault == name) & (clips.truth == 1)) | (clips.truth == 0)
        columns = ("truth", "machine", "section", "domain", "subject")
        held = Clips(*(getattr(clips, column)[chosen] for column in columns))
        found[name] = {system: _area(held, score[chosen]) for system, score in scores.items()}
    return found


def _area(clips: Clips, score: np.ndarray) -> Estimate | None:
    try:
        return dcase.estimate(dcase.auc_2020, clips, score)
    except ScoreError:
        return None
