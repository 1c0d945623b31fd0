"""Spectrograms change as power does, where they may and nowhere else."""

import librosa
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from stethos.augment import draws
from stethos.augment.spectrum import (
    FLOOR,
    Band,
    band_gain,
    band_noise,
    band_replace,
    log_mixup,
    random_resize_crop,
    segments,
)
from stethos.errors import QualityError, RecipeError

B, BANDS, FRAMES = 4, 128, 60
ROWS = torch.arange(B)
HERTZ = torch.from_numpy(librosa.mel_frequencies(BANDS + 2, fmin=0, fmax=8000)[1:-1])
LAST = 1 - 2**-24


def clips(seed: int = 0) -> Tensor:
    """Spectrograms between the floor and 20 dB, one of them silent."""
    mel = FLOOR + 120 * torch.rand(B, BANDS, FRAMES, generator=torch.Generator().manual_seed(seed))
    mel[1] = FLOOR
    return mel


def log_mel(wave: np.ndarray) -> Tensor:
    power = librosa.feature.melspectrogram(
        y=wave, sr=16000, n_fft=2048, hop_length=512, n_mels=BANDS, fmax=8000, pad_mode="constant"
    )
    return torch.from_numpy(10 * np.log10(np.maximum(power, 1e-10)))[None].float()


def changed(name: str, mel: Tensor, u: Tensor, band: Band) -> Tensor:
    match name:
        case "gain":
            return band_gain(mel, u, band, 12)
        case "noise":
            return band_noise(mel, u, draws.normal(0, 0, ROWS[: len(mel)], tuple(mel.shape[1:])), band, 2)
    return band_replace(mel, u, clips(1)[: len(mel)], band, 1)


changes = pytest.mark.parametrize("name", ["gain", "noise", "replace"])


def test_cut_offs_are_log_uniform_between_the_two_and_a_band_at_the_cut_off_is_above_it():
    band = Band(torch.tensor([999.0, 1000.0, 1999.0, 2001.0, 3999.0, 4000.0]), 1000, 4000)
    inside = band.inside(torch.tensor([[0.0], [0.5], [1.0]]))
    assert inside.shape == (3, 6, 1)
    assert inside.sum((1, 2)).tolist() == [5, 3, 1]
    u = draws.uniform(0, 0, torch.arange(2000), 1)
    fine = torch.logspace(3, np.log10(4000), 1001, dtype=torch.float64)
    lowest = fine[Band(fine, 1000, 4000).inside(u).int().argmax(1)[:, 0]]
    assert stats.kstest(np.log(lowest.numpy() / 1000) / np.log(4), "uniform").pvalue > 0.01


@changes
@pytest.mark.parametrize(("side", "part"), [("high", 1), ("low", 1), ("full", 2), ("none", 0)])
def test_only_the_named_side_changes_and_the_rest_keeps_every_bit(name: str, side: str, part: int):
    mel, u, band = clips(), draws.uniform(0, 0, ROWS, 2), Band(HERTZ, 1000, 4000, side)
    same = changed(name, mel, u, band) == mel
    cut = 1000 * 4 ** u[:, :1].double()
    above = (cut <= HERTZ)[..., None].expand_as(mel)
    if side in ("high", "low"):
        assert same[above if side == "low" else ~above].all()
    inside = {"high": above, "low": ~above, "full": torch.ones_like(above)}.get(side, torch.zeros_like(above))
    heard = inside & (torch.arange(B) != 1).view(-1, 1, 1)
    assert same[heard].float().mean() < 0.2 if part else same.all()


def test_the_high_and_the_low_side_are_one_another_s_complement():
    u = draws.uniform(0, 0, ROWS, 2)
    assert torch.equal(Band(HERTZ, side="high").inside(u), ~Band(HERTZ, side="low").inside(u))


@changes
@pytest.mark.parametrize("high", [4000, 20_000])
def test_silence_stays_finite_and_nothing_falls_below_the_floor(name: str, high: float):
    for end in (0.0, 0.3, LAST):
        y = changed(name, clips(), torch.full((B, 2), end), Band(HERTZ, 1000, high))
        assert y.isfinite().all()
        assert y.min() >= FLOOR - 1e-3


def test_a_side_or_a_cut_off_that_cannot_be_is_refused():
    with pytest.raises(RecipeError, match="high, low, full, none; got 'top'"):
        Band(HERTZ, side="top")
    with pytest.raises(RecipeError, match="got 4000 and 1000"):
        Band(HERTZ, 4000, 1000)


