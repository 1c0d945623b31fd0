"""What is said of each piece that one source gives: a fault of the sensor first, then an alarm, then drift."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from stethos.errors import StethosError
from stethos.study.alarm import Alarm
from stethos.study.drift import Drift, Reference
from stethos.study.keep import Keep, keep_alarm
from stethos.study.persistence import Persistence, hole_seconds
from stethos.study.sensor import SensorLimits, level, sensor_fault
from stethos.study.source import Block, Missing, Source
from stethos.types import Signal

Score = Callable[[np.ndarray], Any]
Prepare = Callable[[Signal], np.ndarray]
Line = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """How the blocks of one source are judged.

    Args:
        alarm: Threshold and persistence.
        reference: Of its normal blocks; None to learn it from the first ones.
        sensor: Beyond which a block says nothing of the machine.
        drift_blocks: Over which the median is taken that may drift.
        learn_blocks: That a reference is learnt from, at the start and after each maintenance.
    """

    alarm: Alarm
    reference: Reference | None = None
    sensor: SensorLimits = field(default_factory=SensorLimits)
    drift_blocks: int = 360
    learn_blocks: int = 1000


@dataclass(frozen=True)
class Model:
    """What scores a block.

    Args:
        prepare: One channel at its own rate → `(B, 1, T)` at 16 kHz, float32, B = 1 for a block of the usual length.
        score: That → anomaly score, higher is more anomalous.
        keep: What is left behind of alarms; None for nothing.
    """

    prepare: Prepare
    score: Score
    keep: Keep | None = None


class Scored(NamedTuple):
    """One block through the sensor's checks and the model.

    Args:
        x: Prepared block `(B, 1, T)`; None where it says nothing of the machine.
        score: Higher is more anomalous; NaN then.
        level: dB of full scale.
        fault: Why it says nothing of the machine; "" where it does.
    """

    x: np.ndarray | None
    score: float
    level: float
    fault: str


def scored(block: Block, model: Model, sensor: SensorLimits) -> Scored:
    """The score of a block, the mean where it makes several windows; or the fault that forbids one."""
    loud = level(block.sound)
    fault = sensor_fault(block.sound, sensor)
    if fault:
        return Scored(None, math.nan, loud, fault)
    try:
        x = np.asarray(model.prepare(block.sound), np.float32)
        x = x.reshape(-1, 1, x.shape[-1])  # (B, 1, T)
        score = float(np.mean(np.asarray(model.score(x), np.float64)))
    except StethosError as error:
        return Scored(None, math.nan, loud, str(error))
    if not math.isfinite(score):
        return Scored(None, math.nan, loud, f"the model's score is {score}, no number")
    return Scored(x, score, loud, "")


class Judging:
    """One source under its rules, with all that must be remembered of it.

    Args:
        name: Of the source.
        model: What scores it.
        rules: How it is judged.
    """

    def __init__(self, name: str, model: Model, rules: Rules) -> None:
        self.name, self.model, self.rules = name, model, rules
        self.persistence = Persistence(rules.alarm.k, rules.alarm.n, rules.alarm.rearm)
        self.drift = Drift(rules.reference, rules.drift_blocks, rules.learn_blocks)
        self.counts: Counter[str] = Counter()
        self.last: str | None = None  # time of the last block
        self._judged_until: float | None = None  # on the time axis of the source
        usual = rules.reference.to_json() if rules.reference else None
        self._told_rules = json.loads(json.dumps({"alarm": rules.alarm.to_json(), "reference": usual}))

    def said(self, piece: Block | Missing, now: float) -> list[Line]:
        """The lines about one piece: one, and one more for each onset of drift."""
        lines = [self._gap(piece, now)] if isinstance(piece, Missing) else self._heard(piece, now)
        self.counts.update(line["status"] for line in lines)
        return lines

    def restart(self, reason: str, now: float) -> list[Line]:
        """Begin anew after maintenance: persistence and the reference of drift are forgotten."""
        self.persistence.forget()
        self.drift.restart()
        self.counts["rebaseline"] += 1
        return [self._line("rebaseline", now, reason=reason)]

    def summary(self, source: Source) -> Line:
        """What a heartbeat says of the source."""
        about: Line = {"counts": dict(self.counts), "last": self.last, "excursion": self.persistence.excursion}
        about |= {"waiting": source.waiting, "finished": source.finished}
        return about if self.drift.learning is None else about | {"learning": self.drift.learning}

    def _line(self, status: str, when: float, **told: Any) -> Line:
        line: Line = {"status": status, "source": self.name, "time": moment(when)}
        return line | {name: value for name, value in told.items() if value not in ("", None)}

    def _gap(self, missing: Missing, now: float) -> Line:
        return self._line("gap", now, file=missing.file, reason=missing.reason, seconds=rounded(missing.seconds))

    def _heard(self, block: Block, now: float) -> list[Line]:
        when = block.start if block.stated else now
        self.last = moment(when)
        found = scored(block, self.model, self.rules.sensor)
        about: Line = {"file": block.file, "offset": round(block.offset, 3)}
        about |= {"left_out": round(block.left_out, 3)} if block.left_out else {}
        about |= {"origin": block.origin} if block.origin != "real" else {}
        about["level"] = rounded(found.level)
        if found.fault:
            return [self._line("sensor", when, reason=found.fault, **about)]
        return self._judged(block, found, self._line("ok", when, **about))

    def _judged(self, block: Block, found: Scored, line: Line) -> list[Line]:
        """The line of a block that has a score, and of what begins to drift with it."""
        alarm = self.rules.alarm
        missing = 0.0 if self._judged_until is None else block.start - self._judged_until
        if missing > hole_seconds(alarm.n, alarm.block_seconds):
            self.persistence.forget()
        # where the next block begins at the usual spacing: what is missing is what lies beyond
        self._judged_until = block.start + alarm.block_seconds
        above = found.score > alarm.threshold
        sounded = self.persistence.see(above)
        line |= {"score": found.score, "above": above, "excursion": self.persistence.excursion}
        if sounded:
            line["status"] = "alarm"
            line |= self._kept(block, found, line)
        onsets = [] if self.persistence.excursion else self.drift.see(found.score, found.level)
        drifting = {"status": "drift", "source": self.name, "time": line["time"]}
        return [line, *({**drifting, "reason": onset} for onset in onsets)]

    def _kept(self, block: Block, found: Scored, line: Line) -> Line:
        """What joins the line of an alarm whose evidence is kept."""
        if self.model.keep is None or found.x is None:
            return {}
        return keep_alarm(self.model.keep, block, found.x, line, datetime.fromisoformat(line["time"]).timestamp())

    def to_json(self) -> dict[str, Any]:
        """What must be remembered, as plain values."""
        return {
            "rules": self._told_rules,
            "persistence": self.persistence.to_json(),
            "drift": self.drift.to_json(),
            "counts": dict(self.counts),
            "last": self.last,
            "judged_until": self._judged_until,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up what `to_json` gave, but for what was remembered under other rules."""
        rules = self._told_rules
        if saved["rules"]["alarm"] == rules["alarm"]:
            self.persistence.restore(saved["persistence"])
        if saved["rules"]["reference"] == rules["reference"]:
            self.drift.restore(saved["drift"])
        self.counts, self.last = Counter(saved["counts"]), saved["last"]
        self._judged_until = saved["judged_until"]


def moment(when: float) -> str:
    """POSIX seconds as a time in UTC, to the millisecond."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")


def rounded(value: float | None) -> float | None:
    """To the millisecond or the hundredth of a decibel, as it is read; None where it is no finite number."""
    return round(value, 2) if value is not None and math.isfinite(value) else None
