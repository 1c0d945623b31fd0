"""What a log-mel spectrogram may undergo without telling of another machine, above all in its high band.

Spectrograms are `(B, bands, frames)` in dB of power, 10 log₁₀ p, floored at −100 dB; what is added or blended is
added or blended as power. The functions on a band change it from a cut-off on that is drawn for each clip, and
leave the rest to the last bit:

    band = Band(hertz, low=1000, high=4000, side="high")
    mel = band_gain(mel, draws.uniform(seed, step, rows, 2, stream=0), band, spread=12)
    mel = band_replace(mel, draws.uniform(seed, step, rows, 2, stream=1), mel[place], band, most=0.5)

with `place` from `mix.partners`. Draws of one stream give one cut-off.

Reference:
    Niizumi et al. 2021, arXiv:2103.06695, and 2022, arXiv:2204.07402 (BYOL-A: log-mixup-exp, random resize crop).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from stethos.errors import QualityError, RecipeError

Side = Literal["high", "low", "full", "none"]

FLOOR = -100.0  # dB, of 1e-10; what is there is no sound
SILENT = FLOOR + 0.01  # single precision may place it a little higher
DECIBELS = 10 / math.log(10)  # in a neper of power

# The power of white noise in a mel band has a relative variance of 2 / k, where k free numbers are summed: a triangle
# of spacing Δ Hz lets through as many bins as a box of 3Δ/2, two numbers each, and a Hann window is worth
# (Σw²)² / Σw⁴ samples, 1053 of 2048 or 65.8 ms at 16 kHz.
FREE_SECONDS = 2 * 1.5 * 0.0658


@dataclass(frozen=True, eq=False)
class Band:
    """The part of the spectrum that may change, with a cut-off of each clip's own.

        f_c = low · (high / low)^u

    Log-uniform in Hz, which is uniform along the mel axis above 1 kHz.

    Args:
        hertz: Centres of the mel bands, Hz, rising, `(bands,)`.
        low: Lowest cut-off, Hz.
        high: Highest cut-off, Hz.
        side: "high" for the bands from the cut-off on, "low" for those below it, "full" or "none" for all or none.

    Raises:
        RecipeError: There is no such side, or the cut-offs are not 0 < low ≤ high.
    """

    hertz: Tensor
    low: float = 1000.0
    high: float = 4000.0
    side: Side = "high"

    def __post_init__(self) -> None:
        if self.side not in get_args(Side):
            raise RecipeError(f"a band's side must be one of {', '.join(get_args(Side))}; got {self.side!r}")
        if not 0 < self.low <= self.high:
            raise RecipeError(f"a band needs cut-offs 0 < low <= high in Hz; got {self.low:g} and {self.high:g}")

    def inside(self, u: Tensor) -> Tensor:
        """True where a clip may change, `(B, bands, 1)`, for draws whose first column places the cut-off."""
        cut = self.low * (self.high / self.low) ** u[:, :1].double()
        above = (self.hertz.to(u.device) >= cut)[..., None]  # (B, bands, 1)
        match self.side:
            case "high":
                return above
            case "low":
                return ~above
        return torch.full_like(above, self.side == "full")


def band_gain(mel: Tensor, u: Tensor, band: Band, spread: float) -> Tensor:
    """Turn a band up or down, by −spread to +spread dB.

    What is at the floor is silence and stays; what would fall below the floor stops there.

    Args:
        mel: Spectrograms in dB, `(B, bands, frames)`.
        u: Draws `(B, 2)`: cut-off, gain; ½ is a gain of 0 dB.
        band: What may change.
        spread: Largest gain, dB.
    """
    gain = (spread * (2 * u[:, 1] - 1)).to(mel.dtype).view(-1, 1, 1)
    heard = band.inside(u) & (mel > SILENT)
    return torch.where(heard, (mel + gain).clamp(min=FLOOR), mel)


def band_noise(mel: Tensor, u: Tensor, noise: Tensor, band: Band, most: float) -> Tensor:
    """Add white noise to a band, as loud as 0 to `most` times the clip's own mean power there.

    Its power is flat over the bands and varies in each, as that of a 2048-point Hann window at 16 kHz does; each
    frame's on its own.

    Args:
        mel: Spectrograms in dB, `(B, bands, frames)`.
        u: Draws `(B, 2)`: cut-off, loudness, uniform in power.
        noise: Standard normal draws `(B, bands, frames)`, from `draws.normal`.
        band: What may change.
        most: Largest ratio of the noise's power to the band's.
    """
    power = _wide(mel) / DECIBELS
    inside = band.inside(u)
    level = power.masked_fill(~inside, -math.inf).logsumexp((1, 2), keepdim=True)
    level = level - (inside.sum(1, keepdim=True) * mel.shape[-1]).clamp(min=1).log()  # (B, 1, 1), of the mean
    ratio = (most * u[:, 1]).view(-1, 1, 1) * _fluctuation(noise, band.hertz.to(mel.device))
    louder = DECIBELS * torch.log1p(ratio * torch.exp(level - power))
    return torch.where(inside, mel + louder.to(mel.dtype), mel)


def band_replace(mel: Tensor, u: Tensor, partner: Tensor, band: Band, most: float) -> Tensor:
    """Blend a band with that of another clip, by `log_mixup`.

    Args:
        mel: Spectrograms in dB, `(B, bands, frames)`.
        u: Draws `(B, 2)`: cut-off, share of the partner.
        partner: Other clips, of the same shape.
        band: What may change.
        most: Largest share of the partner's power, up to 1.
    """
    return torch.where(band.inside(u), log_mixup(mel, u[:, 1:], partner, most), mel)


def log_mixup(mel: Tensor, u: Tensor, partner: Tensor, most: float) -> Tensor:
    """Blend clips with their partners, as power (log-mixup-exp).

        y = 10 log₁₀((1 − a) 10^(x/10) + a 10^(x′/10)),   a = most · u

    Args:
        mel: Spectrograms in dB, `(B, bands, frames)`.
        u: Draws `(B, 1)`.
        partner: Other clips, of the same shape.
        most: Largest share of the partner's power, up to 1; BYOL-A has 0.2 or 0.4.
    """
    step = (_wide(partner) - _wide(mel)) / DECIBELS
    share = most * u.to(step.dtype)[..., None]  # (B, 1, 1)
    # As a step from x, not as a sum of powers: a = 0 is x to the last bit, and a = 1 is finite at the floor.
    louder = DECIBELS * torch.logaddexp(torch.log1p(-share), step + share.log())
    return mel + louder.to(mel.dtype)


def random_resize_crop(
    mel: Tensor,
    u: Tensor,
    strength: float = 1.0,
    canvas: tuple[float, float] = (1.0, 1.5),
    bands: tuple[float, float] = (0.6, 1.5),
    frames: tuple[float, float] = (0.6, 1.5),
) -> Tensor:
    """Cut a rectangle out of a canvas that holds the clip in its middle, and stretch it to the clip's size.

    A size is drawn uniformly and cut to the canvas, then a place for it. Around the clip the canvas is at the
    clip's mean. Sampled linearly, where BYOL-A is cubic: a cubic overshoots beside a loud line, below the floor.

    Args:
        mel: Spectrograms in dB, `(B, bands, frames)`.
        u: Draws `(B, 4)`: bands and frames of the rectangle, its place along both.
        strength: Exponent of all sizes; 1 for those given, 0 for the clip itself.
        canvas: Bands and frames of the canvas, of the clip's.
        bands: Fewest and most bands of the rectangle, of the clip's.
        frames: Fewest and most frames of the rectangle, of the clip's.
    """
    if strength == 0:
        return mel
    low, high, whole = (torch.tensor(pair).to(u) ** strength for pair in (*zip(bands, frames, strict=True), canvas))
    size = torch.minimum(low + (high - low) * u[:, :2], whole)  # (B, 2)
    place = (2 * u[:, 2:] - 1) * (whole - size)  # of the middle, where the clip reaches from −1 to 1
    wide = _wide(mel)
    matrix = torch.cat([torch.diag_embed(size.flip(1)), place.flip(1)[..., None]], dim=2)  # (B, 2, 3), frames first
    grid = F.affine_grid(matrix.to(wide.dtype), [len(mel), 1, *mel.shape[1:]], align_corners=True)
    mean = wide.mean((1, 2), keepdim=True)[:, None]
    return (F.grid_sample(wide[:, None] - mean, grid, align_corners=True) + mean)[:, 0].to(mel.dtype)


def segments(x: Tensor, u: Tensor, length: int) -> Tensor:
    """Several random stretches of each clip, anywhere in it; they may overlap.

    Args:
        x: Waveforms `(B, C, T)`, or spectrograms `(B, bands, frames)`.
        u: Draws `(B, n)`, one for each segment; from the earliest place to the latest.
        length: Samples or frames of a segment; all there are return the clip n times.

    Returns:
        `(B, n, C, length)`; `flatten(0, 1)` makes it a batch.

    Raises:
        QualityError: The clips are shorter than a segment.
    """
    samples = x.shape[-1]
    if length > samples:
        raise QualityError(f"a segment of {length} samples does not fit into {samples}; ask for shorter segments")
    start = torch.floor(u.double() * (samples - length + 1)).long()  # (B, n)
    source = (start[..., None] + torch.arange(length, device=x.device))[:, :, None]  # (B, n, 1, length)
    return x[:, None].expand(-1, u.shape[1], -1, -1).gather(-1, source.expand(-1, -1, x.shape[1], -1))


def _fluctuation(noise: Tensor, hertz: Tensor) -> Tensor:
    """Power of white noise over its mean, log-normal with the variance that a mel band's has."""
    variance = torch.log1p(2 / (FREE_SECONDS * torch.gradient(hertz)[0][:, None]))  # (bands, 1), of the logarithm
    return torch.exp(variance.sqrt() * noise - variance / 2)


def _wide(mel: Tensor) -> Tensor:
    return mel.to(torch.promote_types(mel.dtype, torch.float32))
