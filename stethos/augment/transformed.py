"""The same clip as a somewhat other machine would have sounded: classes, where there is only one machine.

A network that tells machines apart learns what is particular to each. With one machine there is nothing to tell
apart, unless copies of its clips stand in for the others. `COPIES` names them, the clip itself first; all are of
the clip's own length and draw nothing.

    kind = torch.arange(B) % len(COPIES)
    x = transformed(wave, kind)

Reference:
    Inoue et al. 2020, Detection of anomalous sounds for machine condition monitoring using classification
    confidence, DCASE Workshop.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stethos.augment.frequency import band_stop

RATE = 16000.0  # Hz, of the waveforms that COPIES are made for

WINDOW, HOP = 2048, 512  # samples: 128 ms and a quarter of it, as in the usual log-mel
# The low-pass against folding: zeros to each side, middle of its edge in the lower Nyquist frequency, shape of its
# window; flat up to 0.8 of that frequency and 65 dB down at it.
CROSSINGS, EDGE, KAISER = 24, 0.9, 7.9


class Copy(NamedTuple):
    """A class that a clip can be turned into.

    Args:
        name: What becomes of it.
        apply: From waveforms `(B, 1, T)` at 16 kHz to others of the same shape.
    """

    name: str
    apply: Callable[[Tensor], Tensor]


def pitch(wave: Tensor, semitones: float) -> Tensor:
    """Every frequency higher or lower, as on a tape that runs faster or slower.

        y(t) = x(f t),   f = 2^(semitones / 12), as a fraction of numbers up to about 64

    Time goes with it: a clip that runs out begins anew, one that does not is cut. A low-pass keeps what would pass
    half the rate from folding back, and leaves the top tenth of the band empty, or more where f < 1.

    Args:
        wave: Signals `(B, C, T)`.
        semitones: Twelfths of an octave; 0 for the clip itself.
    """
    if semitones == 0:
        return wave
    speed = Fraction(2 ** (semitones / 12)).limit_denominator(64)
    up, down = speed.denominator, speed.numerator
    kernel = _low_pass(up, down)  # (up, taps)
    blocks, reach = math.ceil(wave.shape[-1] / up), (kernel.shape[1] - down) // 2
    source = _wide(_turned(wave, -reach, blocks * down + reach))
    place = source.unfold(-1, kernel.shape[1], down)  # (B, C, blocks, taps): `up` samples are made from each `down`
    return (place @ kernel.T.to(source)).flatten(-2)[..., : wave.shape[-1]].to(wave.dtype)


def tempo(wave: Tensor, factor: float) -> Tensor:
    """Everything happens faster or slower, at the pitch it had, by a phase vocoder.

        Yₖ = Rₖ X[⌊k f⌋]

    Frames X of the clip are left out, or said twice, and what follows is turned so that each partial goes on in
    phase: by the angle from X at the last frame's end to X now, taken at each spectral peak for the bins around it.
    An event is up to 32 ms from where f has it. A clip that runs out begins anew, one that does not is cut.

    Args:
        wave: Signals `(B, C, T)`.
        factor: Speed f; 1.25 for a machine that cycles a quarter faster, 1 for the clip itself.

    Reference:
        Laroche and Dolson 1999, doi:10.1109/89.759041 (identity phase locking).
    """
    if factor == 1:
        return wave
    samples = wave.shape[-1]
    chosen = [math.floor(k * factor) for k in range(math.ceil(samples / HOP) + 1)]
    source = _wide(_turned(wave, 0, chosen[-1] * HOP + WINDOW)).flatten(0, 1)
    window = torch.hann_window(WINDOW, dtype=source.dtype, device=wave.device)
    spectrum = torch.stft(source, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)
    paced = torch.istft(_spliced(spectrum, chosen), WINDOW, HOP, window=window, length=samples)
    return paced.view_as(wave).to(wave.dtype)


def transformed(wave: Tensor, kind: Tensor) -> Tensor:
    """Each clip as the copy that its number names.

    Args:
        wave: Waveforms `(B, 1, T)` at 16 kHz.
        kind: Places in `COPIES`, `(B,)`; 0 for the clip itself.
    """
    out = wave.clone()
    for number, copy in enumerate(COPIES):
        rows = (kind == number).nonzero()[:, 0]
        if number and len(rows):
            out[rows] = copy.apply(wave[rows])
    return out


def _spliced(spectrum: Tensor, chosen: list[int]) -> Tensor:
    """The chosen frames of `(N, bins, frames)`, in phase with one another."""
    frame = spectrum.unbind(-1)
    turn, out = torch.ones_like(frame[0]), [frame[chosen[0]]]
    for last, now in pairwise(chosen):
        if now != last + 1:
            angle = torch.sgn(turn * frame[last + 1] * frame[now].conj())
            turn = angle.gather(-1, _nearest_peak(frame[now].abs()))
            turn = turn + (turn == 0)  # a silent bin has no phase, and starts anew
        out.append(turn * frame[now])
    return torch.stack(out, dim=1).mT


def _nearest_peak(size: Tensor) -> Tensor:
    """For each bin of `(N, bins)` the bin nearest to it that none of its four neighbours exceeds."""
    bins = torch.arange(size.shape[-1], device=size.device)
    peak = F.max_pool1d(size[:, None], 5, stride=1, padding=2)[:, 0] == size
    below = torch.where(peak, bins, -len(bins)).cummax(-1).values
    above = torch.where(peak, bins, 2 * len(bins)).flip(-1).cummin(-1).values.flip(-1)
    return torch.where(bins - below <= above - bins, below, above)


def _low_pass(up: int, down: int) -> Tensor:
    """Kaiser-windowed sinc around each of the `up` places that `down` samples are read at, float64 `(up, taps)`."""
    lower = min(1.0, up / down)
    reach = math.ceil(CROSSINGS / lower)
    taps = torch.arange(-reach, down + reach, dtype=torch.float64)
    away = torch.arange(up, dtype=torch.float64)[:, None] * (down / up) - taps  # (up, taps), samples
    inside = 1 - (away * lower / CROSSINGS).square()
    bell = torch.special.i0(KAISER * inside.clamp(min=0).sqrt()) / float(np.i0(KAISER)) * (inside >= 0)
    return EDGE * lower * torch.sinc(EDGE * lower * away) * bell


def _turned(wave: Tensor, start: int, stop: int) -> Tensor:
    """Samples start to stop of the clip said over and over."""
    return wave[..., torch.arange(start, stop, device=wave.device) % wave.shape[-1]]


def _wide(wave: Tensor) -> Tensor:
    return wave.to(torch.promote_types(wave.dtype, torch.float32))


COPIES = (
    Copy("as recorded", lambda wave: wave),
    Copy("two semitones up", partial(pitch, semitones=2)),
    Copy("two semitones down", partial(pitch, semitones=-2)),
    Copy("a quarter faster", partial(tempo, factor=1.25)),
    Copy("a fifth slower", partial(tempo, factor=0.8)),
    Copy("without 1 to 2 kHz", partial(band_stop, low=1000.0, high=2000.0, rate=RATE)),
)
