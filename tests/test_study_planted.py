"""Faults of known severity in normal sound: the louder, the fewer are missed, and none is none."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from stethos.metrics.interval import proportion
from stethos.signal.clip import ClipWindows
from stethos.study.detector import Detector, Memory
from stethos.study.planted import SEVERITIES, Sound, miss_rates
from stethos.synth.faults import FAULTS
from stethos.synth.machine import factory
from stethos.synth.plan import Plan


class Bands(nn.Module):
    """Level of eight bands, as a point on a sphere: it hears whatever changes the colour of a sound."""

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        power = torch.fft.rfft(x[:, 0]).abs().square()[:, :8000]
        edges = np.geomspace(1, 8000, 9).astype(int)
        parts = [power[:, low:high].mean(1) for low, high in pairwise(edges)]
        return nn.functional.normalize(torch.stack(parts, dim=1).log() + 20, dim=1)


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """Normal fans, `(N, 1, T)`."""
    people = factory(Plan(("fan",), 1, 34, 4, seconds=1.0))
    return np.concatenate([ClipWindows(1.0).apply(people[row].signals[0]) for row in range(34)])


@pytest.fixture(scope="module")
def detector(windows) -> Detector:
    """Knows the first twenty; its threshold is the median of the others, so that half of them are above it."""
    heard = Bands().embed(torch.from_numpy(windows)).double().numpy()
    held = Memory((heard[:20],), np.zeros(20, int), np.full(20, ""), np.arange(20).astype(str), ("fan/id_00",),
                  np.zeros(1, int), np.zeros(1))  # fmt: skip
    speaks = Detector([Bands()], ClipWindows(1.0), held, "nearest")
    limit = float(np.median(speaks.scores_of(windows[20:])))
    return speaks.remembering(held.with_machine("fan/id_00", [heard[:20]], limit))


@pytest.fixture(scope="module")
def sounds(windows) -> list[Sound]:
    """The others; two of each source."""
    return [Sound(window[None], "fan/id_00", str(number // 2)) for number, window in enumerate(windows[20:])]


@pytest.fixture(scope="module")
def rates(detector, sounds):
    return miss_rates(detector, sounds, (6.0, 20.0))


def test_without_a_fault_the_share_missed_is_that_of_the_normals_below_the_threshold(detector, sounds, rates):
    score = np.array([detector.scores_of(sound.windows)[0] for sound in sounds])
    below = (score <= detector.memory.threshold[0]).astype(float)
    want = proportion(below, np.array([sound.subject for sound in sounds]))
    assert 0 < want.value < 1
    for fault in FAULTS:
        assert rates[fault]["0 dB"] == want


def test_every_fault_is_planted_at_every_severity_and_sources_are_counted(detector, sounds, rates):
    found = miss_rates(detector, sounds[:1])
    assert set(found) == set(FAULTS)
    for row in found.values():
        assert list(row) == ["0 dB", *(f"{severity:g} dB" for severity in SEVERITIES)]
    assert {item.n for row in rates.values() for item in row.values()} == {7}


def test_a_louder_fault_is_missed_less_often(rates):
    for row in rates.values():
        missed = [item.value for item in row.values()]
        assert missed[-1] < missed[0]
    assert rates["leak"]["20 dB"].value == 0
    means = np.mean([[item.value for item in row.values()] for row in rates.values()], axis=0)
    assert (np.diff(means) <= 0.02).all()


def test_the_same_seed_plants_the_same_faults_and_another_others(detector, sounds):
    few = sounds[:6]
    first, again, other = (miss_rates(detector, few, (6.0,), seed) for seed in (0, 0, 1))
    assert first == again
    assert list(first["leak"]) == ["0 dB", "6 dB"]
    assert {fault: row["0 dB"] for fault, row in first.items()} == {fault: row["0 dB"] for fault, row in other.items()}


def test_a_recording_of_several_windows_is_judged_by_their_mean(detector, sounds):
    long = Sound(np.concatenate([sound.windows for sound in sounds[:4]]), "fan/id_00", "x")
    heard = np.mean(Bands().embed(torch.from_numpy(long.windows)).double().numpy(), axis=0)
    missed = detector.judge([heard[None]], 0)[0] <= detector.memory.threshold[0]
    assert miss_rates(detector, [long], ())["leak"]["0 dB"].value == float(missed)