@pytest.mark.parametrize("gain", [-9.0, 9.0])
def test_a_gain_is_that_of_the_louder_or_softer_recording(gain: float):
    wave = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    wave[:16_000] = 0  # half of it is digital silence, at any gain
    u = torch.tensor([[0.0, 0.5 + gain / 24]])
    got = band_gain(log_mel(wave), u, Band(HERTZ, side="full"), 12)
    assert (got < FLOOR + 0.01).any()
    assert torch.allclose(got, log_mel(wave * np.float32(10 ** (gain / 20))), atol=1e-3)


def test_a_gain_stops_at_the_floor_and_does_not_wake_what_is_there():
    mel, band = torch.tensor([[[-100.0, -95.0, 0.0]]]), Band(torch.tensor([5000.0]))
    assert band_gain(mel, torch.tensor([[0.0, 0.0]]), band, 12).tolist() == [[[-100, -100, -12]]]
    assert band_gain(mel, torch.tensor([[0.0, 1.0]]), band, 12).tolist() == [[[-100, -83, 12]]]


def test_the_noise_s_power_is_the_stated_part_of_the_band_s_own_mean():
    rows, band = torch.arange(50), Band(HERTZ, 2000, 2000)
    mel = log_mel(np.random.default_rng(0).standard_normal(32_000).astype(np.float32)).repeat(50, 1, 1)
    mel[:, HERTZ < 2000] += 40  # as a hum would, that is none of the band's business
    u = torch.tensor([[0.0, 0.25]]).repeat(50, 1)
    noisy = band_noise(mel, u, draws.normal(0, 0, rows, tuple(mel.shape[1:])), band, 2)
    power, louder = (10 ** (x[:, HERTZ >= 2000].double() / 10) for x in (mel, noisy))
    assert (louder - power).mean() / power.mean() == pytest.approx(0.5, rel=0.01)
    assert ((louder - power).mean((0, 2)) / power.mean()).numpy() == pytest.approx(0.5, rel=0.1)


def test_the_noise_of_each_band_fluctuates_as_white_noise_there_does():
    wave = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    want = log_mel(wave)[0, :, 4:-4].std(1)
    silent = torch.full((1, BANDS, 2000), -60.0)
    u, normal = torch.tensor([[0.0, 1.0]]), draws.normal(0, 0, ROWS[:1], (BANDS, 2000))
    got = band_noise(silent, u, normal, Band(HERTZ, side="full"), 1e6)[0].std(1)
    assert got.numpy() == pytest.approx(want.numpy(), rel=0.15)


def test_two_clips_are_blended_as_powers():
    x, y = torch.tensor([[[0.0, 0.0, 10.0]]]), torch.tensor([[[0.0, 10.0, FLOOR]]])
    half = log_mixup(x, torch.tensor([[0.5]]), y, 1)
    assert half.flatten().tolist() == pytest.approx([0, 10 * np.log10(5.5), 10 - 10 * np.log10(2)], abs=1e-5)
    mel, other, u = clips().double(), clips(1).double(), draws.uniform(0, 0, ROWS, 1)
    share = 0.4 * u[..., None].double()
    want = 10 * torch.log10((1 - share) * 10 ** (mel / 10) + share * 10 ** (other / 10))
    assert torch.allclose(log_mixup(mel, u, other, 0.4), want, atol=1e-9)


def test_the_whole_of_the_partner_is_the_partner_also_where_it_is_silent():
    mel, other = clips(), clips(1)
    assert torch.allclose(log_mixup(mel, torch.ones(B, 1), other, 1), other, atol=1e-4)


def test_a_blend_of_recordings_has_the_blended_spectrum():
    rng = np.random.default_rng(0)
    one, other = (rng.standard_normal(400_000).astype(np.float32) * size for size in (0.1, 1.0))
    want = log_mel(np.sqrt(0.7) * one + np.sqrt(0.3) * other)
    got = log_mixup(log_mel(one), torch.tensor([[0.3]]), log_mel(other), 1)
    power_got, power_want = ((10 ** (x / 10)).mean(-1) for x in (got, want))
    assert (10 * torch.log10(power_got / power_want)).abs().max() < 1


