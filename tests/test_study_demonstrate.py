"""What a demonstration leaves for its report: an alarm, other machines, planted faults."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from stethos.errors import RunError
from stethos.signal.clip import ClipWindows
from stethos.study import demonstrate as demonstration
from stethos.study import enrol, planted, sound_parts
from stethos.study.demonstrate import demonstrate
from stethos.study.detector import Detector, Memory
from stethos.synth.machine import factory
from stethos.synth.plan import Plan
from stethos.train.run import start_run

PLAN = Plan(("fan",), 2, 6, 8, seconds=1.0)


class Bands(nn.Module):
    """Level of eight bands, as a point on a sphere."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()
        edges = np.geomspace(1, 8000, 9).astype(int)
        parts = [power[:, low:high].mean(1) for low, high in pairwise(edges)]
        return nn.functional.normalize((torch.stack(parts, dim=1) + 1e-6).log() + 20, dim=1)


def detector(backend: str = "nearest") -> Detector:
    people = factory(PLAN)
    train = np.flatnonzero(people.rows["split"] == "train")
    windows = np.concatenate([ClipWindows(1.0).apply(people[int(row)].signals[0]) for row in train])
    heard = Bands().embed(torch.from_numpy(windows)).double().numpy()
    held = Memory((heard,), np.repeat([0, 1], 6), np.full(12, ""), people.rows["id"][train],
                  ("fan/id_00", "fan/id_01"), np.arange(2), np.full(2, 1e-3))  # fmt: skip
    return Detector([Bands()], ClipWindows(1.0), held, backend)


def test_it_keeps_an_alarm_that_the_sound_can_support_other_machines_and_every_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(demonstration, "BLOCKS", 64)
    monkeypatch.setattr(demonstration, "COUNTS", (3, 5))
    monkeypatch.setattr(enrol, "COUNTS", (3, 5))
    monkeypatch.setattr(planted, "FAULTS", {"leak": planted.FAULTS["leak"]})
    run = start_run(tmp_path / "run", {"system": "os_scl", "origin": "synthetic"})
    demonstrate(run, detector(), PLAN)
    alarm = sound_parts.kept(run, "alarm")
    assert alarm["machines"]["fan/id_00"]["observed_hours"] == pytest.approx(32 / 3600)
    assert alarm["refused"]["fan/id_00"].startswith("a budget of 0.5 false alarms a week needs 1008 h")
    enrolment = sound_parts.kept(run, "enrolment")
    assert enrolment["counts"] == [3, 5]
    assert [item["n"] for item in enrolment["areas"]["fan"]] == [40, 40]
    audit = sound_parts.kept(run, "audit")
    assert audit["recordings"] == 8  # the normal test recordings of both fans
    assert set(audit["rates"]) == {"leak"}


def test_a_detector_that_asks_its_classes_cannot_enrol_and_is_refused_first(tmp_path):
    run = start_run(tmp_path / "run", {"system": "os_scl", "origin": "synthetic"})
    with pytest.raises(RunError, match="knows only the machines it was trained on"):
        demonstrate(run, detector("own-class"), PLAN)
    assert sound_parts.kept(run, "alarm") is None
