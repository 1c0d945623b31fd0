"""Log-mel spectrograms against librosa, by hand, and against themselves as a convolution."""

import math
from collections.abc import Iterator

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stethos.errors import ChannelError, RecipeError
from stethos.nn.mel import LogMel, hertz_to_mel, mel_filters, mel_to_hertz

RATE = 16000


def machine(seconds: float = 10.0, clips: int = 2) -> Tensor:
    """A hum with twenty harmonics, knocks eight times a second, and noise whose power falls with frequency."""
    chance = torch.Generator().manual_seed(0)
    samples = round(seconds * RATE)
    time = torch.arange(samples, dtype=torch.float64) / RATE
    hum = sum((0.2 / k * torch.sin(2 * math.pi * 49.7 * k * time) for k in range(1, 21)), torch.zeros(1))
    knocks = 0.3 * torch.exp(-80 * (time % 0.125)) * torch.sin(2 * math.pi * 2300 * time)
    white = torch.randn(clips, samples, generator=chance, dtype=torch.float64)
    shape = 1 / (1 + torch.arange(samples // 2 + 1) / samples * RATE / 300)
    return hum + knocks + 0.05 * torch.fft.irfft(torch.fft.rfft(white) * shape, samples)


def librosa_level(wave: Tensor) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=wave.double().numpy(), sr=RATE, n_fft=2048, hop_length=512, pad_mode="constant", n_mels=128, fmax=8000
    )
    return 10 * np.log10(np.maximum(power, 1e-10))


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("edges", [(16000, 2048, 128, 0, 8000), (22050, 1024, 40, 50, 9000)])
def test_the_filters_are_those_of_librosa(edges: tuple[int, ...]):
    names = dict(zip(("sr", "n_fft", "n_mels", "fmin", "fmax"), edges, strict=True))
    want = librosa.filters.mel(**names, dtype=np.float64)
    assert np.abs(mel_filters(*edges).numpy() - want).max() < 1e-14


def test_a_kilohertz_is_fifteen_mels_and_its_double_is_known():
    assert hertz_to_mel(np.array([0.0, 200.0, 1000.0, 6400.0])) == pytest.approx([0, 3, 15, 42])
    assert mel_to_hertz(np.array([0.0, 3.0, 15.0, 42.0])) == pytest.approx([0, 200, 1000, 6400])


def test_each_band_has_unit_area_in_hertz():
    area = mel_filters(16000, 65536, 128, 0, 8000).sum(1) * 16000 / 65536  # a fine grid: the integral of a triangle
    assert area.numpy() == pytest.approx(np.ones(128), abs=1e-3)


def test_levels_are_those_of_librosa_in_float32():
    wave = machine()
    want = librosa_level(wave)
    assert want.max() - want.min() > 60  # dB
    assert np.abs(LogMel()(wave.float()).numpy() - want).max() < 1e-4  # dB


def test_levels_are_those_of_librosa_in_float64(in_float64):
    wave = machine()
    # librosa holds its filters in float32: 6e-8 of a power is 3e-7 dB
    assert np.abs(LogMel()(wave).numpy() - librosa_level(wave)).max() < 1e-6  # dB


def test_ten_seconds_are_128_bands_and_313_frames():
    assert LogMel()(torch.zeros(2, 1, 160_000)).shape == (2, 128, 313)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 60_000), clips=st.integers(1, 3))