def test_a_replaced_band_is_the_partner_s_above_and_the_clip_s_below():
    mel, other = clips(), clips(1)
    y = band_replace(mel, torch.tensor([[0.5, 1.0]]).repeat(B, 1), other, Band(HERTZ, 1000, 4000), 1)
    assert torch.equal(y[:, HERTZ < 2000], mel[:, HERTZ < 2000])
    assert torch.allclose(y[:, HERTZ >= 2000], other[:, HERTZ >= 2000], atol=1e-4)


def test_a_crop_of_half_the_frames_shows_the_half_at_twice_the_length():
    ramp = torch.arange(5.0).expand(1, 3, 5)
    half = {"canvas": (1.0, 1.0), "bands": (1.0, 1.0), "frames": (0.5, 0.5)}
    first = random_resize_crop(ramp, torch.tensor([[0.5, 0.5, 0.5, 0.0]]), **half)
    last = random_resize_crop(ramp, torch.tensor([[0.5, 0.5, 0.5, 1.0]]), **half)
    assert first[0].numpy() == pytest.approx(np.tile([0, 0.5, 1, 1.5, 2], (3, 1)), abs=1e-5)
    assert last[0].numpy() == pytest.approx(np.tile([2, 2.5, 3, 3.5, 4], (3, 1)), abs=1e-5)


def test_bands_and_frames_are_not_confused():
    ramp = torch.arange(5.0)[:, None].expand(1, 5, 3)
    half = {"canvas": (1.0, 1.0), "bands": (0.5, 0.5), "frames": (1.0, 1.0)}
    top = random_resize_crop(ramp, torch.tensor([[0.5, 0.5, 1.0, 0.5]]), **half)
    assert top[0, :, 1].tolist() == pytest.approx([2, 2.5, 3, 3.5, 4], abs=1e-5)


def test_a_crop_larger_than_the_clip_shows_it_small_amid_its_mean():
    mel = torch.arange(5.0).expand(1, 3, 5)
    wide = {"canvas": (1.0, 2.0), "bands": (1.0, 1.0), "frames": (2.0, 2.0)}
    y = random_resize_crop(mel, torch.full((1, 4), 0.5), **wide)
    assert y[0, 1].tolist() == pytest.approx([2, 0, 2, 4, 2], abs=1e-5)


def test_a_crop_of_all_is_the_clip_and_one_of_silence_silent():
    all_of_it = {"canvas": (1.0, 1.0), "bands": (1.0, 1.0), "frames": (1.0, 1.0)}
    u = draws.uniform(0, 0, ROWS, 4)
    assert torch.allclose(random_resize_crop(clips(), u, **all_of_it), clips(), atol=1e-2)
    assert torch.allclose(random_resize_crop(clips(), u)[1], torch.tensor(FLOOR))


def test_a_crop_that_wants_more_than_the_canvas_gets_the_canvas():
    mel, u = clips(), draws.uniform(0, 0, ROWS, 4)
    greedy = {"canvas": (1.0, 1.0), "bands": (2.0, 3.0), "frames": (2.0, 3.0)}
    assert torch.allclose(random_resize_crop(mel, u, **greedy), mel, atol=1e-2)


def test_segments_lie_anywhere_from_the_first_sample_to_the_last():
    x = torch.arange(10.0).view(1, 1, 10)
    y = segments(x, torch.tensor([[0.0, 0.5, LAST]]), 4)
    assert y.tolist() == [[[[0, 1, 2, 3]], [[3, 4, 5, 6]], [[6, 7, 8, 9]]]]
    start = segments(x, draws.uniform(0, 0, torch.arange(1), 7000), 4)[0, :, 0, 0]
    assert stats.chisquare(torch.bincount(start.int(), minlength=7).numpy()).pvalue > 0.01


def test_segments_keep_channels_together_and_follow_the_row():
    x, u = clips(), draws.uniform(0, 0, ROWS, 3)
    y = segments(x, u, 20)
    assert y.shape == (B, 3, BANDS, 20)
    assert torch.equal(segments(x[2:], u[2:], 20), y[2:])
    start = int(u[0, 1].item() * (FRAMES - 20 + 1))
    assert torch.equal(y[0, 1], x[0, :, start : start + 20])
    assert torch.equal(segments(x, u, FRAMES), x[:, None].expand(-1, 3, -1, -1))


def test_a_segment_longer_than_the_clip_is_refused():
    with pytest.raises(QualityError, match="a segment of 61 samples does not fit into 60"):
        segments(clips(), torch.zeros(B, 1), FRAMES + 1)
