"""Log-mel spectrograms of sound, batched, on the device of the network that reads them.

    X_f(t) = Σ_n h(n) x(t·hop + n − window/2) e^(−2πi f n / window)       Hann window h, zeros outside the clip
    L_b(t) = 10 log₁₀ max(Σ_f M_bf |X_f(t)|², floor)                      dB re 1

M holds triangles whose corners are equally far apart on Slaney's mel scale, each of unit area in Hz. The scale is
linear up to 1 kHz (200/3 Hz a mel) and logarithmic above (27 mels for a factor of 6.4).

A clip of T samples has 1 + ⌊T / hop⌋ frames; frame t is centred on sample t·hop.

Reference:
    Slaney 1998, Auditory Toolbox version 2, Interval Research Corporation, technical report 1998-010.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethos.errors import ChannelError, RecipeError

_HERTZ_PER_MEL = 200 / 3
_KNEE = 1000.0  # Hz, where the scale turns from linear to logarithmic
_LOG_STEP = np.log(6.4) / 27  # a mel above the knee


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel of a frequency in Hz, any shape."""
    bent = _KNEE / _HERTZ_PER_MEL + np.log(np.maximum(hertz, _KNEE) / _KNEE) / _LOG_STEP
    return np.where(hertz < _KNEE, hertz / _HERTZ_PER_MEL, bent)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Frequency in Hz of Slaney's mel, any shape."""
    above = np.maximum(mel - _KNEE / _HERTZ_PER_MEL, 0)
    return np.where(above > 0, _KNEE * np.exp(_LOG_STEP * above), mel * _HERTZ_PER_MEL)


def mel_filters(rate: float, window: int, bands: int, low: float, high: float) -> Tensor:
    """Triangles of unit area in Hz that turn a power spectrum into mel bands.

    Args:
        rate: Sampling rate, Hz.
        window: Length of the Fourier transform, samples.
        bands: How many.
        low: Lower corner of the first band, Hz.
        high: Upper corner of the last band, Hz.

    Returns:
        Weights in 1/Hz, float64 `(bands, 1 + window // 2)`.

    Raises:
        RecipeError: The edges do not rise from 0 to at most half the rate, or a band falls between two bins.
    """
    if not 0 <= low < high <= rate / 2:
        raise RecipeError(f"mel bands need 0 ≤ low < high ≤ {rate / 2:g} Hz, got {low:g} and {high:g}; change them")
    first, last = hertz_to_mel(np.array([low, high]))
    corners = mel_to_hertz(np.linspace(first, last, bands + 2))[:, None]
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]  # (bands, 1) each
    hertz = np.arange(1 + window // 2) * rate / window  # (F,)
    triangles = np.minimum((hertz - left) / (peak - left), (right - hertz) / (right - peak)).clip(0)
    if not triangles.any(axis=1).all():
        raise RecipeError(
            f"{bands} mel bands from {low:g} to {high:g} Hz are finer than a window of {window} samples resolves "
            f"at {rate:g} Hz: a band would be empty; lower bands or raise window"
        )
    return torch.from_numpy(2 / (right - left) * triangles)


class LogMel(nn.Module):
    """Mel bands of a waveform in dB, `(B, 1, T)` or `(B, T)` to `(B, bands, frames)`.

    It has nothing to learn and nothing in the state dict. It computes in float32 whatever the autocast around it:
    in bfloat16 a decibel would be lost to rounding. Against float64, float32 differs by less than 1e-4 dB in bands
    down to 60 dB below the loudest of the clip; rounding in the Fourier transform limits quieter ones.

    Args:
        rate: Sampling rate, Hz.
        window: Length of the Hann window and of the Fourier transform, samples.
        hop: From one frame to the next, samples.
        bands: Mel bands.
        low: Lower corner of the first band, Hz.
        high: Upper corner of the last band, Hz.
        floor: Smallest power that is told from nothing.

    Raises:
        RecipeError: `mel_filters` refuses the bands.
    """

    taper: Tensor  # (window,)
    filters: Tensor  # (bands, 1 + window // 2)

    def __init__(  # noqa: PLR0913, PLR0917 (a spectrogram is not told without all seven)
        self,
        rate: float = 16000,
        window: int = 2048,
        hop: int = 512,
        bands: int = 128,
        low: float = 0.0,
        high: float = 8000.0,
        floor: float = 1e-10,
    ) -> None:
        super().__init__()
        self.window, self.hop, self.bands, self.floor = window, hop, bands, floor
        self.register_buffer("taper", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(rate, window, bands, low, high).to(self.taper), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Level of each band in dB.

        Raises:
            ChannelError: The clips have more than one channel.
        """
        wave = _mono(wave).to(self.taper.dtype)  # (B, T)
        with torch.autocast(wave.device.type, enabled=False):
            power = self.filters @ self.power(wave)  # (B, bands, frames)
            return 10 * power.clamp(min=self.floor).log10()

    def power(self, wave: Tensor) -> Tensor:
        """Power of each bin of the Fourier transform, `(B, T)` to `(B, 1 + window // 2, frames)`."""
        # Constant padding is zeros, whatever the clip's length; reflection needs more than half a window of it.
        spectrum = torch.stft(
            wave, self.window, self.hop, window=self.taper, center=True, pad_mode="constant", return_complex=True
        )
        return spectrum.real.square() + spectrum.imag.square()  # a fifth of the time of summing a real view

    def as_convolution(self) -> "ConvolvedLogMel":
        """The same bands without complex numbers or a Fourier transform, for export."""
        return ConvolvedLogMel(self)


class ConvolvedLogMel(nn.Module):
    """The bands of a `LogMel`, its Fourier transform a convolution with cosines and sines.

    About a hundred times the multiplications, of a kind that every runtime knows.

    Args:
        mel: Whose settings and whose device are taken.
    """

    waves: Tensor  # (2 · (1 + window // 2), 1, window)
    filters: Tensor  # (bands, 1 + window // 2)

    def __init__(self, mel: LogMel) -> None:
        super().__init__()
        self.window, self.hop, self.bands, self.floor = mel.window, mel.hop, mel.bands, mel.floor
        n = torch.arange(mel.window)
        # The product is reduced modulo the window while it is whole: the cosine of a large angle loses digits.
        angle = n[: 1 + mel.window // 2, None] * n % mel.window * (2 * torch.pi / mel.window)
        waves = torch.cat([angle.double().cos(), angle.double().sin()])[:, None]
        self.register_buffer("waves", waves.to(mel.taper) * mel.taper, persistent=False)
        self.register_buffer("filters", mel.filters, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Level of each band in dB, `(B, 1, T)` or `(B, T)` to `(B, bands, frames)`.

        Raises:
            ChannelError: The clips have more than one channel.
        """
        wave = _mono(wave).to(self.waves.dtype)[:, None]  # (B, 1, T)
        with torch.autocast(wave.device.type, enabled=False):
            parts = F.conv1d(F.pad(wave, [self.window // 2] * 2), self.waves, stride=self.hop)
            power = parts.square().unflatten(1, (2, -1)).sum(1)  # (B, 1 + window // 2, frames)
            return 10 * (self.filters @ power).clamp(min=self.floor).log10()


def _mono(wave: Tensor) -> Tensor:
    if wave.ndim == 3 and wave.shape[1] != 1:
        raise ChannelError(f"a log-mel spectrogram reads one channel, got {wave.shape[1]}; pick one or average them")
    return wave.flatten(0, 1) if wave.ndim == 3 else wave
