"""What a recording may undergo in time and amplitude without meaning something else.

Each function takes uniform draws `u`, `(B, 1)` unless said otherwise. All channels of a row are treated alike
(only the noise is each channel's own), so that what one lead says of another is kept.
"""

import math

import torch
from torch import Tensor


def shift(x: Tensor, u: Tensor, most: int) -> Tensor:
    """Turn the record around its own end, by −most to +most samples.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`; ½ stays in place.
        most: Largest shift, samples.
    """
    offset = torch.round((2 * u - 1) * most).long()  # (B, 1)
    source = (torch.arange(x.shape[-1], device=x.device) - offset) % x.shape[-1]  # (B, T)
    return _pick(x, source)


def stretch(x: Tensor, u: Tensor, most: float) -> Tensor:
    """Play the record faster or slower around its middle, by linear interpolation.

        y(t) = x(c + (t − c) f),   f = (1 + most)^(2u − 1),   c = (T − 1) / 2

    Where f > 1 reaches beyond an end, the end's value is held.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`; ½ keeps the speed.
        most: Largest relative change of speed, 0.1 for a heart rate up to 10 % higher.
    """
    last = x.shape[-1] - 1
    factor = (1 + most) ** (2 * u.double() - 1)  # float32 cannot place the 5000th sample to 1e-4
    place = (torch.arange(last + 1, device=x.device) - last / 2) * factor + last / 2
    place = place.clamp(0, last)  # (B, T)
    left = place.floor().long()
    part = (place - left).to(x.dtype)[:, None]  # (B, 1, T)
    return torch.lerp(_pick(x, left), _pick(x, (left + 1).clamp(max=last)), part.expand_as(x))


def scale(x: Tensor, u: Tensor, spread: float) -> Tensor:
    """Multiply by a gain between 1/(1 + spread) and 1 + spread, log-uniform.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`; ½ is a gain of one.
        spread: Largest relative change of amplitude.
    """
    return x * ((1 + spread) ** (2 * u - 1)).to(x.dtype)[:, None]


def flip_sign(x: Tensor, u: Tensor, p: float) -> Tensor:
    """Turn the record upside down, as swapped electrodes do.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 1)`.
        p: Chance of it.
    """
    return torch.where((u < p)[:, None], -x, x)


def hide_block(x: Tensor, u: Tensor, fraction: float) -> Tensor:
    """Set one stretch of time to zero, in all channels.

    Args:
        x: Signals `(B, C, T)`, centred on zero.
        u: Draws `(B, 1)`; from the earliest place to the latest.
        fraction: Length of the block, of the record's.
    """
    samples = x.shape[-1]
    length = round(fraction * samples)
    start = torch.floor(u.double() * (samples - length + 1)).long()  # (B, 1)
    time = torch.arange(samples, device=x.device)
    hidden = (time >= start) & (time < start + length)  # (B, T)
    return x.masked_fill(hidden[:, None], 0)


def add_noise(x: Tensor, noise: Tensor, spread: float) -> Tensor:
    """Add white noise.

    Args:
        x: Signals `(B, C, T)`.
        noise: Standard normal draws `(B, C, T)`, from `draws.normal`.
        spread: Standard deviation, in the unit of `x`.
    """
    return x + spread * noise.to(x.dtype)


def wander(x: Tensor, u: Tensor, amplitude: float, most: float = 5.0) -> Tensor:
    """Add a slow baseline: the mean of n sinusoids of random frequency, phase and size.

    Args:
        x: Signals `(B, C, T)`.
        u: Draws `(B, 3n)`: n frequencies, n phases, n sizes.
        amplitude: Bound of what is added, in the unit of `x`.
        most: Highest frequency, cycles in a record; 5 is 0.5 Hz in ten seconds.
    """
    cycles, phase, size = (part[..., None] for part in u.chunk(3, dim=1))  # (B, n, 1) each
    time = torch.arange(x.shape[-1], device=x.device) / x.shape[-1]
    waves = size * torch.sin(2 * math.pi * (most * cycles * time + phase))  # (B, n, T)
    return x + amplitude * waves.mean(1, keepdim=True).to(x.dtype)


def _pick(x: Tensor, source: Tensor) -> Tensor:
    return x.gather(-1, source[:, None].expand_as(x))
