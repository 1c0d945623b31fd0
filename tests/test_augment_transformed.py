"""Copies of a clip have the pitch, the pace and the gap that their names say."""

import itertools
import math
from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import resample_poly, welch
from torch import Tensor

from stethos.augment.transformed import COPIES, pitch, tempo, transformed

RATE, T = 16000, 80_000


def tone(hertz: float) -> Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(T, dtype=torch.float64) / RATE).view(1, 1, -1)


def noise() -> Tensor:
    return torch.randn(1, 1, T, generator=torch.Generator().manual_seed(0))


def clicks(period: int, samples: int = T) -> Tensor:
    wave = torch.zeros(1, 1, samples)
    wave[..., period // 2 :: period] = 1
    return wave


def machine() -> Tensor:
    """A hum with harmonics, a knock twice a second, noise."""
    hum = sum(tone(49.7 * n) / n for n in range(1, 60))
    return (hum + 2 * clicks(8000) + 0.1 * noise()).float()


def peak(wave: Tensor) -> float:
    """The loudest frequency, Hz."""
    middle = wave.flatten()[4000:44_000]
    power = torch.fft.rfft(middle * torch.hann_window(len(middle)), n=16 * RATE).abs()
    return power.argmax().item() / 16


def decibels(after: Tensor, before: Tensor) -> float:
    return 20 * math.log10(after[..., 4000:44_000].std() / before[..., 4000:44_000].std())


@pytest.mark.parametrize(("semitones", "hertz"), [(2, 1122.46), (-2, 890.90), (12, 2000), (-12, 500), (0.5, 1029.30)])
def test_a_tone_is_heard_at_the_asked_pitch_and_as_loud(semitones: float, hertz: float):
    high = pitch(tone(1000), semitones)
    assert peak(high) == pytest.approx(hertz, abs=0.3)
    assert decibels(high, tone(1000)) == pytest.approx(0, abs=0.01)


def test_a_pitched_tone_is_the_tone_of_that_frequency_sample_by_sample():
    ratio = 55 / 49  # 12 ppm from two semitones
    assert ratio == pytest.approx(2 ** (2 / 12), rel=2e-5)
    got, want = pitch(tone(1000), 2), tone(1000 * ratio)
    assert (got - want)[..., 100:70_000].abs().max() < 1e-3


def test_pitch_resamples_as_scipy_does():
    wave = noise().double()
    want = resample_poly(wave[0, 0].numpy(), 49, 55, window=("kaiser", 5.0))
    _, got = welch(pitch(wave, 2)[0, 0, 100:70_000].numpy(), RATE, nperseg=512)
    hertz, want = welch(want[100:70_000], RATE, nperseg=512)
    within = (hertz > 100) & (hertz < 6000)
    assert np.abs(10 * np.log10(got[within] / want[within])).max() < 0.1


def test_a_tone_that_would_pass_half_the_rate_does_not_fold_back():
    assert decibels(pitch(tone(7500), 2), tone(7500)) < -60
    assert decibels(pitch(tone(7500), -2), tone(7500)) < 0


def test_a_pitched_clip_that_runs_out_begins_anew():
    wave = clicks(T)  # one click, in the middle
    fast, slow = pitch(wave, 12)[0, 0], pitch(wave, -12)[0, 0]
    assert fast.topk(2).indices.sort().values.tolist() == [T // 4, T // 4 * 3]
    assert slow[: T - 100].abs().max() < 0.1


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2])
def test_a_change_of_tempo_keeps_the_pitch_and_the_loudness_of_a_tone(factor: float):
    wave = tone(1000.3).float()
    paced = tempo(wave, factor)
    assert peak(paced[..., : int(T / max(1, factor))]) == pytest.approx(1000.3, abs=0.3)
    assert decibels(paced, wave) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_tempo_of_two_halves_the_spacing_of_clicks(factor: float):
    loud = tempo(clicks(8192, 81_920), factor)[0, 0].abs()
    period = int(8192 / factor)
    frames = loud.view(-1, 256).amax(1)
    at = (frames > frames.max() / 2).nonzero().flatten().float() * 256
    starts = torch.cat([at[:1], at[1:][at.diff() > period / 2]])
    assert starts.diff().tolist() == pytest.approx([period] * (len(starts) - 1), abs=512)
    assert len(starts) == round(81_920 / period)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_clicks_are_within_a_hop_of_where_the_tempo_has_them(factor: float):
    loud = tempo(clicks(8000), factor)[0, 0].abs()
    for event in torch.arange(4000, T, 8000)[:4] / factor:
        near = loud[int(event) - 3000 : int(event) + 3000]
        assert abs(near.argmax().item() - 3000) <= 512


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_change_of_tempo_keeps_the_long_term_spectrum(factor: float):
    assert decibels(tempo(noise(), factor), noise()) == pytest.approx(0, abs=1)
    wave = machine()
    before, after = (
        librosa.power_to_db(librosa.feature.melspectrogram(y=x[0, 0].numpy(), sr=RATE).mean(1))
        for x in (wave, tempo(wave, factor))
    )
    assert np.abs(after - before).max() < 2


