"""Occlusion of sounds: planted bursts are found, what is usual stays, and what a score ignores is worth nothing."""

import numpy as np
import pytest

from stethos.errors import ChannelError, QualityError, RecipeError, ScoreError
from stethos.explain.map import OcclusionMap, Region, driving_region, occlude
from stethos.explain.patches import Patches, usual_levels

RATE = 16000
HERTZ = np.array([0, 1000, 2000, 4000, 8000.0])


def noise(seed=0, seconds=4.0, rate=RATE):
    """Plain noise, float32 `(1, T)`."""
    return np.random.default_rng(seed).normal(0, 0.05, (1, round(seconds * rate))).astype(np.float32)


def tone(hertz, start, stop, seconds=4.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * time) * ((time >= start) & (time < stop)))[None].astype(np.float32)


def level(x, low, high, start, stop, rate=RATE):
    """Power between two frequencies and two times, dB, `(N,)`."""
    cut = x[:, 0, round(start * rate) : round(stop * rate)].astype(np.float64)
    power = np.abs(np.fft.rfft(cut)) ** 2
    hertz = np.fft.rfftfreq(cut.shape[1], 1 / rate)
    return 10 * np.log10(power[:, (hertz >= low) & (hertz < high)].mean(axis=1))


NORMALS = np.stack([noise(seed) for seed in range(10, 18)])


def test_a_burst_is_found_where_it_was_planted():
    x = noise() + tone(3000, 1, 2)
    found = occlude(lambda shown: level(shown, 2900, 3100, 0, 4), x, RATE, hertz=HERTZ)
    region = driving_region(found)
    assert region[:4] == (2000, 4000, 1, 2)
    assert region.share > 0.95
    assert found.names[np.argmax(found.values)] == "2–4 kHz, 1–2 s"
    assert found.baseline == "the rest of the clip"


def test_a_burst_over_two_pieces_is_one_region():
    x = noise() + tone(3000, 1, 3)
    usual = usual_levels(NORMALS, RATE)
    found = occlude(lambda shown: 10 ** (level(shown, 2900, 3100, 0, 4) / 10), x, RATE, usual=usual, hertz=HERTZ)
    assert driving_region(found)[:4] == (2000, 4000, 1, 3)


