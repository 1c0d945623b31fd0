"""What a finished model says of one recording, and when it must not say anything."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from stethos.errors import ChannelError, OriginError
from stethos.signal.quality import windows
from stethos.study.judge import judged, refuse_simulated
from stethos.study.lead import LeadWindows
from stethos.synth import hospital
from stethos.types import Record, Run, Signal

WINDOWS = LeadWindows("I", "lead-v1")


@pytest.fixture
def run(tmp_path):
    def made(origin: str) -> Run:
        folder = Run(tmp_path)
        folder.config.write_text(json.dumps({"origin": origin}))
        folder.weights.write_bytes(b"weights")
        return folder

    return made


@pytest.fixture(scope="module")
def record() -> Record:
    return replace(hospital(1, seed=0)[0], origin="real")


def logits(*values: float):
    """A model that gives the windows of a recording these logits."""
    return lambda windows: np.array(values)[:, None]


def longer(record: Record, *parts: np.ndarray) -> Record:
    lead = record.signals[0]
    return replace(record, signals=(replace(lead, values=np.concatenate([lead.values, *parts], axis=1)),))


@pytest.mark.parametrize(
    ("logit", "threshold", "decision"),
    [
        (np.log(3), 0.0, "above threshold"),
        (np.log(3), 1.2, "below threshold"),
        (np.log(3), np.log(3), "above threshold"),  # at the threshold is flagged, as in validation
    ],
)
def test_a_logit_becomes_a_chance_and_a_decision(run, record, logit, threshold, decision):
    said = judged(run("real"), logits(logit), threshold, WINDOWS, record)
    assert said["score"] == pytest.approx(0.75)
    assert said["logit"] == logit
    assert said["decision"] == decision
    assert said["model"] == hashlib.sha256(b"weights").hexdigest()[:16]
    assert (said["windows"], said["windows_used"], said["quality"]) == (1, 1, "ok")
    assert "warning" not in said


def test_the_score_is_the_mean_over_usable_windows(run, record):
    lead = record.signals[0].values
    said = judged(run("real"), logits(1.0, 2.0), 0.0, WINDOWS, longer(record, 0 * lead, lead))
    assert said["logit"] == 1.5
    assert (said["windows"], said["windows_used"], said["quality"]) == (3, 2, "ok, flat, ok")


def test_a_window_weighs_as_much_as_its_quality(run, record):
    lead = record.signals[0]
    mixed = longer(record, lead.values + np.random.default_rng(0).normal(0, 0.1, lead.values.shape))
    first, second = (window.score for window in windows(mixed.signals[0]))
    assert 0.5 < second < first
    said = judged(run("real"), logits(1.0, 3.0), 0.0, WINDOWS, mixed)
    assert said["logit"] == pytest.approx((first + 3 * second) / (first + second))
    assert said["logit"] < 1.99


def test_a_measured_target_has_neither_chance_nor_threshold(run, record):
    said = judged(run("real"), logits(4.8), float("nan"), WINDOWS, record)
    assert (said["score"], said["decision"]) == (4.8, "measured")
    assert "logit" not in said


def test_what_cannot_be_judged_is_not_scored(run, record):
    flat = replace(record, signals=(Signal(np.zeros((1, 5000)), 500.0, ("I",), "mV"),))
    said = judged(run("synthetic"), lambda _: pytest.fail("scored"), 0.0, WINDOWS, flat)
    assert (said["decision"], said["reason"], said["windows_used"]) == ("abstain", "no usable window: flat", 0)
    assert said["warning"] == "the model was trained on a simulated world"
    assert said["score"] is None
    assert said["logit"] is None


def test_a_missing_lead_is_an_error_and_no_abstention(run, record):
    with pytest.raises(ChannelError, match="needs channel V5; it has I"):
        judged(run("real"), logits(0.0), 0.0, replace(WINDOWS, lead="V5"), record)


GAP = np.full((1, 10_000), np.nan, np.float32)


@pytest.mark.parametrize("parts", [(), (GAP,)])
def test_every_answer_is_plain_json(run, record, parts):
    said = judged(run("real"), logits(0.3), 0.0, WINDOWS, longer(record, *parts))
    assert json.loads(json.dumps(said, allow_nan=False)) == said


@pytest.mark.parametrize("world", ["synthetic", "generated"])
def test_a_model_of_a_simulated_world_sees_no_real_person_unless_allowed(run, record, world):
    with pytest.raises(OriginError, match=f"record {record.id}: .*--allow-synthetic-model"):
        refuse_simulated(run(world), record, allowed=False)
    refuse_simulated(run(world), record, allowed=True)
    refuse_simulated(run(world), replace(record, origin="synthetic"), allowed=False)
    assert judged(run(world), logits(0.0), 0.0, WINDOWS, record)["warning"]


def test_a_model_of_real_people_sees_everybody(run, record):
    refuse_simulated(run("real"), record, allowed=False)
    refuse_simulated(run("real"), replace(record, origin="synthetic"), allowed=False)
