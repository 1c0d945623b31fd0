"""Faults of the microphone, and slow change of what is usual."""

import json

import numpy as np
import pytest

from stethos.errors import QualityError
from stethos.io import read
from stethos.study.drift import Drift, Reference, reference_of
from stethos.study.sensor import SensorLimits, level, sensor_fault
from stethos.types import Signal

RATE = 16_000.0
TIME = np.arange(16_000) / RATE
HUM = 0.1 * np.sin(2 * np.pi * 120 * TIME)


def sound(values: np.ndarray, rate: float = RATE) -> Signal:
    return Signal(np.asarray(values, np.float32)[None], rate, ("1",), "1")


def test_the_level_of_a_sine_is_three_decibels_below_its_peak():
    assert level(sound(np.sin(2 * np.pi * 100 * TIME))) == pytest.approx(-3.01, abs=0.01)
    assert level(sound(0.3 + HUM)) == pytest.approx(-23.01, abs=0.01)  # the mean is no sound
    assert level(sound(np.zeros(10))) == -np.inf
    assert np.isnan(level(sound([])))
    assert np.isnan(level(sound([0.1, np.nan])))


def held(values: np.ndarray, start: int, stop: int) -> np.ndarray:
    return np.concatenate([values[:start], np.full(stop - start, values[start]), values[stop:]])


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (np.zeros(16_000), "dead: every sample is 0 of full scale"),
        (np.full(16_000, -1.0), "dead: every sample is -1 of full scale"),
        (1e-5 * HUM, "dead: -123.0 dB of full scale, needs -80"),
        (np.clip(30 * HUM, -1, 1), "clipped: 78.5% of the samples are at full scale, 2.0% may be"),
        (0.4 + HUM, "offset: the mean is 0.40 of full scale, 0.25 may be"),
        (np.where(TIME == 0.5, np.nan, HUM), "1 of 16000 samples are no numbers"),
        (np.where(TIME < 0.001, np.inf, HUM), "16 of 16000 samples are no numbers"),
        (held(HUM, 8000, 12_000), "stuck: the signal stands still for 25.0% of the block, 1.0% may be"),
        ([], "0 of 0 samples are no numbers"),
        (HUM, ""),
        (HUM + 0.2, ""),
        (held(HUM, 8000, 8300), ""),  # 19 ms
    ],
)
def test_each_fault_of_a_microphone_is_told(values, fault):
    assert sensor_fault(sound(values), SensorLimits()) == fault


def test_a_rate_below_what_the_network_hears_at_is_a_fault():
    assert sensor_fault(sound(HUM, 8000), SensorLimits()) == "wrong rate: 8000 Hz, needs at least 16000"
    assert sensor_fault(sound(HUM, 44_100), SensorLimits()) == ""
    only = SensorLimits(rates=(16_000, 16_000))
    assert sensor_fault(sound(HUM, 44_100), only) == "wrong rate: 44100 Hz, needs 16000"
    assert sensor_fault(sound(HUM, 15_999.7), only) == ""


@pytest.mark.realdata
def test_no_real_recording_is_taken_for_a_fault(real):
    files = sorted((real / "sound").rglob("*.wav"))
    assert len(files) > 50
    faults = {path.name: sensor_fault(read(path).pick("1"), SensorLimits()) for path in files}
    assert {name: fault for name, fault in faults.items() if fault} == {}


NORMAL = np.random.default_rng(0).standard_normal((5000, 2)) * [1.0, 2.0] + [3.0, -40.0]  # score, level


def onsets(drift: Drift, blocks: np.ndarray) -> list[tuple[int, str]]:
    return [(i, said) for i, (score, loud) in enumerate(blocks) for said in drift.see(score, loud)]


def higher(count: int, score: float) -> np.ndarray:
    """Normal blocks with a higher score."""
    return NORMAL[:count] + np.array([score, 0.0])


def reference() -> Reference:
    return reference_of(*NORMAL.T)


def test_a_reference_holds_the_quantiles_of_normal_blocks():
    found = reference()
    assert found.score == pytest.approx([3 - 2.326, 3 - 1.645, 3 + 1.645, 3 + 2.326], abs=0.1)
    assert found.level == pytest.approx([-44.65, -43.29, -36.71, -35.35], abs=0.2)
    assert Reference.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(QualityError, match="at least 100 judged blocks; got 99"):
        reference_of(NORMAL[:150, 0] + np.where(np.arange(150) < 51, np.nan, 0), NORMAL[:150, 1])


def test_a_slow_rise_is_said_once_and_again_only_after_it_came_back():
    slow = NORMAL[:3000].copy()
    slow[500:2000, 0] += np.linspace(0, 6, 1500)
    slow[2000:2600, 0] += 6
    again = np.concatenate([slow, NORMAL[:500], higher(500, 4)])
    said = onsets(Drift(reference(), window=100), again)
    assert len(said) == 2
    # the rise passes 2.33 SD at block 1082, and the median of 100 blocks 50 later
    assert 1100 < said[0][0] < 1200
    assert said[0][1].startswith("the median score of 100 blocks is 5.3")
    assert 3500 < said[1][0] < 3600


def test_a_microphone_that_moved_is_told_by_the_level():
    quieter = NORMAL[:1000] - np.where(np.arange(1000)[:, None] > 500, [0.0, 6.0], 0.0)
    (said,) = onsets(Drift(reference(), window=100), quieter)
    assert said[1].startswith("the median level of 100 blocks is -4")


def test_normal_sound_does_not_drift_even_where_blocks_resemble_their_neighbours():
    assert onsets(Drift(reference(), window=100), NORMAL) == []
    fresh = np.random.default_rng(1).standard_normal((20_000, 2))
    walk = np.zeros_like(fresh)
    for i in range(1, len(walk)):
        walk[i] = 0.995 * walk[i - 1] + np.sqrt(1 - 0.995**2) * fresh[i]  # it forgets in 200 blocks
    drift, outside = Drift(reference_of(*walk[:10_000].T), window=100), 0
    for score, loud in walk[10_000:]:
        drift.see(score, loud)
        outside += drift.to_json()["outside"]["score"]
    assert outside / 10_000 < 0.06  # 4 % at most by Markov's bound, and what hysteresis adds


def test_without_a_reference_the_first_blocks_are_normal():
    drift = Drift(None, window=50, learn=500)
    assert drift.learning == 0
    assert onsets(drift, NORMAL[:499] + 100) == []
    assert drift.learning == 499
    drift.see(100.0, 60.0)
    assert drift.learning is None
    assert len(onsets(drift, NORMAL[:60])) == 2  # 100 lower, in score and level
    with pytest.raises(QualityError, match="at least 100"):
        Drift(None, learn=99)


def test_what_drift_remembers_survives_json():
    blocks = np.concatenate([NORMAL[:300], NORMAL[:300] + 5])
    for at in (0, 50, 150, 320, 400):
        first, second = Drift(None, 50, 200), Drift(None, 50, 200)
        said = onsets(first, blocks[:at])
        second.restore(json.loads(json.dumps(first.to_json())))
        said += [(i + at, each) for i, each in onsets(second, blocks[at:])]
        assert said == onsets(Drift(None, 50, 200), blocks)


def test_after_maintenance_it_learns_anew():
    drift = Drift(reference(), window=50, learn=200)
    assert len(onsets(drift, higher(100, 5))) == 1
    drift.restart()
    assert onsets(drift, higher(1000, 5)) == []
    assert len(onsets(drift, NORMAL[:100])) == 1