def test_a_change_of_tempo_is_nearer_to_the_clip_s_sound_than_a_plain_phase_vocoder():
    plain = torch.from_numpy(librosa.effects.time_stretch(noise()[0, 0].numpy(), rate=1.25))
    assert decibels(plain, noise()) < -3
    assert decibels(tempo(noise(), 1.25), noise()) > -1


@pytest.mark.parametrize("copy", COPIES, ids=lambda copy: copy.name)
def test_each_copy_keeps_the_shape_silence_and_scale(copy):
    wave = machine()
    y = copy.apply(wave)
    assert (y.shape, y.dtype) == (wave.shape, wave.dtype)
    assert torch.equal(copy.apply(torch.zeros(2, 1, 3000)), torch.zeros(2, 1, 3000))
    assert torch.allclose(copy.apply(2 * wave), 2 * y, atol=1e-4)
    assert torch.equal(copy.apply(wave), y)
    assert decibels(y, wave) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("change", [lambda x: pitch(x, 2), lambda x: pitch(x, -2), lambda x: tempo(x, 1.25)])
def test_a_silent_half_leaves_no_trace_in_the_other(change: Callable[[Tensor], Tensor]):
    wave = torch.cat([torch.zeros(1, 1, T), machine()], dim=-1)
    assert torch.equal(change(wave)[..., 2048 : T // 2], torch.zeros(1, 1, T // 2 - 2048))
    assert change(wave)[..., T:].std() > 0.5


def test_the_clip_itself_is_the_first_copy_and_no_two_sound_alike():
    sounds = [
        librosa.power_to_db(librosa.feature.melspectrogram(y=copy.apply(machine())[0, 0].numpy(), sr=RATE))
        for copy in COPIES
    ]
    assert torch.equal(COPIES[0].apply(machine()), machine())
    assert len({copy.name for copy in COPIES}) == len(COPIES)
    assert min(np.abs(one - other).mean() for one, other in itertools.combinations(sounds, 2)) > 1


def test_each_clip_becomes_the_copy_that_its_number_names():
    wave, kind = machine().repeat(8, 1, 1), torch.tensor([3, 0, 5, 1, 2, 4, 0, 3])
    y = transformed(wave, kind)
    for row, number in zip(y, kind.tolist(), strict=True):
        assert torch.allclose(row, COPIES[number].apply(machine())[0], atol=1e-5)
    assert torch.equal(y[1], machine()[0])


def test_the_stopped_copy_has_no_sound_between_its_two_frequencies():
    (stop,) = (copy for copy in COPIES if copy.name == "without 1 to 2 kHz")
    assert decibels(stop.apply(tone(1500)), tone(1500)) < -40
    assert decibels(stop.apply(tone(700)), tone(700)) == pytest.approx(0, abs=0.1)
    assert decibels(stop.apply(tone(2500)), tone(2500)) == pytest.approx(0, abs=0.1)
