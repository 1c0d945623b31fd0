"""What a finished model says of one recording, and when it must not say anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from stethos.errors import OriginError, QualityError
from stethos.study.intended import IntendedUse
from stethos.study.lead import LeadWindows, mean_of_windows
from stethos.study.task import Score
from stethos.study.validate import sigmoid
from stethos.train.run import read_config
from stethos.train.weights import sha256
from stethos.types import Record, Run

ADULTS = IntendedUse(leads=())
_UNSCORED = dict.fromkeys(("score", "logit", "quality", "windows", "heart_rate", "not_checked"))


def refuse_simulated(run: Run, record: Record, allowed: bool) -> None:
    """Keep a model of a simulated world away from real people.

    Raises:
        OriginError: The run's origin is not real, the record's is, and it was not allowed.
    """
    if read_config(run)["origin"] != "real" and record.origin == "real" and not allowed:
        raise OriginError(
            f"record {record.id}: a model trained on a simulated world does not score a real person's recording; "
            f"train on real recordings, or pass --allow-synthetic-model to see what it says all the same"
        )


def judged(
    run: Run,
    score: Score,
    threshold: float,
    windows: LeadWindows,
    record: Record,
    use: IntendedUse = ADULTS,
) -> dict[str, Any]:
    """Score, decision, quality and the model's hash for one recording.

    Args:
        run: Of the model.
        score: The model.
        threshold: Its operating point in logits; NaN for a measured target.
        windows: How recordings are cut and prepared.
        record: The recording, with what is known of the person among its facts.
        use: Whom and what the model was made for.

    Returns:
        Plain values. The decision is "above threshold", "below threshold", "measured", or "abstain" with a reason.
    """
    name: dict[str, Any] = {"model": sha256(run.weights)}
    if read_config(run)["origin"] != "real":
        name["warning"] = "the model was trained on a simulated world"
    refused = use.check(record)
    if refused:
        return {**_UNSCORED, "decision": "abstain", "reason": "; ".join(refused), "windows_used": 0, **name}
    try:
        values, facts, weights = windows(record)
    except QualityError as error:
        return {**_UNSCORED, "decision": "abstain", "reason": str(error), "windows_used": 0, **name}
    logit = float(mean_of_windows(score(values), weights)[0])
    seen: dict[str, Any] = {
        "quality": facts["quality"],
        "windows": int(facts["windows"]),
        "windows_used": int(facts["windows_used"]),
        "heart_rate": None if np.isnan(facts["ecg_heart_rate"]) else round(facts["ecg_heart_rate"], 1),
    }
    seen["not_checked"] = use.unchecked(record)
    if np.isnan(threshold):
        return {"score": logit, "decision": "measured", **seen, **name}
    decision = "above threshold" if logit >= threshold else "below threshold"
    return {"score": float(sigmoid(np.array(logit))), "logit": logit, "decision": decision, **seen, **name}