def test_a_patch_that_the_score_does_not_hear_is_worth_nothing():
    x = noise() + tone(3000, 1, 2)
    deaf = occlude(lambda shown: np.abs(shown[:, 0, : RATE // 2]).max(axis=1), x, RATE, hertz=HERTZ)
    assert (deaf.values[:, 1:] == 0).all()  # the score ends at 0.5 s
    low = occlude(lambda shown: level(shown, 100, 900, 1.1, 1.9), x, RATE, hertz=HERTZ)
    assert np.abs(low.values[2:]).max() < 1e-3  # dB; nothing of 2 to 8 kHz is heard
    assert driving_region(occlude(lambda shown: np.ones((len(shown), 1)), x, RATE)) is None


def test_a_fault_that_never_stops_needs_normal_recordings():
    x = noise() + tone(3000, 0, 4)

    def score(shown):
        return 10 ** (level(shown, 2900, 3100, 0, 4) / 10)

    against_normals = occlude(score, x, RATE, usual=usual_levels(NORMALS, RATE), hertz=HERTZ)
    assert driving_region(against_normals)[:4] == (2000, 4000, 0, 4)
    assert against_normals.baseline == "what is usual in normal recordings"
    against_itself = occlude(score, x, RATE, hertz=HERTZ)
    assert np.abs(against_itself.values).max() < 0.05 * against_normals.values.max()


def test_a_patch_that_is_usual_keeps_its_level_and_a_burst_falls_to_it():
    quiet, loud = noise(), noise() + tone(3000, 1, 2)
    for usual in (None, usual_levels(NORMALS, RATE)):
        here = [Patches.of(x, RATE, usual, HERTZ).occluded(2, 1)[None] for x in (quiet, loud)]
        before = level(quiet[None], 2000, 4000, 1.1, 1.9)[0]
        assert level(loud[None], 2000, 4000, 1.1, 1.9)[0] - before > 10
        assert [level(x, 2000, 4000, 1.1, 1.9)[0] for x in here] == pytest.approx([before, before], abs=0.5)


def test_a_missing_sound_is_filled_in():
    usual = usual_levels(NORMALS, RATE)
    silent = noise()
    silent[:, RATE : 2 * RATE] *= 0.01
    filled = Patches.of(silent, RATE, usual, HERTZ).occluded(2, 1)[None]
    hole, full, usually = (level(x, 2000, 4000, 1.1, 1.9)[0] for x in (silent[None], filled, noise()[None]))
    assert hole == pytest.approx(usually - 40)
    assert full == pytest.approx(usually, abs=1)


def test_analysis_and_synthesis_leave_the_sound_as_it_was():
    x = noise(seconds=3.21)
    silence = np.zeros((513, 100))  # every patch taken away leaves nothing: the changes add up to the whole sound
    patches = Patches.of(x, RATE, silence, HERTZ)
    changes = [patches.occluded(f, p).astype(float) - x for f in range(4) for p in range(len(patches.seconds) - 1)]
    assert np.abs(x + np.sum(changes, axis=0)).max() < 1e-6


def test_a_steady_sound_is_usual_everywhere():
    steady = np.ones((1, 3 * RATE)) + tone(1000, 0, 3, 3.0)
    found = Patches.of(steady, RATE, None, HERTZ)
    assert max(np.abs(found.occluded(band, 1) - steady).max() for band in range(4)) < 1e-6


def test_only_the_patch_and_the_width_of_a_window_around_it_change():
    x = noise()
    change = Patches.of(x, RATE, np.zeros((513, 100)), HERTZ).occluded(2, 1) - x
    where = np.flatnonzero(change[0]) / RATE
    assert 1 - 0.064 < where.min() < 1
    assert 2 < where.max() < 2 + 0.064
    power = np.abs(np.fft.rfft(change[0].astype(float))) ** 2
    hertz = np.fft.rfftfreq(change.shape[1], 1 / RATE)
    assert power[(hertz > 1900) & (hertz < 4100)].sum() > 0.999 * power.sum()


def test_every_bin_lies_in_one_patch_up_to_the_ends():
    for seconds in (3.0, 3.4, 3.6):
        patches = Patches.of(noise(seconds=seconds), RATE)
        assert patches.bands.min() == 0
        assert patches.bands.max() == 6
        assert patches.pieces.min() == 0
        assert patches.seconds[-1] == seconds
        assert np.diff(patches.seconds).min() >= 0.5
    assert Patches.of(noise(rate=8000), 8000).hertz.tolist() == [0, 500, 1000, 2000, 3000, 4000]


def test_the_score_is_asked_for_some_waveforms_at_a_time():
    asked = []

    def score(shown):
        asked.append(shown.shape)
        assert shown.dtype == np.float32
        return shown[:, :, 0]

    found = occlude(score, noise(), RATE)
    assert asked == [(1, 1, 4 * RATE), (16, 1, 4 * RATE), (12, 1, 4 * RATE)]
    assert found.values.shape == (7, 4)
    assert len(found.names) == 28


def test_a_region_is_joined_patches_of_half_the_peak_and_its_share():
    values = np.array([[0, 4, 3, 0], [0, 1, 2, -9], [2, 0, 0, 0.0]])
    found = OcclusionMap(values, np.array([0, 500, 1000, 8000]), np.arange(5), 7.0, "")
    assert driving_region(found) == Region(0, 1000, 1, 3, 10 / 12)
    assert found.names[:2] == ("0–0.5 kHz, 0–1 s", "0–0.5 kHz, 1–2 s")
    assert driving_region(OcclusionMap(-np.abs(values), found.hertz, found.seconds, 7.0, "")) is None


def test_usual_levels_are_the_median_over_recordings_of_each_ones_quantiles():
    tones = np.stack([tone(1000, 0, 1, 1.0) * loudness for loudness in (1, 2, 100)])
    levels = usual_levels(tones, RATE)
    assert levels.shape == (513, 100)
    assert (np.diff(levels, axis=1) >= 0).all()
    middle = levels[64, 50]  # 1000 Hz; a Hann window halves what 1024 samples add up to, and a sine has two sides
    assert middle == pytest.approx(2 * 0.3 * 1024 / 4, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": np.zeros((2, RATE))}, ChannelError, "one channel"),
        ({"x": np.zeros(RATE)}, ChannelError, "one channel"),
        ({"x": np.zeros((1, 500))}, QualityError, "0.08 s"),
        ({"hertz": np.array([100, 105.0])}, RecipeError, "rising edges"),
        ({"hertz": np.array([2000, 1000, 3000.0])}, RecipeError, "rising edges"),
        ({"hertz": np.array([1000.0])}, RecipeError, "rising edges"),
        ({"seconds": np.array([0, 1, 5, 6.0])}, RecipeError, "inside of the sound"),
        ({"seconds": np.array([0, 4.0])}, RecipeError, "no rest"),
        ({"usual": np.zeros((257, 100))}, RecipeError, "513 bins; got 257"),
        ({"score": lambda x: np.full(len(x), np.nan)}, ScoreError, "not finite"),
        ({"score": lambda x: np.zeros((len(x), 2))}, ScoreError, "pick one"),
    ],
)
def test_what_cannot_be_occluded_is_said(change, error, words):
    given = {"score": lambda x: x[:, 0, 0], "x": noise(), "rate": RATE} | change
    with pytest.raises(error, match=words):
        occlude(**given)


def test_usual_levels_need_a_recording():
    with pytest.raises(QualityError, match="normal recording"):
        usual_levels(np.zeros((0, 1, RATE)), RATE)
    with pytest.raises(QualityError, match="normal recording"):
        usual_levels(np.zeros((3, 1, 100)), RATE)


@pytest.mark.parametrize("length", [0.2, 1.0, 1.4])
def test_a_sound_too_short_for_two_pieces_is_taken_in_halves(length: float):
    time = np.arange(round(length * RATE)) / RATE
    late = np.where(time > length / 2, np.sin(2 * np.pi * 5000 * time), 0.0)
    sound = (0.01 * np.random.default_rng(0).standard_normal(len(time)) + 0.1 * late)[None]
    found = occlude(lambda x: np.abs(np.fft.rfft(x[:, 0]))[:, round(5000 * length)], sound, RATE)
    assert found.seconds.tolist() == pytest.approx([0, length / 2, length])
    region = driving_region(found)
    assert (region.low, region.high, region.start) == (4000, 6000, pytest.approx(length / 2))
