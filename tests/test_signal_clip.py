import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stethos.errors import ChannelError, QualityError
from stethos.signal.clip import ClipWindows
from stethos.types import Signal


def sound(values, rate=16_000.0):
    values = np.atleast_2d(np.asarray(values, np.float32))
    return Signal(values, rate, tuple(str(k + 1) for k in range(len(values))), "1")


def tone(seconds, hz=440.0, rate=16_000.0, height=0.1):
    return height * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def test_a_short_clip_is_repeated():
    values = tone(1.0)
    (window,) = ClipWindows(2.5).apply(sound(values))
    np.testing.assert_allclose(window[0], np.concatenate([values, values, values[:8000]]), atol=1e-7)


def test_a_long_clip_gives_windows_end_to_end_and_one_that_ends_with_it():
    values = np.random.default_rng(0).standard_normal(16_000 * 5) * 0.1
    windows = ClipWindows(2.0).apply(sound(values))
    assert windows.shape == (3, 1, 32_000)
    np.testing.assert_allclose(windows[1, 0], values[32_000:64_000], atol=1e-7)
    np.testing.assert_allclose(windows[2, 0], values[-32_000:], atol=1e-7)


def test_a_rest_of_less_than_a_tenth_is_not_heard():
    assert len(ClipWindows(10.0).apply(sound(tone(10.9)))) == 1
    assert len(ClipWindows(10.0).apply(sound(tone(11.1)))) == 2


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 20.0), st.sampled_from([0.5, 1.0, 3.0]))
def test_every_length_gives_whole_windows(seconds, window):
    found = ClipWindows(window).apply(sound(tone(seconds)))
    assert found.shape[1:] == (1, round(window * 16_000))
    assert len(found) >= 1
    assert np.isfinite(found).all()


def test_another_rate_is_resampled():
    (window,) = ClipWindows(1.0).apply(sound(tone(1.0, rate=44_100.0), 44_100.0))
    np.testing.assert_allclose(window[0, 800:-800], tone(1.0)[800:-800], atol=2e-3)


def test_rms_makes_the_level_irrelevant():
    values = np.random.default_rng(1).standard_normal(16_000) * 0.01
    quiet, loud = (ClipWindows(1.0, level="rms").apply(sound(gain * values)) for gain in (1, 7))
    np.testing.assert_allclose(quiet, loud, rtol=1e-4)
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-30, abs=0.01)


def test_the_named_channel_is_heard():
    both = sound(np.stack([tone(1.0, 440), tone(1.0, 880)]))
    np.testing.assert_allclose(ClipWindows(1.0, channel="2").apply(both)[0, 0], tone(1.0, 880), atol=1e-6)
    with pytest.raises(ChannelError, match="needs channel 3"):
        ClipWindows(1.0, channel="3").apply(both)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros(16_000), "all its samples are the same"),
        (np.full(16_000, 0.3), "all its samples are the same"),
        (np.full(16_000, np.nan), "none that are numbers"),
        (np.clip(tone(1.0, height=3.0), -1, 1), "clipped"),
    ],
)
def test_what_a_microphone_made_is_refused(values, words):
    with pytest.raises(QualityError, match=words):
        ClipWindows(1.0).apply(sound(values))
