"""What a model of the pulse says of one recording, when it must not say anything, and which patches it looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stethos.errors import QualityError
from stethos.report.agreement import attention_picture
from stethos.signal.pulse import pulse_onsets, pulse_rate
from stethos.signal.pulse_quality import pulse_windows
from stethos.study.arms import PRESSURES
from stethos.study.intended import IntendedUse
from stethos.study.pulses import PulseWindows
from stethos.study.task import Score
from stethos.study.validate import sigmoid
from stethos.train.run import read_config
from stethos.train.weights import read_metadata, sha256
from stethos.types import Record, Run, Signal

ADULTS = IntendedUse(leads=())
NO_MEASUREMENT = "an estimate from the shape of the pulse, no measurement of blood pressure"
WITHHELD = "withheld: on the validation part the model was no better than saying the mean"


def judged_pulse(run: Run, score: Score, windows: PulseWindows, record: Record, tasks: Sequence[str]) -> dict[str, Any]:
    """Estimates, decision, quality and the model's hash for one recording.

    Args:
        run: Of `probe` or `train`.
        score: Its model.
        windows: How recordings are cut and judged.
        record: The recording.
        tasks: What the model tells.

    Returns:
        Plain values. The decision is "estimated", or "abstain" with a reason.
    """
    told: dict[str, Any] = {"model": sha256(run.weights)}
    if read_config(run)["origin"] != "real":
        told["warning"] = "the model was trained on a simulated world"
    refused = ADULTS.check(record)
    if refused:
        return {"decision": "abstain", "reason": "; ".join(refused), **told}
    try:
        patches, facts = windows(record)
    except QualityError as error:
        return {"decision": "abstain", "reason": str(error), **told}
    said = score(patches[None])[0]
    held = read_metadata(run.weights)
    points, gates = json.loads(held["thresholds"]), json.loads(held["gates"])
    answers: dict[str, Any] = {}
    for task, value, point in zip(tasks, said.tolist(), points, strict=True):
        answers |= _answer(task, value, point, gates)
    seen = {name: facts[name] for name in ("patches", "patches_used", "pulse_quality", "quality")}
    return {"decision": "estimated", **answers, **seen, **told}


def _answer(task: str, value: float, point: float | None, gates: dict[str, bool]) -> dict[str, Any]:
    """What is said of one task."""
    if task not in gates:  # yes or no
        side = {} if point is None else {f"{task}_decision": "above threshold" if value >= point else "below threshold"}
        return {task: float(sigmoid(np.array(value))), **side}
    if task not in PRESSURES:
        return {task: round(value, 1)}
    if not gates[task]:
        return {task: None, f"{task}_note": WITHHELD}
    return {f"{task}_estimate": round(value, 1), f"{task}_note": NO_MEASUREMENT}


def attended(windows: PulseWindows, record: Record, pulse: nn.Module, out: Path | None) -> Iterator[dict[str, Any]]:
    """Where in a recording its row rests: attention of each patch, the pulse rate in it, and why it was refused.

    Args:
        windows: How recordings are cut and judged.
        record: Of any length.
        pulse: Network with `patches` and `pool`.
        out: File of a picture; None for none.
    """
    lead = record.pick(windows.channel)
    patches, _ = windows(record)
    judged = pulse_windows(lead, windows.seconds, windows.motion_of(record) if windows.motion else None)
    share = _attention(torch.from_numpy(patches)[None], pulse)
    rows = [
        {
            "start": window.start,
            "stop": window.stop,
            "attention": round(float(share[place]), 5) if place < len(share) else 0.0,
            "pulse_rate": _rate(lead, window.start, window.stop) if window.ok else None,
            "refused": window.reason,
        }
        for place, window in enumerate(judged)
    ]
    if out is not None:
        attention_picture(rows, Path(out))
    yield from rows


def _attention(x: Tensor, pulse: Any) -> np.ndarray:
    """Attention of each patch of one recording `(1, P, 2, S)`, `(P,)`."""
    with torch.inference_mode():
        share = pulse.pool.weights(pulse.patches(x), (x[:, :, 1] > 0).any(-1))
        return np.asarray(share[0].numpy())


def _rate(lead: Signal, start: float, stop: float) -> float | None:
    rate = pulse_rate(pulse_onsets(lead.crop(start, stop)), lead.rate)
    return round(rate, 1) if np.isfinite(rate) else None