def test_any_length_gives_a_frame_a_hop(samples: int, clips: int):
    wave = torch.randn(clips, 1, samples, generator=torch.Generator().manual_seed(samples))
    level = LogMel()(wave)
    assert level.shape == (clips, 128, 1 + samples // 512)
    assert level.isfinite().all()
    assert torch.equal(level, LogMel()(wave[:, 0]))


def test_a_minute_is_read():
    assert LogMel()(torch.zeros(1, 1, 60 * RATE)).shape == (1, 128, 1876)


def test_silence_is_the_floor():
    assert LogMel()(torch.zeros(1, 4000)).unique().tolist() == [-100]
    assert LogMel(floor=1e-5)(torch.zeros(1, 4000)).unique().tolist() == [-50]


def test_ten_times_the_amplitude_is_twenty_decibels():
    wave = machine(1.0).float()
    assert torch.allclose(LogMel()(10 * wave), LogMel()(wave) + 20, atol=1e-4)


def test_the_level_of_a_tone_by_hand():
    """A sine of amplitude A on a bin has |X|² = (A · window / 4)² there and a quarter of it in both neighbours."""
    hertz = 128 * RATE / 2048  # 1 kHz
    wave = 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(RATE, dtype=torch.float64) / RATE)
    line = (0.5 * 2048 / 4) ** 2 * torch.tensor([0.25, 1, 0.25], dtype=torch.float64)
    want = 10 * (mel_filters(RATE, 2048, 128, 0, 8000)[:, 127:130] @ line).max().log10()
    level = LogMel()(wave[None].float())[0, :, 10]
    assert level.max().item() == pytest.approx(want.item(), abs=1e-3)
    corners = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(8000.0)), 130))
    assert corners[level.argmax()] < hertz < corners[level.argmax() + 2]


def test_a_click_is_heard_in_the_frames_whose_window_holds_it():
    wave = torch.zeros(1, RATE)
    wave[0, 5000] = 1  # frame t spans 512 t ± 1024
    heard = (LogMel()(wave)[0] > -99).any(0).nonzero().flatten().tolist()
    assert heard == [t for t in range(32) if abs(512 * t - 5000) < 1024]


def test_the_convolution_gives_the_same_levels():
    mel, wave = LogMel(), machine(2.0).float()
    # dB; float32 sums of 2048 products differ by processor: 0.6e-4 and 1.0e-4 on two of them
    assert (mel.as_convolution()(wave) - mel(wave)).abs().max() < 5e-4
    assert mel.as_convolution()(wave[:, None, :1]).shape == (2, 128, 1)


def test_the_convolution_is_exact_in_float64(in_float64):
    mel, wave = LogMel(), machine(2.0)
    assert (mel.as_convolution()(wave) - mel(wave)).abs().max() < 1e-9  # dB


@pytest.mark.parametrize("convolved", [False, True])
def test_the_exported_graph_gives_the_same_levels_for_every_batch(convolved: bool):
    mel: nn.Module = LogMel().as_convolution() if convolved else LogMel()
    wave = machine(1.0, clips=3).float()[:, None]
    graph = torch.export.export(mel, (wave[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for batch in (wave, wave[:1]):
        assert (graph(batch) - mel(batch)).abs().max() < 5e-4  # dB, float32


def test_autocast_does_not_round_decibels():
    wave = machine(1.0).float()
    for mel in (LogMel(), LogMel().as_convolution()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            level = mel(wave)
        assert level.dtype == torch.float32
        assert torch.equal(level, mel(wave))


def test_a_gradient_reaches_the_waveform():
    wave = machine(0.5).float().requires_grad_()
    (slope,) = torch.autograd.grad(LogMel()(wave).sum(), wave)
    assert slope.isfinite().all()
    # d/da Σ 20 log₁₀ a = 20 / ln 10 for each band and frame, at a = 1
    assert (slope * wave).sum().item() == pytest.approx(2 * 128 * 16 * 20 / math.log(10), rel=1e-4)


def test_nothing_of_it_is_saved():
    assert LogMel().state_dict() == LogMel().as_convolution().state_dict() == {}


def test_stereo_is_refused():
    for mel in (LogMel(), LogMel().as_convolution()):
        with pytest.raises(ChannelError, match="reads one channel, got 2"):
            mel(torch.zeros(1, 2, 4000))


@pytest.mark.parametrize(("low", "high"), [(-1, 8000), (100, 100), (0, 8001)])
def test_edges_that_make_no_band_are_refused(low: float, high: float):
    with pytest.raises(RecipeError, match="0 ≤ low < high ≤ 8000 Hz"):
        LogMel(low=low, high=high)


def test_a_band_between_two_bins_is_refused():
    with pytest.raises(RecipeError, match=r"128 mel bands.*finer than a window of 256"):
        LogMel(window=256)
